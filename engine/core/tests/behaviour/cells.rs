//! What a shard does with each kind of input in each state that it can be in: what leaves at once, what is recorded, and what
//! leaves once that is durable. Columns: at once, with the batch before, the facts, once they are durable. It stands in
//! `cells.txt`; with `AMENDS_UPDATE_EXPECT=1` the file is written anew: read what has changed before you keep it. What a saga
//! answers is the table in `tests/transitions`.

use std::fmt::Write as _;

use amends_core::fact::{Parent, Started};
use amends_core::key::hash_128;
use amends_core::shard::{
    ChildAnswer, ChildStart, ChildState, ChildWish, Existing, Input, LoadedSaga, Order, Output,
    Report, Signal, Start, StartKey, Token, Verb, Want,
};
use amends_core::{AttemptName, SagaId};

use crate::pump::{Pump, attempt_of, definition, payload, succeeded};

const ONE: &str = "apiVersion: amends/v1
name: one
signals: {go: {}}
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release}}
  - {id: pay, kind: pivot, call: p.pay}
";

/// What leads to a state from a saga whose first command is out.
type Lead = fn(&mut Pump, SagaId);

/// Each state of a shard.
const STATES: [(&str, Lead); 10] = [
    ("its command out", |_, _| ()),
    ("its command sent", |pump, _| {
        pump.send("hold");
    }),
    ("a child asked for", |pump, saga| ask_for_child(pump, saga)),
    ("a child asked for, and there is none", |pump, saga| {
        ask_for_child(pump, saga);
        let loaded = LoadedSaga::Absent;
        let saga = child_of(saga);
        pump.shard.handle(Input::Loaded { saga, loaded }, pump.now);
    }),
    ("a child under way", |pump, saga| {
        pump.shard.handle(wish(saga, Want::Run), pump.now);
        pump.definitions.insert(child_of(saga), definition(ONE));
        pump.run();
    }),
    ("a batch in flight", |pump, saga| begin_batch(pump, saga)),
    ("a batch rolled back", |pump, saga| {
        begin_batch(pump, saga);
        pump.shard.rolled_back(None);
    }),
    ("a batch rolled back, taken anew", |pump, saga| {
        begin_batch(pump, saga);
        let next = pump.journal.last().map_or(1, |row| row.position + 1);
        pump.shard.rolled_back(Some(next));
    }),
    ("a batch of unknown outcome, deposed", |pump, saga| {
        begin_batch(pump, saga);
        pump.shard.depose();
    }),
    ("deposed", |pump, _| pump.shard.depose()),
];

/// A pause is decided, and not known to be durable.
fn begin_batch(pump: &mut Pump, saga: SagaId) {
    pump.shard.handle(order(saga, 99), pump.now);
    let batch = pump.shard.prepare(pump.now, pump.limits, &pump.barrier);
    assert!(batch.is_some(), "something is to be written");
}

/// A parent wants its child to run, and the store is asked for it.
fn ask_for_child(pump: &mut Pump, saga: SagaId) {
    pump.shard.handle(wish(saga, Want::Run), pump.now);
    let batch = pump.shard.prepare(pump.now, pump.limits, &pump.barrier);
    assert!(batch.is_none(), "it waits for the store");
}

fn child_of(saga: SagaId) -> SagaId {
    SagaId::child(saga, "far", 0, 0, saga.shard())
}

/// What another saga's step wants of its child here.
fn wish(saga: SagaId, want: Want) -> Input {
    let child = child_of(saga);
    let parent = Parent {
        saga,
        step: "far".into(),
        item: 0,
        round: 0,
        depth: 1,
    };
    let start = start(child, None, Some(parent.clone()));
    Input::Child(Box::new(ChildWish {
        child,
        parent,
        namespace: "default".into(),
        start: Box::new(ChildStart {
            name: "one".into(),
            revision: 1,
            hash: start.started.hash,
            key: None,
            input: payload("{}"),
            traceparent: None,
            tracestate: None,
            resolved: Some(Box::new(start)),
        }),
        want,
    }))
}

