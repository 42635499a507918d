//! A private PostgreSQL cluster, made from the installed binaries and thrown away after: on a free loopback port, in a
//! temporary directory, under an unprivileged user when the tests run as root. It ends with the process that started
//! it, even if that is killed, because its supervisor waits on a pipe. It downloads nothing and installs nothing.

use std::fs;
use std::io::{self, Error, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Environment variable that names the directory with `initdb` and `postgres`.
pub const BIN_VARIABLE: &str = "AMENDS_PG_BIN";

/// A running cluster. Dropping it stops the server and removes its files.
#[derive(Debug)]
pub struct Cluster {
    supervisor: Child,
    bin: PathBuf,
    directory: PathBuf,
    port: u16,
    owner: Option<Owner>,
    databases: AtomicU32,
}

/// How a cluster is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether commits wait for the disk. Off by default: a test needs durability against a killed process alone.
    pub fsync: bool,
    /// Further settings, such as `max_wal_size=8GB`; each wins over what stands here.
    pub settings: &'static [&'static str],
}

impl Cluster {
    /// Starts a cluster with the default options.
    ///
    /// # Errors
    /// Where PostgreSQL is not installed, or does not start; the message says what to do.
    pub fn start() -> io::Result<Self> {
        Self::start_with(Options::default())
    }

