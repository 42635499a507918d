//! What sagas cost that only wait. A database is filled with the rows that a server would have written if so many sagas had
//! been started two hours ago and waited for a signal since; then a server is started over it, and its memory is read while
//! all of them sleep. Every second one has a timeout of two hours, and those run out one after the other: how late each
//! goes on is read from its own row. Deliberately not here: the starts, which are what the other measurements measure.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amends_definitions::{Definition, Payload, StepIndex};
use amends_server::amends_core::fact::{Fact, Started};
use amends_server::amends_core::journal::{JournalRow, SagaInsert, SagaState};
use amends_server::amends_core::{SagaId, ShardId, Time};
use amends_server::amends_store::Store;
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::journals::{self, Journals, Rows, Writer, broken};
use super::meter::resident_bytes;
use super::plan::Percentiles;
use super::report::{rate, rounded};
use super::workload::input;
use crate::children::ServerProcess;
use crate::failure::Failure;
use crate::output::grid::pairs;
use crate::output::{View, say};

/// Waits without end.
const FOREVER: &str = include_str!("parked.saga.yaml");
/// Waits for [`TIMEOUT`].
const TIMED: &str = include_str!("parked-timed.saga.yaml");
/// How long the timed ones wait, as their definition says.
const TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);
/// Sagas in one batch of the filling.
const FILLED_AT_ONCE: u64 = 4_096;
/// Between the filling and the first timeout a server has this long to start, and for each saga this much longer.
const CALM: Duration = Duration::from_secs(20);
const CALM_PER_SAGA: Duration = Duration::from_micros(60);
/// The filling may take so many times as long as its first half lets expect.
const SLOWER_AT_MOST: u32 = 2;
/// The lease of the filling, which nobody renews.
const FILL_WITHIN: Duration = Duration::from_secs(60 * 60);
/// How long a server may take to start over such a database.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// How long the last ones may be late, before they count as lost.
const LATE_AT_MOST: Duration = Duration::from_secs(600);
/// Sagas that are read at once.
const READ_AT_ONCE: usize = 500;
/// How often the server's memory is looked at, and what has not woken is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What a server may take, at any number of sagas that only wait.
const RESIDENT_BYTES_MAX: u64 = 1 << 30;

/// What is measured.
pub struct Plan {
    /// Sagas in all; every second one has a timeout.
    pub sagas: u64,
    /// From the first timeout to the last.
    pub over: Duration,
}

/// A database with sagas that wait.
pub struct Filled {
    plan: Plan,
    took: Duration,
    /// The timed ones, in the order of their timeouts.
    timed: Vec<SagaId>,
    first_due: Time,
    last_due: Time,
}

/// Fills an empty database.
///
/// # Errors
/// If it cannot be written, or a server uses it.
pub async fn fill(store: Arc<dyn Store>, plan: Plan) -> Result<Filled, Failure> {
    let began = Instant::now();
    let identity = store.identity().await.map_err(|error| broken(&error))?;
    let now = identity.now;
    let forever = Waiting::new(journals::put(store.as_ref(), FOREVER).await?);
    let timed = Waiting::new(journals::put(store.as_ref(), TIMED).await?);
    // Nothing in a journal is older than what stands before it.
    let mut journals = Journals::hold(store, 1, FILL_WITHIN, now - TIMEOUT).await?;
    say(format!(
        "filling a database with {} sagas that wait",
        plan.sagas
    ));
    let count = plan.sagas / 2;
    let started_at = now - TIMEOUT;
    forever
        .write(journals.writer(), plan.sagas - count, |_| {
            (started_at, None)
        })
        .await?;
    // The other half takes as long, and the server needs its time as well.
    let calm = CALM + times(CALM_PER_SAGA, plan.sagas);
    let first_due = now + began.elapsed() + began.elapsed() * SLOWER_AT_MOST + calm;
    let step = plan.over.div_f64(count.max(1) as f64);
    let due = |number| first_due + times(step, number);
    let timed = timed
        .write(journals.writer(), count, |number| {
            (due(number) - TIMEOUT, Some(due(number)))
        })
        .await?;
    journals.release().await?;
    Ok(Filled {
        took: began.elapsed(),
        timed,
        first_due,
        last_due: due(count.saturating_sub(1)),
        plan,
    })
}

/// Sagas of one definition, with a wait as their only step.
struct Waiting {
    definition: Definition,
    name: Arc<str>,
    namespace: Arc<str>,
    input: Payload,
}

impl Waiting {
    fn new(definition: Definition) -> Self {
        Self {
            name: definition.name().into(),
            namespace: "default".into(),
            input: Payload::trusted(input().into()),
            definition,
        }
    }

