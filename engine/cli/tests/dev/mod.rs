//! `amends dev` as a process, what is run against it, and a participant in a thread.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};

use amends_sdk::Participant;
use serde_json::Value;
use tokio::sync::oneshot;

/// `amends dev` on a free port, over a directory of its own.
pub struct Dev {
    pub process: Child,
    pub server: String,
    pub directory: tempfile::TempDir,
}

impl Dev {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut process = binary()
            .args(["dev", "--listen", "127.0.0.1:0", "--data"])
            .arg(directory.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        // The first line of its standard output is its address: nothing has to be waited for.
        let mut server = String::new();
        let mut out = BufReader::new(process.stdout.take().expect("a pipe"));
        out.read_line(&mut server).expect("an address");
        Self {
            process,
            server: server.trim().to_owned(),
            directory,
        }
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "")
    }

    pub fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = binary()
            .args(arguments)
            .env("AMENDS_SERVER", &self.server)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let _ = child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(input.as_bytes());
        child.wait_with_output().expect("it ends")
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["-o", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amends"));
    command
        .env_remove("AMENDS_SERVER")
        .env_remove("AMENDS_NAMESPACE")
        .env_remove("AMENDS_TOKEN_FILE")
        .stdin(Stdio::null());
    command
}

/// A participant in a thread of its own, until it is dropped.
pub struct Attached(
    Option<oneshot::Sender<()>>,
    Option<std::thread::JoinHandle<()>>,
);

impl Attached {
    pub fn start(server: &str, participant: Participant) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let server = server.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let until = async {
                let _ = stopped.await;
            };
            runtime
                .block_on(participant.run_until(&server, until))
                .expect("it attaches");
        });
        Self(Some(stop), Some(thread))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        drop(self.0.take());
        if let Some(thread) = self.1.take() {
            let _ = thread.join();
        }
    }
}

pub fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}
