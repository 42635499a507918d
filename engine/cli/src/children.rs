//! Child processes of the demo and the benchmark: real processes of this binary, killed and started again, and gone when
//! their parent is, however it ends. Deliberately not here: what they are told to do.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use amends_proto::v1::ListDefinitionsRequest;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;

/// How long a server may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile.
const READY_POLL: Duration = Duration::from_millis(50);
/// How long a process may take to end by itself.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// How much of a log is shown when its process failed.
const LOG_TAIL_BYTES: usize = 2_000;

/// A process of this binary that can be killed and started again.
#[derive(Debug)]
pub struct Process {
    name: String,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Describes a process; its output goes to `{directory}/{name}.log`.
    pub fn new(
        name: &str,
        directory: &Path,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            arguments: arguments.into_iter().collect(),
            environment: Vec::new(),
            log: directory.join(format!("{name}.log")),
            child: None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it, again if it ran before.
    ///
    /// # Errors
    /// If the operating system does not start it.
    pub fn start(&mut self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::wrong(format!("the process {} did not start", self.name)).because(error)
        };
        let binary = std::env::current_exe().map_err(failed)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(failed)?;
        let child = Command::new(binary)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // The child ends when this pipe does, so it never outlives its parent, however that ends.
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // A Ctrl-C at the terminal reaches the parent alone, which then ends its children.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(|error| {
                Failure::wrong(format!("the process {} was not killed", self.name)).because(error)
            })?;
        }
        Ok(())
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// Closes its standard input, at which it ends by itself, and waits for that; kills it if it takes too long.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        if let Some(child) = &mut self.child {
            drop(child.stdin.take());
            if timeout(STOP_WITHIN, child.wait()).await.is_err() {
                return self.kill().await;
            }
            self.child = None;
        }
        Ok(())
    }

    /// How it ended, if it did by itself since it was last asked.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(status)
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let from = bytes.len().saturating_sub(LOG_TAIL_BYTES);
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    /// Says that it failed, with the end of its log.
    #[must_use]
    pub fn failure(&self, what: impl std::fmt::Display) -> Failure {
        let failure = Failure::wrong(format!("the process {} {what}", self.name));
        self.log_tail()
            .lines()
            .rev()
            .take(8)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .fold(failure, Failure::detail)
    }
}

/// A server as a child process, at an address that stays the same when it is started again.
#[derive(Debug)]
pub struct ServerProcess {
    process: Process,
    address: String,
    ready_within: Duration,
}

impl ServerProcess {
    /// Starts a server on a free port and waits until it answers.
    ///
    /// # Errors
    /// If it does not start, or does not answer in time.
    pub async fn start(directory: &Path, database_url: &str) -> Result<Self, Failure> {
        let quiet = [("AMENDS_LOG", "warn".to_owned())];
        Self::start_with(directory, database_url, READY_WITHIN, &quiet).await
    }

    /// The same, with further variables in its environment, and where its database may be so large that it takes longer
    /// than usual.
    ///
    /// # Errors
    /// If it does not start, or does not answer in time.
    pub async fn start_with(
        directory: &Path,
        database_url: &str,
        ready_within: Duration,
        environment: &[(&str, String)],
    ) -> Result<Self, Failure> {
        let listen = free_address()?;
        let arguments = ["server", "--until-stdin-closes", "--listen", &listen].map(OsString::from);
        // The URL may hold a password, and command lines are public: it goes through the environment.
        let process = Process::new("server", directory, arguments)
            .with_environment("AMENDS__DATABASE_URL", database_url)
            // When its parent is killed, it has to be gone soon after.
            .with_environment("AMENDS__DRAIN_GRACE_MS", "1000");
        let process = environment.iter().fold(process, |process, (name, value)| {
            process.with_environment(name, value)
        });
        let mut server = Self {
            process,
            address: format!("http://{listen}"),
            ready_within,
        };
        server.start_again().await?;
        Ok(server)
    }

    /// Where it listens, as a URL.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it after a kill, and waits until it answers.
    ///
    /// # Errors
    /// If it does not start, or does not answer in time.
    pub async fn start_again(&mut self) -> Result<(), Failure> {
        self.process.start()?;
        let deadline = Instant::now() + self.ready_within;
        let connection = Connection::lazy(&self.address, "default")?;
        let request = ListDefinitionsRequest {
            parent: connection.parent(),
            page_size: 1,
            page_token: String::new(),
        };
        loop {
            if connection
                .definitions()
                .list_definitions(request.clone())
                .await
                .is_ok()
            {
                return Ok(());
            }
            if let Some(status) = self.process.ended() {
                return Err(self
                    .process
                    .failure(format!("ended at its start: {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.process.failure(format!(
                    "does not answer after {} s",
                    self.ready_within.as_secs()
                )));
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }
}

/// A port of loopback that is free at this moment.
fn free_address() -> Result<String, Failure> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| {
        Failure::new(Exit::Unavailable, "there is no free port on 127.0.0.1").because(error)
    })?;
    Ok(address.to_string())
}

/// A person, or the terminal that closes, ends whoever runs children: they end as they are dropped.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut hangup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// Resolves when standard input ends, that is, when the parent of this process is gone.
pub async fn stdin_closed() {
    let (gone, end) = oneshot::channel();
    // A thread of its own: a runtime cannot end while one of its threads reads.
    std::thread::spawn(move || {
        // What is read does not matter; the end of it, or a failure, does.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = gone.send(());
    });
    // The sender is never dropped without having sent.
    let _ = end.await;
}
