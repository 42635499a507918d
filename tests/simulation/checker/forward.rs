//! Going forward: I7 to I14, I22, I25, I26. `before` is asked of each fact before it is taken in; `check` of the whole story.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amends_core::fact::{Act, AttemptEnded, Fact, Operated};
use amends_core::id::Place;
use amends_core::{OperationKey, OperationKind, Outcome, SagaId, Time};
use amends_definitions::{Compensation, RetryPolicy};

use crate::checker::case::{Case, Seen};
use crate::checker::model::{End, Model};
use crate::checker::{Evidence, Found};
use crate::history::Event;

pub fn before(model: &Model, case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    dependencies(model, case, seen, found);
    none_after_abort(model, case, seen, found);
    attempts(model, case, seen, found);
    not_retryable(case, seen, found);
    first_result_wins(model, case, seen, found);
    point_of_no_return(model, case, seen, found);
    pivot_in_doubt(model, case, seen, found);
}

pub fn check(evidence: &Evidence<'_>, found: &mut Found) {
    for case in evidence.cases.values() {
        write_ahead(case, found);
        one_input(case, found);
        withdrawn_never_left(case, found);
    }
    no_send_after_abort(evidence, found);
    acknowledged(evidence, found);
    replay(evidence, found);
}

/// I8: what a step needs is done before it is scheduled.
fn dependencies(model: &Model, case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    let Fact::Scheduled {
        place,
        operation: OperationKind::Forward,
        ..
    } = seen.fact
    else {
        return;
    };
    for need in case.definition.graph().needs(place.step) {
        let done = model.lets_go_on(*need);
        found.expect(done, "I8", case.id, || {
            let end = model.forward(*need).end;
            let need = case.definition.step(*need).id();
            format!("{} is scheduled and {need} is {end:?}", case.name(*place))
        });
    }
}

/// I9, the journal's half: after the abort nothing is scheduled going forward, and nothing is tried again.
fn none_after_abort(model: &Model, case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    let forward = match seen.fact {
        Fact::Scheduled {
            operation: OperationKind::Forward,
            place,
            ..
        } => Some(*place),
        Fact::AttemptEnded(AttemptEnded {
            operation: OperationKind::Forward,
            retry_at: Some(_),
            place,
            ..
        }) => Some(*place),
        _ => None,
    };
    if let Some(place) = forward {
        found.expect(model.aborted_at.is_none(), "I9", case.id, || {
            format!("{} goes forward after the abort", case.name(place))
        });
    }
}

/// I10, the journal's half: attempts are counted one by one, within their budget, and wait for their time.
fn attempts(model: &Model, case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    if let Fact::Scheduled {
        place, operation, ..
    } = seen.fact
    {
        let end = model.course(*place, *operation).end;
        let begun = end != End::NotBegun && *operation != OperationKind::Query;
        found.expect(!begun, "I10", case.id, || {
            format!(
                "{} {} is scheduled twice",
                case.name(*place),
                operation.as_str()
            )
        });
        return;
    }
    let Fact::AttemptEnded(ended) = seen.fact else {
        return;
    };
    let course = model.course(ended.place, ended.operation);
    let known = ended.attempt >= 1 && ended.attempt <= course.attempt;
    found.expect(known, "I10", case.id, || {
        format!(
            "attempt {} of {} was never made",
            ended.attempt,
            case.name(ended.place)
        )
    });
    let (Some(retry_at), Some(policy)) = (ended.retry_at, policy(case, ended)) else {
        return;
    };
    let counted = ended.attempt.saturating_sub(course.uncounted).max(1);
    let within = policy.max_attempts == 0 || counted < policy.max_attempts;
    found.expect(within, "I10", case.id, || {
        format!("{} is tried beyond its budget", case.name(ended.place))
    });
    let current = ended.attempt == course.attempt;
    found.expect(current, "I10", case.id, || {
        format!(
            "an old attempt of {} leads to another",
            case.name(ended.place)
        )
    });
    let least = shortest(policy, ended, counted);
    let due = retry_at >= seen.row.decided_at + least;
    found.expect(due, "I10", case.id, || {
        format!(
            "{} is tried again before {least:?} are over",
            case.name(ended.place)
        )
    });
}

fn policy<'a>(case: &'a Case<'_>, ended: &AttemptEnded) -> Option<&'a RetryPolicy> {
    let step = case.definition.step(ended.place.step);
    match (ended.operation, step.compensation()) {
        (OperationKind::Forward, _) => Some(step.retry()),
        (OperationKind::Compensate, Compensation::Call(call)) => Some(call.retry()),
        _ => None,
    }
}

