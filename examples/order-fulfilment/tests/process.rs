//! A service as a process: it waits for its server, says so, and ends when it is asked to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

#[test]
fn a_service_waits_for_its_server_and_ends_at_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let mut service = Command::new(env!("CARGO_BIN_EXE_order-participant"))
        .args(["inventory", "--server", &address])
        .current_dir(directory.path())
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(service.stderr.take().unwrap()).lines();
    let waits = lines.find(|line| {
        line.as_ref()
            .unwrap()
            .contains("cannot attach, trying again")
    });
    let waits = waits.unwrap().unwrap();
    assert!(waits.contains("Connection refused"), "{waits}");
    let pid = service.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(service.wait().unwrap().success());
    assert!(directory.path().join("inventory.db").exists());
}

#[test]
fn a_service_that_cannot_open_its_books_says_why() {
    let service = Command::new(env!("CARGO_BIN_EXE_order-participant"))
        .args(["mail", "--database-url", "mysql://localhost/books"])
        .output()
        .unwrap();
    assert!(!service.status.success());
    let said = String::from_utf8(service.stderr).unwrap();
    assert!(said.contains("mail cannot run"), "{said}");
    assert!(
        said.contains("expected sqlite:FILE or postgres://"),
        "{said}"
    );
}
