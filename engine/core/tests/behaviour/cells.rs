//! What a shard does with each kind of input in each state that it can be in: what leaves at once, what is recorded, and what
//! leaves once that is durable. Columns: at once, with the batch before, the facts, once they are durable. It stands in `cells.txt`; with `AMENDS_UPDATE_EXPECT=1` the file is written anew: read what
//! has changed before you keep it. What a saga answers is the table in `tests/transitions`.

use std::fmt::Write as _;

use amends_core::fact::Parent;
use amends_core::shard::{
    ChildAnswer, ChildState, Input, LoadedSaga, Order, Output, Report, Signal, Token, Verb,
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
const STATES: [(&str, Lead); 7] = [
    ("its command out", |_, _| ()),
    ("its command sent", |pump, _| {
        pump.send("hold");
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

/// Each kind of input but a start, which `recovery` and `shards` are about, and a parent's wish, which `family` is about.
fn inputs(saga: SagaId, attempt: &AttemptName) -> Vec<Input> {
    let attempt = || attempt.clone();
    vec![
        Input::Outcome {
            token: Some(Token(1)),
            report: Report {
                namespace: "default".into(),
                attempt: attempt(),
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
        Input::Start { .. } => "start",
        Input::Outcome { .. } => "outcome",
        Input::Sent { .. } => "sent",
        Input::Withdrawn { .. } => "withdrawn",
        Input::Heartbeat { .. } => "heartbeat",
        Input::Signal { .. } => "signal",
        Input::Order { .. } => "order",
        Input::Child(_) => "child",
        Input::ChildAnswered(_) => "child answered",
        Input::Cancel { .. } => "cancel",
        Input::Loaded { .. } => "loaded",
    }
}

const INPUTS: usize = 9;

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
            assert!(
                facts.is_empty() || early == "-",
                "nothing leaves before it is durable"
            );
            let last = if facts.is_empty() { early } else { durable };
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
