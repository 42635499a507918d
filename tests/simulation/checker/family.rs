//! Turns, signals and children: I15, I16, I28, I39.

use std::collections::{BTreeMap, BTreeSet};

use amends_core::SagaId;
use amends_core::fact::{Act, ChildOutcome, Fact};
use amends_core::journal::SagaState;

use crate::checker::case::Case;
use crate::checker::{Evidence, Found};
use crate::history::{Answer, Ask, Event};

pub fn check(evidence: &Evidence<'_>, found: &mut Found) {
    turns(evidence, found);
    signals(evidence, found);
    for case in evidence.cases.values() {
        consumption(case, found);
    }
    children(evidence, found);
}

/// When a saga may run, and when it has ended, as places in the history.
struct Span {
    saga: SagaId,
    started: usize,
    granted: Option<usize>,
    ended: Option<usize>,
    ordering_key: Option<String>,
    max: Option<u32>,
}

fn span(case: &Case<'_>) -> Option<Span> {
    let first = case.facts.first()?;
    let Fact::Started(started) = first.fact else {
        return None;
    };
    let needs = started.ordering_key.is_some() || started.concurrency_max.is_some();
    let place = |wanted: &dyn Fn(&Fact) -> bool| {
        let seen = case.facts.iter().find(|seen| wanted(seen.fact));
        seen.map(|seen| seen.index)
    };
    needs.then(|| Span {
        saga: case.id,
        started: first.index,
        granted: place(&|fact| matches!(fact, Fact::TurnGranted)),
        ended: place(&|fact| match fact {
            Fact::Completed { .. } | Fact::Compensated => true,
            Fact::Operated(operated) => operated.act == Act::Terminate,
            _ => false,
        }),
        ordering_key: started.ordering_key.clone(),
        max: started.concurrency_max,
    })
}

/// I15: of an ordering key one saga runs at a time, in the order of their starts. I16: never more run than may.
fn turns(evidence: &Evidence<'_>, found: &mut Found) {
    let mut groups: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for case in evidence.cases.values() {
        if let Some(span) = span(case) {
            groups.entry(case.definition.name()).or_default().push(span);
        }
    }
    for spans in groups.values_mut() {
        spans.sort_by_key(|span| span.started);
        for (place, span) in spans.iter().enumerate() {
            let Some(granted) = span.granted else {
                continue;
            };
            for earlier in &spans[..place] {
                let same = span.ordering_key.is_some() && earlier.ordering_key == span.ordering_key;
                let over = earlier.ended.is_some_and(|ended| ended < granted);
                found.expect(!same || over, "I15", span.saga, || {
                    format!("its turn came before {} had ended", earlier.saga)
                });
            }
            let running = spans.iter().filter(|other| {
                other.granted.is_some_and(|at| at <= granted)
                    && other.ended.is_none_or(|ended| ended > granted)
            });
            let running = running.count();
            let within = span.max.is_none_or(|max| running <= max as usize);
            found.expect(within, "I16", span.saga, || {
                format!("{running} run of {:?} that may", span.max)
            });
        }
    }
    for case in evidence.cases.values() {
        let waits = span(case).is_some_and(|span| span.granted.is_none());
        let begun = case.facts.iter().any(|seen| {
            matches!(
                seen.fact,
                Fact::Scheduled { .. } | Fact::ChildRequested(_) | Fact::Slept { .. }
            )
        });
        found.expect(!(waits && begun), "I15", case.id, || {
            "it began before its turn came".to_owned()
        });
    }
}

/// I39: a signal that was acknowledged is in the journal.
fn signals(evidence: &Evidence<'_>, found: &mut Found) {
    let mut asked: BTreeMap<u32, (SagaId, &str)> = BTreeMap::new();
    for (index, entry) in evidence.entries.iter().enumerate() {
        match &entry.event {
            Event::Asked {
                operation,
                ask: Ask::Signal { saga, signal, .. },
            } => {
                asked.insert(*operation, (*saga, signal));
            }
            Event::Answered {
                operation,
                answer: Answer::Signalled(Ok(_)),
            } => {
                let Some((saga, signal)) = asked.get(operation) else {
                    continue;
                };
                let there = evidence.cases.get(saga).is_some_and(|case| {
                    case.facts.iter().any(|seen| {
                        seen.index < index
                            && matches!(seen.fact, Fact::SignalReceived(received)
                                if received.signal == *signal)
                    })
                });
                found.expect(there, "I39", *saga, || {
                    format!("{signal} was acknowledged and is not in the journal")
                });
            }
            _ => {}
        }
    }
}

