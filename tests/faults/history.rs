//! What must be true of every saga's history, whatever befell its server. The numbers are those of the invariants.

use std::collections::BTreeSet;

use amends_sdk::proto::{HistoryEntry, SagaState};

/// The steps of an order that can be undone, in their order.
const UNDONE_IN_REVERSE: [&str; 2] = ["reserve_stock", "authorize"];

/// A sentence for everything that is wrong with a history of a saga that is settled in this state.
pub fn faults(history: &[HistoryEntry], state: SagaState) -> Vec<String> {
    let mut found = Vec::new();
    let mut expect = |holds: bool, what: String| {
        if !holds {
            found.push(what);
        }
    };
    let place = |kind: &str| history.iter().position(|entry| entry.kind == kind);
    let count = |kind: &str| history.iter().filter(|entry| entry.kind == kind).count();
    expect(
        place("started") == Some(0) && count("started") == 1,
        "it starts once".to_owned(),
    );
    let ordered = history.is_sorted_by_key(|entry| (entry.position, entry.index));
    expect(ordered, "its facts are in order".to_owned());
    // I1: one end, and nothing behind it but results that came too late.
    let ends = ["completed", "compensated", "terminated"];
    let end: Vec<usize> = (0..history.len())
        .filter(|place| ends.contains(&history[*place].kind.as_str()))
        .collect();
    expect(
        end.len() == usize::from(state != SagaState::Parked),
        format!("I1: {} ends", end.len()),
    );
    if let [end] = end[..] {
        let behind = history[end + 1..].iter();
        let late = behind.filter(|entry| !BEHIND_THE_END.contains(&entry.kind.as_str()));
        late.for_each(|entry| expect(false, format!("I1: {} behind the end", entry.kind)));
    }
    let aborted = place("abort_decided");
    let mut scheduled = BTreeSet::new();
    let mut ended = BTreeSet::new();
    let mut decided = BTreeSet::new();
    for (place, entry) in history.iter().enumerate() {
        let operation = (entry.step.as_str(), entry.operation.as_str());
        match entry.kind.as_str() {
            "scheduled" => {
                expect(
                    scheduled.insert(operation),
                    format!("{operation:?} is scheduled twice"),
                );
                let forward = entry.operation == "forward";
                let too_late = forward && aborted.is_some_and(|aborted| aborted < place);
                expect(!too_late, format!("I9: {operation:?} behind the abort"));
                let known = forward || scheduled.contains(&(entry.step.as_str(), "forward"));
                expect(
                    known,
                    format!("I18: {operation:?} of what was never scheduled"),
                );
                let turn = forward || reverse_order(&entry.step, &scheduled, &decided);
                expect(turn, format!("I20: {operation:?} before its turn"));
            }
            "attempt_ended" => {
                expect(
                    scheduled.contains(&operation),
                    format!("I7: {operation:?} without an intent"),
                );
                let once = ended.insert((operation, entry.attempt));
                expect(
                    once,
                    format!(
                        "I10: attempt {} of {operation:?} ended twice",
                        entry.attempt
                    ),
                );
                if ["succeeded", "nothing_to_undo"].contains(&entry.outcome.as_str()) {
                    expect(
                        decided.insert(operation),
                        format!("I12: {operation:?} succeeded twice"),
                    );
                }
            }
            _ => {}
        }
    }
    let undone = scheduled
        .iter()
        .any(|(_, operation)| *operation == "compensate");
    expect(
        !undone || state != SagaState::Completed,
        "I2: completed, and undone".to_owned(),
    );
    found
}

/// Whether every later step that is to be undone has been.
fn reverse_order(
    step: &str,
    scheduled: &BTreeSet<(&str, &str)>,
    decided: &BTreeSet<(&str, &str)>,
) -> bool {
    let Some(place) = UNDONE_IN_REVERSE.iter().position(|undone| *undone == step) else {
        return false;
    };
    UNDONE_IN_REVERSE[place + 1..].iter().all(|later| {
        let owed = scheduled.contains(&(*later, "compensate"));
        !owed || decided.contains(&(*later, "compensate"))
    })
}

/// What may follow the end: it changes no state.
const BEHIND_THE_END: [&str; 2] = ["late_result", "withdrawn"];

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, step: &str, operation: &str, attempt: u32, outcome: &str) -> HistoryEntry {
        HistoryEntry {
            kind: kind.to_owned(),
            step: step.to_owned(),
            operation: operation.to_owned(),
            attempt,
            outcome: outcome.to_owned(),
            ..HistoryEntry::default()
        }
    }

    fn compensated() -> Vec<HistoryEntry> {
        let (stock, card) = ("reserve_stock", "authorize");
        vec![
            entry("started", "", "", 0, ""),
            entry("scheduled", stock, "forward", 0, ""),
            entry("attempt_ended", stock, "forward", 1, "succeeded"),
            entry("scheduled", card, "forward", 0, ""),
            entry("attempt_ended", card, "forward", 1, "unknown"),
            entry("abort_decided", "", "", 0, ""),
            entry("scheduled", card, "compensate", 0, ""),
            entry("attempt_ended", card, "compensate", 1, "nothing_to_undo"),
            entry("scheduled", stock, "compensate", 0, ""),
            entry("attempt_ended", stock, "compensate", 1, "succeeded"),
            entry("compensated", "", "", 0, ""),
        ]
    }

    fn changed(change: impl FnOnce(&mut Vec<HistoryEntry>)) -> Vec<String> {
        let mut history = compensated();
        change(&mut history);
        faults(&history, SagaState::Compensated)
    }

    #[test]
    fn a_sound_history_has_no_fault() {
        assert_eq!(changed(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_found() {
        let found =
            |faults: &[String], wanted: &str| faults.iter().any(|fault| fault.starts_with(wanted));
        let faults = changed(|history| history.push(entry("completed", "", "", 0, "")));
        assert!(found(&faults, "I1"), "{faults:?}");
        let faults = changed(|history| {
            history.insert(2, entry("attempt_ended", "ship", "forward", 1, "failed"))
        });
        assert!(found(&faults, "I7"), "{faults:?}");
        let faults =
            changed(|history| history.insert(6, entry("scheduled", "charge", "forward", 0, "")));
        assert!(found(&faults, "I9"), "{faults:?}");
        let faults = changed(|history| history.insert(3, history[2].clone()));
        assert!(found(&faults, "I10") && found(&faults, "I12"), "{faults:?}");
        let faults = changed(|history| drop(history.remove(3)));
        assert!(found(&faults, "I18"), "{faults:?}");
        let faults = changed(|history| history.swap(7, 8));
        assert!(found(&faults, "I20"), "{faults:?}");
    }
}
