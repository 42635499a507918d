//! Rounds of legs, interleaved, and what is told of them. Deliberately not here: how a leg is run (`bed`).

use std::time::Duration;

use super::anchors;
use super::bed::{Bed, Leg, Sample};
use super::floor;
use super::meter::Group;
use super::plan::{Measured, Pace};
use super::report::{Line, Report, figure, rate};
use super::workload::Workload;
use crate::arguments::Global;
use crate::arguments::bench::LoadArguments;
use crate::failure::Failure;
use crate::output::say;

/// A leg during which something else kept more of a core busy is flagged.
const OTHER_CORES_MAX: f64 = 0.3;

/// What is measured in each round.
#[derive(Clone, Debug)]
pub enum Part {
    /// A load on a server.
    Engine(Leg),
    /// The rows alone.
    Floor(floor::Plan),
    /// A row of 200 bytes a transaction, so many clients for so long.
    Rows(u32, Duration),
    /// Messages over a stream, there and back.
    Echoes,
}

impl Part {
    async fn measure(&self, bed: &mut Bed) -> Result<Sample, Failure> {
        bed.settle().await?;
        match self {
            Self::Engine(leg) => {
                say(format!("{}: {}", leg.workload.name(), variant(bed, leg)));
                bed.run(leg).await
            }
            Self::Floor(plan) => {
                say(format!("the floor, {} in flight", plan.in_flight));
                bed.floor(*plan).await
            }
            Self::Rows(clients, length) => {
                say(format!("pgbench, {clients} clients"));
                let measured = anchors::rows(bed, *clients, *length).await?;
                Ok(Sample::of(measured))
            }
            Self::Echoes => Ok(Sample::of(anchors::echoes(bed).await?)),
        }
    }
}

/// Measures each part so many times, in turns: there, and back again, so that none always comes first. The samples of
/// each part.
///
/// # Errors
/// If one cannot be measured.
pub async fn rounds(
    bed: &mut Bed,
    parts: &[Part],
    count: u32,
) -> Result<Vec<Vec<Sample>>, Failure> {
    let mut samples = vec![Vec::new(); parts.len()];
    for round in 0..count {
        say(format!("round {} of {count}", round + 1));
        let mut order: Vec<_> = parts.iter().zip(&mut samples).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (part, samples) in order {
            samples.push(part.measure(bed).await?);
        }
    }
    Ok(samples)
}

/// The floor of a leg: as many sagas in flight, over as many lanes.
#[must_use]
pub fn floor_of(bed: &Bed, leg: &Leg) -> floor::Plan {
    floor::Plan {
        in_flight: leg.pace.number(),
        lanes: bed.lanes(),
        alone: false,
        sagas: leg.sagas,
        length: leg.length,
    }
}

/// Measures a workload under a load.
///
/// # Errors
/// If nothing can be measured.
pub async fn run(
    global: &Global,
    workload: &Workload,
    arguments: &LoadArguments,
) -> Result<Report, Failure> {
    let mut bed = Bed::open(global, &arguments.target).await?;
    let mut report = Report::new();
    describe(&mut bed, &mut report).await?;
    let paces: Vec<Pace> = match arguments.rate {
        Some(rate) => vec![Pace::PerSecond(rate)],
        None => arguments
            .in_flight
            .iter()
            .copied()
            .map(Pace::InFlight)
            .collect(),
    };
    for pace in paces {
        let leg = Leg {
            workload: workload.clone(),
            pace,
            starts: arguments.starts,
            sagas: arguments.sagas,
            length: Duration::from_secs(arguments.seconds),
        };
        let mut parts = vec![Part::Engine(leg.clone())];
        if arguments.floor {
            parts.push(Part::Floor(floor_of(&bed, &leg)));
        }
        let rounds = rounds(&mut bed, &parts, arguments.pairs).await?;
        for (part, samples) in parts.iter().zip(&rounds) {
            told(&bed, part, samples, workload.name(), &mut report);
        }
        if let ([engine, floor], Some(line)) = (rounds.as_slice(), report.lines.last_mut()) {
            for share in shares(engine, floor) {
                line.add(figure::ENGINE_SHARE, share);
            }
        }
    }
    Ok(report)
}

/// Says where a report was measured.
///
/// # Errors
/// If the database does not answer.
pub async fn describe(bed: &mut Bed, report: &mut Report) -> Result<(), Failure> {
    if let Some(mut counters) = bed.counters().await? {
        report.database.extend(counters.settings().await?);
        if counters.processes().is_none() {
            let note = "The database runs on another machine: its CPU time is not told.";
            report.notes.push(note.to_owned());
        }
    } else if let Ok(database) = bed.database() {
        let settings = ("SQLite".to_owned(), "WAL, synchronous=FULL".to_owned());
        say(format!("measuring on {}", database.store().name()));
        report.database.push(settings);
    }
    report
        .database
        .push(("lanes".to_owned(), bed.lanes().to_string()));
    Ok(())
}

/// How a leg is run, in words.
#[must_use]
pub fn variant(bed: &Bed, leg: &Leg) -> String {
    let pace = match leg.pace {
        Pace::InFlight(count) => format!("{count} in flight"),
        Pace::PerSecond(rate) => format!("{rate} starts/s"),
    };
    format!("{}, {pace}, {}", bed.place(), leg.starts.name())
}

