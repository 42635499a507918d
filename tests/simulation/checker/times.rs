//! Time and budgets: I11, I19, I37. What waits for a time waits until it has come, and is acted on soon after; an operation is
//! given up when its budget is spent, and not before. `before` is asked of each fact before it is taken in; `check` of what was
//! sent. Times are compared as the nodes took them: with what was recorded, and with what the definition says. That a retry
//! waits for its time is in `forward`.

use std::collections::BTreeMap;
use std::time::Duration;

use amends_core::fact::{AbortReason, AttemptEnded, Fact, IncidentReason};
use amends_core::id::Place;
use amends_core::limits::QUERY_ATTEMPTS_MAX;
use amends_core::{OperationKind, Outcome, Time};
use amends_definitions::{Compensation, RetryPolicy, Scope, Sleep, Timeouts, Work};

use crate::checker::case::{Case, Seen};
use crate::checker::model::{End, Model};
use crate::checker::{Evidence, Found};
use crate::history::{Counted, Event, Sent};

/// What is due in a healthy world is acted on within this time.
pub const ACTED_WITHIN: Duration = Duration::from_secs(5);

pub fn before(
    model: &Model,
    case: &Case<'_>,
    seen: &Seen<'_>,
    evidence: &Evidence<'_>,
    found: &mut Found,
) {
    by_the_clock(model, case, seen, evidence, found);
    as_defined(case, seen, found);
    timers(model, case, seen, evidence, found);
    settle_times(model, case, seen, evidence, found);
    overdue_attempts(model, case, seen, evidence, found);
    budgets(model, case, seen, found);
    failed_before_abort(model, case, seen, found);
}

pub fn check(evidence: &Evidence<'_>, found: &mut Found) {
    for case in evidence.cases.values() {
        sent_in_time(evidence, case, found);
    }
    if evidence.world.plan.bounded {
        nothing_after_a_takeover(evidence, found);
    }
}

/// I19: a settle time counts from the takeover. So within bounds nothing leaves an owner after another process has taken its shard
/// over: its lease is over, and it knows.
fn nothing_after_a_takeover(evidence: &Evidence<'_>, found: &mut Found) {
    let mut owners: BTreeMap<u16, (usize, u32)> = BTreeMap::new();
    for entry in evidence.entries {
        match &entry.event {
            Event::TakenOver {
                shard, node, life, ..
            } => {
                owners.insert(*shard, (*node, *life));
            }
            Event::Sent(sent) => {
                let saga = sent.key.saga;
                let owner = owners.get(&saga.shard().0);
                let own = owner.is_none_or(|owner| *owner == (sent.node, sent.life));
                found.expect(own, "I19", saga, || {
                    let (step, node) = (&sent.key.step, sent.node);
                    format!("{step} leaves node {node}, and another has taken its shard over")
                });
            }
            _ => {}
        }
    }
}

/// I37: nothing is decided at a time that has not come: by the node's clock, or by what was recorded before it.
fn by_the_clock(
    model: &Model,
    case: &Case<'_>,
    seen: &Seen<'_>,
    evidence: &Evidence<'_>,
    found: &mut Found,
) {
    let Event::Decided { node_time, .. } = &evidence.entries[seen.decided].event else {
        return;
    };
    let at = seen.row.decided_at;
    let recorded = || {
        // An owner before, whose clock was ahead, may have sent a retry at its time.
        let due = model.courses.values().map(|course| course.due_at);
        due.chain([model.decided_at]).max().unwrap_or_default()
    };
    let come = at <= *node_time || at <= recorded();
    found.expect(come, "I37", case.id, || {
        format!(
            "{} is decided {:?} ahead of the clock",
            seen.fact.kind(),
            at.since(*node_time)
        )
    });
}

