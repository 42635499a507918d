//! The suite: every ratio that is wanted of the engine, measured in rounds on one machine, and whether its bound holds.
//! Deliberately not here: the scenarios that measure no ratio of loads (`recovery`, `idle`, `memory`, `churn`), which have
//! bounds of their own.

use std::time::Duration;

use super::anchors;
use super::bed::{Bed, Leg, Sample};
use super::load::{Part, describe, rounds, told};
use super::meter::Group;
use super::plan::Pace;
use super::report::{Report, Wanted};
use super::workload::Workload;
use crate::arguments::Global;
use crate::arguments::bench::{BenchStore, Starts, SuiteArguments, Target};
use crate::failure::Failure;

/// Sagas in flight where the engine is busy, where it is less so, and where latency is all.
const MANY: u32 = 512;
const SOME: u32 = 64;
const ONE: u32 = 1;
/// Clients of `pgbench` that insert as fast as they can.
const ROW_CLIENTS: u32 = 16;
/// Commits, and messages there and back, of a three-step saga that is alone.
const TURNS: f64 = 4.0;

/// The rounds of one store, each part by name.
struct Rounds {
    floor_many: Vec<Sample>,
    floor_some: Vec<Sample>,
    many: Vec<Sample>,
    some: Vec<Sample>,
    unary: Vec<Sample>,
    failing: Vec<Sample>,
    one: Vec<Sample>,
    echoes: Vec<Sample>,
    /// Over one connection; where the floor has no more than that, it is the floor.
    floor_alone: Vec<Sample>,
    /// Of `pgbench`: with many clients, and with one.
    rows: Option<[Vec<Sample>; 2]>,
}

/// Measures the store that is asked for, or one after the other.
///
/// # Errors
/// If something cannot be measured.
pub async fn run(global: &Global, arguments: &SuiteArguments) -> Result<Report, Failure> {
    let stores = match arguments.target.store {
        Some(store) => vec![store],
        None => vec![BenchStore::Postgres, BenchStore::Sqlite],
    };
    let mut report = Report::new();
    for store in stores {
        let target = Target {
            store: Some(store),
            ..arguments.target.clone()
        };
        let mut bed = Bed::open(global, &target).await?;
        describe(&mut bed, &mut report).await?;
        let measured = measure(&mut bed, arguments, &mut report).await?;
        measured.compare(store, &mut report);
    }
    Ok(report)
}

async fn measure(
    bed: &mut Bed,
    arguments: &SuiteArguments,
    report: &mut Report,
) -> Result<Rounds, Failure> {
    let length = Duration::from_secs(arguments.seconds);
    // A file has one writer: its floor is the same over one connection.
    let two = bed.database()?.store() == BenchStore::Postgres;
    let engine = |workload: Workload, in_flight: u32, starts: Starts| {
        Part::Engine(Leg {
            workload,
            pace: Pace::InFlight(in_flight),
            starts,
            sagas: None,
            length,
        })
    };
    let floor = |in_flight: u32, alone: bool| {
        Part::Floor(super::floor::Plan {
            in_flight,
            lanes: bed.lanes(),
            alone,
            sagas: None,
            length,
        })
    };
    let streamed = Starts::BEST;
    let mut parts = vec![
        floor(MANY, false),
        engine(Workload::Happy, MANY, streamed),
        floor(SOME, false),
        engine(Workload::Happy, SOME, streamed),
        engine(Workload::Happy, MANY, Starts::Unary),
        engine(Workload::Failing, MANY, streamed),
        engine(Workload::Happy, ONE, streamed),
        Part::Echoes,
    ];
    if two {
        parts.push(floor(MANY, true));
    }
    if anchors::pgbench(bed).is_some() && bed.counters().await?.is_some() {
        parts.push(Part::Rows(ROW_CLIENTS, length));
        parts.push(Part::Rows(ONE, length));
    } else {
        let place = bed.place();
        report.notes.push(format!(
            "{place}: no ratio to pgbench: it needs PostgreSQL, and pgbench installed."
        ));
    }
    let samples = rounds(bed, &parts, arguments.pairs).await?;
    for (part, samples) in parts.iter().zip(&samples) {
        let what = match part {
            Part::Engine(leg) => leg.workload.name(),
            Part::Floor(_) => Workload::Happy.name(),
            Part::Rows(..) | Part::Echoes => "anchors",
        };
        told(bed, part, samples, what, report);
    }
    let mut samples = samples.into_iter();
    let mut next = || samples.next().unwrap_or_default();
    Ok(Rounds {
        floor_many: next(),
        many: next(),
        floor_some: next(),
        some: next(),
        unary: next(),
        failing: next(),
        one: next(),
        echoes: next(),
        floor_alone: if two { next() } else { Vec::new() },
        rows: Some([next(), next()]).filter(|[many, _]| !many.is_empty()),
    })
}

impl Rounds {
    fn compare(&self, store: BenchStore, report: &mut Report) {
        let name = store.name();
        let mut bound = |what: &str, ratios: Vec<f64>, wanted: Wanted| {
            report.bound(format!("{name}: {what}"), ratios, wanted);
        };
        let rate = Sample::sagas_per_second;
        bound(
            "sagas/s at 512 in flight, streamed starts, for each of the floor",
            ratios(&self.many, &self.floor_many, rate),
            Wanted::AtLeast(0.70),
        );
        if !self.floor_alone.is_empty() {
            bound(
                "the same, of the floor over one connection",
                ratios(&self.many, &self.floor_alone, rate),
                Wanted::AtLeast(0.70),
            );
        }
        bound(
            "the same at 64",
            ratios(&self.some, &self.floor_some, rate),
            Wanted::AtLeast(0.55),
        );
        bound(
            "the same at 512 with unary starts",
            ratios(&self.unary, &self.floor_many, rate),
            Wanted::AtLeast(0.30),
        );
        bound(
            "attempts/s of sagas that fail and compensate, for each of happy ones",
            ratios(&self.failing, &self.many, Sample::attempts_per_second),
            Wanted::AtLeast(0.6),
        );
        let share =
            |sample: &Sample| Some(sample.cpu_us(Group::Server)? / sample.cpu_us(Group::Postgres)?);
        bound(
            "CPU of the server at 512, streamed, for each of PostgreSQL",
            self.many.iter().filter_map(share).collect(),
            Wanted::AtMost(0.6),
        );
        let Some([many_rows, one_row]) = &self.rows else {
            return;
        };
        let rows = many_rows.iter().map(rate);
        let transitions = self.many.iter().filter_map(Sample::transitions_per_second);
        bound(
            "transitions/s at 512 for each transaction of pgbench with 16 clients",
            transitions
                .zip(rows)
                .map(|(transitions, rows)| transitions / rows)
                .collect(),
            Wanted::AtLeast(3.5),
        );
        let p50 = |sample: &Sample| sample.measured.latency.p50.as_secs_f64();
        let bare = one_row.iter().zip(&self.echoes);
        let bare = bare.map(|(row, echo)| TURNS * p50(row) + TURNS * p50(echo));
        bound(
            "p50 of a saga alone, for four commits of pgbench and four round trips of a stream",
            self.one
                .iter()
                .map(p50)
                .zip(bare)
                .map(|(saga, bare)| saga / bare)
                .collect(),
            Wanted::AtMost(2.0),
        );
    }
}

fn ratios(of: &[Sample], to: &[Sample], value: impl Fn(&Sample) -> f64) -> Vec<f64> {
    let pairs = of.iter().zip(to);
    pairs.map(|(of, to)| value(of) / value(to)).collect()
}