    /// Starts a cluster.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_with(options: Options) -> io::Result<Self> {
        let bin = find_binaries()?;
        let directory = tempfile::Builder::new().prefix("amends-pg-").tempdir()?;
        let owner = Owner::for_directory(directory.path())?;
        init(&bin, directory.path(), owner)?;
        // The supervisor removes the directory, so that it goes even if this process is killed.
        let directory = directory.keep();
        for _ in 1..START_ATTEMPTS_MAX {
            // Another process may take the free port first: then another one is tried.
            if let Ok(cluster) = Self::launch(&bin, &directory, owner, options) {
                return Ok(cluster);
            }
        }
        Self::launch(&bin, &directory, owner, options)
            .inspect_err(|_| drop(fs::remove_dir_all(&directory)))
    }

    /// The cluster that the tests of one process share, started with the first use. It ends with the process.
    ///
    /// # Panics
    /// If the cluster does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().expect("a private PostgreSQL cluster starts"))
    }

    /// Makes a new empty database and returns its URL.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn create_database(&self) -> io::Result<String> {
        self.create_database_from("template1")
    }

    /// Makes a new database with the content of another, which nobody may be using, and returns its URL.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn create_database_from(&self, template: &str) -> io::Result<String> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("amends_{number}");
        let mut command = self.tool("createdb");
        command.args(["--template", template, &name]);
        run(&mut command)?;
        Ok(self.url(&name))
    }

    /// The URL of a database of this cluster.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1 where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server's first process, whose children are all others.
    ///
    /// # Errors
    /// If the server is not running.
    pub fn process(&self) -> io::Result<u32> {
        let pid_file = fs::read_to_string(self.directory.join("data/postmaster.pid"))?;
        let first = pid_file.lines().next().unwrap_or_default().trim();
        first.parse().map_err(Error::other)
    }

    /// Where the server's programs are; `pgbench` may be one of them.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.bin
    }

    /// Where the server keeps its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Stops the server at once, as a crash would, and starts it again on the same port and files.
    ///
    /// # Errors
    /// If it does not come back.
    pub fn crash_and_restart(&self) -> io::Result<()> {
        let mut command = self.unprivileged(self.bin.join("pg_ctl"));
        command.args(["restart", "-s", "-w", "-m", "immediate", "-D"]);
        command.arg(self.directory.join("data"));
        command.arg("-l").arg(self.directory.join("log"));
        run(&mut command)
    }

    /// Stops every process of the server in its tracks, as a machine does that is suspended, until [`Cluster::resume`].
    ///
    /// # Errors
    /// If the processes cannot be found or stopped.
    pub fn suspend(&self) -> io::Result<()> {
        self.signal("-STOP")
    }

    /// Lets every process of the server go on where it was.
    ///
    /// # Errors
    /// If the processes cannot be found.
    pub fn resume(&self) -> io::Result<()> {
        self.signal("-CONT")
    }

    /// The parent first, so that it has no new children meanwhile.
    fn signal(&self, signal: &str) -> io::Result<()> {
        let parent = self.process()?.to_string();
        let parent = parent.as_str();
        run(Command::new("/bin/kill").args([signal, parent]))?;
        for entry in fs::read_dir("/proc")?.flatten() {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // The name in parentheses may have blanks in it: state and parent follow behind.
            let behind = stat.rsplit_once(')').map(|(_, behind)| behind);
            let of = behind.and_then(|behind| behind.split_whitespace().nth(1));
            if of == Some(parent) {
                let child = entry.file_name();
                // It may have ended meanwhile.
                let _ = Command::new("/bin/kill").arg(signal).arg(child).status();
            }
        }
        Ok(())
    }

    fn launch(
        bin: &Path,
        directory: &Path,
        owner: Option<Owner>,
        options: Options,
    ) -> io::Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SUPERVISOR]).arg(bin).arg(directory);
        command.args(settings(port, options));
        command.current_dir(directory).process_group(0);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        as_owner(&mut command, owner);
        let cluster = Self {
            supervisor: command.spawn()?,
            bin: bin.to_owned(),
            directory: directory.to_owned(),
            port,
            owner,
            databases: AtomicU32::new(0),
        };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// PostgreSQL writes its status into the eighth line of its pid file; nothing signals it otherwise.
    fn wait_until_ready(&self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let pid_file = fs::read_to_string(self.directory.join("data/postmaster.pid"));
            let status = pid_file.unwrap_or_default();
            if status.lines().nth(7).is_some_and(|s| s.trim() == "ready") {
                return Ok(());
            }
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            if log.contains("FATAL:") || began.elapsed() > READY_TIMEOUT {
                return Err(Error::other(format!("PostgreSQL did not start:\n{log}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = self.unprivileged(self.bin.join(name));
        command.args(["--no-password", "--host", "127.0.0.1", "--username"]);
        command.args([SUPERUSER, "--port", &self.port.to_string()]);
        command
    }

    fn unprivileged(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.directory);
        as_owner(&mut command, self.owner);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // A supervisor that cannot be waited for has ended already.
        let _ = self.supervisor.wait();
    }
}

/// Whom the server runs as: it refuses to run as root.
#[derive(Debug, Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// Nobody else when not root; else `postgres` or `nobody`, who then owns the directory.
    fn for_directory(directory: &Path) -> io::Result<Option<Self>> {
        // A directory just made belongs to whom this process runs as.
        if fs::metadata(directory)?.uid() != 0 {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd")?;
        let owner = ["postgres", "nobody"]
            .iter()
            .find_map(|user| Self::in_passwd(&passwd, user))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::NotFound,
                    "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`",
                )
            })?;
        chown(directory, Some(owner.uid), Some(owner.gid))?;
        Ok(Some(owner))
    }

    fn in_passwd(passwd: &str, user: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == user).then_some(())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid })
        })
    }
}

fn find_binaries() -> io::Result<PathBuf> {
    if let Some(named) = std::env::var_os(BIN_VARIABLE) {
        let named = PathBuf::from(named);
        if named.join("initdb").exists() {
            return Ok(named);
        }
        let message = format!("{BIN_VARIABLE} is {}: no initdb there", named.display());
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    // Debian keeps initdb off PATH.
    let mut installed: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    installed.sort();
    if let Some((_, newest)) = installed.pop() {
        return Ok(newest);
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        let bin = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        if bin.join("initdb").exists() {
            return Ok(bin);
        }
    }
    let message = format!(
        "PostgreSQL is not installed: install the package `postgresql`, or set {BIN_VARIABLE}"
    );
    Err(Error::new(ErrorKind::NotFound, message))
}

fn init(bin: &Path, directory: &Path, owner: Option<Owner>) -> io::Result<()> {
    let mut command = Command::new(bin.join("initdb"));
    command.arg("-D").arg(directory.join("data"));
    command.args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8"]);
    command.args(["--locale=C", "--no-sync", "--no-instructions"]);
    command.current_dir(directory);
    as_owner(&mut command, owner);
    run(&mut command)
}

fn settings(port: u16, options: Options) -> Vec<String> {
    let fsync = if options.fsync { "on" } else { "off" };
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        format!("fsync={fsync}"),
        format!("full_page_writes={fsync}"),
        "max_connections=200".to_owned(),
        "shared_buffers=32MB".to_owned(),
        "max_wal_size=256MB".to_owned(),
    ];
    let further = options.settings.iter().map(|setting| (*setting).to_owned());
    settings
        .into_iter()
        .chain(further)
        .flat_map(|setting| ["-c".to_owned(), setting])
        .collect()
}

