//! The binary as a shell sees it, without a server: exit codes, what goes to which stream, closed pipes.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

const SOUND: &str =
    "apiVersion: amends/v1\nname: a\nsteps:\n  - {id: s, call: p.a, compensate: {call: p.b}}\n";

fn amends(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amends"));
    command
        .args(arguments)
        .env_remove("AMENDS_SERVER")
        .env_remove("AMENDS_NAMESPACE")
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = amends(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that reads nothing may be gone already.
    let _ = child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn help_lists_the_exit_codes_on_standard_output() {
    let output = run(&["--help"], "");
    assert_eq!(code(&output), 0);
    assert!(text(&output.stdout).contains("Exit codes:\n   0  everything asked for was done"));
    assert!(output.stderr.is_empty());
}

#[test]
fn a_command_line_that_is_none_ends_with_2_and_says_so_on_standard_error() {
    for arguments in [
        &["saga", "cancel", "X"][..],
        &["sagas"],
        &["saga", "wait", "X", "--timeout", "5"],
    ] {
        let output = run(arguments, "");
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_server_that_is_away_ends_with_6_and_says_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    for arguments in [
        &["saga", "list"][..],
        &["saga", "start", "d"],
        &["definition", "list"],
    ] {
        let output = run(&[arguments, &["--server", &address]].concat(), "");
        assert_eq!(code(&output), 6, "{arguments:?}");
        let said = text(&output.stderr);
        assert!(
            said.starts_with(&format!("error: no server answers at {address}\n  why: ")),
            "{said}"
        );
        assert!(
            said.contains("\n  do:  start one with `amends dev`"),
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_file_that_is_not_there_ends_with_2_before_a_server_is_asked() {
    for arguments in [
        &["apply", "-f", "/no/such/file"][..],
        &["saga", "start", "d", "-i", "/no/such/file"],
        &["lint", "/no/such/file"],
    ] {
        let output = run(arguments, "");
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(
            text(&output.stderr).contains("/no/such/file cannot be read"),
            "{arguments:?}"
        );
    }
}

#[test]
fn lint_says_nothing_on_standard_output_about_a_sound_document() {
    let output = run(&["lint", "-"], SOUND);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(
        text(&output.stderr),
        "1 document checked: 0 errors, 0 warnings\n"
    );
}

#[test]
fn lint_ends_with_3_and_shows_the_line_of_an_error() {
    let broken = SOUND.replace("id: s", "id: s, retires: 1");
    let output = run(&["lint", "-"], &broken);
    assert_eq!(code(&output), 3);
    let found = text(&output.stdout);
    assert!(
        found.contains("retires") && found.contains("4 |") && found.contains('^'),
        "{found}"
    );

    let output = run(&["lint", "--format", "json", "-"], &broken);
    assert_eq!(code(&output), 3);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["files"][0]["diagnostics"][0]["code"], "UNKNOWN_KEY");
}

#[test]
fn lint_speaks_to_code_scanning_and_to_workflows() {
    let broken = SOUND.replace("id: s", "id: s, retires: 1");
    let output = run(&["lint", "--format", "sarif", "-"], &broken);
    assert_eq!(code(&output), 3);
    let log: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(log["version"], "2.1.0");
    assert_eq!(log["runs"][0]["results"][0]["ruleId"], "UNKNOWN_KEY");

    let output = run(&["lint", "--format", "github", "-"], &broken);
    assert_eq!(code(&output), 3);
    let found = text(&output.stdout);
    assert!(found.starts_with("::error line=4,col="), "{found}");
    assert_eq!(
        text(&output.stderr),
        "1 document checked: 1 error, 0 warnings\n"
    );

    let output = run(&["lint", "--format", "github", "-"], SOUND);
    assert_eq!((code(&output), text(&output.stdout)), (0, String::new()));
}

#[test]
fn lint_searches_directories() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name);
    std::fs::create_dir(path("deep")).expect("a directory");
    std::fs::write(path("deep/a.saga.yaml"), SOUND).expect("a file");
    std::fs::write(path("b.saga.yaml"), "name: b\n").expect("a file");
    std::fs::write(path("ignored.yaml"), "name: c\n").expect("a file");
    let directory = root.path().to_str().expect("a path of text").to_owned();
    let output = run(&["lint", "--format", "json", &directory, "-"], SOUND);
    assert_eq!(code(&output), 3);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let files = found["files"].as_array().expect("a list").iter();
    let names: Vec<&str> = files.filter_map(|file| file["file"].as_str()).collect();
    let expected = [
        format!("{directory}/b.saga.yaml"),
        format!("{directory}/deep/a.saga.yaml"),
        "-".to_owned(),
    ];
    assert_eq!(names, expected);

    let empty = tempfile::tempdir().expect("a directory");
    let output = run(
        &["lint", empty.path().to_str().expect("a path of text")],
        "",
    );
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("holds no definition"));
}

#[test]
fn graph_draws_in_each_format_to_standard_output_or_a_file() {
    for (format, beginning) in [
        ("svg", "<svg xmlns="),
        ("mermaid", "flowchart TB\n"),
        ("dot", "digraph \"a\" {\n"),
    ] {
        let output = run(&["graph", "-", "--format", format], SOUND);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with(beginning), "{format}");
        assert!(output.stderr.is_empty());
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.svg");
    let path = path.to_str().expect("a path of text");
    let output = run(&["graph", "-", "--to", path], SOUND);
    assert_eq!((code(&output), output.stdout.is_empty()), (0, true));
    let drawn = std::fs::read_to_string(path).expect("it is written");
    assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
}

#[test]
fn graph_draws_nothing_of_what_is_no_definition() {
    let output = run(&["graph", "-"], &SOUND.replace("call: p.a", "call: a"));
    assert_eq!(code(&output), 3);
    let said = text(&output.stderr);
    assert!(said.contains("error[ACTION]"), "{said}");
    assert!(said.contains("error: - was not drawn"), "{said}");
    assert!(output.stdout.is_empty());
    let output = run(&["graph", "-", "--to", "/no/such/directory/a.svg"], SOUND);
    assert_eq!(code(&output), 2, "{}", text(&output.stderr));
}

#[test]
fn schema_prints_a_json_schema() {
    let output = run(&["schema"], "");
    assert_eq!(code(&output), 0);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["properties"]["steps"]["type"], "array");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let broken = SOUND.replace("id: s", "id: s, retires: 1");
    let mut child = amends(&["lint", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // The reader is gone before anything is written.
    drop(child.stdout.take());
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(broken.as_bytes())
        .expect("it is read");
    let output = child.wait_with_output().expect("it ends");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

const REFUND: &str = "apiVersion: amends/v1
name: refund
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release, input: {hold: \"${{ self.output.id }}\"}}}
  - {id: pay, kind: pivot, call: p.pay}
";

#[test]
fn a_simulation_plays_what_the_script_says_through_a_crash() {
    let arguments = ["simulate", "-", "--fail", "pay:NO", "--crash-after", "2"];
    let output = run(&arguments, REFUND);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let told = text(&output.stdout);
    let order = [
        "hold, attempt 1: succeeded",
        "the server crashes, and recovers from 2 rows",
        "pay, attempt 1: rejected: NO",
        "the saga aborts: STEP_FAILED (NO",
        "the compensation of hold is sent",
        "compensated",
    ];
    let places: Vec<_> = order.iter().map(|part| told.find(part)).collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{told}"
    );
    let json = run(&[&arguments[..], &["-o", "json"]].concat(), REFUND);
    let played: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(played["state"], "compensated");
    for (wrong, why) in [
        (&["--fail", "nowhere"][..], "there is no step `nowhere`"),
        (&["--unknown", "pay:maybe"], "`maybe` is not `effect`"),
        (&["--answer", "hold"], "there is no `=`"),
        (&["--signal", "go=1"], "declares no signal `go`"),
    ] {
        let output = run(&[&["simulate", "-"], wrong].concat(), REFUND);
        assert_eq!(code(&output), 2, "{wrong:?}");
        assert!(
            text(&output.stderr).contains(why),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn verify_finds_the_shortest_way_to_a_compensation_that_cannot_be_called() {
    let output = run(&["verify", "-"], REFUND);
    assert_eq!(code(&output), 1);
    let told = text(&output.stdout);
    assert!(
        told.contains("BROKEN: the compensation of `hold` cannot be called"),
        "{told}"
    );
    assert!(told.contains("    1. a saga begins with"), "{told}");
    assert!(
        told.contains("parked going forward: PIVOT_IN_DOUBT at pay"),
        "{told}"
    );
    let mended = REFUND.replace("self.output.id", "input.hold");
    let output = run(&["verify", "-"], &mended);
    assert_eq!(code(&output), 0, "{}", text(&output.stdout));
    assert!(text(&output.stdout).ends_with("Every promise holds.\n"));
    assert!(text(&output.stdout).contains("one at a time:\n  input.hold\n"));
    let computed = REFUND.replace("self.output.id", "input.holds[input.at].id");
    let output = run(&["verify", "-"], &computed);
    assert!(
        text(&output.stdout).contains("\nassumed: `id` is there: it is read of a computed value\n")
    );
    let cut = run(&["verify", "-", "--states", "3"], &mended);
    assert_eq!(code(&cut), 1);
    assert!(text(&cut.stdout).contains("NOT all of them"));
    assert!(text(&cut.stdout).contains("\nINCOMPLETE: "));
    assert!(!text(&cut.stdout).contains("Every promise"));
    assert_eq!(code(&run(&["verify", "-"], "name: x\n")), 3);
}