/// I37: a wait and a sleep are recorded with the time that the definition says.
fn as_defined(case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    let at = seen.row.decided_at;
    let (place, until) = match seen.fact {
        Fact::Sleeping { place, until } => (*place, Some(*until)),
        Fact::SignalAwaited { place, until } => (*place, *until),
        _ => return,
    };
    let wanted = match case.definition.step(place.step).work() {
        Work::Sleep(Sleep::For(time)) => Some(at + *time),
        Work::Sleep(Sleep::Until(time)) => {
            let input = case.facts.first().and_then(|first| match first.fact {
                Fact::Started(started) => Some(&started.input),
                _ => None,
            });
            let time = input.and_then(|input| time.evaluate_time(&Scope::of_input(input)).ok());
            time.map(Time::from_micros)
        }
        Work::Wait(wait) => wait.timeout().map(|time| at + time),
        Work::Call(_) | Work::Saga(_) | Work::Emit(_) | Work::Fail(_) => None,
    };
    found.expect(until == wanted, "I37", case.id, || {
        format!("{} waits until {until:?}, not {wanted:?}", case.name(place))
    });
}

/// Something that waited for a time.
struct Timer {
    what: String,
    /// When it was to end; [`Time::INFINITY`] if it never was.
    due: Time,
    /// When it could end at the earliest, the time aside: none if that is not known well enough to say that it came late.
    free: Option<Time>,
}

/// I37: a wait, a sleep, the deadline, the patience with a compensation or query and the time to be taken up are not over
/// before their time, and within a bound after it.
fn timers(
    model: &Model,
    case: &Case<'_>,
    seen: &Seen<'_>,
    evidence: &Evidence<'_>,
    found: &mut Found,
) {
    let Some(timer) = timer(model, case, seen) else {
        return;
    };
    let at = seen.row.decided_at;
    found.expect(at >= timer.due, "I37", case.id, || {
        format!("{} {:?} early", timer.what, timer.due.since(at))
    });
    let Some(free) = timer.free else {
        return;
    };
    if evidence.is_healthy(seen.row.shard, seen.decided) && !model.record_refused {
        let latest = timer.due.max(free) + ACTED_WITHIN;
        found.expect(at <= latest, "I37", case.id, || {
            format!("{} {:?} late", timer.what, at.since(timer.due))
        });
    }
}

fn timer(model: &Model, case: &Case<'_>, seen: &Seen<'_>) -> Option<Timer> {
    let waited = |place: Place, what: &str| {
        let course = model.course(place, OperationKind::Forward);
        Timer {
            what: format!("the {what} of {} is over", case.name(place)),
            due: course.until.unwrap_or(Time::INFINITY),
            free: Some(course.since.max(model.resumed_at)),
        }
    };
    match seen.fact {
        Fact::Slept { place } => Some(waited(*place, "sleep")),
        Fact::StepFailed { place, code, .. } if code == "WAIT_TIMEOUT" => {
            Some(waited(*place, "wait"))
        }
        Fact::Continued { place, .. }
            if model.course(*place, OperationKind::Forward).end == End::Waiting =>
        {
            Some(waited(*place, "wait"))
        }
        Fact::DeadlinePassed => Some(Timer {
            what: "the deadline is over".to_owned(),
            due: deadline(model, case),
            free: Some(model.begun_at),
        }),
        Fact::AbortDecided(AbortReason::DeadlineExceeded) => Some(Timer {
            what: "it is undone for its deadline".to_owned(),
            due: deadline(model, case),
            free: None,
        }),
        Fact::IncidentOpened(incident) if incident.reason == IncidentReason::DeadlineExceeded => {
            Some(Timer {
                what: "it is parked for its deadline".to_owned(),
                due: deadline(model, case),
                free: None,
            })
        }
        Fact::StepFailed {
            place,
            operation,
            code,
            ..
        } if code == "PARK_AFTER" => Some(patience(model, case, *place, *operation)),
        Fact::Withdrawn {
            place,
            operation,
            code,
            ..
        } => not_taken(model, case, (*place, *operation), code),
        // An owner before may have sent it: then it is unknown instead of withdrawn.
        Fact::AttemptEnded(ended) => match &ended.outcome {
            Outcome::Unknown { code, .. } => {
                not_taken(model, case, (ended.place, ended.operation), code)
            }
            _ => None,
        },
        _ => None,
    }
}

