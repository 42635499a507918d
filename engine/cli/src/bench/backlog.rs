//! What is stored costs: throughput, and the list of the newest 50 of every state, with ever more finished sagas in the
//! database, and with many in flight. Deliberately not here: how those come into it but for their rows (`floor`, `rows`).

use std::time::Duration;

use amends_proto::v1::{self as proto, SagaState};
use tokio::time::Instant;

use super::bed::{Bed, Leg, Sample};
use super::floor;
use super::journals::{self, Journals};
use super::load::{self, describe, variant};
use super::meter::{Group, Meter, Watched};
use super::plan::{Pace, Percentiles};
use super::report::{Line, Report, Wanted, figure, rate};
use super::rows::Rows;
use super::workload::Workload;
use crate::arguments::Global;
use crate::arguments::bench::BacklogArguments;
use crate::children::ServerProcess;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::say;

/// Sagas that are written at once while a database is filled.
const FILLED_AT_ONCE: u32 = 4_096;
/// The lease of the filling, which nobody renews.
const FILL_WITHIN: Duration = Duration::from_secs(60 * 60);
/// Lists that are asked for, of each state.
const LISTS: u32 = 15;
/// What a list is of.
const STATES: [Option<SagaState>; 7] = [
    None,
    Some(SagaState::Running),
    Some(SagaState::Completed),
    Some(SagaState::Compensating),
    Some(SagaState::Compensated),
    Some(SagaState::Parked),
    Some(SagaState::Terminated),
];
/// A server that used less of a core for this long has loaded what it had to.
const CALM: Duration = Duration::from_millis(500);
const CALM_CORES: f64 = 0.05;
/// How long it may take.
const CALM_WITHIN: Duration = Duration::from_secs(120);
/// What is wanted.
const OF_EMPTY_STORED: f64 = 0.9;
const OF_EMPTY_ACTIVE: f64 = 0.8;
const LIST_MS_MAX: f64 = 20.0;

/// A database with something in it.
struct Filled {
    stored: u64,
    active: u64,
    url: String,
    samples: Vec<Sample>,
    lists: Vec<Duration>,
}

/// Measures databases of ever more sagas, in rounds.
///
/// # Errors
/// If something cannot be measured.
pub async fn run(global: &Global, arguments: &BacklogArguments) -> Result<Report, Failure> {
    let mut bed = Bed::open(global, &arguments.target).await?;
    let mut report = Report::new();
    describe(&mut bed, &mut report).await?;
    let leg = Leg {
        workload: Workload::Happy,
        pace: Pace::InFlight(arguments.in_flight),
        starts: arguments.starts,
        sagas: None,
        length: Duration::from_secs(arguments.seconds),
    };
    let mut all = Vec::new();
    let contents = arguments.stored.iter().map(|stored| (*stored, 0));
    for (stored, active) in contents.chain([(0, arguments.active)]) {
        all.push(filled(&mut bed, stored, active).await?);
    }
    for round in 0..arguments.pairs {
        say(format!("round {} of {}", round + 1, arguments.pairs));
        let mut order: Vec<&mut Filled> = all.iter_mut().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for filled in order {
            filled.measure(&mut bed, &leg).await?;
        }
    }
    told(&bed, &leg, &all, &mut report);
    Ok(report)
}

async fn filled(bed: &mut Bed, stored: u64, active: u64) -> Result<Filled, Failure> {
    bed.database()?.renew().await?;
    say(format!(
        "filling a database: {stored} ended, {active} in flight"
    ));
    if stored > 0 {
        let plan = floor::Plan {
            in_flight: FILLED_AT_ONCE,
            lanes: bed.lanes(),
            alone: false,
            sagas: Some(stored),
            length: FILL_WITHIN,
        };
        floor::run(bed.database()?.open_store().await?, plan).await?;
    }
    if active > 0 {
        begin(bed, active).await?;
    }
    if let Some(mut counters) = bed.counters().await? {
        counters.settle().await?;
    }
    Ok(Filled {
        stored,
        active,
        url: bed.database()?.url().to_owned(),
        samples: Vec::new(),
        lists: Vec::new(),
    })
}

/// Writes sagas whose first step waits for a participant that does not come.
async fn begin(bed: &mut Bed, count: u64) -> Result<(), Failure> {
    let store = bed.database()?.open_store().await?;
    let held = Workload::Held;
    let definition = journals::put(store.as_ref(), &held.source()).await?;
    let identity = store.identity().await;
    let now = identity.map_err(|error| journals::broken(&error))?.now;
    let rows = Rows::new(definition.name(), definition.hash());
    let mut journals = Journals::hold(store, 1, FILL_WITHIN, now).await?;
    let writer = journals.writer();
    let mut shards = writer.shards().to_vec().into_iter().cycle();
    let mut left = count;
    while left > 0 {
        let batch = left.min(u64::from(FILLED_AT_ONCE));
        left -= batch;
        let begun = |batch_rows: &mut journals::Rows<'_>| {
            for (_, shard) in (0..batch).zip(&mut shards) {
                let saga = rows.saga(now, shard);
                if let Some((shard_batch, position)) = batch_rows.next(shard) {
                    rows.write(shard_batch, &saga, 0, position, now);
                }
            }
        };
        writer.append(begun).await?;
    }
    journals.release().await
}

