//! How long a saga takes at worst, from its timeouts and retries: along the longest way through the graph. Participants are
//! assumed to be attached and the server to run; where nothing bounds a step, it is said which and why.

use std::time::Duration;

use amends_core::limits::QUERY_ATTEMPTS_MAX;
use amends_definitions::{
    Call, Compensation, CompensationOrder, Definition, Kind, RetryPolicy, Sleep, Step, StepIndex,
    Then, Timeouts, Work,
};

/// A worst case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Not longer than this.
    Within(Duration),
    /// Nothing bounds it, for these reasons.
    Unbounded(Vec<String>),
}

/// The worst cases of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorstCase {
    /// From the start until the saga can only go forward, or is parked; an abort comes before that.
    pub until_decided: Bound,
    /// From the start to its completion.
    pub forward: Bound,
    /// From an abort until everything is undone, or parked.
    pub backward: Bound,
}

/// Computes the worst cases of a definition.
#[must_use]
pub fn worst_case(definition: &Definition) -> WorstCase {
    let steps = definition.steps().iter();
    let steps: Vec<Bound> = steps.map(|step| step_bound(definition, step)).collect();
    let forward = longest(definition, &steps, |_| true, Direction::Forward);
    let decided = |step: StepIndex| definition.step(step).kind() != Kind::Retriable;
    let all = longest(definition, &steps, decided, Direction::Forward);
    let until_decided = match deadline_bound(definition, &steps) {
        Some(deadline) => earlier(all, deadline),
        None => all,
    };
    let undo: Vec<Bound> = definition
        .steps()
        .iter()
        .map(|step| compensation_bound(definition, step))
        .collect();
    let backward = match definition.compensation().order {
        CompensationOrder::Reverse => longest(definition, &undo, |_| true, Direction::Backward),
        CompensationOrder::Parallel => undo
            .iter()
            .fold(Bound::Within(Duration::ZERO), |longest, bound| {
                later(longest, bound.clone())
            }),
    };
    // What is in flight at the abort is awaited first.
    let awaited = definition
        .steps()
        .iter()
        .map(|step| step.timeouts().attempt)
        .max();
    let backward = after(Bound::Within(awaited.unwrap_or_default()), backward);
    WorstCase {
        until_decided,
        forward,
        backward,
    }
}

