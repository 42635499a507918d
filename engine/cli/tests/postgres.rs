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
fn the_benchmark_and_its_floor_run_on_a_database_that_is_given() {
    let url = database();
    let arguments = [
        "bench",
        "happy",
        "--store",
        "postgres",
        "--sagas",
        "50",
        "--in-flight",
        "8",
        "--floor",
        "--pairs",
        "2",
        "-o",
        "json",
    ];
    let output = amends(&arguments, &url);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report = json(&output);
    assert_eq!(
        report["lines"].as_array().map(Vec::len),
        Some(2),
        "{report}"
    );
    for line in report["lines"].as_array().into_iter().flatten() {
        assert_eq!(line["figures"]["sagas_per_second"]["legs"], 2, "{line}");
        assert!(
            line["figures"]["wal_bytes_per_saga"]["median"].is_number(),
            "{line}"
        );
    }
    // The tests' own cluster does not wait for the disk, and the report says so.
    assert_eq!(report["database"]["fsync"], "off");
    assert!(
        !output
            .stdout
            .windows(url.len())
            .any(|part| part == url.as_bytes())
    );
}