impl Filled {
    fn is_empty(&self) -> bool {
        self.stored == 0 && self.active == 0
    }

    async fn measure(&mut self, bed: &mut Bed, leg: &Leg) -> Result<(), Failure> {
        if self.is_empty() {
            // What earlier rounds left would make it less empty.
            bed.database()?.renew().await?;
        } else {
            bed.database()?.choose(&self.url);
        }
        say(format!("{} ended, {} in flight", self.stored, self.active));
        let mut server = bed.start_server(&[]).await?;
        let address = server.address().to_owned();
        calm(&mut server).await?;
        let process = server.process().id();
        self.samples.push(bed.load(leg, &address, process).await?);
        self.lists.push(lists(&address).await?);
        // A server with sagas whose participant never comes has nothing to wait for.
        server.process().stop().await
    }
}

/// Waits until a server has loaded what it had to.
async fn calm(server: &mut ServerProcess) -> Result<(), Failure> {
    let process = server.process().id().map(Watched::Process);
    let meter = Meter::default().watch(Group::Server, process);
    let began = Instant::now();
    loop {
        let before = meter.read();
        tokio::time::sleep(CALM).await;
        let used = meter.read().since(&before).of(Group::Server);
        let cores = used.map_or(0.0, |used| used.as_secs_f64() / CALM.as_secs_f64());
        if cores < CALM_CORES {
            return Ok(());
        }
        if began.elapsed() > CALM_WITHIN {
            return Err(Failure::wrong("the server does not come to rest"));
        }
    }
}

/// How long the newest 50 take, of the state for which they take longest.
async fn lists(address: &str) -> Result<Duration, Failure> {
    let connection = Connection::open(address, "default").await?;
    let mut slowest = Duration::ZERO;
    for state in STATES {
        let mut took = Vec::new();
        for _ in 0..LISTS {
            let request = proto::ListSagasRequest {
                parent: connection.parent(),
                page_size: 50,
                states: state.iter().map(|state| (*state).into()).collect(),
                ..proto::ListSagasRequest::default()
            };
            let began = Instant::now();
            let listed = connection.sagas().list_sagas(request).await;
            listed.map_err(|status| Failure::unread("no list of sagas", &status))?;
            took.push(began.elapsed());
        }
        slowest = slowest.max(Percentiles::of(took).p50);
    }
    Ok(slowest)
}

fn told(bed: &Bed, leg: &Leg, all: &[Filled], report: &mut Report) {
    let empty = all.iter().find(|filled| filled.is_empty());
    for filled in all {
        let contents = match filled.active {
            0 => format!("{} ended", filled.stored),
            active => format!("{active} in flight beside"),
        };
        let what = format!("{}, {contents}", variant(bed, leg));
        let errors = filled
            .samples
            .iter()
            .filter_map(|sample| sample.error(&what));
        report.errors.extend(errors);
        let x = rate(filled.stored + filled.active, 1.0);
        let series = match filled.active {
            0 => "ended",
            _ => "in flight",
        };
        let mut line = load::line("backlog", &what, x, &filled.samples).in_series(series);
        for took in &filled.lists {
            line.add(figure::LIST_MS, took.as_secs_f64() * 1_000.0);
        }
        if let Some(empty) = empty.filter(|_| !filled.is_empty()) {
            compare(bed, filled, empty, &mut line, report);
        }
        report.lines.push(line);
    }
}

fn compare(bed: &Bed, filled: &Filled, empty: &Filled, line: &mut Line, report: &mut Report) {
    let pairs = filled.samples.iter().zip(&empty.samples);
    let shares: Vec<f64> = pairs
        .map(|(filled, empty)| filled.sagas_per_second() / empty.sagas_per_second())
        .collect();
    for share in &shares {
        line.add(figure::OF_EMPTY, *share);
    }
    let place = bed.place();
    let (contents, least) = match filled.active {
        0 => (format!("{} ended", filled.stored), OF_EMPTY_STORED),
        active => (format!("{active} in flight beside"), OF_EMPTY_ACTIVE),
    };
    report.bound(
        format!("{place}: sagas/s with {contents}, for each on an empty database"),
        shares,
        Wanted::AtLeast(least),
    );
    report.bound(
        format!("{place}: ms for the newest 50 of any state with {contents}"),
        line.values(figure::LIST_MS).to_vec(),
        Wanted::AtMost(LIST_MS_MAX),
    );
}
