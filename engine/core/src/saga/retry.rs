//! When to try again. Jitter comes from a hash of the attempt's name, so it is the same on every machine and in every replay.

use std::time::Duration;

use amends_definitions::{RetryPolicy, Timeouts};

use crate::id::{Place, SagaId};
use crate::key::fraction;
use crate::outcome::OperationKind;
use crate::time::Time;

/// What is asked: may there be an attempt after this one, and when?
pub(crate) struct Question<'a> {
    pub saga: SagaId,
    pub place: Place,
    pub round: u32,
    pub operation: OperationKind,
    /// The attempt that just ended, from 1.
    pub attempt: u32,
    /// Attempts before it that do not count: those before an operator's retry.
    pub uncounted: u32,
    pub first_at: Time,
    pub now: Time,
    pub code: &'a str,
    pub retry_after: Option<Duration>,
    /// Of a compensation: no attempt begins later than this after the first.
    pub park_after: Option<Duration>,
}

impl Question<'_> {
    fn counted(&self) -> u32 {
        self.attempt.saturating_sub(self.uncounted)
    }
}

/// When the next attempt is due; none if the budget is spent.
pub(crate) fn next_due(
    question: &Question<'_>,
    policy: &RetryPolicy,
    timeouts: &Timeouts,
) -> Option<Time> {
    if policy.max_attempts != 0 && question.counted() >= policy.max_attempts {
        return None;
    }
    if policy
        .non_retryable
        .iter()
        .any(|code| code == question.code)
    {
        return None;
    }
    let wait = interval(question, policy).max(question.retry_after.unwrap_or(Duration::ZERO));
    let due = question.now + wait;
    let last = [policy.max_elapsed, timeouts.total, question.park_after]
        .into_iter()
        .flatten()
        .map(|bound| question.first_at + bound)
        .min();
    match last {
        // An attempt that begins when the time is over has none.
        Some(last) if due >= last => None,
        Some(_) | None => Some(due),
    }
}

/// `initial * backoff^(n-1)`, at most `max`, spread by the jitter.
fn interval(question: &Question<'_>, policy: &RetryPolicy) -> Duration {
    let exponent = i32::try_from(question.counted().saturating_sub(1)).unwrap_or(i32::MAX);
    let max = policy.max_interval.as_secs_f64();
    let grown = (policy.initial_interval.as_secs_f64() * policy.backoff.powi(exponent)).min(max);
    let mut name = Vec::with_capacity(32);
    name.extend_from_slice(question.saga.as_uuid().as_bytes());
    name.extend_from_slice(&question.place.step.0.to_le_bytes());
    name.push(match question.operation {
        OperationKind::Forward => 0,
        OperationKind::Compensate => 1,
        OperationKind::Query => 2,
    });
    name.extend_from_slice(&question.attempt.to_le_bytes());
    if (question.place.item, question.round) != (0, 0) {
        name.extend_from_slice(&question.place.item.to_le_bytes());
        name.extend_from_slice(&question.round.to_le_bytes());
    }
    let spread = 1.0 + policy.jitter * (2.0 * fraction(&name) - 1.0);
    Duration::try_from_secs_f64(grown * spread).unwrap_or(policy.max_interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_definitions::StepIndex;

    use crate::id::ShardId;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            initial_interval: Duration::from_secs(1),
            backoff: 2.0,
            max_interval: Duration::from_secs(10),
            jitter: 0.0,
            max_attempts: 0,
            max_elapsed: None,
            non_retryable: vec!["NEVER".into()],
        }
    }

    fn timeouts() -> Timeouts {
        Timeouts {
            attempt: Duration::from_secs(30),
            total: None,
            schedule: None,
            heartbeat: None,
        }
    }

    fn question(attempt: u32) -> Question<'static> {
        Question {
            saga: SagaId::new(Time::EPOCH, ShardId(0), 1),
            place: Place::from(StepIndex(0)),
            round: 0,
            operation: OperationKind::Forward,
            attempt,
            uncounted: 0,
            first_at: Time::EPOCH,
            now: Time::EPOCH,
            code: "X",
            retry_after: None,
            park_after: None,
        }
    }

    fn seconds(due: Option<Time>) -> Option<u64> {
        due.map(|due| due.since(Time::EPOCH).as_secs())
    }

    #[test]
    fn intervals_double_up_to_the_maximum() {
        let waits: Vec<_> = (1..=6)
            .map(|n| seconds(next_due(&question(n), &policy(), &timeouts())))
            .collect();
        assert_eq!(
            waits,
            [Some(1), Some(2), Some(4), Some(8), Some(10), Some(10)]
        );
    }

    #[test]
    fn a_huge_attempt_number_does_not_overflow() {
        assert_eq!(
            seconds(next_due(&question(u32::MAX), &policy(), &timeouts())),
            Some(10)
        );
    }

    #[test]
    fn the_budget_counts_the_first_attempt() {
        let policy = RetryPolicy {
            max_attempts: 3,
            ..policy()
        };
        assert!(next_due(&question(2), &policy, &timeouts()).is_some());
        assert!(next_due(&question(3), &policy, &timeouts()).is_none());
    }

    #[test]
    fn a_participant_can_ask_for_a_later_time_and_not_for_an_earlier_one() {
        let later = Question {
            retry_after: Some(Duration::from_secs(60)),
            ..question(1)
        };
        assert_eq!(seconds(next_due(&later, &policy(), &timeouts())), Some(60));
        let earlier = Question {
            retry_after: Some(Duration::ZERO),
            ..question(1)
        };
        assert_eq!(seconds(next_due(&earlier, &policy(), &timeouts())), Some(1));
    }

    #[test]
    fn a_total_bounds_the_last_attempt() {
        let bounded = Timeouts {
            total: Some(Duration::from_secs(3)),
            ..timeouts()
        };
        assert!(next_due(&question(2), &policy(), &bounded).is_some());
        assert!(next_due(&question(3), &policy(), &bounded).is_none());
        let exact = Timeouts {
            total: Some(Duration::from_secs(2)),
            ..timeouts()
        };
        assert!(
            next_due(&question(2), &policy(), &exact).is_none(),
            "an attempt without time is none"
        );
    }

    #[test]
    fn a_code_can_forbid_another_attempt() {
        assert!(
            next_due(
                &Question {
                    code: "NEVER",
                    ..question(1)
                },
                &policy(),
                &timeouts()
            )
            .is_none()
        );
    }

    #[test]
    fn jitter_stays_within_its_fraction() {
        let policy = RetryPolicy {
            jitter: 0.2,
            ..policy()
        };
        for random in 0..500 {
            let question = Question {
                saga: SagaId::new(Time::EPOCH, ShardId(0), random),
                ..question(1)
            };
            let due = next_due(&question, &policy, &timeouts())
                .expect("no bound")
                .as_micros();
            assert!((800_000..=1_200_000).contains(&due), "{due}");
        }
    }
}
