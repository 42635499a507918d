//! Figures: each with a name for programs, a heading for people, and the spread of its values over several legs.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::rounded;

/// A kind of figure.
#[derive(Debug, PartialEq)]
pub struct Figure {
    /// Its name for programs, the unit last.
    pub key: &'static str,
    /// Its heading for people.
    pub heading: &'static str,
    /// Digits behind the point for people.
    digits: usize,
    /// Whether people are told the least and the most beside the median.
    spread: bool,
}

const fn figure(key: &'static str, heading: &'static str, digits: usize, spread: bool) -> Figure {
    Figure {
        key,
        heading,
        digits,
        spread,
    }
}

/// Sagas that ended in a second.
pub const SAGAS_PER_SECOND: &Figure = &figure("sagas_per_second", "sagas/s", 0, true);
/// Attempts that ended in a second.
pub const ATTEMPTS_PER_SECOND: &Figure = &figure("attempts_per_second", "attempts/s", 0, true);
/// Journal rows in a second.
pub const TRANSITIONS_PER_SECOND: &Figure =
    &figure("transitions_per_second", "transitions/s", 0, false);
/// Of the latencies.
pub const P50_MS: &Figure = &figure("p50_ms", "p50 ms", 2, false);
/// Of the latencies.
pub const P90_MS: &Figure = &figure("p90_ms", "p90 ms", 2, false);
/// Of the latencies.
pub const P99_MS: &Figure = &figure("p99_ms", "p99 ms", 2, false);
/// Of the latencies.
pub const MAX_MS: &Figure = &figure("max_ms", "max ms", 1, false);
/// CPU time for each saga.
pub const SERVER_CPU_US: &Figure = &figure("server_cpu_us_per_saga", "server µs", 1, false);
/// CPU time for each saga.
pub const POSTGRES_CPU_US: &Figure = &figure("postgres_cpu_us_per_saga", "postgres µs", 1, false);
/// CPU time for each saga.
pub const PARTICIPANT_CPU_US: &Figure =
    &figure("participant_cpu_us_per_saga", "participant µs", 1, false);
/// CPU time for each saga.
pub const CLIENT_CPU_US: &Figure = &figure("client_cpu_us_per_saga", "client µs", 1, false);
/// CPU time for each attempt.
pub const SERVER_CPU_US_PER_ATTEMPT: &Figure =
    &figure("server_cpu_us_per_attempt", "server µs/attempt", 1, true);
/// CPU time for each attempt.
pub const POSTGRES_CPU_US_PER_ATTEMPT: &Figure = &figure(
    "postgres_cpu_us_per_attempt",
    "postgres µs/attempt",
    1,
    true,
);
/// CPU time for each saga, of the process that writes the floor.
pub const WRITER_CPU_US: &Figure = &figure("writer_cpu_us_per_saga", "writer µs", 1, false);
/// WAL for each saga.
pub const WAL_BYTES: &Figure = &figure("wal_bytes_per_saga", "WAL B/saga", 0, false);
/// From the restart until the server answers.
pub const READY_SECONDS: &Figure = &figure("ready_seconds", "ready s", 2, true);
/// From the restart until every saga was driven again.
pub const DRIVEN_SECONDS: &Figure = &figure("driven_seconds", "all driven s", 2, true);
/// From the restart until every saga has ended.
pub const ENDED_SECONDS: &Figure = &figure("ended_seconds", "all ended s", 2, true);
/// Commands that a participant had in hand at once.
pub const MOST_IN_HAND: &Figure = &figure("most_in_hand", "most in hand", 0, false);
/// Commands that came without credit for them.
pub const BEYOND_CREDIT: &Figure = &figure("commands_beyond_credit", "beyond credit", 0, false);
/// New sagas while the server recovered.
pub const PROBES: &Figure = &figure("new_sagas", "new sagas", 0, false);
/// Those that were not accepted.
pub const PROBES_REFUSED: &Figure = &figure("new_sagas_refused", "refused", 0, false);
/// The slowest acceptance.
pub const PROBE_MAX_MS: &Figure = &figure("new_saga_max_ms", "slowest ms", 1, false);
/// CPU time of an idle server.
pub const CPU_PERCENT: &Figure = &figure("cpu_percent_of_a_core", "% of a core", 2, true);
/// Statements of an idle server.
pub const STATEMENTS_PER_SECOND: &Figure =
    &figure("statements_per_second", "statements/s", 2, true);
/// Resident memory.
pub const RESIDENT_MIB: &Figure = &figure("resident_mib", "resident MiB", 1, true);
/// Resident memory for each saga in flight.
pub const RESIDENT_BYTES_PER_SAGA: &Figure =
    &figure("resident_bytes_per_saga", "resident B/saga", 0, true);
/// The database's size.
pub const DATABASE_MIB: &Figure = &figure("database_mib", "database MiB", 1, false);
/// Rows that nobody sees and nothing has cleared away yet.
pub const DEAD_TUPLES: &Figure = &figure("dead_tuples", "dead tuples", 0, false);
/// Rows that there are.
pub const LIVE_TUPLES: &Figure = &figure("live_tuples", "live tuples", 0, false);
/// The newest 50, of the state for which it takes longest.
pub const LIST_MS: &Figure = &figure("list_newest_50_ms", "newest 50 ms", 2, true);
/// What it reaches of an empty database.
pub const OF_EMPTY: &Figure = &figure("share_of_empty", "of empty", 2, true);
/// What the engine reaches of it.
pub const ENGINE_SHARE: &Figure = &figure("engine_share", "engine/floor", 2, true);
/// What everything else on the machine kept busy.
pub const OTHER_CORES: &Figure = &figure("other_cores", "other cores", 2, false);

