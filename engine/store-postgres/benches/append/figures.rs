//! What was measured of a run, and how it is printed. Deliberately not here: how it is measured of a database.

use std::fs;
use std::time::Duration;

use crate::Failure;

/// One run.
pub(crate) struct Figures {
    pub(crate) sagas: u64,
    pub(crate) elapsed: Duration,
    /// CPU of the server's processes.
    pub(crate) server: Duration,
    /// CPU of this process.
    pub(crate) own: Duration,
    pub(crate) log_bytes: u64,
}

pub(crate) fn print_header() {
    println!(
        "{:<16} {:>9} {:>10} {:>14} {:>12} {:>12}",
        "way", "in flight", "sagas/s", "server us/saga", "own us/saga", "WAL B/saga"
    );
}

pub(crate) fn print_median(name: &str, in_flight: usize, runs: Vec<Figures>) {
    let median = |value: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    println!(
        "{name:<16} {in_flight:>9} {:>10.0} {:>14.1} {:>12.1} {:>12.0}",
        median(|run| run.sagas as f64 / run.elapsed.as_secs_f64()),
        median(|run| run.server.as_secs_f64() * 1e6 / run.sagas as f64),
        median(|run| run.own.as_secs_f64() * 1e6 / run.sagas as f64),
        median(|run| run.log_bytes as f64 / run.sagas as f64),
    );
}

/// CPU that this process has used.
pub(crate) fn own_cpu() -> Result<Duration, Failure> {
    cpu_of("self")
}

/// CPU that a process has used, in user and in kernel mode. Linux counts in hundredths of a second.
pub(crate) fn cpu_of(process: &str) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may have blanks in it.
    let (_, behind) = stat.rsplit_once(')').ok_or("no process")?;
    let ticks: u64 = (behind.split_whitespace().skip(11).take(2))
        .map(str::parse::<u64>)
        .sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}
