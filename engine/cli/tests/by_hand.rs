//! What a person does by hand, against a real server process: `dev`, `lint`, `apply`, `saga …`, and the exit codes of what
//! goes wrong.

mod dev;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use amends_sdk::{Context, Fail, Participant};
use serde_json::{Value, json};

use dev::{Attached, Dev, binary, code, out, said};

const DEFINITION: &str = "\
apiVersion: amends/v1
name: rent-a-boat
key: ${{ input.booking }}
inputSchema:
  type: object
  required: [booking]
  properties: {booking: {type: string}, card: {type: string}}
steps:
  - id: hold
    call: boats.hold
    input: {booking: \"${{ input.booking }}\"}
    compensate: {call: boats.free, input: {booking: \"${{ input.booking }}\"}}
  - id: pay
    kind: pivot
    call: boats.pay
    input: {card: \"${{ input.card }}\"}
output: {boat: \"${{ steps.hold.output.boat }}\"}
";

/// The boats, in a thread of their own.
fn attach_boats(server: &str) -> Attached {
    let boats = Participant::new("boats")
        .action("hold", hold)
        .action("free", free)
        .action("pay", pay);
    Attached::start(server, boats)
}

async fn hold(_context: Context, _input: Value) -> Result<Value, Fail> {
    Ok(json!({"boat": "Seal"}))
}

async fn free(_context: Context, _input: Value) -> Result<Value, Fail> {
    Ok(Value::Null)
}

async fn pay(_context: Context, input: Value) -> Result<Value, Fail> {
    match input["card"].as_str() {
        Some("stolen") => Err(Fail::rejected("CARD_DECLINED").message("the card is stolen")),
        _ => Ok(json!({"paid": true})),
    }
}

#[test]
fn a_definition_is_checked_applied_once_and_read_back() {
    let dev = Dev::start();
    let definition = dev.file("boat.saga.yaml", DEFINITION);
    assert_eq!(code(&dev.run(&["lint", &definition])), 0);
    let applied = dev.run(&["apply", "-f", &definition]);
    assert_eq!(code(&applied), 0, "{}", said(&applied));
    assert!(
        out(&applied).contains("rent-a-boat  1         applied"),
        "{}",
        out(&applied)
    );
    assert!(out(&dev.run(&["apply", "-f", &definition])).contains("unchanged"));
    assert_eq!(
        out(&dev.run(&["definition", "get", "rent-a-boat"])),
        DEFINITION
    );
    assert_eq!(
        dev.json(&["definition", "list"])["definitions"][0]["step_ids"],
        json!(["hold", "pay"])
    );
}

#[test]
fn a_saga_by_hand_from_its_start_to_its_history() {
    let dev = Dev::start();
    let definition = dev.file("boat.saga.yaml", DEFINITION);
    let input = dev.file("booking.json", r#"{"booking": "B-1", "card": "good"}"#);
    assert_eq!(code(&dev.run(&["apply", "-f", &definition])), 0);
    let _boats = attach_boats(&dev.server);
    let done = dev.run(&["saga", "start", "rent-a-boat", "-i", &input, "--wait"]);
    assert_eq!(code(&done), 0, "{}", said(&done));
    assert!(
        out(&done).contains("output      {\"boat\":\"Seal\"}"),
        "{}",
        out(&done)
    );

    let again = dev.run(&["saga", "start", "rent-a-boat", "-i", &input]);
    assert!(
        said(&again).contains("nothing was started"),
        "{}",
        said(&again)
    );
    let id = out(&again).trim().to_owned();
    let saga = dev.json(&["saga", "get", &id]);
    assert_eq!(
        (&saga["state"], &saga["key"]),
        (&json!("completed"), &json!("B-1"))
    );
    assert_eq!(
        saga["steps"][0]["forward"]["output"],
        json!({"boat": "Seal"})
    );
    // The resource name leads to the same saga as the id.
    assert_eq!(
        dev.json(&["saga", "get", saga["name"].as_str().expect("a name")]),
        saga
    );

    let list = dev.json(&[
        "saga",
        "list",
        "--state",
        "completed",
        "--definition",
        "rent-a-boat",
        "--key",
        "B-1",
    ]);
    assert_eq!(list["sagas"][0]["id"], json!(id));
    assert_eq!(
        dev.json(&["saga", "list", "--state", "parked"])["sagas"],
        json!([])
    );

    let history = dev.run(&["saga", "history", &id]);
    let followed = dev.run(&["saga", "history", &id, "--follow"]);
    assert_eq!(
        out(&history),
        out(&followed),
        "a saga that ended has nothing more to follow"
    );
    let first_and_last: Vec<String> = out(&history)
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .collect();
    assert_eq!(
        (
            first_and_last[1].as_str(),
            first_and_last.last().map(String::as_str)
        ),
        ("started", Some("completed"))
    );
}

#[test]
fn a_saga_that_compensates_ends_the_wait_with_1() {
    let dev = Dev::start();
    let definition = dev.file("boat.saga.yaml", DEFINITION);
    assert_eq!(code(&dev.run(&["apply", "-f", &definition])), 0);
    let _boats = attach_boats(&dev.server);
    let input = r#"{"booking": "B-2", "card": "stolen"}"#;
    let undone = dev.run_with(
        &[
            "saga",
            "start",
            "rent-a-boat",
            "-i",
            "-",
            "--wait",
            "-o",
            "yaml",
        ],
        input,
    );
    assert_eq!(code(&undone), 1, "{}", said(&undone));
    assert!(
        out(&undone).contains("\nstate: compensated\n"),
        "{}",
        out(&undone)
    );
    assert!(
        out(&undone).contains("\n  code: CARD_DECLINED\n"),
        "{}",
        out(&undone)
    );
    assert!(
        said(&undone).contains("did not complete"),
        "{}",
        said(&undone)
    );
}

#[test]
fn a_saga_that_waits_for_a_participant_can_be_cancelled() {
    let dev = Dev::start();
    let definition = dev.file("boat.saga.yaml", DEFINITION);
    assert_eq!(code(&dev.run(&["apply", "-f", &definition])), 0);
    // Nobody serves the action.
    let started = dev.run_with(
        &["saga", "start", "rent-a-boat", "-i", "-"],
        r#"{"booking": "B-3"}"#,
    );
    let id = out(&started).trim().to_owned();
    let waited = dev.run(&["saga", "wait", &id, "--timeout", "50ms"]);
    assert_eq!(code(&waited), 1);
    assert!(
        said(&waited).contains("still running after the timeout"),
        "{}",
        said(&waited)
    );
    let cancelled = dev.run(&["saga", "cancel", &id, "--reason", "storm"]);
    assert_eq!(
        (code(&cancelled), out(&cancelled).trim()),
        (0, "aborted"),
        "{}",
        said(&cancelled)
    );
    assert_eq!(code(&dev.run(&["saga", "wait", &id])), 1);
    assert_eq!(
        dev.json(&["saga", "get", &id])["abort"]["kind"],
        "CANCELLED"
    );
    let again = dev.run(&["saga", "cancel", &id, "--reason", "storm"]);
    assert_eq!(code(&again), 5, "{}", said(&again));
}

#[test]
fn refusals_end_with_their_codes_and_say_what_to_do() {
    let dev = Dev::start();
    let definition = dev.file("boat.saga.yaml", DEFINITION);
    let broken = dev.file(
        "broken.saga.yaml",
        &DEFINITION.replace("kind: pivot", "kind: pivott"),
    );
    assert_eq!(code(&dev.run(&["apply", "-f", &definition])), 0);
    assert_eq!(
        code(&dev.run_with(
            &["saga", "start", "rent-a-boat", "-i", "-"],
            r#"{"booking": "B-4"}"#
        )),
        0
    );
    let absent = "019aa578-c07b-8abc-bfff-ffffffffffff";
    let cases: [(&[&str], &str, i32, &str); 8] = [
        (
            &["apply", "-f", &broken],
            "",
            3,
            "broken.saga.yaml:14:11: WRONG_VALUE",
        ),
        (
            &["saga", "start", "rent-a-boat", "-i", "-"],
            "{",
            3,
            "[PAYLOAD_INVALID]",
        ),
        (
            &["saga", "start", "rent-a-boat", "-i", "-"],
            "{}",
            3,
            "booking",
        ),
        (
            &["saga", "start", "rent-a-boat", "-i", "-"],
            r#"{"booking": "B-4", "card": "other"}"#,
            5,
            "[KEY_REUSED]",
        ),
        (&["saga", "start", "no-such-thing"], "", 4, "no-such-thing"),
        (&["saga", "get", absent], "", 4, absent),
        (
            &["saga", "list", "--namespace", "elsewhere"],
            "",
            4,
            "elsewhere",
        ),
        (&["saga", "list", "--page-token", "forged"], "", 3, "page"),
    ];
    for (arguments, input, exit, words) in cases {
        let output = dev.run_with(arguments, input);
        assert_eq!(code(&output), exit, "{arguments:?}: {}", said(&output));
        let said = said(&output);
        assert!(
            said.starts_with("error: ") && said.contains("\n  why: ") && said.contains("\n  do:  "),
            "{said}"
        );
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn several_documents_are_applied_together_or_not_at_all() {
    let dev = Dev::start();
    let sound = dev.file("a.saga.yaml", DEFINITION);
    let broken = dev.file(
        "b.saga.yaml",
        &DEFINITION.replace("rent-a-boat", "Rent A Boat"),
    );
    let output = dev.run(&["apply", "-f", &sound, &broken]);
    assert_eq!(code(&output), 3, "{}", said(&output));
    assert!(
        said(&output).contains("b.saga.yaml:2:"),
        "{}",
        said(&output)
    );
    assert_eq!(dev.json(&["definition", "list"])["definitions"], json!([]));
}

#[test]
fn a_server_keeps_its_sagas_when_it_is_asked_to_end_and_started_again() {
    let mut dev = Dev::start();
    let definition = dev.file("boat.saga.yaml", DEFINITION);
    assert_eq!(code(&dev.run(&["apply", "-f", &definition])), 0);
    let started = dev.run_with(
        &["saga", "start", "rent-a-boat", "-i", "-"],
        r#"{"booking": "B-5"}"#,
    );
    let id = out(&started).trim().to_owned();
    let pid = dev.process.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs")
            .success()
    );
    assert_eq!(dev.process.wait().expect("it ends").code(), Some(0));

    let data = dev.directory.path().join("data");
    let second = start_over(&data);
    let saga = binary()
        .args(["saga", "get", &id, "-o", "json", "--server", &second.1])
        .output()
        .expect("it runs");
    let saga: Value = serde_json::from_slice(&saga.stdout).expect("JSON");
    assert_eq!(saga["state"], "running");
}

fn start_over(data: &Path) -> (Killed, String) {
    let mut process = binary()
        .args(["dev", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    let mut server = String::new();
    BufReader::new(process.stdout.take().expect("a pipe"))
        .read_line(&mut server)
        .expect("an address");
    (Killed(process), server.trim().to_owned())
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