    /// Writes so many, each with its start and, if its wait has an end, that; returns their ids.
    async fn write(
        &self,
        journals: &mut Writer,
        count: u64,
        times: impl Fn(u64) -> (Time, Option<Time>),
    ) -> Result<Vec<SagaId>, Failure> {
        let mut ids = Vec::new();
        let mut shards = journals.shards().to_vec().into_iter().cycle();
        let mut next = 0;
        while next < count {
            let numbers = next..count.min(next + FILLED_AT_ONCE);
            next = numbers.end;
            let batch = |rows: &mut Rows<'_>| {
                for (number, shard) in numbers.zip(&mut shards) {
                    let (at, until) = times(number);
                    ids.extend(self.write_one(rows, shard, at, until));
                }
            };
            journals.append(batch).await?;
        }
        Ok(ids)
    }

    fn write_one(
        &self,
        rows: &mut Rows<'_>,
        shard: ShardId,
        at: Time,
        until: Option<Time>,
    ) -> Option<SagaId> {
        let (random, _) = Uuid::new_v4().as_u64_pair();
        let id = SagaId::new(at, shard, random);
        let (batch, position) = rows.next(shard)?;
        let started = Started {
            namespace: Arc::clone(&self.namespace),
            definition: Arc::clone(&self.name),
            revision: 1,
            hash: self.definition.hash(),
            key: None,
            input: self.input.clone(),
            ordering_key: None,
            concurrency_max: None,
            parent: None,
            traceparent: None,
            tracestate: None,
        };
        let place = StepIndex(0).into();
        batch.rows.push(JournalRow {
            position,
            saga: id,
            at,
            facts: vec![Fact::Started(started), Fact::SignalAwaited { place, until }],
        });
        batch.inserts.push(SagaInsert {
            id,
            namespace: Arc::clone(&self.namespace),
            definition: Arc::clone(&self.name),
            revision: 1,
            hash: self.definition.hash(),
            key: None,
            turn: None,
            parent: None,
            state: SagaState::Running,
            wake_at: Some(until.unwrap_or(Time::INFINITY)),
            started_at: at,
            updated_at: at,
            ended_at: None,
            expires_at: None,
        });
        Some(id)
    }
}

/// Starts a server over the database, and watches it sleep and wake.
///
/// # Errors
/// If the server does not start, or the database cannot be read.
pub async fn measure(
    directory: &Path,
    store_name: &'static str,
    url: &str,
    store: Arc<dyn Store>,
    filled: Filled,
) -> Result<ParkedView, Failure> {
    say(format!("starting a server on {store_name}"));
    let began = Instant::now();
    let mut server = ServerProcess::start_with(directory, url, READY_WITHIN, &[]).await?;
    let ready = began.elapsed();
    let id = server.process().id();
    let mut asleep = None;
    let identity = store.identity().await.map_err(|error| broken(&error))?;
    let calm = filled.first_due.since(identity.now);
    if calm.is_zero() {
        say(
            "the server was not ready before the first timeout: the lateness is that of a server that was away",
        );
    }
    let first = Instant::now() + calm;
    while Instant::now() + LOOK_EVERY < first {
        tokio::time::sleep(LOOK_EVERY).await;
        asleep = resident_bytes(id).map(|(now, _)| now).or(asleep);
    }
    say(format!("{} sagas wake", filled.timed.len()));
    tokio::time::sleep(filled.last_due.since(identity.now).saturating_sub(calm)).await;
    let woken = woken(store.as_ref(), &filled.timed).await?;
    let peak = resident_bytes(id).map(|(_, most)| most);
    server.process().stop().await?;
    Ok(ParkedView::new(
        store_name,
        &filled,
        ready,
        [asleep, peak],
        woken,
    ))
}

