//! How sagas begin and end: I1 to I6, I42.

use std::collections::BTreeMap;

use amends_core::SagaId;
use amends_core::fact::{AbortReason, Act, Fact, Operated};
use amends_core::journal::SagaState;
use amends_core::shard::StartRefusal;

use crate::checker::case::Case;
use crate::checker::model::Model;
use crate::checker::{Evidence, Found};
use crate::history::{Answer, Ask, Event};

pub fn check(evidence: &Evidence<'_>, found: &mut Found) {
    for case in evidence.cases.values() {
        one_end(case, found);
        completed_shape(case, found);
        pinned(evidence, case, found);
    }
    state_rows(evidence, found);
    starts(evidence, found);
    keys(evidence, found);
}

/// I1: at most one end, and nothing that changes anything behind it.
fn one_end(case: &Case<'_>, found: &mut Found) {
    let mut ended = false;
    for (place, seen) in case.facts.iter().enumerate() {
        let started = matches!(seen.fact, Fact::Started(_));
        found.expect(started == (place == 0), "I1", case.id, || {
            "it does not begin with its start, or starts twice".to_owned()
        });
        let audit = matches!(
            seen.fact,
            Fact::LateResult { .. }
                | Fact::IncidentOpened(_)
                | Fact::IncidentClosed { .. }
                | Fact::SignalUnconsumed { .. }
                | Fact::AbortDecided(AbortReason::ParentAborted { .. })
                // A person has taken note of what was left to look at.
                | Fact::Operated(Operated {
                    act: Act::Resume | Act::Resolve { .. },
                    ..
                })
        );
        found.expect(!ended || audit, "I1", case.id, || {
            format!("{} follows its end", seen.fact.kind())
        });
        // A child that has completed is undone when its parent is: that is the one way back.
        if matches!(
            seen.fact,
            Fact::AbortDecided(AbortReason::ParentAborted { .. })
        ) {
            ended = false;
        }
        ended |= matches!(seen.fact, Fact::Completed { .. } | Fact::Compensated);
        ended |= matches!(seen.fact, Fact::Operated(operated) if operated.act == Act::Terminate);
    }
}

/// I2: a completed saga has done everything that it did not skip.
fn completed_shape(case: &Case<'_>, found: &mut Found) {
    let end = case
        .facts
        .iter()
        .find(|seen| matches!(seen.fact, Fact::Completed { .. }));
    let Some(end) = end else {
        return;
    };
    let model = Model::until(case, end.index);
    for step in case.definition.step_indices() {
        found.expect(model.lets_go_on(step), "I2", case.id, || {
            let step = case.definition.step(step).id();
            format!("completed, and {step} is not done")
        });
    }
    found.expect(model.aborted_at.is_none(), "I2", case.id, || {
        "completed after an abort".to_owned()
    });
}

/// I3: a saga's row says what its facts say, and changes along the table of states alone.
fn state_rows(evidence: &Evidence<'_>, found: &mut Found) {
    let mut before: BTreeMap<SagaId, SagaState> = BTreeMap::new();
    for entry in evidence.entries {
        let Event::SagaRow {
            saga,
            inserted,
            state,
            ..
        } = &entry.event
        else {
            continue;
        };
        let state = SagaState::from_code(*state).expect("it came from a state");
        let old = before.insert(*saga, state);
        found.expect(old.is_none() == *inserted, "I3", *saga, || {
            "its row is inserted twice, or changed before it is there".to_owned()
        });
        // A row also changes when its saga falls asleep, and when its turn comes.
        let allowed = old.is_none_or(|old| old == state || edge(old, state));
        found.expect(allowed, "I3", *saga, || {
            format!("from {old:?} to {state:?}")
        });
    }
    for case in evidence.cases.values() {
        let last = case.facts.last().map_or(0, |seen| seen.index);
        let model = Model::until(case, last);
        let wanted = derived(case, &model);
        let state = before.get(&case.id).copied();
        found.expect(state == Some(wanted), "I3", case.id, || {
            format!("its row says {state:?}, its facts say {wanted:?}")
        });
    }
}

/// The table of states.
fn edge(from: SagaState, to: SagaState) -> bool {
    use SagaState::{Compensated, Compensating, Completed, Parked, Running, Terminated};
    match from {
        Running => matches!(
            to,
            Completed | Compensating | Compensated | Parked | Terminated
        ),
        Compensating => matches!(to, Compensated | Parked | Terminated),
        Parked => !matches!(to, Parked),
        // A child whose parent is undone.
        Completed => matches!(to, Compensating | Compensated | Parked),
        Compensated | Terminated => false,
    }
}

fn derived(case: &Case<'_>, model: &Model) -> SagaState {
    let end = case.facts.iter().rev().find_map(|seen| match seen.fact {
        Fact::Completed { .. } => Some(SagaState::Completed),
        Fact::Compensated => Some(SagaState::Compensated),
        Fact::Operated(operated) if operated.act == Act::Terminate => Some(SagaState::Terminated),
        // Undone after its end: that end is none.
        Fact::AbortDecided(_) => Some(SagaState::Compensating),
        _ => None,
    });
    let end = end.filter(|end| end.is_terminal());
    match end {
        Some(end) => end,
        None if !model.incidents.is_empty() => SagaState::Parked,
        None if model.aborted_at.is_some() => SagaState::Compensating,
        None => SagaState::Running,
    }
}

