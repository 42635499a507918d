//! The floor under the benchmark: the journal rows and saga rows of three-step sagas, written through the statement that
//! a server's committer uses, with as many sagas in flight, and without an engine, expressions or a network. What a
//! server can never exceed with one lane on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amends_definitions::{Definition, check, to_normal_form};
use amends_server::amends_core::journal::ShardBatch;
use amends_server::amends_core::{ShardId, Time};
use amends_server::amends_store::{
    AppendError, Batch, Lane, NewDefinition, NodeLease, Store, Takeover,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::load::{Budget, DEFINITION, DEFINITION_ID};
use super::report::Measured;
use super::rows::{Made, Rows};
use crate::arguments::BenchArguments;
use crate::exit::Exit;
use crate::failure::{Failure, chain};

/// The name under which the floor holds its shards.
const NODE: &str = "amends-bench-floor";
/// How many transitions a three-step saga has.
const TRANSITIONS: u8 = 4;
/// How often a batch is tried that the database asks to try again.
const TRIES_MAX: u32 = 20;

/// Measures a database.
///
/// # Errors
/// If it cannot be opened or written, or a server uses it.
pub async fn run(store: Arc<dyn Store>, arguments: &BenchArguments) -> Result<Measured, Failure> {
    let definition = check(DEFINITION.as_bytes())
        .definition
        .ok_or_else(|| Failure::wrong("the benchmark's definition is not sound"))?;
    put(store.as_ref(), &definition).await?;
    let lease = NodeLease {
        name: NODE.to_owned(),
        process: Uuid::new_v4(),
        address: String::new(),
        // Nobody renews it: it only has to outlast the measurement.
        lease: Duration::from_secs(arguments.seconds + 60),
    };
    let identity = store.identity().await.map_err(|error| broken(&error))?;
    let shards: Vec<ShardId> = (0..identity.shard_count).map(ShardId).collect();
    let held = store
        .claim(&lease, &shards)
        .await
        .map_err(|error| broken(&error))?;
    if held.len() < shards.len() {
        store
            .release(&lease)
            .await
            .map_err(|error| broken(&error))?;
        return Err(Failure::new(Exit::Conflict, "the floor was not measured")
            .because("a server is alive on this database, and the floor would take its shards away")
            .advice("stop the server, or give an empty database"));
    }
    let measured = write(
        store.as_ref(),
        &shards,
        identity.now,
        &definition,
        arguments,
    )
    .await;
    store
        .release(&lease)
        .await
        .map_err(|error| broken(&error))?;
    measured
}

async fn put(store: &dyn Store, definition: &Definition) -> Result<(), Failure> {
    let new = NewDefinition {
        namespace: "default".to_owned(),
        name: DEFINITION_ID.to_owned(),
        hash: definition.hash(),
        source: DEFINITION.to_owned(),
        normal_form: to_normal_form(definition),
    };
    store
        .put_definition(&new)
        .await
        .map_err(|error| broken(&error))?;
    Ok(())
}

async fn write(
    store: &dyn Store,
    shards: &[ShardId],
    now: Time,
    definition: &Definition,
    arguments: &BenchArguments,
) -> Result<Measured, Failure> {
    let mut lane = store.open_lane().await.map_err(|error| broken(&error))?;
    let mut journals = take_over(lane.as_mut(), shards, now).await?;
    let rows = Rows::new(definition.hash());
    let budget = Budget::new(arguments);
    let began = Instant::now();
    let deadline = budget.deadline();
    let mut measured = Measured::default();
    let mut flights: Vec<Flight> = Vec::new();
    let mut next_shard = 0;
    // A quarter begins with each of the first commits, so that every batch holds every kind of transition, as a server's does.
    let quarter = (arguments.in_flight as usize).div_ceil(usize::from(TRANSITIONS));
    loop {
        let room = (arguments.in_flight as usize - flights.len()).min(quarter);
        for _ in 0..room {
            if Instant::now() >= deadline || !budget.take() {
                break;
            }
            let shard = shards[next_shard % shards.len()];
            next_shard += 1;
            flights.push(Flight {
                made: rows.saga(now + began.elapsed(), shard),
                done: 0,
                began: Instant::now(),
            });
        }
        if flights.is_empty() {
            break;
        }
        let batch = batch(&rows, &flights, &mut journals, now + began.elapsed());
        append(lane.as_mut(), &batch).await?;
        for flight in &mut flights {
            flight.done += 1;
        }
        let ended = flights.iter().filter(|flight| flight.done == TRANSITIONS);
        measured
            .latencies
            .extend(ended.map(|flight| flight.began.elapsed()));
        flights.retain(|flight| flight.done < TRANSITIONS);
    }
    measured.elapsed = began.elapsed();
    Ok(measured)
}

/// A saga under way.
struct Flight {
    made: Made,
    /// Transitions written.
    done: u8,
    began: Instant,
}

/// Where a shard's journal goes on.
struct Journal {
    epoch: u64,
    next: u64,
}

async fn take_over(
    lane: &mut dyn Lane,
    shards: &[ShardId],
    at: Time,
) -> Result<BTreeMap<ShardId, Journal>, Failure> {
    let tails = lane.tails(shards).await.map_err(|error| broken(&error))?;
    let batch = Uuid::new_v4();
    let records: Vec<Takeover> = shards
        .iter()
        .zip(&tails)
        .map(|(shard, tail)| Takeover {
            shard: *shard,
            position: tail + 1,
            batch,
            node: NODE.to_owned(),
            at,
        })
        .collect();
    lane.take_over(&records)
        .await
        .map_err(|error| broken(&error))?;
    let journal = |record: &Takeover| {
        (
            record.shard,
            Journal {
                epoch: record.position,
                next: record.position + 1,
            },
        )
    };
    Ok(records.iter().map(journal).collect())
}

/// The next transition of every saga under way.
fn batch(
    rows: &Rows,
    flights: &[Flight],
    journals: &mut BTreeMap<ShardId, Journal>,
    now: Time,
) -> Batch {
    let mut shards: BTreeMap<ShardId, ShardBatch> = BTreeMap::new();
    for flight in flights {
        let shard = flight.made.id.shard();
        let Some(journal) = journals.get_mut(&shard) else {
            continue;
        };
        let batch = shards.entry(shard).or_insert_with(|| ShardBatch {
            shard,
            epoch: journal.epoch,
            rows: Vec::new(),
            inserts: Vec::new(),
            updates: Vec::new(),
            keys: Vec::new(),
            incidents_opened: Vec::new(),
            incidents_closed: Vec::new(),
        });
        rows.write(batch, &flight.made, flight.done, journal.next, now);
        journal.next += 1;
    }
    Batch {
        id: Uuid::new_v4(),
        shards: shards.into_values().collect(),
    }
}

async fn append(lane: &mut dyn Lane, batch: &Batch) -> Result<(), Failure> {
    for _ in 0..TRIES_MAX {
        match lane.append(batch).await {
            Ok(()) => return Ok(()),
            Err(AppendError::Again { .. }) => {}
            Err(error) => return Err(broken(&error)),
        }
    }
    Err(Failure::wrong("the floor was not measured")
        .because("the database refuses a batch again and again"))
}

fn broken(error: &dyn std::error::Error) -> Failure {
    Failure::wrong("the floor was not measured").because(chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_server::amends_core::journal::SagaState;
    use amends_server::amends_store::ListQuery;
    use amends_server::amends_store::memory::MemoryStore;

    fn arguments(sagas: u64) -> BenchArguments {
        BenchArguments {
            store: None,
            database_url: None,
            sagas: Some(sagas),
            in_flight: 8,
            seconds: 60,
            floor: true,
        }
    }

    #[tokio::test]
    async fn the_floor_writes_whole_sagas_and_leaves_none_behind() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(4));
        let measured = run(Arc::clone(&store), &arguments(21))
            .await
            .expect("a measurement");
        assert_eq!(measured.latencies.len(), 21);
        let query = |states: &[SagaState]| ListQuery {
            namespace: "default".to_owned(),
            states: states.to_vec(),
            definition: None,
            key: None,
            before: None,
            limit: 100,
        };
        let completed = store
            .list(&query(&[SagaState::Completed]))
            .await
            .expect("a list");
        assert_eq!(completed.len(), 21);
        assert_eq!(store.list(&query(&[])).await.expect("a list").len(), 21);
        let history = store
            .history(completed[0].id, 1, 100)
            .await
            .expect("a history")
            .expect("a saga");
        assert_eq!(
            history.rows.expect("readable rows").len(),
            usize::from(TRANSITIONS)
        );
    }

    #[tokio::test]
    async fn a_database_that_a_server_uses_is_left_alone() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(4));
        let server = NodeLease {
            name: "server".to_owned(),
            process: Uuid::new_v4(),
            address: String::new(),
            lease: Duration::from_secs(60),
        };
        store.claim(&server, &[ShardId(2)]).await.expect("a claim");
        let failure = run(store, &arguments(1))
            .await
            .expect_err("the shards are taken");
        assert_eq!(failure.exit(), Exit::Conflict);
    }
}