/// When each of the timed ones was to go on, and when it did.
async fn woken(store: &dyn Store, timed: &[SagaId]) -> Result<Vec<(Time, Time)>, Failure> {
    let mut left = timed.to_vec();
    let mut woken = Vec::with_capacity(timed.len());
    let deadline = Instant::now() + LATE_AT_MOST;
    loop {
        let mut asleep = Vec::new();
        for chunk in left.chunks(READ_AT_ONCE) {
            let histories = store.histories(chunk).await;
            for history in histories.map_err(|error| broken(&error))? {
                match history.saga.ended_at {
                    Some(at) => woken.push((history.saga.started_at + TIMEOUT, at)),
                    None => asleep.push(history.saga.id),
                }
            }
        }
        if asleep.is_empty() || Instant::now() > deadline {
            return Ok(woken);
        }
        left = asleep;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn times(duration: Duration, count: u64) -> Duration {
    let nanos = duration.as_nanos() * u128::from(count);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct ParkedView {
    what: &'static str,
    store: &'static str,
    sagas: u64,
    filled_seconds: f64,
    ready_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    asleep_resident_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_resident_bytes: Option<u64>,
    timed: u64,
    due_over_seconds: f64,
    woken: u64,
    woken_per_second: f64,
    late_p50_ms: f64,
    late_p99_ms: f64,
    late_max_ms: f64,
}

impl ParkedView {
    fn new(
        store: &'static str,
        filled: &Filled,
        ready: Duration,
        [asleep, peak]: [Option<u64>; 2],
        woken: Vec<(Time, Time)>,
    ) -> Self {
        let late = Percentiles::of(woken.iter().map(|(due, at)| at.since(*due)));
        let millis = |late: Duration| rounded(late.as_secs_f64() * 1_000.0);
        let first = woken.iter().map(|(_, at)| *at).min();
        let last = woken.iter().map(|(_, at)| *at).max();
        let took = last.zip(first).map(|(last, first)| last.since(first));
        let count = woken.len() as u64;
        Self {
            what: "sagas that wait for a signal, one server",
            store,
            sagas: filled.plan.sagas,
            filled_seconds: rounded(filled.took.as_secs_f64()),
            ready_seconds: rounded(ready.as_secs_f64()),
            asleep_resident_bytes: asleep,
            peak_resident_bytes: peak,
            timed: filled.timed.len() as u64,
            due_over_seconds: rounded(filled.plan.over.as_secs_f64()),
            woken: count,
            woken_per_second: rounded(rate(count, took.unwrap_or_default().as_secs_f64())),
            late_p50_ms: millis(late.p50),
            late_p99_ms: millis(late.p99),
            late_max_ms: millis(late.max),
        }
    }

    /// Some never woke, or the server took too much memory.
    #[must_use]
    pub fn failed(&self) -> bool {
        let too_large = |bytes: Option<u64>| bytes.is_some_and(|bytes| bytes > RESIDENT_BYTES_MAX);
        self.woken < self.timed || too_large(self.asleep_resident_bytes)
    }
}

impl View for ParkedView {
    fn table(&self) -> String {
        let millis = |value: f64| format!("{value:.1} ms");
        let bytes = |bytes: Option<u64>| match bytes {
            Some(bytes) => format!("{} MiB", bytes.div_ceil(1 << 20)),
            None => "unknown: only Linux tells".to_owned(),
        };
        pairs(vec![
            ("measured", self.what.to_owned()),
            ("store", self.store.to_owned()),
            (
                "sagas",
                format!("{}, written in {:.1} s", self.sagas, self.filled_seconds),
            ),
            ("ready", format!("after {:.2} s", self.ready_seconds)),
            (
                "asleep",
                format!("{} resident", bytes(self.asleep_resident_bytes)),
            ),
            (
                "at most",
                format!("{} resident", bytes(self.peak_resident_bytes)),
            ),
            (
                "woken",
                format!(
                    "{} of {}, due over {:.0} s",
                    self.woken, self.timed, self.due_over_seconds
                ),
            ),
            ("woken/s", format!("{:.0}", self.woken_per_second)),
            ("late p50", millis(self.late_p50_ms)),
            ("late p99", millis(self.late_p99_ms)),
            ("late max", millis(self.late_max_ms)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_server::amends_core::saga::{Saga, due};
    use amends_server::amends_store::memory::MemoryStore;

    #[tokio::test]
    async fn a_filled_database_holds_sagas_that_wait_as_a_server_would_have_left_them() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(4));
        let plan = Plan {
            sagas: 11,
            over: Duration::from_secs(8),
        };
        let filled = fill(Arc::clone(&store), plan).await.expect("it is filled");
        assert_eq!(filled.timed.len(), 5);
        assert!(filled.last_due.since(filled.first_due) < Duration::from_secs(8));
        let definition = amends_definitions::check(TIMED.as_bytes()).definition;
        let definition = Arc::new(definition.expect("it is sound"));
        let histories = store.histories(&filled.timed).await.expect("histories");
        for history in histories {
            let rows = history.rows.expect("readable rows");
            let saga = Saga::replay(history.saga.id, Arc::clone(&definition), &rows);
            let saga = saga.expect("a history");
            // The core wants to see it again when its row says so, and not before.
            let due = due(&saga, filled.first_due - Duration::from_secs(1));
            assert!(due.commands.is_empty());
            assert_eq!(due.wake_at, history.saga.wake_at);
            assert_eq!(due.wake_at, Some(history.saga.started_at + TIMEOUT));
        }
        let mut sleepers = 0;
        for shard in (0..4).map(ShardId) {
            let page = store.sleepers(shard, None, 100).await.expect("sleepers");
            sleepers += page.iter().filter(|(_, at)| *at < Time::INFINITY).count();
        }
        assert_eq!(sleepers, 5);
    }
}