/// I4: who was told of a saga has it, and had it then. I5: who was told "no" has none.
fn starts(evidence: &Evidence<'_>, found: &mut Found) {
    let mut asked: BTreeMap<u32, &Ask> = BTreeMap::new();
    for (index, entry) in evidence.entries.iter().enumerate() {
        match &entry.event {
            Event::Asked { operation, ask } => {
                asked.insert(*operation, ask);
            }
            Event::Answered {
                operation,
                answer: Answer::Started(result),
            } => match result {
                Ok(answer) => {
                    let case = evidence.cases.get(&answer.saga);
                    let there = case
                        .and_then(|case| case.facts.first())
                        .is_some_and(|first| first.index < index);
                    found.expect(there, "I4", answer.saga, || {
                        "a start was acknowledged and is not in the journal".to_owned()
                    });
                }
                Err(StartRefusal::Data { .. }) => {
                    if let Some(Ask::Start { key: Some(key), .. }) = asked.get(operation) {
                        let poisoned = sagas_of_key(evidence, key)
                            .any(|case| input_of(case).contains(crate::world::POISON));
                        found.expect(!poisoned, "I5", None, || {
                            format!("the start of {key} was refused, and there is a saga")
                        });
                    }
                }
                Err(_) => {}
            },
            _ => {}
        }
    }
}

fn sagas_of_key<'a>(
    evidence: &'a Evidence<'_>,
    key: &'a str,
) -> impl Iterator<Item = &'a Case<'a>> {
    evidence.cases.values().filter(move |case| {
        matches!(case.facts.first().map(|seen| seen.fact), Some(Fact::Started(started))
            if started.key.as_deref() == Some(key))
    })
}

fn input_of(case: &Case<'_>) -> String {
    match case.facts.first().map(|seen| seen.fact) {
        Some(Fact::Started(started)) => {
            String::from_utf8_lossy(started.input.as_bytes()).into_owned()
        }
        _ => String::new(),
    }
}

/// A child that is on record as undone before it did anything: it does not take its key.
fn never_began(case: &Case<'_>) -> bool {
    let row = case.facts.first().map(|seen| &seen.row.facts);
    row.is_some_and(|facts| {
        let undone =
            |fact: &Fact| matches!(fact, Fact::AbortDecided(AbortReason::ParentAborted { .. }));
        facts.iter().any(undone)
    })
}

/// Who has a key: from its start until it expires, as places in the history.
#[derive(Clone, Copy)]
struct Holder {
    saga: SagaId,
    from: usize,
    until: Option<usize>,
}

/// The definition and the key.
type KeyOf = (String, String);

/// I6: a key has one saga at a time; the next only when that has expired.
fn holders(evidence: &Evidence<'_>, found: &mut Found) -> BTreeMap<KeyOf, Vec<Holder>> {
    let mut of_key: BTreeMap<KeyOf, Vec<Holder>> = BTreeMap::new();
    for case in evidence.cases.values() {
        if let Some((seen, Fact::Started(started))) =
            case.facts.first().map(|seen| (seen, seen.fact))
            && let Some(key) = &started.key
            && !never_began(case)
        {
            let name = (started.definition.to_string(), key.clone());
            of_key.entry(name).or_default().push(Holder {
                saga: case.id,
                from: seen.index,
                until: evidence.gone.get(&case.id).copied(),
            });
        }
    }
    for ((_, key), holders) in &mut of_key {
        holders.sort_by_key(|holder| holder.from);
        for (first, next) in holders.iter().zip(holders.iter().skip(1)) {
            let free = first.until.is_some_and(|until| until < next.from);
            found.expect(free, "I6", next.saga, || {
                format!("{key} has two sagas, {} and {}", first.saga, next.saga)
            });
        }
    }
    of_key
}

/// I5, I6: a key has one saga inside retention; the same start again gets it, another input gets a refusal.
fn keys(evidence: &Evidence<'_>, found: &mut Found) {
    let of_key = holders(evidence, found);
    let mut asked: BTreeMap<u32, (usize, usize, &str, &str)> = BTreeMap::new();
    for (index, entry) in evidence.entries.iter().enumerate() {
        match &entry.event {
            Event::Asked {
                operation,
                ask:
                    Ask::Start {
                        definition,
                        key: Some(key),
                        input,
                        ..
                    },
            } => {
                asked.insert(*operation, (index, *definition, key, input));
            }
            Event::Answered {
                operation,
                answer: Answer::Started(result),
            } => {
                let Some((since, definition, key, input)) = asked.get(operation) else {
                    continue;
                };
                let name = evidence.world.documents[*definition].definition.name();
                let holders = of_key.get(&(name.to_owned(), (*key).to_owned()));
                // Whoever had it between the question and the answer.
                let has = |saga: SagaId, same: bool| {
                    let mut holders = holders.into_iter().flatten();
                    holders.any(|holder| {
                        let then = holder.from < index && holder.until.is_none_or(|at| at > *since);
                        let case = evidence.cases.get(&holder.saga);
                        let alike = case.is_some_and(|case| input_of(case) == *input);
                        holder.saga == saga && then && alike == same
                    })
                };
                let (fits, saga) = match result {
                    Ok(answer) => (has(answer.saga, true), Some(answer.saga)),
                    Err(StartRefusal::KeyReused { saga }) => (has(*saga, false), Some(*saga)),
                    Err(_) => (true, None),
                };
                found.expect(fits, "I6", saga, || {
                    format!("{key} with {input} was answered {result:?}")
                });
            }
            _ => {}
        }
    }
}

/// I42: a saga is pinned to its revision.
fn pinned(evidence: &Evidence<'_>, case: &Case<'_>, found: &mut Found) {
    let Some(Fact::Started(started)) = case.facts.first().map(|seen| seen.fact) else {
        return;
    };
    let planted = crate::planted::definition(&case.definition, evidence.world.plant);
    found.expect(started.hash == planted.hash(), "I42", case.id, || {
        "it runs another revision than it was started with".to_owned()
    });
}
