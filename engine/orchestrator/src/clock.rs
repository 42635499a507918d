//! The node's idea of the database's time: a sample at each renewal of the lease, plus monotonic time since.
//!
//! The design asks for `CLOCK_BOOTTIME`. The standard library offers `CLOCK_MONOTONIC` alone, which stands still while a
//! machine is suspended, and unsafe code is forbidden: after a suspend this clock is behind until the next renewal. That
//! costs punctuality and no safety: ownership is decided by the journal's fence, never by this clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amends_core::Time;
use tokio::time::Instant;

use crate::limits::CLOCK_JUMP_LOGGED;
use crate::telemetry;

/// Tells the database's time; never goes back.
#[derive(Debug)]
pub(crate) struct Clock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The database's time at `sampled_at`.
    sample: Time,
    sampled_at: Instant,
    /// What was told last, and when.
    told: Time,
    told_at: Instant,
}

impl Clock {
    pub(crate) fn new(sample: Time) -> Self {
        let now = Instant::now();
        Self {
            state: Mutex::new(State {
                sample,
                sampled_at: now,
                told: sample,
                told_at: now,
            }),
        }
    }

    /// Now. When the database's clock went back, time goes on at half its pace until the database has caught up: to stand
    /// still would hold up every timer for as long as the jump.
    pub(crate) fn now(&self) -> Time {
        let mut state = self.lock();
        let instant = Instant::now();
        let wanted = state.sample + instant.duration_since(state.sampled_at);
        let slowest = state.told + instant.duration_since(state.told_at) / 2;
        let now = wanted.max(slowest);
        // A step too small for half a microsecond must not be lost for ever, so `told_at` moves with `told` alone.
        if now > state.told {
            state.told = now;
            state.told_at = instant;
        }
        now
    }

    /// The database has just told its time.
    pub(crate) fn sample(&self, sample: Time) {
        let before = self.now();
        let mut state = self.lock();
        state.sample = sample;
        state.sampled_at = Instant::now();
        drop(state);
        let jump = sample.since(before).max(before.since(sample));
        if jump > CLOCK_JUMP_LOGGED {
            telemetry::clock_jumped(before, sample);
        }
    }

    /// When it will be `time`, about; a day from now at most.
    pub(crate) fn instant_at(&self, time: Time) -> Instant {
        const DAY: Duration = Duration::from_secs(86_400);
        // Timers of the runtime have a granularity of a millisecond; a shorter sleep would only spin.
        let wait = time
            .since(self.now())
            .clamp(Duration::from_micros(500), DAY);
        Instant::now() + wait
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn time_passes_between_samples() {
        let clock = Clock::new(Time::from_micros(1_000_000));
        tokio::time::advance(SECOND).await;
        assert_eq!(clock.now(), Time::from_micros(2_000_000));
        clock.sample(Time::from_micros(10_000_000));
        assert_eq!(clock.now(), Time::from_micros(10_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_goes_back_and_never_stands_still() {
        let clock = Clock::new(Time::from_micros(100_000_000));
        tokio::time::advance(SECOND).await;
        let before = clock.now();
        clock.sample(Time::from_micros(50_000_000));
        assert_eq!(clock.now(), before);
        tokio::time::advance(SECOND * 10).await;
        assert_eq!(clock.now(), before + SECOND * 5);
        tokio::time::advance(SECOND * 1_000).await;
        assert_eq!(clock.now(), Time::from_micros(50_000_000) + SECOND * 1_010);
    }

    #[tokio::test(start_paused = true)]
    async fn infinity_is_a_day_away() {
        let clock = Clock::new(Time::from_micros(0));
        assert_eq!(
            clock.instant_at(Time::INFINITY),
            Instant::now() + SECOND * 86_400
        );
    }
}