/// A start, perhaps with a key.
fn start(id: SagaId, key: Option<&str>, parent: Option<Parent>) -> Start {
    let definition = definition(ONE);
    let input = payload("{}");
    Start {
        id,
        started: Started {
            namespace: "default".into(),
            definition: "one".into(),
            revision: 1,
            hash: definition.hash(),
            key: key.map(str::to_owned),
            ordering_key: None,
            concurrency_max: None,
            parent,
            input: input.clone(),
            traceparent: None,
            tracestate: None,
        },
        definition,
        key: key.map(|key| StartKey {
            key_hash: hash_128(key.as_bytes()),
            input_hash: hash_128(&input.canonical()),
        }),
        existing: None,
    }
}

/// A start whose key was found in the store, with the same input or another.
fn start_again(id: SagaId, saga: SagaId, same: bool) -> Start {
    let mut start = start(id, Some("k"), None);
    start.existing = start.key.map(|key| Existing {
        saga,
        input_hash: if same {
            key.input_hash
        } else {
            hash_128(b"another")
        },
        revision: 1,
    });
    start
}

fn order(saga: SagaId, token: u64) -> Input {
    let order = Order {
        namespace: "default".into(),
        saga,
        by: "ann".into(),
        reason: "why".into(),
        dry_run: false,
        verb: Verb::Pause,
    };
    Input::Order {
        token: Token(token),
        order: Box::new(order),
    }
}

/// Each kind of input, starts and wishes of each sort.
fn inputs(saga: SagaId, attempt: &AttemptName) -> Vec<Input> {
    let mut inputs = beginnings(saga);
    inputs.extend(others(saga, attempt));
    inputs
}

/// What may begin a saga.
fn beginnings(saga: SagaId) -> Vec<Input> {
    let id = SagaId::child(saga, "new", 0, 0, saga.shard());
    let starts = [
        start(id, None, None),
        start(id, Some("k"), None),
        start_again(id, saga, true),
        start_again(id, saga, false),
    ];
    let starts = starts.into_iter().map(|start| Input::Start {
        token: Token(1),
        start: Box::new(start),
    });
    let undo = Want::Undo {
        code: "CANCELLED".into(),
        message: "why".into(),
    };
    starts
        .chain([wish(saga, Want::Run), wish(saga, undo)])
        .collect()
}

fn others(saga: SagaId, attempt: &AttemptName) -> Vec<Input> {
    let attempt = || attempt.clone();
    vec![
        Input::Outcome {
            token: Some(Token(1)),
            report: Report {
                namespace: "default".into(),
                attempt: attempt(),
                epoch: None,
                outcome: succeeded(),
                verdict: None,
                instance: None,
                serves: [].into(),
            },
        },
        Input::Sent { attempt: attempt() },
        Input::Withdrawn { attempt: attempt() },
        Input::Heartbeat { attempt: attempt() },
        Input::Signal {
            token: Token(1),
            signal: Box::new(Signal {
                namespace: "default".into(),
                saga,
                signal: "go".into(),
                payload: payload("{}"),
                by: "bob".into(),
                dedupe_id: None,
            }),
        },
        order(saga, 1),
        Input::ChildAnswered(Box::new(ChildAnswer {
            parent: Parent {
                saga,
                step: "hold".into(),
                item: 0,
                round: 0,
                depth: 1,
            },
            state: ChildState::UnderWay,
        })),
        Input::Cancel {
            token: Token(1),
            namespace: "default".into(),
            saga,
            by: "ann".into(),
            reason: "why".into(),
        },
        Input::Loaded {
            saga,
            loaded: LoadedSaga::Unavailable,
        },
    ]
}

