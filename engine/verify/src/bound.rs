//! How long a saga takes at worst, from its timeouts and retries: along the longest way through the graph. Participants are
//! assumed to be attached and the server to run; where nothing bounds a step, it is said which and why.

use std::time::Duration;

use amends_definitions::{
    Compensation, CompensationOrder, Definition, RetryPolicy, Sleep, Step, StepIndex, Timeouts,
    Work,
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
    /// From the start until the saga can only go forward; an abort comes before that.
    pub until_decided: Bound,
    /// From the start to its completion.
    pub forward: Bound,
    /// From an abort until everything is undone, or parked.
    pub backward: Bound,
}

/// Computes the worst cases of a definition.
#[must_use]
pub fn worst_case(definition: &Definition) -> WorstCase {
    let steps: Vec<Bound> = definition.steps().iter().map(step_bound).collect();
    let forward = longest(definition, &steps, |_| true, Direction::Forward);
    let decided =
        |step: StepIndex| definition.step(step).kind() != amends_definitions::Kind::Retriable;
    let until_decided = longest(definition, &steps, decided, Direction::Forward);
    let until_decided = match definition.deadline() {
        Some(deadline) => Bound::Within(match until_decided {
            Bound::Within(within) => within.min(deadline.after),
            Bound::Unbounded(_) => deadline.after,
        }),
        None => until_decided,
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

fn step_bound(step: &Step) -> Bound {
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
    let turns = step.foreach().map_or(1, |foreach| {
        foreach.max_items().div_ceil(foreach.max_parallel().max(1))
    });
    match once {
        Bound::Within(within) => Bound::Within(within.saturating_mul(turns)),
        unbounded @ Bound::Unbounded(_) => unbounded,
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
            Bound::Within(settles.saturating_add(within))
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