/// The shortest time between this attempt and the next.
fn shortest(policy: &RetryPolicy, ended: &AttemptEnded, counted: u32) -> Duration {
    let times = i32::try_from(counted - 1).unwrap_or(i32::MAX);
    let grown = policy.initial_interval.as_secs_f64() * policy.backoff.powi(times);
    let least = grown.min(policy.max_interval.as_secs_f64()) * (1.0 - policy.jitter);
    let asked = ended.outcome.retry_after().unwrap_or_default();
    // A microsecond for the rounding.
    Duration::from_secs_f64((least - 1e-6).max(0.0)).max(asked)
}

/// I11: what cannot be retried is not.
fn not_retryable(case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    let Fact::AttemptEnded(ended) = seen.fact else {
        return;
    };
    let definite = !matches!(
        ended.outcome,
        Outcome::Failed { .. } | Outcome::Unknown { .. }
    );
    let forbidden = match (&ended.outcome, policy(case, ended)) {
        (Outcome::Failed { code, .. } | Outcome::Unknown { code, .. }, Some(policy)) => {
            policy.non_retryable.contains(code)
        }
        _ => false,
    };
    let again = ended.retry_at.is_some();
    found.expect(!(again && (definite || forbidden)), "I11", case.id, || {
        format!(
            "{} is retried after {:?}",
            case.name(ended.place),
            ended.outcome
        )
    });
}

/// I12: the first definite result wins.
fn first_result_wins(model: &Model, case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    let Fact::AttemptEnded(ended) = seen.fact else {
        return;
    };
    if ended.operation == OperationKind::Query {
        return;
    }
    let course = model.course(ended.place, ended.operation);
    let undecided = match course.end {
        End::Open | End::Spent | End::Refused => true,
        // A late success closes what a person was asked about.
        End::Parked => ended.operation == OperationKind::Compensate,
        // A person has gone past it, and it may have had its effect.
        End::Skipped if model.by_hand.contains(&ended.place) => !course.unclear.is_empty(),
        End::NotBegun
        | End::Waiting
        | End::Succeeded
        | End::Unusable
        | End::Skipped
        | End::NothingToUndo => false,
    };
    found.expect(undecided, "I12", case.id, || {
        let end = course.end;
        format!(
            "{} was {end:?}, and another result is accepted",
            case.name(ended.place)
        )
    });
    found.expect(!course.aborted_at_once, "I12", case.id, || {
        let name = case.name(ended.place);
        format!("{name} was scheduled and aborted at once, and a result is accepted")
    });
    let in_doubt = !matches!(course.end, End::Refused | End::Spent)
        || course.unclear.contains(&ended.attempt)
        || course.end == End::Spent;
    found.expect(in_doubt, "I12", case.id, || {
        format!(
            "{} had no attempt {} in doubt",
            case.name(ended.place),
            ended.attempt
        )
    });
}

/// I25: behind the point of no return nothing aborts.
fn point_of_no_return(model: &Model, case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    if matches!(seen.fact, Fact::AbortDecided(_)) {
        let before = !model.past_point_of_no_return(case);
        found.expect(before, "I25", case.id, || {
            "aborted behind the point of no return".to_owned()
        });
        found.expect(model.aborted_at.is_none(), "I24", case.id, || {
            "aborted twice".to_owned()
        });
    }
}

/// I26: while the pivot is in doubt neither an abort nor a later step is recorded.
fn pivot_in_doubt(model: &Model, case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    let decisive = match seen.fact {
        Fact::AbortDecided(_) => true,
        Fact::Scheduled {
            operation: OperationKind::Forward,
            place,
            ..
        } => case.definition.pivot().is_some_and(|pivot| {
            case.definition
                .graph()
                .ancestors(place.step)
                .contains(&pivot)
        }),
        _ => false,
    };
    if decisive {
        found.expect(!model.pivot_in_doubt(case), "I26", case.id, || {
            format!("{} while the pivot is in doubt", seen.fact.kind())
        });
    }
}

/// Place, operation, round, attempt.
type Attempt = (Place, OperationKind, u32, u32);

/// Which attempts were intended and since when they are due, and which have ended.
#[derive(Default)]
struct Intents {
    due: BTreeMap<Attempt, Time>,
    ended: BTreeSet<Attempt>,
}

