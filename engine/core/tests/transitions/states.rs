//! The states that a saga can be in, as far as it makes a difference.

use std::sync::Arc;

use amends_core::Outcome;
use amends_core::shard::Verb;
use amends_definitions::Definition;

use crate::cell::{
    About, COMPENSATE, Cell, FORWARD, QUERY, failed, payload, pinned, rejected, succeeded, target,
    terminated, unusable,
};

pub const DEFINITION: &str = r#"
apiVersion: amends/v1
name: table
orderingKey: input.who
timeout: 30d
onTimeout: park
defaults: {retry: {initialInterval: 1m, backoff: 1, maxInterval: 1m, jitter: 0, maxAttempts: 2}, timeout: 10s}
compensation: {parkAfter: 12h, retry: {initialInterval: 1m, backoff: 1, maxInterval: 1m, jitter: 0, maxAttempts: 2}}
signals: {go: {schema: {type: object}}}
steps:
  - {id: hold, call: bare.hold, onError: [{codes: [SOFT], then: continue}], compensate: {call: bare.release}}
  - {id: each, foreach: {in: input.items, maxParallel: 2}, call: bare.each, query: bare.ask, onError: [{codes: [ASK], then: park}], compensate: {call: bare.undo_each}}
  - {id: wait, wait: {signal: go, timeout: 1h, onTimeout: park}}
  - {id: nap, sleep: 1h}
  - {id: kid, saga: {name: child}}
  - {id: pay, kind: pivot, call: bare.pay, query: bare.ask}
  - {id: ship, kind: retriable, call: bare.ship, retry: {maxAttempts: 2}}
output: {ok: "${{ steps.ship.output.ok }}"}
"#;

/// A state: its name, what it is about, and a saga in it.
pub struct State {
    pub name: &'static str,
    pub about: About,
    pub cell: Cell,
}

/// Each state, in the order in which sagas come by them.
pub fn states(definition: &Arc<Definition>) -> Vec<State> {
    let parts = [
        beginning(definition),
        halfway(definition),
        at_the_pivot(definition),
        behind_the_pivot(definition),
        aborted(definition),
        undoing(definition),
        ended(definition),
    ];
    let states = parts.into_iter().flatten();
    states
        .map(|(name, about, cell)| State { name, about, cell })
        .collect()
}

fn begun(definition: &Arc<Definition>) -> Cell {
    Cell::new(definition, true)
}

fn beginning(definition: &Arc<Definition>) -> Vec<(&'static str, About, Cell)> {
    let begun = || begun(definition);
    let hold = ("hold", 0, FORWARD);
    let turnless = Cell::new(definition, false);
    let again = || begun().forward("hold", failed());
    let paused = || begun().order(Verb::Pause);
    let nearly_late = || begun().pass(30 * 24 * 3_600 - 30);
    let late = nearly_late().forward("hold", failed()).pass(30);
    let past = begun().forward("hold", rejected("SOFT"));
    vec![
        ("waiting for its turn", hold, turnless),
        ("a step scheduled", hold, begun()),
        ("a step to be tried again", hold, again()),
        ("a step tried again", hold, again().pass(60)),
        ("paused, a step scheduled", hold, paused()),
        (
            "paused, a step to be tried again",
            hold,
            again().order(Verb::Pause),
        ),
        ("late, a step to be tried again", hold, late),
        ("a step gone past", hold, past),
    ]
}

fn halfway(definition: &Arc<Definition>) -> Vec<(&'static str, About, Cell)> {
    let begun = || begun(definition);
    let each = ("each", 1, FORWARD);
    let wait = ("wait", 0, FORWARD);
    let kid = ("kid", 0, FORWARD);
    let listed = || begun().forward("hold", succeeded());
    let parked = listed().outcome("each", 1, FORWARD, rejected("ASK"));
    let asked_for = || begun().slept();
    vec![
        ("items in flight", each, listed()),
        ("an item parked", each, parked),
        ("waiting for a signal", wait, begun().items()),
        ("waited too long", wait, begun().items().pass(3_600)),
        ("sleeping", ("nap", 0, FORWARD), begun().items().signal()),
        ("a child asked for", kid, asked_for()),
        (
            "paused, a child asked for",
            kid,
            asked_for().order(Verb::Pause),
        ),
        ("a child under way", kid, asked_for().child(pinned())),
    ]
}