fn deadline(model: &Model, case: &Case<'_>) -> Time {
    let deadline = case.definition.deadline();
    deadline.map_or(Time::INFINITY, |deadline| model.begun_at + deadline.after)
}

/// How long a compensation or a query is waited for before a person is asked.
fn patience(model: &Model, case: &Case<'_>, place: Place, operation: OperationKind) -> Timer {
    let course = model.course(place, operation);
    let total = match operation {
        OperationKind::Compensate => timeouts(case, place, operation).and_then(|it| it.total),
        OperationKind::Forward | OperationKind::Query => None,
    };
    let most = case.definition.compensation().park_after;
    let most = total.map_or(most, |total| total.min(most));
    Timer {
        what: format!("{} of {} is late", operation.as_str(), case.name(place)),
        due: course.first_at + most,
        free: Some(course.first_at),
    }
}

/// How long an attempt waits for somebody who takes it.
fn not_taken(
    model: &Model,
    case: &Case<'_>,
    (place, operation): (Place, OperationKind),
    code: &str,
) -> Option<Timer> {
    let timeouts = timeouts(case, place, operation)?;
    let course = model.course(place, operation);
    let due = match code {
        "SCHEDULE_TIMEOUT" => timeouts.schedule.map(|time| course.due_at + time),
        "TOTAL_TIMEOUT" => timeouts.total.map(|time| course.first_at + time),
        _ => return None,
    };
    Some(Timer {
        what: format!("{code} of {} is over", case.name(place)),
        due: due.unwrap_or(Time::INFINITY),
        // An owner after a takeover counts anew.
        free: None,
    })
}

/// I19: a compensation that lets its action settle is not begun before that is over, unless the effect is known by then; nor,
/// if its owner took the settle time over, within as much from the takeover, by that owner's clock.
fn settle_times(
    model: &Model,
    case: &Case<'_>,
    seen: &Seen<'_>,
    evidence: &Evidence<'_>,
    found: &mut Found,
) {
    let Fact::Scheduled {
        place,
        operation: OperationKind::Compensate,
        ..
    } = seen.fact
    else {
        return;
    };
    let course = model.course(*place, OperationKind::Compensate);
    let Some(until) = course.until.filter(|_| course.attempt == 0) else {
        return;
    };
    let forward = model.course(*place, OperationKind::Forward);
    let known = forward.effect || matches!(forward.end, End::Succeeded | End::Unusable);
    let at = seen.row.decided_at;
    found.expect(known || at >= until, "I19", case.id, || {
        format!(
            "{} is compensated {:?} before its settle time is over",
            case.name(*place),
            until.since(at)
        )
    });
    let owner_of = |seen: &Seen<'_>| evidence.owners.get(&(seen.row.shard, seen.row.epoch));
    let (Some(owner), Some(first)) = (owner_of(seen), case.facts.first()) else {
        return;
    };
    // Once its barrier is known, nothing has to settle any more.
    if known || owner_of(first) == Some(owner) || case.stands_behind_barrier(*place) {
        return;
    }
    let Event::Decided { node_time, .. } = evidence.entries[seen.decided].event else {
        return;
    };
    let attempt = case.definition.step(place.step).timeouts().attempt;
    found.expect(node_time >= owner.since + attempt, "I19", case.id, || {
        let (name, after) = (case.name(*place), node_time.since(owner.since));
        format!("{name} is compensated {after:?} after a takeover, before it has settled")
    });
}