/// Adds the samples of a part to a report, and what went wrong in them.
pub fn told(bed: &Bed, part: &Part, samples: &[Sample], what: &str, report: &mut Report) {
    let place = bed.place();
    let (variant, x, series) = match part {
        Part::Engine(leg) => (
            variant(bed, leg),
            leg.pace.number(),
            format!("{place}, {}", leg.starts.name()),
        ),
        Part::Floor(plan) => (
            format!("{place}, {} in flight, {}", plan.in_flight, plan.name()),
            plan.in_flight,
            format!("{place}, {}", plan.name()),
        ),
        Part::Rows(clients, _) => (
            format!("pgbench, {clients} clients, a row each"),
            *clients,
            "pgbench".to_owned(),
        ),
        Part::Echoes => ("a stream's round trip".to_owned(), 1, "stream".to_owned()),
    };
    let errors = samples.iter().filter_map(|sample| sample.error(&variant));
    report.errors.extend(errors);
    let line = line(what, &variant, f64::from(x), samples).in_series(series);
    report.lines.push(line);
}

/// The engine's share of the floor's sagas per second, round by round.
#[must_use]
pub fn shares(engine: &[Sample], floor: &[Sample]) -> Vec<f64> {
    let pairs = engine.iter().zip(floor);
    pairs
        .map(|(engine, floor)| engine.sagas_per_second() / floor.sagas_per_second())
        .collect()
}

/// The figures of some legs.
#[must_use]
pub fn line(what: &str, variant: &str, x: f64, samples: &[Sample]) -> Line {
    let mut line = Line::new(what, variant, Some(x));
    for sample in samples {
        sample.figures(&mut line);
    }
    line
}

impl Sample {
    /// One of which nothing but its rates is known.
    #[must_use]
    pub fn of(measured: Measured) -> Self {
        Self {
            measured,
            ..Self::default()
        }
    }

    /// Sagas that ended in a second.
    #[must_use]
    pub fn sagas_per_second(&self) -> f64 {
        rate(self.measured.sagas, self.measured.elapsed.as_secs_f64())
    }

    /// Attempts that ended in a second.
    #[must_use]
    pub fn attempts_per_second(&self) -> f64 {
        let attempts = self.measured.sagas * self.attempts;
        rate(attempts, self.measured.elapsed.as_secs_f64())
    }

    /// Journal rows in a second.
    #[must_use]
    pub fn transitions_per_second(&self) -> Option<f64> {
        let seconds = self.measured.elapsed.as_secs_f64();
        self.transitions.map(|rows| rate(rows, seconds))
    }

    /// CPU time for each saga, in microseconds.
    #[must_use]
    pub fn cpu_us(&self, group: Group) -> Option<f64> {
        let used = self.used.of(group)?.as_secs_f64() * 1_000_000.0;
        (self.measured.sagas > 0).then(|| used / rate(self.measured.sagas, 1.0))
    }

    /// What went wrong in it.
    #[must_use]
    pub fn error(&self, variant: &str) -> Option<String> {
        let first = self.measured.first_error.as_deref().unwrap_or_default();
        match (self.measured.errors, self.measured.sagas) {
            (0, 0) => Some(format!("{variant}: no saga ended")),
            (0, _) => None,
            (errors, _) => Some(format!("{variant}: {errors} errors, the first: {first}")),
        }
    }

    fn figures(&self, line: &mut Line) {
        let sagas = rate(self.measured.sagas, 1.0);
        line.add(figure::SAGAS_PER_SECOND, self.sagas_per_second());
        if self.attempts > 0 {
            line.add(figure::ATTEMPTS_PER_SECOND, self.attempts_per_second());
        }
        if let Some(transitions) = self.transitions_per_second() {
            line.add(figure::TRANSITIONS_PER_SECOND, transitions);
        }
        let millis = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        let latency = self.measured.latency;
        line.add(figure::P50_MS, millis(latency.p50));
        line.add(figure::P90_MS, millis(latency.p90));
        line.add(figure::P99_MS, millis(latency.p99));
        line.add(figure::MAX_MS, millis(latency.max));
        let cpu = [
            (figure::SERVER_CPU_US, Group::Server),
            (figure::POSTGRES_CPU_US, Group::Postgres),
            (figure::PARTICIPANT_CPU_US, Group::Participant),
            (figure::CLIENT_CPU_US, Group::Client),
        ];
        for (figure, group) in cpu {
            if let Some(micros) = self.cpu_us(group) {
                line.add(figure, micros);
            }
        }
        if self.used.of(Group::Client).is_none()
            && let Some(micros) = self.cpu_us(Group::Bench)
        {
            line.add(figure::WRITER_CPU_US, micros);
        }
        if let Some(bytes) = self.wal_bytes
            && sagas > 0.0
        {
            line.add(figure::WAL_BYTES, rate(bytes, sagas));
        }
        if let Some(cores) = self.used.other_cores {
            line.add(figure::OTHER_CORES, cores);
            line.noisy_legs += usize::from(cores > OTHER_CORES_MAX);
        }
    }
}