fn at_the_pivot(definition: &Arc<Definition>) -> Vec<(&'static str, About, Cell)> {
    let paying = || begun(definition).paying();
    let pay = ("pay", 0, FORWARD);
    let spent = || paying().spent("pay", 0, FORWARD);
    let unusable = paying().forward("pay", unusable());
    vec![
        ("the pivot scheduled", pay, paying()),
        (
            "the pivot scheduled, a cancel pending",
            pay,
            paying().cancel(),
        ),
        ("the pivot asked for", ("pay", 0, QUERY), spent()),
        ("the pivot in doubt", pay, spent().spent("pay", 0, QUERY)),
        ("the pivot's answer unusable", pay, unusable),
    ]
}

fn behind_the_pivot(definition: &Arc<Definition>) -> Vec<(&'static str, About, Cell)> {
    let ship = ("ship", 0, FORWARD);
    let shipping = || begun(definition).paying().forward("pay", succeeded());
    let refused = || shipping().forward("ship", rejected("NO"));
    let spent = shipping().spent("ship", 0, FORWARD);
    let wait = ("wait", 0, FORWARD);
    let skipped = begun(definition).items().pass(3_600).order(Verb::Skip {
        target: target(wait),
    });
    let valueless = shipping().forward(
        "ship",
        Outcome::Succeeded {
            output: payload("{}"),
        },
    );
    let patched = refused().order(Verb::Retry {
        target: target(ship),
        input: Some(payload(r#"{"patched":1}"#)),
    });
    vec![
        ("behind the pivot", ship, shipping()),
        ("behind the pivot, parked as refused", ship, refused()),
        ("behind the pivot, parked as spent", ship, spent),
        (
            "behind the pivot, paused",
            ship,
            shipping().order(Verb::Pause),
        ),
        ("behind the pivot, another round", ship, patched),
        ("a step skipped by hand", wait, skipped),
        ("done but for its output", ship, valueless),
    ]
}

fn aborted(definition: &Arc<Definition>) -> Vec<(&'static str, About, Cell)> {
    let begun = || begun(definition);
    let listed = || begun().forward("hold", succeeded());
    let in_flight = listed().outcome("each", 1, FORWARD, rejected("NO"));
    let asked = || {
        let spent = listed().spent("each", 1, FORWARD);
        spent.outcome("each", 2, FORWARD, rejected("NO"))
    };
    let unanswered = asked().spent("each", 1, QUERY);
    let settling = begun().forward("hold", failed()).cancel();
    let nothing_to_undo = begun()
        .forward("hold", failed())
        .cancel()
        .pass(3_600)
        .outcome("hold", 0, COMPENSATE, Outcome::NothingToUndo);
    vec![
        (
            "aborted, an item in flight",
            ("each", 2, FORWARD),
            in_flight,
        ),
        (
            "aborted, an item's effect asked for",
            ("each", 1, QUERY),
            asked(),
        ),
        (
            "undoing what nobody could say of",
            ("each", 1, COMPENSATE),
            unanswered,
        ),
        ("aborted, a step settles", ("hold", 0, FORWARD), settling),
        (
            "aborted, nothing of a step was to undo",
            ("hold", 0, COMPENSATE),
            nothing_to_undo,
        ),
    ]
}

fn undoing(definition: &Arc<Definition>) -> Vec<(&'static str, About, Cell)> {
    let hold = ("hold", 0, COMPENSATE);
    let kid = ("kid", 0, COMPENSATE);
    let undoing = || {
        let listed = begun(definition).forward("hold", succeeded());
        let aborted = listed.outcome("each", 1, FORWARD, rejected("NO"));
        aborted.outcome("each", 2, FORWARD, rejected("NO"))
    };
    let answered = |outcome| undoing().outcome("hold", 0, COMPENSATE, outcome);
    let spent = undoing().spent("hold", 0, COMPENSATE);
    let child = || begun(definition).slept().child(pinned()).cancel();
    vec![
        ("undoing a step", hold, undoing()),
        (
            "undoing a step, to be tried again",
            hold,
            answered(failed()),
        ),
        (
            "undoing a step, parked as refused",
            hold,
            answered(rejected("NO")),
        ),
        ("undoing a step, parked as spent", hold, spent),
        ("undoing a child", kid, child()),
        (
            "undoing a child, given up",
            kid,
            child().child(terminated()),
        ),
    ]
}

fn ended(definition: &Arc<Definition>) -> Vec<(&'static str, About, Cell)> {
    let begun = || begun(definition);
    let hold = ("hold", 0, FORWARD);
    let paid = begun().paying().forward("pay", succeeded());
    let shipped = paid.forward("ship", succeeded());
    let refused = begun().forward("hold", rejected("NO"));
    vec![
        ("completed", ("ship", 0, FORWARD), shipped),
        ("compensated", hold, refused),
        ("terminated", hold, begun().order(Verb::Terminate)),
    ]
}