fn as_owner(command: &mut Command, owner: Option<Owner>) {
    if let Some(Owner { uid, gid }) = owner {
        command.uid(uid).gid(gid);
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let program = command.get_program().to_string_lossy().into_owned();
    Err(Error::other(format!("{program}: {}", said.trim())))
}

const SUPERUSER: &str = "amends";
const START_ATTEMPTS_MAX: u32 = 5;
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// `$0` is the directory of binaries, `$1` the cluster's, the rest are settings. The pipe on stdin closes when the
/// process that holds the other end ends, however it ends. The pid is read again at the end: a restart changes it.
const SUPERVISOR: &str = r#"
dir="$1"; shift
"$0/postgres" -D "$dir/data" "$@" >"$dir/log" 2>&1 & first=$!
cat >/dev/null
kill -QUIT "$first" 2>/dev/null
now="$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null)"
[ -n "$now" ] && kill -QUIT "$now" 2>/dev/null
wait "$first"
while [ -n "$now" ] && kill -0 "$now" 2>/dev/null; do sleep 0.02; done
rm -rf "$dir"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn query(cluster: &Cluster, database: &str, sql: &str) -> String {
        let mut command = cluster.tool("psql");
        command.args(["-At", "-c", sql, database]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn name_of(url: &str) -> &str {
        url.rsplit('/').next().unwrap()
    }

    #[test]
    fn a_cluster_serves_separate_databases_copies_templates_and_leaves_nothing_behind() {
        let cluster = Cluster::start().unwrap();
        let one = cluster.create_database().unwrap();
        let two = cluster.create_database().unwrap();
        assert_ne!(one, two);
        query(&cluster, name_of(&one), "CREATE TABLE t AS SELECT 7 AS n");
        let copy = cluster.create_database_from(name_of(&one)).unwrap();
        assert_eq!(query(&cluster, name_of(&copy), "SELECT n FROM t"), "7");
        assert_eq!(query(&cluster, name_of(&two), "SHOW fsync"), "off");
        let (directory, port) = (cluster.directory.clone(), cluster.port());
        drop(cluster);
        assert!(!directory.exists());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn a_crashed_cluster_comes_back_with_its_committed_rows_and_still_ends() {
        let cluster = Cluster::start_with(Options {
            fsync: true,
            settings: &["wal_compression=pglz"],
        })
        .unwrap();
        let url = cluster.create_database().unwrap();
        query(&cluster, name_of(&url), "CREATE TABLE t AS SELECT 7 AS n");
        assert_eq!(
            query(&cluster, name_of(&url), "SHOW wal_compression"),
            "pglz"
        );
        let before = cluster.process().unwrap();
        cluster.crash_and_restart().unwrap();
        assert_ne!(cluster.process().unwrap(), before);
        assert_eq!(query(&cluster, name_of(&url), "SELECT n FROM t"), "7");
        let (directory, port) = (cluster.directory.clone(), cluster.port());
        drop(cluster);
        assert!(!directory.exists());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn a_missing_template_is_an_error_that_names_it() {
        let error = Cluster::shared()
            .create_database_from("no_such_template")
            .unwrap_err();
        assert!(error.to_string().contains("no_such_template"), "{error}");
    }
}
