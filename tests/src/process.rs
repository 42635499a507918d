//! A binary of this workspace as a child process: started, killed, asked to end, started again; its output is kept. It never
//! outlives the test, however that ends, because its end of a pipe closes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// What is started: a binary with its arguments and environment. It can be started any number of times.
#[derive(Debug, Clone)]
pub struct Program {
    binary: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    supervised: bool,
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    supervised: bool,
    log: PathBuf,
    log_from: u64,
}

impl Program {
    /// A binary of this workspace by its name, such as `amends`. It has to be built: see [`find_binary`].
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn of_workspace(name: &str) -> Self {
        Self {
            binary: find_binary(name),
            arguments: Vec::new(),
            environment: Vec::new(),
            supervised: false,
        }
    }

    /// With these arguments behind those it has.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// For a binary that does not end with its standard input: a shell between watches the pipe in its place, and kills it.
    #[must_use]
    pub fn supervised(mut self) -> Self {
        self.supervised = true;
        self
    }

    /// Starts it; its output is appended to the log.
    ///
    /// # Panics
    /// If the operating system does not start it.
    #[must_use]
    pub fn start(&self, log: &Path) -> Process {
        let mut file = File::options();
        let file = file.create(true).append(true).open(log);
        let file = file.expect("a log in a directory of ours can be written");
        let log_from = file.metadata().map_or(0, |metadata| metadata.len());
        let command = if self.supervised {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", SUPERVISOR]).arg(&self.binary);
            shell
        } else {
            Command::new(&self.binary)
        };
        let child = self
            .prepared(command)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("a file has a second handle"))
            .stderr(file)
            .spawn();
        Process {
            child: child.unwrap_or_else(|error| panic!("{}: {error}", self.binary.display())),
            supervised: self.supervised,
            log: log.to_owned(),
            log_from,
        }
    }

    /// Runs it to its end and returns how it ended, with standard output and standard error. Its standard input stays open.
    ///
    /// # Panics
    /// If it does not start, or does not end within the time.
    #[must_use]
    pub fn run(&self, within: Duration) -> Ended {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        let (out, err) = (directory.path().join("out"), directory.path().join("err"));
        let create = |path: &Path| File::create(path).expect("a file of ours can be made");
        let child = self
            .prepared(Command::new(&self.binary))
            .stdin(Stdio::piped())
            .stdout(create(&out))
            .stderr(create(&err))
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        let status = wait(&mut child, within);
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let ended = Ended {
            code: status.and_then(|status| status.code()),
            stdout: read(&out),
            stderr: read(&err),
        };
        if status.is_none() {
            // It may have ended in this very moment.
            let _ = child.kill();
            let _ = child.wait();
            panic!("{self:?} did not end within {within:?}: {ended:?}");
        }
        ended
    }

    /// With arguments and environment; what a developer's own environment would tell the program is left out.
    fn prepared(&self, mut command: Command) -> Command {
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if ["AMENDS_", "OTEL_", "DATABASE_URL", "RUST_LOG"]
                .iter()
                .any(|prefix| name_text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        command.args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// How a program ended, and what it said.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Process {
    /// Kills it with SIGKILL, and returns when it is gone.
    pub fn kill(&mut self) {
        if self.supervised {
            drop(self.child.stdin.take());
        } else {
            // It may have ended by itself.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }

    /// Asks it to end with SIGTERM.
    ///
    /// # Panics
    /// If the signal cannot be sent.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Stops it in its tracks with SIGSTOP, as a machine does that is suspended.
    ///
    /// # Panics
    /// If the signal cannot be sent.
    pub fn suspend(&self) {
        self.signal("STOP");
    }

    /// Lets it go on where it was.
    ///
    /// # Panics
    /// If the signal cannot be sent.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let flag = format!("-{name}");
        let sent = Command::new("/bin/kill").args([&flag, &pid]).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "no SIG{name} for {pid}"
        );
    }

    /// Waits for its end; none if it did not come in time.
    pub fn ended_within(&mut self, within: Duration) -> Option<ExitStatus> {
        wait(&mut self.child, within)
    }

    /// What it wrote since it was started, standard output and standard error together.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let from = usize::try_from(self.log_from).unwrap_or(usize::MAX);
        String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
    }

    /// Waits until it wrote this.
    ///
    /// # Panics
    /// If it ends, or the time passes, before it does.
    pub fn wait_for_log(&mut self, wanted: &str, within: Duration) {
        let began = Instant::now();
        loop {
            // Asked first, so that the last words of a process that ended are read.
            let ended = self.child.try_wait().ok().flatten();
            let log = self.log();
            if log.contains(wanted) {
                return;
            }
            if let Some(status) = ended {
                panic!("the process ended ({status}) before it said {wanted:?}:\n{log}");
            }
            assert!(
                began.elapsed() < within,
                "it did not say {wanted:?} within {within:?}:\n{log}"
            );
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of loopback that is free, and that no outgoing connection takes while the process that listens there is away: it is
/// below the range from which the system takes those.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes run at the same time: each begins somewhere else.
    let offset = u16::try_from(std::process::id() * 97 % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let port = FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of 127.0.0.1 is free");
}

/// The path of a binary of this workspace, beside the test that runs.
///
/// # Panics
/// If it is not built: `cargo test` builds the binaries of the tested package alone.
#[must_use]
pub fn find_binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    // target/debug/deps/test-0123: the binaries are one floor up.
    let directory = test.parent().and_then(Path::parent);
    let binary = directory.map(|directory| directory.join(name));
    match binary {
        Some(binary) if binary.exists() => binary,
        binary => panic!(
            "{binary:?} is not built: run tests/run, or first `cargo build --workspace --bins --tests`"
        ),
    }
}

fn wait(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if began.elapsed() > within {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

const POLL: Duration = Duration::from_millis(5);

/// `$0` is the binary, the rest its arguments. The pipe on stdin closes when its other end does.
const SUPERVISOR: &str = r#"
"$0" "$@" </dev/null & child=$!
cat >/dev/null
kill -KILL "$child" 2>/dev/null
wait "$child" 2>/dev/null
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program {
            binary: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
            supervised: false,
        }
    }

    #[test]
    fn a_program_runs_to_its_end_and_says_how() {
        let ended = shell("echo out; echo err >&2; exit 7").run(Duration::from_secs(10));
        assert_eq!(ended.code, Some(7));
        assert_eq!(
            (ended.stdout.as_str(), ended.stderr.as_str()),
            ("out\n", "err\n")
        );
    }

    #[test]
    fn a_supervised_process_ends_with_its_pipe_and_a_second_log_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let program = shell("echo pid $$; exec sleep 600").supervised();
        let mut first = program.start(&log);
        first.wait_for_log("pid", Duration::from_secs(10));
        let said = first.log();
        let pid = said.trim().strip_prefix("pid ").unwrap().to_owned();
        assert!(Path::new("/proc").join(&pid).exists());
        first.kill();
        assert!(!Path::new("/proc").join(&pid).exists());
        let mut second = program.start(&log);
        second.wait_for_log("pid", Duration::from_secs(10));
        assert!(!second.log().contains(&pid), "{}", second.log());
    }

    #[test]
    fn a_process_ends_by_sigterm() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done")
            .start(&directory.path().join("log"));
        process.wait_for_log("ready", Duration::from_secs(10));
        process.terminate();
        let status = process.ended_within(Duration::from_secs(10)).unwrap();
        assert_eq!(status.code(), Some(3));
    }
}
