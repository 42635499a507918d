//! `migrate` and `bench` on a private PostgreSQL cluster.

use std::process::{Command, Output};

use amends_tests::postgres::Cluster;
use serde_json::Value;

fn amends(arguments: &[&str], url: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_amends"))
        .args(arguments)
        .env("AMENDS__DATABASE_URL", url)
        .output()
        .expect("the binary runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn database() -> String {
    Cluster::shared().create_database().expect("a database")
}

#[test]
fn a_schema_goes_up_and_down_and_says_where_it_is() {
    let url = database();
    let status = json(&amends(&["migrate", "status", "-o", "json"], &url));
    assert_eq!(status["version"], 0);
    let server = amends(&["server", "--listen", "127.0.0.1:0"], &url);
    assert_eq!(server.status.code(), Some(78), "{}", said(&server));
    assert!(
        said(&server).contains("amends migrate up"),
        "{}",
        said(&server)
    );

    let up = amends(&["migrate", "up", "-o", "json"], &url);
    assert_eq!(up.status.code(), Some(0), "{}", said(&up));
    assert!(
        said(&up).contains("went from schema 0 to schema "),
        "{}",
        said(&up)
    );
    let up = json(&up);
    assert_eq!(
        (&up["version"], &up["shard_count"]),
        (&up["known"], &Value::from(256))
    );
    assert!(up["migrations"][0]["apply_time"].is_string());
    // Up again changes nothing.
    assert_eq!(json(&amends(&["migrate", "up", "-o", "json"], &url)), up);

    let down = amends(&["migrate", "down", "-o", "json"], &url);
    assert_eq!(down.status.code(), Some(0), "{}", said(&down));
    assert_eq!(json(&down)["version"], 0);
}

#[test]
fn a_database_that_is_not_there_ends_with_6() {
    let output = amends(
        &["migrate", "up"],
        "postgres://nobody:hunter2@127.0.0.1:1/none",
    );
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(!said(&output).contains("hunter2"), "{}", said(&output));
}

#[test]
fn the_benchmark_and_its_floor_run_on_postgres() {
    let url = database();
    for floor in [&[][..], &["--floor"]] {
        let arguments = [
            "bench",
            "--store",
            "postgres",
            "--sagas",
            "50",
            "--in-flight",
            "8",
            "-o",
            "json",
        ];
        let output = amends(&[&arguments, floor].concat(), &url);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let measured = json(&output);
        assert_eq!(
            (&measured["sagas"], &measured["errors"]),
            (&Value::from(50), &Value::from(0))
        );
    }
}
