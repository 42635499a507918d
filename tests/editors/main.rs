//! What an author sees in an editor: a real yaml-language-server, which most editors run, with the schema that
//! `amends schema` prints, named on the first line as the command's help says. Needs Node.js and npm; without them the tests
//! fail under `tests/run`, and else say so and pass. Deliberately not here: the schema against the language (the package `amends-definitions`).

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod language_server;

use language_server::LanguageServer;

/// A definition with nothing wrong in it; what a test changes has a line of its own.
const SOUND: &str = "# yaml-language-server: $schema=amends.schema.json
apiVersion: amends/v1
name: place-order
steps:
  - id: reserve
    call: stock.reserve
    compensate: {call: stock.release}
  - id: charge
    kind: pivot
    call: payments.charge
    timeout: 10s
";

/// The definition with a line changed, and the place of `|` in the new one.
fn with(line: &str, changed: &str) -> (String, (usize, usize)) {
    assert!(SOUND.contains(line), "{line}");
    let marked = SOUND.replacen(line, changed, 1);
    let at = marked.find('|').expect("a mark");
    let before = &marked[..at];
    let column = before.len() - before.rfind('\n').map_or(0, |end| end + 1);
    (
        marked.replacen('|', "", 1),
        (before.matches('\n').count(), column),
    )
}

#[test]
fn an_editor_completes_the_keys_of_a_definition() {
    let Some(mut server) = LanguageServer::start() else {
        return;
    };
    let (text, place) = with("name: place-order\n", "name: place-order\n|\n");
    let offered = server.completions(&text, place);
    for key in [
        "compensation",
        "concurrency",
        "defaults",
        "description",
        "inputSchema",
        "key",
        "onTimeout",
        "orderingKey",
        "output",
        "retention",
        "retryPolicies",
        "signals",
        "timeout",
    ] {
        assert!(offered.contains(key), "{key}: {offered:?}");
    }
    // What is there already, and what belongs elsewhere.
    for key in ["apiVersion", "name", "call", "triggers"] {
        assert!(!offered.contains(key), "{key}: {offered:?}");
    }
}

#[test]
fn an_editor_completes_the_keys_of_a_step_and_of_what_is_in_it() {
    let Some(mut server) = LanguageServer::start() else {
        return;
    };
    let (text, place) = with("    kind: pivot\n", "    kind: pivot\n    |\n");
    let offered = server.completions(&text, place);
    for key in ["foreach", "input", "needs", "onError", "retry", "when"] {
        assert!(offered.contains(key), "{key}: {offered:?}");
    }
    assert!(!offered.contains("orderingKey"), "{offered:?}");

    let (text, place) = with("    timeout: 10s\n", "    timeout:\n      |\n");
    let offered = server.completions(&text, place);
    for key in ["attempt", "heartbeat", "schedule", "total"] {
        assert!(offered.contains(key), "{key}: {offered:?}");
    }
    // A step that says nothing yet is offered every kind of work.
    let (text, place) = with("  - id: charge\n", "  - id: other\n    |\n  - id: charge\n");
    let offered = server.completions(&text, place);
    for key in ["call", "emit", "fail", "saga", "sleep", "wait"] {
        assert!(offered.contains(key), "{key}: {offered:?}");
    }
}

#[test]
fn an_editor_completes_the_words_of_a_kind() {
    let Some(mut server) = LanguageServer::start() else {
        return;
    };
    let (text, place) = with("    kind: pivot\n", "    kind: |\n");
    let offered = server.completions(&text, place);
    for word in ["compensatable", "pivot", "retriable"] {
        assert!(offered.contains(word), "{word}: {offered:?}");
    }
}

#[test]
fn an_editor_marks_what_is_wrong_and_nothing_else() {
    let Some(mut server) = LanguageServer::start() else {
        return;
    };
    let broken = SOUND
        .replace("    timeout: 10s\n", "    timeout: 10\n")
        .replace("    kind: pivot\n", "    kind: privot\n    retires: 3\n");
    let found = server.diagnostics(&broken, |found| found.len() >= 3);
    let on = |line: usize, words: &str| {
        let found = found.iter();
        let mut found = found.filter(|(at, message)| *at == line && message.contains(words));
        found.next().is_some()
    };
    assert!(on(8, "compensatable"), "{found:?}");
    assert!(on(9, "retires"), "{found:?}");
    assert_eq!(
        found.iter().filter(|(at, _)| *at == 11).count(),
        1,
        "{found:?}"
    );
    assert_eq!(found.len(), 3, "{found:?}");
    // The same document, mended: the server reads it and is content.
    assert_eq!(server.diagnostics(SOUND, <[_]>::is_empty), []);
}

#[test]
fn an_editor_says_what_a_step_lacks_and_what_it_has_too_much() {
    let Some(mut server) = LanguageServer::start() else {
        return;
    };
    for (step, words) in [
        ("{id: a}", &["a step needs one of `call`, `wait`,"][..]),
        (
            "{id: a, call: p.a, sleep: 5m}",
            &[
                "Property call is not allowed",
                "Property sleep is not allowed",
            ],
        ),
        (
            "{id: a, call: p.a, compensate: {}}",
            &["say what undoes the step"],
        ),
        (
            "{id: a, call: p.a, retry: {backof: 2}}",
            &["Property backof is not allowed"],
        ),
        ("{id: a, call: reserve}", &["write `participant.action`"]),
        ("{id: a, sleep: 5 min}", &["write a duration such as"]),
    ] {
        let text = SOUND.replace("steps:\n", &format!("steps:\n  - {step}\n"));
        let found = server.diagnostics(&text, |found| found.len() >= words.len());
        assert_eq!(found.len(), words.len(), "{step}: {found:?}");
        for wanted in words {
            let said = |(line, message): &(usize, String)| *line == 4 && message.contains(wanted);
            assert!(found.iter().any(said), "{step}: {found:?}");
        }
        server.diagnostics(SOUND, <[_]>::is_empty);
    }
}

#[test]
fn an_editor_explains_a_key() {
    let Some(mut server) = LanguageServer::start() else {
        return;
    };
    let (text, place) = with("    kind: pivot\n", "    ki|nd: pivot\n");
    let words = server.hover(&text, place);
    assert!(
        words.contains("after its success the saga only goes forward"),
        "{words}"
    );
    let (text, place) = with("name: place-order\n", "na|me: place-order\n");
    let words = server.hover(&text, place);
    assert!(words.contains("DNS label"), "{words}");
}
