//! The two processes beside the server that a measurement starts, a client and a participant: this binary again, told its
//! plan on the command line, and heard through a pipe. Deliberately not here: what they do.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::plan::Said;
use crate::failure::Failure;

/// How long a companion may take to end by itself.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// A process that is told and heard. It ends when its standard input does.
#[derive(Debug)]
pub struct Companion {
    name: &'static str,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Companion {
    /// Starts one; what it says to people goes to a file.
    ///
    /// # Errors
    /// If the operating system does not start it.
    pub fn start(
        name: &'static str,
        directory: &Path,
        server: &str,
        namespace: &str,
        plan: &impl Serialize,
    ) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::wrong(format!("the benchmark's {name} did not start")).because(error)
        };
        let plan = serde_json::to_string(plan).map_err(|error| failed(&error))?;
        let binary = std::env::current_exe().map_err(|error| failed(&error))?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.join(format!("{name}.log")))
            .map_err(|error| failed(&error))?;
        let arguments = ["bench", name, &plan, "--server", server];
        let mut child = Command::new(binary)
            .args(arguments.map(OsString::from))
            .args(["--namespace", namespace])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| failed(&"it has no standard output"))?;
        Ok(Self {
            name,
            child,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it is gone.
    pub async fn go(&mut self) -> Result<(), Failure> {
        let name = self.name;
        let gone = move || Failure::wrong(format!("the benchmark's {name} is gone"));
        let stdin = self.child.stdin.as_mut().ok_or_else(gone)?;
        let sent = stdin.write_all(b"go\n").await;
        sent.map_err(|error| gone().because(error))
    }

    /// What it says next.
    ///
    /// # Errors
    /// If it cannot go on, ends, or says nothing for so long.
    pub async fn hear(&mut self, within: Duration) -> Result<Said, Failure> {
        let broken = |why: String| {
            Failure::wrong(format!("the benchmark's {} broke", self.name)).because(why)
        };
        let line = timeout(within, self.lines.next_line()).await;
        let line = line.map_err(|_| broken(format!("it said nothing for {within:?}")))?;
        let line = line.map_err(|error| broken(error.to_string()))?;
        let line = line.ok_or_else(|| broken("it ended".to_owned()))?;
        match serde_json::from_str(&line).map_err(|error| broken(error.to_string()))? {
            Said::Failed(why) => Err(broken(why)),
            said @ (Said::Ready | Said::Listening(_) | Said::Measured(_)) => Ok(said),
        }
    }

    /// Closes its standard input, at which it ends, and waits for that; kills it if it takes too long.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub async fn stop(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        if timeout(STOP_WITHIN, self.child.wait()).await.is_err() {
            self.child.kill().await.map_err(|error| {
                Failure::wrong(format!("the benchmark's {} was not killed", self.name))
                    .because(error)
            })?;
        }
        Ok(())
    }
}

/// Of a companion: says something to whoever started it.
///
/// # Errors
/// If nobody listens.
pub fn tell(said: &Said) -> Result<(), Failure> {
    let line = serde_json::to_string(said);
    let line = line.map_err(|error| Failure::wrong("there are no words for it").because(error))?;
    crate::output::write_out(&format!("{line}\n"))
}

/// Of a companion: reads its plan.
///
/// # Errors
/// [`crate::exit::Exit::Usage`] if it is none.
pub fn read_plan<T: serde::de::DeserializeOwned>(plan: &str) -> Result<T, Failure> {
    serde_json::from_str(plan).map_err(|error| Failure::usage("this is no plan").because(error))
}

/// Of a companion: waits until it is told to go on, on a thread of its own. False if nobody is there to tell it.
pub async fn told_to_go() -> bool {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        read.is_ok_and(|bytes| bytes > 0)
    });
    read.await.unwrap_or(false)
}
