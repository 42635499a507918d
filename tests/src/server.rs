//! A server as a process, on a database of its own: SQLite in a temporary directory, or PostgreSQL in the shared cluster. It
//! keeps its port and its database when it is killed and started again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::postgres::Cluster;
use crate::process::{Process, Program, free_port};

/// Which database a server is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// A file.
    Sqlite,
    /// A database of the cluster that the tests of this process share.
    Postgres,
}

impl Store {
    /// All of them: what holds on one has to hold on the other.
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];
}

/// A server that runs, or is away for a while.
#[derive(Debug)]
pub struct Server {
    port: u16,
    database_url: String,
    settings: Vec<(String, String)>,
    process: Option<Process>,
    directory: TempDir,
}

impl Server {
    /// Starts a server on a new database.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(store: Store) -> Self {
        Self::start_with(store, &[])
    }

    /// Starts a server on a new database with settings, such as `("lanes", "2")`.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with(store: Store, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("amends-test-").tempdir();
        let directory = directory.expect("there is a temporary directory");
        let database_url = match store {
            Store::Sqlite => format!("sqlite:{}", directory.path().join("amends.db").display()),
            Store::Postgres => migrated_database(Cluster::shared()),
        };
        Self::on(directory, database_url, settings)
    }

    /// Starts a server on a new database of a cluster that the test has for itself.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_in(cluster: &Cluster, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("amends-test-").tempdir();
        let directory = directory.expect("there is a temporary directory");
        Self::on(directory, migrated_database(cluster), settings)
    }

    /// Starts another server, on another port, over the same database and with the same settings.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_beside(&self) -> Self {
        let directory = tempfile::Builder::new().prefix("amends-test-").tempdir();
        let directory = directory.expect("there is a temporary directory");
        let settings: Vec<(&str, &str)> = self
            .settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        Self::on(directory, self.database_url.clone(), &settings)
    }

    fn on(directory: TempDir, database_url: String, settings: &[(&str, &str)]) -> Self {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let mut server = Self {
            port: free_port(),
            database_url,
            settings: settings.iter().map(own).collect(),
            process: None,
            directory,
        };
        server.start_again();
        server
    }

    /// Where it listens, as a URL.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it listens, as `host:port`.
    #[must_use]
    pub fn listen(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of its database.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// A directory that lives as long as the server.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it wrote since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Whether it wrote this since it was first started.
    #[must_use]
    pub fn ever_said(&self, text: &str) -> bool {
        let log = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&log).contains(text)
    }

    /// The process.
    ///
    /// # Panics
    /// If it is away.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the server runs")
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again on the same port and database, with the same settings, and returns when it is ready.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        let mut program = server_program()
            .args(["--listen", &self.listen(), "--until-stdin-closes"])
            .env("AMENDS__DATABASE_URL", &self.database_url)
            .env("AMENDS_LOG", "info");
        for (key, value) in &self.settings {
            program = program.env(&format!("AMENDS__{}", key.to_uppercase()), value);
        }
        let mut process = program.start(&self.log_file());
        process.wait_for_log(READY, READY_WITHIN);
        self.process = Some(process);
    }

    /// Kills it, and starts it again.
    ///
    /// # Panics
    /// If it does not start.
    pub fn crash_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }
}

/// `amends server`, without anything else.
#[must_use]
pub fn server_program() -> Program {
    Program::of_workspace("amends").args(["server"])
}

/// A new database with the schema in it.
///
/// # Panics
/// If the schema cannot be made.
#[must_use]
pub fn migrated_database(cluster: &Cluster) -> String {
    let url = cluster.create_database().expect("a database can be made");
    migrate(&url);
    url
}

/// Brings a database's schema to the version of the binary.
///
/// # Panics
/// If that fails.
pub fn migrate(database_url: &str) {
    let ended = Program::of_workspace("amends")
        .args(["migrate", "up", "--database-url", database_url])
        .run(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

const READY: &str = "listening on ";
const READY_WITHIN: Duration = Duration::from_secs(30);
