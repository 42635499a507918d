//! A step of the language.

use serde_json::{Value, json};

use super::parts::{
    self, action, any, choice, duration, expression, integer, retry, schema, text, timeout,
};
use super::{Key, either, exactly_one, mapping};
use crate::limits::{
    CODE_BYTES_MAX, DESCRIPTION_BYTES_MAX, ENTRIES_MAX, ID_BYTES_MAX, ITEMS_MAX, LABEL_BYTES_MAX,
    NAME_BYTES_MAX, STEPS_MAX,
};

/// What a step does: it has exactly one of these, with the keys that do not go with it.
const WORK: [(&str, &[&str]); 6] = [
    ("call", &[]),
    ("wait", &NEEDS_AN_ANSWER),
    ("sleep", &NEEDS_AN_ANSWER),
    // A child's output is checked like a participant's; it is undone as a whole.
    (
        "saga",
        &["input", "retry", "timeout", "query", "compensate"],
    ),
    ("emit", &NEEDS_AN_ANSWER),
    ("fail", &NEEDS_AN_ANSWER),
];

/// Keys of a step that speak of what a participant answers.
const NEEDS_AN_ANSWER: [&str; 6] = [
    "input",
    "outputSchema",
    "retry",
    "timeout",
    "query",
    "compensate",
];

/// A step.
pub(super) fn step() -> Value {
    let mut keys = vec![
        Key::required(
            "id",
            "The step's id, snake_case and unique. Expressions read `steps.<id>.status` and `steps.<id>.output`.",
            parts::id(),
        ),
        Key::new(
            "needs",
            "The steps that have to be done before. Default: the step above. `[]` starts at once.",
            json!({"type": "array", "maxItems": STEPS_MAX, "items": text(ID_BYTES_MAX)}),
        ),
    ];
    keys.extend(work());
    keys.extend(role());
    keys.extend(call());
    let mut step = mapping("step", keys);
    exactly_one(
        &mut step,
        &WORK,
        "a step needs one of `call`, `wait`, `sleep`, `saga`, `emit` and `fail`",
    );
    step
}

fn work() -> Vec<Key> {
    vec![
        Key::new(
            "call",
            "Calls an action of a participant: `participant.action`.",
            action(),
        ),
        Key::new(
            "wait",
            "Waits for a signal of `signals`. The step's output is the signal's payload.",
            wait(),
        ),
        Key::new(
            "sleep",
            "Waits for a time: a duration, or `{until: expression}`. It survives restarts.",
            either(&duration(), mapping("sleep until", until())),
        ),
        Key::new(
            "saga",
            "Runs another saga as a child. The step's output is the child's; undoing the step undoes the child.",
            mapping("child saga", child()),
        ),
        Key::new("emit", "Records an event.", mapping("event", event())),
        Key::new(
            "fail",
            "Fails the saga on purpose.",
            mapping(
                "failure",
                vec![
                    Key::required("code", "The code of the failure.", text(CODE_BYTES_MAX)),
                    Key::new(
                        "message",
                        "The words for people; may hold expressions.",
                        text(DESCRIPTION_BYTES_MAX),
                    ),
                ],
            ),
        ),
    ]
}

fn until() -> Vec<Key> {
    vec![Key::required(
        "until",
        "An expression that yields a time, RFC 3339. One that has passed is over at once.",
        expression(),
    )]
}

fn wait() -> Value {
    let mut wait = mapping(
        "wait",
        vec![
            Key::required(
                "signal",
                "The id of a signal of `signals`.",
                text(ID_BYTES_MAX),
            ),
            Key::new(
                "timeout",
                "How long it waits. Default: no bound.",
                duration(),
            ),
            Key::new(
                "onTimeout",
                "What follows when the time is over. `continue` leaves the step without an output.",
                choice(&["compensate", "continue", "park"], "compensate"),
            ),
        ],
    );
    wait["dependencies"] = json!({"onTimeout": ["timeout"]});
    wait
}

fn child() -> Vec<Key> {
    vec![
        Key::required(
            "name",
            "The child's definition, in the same namespace.",
            text(NAME_BYTES_MAX),
        ),
        Key::new(
            "key",
            "An expression: the child's business key.",
            expression(),
        ),
        Key::new(
            "input",
            "The child's input: a mapping whose scalars may be expressions, or one expression. Default: `{}`.",
            any(),
        ),
    ]
}

