//! `bench` as a process: loads, the floor beside them, and what it says of both. What is measured on PostgreSQL is in
//! `postgres.rs`.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_amends"))
        .arg("bench")
        .args(arguments)
        .env_remove("AMENDS__DATABASE_URL")
        .output()
        .expect("the binary runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn figure(line: &Value, name: &str) -> f64 {
    let median = &line["figures"][name]["median"];
    median.as_f64().unwrap_or_else(|| panic!("{name}: {line}"))
}

#[test]
fn a_load_and_its_floor_are_measured_side_by_side() {
    let load = [
        "happy",
        "--store",
        "sqlite",
        "--sagas",
        "40",
        "--in-flight",
        "8",
    ];
    for starts in ["streamed", "unary"] {
        let output = bench(&[&load[..], &["--starts", starts, "--floor", "-o", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report = json(&output);
        let [engine, floor] = &report["lines"].as_array().expect("lines")[..] else {
            panic!("two lines: {report}");
        };
        assert!(
            engine["variant"]
                .as_str()
                .is_some_and(|text| text.contains(starts))
        );
        assert!(
            floor["variant"]
                .as_str()
                .is_some_and(|text| text.contains("floor"))
        );
        for line in [engine, floor] {
            assert!(figure(line, "sagas_per_second") > 0.0);
            assert!(figure(line, "p50_ms") <= figure(line, "max_ms"));
            // Four journal rows a saga, on both sides.
            let rows = figure(line, "transitions_per_second") / figure(line, "sagas_per_second");
            assert!((rows - 4.0).abs() < 0.01, "{rows}");
        }
        assert!(figure(floor, "engine_share") > 0.0);
        if cfg!(target_os = "linux") {
            assert!(figure(engine, "server_cpu_us_per_saga") > 0.0);
            assert!(figure(engine, "participant_cpu_us_per_saga") >= 0.0);
        }
    }
}

#[test]
fn an_open_loop_starts_at_its_rate_whatever_becomes_of_the_sagas() {
    for starts in ["streamed", "unary"] {
        let output = bench(&[
            "failing",
            "--store",
            "sqlite",
            "--rate",
            "50",
            "--seconds",
            "2",
            "--starts",
            starts,
            "--markdown",
        ]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.contains("**failing**"), "{text}");
        assert!(text.contains(&format!("50 starts/s, {starts}")), "{text}");
    }
}

#[test]
fn all_sagas_are_driven_again_after_a_kill() {
    let output = bench(&[
        "recovery", "--store", "sqlite", "--sagas", "300", "--credit", "20", "-o", "json",
    ]);
    let report = json(&output);
    let line = &report["lines"][0];
    assert!(figure(line, "driven_seconds") > 0.0);
    assert_eq!(figure(line, "commands_beyond_credit"), 0.0, "{line}");
    // One that is full when it attaches again has to give one credit, and owes it.
    assert!(
        (1.0..=21.0).contains(&figure(line, "most_in_hand")),
        "{line}"
    );
}

#[test]
fn what_needs_a_database_of_its_own_says_so() {
    for scenario in ["idle", "recovery", "backlog"] {
        let output = bench(&[scenario]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(said.contains("--store"), "{scenario}: {said}");
    }
}