impl Intents {
    fn take(&mut self, seen: &Seen<'_>) {
        match seen.fact {
            Fact::Scheduled {
                place,
                operation,
                round,
                ..
            } => self.one_more((*place, *operation, *round), seen),
            Fact::Operated(Operated {
                act:
                    Act::Retry {
                        place,
                        operation,
                        input: None,
                    },
                ..
            }) => {
                let first = (*place, *operation, 0, 0);
                let last = (*place, *operation, u32::MAX, u32::MAX);
                let round = self.due.range(first..=last).next_back();
                if let Some(((_, _, round, _), _)) = round {
                    self.one_more((*place, *operation, *round), seen);
                }
            }
            Fact::AttemptEnded(ended) => {
                let (place, kind, round) = (ended.place, ended.operation, ended.round);
                self.ended.insert((place, kind, round, ended.attempt));
                if let Some(at) = ended.retry_at {
                    self.due.insert((place, kind, round, ended.attempt + 1), at);
                }
            }
            _ => {}
        }
    }

    /// The attempt behind the last that was intended in this round is due.
    fn one_more(
        &mut self,
        (place, operation, round): (Place, OperationKind, u32),
        seen: &Seen<'_>,
    ) {
        let of_round = (place, operation, round, 0)..=(place, operation, round, u32::MAX);
        let last = self.due.range(of_round).next_back();
        let next = last.map_or(1, |((_, _, _, attempt), _)| attempt + 1);
        let at = seen.row.decided_at;
        self.due.insert((place, operation, round, next), at);
    }
}

/// I7 and I10, the wire's half: nothing leaves without a durable intent for this very attempt, whose time has come and whose
/// result is not recorded.
fn write_ahead(case: &Case<'_>, found: &mut Found) {
    let mut facts = case.facts.iter().peekable();
    let mut intents = Intents::default();
    for (index, _, sent) in &case.sent {
        while let Some(seen) = facts.next_if(|seen| seen.index < *index) {
            intents.take(seen);
        }
        let Some(step) = case.step(&sent.key.step) else {
            continue;
        };
        let place = Place::item(step, sent.key.item);
        let (operation, round) = (sent.key.operation, sent.key.round);
        let attempt = (place, operation, round, sent.attempt);
        let words = || {
            format!(
                "{} {} #{}",
                case.name(place),
                operation.as_str(),
                sent.attempt
            )
        };
        let due = intents.due.get(&attempt);
        found.expect(due.is_some(), "I7", case.id, || {
            format!("{} left without a durable intent", words())
        });
        // What a deposed owner still has is fenced elsewhere; what it sends was due by its own clock all the same.
        let in_time = due.is_none_or(|due| sent.node_time >= *due || sent.zombie);
        found.expect(in_time, "I10", case.id, || {
            format!("{} left before it was due", words())
        });
        let older = intents
            .ended
            .range(attempt..=(place, operation, round, u32::MAX))
            .any(|(_, _, _, ended)| *ended > sent.attempt);
        found.expect(!older || sent.zombie, "I10", case.id, || {
            format!("{} left after a later attempt had ended", words())
        });
    }
}

/// I22: every attempt of an operation carries the input that was recorded with its scheduling.
fn one_input(case: &Case<'_>, found: &mut Found) {
    let mut inputs: BTreeMap<(Place, OperationKind, u32), &[u8]> = BTreeMap::new();
    for seen in &case.facts {
        if let Fact::Scheduled {
            place,
            operation,
            round,
            input,
        } = seen.fact
        {
            inputs.insert((*place, *operation, *round), input.as_bytes());
        }
    }
    for (_, _, sent) in &case.sent {
        let Some(step) = case.step(&sent.key.step) else {
            continue;
        };
        let place = Place::item(step, sent.key.item);
        let recorded = inputs.get(&(place, sent.key.operation, sent.key.round));
        let same = recorded.is_none_or(|recorded| *recorded == sent.input.as_slice());
        found.expect(same, "I22", case.id, || {
            format!(
                "{} is sent another input than was recorded",
                case.name(place)
            )
        });
    }
}

