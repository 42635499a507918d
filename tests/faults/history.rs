//! What must be true of every saga's history, whatever befell its server. The numbers are those of the invariants.

use std::collections::BTreeSet;

use amends_sdk::proto::{HistoryEntry, SagaState};

/// The steps of an order that can be undone, in their order.
const UNDONE_IN_REVERSE: [&str; 2] = ["reserve_stock", "authorize"];

/// A sentence for everything that is wrong with a history of a saga that is settled in this state.
pub fn faults(history: &[HistoryEntry], state: SagaState) -> Vec<String> {
    let mut found = Vec::new();
    let count = |kind: &str| history.iter().filter(|entry| entry.kind == kind).count();
    let first = history.first().is_some_and(|entry| entry.kind == "started");
    expect(&mut found, first && count("started") == 1, || {
        "it starts once".to_owned()
    });
    let ordered = history.is_sorted_by_key(|entry| (entry.position, entry.index));
    expect(&mut found, ordered, || "its facts are in order".to_owned());
    one_end(history, state, &mut found);
    operations(history, state, &mut found);
    found
}

fn expect(found: &mut Vec<String>, holds: bool, what: impl FnOnce() -> String) {
    if !holds {
        found.push(what());
    }
}

/// I1: one end, and nothing behind it but results that came too late.
fn one_end(history: &[HistoryEntry], state: SagaState, found: &mut Vec<String>) {
    let ends: Vec<usize> = (0..history.len())
        .filter(|place| ENDS.contains(&history[*place].kind.as_str()))
        .collect();
    let wanted = usize::from(state != SagaState::Parked);
    expect(found, ends.len() == wanted, || {
        format!("I1: {} ends", ends.len())
    });
    if let [end] = ends[..] {
        for entry in &history[end + 1..] {
            let late = BEHIND_THE_END.contains(&entry.kind.as_str());
            expect(found, late, || format!("I1: {} behind the end", entry.kind));
        }
    }
}

/// Intents, attempts, their order and their number.
fn operations(history: &[HistoryEntry], state: SagaState, found: &mut Vec<String>) {
    let aborted = history
        .iter()
        .position(|entry| entry.kind == "abort_decided");
    let (mut scheduled, mut decided, mut ended) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (place, entry) in history.iter().enumerate() {
        let operation = (entry.step.as_str(), entry.operation.as_str());
        if entry.kind == "scheduled" {
            let forward = entry.operation == "forward";
            expect(found, scheduled.insert(operation), || {
                format!("{operation:?} is scheduled twice")
            });
            let too_late = forward && aborted.is_some_and(|aborted| aborted < place);
            expect(found, !too_late, || {
                format!("I9: {operation:?} behind the abort")
            });
            let known = forward || scheduled.contains(&(entry.step.as_str(), "forward"));
            expect(found, known, || {
                format!("I18: {operation:?} of what was never scheduled")
            });
            let turn = forward || reverse_order(&entry.step, &scheduled, &decided);
            expect(found, turn, || {
                format!("I20: {operation:?} before its turn")
            });
        } else if entry.kind == "attempt_ended" {
            let intended = scheduled.contains(&operation);
            expect(found, intended, || {
                format!("I7: {operation:?} without an intent")
            });
            // The server's own "unknown" does not keep the true outcome from being taken later (F27).
            let unknown = entry.outcome == "unknown";
            let once = ended.insert((operation, entry.attempt, unknown));
            expect(found, once, || {
                format!(
                    "I10: attempt {} of {operation:?} ended twice",
                    entry.attempt
                )
            });
            if ["succeeded", "nothing_to_undo"].contains(&entry.outcome.as_str()) {
                let first = decided.insert(operation);
                expect(found, first, || {
                    format!("I12: {operation:?} succeeded twice")
                });
            }
        }
    }
    let undone = scheduled
        .iter()
        .any(|(_, operation)| *operation == "compensate");
    let sound = !undone || state != SagaState::Completed;
    expect(found, sound, || "I2: completed, and undone".to_owned());
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

const ENDS: [&str; 3] = ["completed", "compensated", "terminated"];
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
            entry("attempt_ended", card, "forward", 1, "failed"),
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
            changed(|history| history.insert(7, entry("scheduled", "charge", "forward", 0, "")));
        assert!(found(&faults, "I9"), "{faults:?}");
        let faults = changed(|history| history.insert(3, history[2].clone()));
        assert!(found(&faults, "I10") && found(&faults, "I12"), "{faults:?}");
        let faults = changed(|history| drop(history.remove(3)));
        assert!(found(&faults, "I18"), "{faults:?}");
        let faults = changed(|history| history.swap(8, 9));
        assert!(found(&faults, "I20"), "{faults:?}");
    }
}
