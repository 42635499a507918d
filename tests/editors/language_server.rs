//! A yaml-language-server as a child process, spoken to as an editor does: JSON-RPC over its standard streams. It is installed
//! by npm from the versions in `package-lock.json`, once, beside the test binaries. Deliberately not here: what is asked.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use amends_tests::process::Program;
use serde_json::{Value, json};
use tempfile::TempDir;

const PACKAGE: &str = include_str!("package.json");
const LOCK: &str = include_str!("package-lock.json");

/// Set where no test may be skipped: by `tests/run`.
const SKIP_NONE: &str = "AMENDS_TESTS_SKIP_NONE";

/// The longest that anything may take; an answer takes a fraction of a second, on a machine that compiles much longer.
const PATIENCE: Duration = Duration::from_secs(180);

/// A language server with one document open in it, beside the schema.
pub struct LanguageServer {
    child: Child,
    messages: Receiver<Value>,
    /// Where document and schema are.
    directory: TempDir,
    requests: u64,
    /// The version of the document that was sent last.
    version: u64,
}

impl LanguageServer {
    /// Starts one; none if this machine has no Node.js, and then standard error says so. Under `tests/run` that is a failure.
    pub fn start() -> Option<Self> {
        installed().map(Self::start_at)
    }

    fn start_at(installed: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let schema = Program::of_workspace("amends")
            .args(["schema"])
            .run(PATIENCE);
        assert_eq!(schema.code, Some(0), "{}", schema.stderr);
        fs::write(directory.path().join("amends.schema.json"), schema.stdout).expect("a file");
        let mut child = Command::new("node")
            .arg(installed.join("node_modules/yaml-language-server/bin/yaml-language-server"))
            .arg("--stdio")
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let messages = listen(child.stdout.take().expect("a pipe"));
        let mut server = Self {
            child,
            messages,
            directory,
            requests: 0,
            version: 0,
        };
        server.initialize();
        server
    }

    /// What is offered at a place (line and column from 0), by label.
    pub fn completions(&mut self, text: &str, place: (usize, usize)) -> BTreeSet<String> {
        let answer = self.ask_at("textDocument/completion", text, place);
        let items = answer.get("items").unwrap_or(&answer).as_array().cloned();
        let labels = items.unwrap_or_default().into_iter();
        labels
            .filter_map(|item| item["label"].as_str().map(ToOwned::to_owned))
            .collect()
    }

    /// What is said of a place.
    pub fn hover(&mut self, text: &str, place: (usize, usize)) -> String {
        self.ask_at("textDocument/hover", text, place)["contents"].to_string()
    }

    /// What is marked in a document, as lines from 0 and messages, once it is `enough`.
    pub fn diagnostics(
        &mut self,
        text: &str,
        enough: impl Fn(&[(usize, String)]) -> bool,
    ) -> Vec<(usize, String)> {
        self.show(text);
        let began = Instant::now();
        let mut found = Vec::new();
        while began.elapsed() < PATIENCE {
            let message = self.next();
            if message["method"] != "textDocument/publishDiagnostics" {
                self.answer(&message);
                continue;
            }
            let diagnostics = message["params"]["diagnostics"].as_array().cloned();
            found = diagnostics
                .unwrap_or_default()
                .iter()
                .map(|found| {
                    let line = found["range"]["start"]["line"].as_u64().expect("a line");
                    let message = found["message"].as_str().unwrap_or_default().to_owned();
                    (usize::try_from(line).expect("few lines"), message)
                })
                .collect();
            if enough(&found) {
                return found;
            }
        }
        panic!("this is all that was marked: {found:?}");
    }

    fn initialize(&mut self) {
        let capabilities = json!({
            "textDocument": {
                "completion": {"completionItem": {"snippetSupport": true}},
                "hover": {"contentFormat": ["markdown"]},
                "publishDiagnostics": {},
            },
        });
        let root = uri(self.directory.path());
        self.ask(
            "initialize",
            &json!({"processId": std::process::id(), "rootUri": root, "capabilities": capabilities}),
        );
        self.tell("initialized", &json!({}));
        // Nothing is fetched from anywhere: the schema is the one that the document names.
        let settings = json!({"yaml": {
            "validate": true, "completion": true, "hover": true, "schemaStore": {"enable": false},
        }});
        self.tell(
            "workspace/didChangeConfiguration",
            &json!({"settings": settings}),
        );
    }