/// I39: signals are numbered as they were accepted, taken once each in that order, and none vanishes at the end.
fn consumption(case: &Case<'_>, found: &mut Found) {
    let mut received: BTreeMap<u32, &str> = BTreeMap::new();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    let mut taken: BTreeMap<u32, bool> = BTreeMap::new();
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    let mut ended = false;
    for seen in &case.facts {
        match seen.fact {
            Fact::SignalReceived(signal) => {
                let next = u32::try_from(received.len()).expect("few") + 1;
                found.expect(signal.number == next, "I39", case.id, || {
                    format!("signal {} follows {}", signal.number, next - 1)
                });
                received.insert(signal.number, &signal.signal);
                if let Some(id) = &signal.dedupe_id {
                    let fresh = named.insert(id);
                    found.expect(fresh, "I39", case.id, || {
                        format!("{} {id} was accepted twice", signal.signal)
                    });
                }
            }
            Fact::SignalConsumed { number, .. } => {
                let signal = received.get(number).copied().unwrap_or_default();
                let in_order = last
                    .insert(signal, *number)
                    .is_none_or(|last| last < *number);
                found.expect(in_order, "I39", case.id, || {
                    format!("{signal} {number} is taken out of its order")
                });
                let fresh = taken.insert(*number, true).is_none();
                found.expect(fresh && !signal.is_empty(), "I39", case.id, || {
                    format!("signal {number} is taken twice, or never came")
                });
            }
            Fact::SignalUnconsumed { number } => {
                taken.insert(*number, false);
            }
            Fact::Completed { .. } | Fact::Compensated => ended = true,
            _ => {}
        }
    }
    let lost = received.keys().find(|number| !taken.contains_key(number));
    found.expect(!ended || lost.is_none(), "I39", case.id, || {
        format!("signal {} vanished at the end", lost.copied().unwrap_or(0))
    });
}

/// I28: a step has one child a round; none runs on when its parent has ended, and none has an effect that its parent took back.
fn children(evidence: &Evidence<'_>, found: &mut Found) {
    let mut of_step: BTreeMap<(SagaId, String, u32, u32), SagaId> = BTreeMap::new();
    for case in evidence.cases.values() {
        let Some(Fact::Started(started)) = case.facts.first().map(|seen| seen.fact) else {
            continue;
        };
        let Some(parent) = &started.parent else {
            continue;
        };
        let name = (
            parent.saga,
            parent.step.to_string(),
            parent.item,
            parent.round,
        );
        let first = *of_step.entry(name).or_insert(case.id);
        found.expect(first == case.id, "I28", case.id, || {
            format!("{} of {} has two children", parent.step, parent.saga)
        });
        let above = evidence.cases.get(&parent.saga);
        found.expect(above.is_some(), "I28", case.id, || {
            "it has no parent".to_owned()
        });
        let Some(above) = above else {
            continue;
        };
        let fits = match above.state {
            SagaState::Compensated => {
                matches!(case.state, SagaState::Compensated | SagaState::Terminated)
            }
            SagaState::Completed => case.state.is_terminal(),
            SagaState::Running
            | SagaState::Compensating
            | SagaState::Parked
            | SagaState::Terminated => true,
        };
        found.expect(fits, "I28", case.id, || {
            format!(
                "it is {:?}, and its parent {} is {:?}",
                case.state, parent.saga, above.state
            )
        });
    }
    for case in evidence.cases.values() {
        for seen in &case.facts {
            let Fact::ChildEnded {
                place,
                round,
                outcome: ChildOutcome::Completed { .. },
                ..
            } = seen.fact
            else {
                continue;
            };
            let step = case.definition.step(place.step).id().to_owned();
            let child = of_step.get(&(case.id, step, place.item, *round));
            let done = child
                .and_then(|child| evidence.cases.get(child))
                .is_some_and(|child| {
                    let mut facts = child.facts.iter().filter(|of| of.index < seen.index);
                    facts.any(|of| matches!(of.fact, Fact::Completed { .. }))
                });
            found.expect(done, "I28", case.id, || {
                "a child is recorded as completed, and had not".to_owned()
            });
        }
    }
}
