//! The demo's children end with it, however it ends.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// A server whose parent is gone sees the end of its standard input, and ends.
#[test]
fn a_child_server_ends_with_its_parents_pipe() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = format!("sqlite:{}", directory.path().join("a.db").display());
    let mut server = Command::new(env!("CARGO_BIN_EXE_amends"))
        .args([
            "server",
            "--until-stdin-closes",
            "--listen",
            "127.0.0.1:0",
            "--database-url",
            &database,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut lines = BufReader::new(server.stderr.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.expect("a line").contains("listening on 127.0.0.1:")));
    drop(server.stdin.take());
    assert_eq!(server.wait().expect("it ends").code(), Some(0));
}

/// A configuration that cannot be used ends with 78, in one line of reason, before anything listens.
#[test]
fn a_server_that_cannot_start_ends_with_78() {
    let cases: [(&[&str], &str); 4] = [
        (
            &["--database-url", "mysql://root:hunter2@db"],
            "database_url",
        ),
        (
            &["--database-url", "sqlite:a.db", "--listen", "0.0.0.0:0"],
            "--insecure-listen",
        ),
        (
            &["--database-url", "sqlite:a.db", "--listen", "nonsense"],
            "listen",
        ),
        (&["--config", "/no/such/file.toml"], "/no/such/file"),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    for (arguments, words) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_amends"))
            .arg("server")
            .args(arguments)
            .current_dir(directory.path())
            .output()
            .expect("the binary runs");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {said}");
        assert!(
            said.contains(words) && !said.contains("hunter2"),
            "{arguments:?}: {said}"
        );
    }
    assert_eq!(
        std::fs::read_dir(directory.path())
            .expect("a directory")
            .count(),
        0,
        "nothing was made"
    );
}
