//! What an operator types when a saga waits for a person, against a real server process.

mod dev;

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{ChildStderr, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amends_sdk::{Context, Fail, Participant};
use serde_json::{Value, json};

use dev::{Attached, Dev, binary, code, out, said};

/// A step that breaks behind the point of no return.
const ORDER: &str = "\
apiVersion: amends/v1
name: order
key: ${{ input.order }}
steps:
  - id: hold
    call: shop.hold
    compensate: {call: shop.free}
  - {id: pay, kind: pivot, call: shop.pay}
  - id: ship
    kind: retriable
    call: shop.ship
    retry: {initialInterval: 5ms, maxAttempts: 2}
";

/// A person decides.
const APPROVAL: &str = "\
apiVersion: amends/v1
name: approval
signals:
  decided: {schema: {type: object, required: [approved]}}
steps:
  - id: decision
    wait: {signal: decided, timeout: 1h}
output: {approved: \"${{ steps.decision.output.approved }}\"}
";

/// The shop, whose truck is broken until it is mended.
fn attach_shop(server: &str, mended: &Arc<AtomicBool>) -> Attached {
    let mended = mended.clone();
    let ship = move |_context: Context, _input: Value| {
        let works = mended.load(Ordering::SeqCst);
        async move {
            if works {
                Ok(json!({"tracking": "TRK-1"}))
            } else {
                Err(Fail::failed("TRUCK_BROKEN").message("it does not start"))
            }
        }
    };
    let shop = Participant::new("shop")
        .action("hold", done)
        .action("free", done)
        .action("pay", done)
        .action("ship", ship);
    Attached::start(server, shop)
}

async fn done(_context: Context, _input: Value) -> Result<Value, Fail> {
    Ok(Value::Null)
}

/// A server with parked orders, oldest first.
fn parked(orders: usize) -> (Dev, Attached, Arc<AtomicBool>, Vec<String>) {
    parked_as(ORDER, orders)
}

fn parked_as(order: &str, orders: usize) -> (Dev, Attached, Arc<AtomicBool>, Vec<String>) {
    let dev = Dev::start();
    let definition = dev.file("order.saga.yaml", order);
    assert_eq!(code(&dev.run(&["apply", "-f", &definition])), 0);
    let mended = Arc::new(AtomicBool::new(false));
    let shop = attach_shop(&dev.server, &mended);
    let mut sagas = Vec::new();
    for number in 0..orders {
        let input = json!({"order": format!("o{number}")}).to_string();
        let started = dev.run_with(&["saga", "start", "order", "-i", "-"], &input);
        let id = out(&started).trim().to_owned();
        assert_eq!(code(&dev.run(&["saga", "wait", &id])), 1, "it parks");
        sagas.push(id);
    }
    (dev, shop, mended, sagas)
}

#[test]
fn a_parked_saga_is_explained_and_its_own_commands_mend_it() {
    let (dev, _shop, mended, sagas) = parked(1);
    let id = &sagas[0];
    let shown = out(&dev.run(&["saga", "get", id]));
    assert!(shown.contains("incident STEP_EXHAUSTED at ship"), "{shown}");
    assert!(
        shown.contains("fingerprint: order@1/ship/TRUCK_BROKEN"),
        "{shown}"
    );
    let retry = format!("amends saga retry {id} ship --reason WHY");
    assert!(shown.contains(&retry), "{shown}");

    let explained = dev.run(&["explain", id]);
    assert_eq!(code(&explained), 0, "{}", said(&explained));
    let words = out(&explained);
    for expected in [
        "of order, revision 1, with the key o0: parked",
        "STEP_EXHAUSTED",
        "#2",
        &retry,
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    let data = dev.json(&["saga", "explain", id]);
    assert_eq!(data["waits_for"][0]["kind"], "OPERATOR");
    assert_eq!(data["saga"]["state"], "parked");
    let ships = data["attempts"].as_array().expect("a list").iter();
    assert_eq!(ships.filter(|attempt| attempt["step"] == "ship").count(), 2);

    let dry = dev.run(&[
        "saga",
        "retry",
        id,
        "ship",
        "--reason",
        "mended",
        "--dry-run",
    ]);
    assert_eq!(
        (code(&dry), out(&dry).trim()),
        (0, "running"),
        "{}",
        said(&dry)
    );
    assert!(said(&dry).contains("nothing was done"), "{}", said(&dry));
    assert_eq!(dev.json(&["saga", "get", id])["state"], "parked");
    mended.store(true, Ordering::SeqCst);
    // What is shown is what is typed.
    let words: Vec<&str> = retry.split(' ').skip(1).collect();
    assert_eq!(code(&dev.run(&words)), 0);
    assert_eq!(code(&dev.run(&["saga", "wait", id])), 0);
    let history = out(&dev.run(&["saga", "history", id]));
    let operated = history.lines().find(|line| line.contains("operated"));
    assert!(
        operated
            .expect("it is on record")
            .contains("WHY  (by anonymous)"),
        "{history}"
    );
    let today = history.lines().nth(1).expect("a fact");
    assert_eq!(
        (&today[4..5], &today[10..11]),
        ("-", "T"),
        "a fact has its date: {today}"
    );
}

#[test]
fn a_skip_names_who_reads_what_there_will_not_be() {
    let tell = "  - {id: tell, kind: retriable, call: shop.pay, input: {ref: \"${{ steps.ship.output.tracking }}\"}}
output: {shipped: \"${{ has(steps.ship.output) }}\"}
";
    let (dev, _shop, _mended, sagas) = parked_as(&format!("{ORDER}{tell}"), 1);
    let skip = ["saga", "skip", &sagas[0], "ship", "--reason", "by hand"];
    let dry = [&skip[..], &["--dry-run"]].concat();
    let told = out(&dev.run(&dry));
    let readers = "`input` of step tell reads its output: there is none; where it comes to that it has no value (EXPRESSION_FAILED)\n\
                   the saga's `output` reads its output: there is none, as it hears if it asks with `has`; a read beside that has no value\n";
    assert!(told.ends_with(readers), "{told}");
    let data = dev.json(&dry);
    assert_eq!(
        data["readers"],
        json!([{"step": "tell", "field": "input", "sees": "nothing"}, {"field": "output", "sees": "absence"}])
    );
    let kind = "order@1/ship/TRUCK_BROKEN";
    let group = [
        "incident",
        "act",
        kind,
        "skip",
        "--reason",
        "by hand",
        "--dry-run",
    ];
    let of_group = said(&dev.run(&group));
    assert!(of_group.contains(readers), "{of_group}");
    // It is as it was said.
    assert_eq!(code(&dev.run(&skip)), 0);
    let shown = out(&dev.run(&["saga", "get", &sagas[0]]));
    assert!(
        shown.contains("tell") && shown.contains("EXPRESSION_FAILED"),
        "{shown}"
    );
}

#[test]
fn incidents_are_listed_counted_and_acted_on_as_a_group() {
    let (dev, _shop, mended, sagas) = parked(3);
    let list = dev.json(&["incident", "list", "--limit", "2"]);
    assert_eq!(list["incidents"].as_array().map(Vec::len), Some(2));
    let token = list["next_page_token"].as_str().expect("there are more");
    let rest = dev.json(&["incident", "list", "--page-token", token]);
    assert_eq!(rest["incidents"].as_array().map(Vec::len), Some(1));
    let table = out(&dev.run(&["incident", "list", "--fingerprint", "order@1/*"]));
    assert_eq!(table.lines().count(), 4, "{table}");
    let groups = dev.json(&["incident", "groups"]);
    let kind = groups["groups"][0]["fingerprint"]
        .as_str()
        .expect("one group");
    assert_eq!(
        (kind, &groups["groups"][0]["incidents"]),
        ("order@1/ship/TRUCK_BROKEN", &json!(3))
    );

    let act = |extra: &[&str]| {
        let act = [
            "incident", "act", kind, "retry", "--reason", "mended", "--rate", "1000",
        ];
        dev.run(&[&act, extra].concat())
    };
    let dry = act(&["--dry-run"]);
    assert_eq!(code(&dry), 0, "{}", said(&dry));
    assert!(
        said(&dry).contains("a dry run: nothing was done; 3 accepted, 0 refused"),
        "{}",
        said(&dry)
    );
    mended.store(true, Ordering::SeqCst);
    let one = act(&["--limit", "1"]);
    assert!(
        out(&one).contains(&sagas[0]) && !out(&one).contains(&sagas[1]),
        "{}",
        out(&one)
    );
    assert_eq!(code(&dev.run(&["saga", "wait", &sagas[0]])), 0);
    assert_eq!(code(&act(&[])), 0);
    for saga in &sagas {
        assert_eq!(code(&dev.run(&["saga", "wait", saga])), 0);
    }
    let none = out(&dev.run(&["incident", "list"]));
    assert_eq!(none.lines().count(), 1, "{none}");
    let late = act(&[]);
    assert_eq!(code(&late), 0);
    let words = "no open incident has the fingerprint order@1/ship/TRUCK_BROKEN: ";
    assert!(said(&late).contains(words), "{}", said(&late));
}

#[test]
fn acts_that_would_break_a_saga_end_with_their_codes_and_say_why() {
    let (dev, _shop, _mended, sagas) = parked(1);
    let id = sagas[0].as_str();
    let kind = "order@1/ship/TRUCK_BROKEN";
    let cases: [(&[&str], i32, &str); 10] = [
        (&["saga", "skip", id, "pay", "--reason", "r"], 5, "[PIVOT]"),
        (
            &["saga", "retry", id, "hold", "--reason", "r"],
            5,
            "[NOT_PARKED]",
        ),
        (
            &["saga", "retry", id, "nothing", "--reason", "r"],
            3,
            "[STEP_UNKNOWN]",
        ),
        (
            &["saga", "retry", id, "ship", "--input", "{", "--reason", "r"],
            3,
            "[PAYLOAD_INVALID]",
        ),
        (
            &[
                "saga", "retry", id, "ship", "--input", "{}", "--reason", "r",
            ],
            5,
            "[EFFECT_UNCLEAR]",
        ),
        (
            &["saga", "compensate", id, "--reason", "r"],
            5,
            "[BEHIND_POINT_OF_NO_RETURN]",
        ),
        (
            &["saga", "pause", id, "--reason", " "],
            3,
            "[REASON_INVALID]",
        ),
        (&["saga", "signal", id, "decided"], 3, "[SIGNAL_UNDECLARED]"),
        (
            &["incident", "list", "--fingerprint", "' OR 1=1"],
            3,
            "[FINGERPRINT_INVALID]",
        ),
        (
            &[
                "incident", "act", kind, "skip", "--input", "{}", "--reason", "r",
            ],
            2,
            "goes with retry",
        ),
    ];
    for (arguments, exit, words) in cases {
        let output = dev.run(arguments);
        let said = said(&output);
        assert_eq!(code(&output), exit, "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(
            said.contains("\n  why: ") && said.contains("\n  do:  "),
            "{said}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_group_that_refuses_ends_with_1_and_a_resolve_takes_what_was_done_by_hand() {
    let (dev, _shop, _mended, sagas) = parked(1);
    let id = sagas[0].as_str();
    let kind = "order@1/ship/TRUCK_BROKEN";
    let refused = dev.run(&["incident", "act", kind, "compensate", "--reason", "r"]);
    assert_eq!(code(&refused), 1, "{}", said(&refused));
    assert!(
        out(&refused).contains("refused       BEHIND_POINT_OF_NO_RETURN: "),
        "{}",
        out(&refused)
    );
    let resolved = dev.run(&[
        "saga",
        "resolve",
        id,
        "ship",
        "--result",
        r#"{"tracking": "by hand"}"#,
        "--reason",
        "sent it myself",
    ]);
    assert_eq!(code(&resolved), 0, "{}", said(&resolved));
    let saga = dev.json(&["saga", "get", id]);
    assert_eq!(saga["state"], "completed");
    assert_eq!(
        saga["steps"][2]["forward"]["output"],
        json!({"tracking": "by hand"})
    );
}

#[test]
fn a_saga_that_waits_for_a_person_shows_the_signal_to_send() {
    let dev = Dev::start();
    let definition = dev.file("approval.saga.yaml", APPROVAL);
    assert_eq!(code(&dev.run(&["apply", "-f", &definition])), 0);
    let id = out(&dev.run(&["saga", "start", "approval"]))
        .trim()
        .to_owned();
    let shown = out(&dev.run(&["saga", "get", &id]));
    let command = format!("amends saga signal {id} decided --payload JSON");
    assert!(
        shown.contains("awaiting signal") && shown.contains(&command),
        "{shown}"
    );
    let unfit = dev.run(&["saga", "signal", &id, "decided", "--payload", "{}"]);
    assert_eq!(code(&unfit), 3, "{}", said(&unfit));
    let pause = dev.run(&["saga", "pause", &id, "--reason", "look first"]);
    assert_eq!(out(&pause).trim(), "parked", "{}", said(&pause));
    let payload = dev.file("decision.json", r#"{"approved": true}"#);
    let from_file = format!("@{payload}");
    let signal = [
        "saga",
        "signal",
        &id,
        "decided",
        "--payload",
        &from_file,
        "--dedupe-id",
        "m1",
    ];
    assert_eq!(out(&dev.run(&signal)).trim(), "accepted");
    assert!(out(&dev.run(&signal)).starts_with("a duplicate"));
    let resume = dev.run(&["saga", "resume", &id, "--reason", "looked"]);
    assert_eq!(code(&resume), 0, "{}", said(&resume));
    assert_eq!(code(&dev.run(&["saga", "wait", &id])), 0);
    assert_eq!(
        dev.json(&["saga", "get", &id])["output"],
        json!({"approved": true})
    );
}

#[test]
fn a_new_revision_says_what_it_means_and_an_old_one_is_deleted_once_nothing_runs_on_it() {
    let (dev, _shop, mended, sagas) = parked(1);
    let changed = ORDER.replace("maxAttempts: 2", "maxAttempts: 4");
    let newer = dev.file("newer.saga.yaml", &changed);
    let applied = dev.run(&["apply", "-f", &newer]);
    let told = said(&applied);
    assert!(
        told.contains("1 saga in flight stays on revision 1 of order"),
        "{told}"
    );
    assert!(
        told.contains(
            "1 open incident at order@1/ship/TRUCK_BROKEN: the new revision changes retry"
        ),
        "{told}"
    );
    let in_use = dev.run(&["definition", "delete", "order", "1"]);
    assert_eq!(code(&in_use), 5, "{}", said(&in_use));
    assert!(
        said(&in_use).contains("[DEFINITION_IN_USE]"),
        "{}",
        said(&in_use)
    );
    mended.store(true, Ordering::SeqCst);
    let retried = dev.run(&["saga", "retry", &sagas[0], "ship", "--reason", "mended"]);
    assert_eq!(code(&retried), 0, "{}", said(&retried));
    assert_eq!(code(&dev.run(&["saga", "wait", &sagas[0]])), 0);
    let deleted = dev.run(&["definition", "delete", "order", "1"]);
    assert_eq!(code(&deleted), 0, "{}", said(&deleted));
    let gone = dev.run(&["definition", "get", "order", "--revision", "1"]);
    assert_eq!(code(&gone), 4, "{}", said(&gone));
}

#[test]
fn participants_are_listed_and_a_check_against_them_warns_of_what_nobody_serves() {
    let (dev, _shop, _mended, _sagas) = parked(0);
    // No saga has waited for it: it may be about to attach.
    let asked_at = std::time::Instant::now();
    let listed = loop {
        let listed = dev.json(&["participant", "list"]);
        let late = asked_at.elapsed() > std::time::Duration::from_secs(30);
        if late || listed["participants"][0]["participant"].is_string() {
            break listed;
        }
    };
    assert_eq!(listed["participants"][0]["participant"], "shop");
    let table = out(&dev.run(&["participant", "list"]));
    assert!(table.contains("hold") && table.contains("ship"), "{table}");
    let sound = dev.file("sound.saga.yaml", ORDER);
    let strange = dev.file(
        "strange.saga.yaml",
        &ORDER.replace("shop.free", "shop.release"),
    );
    let server = dev.server.as_str();
    // The address alone in the environment asks for nothing.
    assert!(out(&dev.run(&["lint", &strange])).is_empty());
    let clean = dev.run(&["lint", &sound, "--server", server]);
    assert_eq!(
        (code(&clean), out(&clean).as_str()),
        (0, ""),
        "{}",
        said(&clean)
    );
    let warned = dev.run(&["lint", &strange, "--server", server]);
    assert_eq!(code(&warned), 0, "a warning is no error: {}", said(&warned));
    let text = out(&warned);
    assert!(
        text.contains("warning[PARTICIPANT_ACTION_UNKNOWN]"),
        "{text}"
    );
    assert!(
        text.contains("strange.saga.yaml:7:24") && text.contains("^^^^^^^^^^^^"),
        "{text}"
    );
    let nowhere = dev.run(&["lint", &sound, "--server", "http://127.0.0.1:1"]);
    assert_eq!(code(&nowhere), 6, "{}", said(&nowhere));
}

/// A person decides, and nothing else happens.
const WAITING: &str = "\
apiVersion: amends/v1
name: waiting
signals:
  decided: {}
steps:
  - {id: decision, wait: {signal: decided}}
";

fn write_token(path: &Path, token: &str, mode: u32) -> String {
    std::fs::write(path, token).expect("a file");
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("its owner may");
    path.display().to_string()
}

/// A server with a token; what it says has to be kept, or it could not say anything.
fn guarded() -> (Dev, String, BufReader<ChildStderr>) {
    let directory = tempfile::tempdir().expect("a directory");
    let token = write_token(&directory.path().join("token"), "hunter2\n", 0o600);
    let database = directory.path().join("a.db");
    let mut process = binary()
        .args(["server", "--until-stdin-closes", "--listen", "127.0.0.1:0"])
        .args(["--admin-token-file", &token, "--database-url"])
        .arg(format!("sqlite:{}", database.display()))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut said = BufReader::new(process.stderr.take().expect("a pipe"));
    let server = loop {
        let mut line = String::new();
        let read = said.read_line(&mut line).expect("a line");
        assert!(read > 0, "it ended");
        if let Some((_, address)) = line.trim().split_once("listening on ") {
            break format!("http://{address}");
        }
    };
    let dev = Dev {
        process,
        server,
        directory,
    };
    (dev, token, said)
}

#[test]
fn what_overrides_the_engine_takes_the_token_from_a_file() {
    let (dev, token, _said) = guarded();
    let definition = dev.file("waiting.saga.yaml", WAITING);
    assert_eq!(code(&dev.run(&["apply", "-f", &definition])), 0);
    let started = out(&dev.run(&["saga", "start", "waiting"]));
    let id = started.trim();
    let terminate = ["saga", "terminate", id, "--reason", "given up"];

    let other = write_token(&dev.directory.path().join("other"), "hunter3", 0o600);
    let wrong = ["--token-file", &other];
    for (tried, why) in [
        (terminate.to_vec(), "none came with it"),
        (
            [&terminate[..], &["--dry-run"]].concat(),
            "none came with it",
        ),
        ([&terminate[..], &wrong].concat(), "is another"),
    ] {
        let denied = dev.run(&tried);
        let words = said(&denied);
        assert_eq!(code(&denied), 1, "{words}");
        for expected in [why, "[ADMIN_TOKEN_REQUIRED]", "--token-file FILE"] {
            assert!(words.contains(expected), "{expected}: {words}");
        }
        assert!(!words.contains("hunter"), "{words}");
    }
    let by_group = [
        "incident",
        "act",
        "waiting@1/decision/X",
        "terminate",
        "--reason",
        "given up",
    ];
    let denied = dev.run(&by_group);
    assert_eq!(code(&denied), 1, "{}", said(&denied));
    assert!(
        said(&denied).contains("[ADMIN_TOKEN_REQUIRED]"),
        "{}",
        said(&denied)
    );
    assert_eq!(
        code(&dev.run(&["saga", "pause", id, "--reason", "a pause"])),
        0
    );

    let empty = write_token(&dev.directory.path().join("empty"), "\n", 0o600);
    for (file, why) in [
        (&empty, "has no token"),
        (&"/no/such/file".to_owned(), "cannot be read"),
    ] {
        let unusable = dev.run(&[&terminate[..], &["--token-file", file]].concat());
        assert_eq!(code(&unusable), 2, "{}", said(&unusable));
        assert!(said(&unusable).contains(why), "{}", said(&unusable));
    }

    let done = binary()
        .args(terminate)
        .env("AMENDS_SERVER", &dev.server)
        .env("AMENDS_TOKEN_FILE", &token)
        .output()
        .expect("the binary runs");
    assert_eq!(
        (code(&done), out(&done).trim()),
        (0, "terminated"),
        "{}",
        said(&done)
    );
}

#[test]
fn a_token_that_others_could_read_ends_the_start_with_78() {
    let directory = tempfile::tempdir().expect("a directory");
    let token = write_token(&directory.path().join("token"), "hunter2\n", 0o644);
    let started = binary()
        .args(["server", "--listen", "127.0.0.1:0", "--database-url"])
        .arg(format!(
            "sqlite:{}",
            directory.path().join("a.db").display()
        ))
        .env("AMENDS__ADMIN_TOKEN_FILE", &token)
        .output()
        .expect("the binary runs");
    let words = said(&started);
    assert_eq!(code(&started), 78, "{words}");
    assert!(
        words.contains("its mode is 644") && words.contains("chmod 600"),
        "{words}"
    );
    assert!(!words.contains("hunter2"), "{words}");
    assert!(!directory.path().join("a.db").exists(), "nothing was made");
}