/// I37: an attempt is not given up before its time is over, or before its participant was silent for too long.
fn overdue_attempts(
    model: &Model,
    case: &Case<'_>,
    seen: &Seen<'_>,
    evidence: &Evidence<'_>,
    found: &mut Found,
) {
    let Fact::AttemptEnded(ended) = seen.fact else {
        return;
    };
    let Outcome::Unknown { code, .. } = &ended.outcome else {
        return;
    };
    let silent = code == "HEARTBEAT_TIMEOUT";
    if !silent && code != "ATTEMPT_TIMEOUT" {
        return;
    }
    let (place, operation) = (ended.place, ended.operation);
    let owner = evidence.owners.get(&(seen.row.shard, seen.row.epoch));
    let (Some(times), Some(owner)) = (timeouts(case, place, operation), owner) else {
        return;
    };
    let Event::Decided { node_time: at, .. } = evidence.entries[seen.decided].event else {
        return;
    };
    let step = case.definition.step(place.step).id();
    let name = (step, place.item, operation, ended.round, ended.attempt);
    let counted = case.counted.iter().filter(|(index, counted)| {
        let of = &counted.attempt.name;
        let of = (
            &*of.step,
            of.item,
            of.operation,
            of.round,
            counted.attempt.attempt,
        );
        let by_owner = (counted.node, counted.life) == (owner.node, owner.life);
        *index < seen.decided && by_owner && of == name
    });
    let counted: Vec<&Counted> = counted.map(|(_, counted)| *counted).collect();
    let words = |what: &str, by: Duration| {
        format!(
            "{code} of {} #{}: {by:?} {what}",
            case.name(place),
            ended.attempt
        )
    };
    if silent {
        let last = counted.iter().map(|counted| counted.node_time).max();
        let due = last.zip(times.heartbeat).map(|(last, time)| last + time);
        let due = due.unwrap_or(Time::INFINITY);
        found.expect(at >= due, "I37", case.id, || words("early", due.since(at)));
        return;
    }
    // Sent again on another stream it has no more time than before; what only an owner before can have sent has it anew from
    // the takeover.
    let sent = counted.iter().filter(|counted| !counted.beat);
    let sent = || sent.clone().map(|counted| counted.node_time);
    let first = sent().min().unwrap_or(owner.since);
    let whole = first + times.attempt;
    let total = times.total.map(|total| {
        let end = model.course(place, operation).first_at + total;
        end.max(first)
    });
    let due = total.map_or(whole, |total| total.min(whole));
    found.expect(at >= due, "I37", case.id, || words("early", due.since(at)));
    if let Some(last) = sent().max()
        && evidence.is_healthy(seen.row.shard, seen.decided)
        && !model.record_refused
    {
        let latest = last + times.attempt + ACTED_WITHIN;
        found.expect(at <= latest, "I37", case.id, || {
            words("late", at.since(last + times.attempt))
        });
    }
}

/// I11: an operation that could have been tried again was, unless its attempts, its time or the patience with it were spent.
fn budgets(model: &Model, case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    let Fact::AttemptEnded(ended) = seen.fact else {
        return;
    };
    let (Outcome::Failed { code, .. } | Outcome::Unknown { code, .. }) = &ended.outcome else {
        return;
    };
    let (place, operation) = (ended.place, ended.operation);
    let over = ended.retry_at.is_some()
        || operation == OperationKind::Forward && model.aborted_at.is_some();
    let (Some(policy), Some(times)) = (
        retry(case, place, operation),
        timeouts(case, place, operation),
    ) else {
        return;
    };
    if over {
        return;
    }
    let course = model.course(place, operation);
    let counted = ended.attempt.saturating_sub(course.uncounted);
    let most = match operation {
        OperationKind::Query if policy.max_attempts == 0 => QUERY_ATTEMPTS_MAX,
        OperationKind::Query => policy.max_attempts.min(QUERY_ATTEMPTS_MAX),
        OperationKind::Forward | OperationKind::Compensate => policy.max_attempts,
    };
    let attempts = most != 0 && counted >= most;
    let forbidden = policy.non_retryable.contains(code);
    let patience = match operation {
        OperationKind::Forward => None,
        OperationKind::Compensate | OperationKind::Query => {
            Some(case.definition.compensation().park_after)
        }
    };
    let bounds = [policy.max_elapsed, times.total, patience];
    let last = bounds
        .into_iter()
        .flatten()
        .min()
        .map(|most| course.first_at + most);
    let next = seen.row.decided_at + longest(policy, ended, counted);
    let time = last.is_some_and(|last| next >= last);
    found.expect(attempts || forbidden || time, "I11", case.id, || {
        format!(
            "{} {} is given up after {counted} of {most} attempts, the next at {next:?} of {last:?}",
            case.name(place),
            operation.as_str()
        )
    });
}