/// I17, the wire's half: what is recorded as never sent was never sent, by whichever owner.
fn withdrawn_never_left(case: &Case<'_>, found: &mut Found) {
    for seen in &case.facts {
        let Fact::Withdrawn {
            place,
            operation,
            round,
            attempt,
            ..
        } = seen.fact
        else {
            continue;
        };
        let step = case.definition.step(place.step).id();
        let left = case.sent.iter().any(|(_, _, sent)| {
            *sent.key.step == *step
                && (sent.key.item, sent.key.round) == (place.item, *round)
                && (sent.key.operation, sent.attempt) == (*operation, *attempt)
        });
        found.expect(!left, "I17", case.id, || {
            format!("{} #{attempt} is withdrawn, and it left", case.name(*place))
        });
    }
}

/// I9, the wire's half: who knows of the abort, having written it or having taken over after it, sends nothing forward.
fn no_send_after_abort(evidence: &Evidence<'_>, found: &mut Found) {
    // When the node that wrote a batch learned that it is durable.
    let mut learned: BTreeMap<(u64, u16), usize> = BTreeMap::new();
    for (index, entry) in evidence.entries.iter().enumerate() {
        if let Event::Settled { batch, shard, .. } = &entry.event {
            learned.entry((*batch, *shard)).or_insert(index);
        }
    }
    for case in evidence.cases.values() {
        let abort = case
            .facts
            .iter()
            .find(|seen| matches!(seen.fact, Fact::AbortDecided(_)));
        let Some(abort) = abort else {
            continue;
        };
        let known = learned.get(&(abort.row.batch, abort.row.shard));
        for (index, _, sent) in &case.sent {
            let forward = sent.key.operation == OperationKind::Forward;
            let later_owner = sent.epoch > abort.row.epoch && *index > abort.index;
            let same_owner = sent.epoch == abort.row.epoch && known.is_some_and(|at| index > at);
            found.expect(
                !(forward && (same_owner || later_owner)),
                "I9",
                case.id,
                || {
                    format!(
                        "{} #{} is sent after the abort",
                        sent.key.step, sent.attempt
                    )
                },
            );
        }
    }
}

/// I13: what is acknowledged is in the journal; what nobody may say is never accepted.
fn acknowledged(evidence: &Evidence<'_>, found: &mut Found) {
    type Attempt = (SagaId, String, u32, OperationKind);
    let mut recorded: BTreeMap<(Attempt, u32), usize> = BTreeMap::new();
    for case in evidence.cases.values() {
        for (seen, ended) in case.ended() {
            let step = case.definition.step(ended.place.step).id().to_owned();
            let attempt = (case.id, step, ended.place.item, ended.operation);
            recorded
                .entry((attempt, ended.attempt))
                .or_insert(seen.index);
        }
    }
    for (index, entry) in evidence.entries.iter().enumerate() {
        let Event::Acknowledged {
            key,
            attempt,
            how,
            honest,
            said: _,
        } = &entry.event
        else {
            continue;
        };
        let gone = evidence.is_gone(key.saga, index);
        let strange = *honest && *how == "unknown" && !gone;
        let owner_sent = |key: &OperationKey| {
            let mut sent = evidence
                .cases
                .get(&key.saga)
                .into_iter()
                .flat_map(|case| &case.sent);
            sent.any(|(at, _, sent)| {
                *at < index && !sent.zombie && (&*sent.key, sent.attempt) == (key, *attempt)
            })
        };
        found.expect(!strange || !owner_sent(key), "I13", key.saga, || {
            format!(
                "the result of {} #{attempt}, which was sent, is refused",
                key.step
            )
        });
        let accepted = matches!(*how, "recorded" | "late");
        found.expect(*honest || !accepted, "I45", key.saga, || {
            format!("a forged result of {} was taken: {how}", key.step)
        });
        if *honest && *how == "recorded" {
            let name = (key.saga, key.step.to_string(), key.item, key.operation);
            let at = recorded.get(&(name, *attempt));
            found.expect(at.is_some_and(|at| *at < index), "I13", key.saga, || {
                format!(
                    "{} #{attempt} was acknowledged and is not recorded",
                    key.step
                )
            });
        }
    }
}

/// I14: the fold of the journal is the live state, after every commit.
fn replay(evidence: &Evidence<'_>, found: &mut Found) {
    for entry in evidence.entries {
        if let Event::Compared { saga, same } = &entry.event {
            found.expect(*same, "I14", *saga, || {
                "the fold of the journal is not the live state".to_owned()
            });
        }
    }
    for saga in evidence.cases.keys() {
        let broken = evidence.world.store.broken(*saga);
        found.expect(broken.is_none(), "I14", *saga, || {
            format!("the core's own list says: {}", broken.unwrap_or_default())
        });
    }
}
