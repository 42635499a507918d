//! Every cell of the saga's table: each state that a saga can be in, as far as it makes a difference, and each kind of
//! input. What is answered and what is recorded stands in `table.txt`. With `AMENDS_UPDATE_EXPECT=1` the file is
//! written anew: read what has changed before you keep it.

mod cell;
mod inputs;
mod states;
mod whole;

use std::fmt::Write as _;
use std::sync::Arc;

use amends_core::fact::{Act, Fact};
use amends_core::saga::due;
use amends_definitions::Definition;

#[test]
fn every_state_answers_every_input_as_the_table_says() {
    let checked = amends_definitions::check(states::DEFINITION.as_bytes());
    let definition = Arc::new(checked.definition.expect("it has no errors"));
    let mut table = String::new();
    for states::State { name, about, cell } in states::states(&definition) {
        let _ = writeln!(table, "\n## {name} ({})", cell.saga.state().as_str());
        let due = due(&cell.saga, cell.now);
        let _ = writeln!(
            table,
            "due: {} commands, {} awaited, {} children{}",
            due.commands.len(),
            due.awaited.len(),
            due.children.len(),
            match due.wake_at {
                Some(at) => format!(", in {:?}", at.since(cell.now)),
                None => String::new(),
            }
        );
        for input in inputs::inputs() {
            let mut cell = cell.clone();
            let answer = (input.decide)(&mut cell, about);
            let facts: Vec<String> = answer
                .facts
                .iter()
                .map(|fact| line(&definition, fact))
                .collect();
            let state = cell.saga.state().as_str();
            let _ = writeln!(
                table,
                "{}: {} | {} | {state}",
                input.name,
                answer.said,
                facts.join(", ")
            );
        }
    }
    compare(&table);
}

fn compare(table: &str) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transitions/table.txt");
    if std::env::var_os("AMENDS_UPDATE_EXPECT").is_some() {
        std::fs::write(file, table).expect("the expectation is written");
        return;
    }
    let expected = std::fs::read_to_string(file).expect("the expectation is there");
    for (nth, (is, should)) in table.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, should, "line {} of table.txt", nth + 1);
    }
    assert_eq!(table.lines().count(), expected.lines().count());
}

/// A fact in a few words.
fn line(definition: &Definition, fact: &Fact) -> String {
    let place = fact.place().map_or(String::new(), |place| {
        let id = definition.step(place.step).id();
        match place.item {
            0 => format!(" {id}"),
            item => format!(" {id}[{item}]"),
        }
    });
    let more = match fact {
        Fact::Scheduled {
            operation, round, ..
        } => format!(" {} {round}", operation.as_str()),
        Fact::StepFailed {
            operation, code, ..
        } => format!(" {} {code}", operation.as_str()),
        Fact::AttemptEnded(ended) => {
            let again = if ended.retry_at.is_some() {
                " again"
            } else {
                ""
            };
            let (operation, outcome) = (ended.operation.as_str(), ended.outcome.as_str());
            format!(" {operation}:{} {outcome}{again}", ended.attempt)
        }
        Fact::AbortDecided(reason) => format!(" {} {}", reason.kind(), reason.code()),
        Fact::IncidentOpened(incident) => format!(" {}", incident.reason.as_str()),
        Fact::LateResult { leak, .. } => format!(" leak={leak}"),
        Fact::Operated(operated) => match &operated.act {
            Act::Retry { .. }
            | Act::Skip { .. }
            | Act::Resolve { .. }
            | Act::ResolveSaga
            | Act::ResolveAbsent { .. }
            | Act::ResolveNotUndone { .. }
            | Act::Compensate
            | Act::Pause
            | Act::Resume
            | Act::Terminate => format!(" {}", operated.act.as_str()),
        },
        Fact::ChildEnded { operation, .. } => format!(" {}", operation.as_str()),
        _ => String::new(),
    };
    format!("{}{place}{more}", fact.kind())
}
