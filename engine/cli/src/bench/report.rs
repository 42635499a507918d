//! What a measurement came to: rate and percentiles. Deliberately not here: measuring.

use std::time::Duration;

use serde::Serialize;

use crate::output::View;
use crate::output::grid::pairs;

/// What a measurement came to.
#[derive(Debug, Serialize)]
pub struct BenchView {
    what: &'static str,
    store: String,
    in_flight: u32,
    sagas: u64,
    errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_error: Option<String>,
    elapsed_seconds: f64,
    sagas_per_second: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// What was measured, before it is summed up.
#[derive(Debug, Default)]
pub struct Measured {
    /// How long each finished saga took, from the request to its end.
    pub latencies: Vec<Duration>,
    /// How many failed.
    pub errors: u64,
    /// What the first of them said.
    pub first_error: Option<String>,
    /// From the first start to the last end.
    pub elapsed: Duration,
}

impl BenchView {
    /// Sums up.
    #[must_use]
    pub fn new(what: &'static str, store: String, in_flight: u32, mut measured: Measured) -> Self {
        measured.latencies.sort_unstable();
        let sagas = measured.latencies.len() as u64;
        let elapsed_seconds = measured.elapsed.as_secs_f64();
        let at =
            |percent| rounded(percentile(&measured.latencies, percent).as_secs_f64() * 1_000.0);
        Self {
            what,
            store,
            in_flight,
            sagas,
            errors: measured.errors,
            elapsed_seconds: rounded(elapsed_seconds),
            sagas_per_second: rounded(rate(sagas, elapsed_seconds)),
            p50_ms: at(50),
            p90_ms: at(90),
            p99_ms: at(99),
            max_ms: at(100),
            first_error: measured.first_error,
        }
    }

    /// Something went wrong, or nothing was done.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.errors > 0 || self.sagas == 0
    }
}

impl View for BenchView {
    fn table(&self) -> String {
        let millis = |value: f64| format!("{value:.2} ms");
        let mut rows = vec![
            ("measured", self.what.to_owned()),
            ("store", self.store.clone()),
            ("in flight", self.in_flight.to_string()),
            (
                "sagas",
                format!("{} in {:.2} s", self.sagas, self.elapsed_seconds),
            ),
            ("sagas/s", format!("{:.0}", self.sagas_per_second)),
            ("p50", millis(self.p50_ms)),
            ("p90", millis(self.p90_ms)),
            ("p99", millis(self.p99_ms)),
            ("max", millis(self.max_ms)),
            ("errors", self.errors.to_string()),
        ];
        rows.extend(self.first_error.clone().map(|error| ("first error", error)));
        pairs(rows)
    }
}

/// So many in a second.
#[expect(
    clippy::cast_precision_loss,
    reason = "a count of sagas is far below 2^53"
)]
pub(super) fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

/// To three digits: more is noise.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// The smallest value that this share of the sorted values does not exceed (nearest rank).
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let values: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let at = |percent| percentile(&values, percent).as_millis();
        assert_eq!([at(50), at(90), at(99), at(100)], [100, 180, 198, 200]);
        assert_eq!(percentile(&[], 99), Duration::ZERO);
        assert_eq!(percentile(&values[..1], 1), Duration::from_millis(1));
    }

    #[test]
    fn a_measurement_reads_as_lines() {
        let measured = Measured {
            latencies: vec![Duration::from_millis(2), Duration::from_millis(1)],
            errors: 1,
            first_error: Some("away".to_owned()),
            elapsed: Duration::from_secs(1),
        };
        let view = BenchView::new("sagas", "sqlite".to_owned(), 64, measured);
        assert!(view.failed());
        assert_eq!(
            view.table(),
            "measured     sagas\nstore        sqlite\nin flight    64\nsagas        2 in 1.00 s\nsagas/s      2\np50          1.00 ms\n\
             p90          2.00 ms\np99          2.00 ms\nmax          2.00 ms\nerrors       1\nfirst error  away\n"
        );
    }
}
