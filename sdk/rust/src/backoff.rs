//! How long to wait before trying again: it doubles up to a bound, with full jitter, so that many who lost the same
//! server do not come back together.

use std::time::Duration;

/// The pauses between attempts.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, last: Duration) -> Self {
        Self {
            first,
            last,
            next: first.min(last),
        }
    }

    /// Begins again with the shortest.
    pub(crate) fn reset(&mut self) {
        self.next = self.first.min(self.last);
    }

    /// The next pause: anything up to twice the last bound.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = self.next;
        self.next = bound.saturating_mul(2).min(self.last);
        bound.mul_f64(random_fraction())
    }
}

/// In `[0, 1)`, from the same source as random ids.
fn random_fraction() -> f64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    // The lowest 16 bits of the higher half hold the UUID's version.
    let bits = u32::try_from(high >> 32).unwrap_or(0);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_under_a_bound_that_doubles_and_begin_again() {
        let (first, last) = (Duration::from_millis(50), Duration::from_millis(300));
        let mut backoff = Backoff::new(first, last);
        for bound_ms in [50, 100, 200, 300, 300] {
            assert_eq!(backoff.next, Duration::from_millis(bound_ms));
            assert!(backoff.next() < Duration::from_millis(bound_ms));
        }
        backoff.reset();
        assert!(backoff.next() < first);
    }
}