fn event() -> Vec<Key> {
    vec![
        Key::required(
            "type",
            "The event's type, such as `com.example.order.shipped`.",
            text(LABEL_BYTES_MAX),
        ),
        Key::new(
            "subject",
            "What the event is about; may hold expressions.",
            text(DESCRIPTION_BYTES_MAX),
        ),
        Key::new(
            "data",
            "The event's data: a mapping whose scalars may be expressions, or one expression.",
            any(),
        ),
    ]
}

fn role() -> Vec<Key> {
    vec![
        Key::new(
            "kind",
            "`compensatable`: its effect can be undone. `pivot`: after its success the saga only goes forward; at most one. \
             `retriable`: behind the pivot, retried until it succeeds or parks.",
            choice(&["compensatable", "pivot", "retriable"], "compensatable"),
        ),
        Key::new(
            "when",
            "An expression that yields a bool. False skips the step, and a skipped need counts as done.",
            expression(),
        ),
        Key::new(
            "foreach",
            "The step is done for each item of a list, and each item is compensated by itself. The output is a list in input order.",
            mapping("foreach", foreach()),
        ),
        Key::new(
            "onError",
            "Where a definite failure leads, the first that matches. Default: `compensate` before the point of no return, `park` behind it.",
            json!({"type": "array", "maxItems": ENTRIES_MAX, "items": mapping("route of a failure", route())}),
        ),
        Key::new(
            "compensate",
            "What undoes the step: a call, or `{none: \"why\"}` if there is nothing to undo. A compensatable call needs it.",
            compensate(),
        ),
    ]
}

fn foreach() -> Vec<Key> {
    vec![
        Key::required("in", "An expression that yields the list.", expression()),
        Key::new(
            "as",
            "The name under which expressions see the item.",
            json!({"type": "string", "pattern": parts::SNAKE_CASE, "default": "item"}),
        ),
        Key::new(
            "key",
            "An expression: the item's key, unique in the list. Default: its place in the list.",
            expression(),
        ),
        Key::new(
            "maxParallel",
            "How many items are under way at a time. Default: 10.",
            integer(1, ITEMS_MAX),
        ),
        Key::new(
            "maxItems",
            "A longer list fails the step. Default: 1000.",
            integer(1, ITEMS_MAX),
        ),
    ]
}

fn route() -> Vec<Key> {
    vec![
        Key::new(
            "codes",
            "The codes of failures that it is for; `FATAL` is every fatal outcome, `EXHAUSTED` every spent budget. Default: all.",
            json!({"type": "array", "minItems": 1, "maxItems": ENTRIES_MAX, "items": text(CODE_BYTES_MAX)}),
        ),
        Key::new(
            "when",
            "An expression that yields a bool and sees `error`. False lets the next one have it.",
            expression(),
        ),
        Key::required(
            "then",
            "`compensate` undoes the saga, `continue` goes on as if the step had succeeded, `park` asks a person.",
            json!({"type": "string", "enum": ["compensate", "continue", "park"]}),
        ),
        Key::new("output", "With `continue`: the step's output.", any()),
    ]
}

fn compensate() -> Value {
    let mut schema = mapping(
        "compensate",
        vec![
            Key::new(
                "none",
                "Nothing has to be undone, and why.",
                text(DESCRIPTION_BYTES_MAX),
            ),
            Key::new(
                "call",
                "The action that undoes the step: `participant.action`.",
                action(),
            ),
            Key::new(
                "input",
                "Its input. Sees `self.input`, `self.output` (null when the outcome is unknown) and `self.error`. \
                 Default: `{input, output, reason}`.",
                any(),
            ),
            Key::new("retry", parts::RETRY_COMPENSATION, retry()),
            Key::new("timeout", parts::TIMEOUT, timeout()),
        ],
    );
    exactly_one(
        &mut schema,
        &[("call", &[]), ("none", &["input", "retry", "timeout"])],
        "say what undoes the step, `call`, or why nothing does, `none`",
    );
    schema
}

fn call() -> Vec<Key> {
    vec![
        Key::new(
            "input",
            "The action's input: a mapping whose scalars may be expressions, or one expression. Default: `{}`.",
            any(),
        ),
        Key::new(
            "outputSchema",
            "A JSON Schema. An output that violates it is the failure `OUTPUT_INVALID`.",
            schema(),
        ),
        Key::new("retry", parts::RETRY, retry()),
        Key::new("timeout", parts::TIMEOUT, timeout()),
        Key::new(
            "query",
            "`participant.operation`, asked whether the action had an effect before an unknown outcome is compensated.",
            action(),
        ),
    ]
}