/// Exhaustive: a new kind of input has to be named here, and the test then asks for it.
fn named(input: &Input) -> &'static str {
    match input {
        Input::Start { start, .. } => match (start.key, start.existing) {
            (None, _) => "start",
            (Some(_), None) => "start with a key",
            (Some(key), Some(existing)) if key.input_hash == existing.input_hash => {
                "start with a key that is taken"
            }
            (Some(_), Some(_)) => "start with a key that is taken, and another input",
        },
        Input::Outcome { .. } => "outcome",
        Input::Sent { .. } => "sent",
        Input::Withdrawn { .. } => "withdrawn",
        Input::Heartbeat { .. } => "heartbeat",
        Input::Signal { .. } => "signal",
        Input::Order { .. } => "order",
        Input::Child(wish) => match wish.want {
            Want::Run => "child to run",
            Want::Undo { .. } => "child to be undone",
        },
        Input::ChildAnswered(_) => "child answered",
        Input::Cancel { .. } => "cancel",
        Input::Loaded { .. } => "loaded",
    }
}

const INPUTS: usize = 15;

fn left(outputs: Vec<Output>) -> String {
    let words = outputs.into_iter().map(|output| match output {
        Output::Send(command) => format!("send {}", command.key.step),
        Output::Withdraw { .. } => "withdraw".to_owned(),
        Output::Started { result, .. } => format!("started {}", said(result.is_ok())),
        Output::Cancelled { result, .. } => format!("cancelled {}", said(result.is_ok())),
        Output::Signalled { result, .. } => format!("signalled {}", said(result.is_ok())),
        Output::Acted { result, .. } => format!("acted {}", said(result.is_ok())),
        Output::ResolveChild(_) => "resolve a child".to_owned(),
        Output::AskChild(_) => "ask a child".to_owned(),
        Output::AnswerParent(_) => "answer a parent".to_owned(),
        Output::Acknowledge { acknowledged, .. } => format!("{acknowledged:?}"),
        Output::Load { .. } => "load".to_owned(),
        Output::Changed { .. } => "changed".to_owned(),
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(", ")
    }
}

fn said(done: bool) -> &'static str {
    if done { "ok" } else { "refused" }
}

#[test]
fn a_shard_does_with_each_input_in_each_state_what_the_table_says() {
    let mut table = String::new();
    for (state, lead) in STATES {
        let _ = writeln!(table, "## {state}");
        for nth in 0..INPUTS {
            let mut pump = Pump::new();
            let saga = pump.start(&definition(ONE), "{}");
            let attempt = attempt_of(pump.command("hold"));
            lead(&mut pump, saga);
            pump.shard.take_outputs();
            let inputs = inputs(saga, &attempt);
            assert_eq!(inputs.len(), INPUTS);
            let input = inputs.into_iter().nth(nth).expect("one of them");
            let name = named(&input);
            pump.shard.handle(input, pump.now);
            let at_once = left(pump.shard.take_outputs());
            // What was in flight becomes durable first.
            pump.shard.committed();
            let before = left(pump.shard.take_outputs());
            let batch = pump.shard.prepare(pump.now, pump.limits, &pump.barrier);
            let facts: Vec<&str> = (batch.iter().flat_map(|batch| &batch.rows))
                .flat_map(|row| row.facts.iter().map(|fact| fact.kind()))
                .collect();
            let early = left(pump.shard.take_outputs());
            pump.shard.committed();
            let durable = left(pump.shard.take_outputs());
            // A question to the store tells nobody anything.
            assert!(
                facts.is_empty() || ["-", "load"].contains(&early.as_str()),
                "nothing leaves before it is durable"
            );
            let last = match (facts.is_empty(), early.as_str()) {
                (true, _) => early,
                (false, "-") => durable,
                (false, _) => format!("{early} before, {durable}"),
            };
            let _ = writeln!(
                table,
                "{name}: {at_once} | {before} | {} | {last}",
                facts.join(", ")
            );
        }
    }
    compare(&table);
}

fn compare(table: &str) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/behaviour/cells.txt");
    if std::env::var_os("AMENDS_UPDATE_EXPECT").is_some() {
        std::fs::write(file, table).expect("the expectation is written");
        return;
    }
    let expected = std::fs::read_to_string(file).expect("the expectation is there");
    for (nth, (is, should)) in table.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, should, "line {} of cells.txt", nth + 1);
    }
    assert_eq!(table.lines().count(), expected.lines().count());
}
