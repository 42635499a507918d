//! What the processes of a measurement tell each other: a plan on the command line, then lines of JSON. Deliberately not
//! here: the processes.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::workload::Workload;
use crate::arguments::bench::Starts;

/// Three digits of a latency are told.
const DIGITS: u8 = 3;

/// What a client does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientPlan {
    /// What each saga does.
    pub workload: Workload,
    /// When the next one is started.
    pub pace: Pace,
    /// How.
    pub starts: Starts,
    /// No more than so many.
    pub sagas: Option<u64>,
    /// For how long.
    pub length: Duration,
    /// Before what counts, for so long the same.
    pub warm_up: Duration,
}

/// When the next saga is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// When one of so many ends.
    InFlight(u32),
    /// So many a second, whatever becomes of them.
    PerSecond(u32),
}

impl Pace {
    /// How many it is about.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::InFlight(number) | Self::PerSecond(number) => number,
        }
    }
}

/// What a participant does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ParticipantPlan {
    /// Attempts that run at once.
    pub concurrency: u32,
}

/// What a client or a participant says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It is warm, and waits for a line.
    Ready,
    /// The echo listens at this address.
    Listening(String),
    /// The client is done.
    Measured(Measured),
    /// It cannot go on, for this reason.
    Failed(String),
}

/// What a load came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Sagas that ended as they had to.
    pub sagas: u64,
    /// How many did not.
    pub errors: u64,
    /// What the first of them said.
    pub first_error: Option<String>,
    /// From the first start to the last end.
    pub elapsed: Duration,
    /// How long each saga took, from when it was to start to its end.
    pub latency: Percentiles,
}

/// Of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half took no longer.
    pub p50: Duration,
    /// Of ten, nine.
    pub p90: Duration,
    /// Of a hundred, ninety-nine.
    pub p99: Duration,
    /// All.
    pub max: Duration,
}

/// Collects what a load comes to.
#[derive(Debug)]
pub struct Recorder {
    latencies: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
}

impl Recorder {
    /// With nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            latencies: Histogram::new(DIGITS).expect("three digits are between 0 and 5"),
            errors: 0,
            first_error: None,
        }
    }

    /// One that ended as it had to.
    pub fn took(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        // It grows with what is recorded.
        let _ = self.latencies.record(micros.max(1));
    }

    /// One that did not.
    pub fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    /// Adds what another collected.
    pub fn add(&mut self, other: Self) {
        let _ = self.latencies.add(&other.latencies);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    /// Sums up.
    #[must_use]
    pub fn finish(self, elapsed: Duration) -> Measured {
        Measured {
            sagas: self.latencies.len(),
            errors: self.errors,
            latency: percentiles(&self.latencies),
            first_error: self.first_error,
            elapsed,
        }
    }
}

impl Percentiles {
    /// Of these.
    #[must_use]
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut recorder = Recorder::new();
        for duration in durations {
            recorder.took(duration);
        }
        percentiles(&recorder.latencies)
    }
}

fn percentiles(latencies: &Histogram<u64>) -> Percentiles {
    let at = |quantile| Duration::from_micros(latencies.value_at_quantile(quantile));
    if latencies.is_empty() {
        return Percentiles::default();
    }
    Percentiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        max: at(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let of = Percentiles::of((1..=200).map(Duration::from_millis));
        let millis = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        for (value, expected) in [
            (of.p50, 100.0),
            (of.p90, 180.0),
            (of.p99, 198.0),
            (of.max, 200.0),
        ] {
            assert!((millis(value) / expected - 1.0).abs() < 0.001, "{value:?}");
        }
        assert_eq!(Percentiles::of([]), Percentiles::default());
    }

    #[test]
    fn what_two_collected_adds_up() {
        let mut one = Recorder::new();
        one.took(Duration::from_millis(2));
        let mut other = Recorder::new();
        other.failed("away".to_owned());
        other.failed("late".to_owned());
        one.add(other);
        let measured = one.finish(Duration::from_secs(1));
        assert_eq!((measured.sagas, measured.errors), (1, 2));
        assert_eq!(measured.first_error.as_deref(), Some("away"));
    }
}