/// The values of one figure over several legs.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spread {
    /// As many are above as below.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// How many.
    pub legs: usize,
}

impl Spread {
    /// Of these; none of none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = *values.get(values.len().saturating_sub(1) / 2)?;
        Some(Self {
            median: rounded(f64::midpoint(lower, upper)),
            least: rounded(*values.first()?),
            most: rounded(*values.last()?),
            legs: values.len(),
        })
    }
}

/// One way of measuring, with its figures.
#[derive(Debug)]
pub struct Line {
    /// What was measured; lines of the same stand in one table.
    pub what: String,
    /// How.
    pub variant: String,
    /// Where it stands on a curve.
    pub x: Option<f64>,
    /// Which curve.
    pub series: String,
    /// Legs during which the machine was busy with something else.
    pub noisy_legs: usize,
    values: Vec<(&'static Figure, Vec<f64>)>,
}

impl Line {
    /// Without figures yet.
    #[must_use]
    pub fn new(what: impl Into<String>, variant: impl Into<String>, x: Option<f64>) -> Self {
        let variant = variant.into();
        Self {
            what: what.into(),
            series: variant.clone(),
            variant,
            x,
            noisy_legs: 0,
            values: Vec::new(),
        }
    }

    /// On the curve with this name.
    #[must_use]
    pub fn in_series(mut self, series: impl Into<String>) -> Self {
        self.series = series.into();
        self
    }

    /// Adds a leg's value.
    pub fn add(&mut self, figure: &'static Figure, value: f64) {
        match self.values.iter_mut().find(|(each, _)| *each == figure) {
            Some((_, values)) => values.push(value),
            None => self.values.push((figure, vec![value])),
        }
    }

    /// Every leg's value.
    #[must_use]
    pub fn values(&self, figure: &Figure) -> &[f64] {
        let found = self.values.iter().find(|(each, _)| *each == figure);
        found.map_or(&[], |(_, values)| values)
    }

    /// The spread of a figure, if it was measured.
    #[must_use]
    pub fn spread(&self, figure: &Figure) -> Option<Spread> {
        Spread::of(self.values(figure).to_vec())
    }

    fn cell(&self, figure: &Figure) -> String {
        let Some(spread) = self.spread(figure) else {
            return "-".to_owned();
        };
        let number = |value| number(value, figure.digits);
        let median = number(spread.median);
        if figure.spread && spread.legs > 1 {
            format!(
                "{median} ({}–{})",
                number(spread.least),
                number(spread.most)
            )
        } else {
            median
        }
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Figures<'a>(&'a Line);
        impl Serialize for Figures<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let figures = self.0.values.iter();
                serializer.collect_map(
                    figures.map(|(figure, values)| (figure.key, Spread::of(values.clone()))),
                )
            }
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("what", &self.what)?;
        map.serialize_entry("variant", &self.variant)?;
        map.serialize_entry("series", &self.series)?;
        if let Some(x) = self.x {
            map.serialize_entry("x", &x)?;
        }
        map.serialize_entry("noisy_legs", &self.noisy_legs)?;
        map.serialize_entry("figures", &Figures(self))?;
        map.end()
    }
}

/// Lines as a table: a heading for each figure that one of them has.
pub(super) fn columns<'a>(lines: &[&'a Line]) -> (Vec<&'a str>, Vec<Vec<String>>) {
    let mut figures: Vec<&'static Figure> = Vec::new();
    for (figure, _) in lines.iter().flat_map(|line| &line.values) {
        if !figures.contains(figure) {
            figures.push(*figure);
        }
    }
    let header = std::iter::once("").chain(figures.iter().map(|figure| figure.heading));
    let row = |line: &&Line| {
        let noisy = if line.noisy_legs > 0 {
            format!("{} [{} noisy]", line.variant, line.noisy_legs)
        } else {
            line.variant.clone()
        };
        std::iter::once(noisy)
            .chain(figures.iter().map(|figure| line.cell(figure)))
            .collect()
    };
    (header.collect(), lines.iter().map(row).collect())
}

/// A number with so many digits behind the point, and commas between thousands.
pub(super) fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, behind) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, whole) = whole
        .strip_prefix('-')
        .map_or(("", whole), |rest| ("-", rest));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if behind.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{behind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_median_in_the_middle() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).expect("three values");
        assert_eq!((spread.median, spread.least, spread.most), (2.0, 1.0, 3.0));
        let even = Spread::of(vec![4.0, 1.0, 2.0, 3.0]).expect("four values");
        assert_eq!((even.median, even.legs), (2.5, 4));
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn numbers_have_commas_between_thousands() {
        assert_eq!(number(1_234_567.0, 0), "1,234,567");
        assert_eq!(number(-999.456, 2), "-999.46");
        assert_eq!(number(0.0, 1), "0.0");
    }
}