/// When the deadline has ended what is not decided. An abort waits for a pivot that is under way by then; parking does not.
fn deadline_bound(definition: &Definition, steps: &[Bound]) -> Option<Bound> {
    let deadline = definition.deadline()?;
    let passes = Bound::Within(deadline.after);
    Some(match (deadline.then, definition.pivot()) {
        (Then::Compensate, Some(pivot)) => after(passes, steps[pivot.index()].clone()),
        (Then::Compensate, None) | (Then::Park | Then::Continue, _) => passes,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// The longest way along the needs, or against them.
fn longest(
    definition: &Definition,
    steps: &[Bound],
    counts: impl Fn(StepIndex) -> bool,
    direction: Direction,
) -> Bound {
    let graph = definition.graph();
    let mut order: Vec<StepIndex> = definition.step_indices().collect();
    // A step has more ancestors than each of its ancestors has.
    order.sort_by_key(|step| graph.ancestors(*step).len());
    if direction == Direction::Backward {
        order.reverse();
    }
    let mut until: Vec<Bound> = vec![Bound::Within(Duration::ZERO); steps.len()];
    let mut whole = Bound::Within(Duration::ZERO);
    for step in order {
        let before = match direction {
            Direction::Forward => graph.needs(step),
            Direction::Backward => graph.dependants(step),
        };
        let begins = before
            .iter()
            .fold(Bound::Within(Duration::ZERO), |latest, need| {
                later(latest, until[need.index()].clone())
            });
        until[step.index()] = if counts(step) {
            after(begins, steps[step.index()].clone())
        } else {
            begins
        };
        whole = later(whole, until[step.index()].clone());
    }
    whole
}

fn step_bound(definition: &Definition, step: &Step) -> Bound {
    let once = match step.work() {
        Work::Call(_) => call_bound(step.id(), step.retry(), step.timeouts()),
        Work::Wait(wait) => wait.timeout().map_or_else(
            || unbounded(step.id(), "waits for a signal without a timeout"),
            Bound::Within,
        ),
        Work::Sleep(Sleep::For(time)) => Bound::Within(*time),
        Work::Sleep(Sleep::Until(_)) => unbounded(step.id(), "sleeps until a computed time"),
        Work::Saga(_) => unbounded(step.id(), "takes as long as its child saga"),
        Work::Emit(_) | Work::Fail(_) => Bound::Within(Duration::ZERO),
    };
    // Nobody knows what the pivot did: it is asked for before anything else happens.
    let asked = match step.kind() {
        Kind::Pivot => query_bound(definition, step),
        Kind::Compensatable | Kind::Retriable => Duration::ZERO,
    };
    in_turns(step, after(once, Bound::Within(asked)))
}

/// Under `foreach`, so many items at a time, whether they are done or undone.
fn in_turns(step: &Step, once: Bound) -> Bound {
    let turns = step.foreach().map_or(1, |foreach| {
        foreach.max_items().div_ceil(foreach.max_parallel().max(1))
    });
    match once {
        Bound::Within(within) => Bound::Within(within.saturating_mul(turns)),
        unbounded @ Bound::Unbounded(_) => unbounded,
    }
}

/// Until it is known what the action did, or nobody is asked any more.
fn query_bound(definition: &Definition, step: &Step) -> Duration {
    if step.call().and_then(Call::query).is_none() {
        return Duration::ZERO;
    }
    let parks = definition.compensation().park_after;
    let retry = step.retry();
    let retry = RetryPolicy {
        max_attempts: match retry.max_attempts {
            0 => QUERY_ATTEMPTS_MAX,
            attempts => attempts.min(QUERY_ATTEMPTS_MAX),
        },
        ..retry.clone()
    };
    match call_bound(step.id(), &retry, step.timeouts()) {
        Bound::Within(within) => within.min(parks),
        Bound::Unbounded(_) => parks,
    }
}

fn call_bound(id: &str, retry: &RetryPolicy, timeouts: &Timeouts) -> Bound {
    let attempts = (retry.max_attempts > 0).then(|| {
        let waits = (1..retry.max_attempts)
            .scan(retry.initial_interval.as_secs_f64(), |interval, _| {
                let wait = interval.min(retry.max_interval.as_secs_f64());
                *interval = (*interval * retry.backoff).min(retry.max_interval.as_secs_f64());
                Some(wait * (1.0 + retry.jitter))
            })
            .sum::<f64>();
        let waits = Duration::try_from_secs_f64(waits).unwrap_or(Duration::MAX);
        waits.saturating_add(timeouts.attempt.saturating_mul(retry.max_attempts))
    });
    // No attempt begins later than that; the last one takes its time.
    let elapsed = retry
        .max_elapsed
        .map(|elapsed| elapsed.saturating_add(timeouts.attempt));
    match [attempts, elapsed, timeouts.total]
        .into_iter()
        .flatten()
        .min()
    {
        Some(within) => Bound::Within(within),
        None => unbounded(id, "retries without bound until it succeeds"),
    }
}

fn compensation_bound(definition: &Definition, step: &Step) -> Bound {
    match step.compensation() {
        Compensation::Call(call) => {
            // A late execution has one attempt's time to show itself.
            let settles = step.timeouts().attempt;
            let parks = definition.compensation().park_after;
            let within = call
                .timeouts()
                .total
                .map_or(parks, |total| total.min(parks));
            let asked = query_bound(definition, step);
            let whole = settles.saturating_add(asked).saturating_add(within);
            in_turns(step, Bound::Within(whole))
        }
        Compensation::Child => unbounded(step.id(), "takes as long as undoing its child saga"),
        Compensation::None { .. } | Compensation::NotApplicable => Bound::Within(Duration::ZERO),
    }
}

fn unbounded(id: &str, why: &str) -> Bound {
    Bound::Unbounded(vec![format!("step `{id}` {why}")])
}

/// The one after the other.
fn after(first: Bound, second: Bound) -> Bound {
    match (first, second) {
        (Bound::Within(first), Bound::Within(second)) => {
            Bound::Within(first.saturating_add(second))
        }
        (first, second) => joined(first, second),
    }
}

/// The shorter of two; one without a bound does not count.
fn earlier(one: Bound, other: Bound) -> Bound {
    match (one, other) {
        (Bound::Within(one), Bound::Within(other)) => Bound::Within(one.min(other)),
        (Bound::Within(within), Bound::Unbounded(_))
        | (Bound::Unbounded(_), Bound::Within(within)) => Bound::Within(within),
        (one, other) => joined(one, other),
    }
}

/// The longer of two.
fn later(one: Bound, other: Bound) -> Bound {
    match (one, other) {
        (Bound::Within(one), Bound::Within(other)) => Bound::Within(one.max(other)),
        (one, other) => joined(one, other),
    }
}

fn joined(one: Bound, other: Bound) -> Bound {
    let mut reasons = Vec::new();
    for bound in [one, other] {
        if let Bound::Unbounded(why) = bound {
            reasons.extend(why);
        }
    }
    reasons.sort();
    reasons.dedup();
    Bound::Unbounded(reasons)
}