/// The longest time between this attempt and the next.
fn longest(policy: &RetryPolicy, ended: &AttemptEnded, counted: u32) -> Duration {
    let times = i32::try_from(counted.saturating_sub(1)).unwrap_or(i32::MAX);
    let grown = policy.initial_interval.as_secs_f64() * policy.backoff.powi(times);
    let most = grown.min(policy.max_interval.as_secs_f64()) * (1.0 + policy.jitter);
    let asked = ended.outcome.retry_after().unwrap_or_default();
    // A microsecond for the rounding.
    Duration::from_secs_f64(most + 1e-6).max(asked)
}

/// I11: a saga is undone for a step that has failed, not for one that may still be tried.
fn failed_before_abort(model: &Model, case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    let Fact::AbortDecided(AbortReason::StepFailed { place, code, .. }) = seen.fact else {
        return;
    };
    let end = model.course(*place, OperationKind::Forward).end;
    // Of a child that somebody gave up, nobody knows more.
    let failed = matches!(end, End::Refused | End::Spent | End::Unusable | End::Parked);
    found.expect(failed, "I11", case.id, || {
        format!(
            "undone for {code} of {}, which is {end:?}",
            case.name(*place)
        )
    });
}

/// I37: in a healthy world an attempt that is due leaves soon; while its participant has no room it has to wait.
fn sent_in_time(evidence: &Evidence<'_>, case: &Case<'_>, found: &mut Found) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, at, sent) in &case.sent {
        // Sent again it was due long ago.
        let first = seen.insert(name_of(sent));
        let shard = sent.key.saga.shard().0;
        if !first || sent.zombie || !evidence.is_healthy(shard, *index) {
            continue;
        }
        let model = Model::until(case, *index);
        let late = sent.node_time.since(sent.due_at.max(model.resumed_at));
        let full = evidence.rooms.none_since(*at - late, *index, sent);
        found.expect(late <= full + ACTED_WITHIN, "I37", case.id, || {
            format!(
                "{} {} #{} leaves {late:?} late, {full:?} of it for want of room",
                sent.key.step,
                sent.key.operation.as_str(),
                sent.attempt,
            )
        });
    }
}

/// An attempt's name within its saga.
fn name_of(sent: &Sent) -> (&str, u32, OperationKind, u32, u32) {
    let key = &sent.key;
    (&key.step, key.item, key.operation, key.round, sent.attempt)
}

/// The policy of an operation; none if it is not retried by one.
fn retry<'a>(
    case: &'a Case<'_>,
    place: Place,
    operation: OperationKind,
) -> Option<&'a RetryPolicy> {
    let step = case.definition.step(place.step);
    match (operation, step.compensation()) {
        (OperationKind::Forward | OperationKind::Query, _) => Some(step.retry()),
        (OperationKind::Compensate, Compensation::Call(call)) => Some(call.retry()),
        (OperationKind::Compensate, _) => None,
    }
}

/// The times of an operation; none if it calls nobody.
fn timeouts<'a>(
    case: &'a Case<'_>,
    place: Place,
    operation: OperationKind,
) -> Option<&'a Timeouts> {
    let step = case.definition.step(place.step);
    match (operation, step.compensation()) {
        (OperationKind::Forward | OperationKind::Query, _) => Some(step.timeouts()),
        (OperationKind::Compensate, Compensation::Call(call)) => Some(call.timeouts()),
        (OperationKind::Compensate, _) => None,
    }
}
