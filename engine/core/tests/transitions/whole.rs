//! That the table leaves nothing out. Each match is exhaustive: a new variant has to be numbered here, and the test then asks
//! for a state, or an input, that has it.

use std::collections::BTreeSet;
use std::sync::Arc;

use amends_core::Outcome;
use amends_core::fact::{ChildOutcome, IncidentReason};
use amends_core::saga::Phase;
use amends_core::shard::{ChildState, Verb};

use crate::{inputs, states};

const VERBS: usize = 9;
const OUTCOMES: usize = 9;
const CHILD_STATES: usize = 7;
const PHASES: usize = 16;

/// Reasons of incidents that no state has: some inputs lead to the first, the second takes 10,000 facts, and the last three
/// do not lie in the saga but are its shard's word.
const NOT_AMONG_THE_STATES: [IncidentReason; 5] = [
    IncidentReason::PossibleLeakedEffect,
    IncidentReason::HistoryFull,
    IncidentReason::RecordUnreadable,
    IncidentReason::DefinitionMissing,
    IncidentReason::RecordRefused,
];

#[test]
fn every_variant_is_in_the_table() {
    let checked = amends_definitions::check(states::DEFINITION.as_bytes());
    let definition = Arc::new(checked.definition.expect("it has no errors"));
    let verbs = inputs::verbs(("hold", 0, crate::cell::FORWARD));
    let verbs = verbs.iter().map(|(_, named)| verb(named));
    whole("verbs", verbs, VERBS);
    whole("outcomes", inputs::outcomes().iter().map(outcome), OUTCOMES);
    let children = inputs::child_states();
    let children = children.iter().map(|(_, state)| child(state));
    whole("states of children", children, CHILD_STATES);
    let states = states::states(&definition);
    let sagas = states.iter().map(|state| &state.cell.saga);
    let phases = sagas.flat_map(|saga| {
        saga.places().flat_map(|place| {
            let status = saga.place(place);
            let query = status.query.iter().map(|query| query.phase);
            let itself = saga.place(place.step).forward.phase;
            query.chain([status.forward.phase, status.compensation.phase, itself])
        })
    });
    whole("phases", phases.map(phase), PHASES);
    let sagas = states.iter().map(|state| &state.cell.saga);
    let incidents = sagas.flat_map(|saga| saga.incidents());
    let open: BTreeSet<_> = incidents
        .map(|open| open.incident.reason.as_str())
        .collect();
    let every = IncidentReason::ALL.map(IncidentReason::as_str);
    let lacking = every.into_iter().filter(|reason| !open.contains(reason));
    assert_eq!(
        lacking.collect::<Vec<_>>(),
        NOT_AMONG_THE_STATES.map(IncidentReason::as_str),
        "the table lacks a reason of an incident"
    );
}

fn whole(what: &str, numbers: impl Iterator<Item = usize>, count: usize) {
    let found: BTreeSet<usize> = numbers.collect();
    assert_eq!(found, (0..count).collect(), "the table lacks {what}");
}

fn verb(verb: &Verb) -> usize {
    match verb {
        Verb::Retry { .. } => 0,
        Verb::Skip { .. } => 1,
        Verb::Resolve { .. } => 2,
        Verb::ResolveSaga { .. } => 3,
        Verb::ResolveAbsent { .. } => 4,
        Verb::Compensate => 5,
        Verb::Pause => 6,
        Verb::Resume => 7,
        Verb::Terminate => 8,
    }
}

fn outcome(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Succeeded { .. } => 0,
        Outcome::Unusable { .. } => 1,
        Outcome::Rejected { .. } => 2,
        Outcome::Failed { .. } => 3,
        Outcome::Fatal { .. } => 4,
        Outcome::Unknown { .. } => 5,
        Outcome::NothingToUndo => 6,
        Outcome::Superseded => 7,
        Outcome::Absent => 8,
    }
}

fn child(state: &ChildState) -> usize {
    match state {
        ChildState::Pinned { .. } => 0,
        ChildState::UnderWay => 1,
        ChildState::Refused { .. } => 2,
        ChildState::Ended(ChildOutcome::Completed { .. }) => 3,
        ChildState::Ended(ChildOutcome::Compensated { .. }) => 4,
        ChildState::Ended(ChildOutcome::Refused { .. }) => 5,
        ChildState::Ended(ChildOutcome::Terminated { .. }) => 6,
    }
}

fn phase(phase: Phase) -> usize {
    match phase {
        Phase::Waiting => 0,
        Phase::Listed => 1,
        Phase::Settling { .. } => 2,
        Phase::Scheduled { .. } => 3,
        Phase::Awaiting { .. } => 4,
        Phase::Sleeping { .. } => 5,
        Phase::ChildRequested => 6,
        Phase::ChildUnderWay => 7,
        Phase::Succeeded => 8,
        Phase::Continued => 9,
        Phase::Unusable => 10,
        Phase::Skipped => 11,
        Phase::Refused => 12,
        Phase::Unresolved => 13,
        Phase::NothingToUndo => 14,
        Phase::Parked => 15,
    }
}