    fn ask_at(&mut self, method: &str, text: &str, place: (usize, usize)) -> Value {
        self.show(text);
        let (line, character) = place;
        let position = json!({"line": line, "character": character});
        let document = json!({"uri": self.document()});
        self.ask(
            method,
            &json!({"textDocument": document, "position": position}),
        )
    }

    /// Opens the document, or changes the open one.
    fn show(&mut self, text: &str) {
        self.version += 1;
        let uri = self.document();
        if self.version == 1 {
            let document =
                json!({"uri": uri, "languageId": "yaml", "version": self.version, "text": text});
            self.tell("textDocument/didOpen", &json!({"textDocument": document}));
        } else {
            let document = json!({"uri": uri, "version": self.version});
            self.tell(
                "textDocument/didChange",
                &json!({"textDocument": document, "contentChanges": [{"text": text}]}),
            );
        }
    }

    fn document(&self) -> String {
        uri(&self.directory.path().join("place-order.saga.yaml"))
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let message = self.next();
            if message.get("method").is_some() {
                self.answer(&message);
            } else if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    fn tell(&mut self, method: &str, params: &Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Answers what the server asks of its editor: this one knows nothing.
    fn answer(&mut self, message: &Value) {
        if let Some(id) = message.get("id") {
            self.send(&json!({"jsonrpc": "2.0", "id": id, "result": null}));
        }
    }

    fn next(&mut self) -> Value {
        let message = self.messages.recv_timeout(PATIENCE);
        message.expect("the language server says something")
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        let pipe = self.child.stdin.as_mut().expect("it is open");
        write!(pipe, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("it is read");
        pipe.flush().expect("it is read");
    }
}

impl Drop for LanguageServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(stdout: ChildStdout) -> Receiver<Value> {
    let (sender, messages) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        while let Some(message) = read_message(&mut reader) {
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    messages
}

/// Reads a message; none at the end of the stream.
fn read_message(reader: &mut BufReader<ChildStdout>) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

/// Where the language server is installed; none if it cannot be, for want of Node.js.
fn installed() -> Option<&'static Path> {
    static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        for program in ["node", "npm"] {
            let version = Command::new(program).arg("--version").output();
            if !version.is_ok_and(|output| output.status.success()) {
                let cure = format!("`{program}` is missing: install Node.js 18 or newer, with npm");
                assert!(
                    std::env::var_os(SKIP_NONE).is_none(),
                    "{SKIP_NONE} is set, and {cure}"
                );
                // Not through the macro for tests, whose words a test that passes never shows.
                let _ = writeln!(
                    std::io::stderr(),
                    "\nSKIPPED: the tests of editors, because {cure}\n"
                );
                return None;
            }
        }
        Some(install())
    });
    installed.as_deref()
}

fn install() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let beside = test.parent().expect("a file is in a directory");
    let directory = beside.join("editors");
    let current = fs::read_to_string(directory.join("package-lock.json"));
    if current.is_ok_and(|lock| lock == LOCK) {
        return directory;
    }
    // Elsewhere first: what has its name is complete, even if two tests begin at once or one is killed.
    let fresh = tempfile::Builder::new()
        .prefix("editors-")
        .tempdir_in(beside)
        .expect("a directory");
    fs::write(fresh.path().join("package.json"), PACKAGE).expect("a file");
    fs::write(fresh.path().join("package-lock.json"), LOCK).expect("a file");
    let npm = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(fresh.path())
        .output()
        .expect("npm starts");
    assert!(
        npm.status.success(),
        "npm cannot install the language server:\n{}",
        String::from_utf8_lossy(&npm.stderr)
    );
    // Another version of it is in the way, or nothing is.
    let _ = fs::remove_dir_all(&directory);
    let fresh = fresh.keep();
    if fs::rename(&fresh, &directory).is_err() {
        // Another process was faster.
        let _ = fs::remove_dir_all(&fresh);
    }
    assert!(
        directory.join("node_modules").is_dir(),
        "{}",
        directory.display()
    );
    directory
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}
