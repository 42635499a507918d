//! The floor under the benchmark: the journal rows and saga rows of three-step sagas, written through the statement that
//! a server's committer uses, with as many sagas in flight, and without an engine, expressions or a network. What a
//! server can never exceed with one lane on this machine.

use std::sync::Arc;
use std::time::Duration;

use amends_definitions::Definition;
use amends_server::amends_core::Time;
use amends_server::amends_store::Store;
use tokio::time::Instant;

use super::journals::{self, Journals};
use super::load::{Budget, DEFINITION};
use super::report::Measured;
use super::rows::{Made, Rows};
use crate::arguments::BenchArguments;
use crate::failure::Failure;

/// How many transitions a three-step saga has.
const TRANSITIONS: u8 = 4;
/// Measures a database.
///
/// # Errors
/// If it cannot be opened or written, or a server uses it.
pub async fn run(store: Arc<dyn Store>, arguments: &BenchArguments) -> Result<Measured, Failure> {
    let definition = journals::put(store.as_ref(), DEFINITION).await?;
    let identity = store.identity().await;
    let now = identity.map_err(|error| journals::broken(&error))?.now;
    let lease = Duration::from_secs(arguments.seconds + 60);
    let mut journals = Journals::hold(store, lease, now).await?;
    let measured = write(&mut journals, now, &definition, arguments).await;
    journals.release().await?;
    measured
}

async fn write(
    journals: &mut Journals,
    now: Time,
    definition: &Definition,
    arguments: &BenchArguments,
) -> Result<Measured, Failure> {
    let rows = Rows::new(definition.hash());
    let budget = Budget::new(arguments);
    let began = Instant::now();
    let deadline = budget.deadline();
    let mut measured = Measured::default();
    let mut flights: Vec<Flight> = Vec::new();
    let mut shards = journals.shards().to_vec().into_iter().cycle();
    // A quarter begins with each of the first commits, so that every batch holds every kind of transition, as a server's does.
    let quarter = (arguments.in_flight as usize).div_ceil(usize::from(TRANSITIONS));
    loop {
        let room = (arguments.in_flight as usize - flights.len()).min(quarter);
        for shard in shards.by_ref().take(room) {
            if Instant::now() >= deadline || !budget.take() {
                break;
            }
            flights.push(Flight {
                made: rows.saga(now + began.elapsed(), shard),
                done: 0,
                began: Instant::now(),
            });
        }
        if flights.is_empty() {
            break;
        }
        let at = now + began.elapsed();
        let next = |batch: &mut journals::Rows<'_>| {
            for flight in &flights {
                if let Some((batch, position)) = batch.next(flight.made.id.shard()) {
                    rows.write(batch, &flight.made, flight.done, position, at);
                }
            }
        };
        journals.append(next).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use amends_server::amends_core::ShardId;
    use amends_server::amends_core::journal::SagaState;
    use amends_server::amends_store::memory::MemoryStore;
    use amends_server::amends_store::{ListQuery, NodeLease};
    use uuid::Uuid;

    fn arguments(sagas: u64) -> BenchArguments {
        BenchArguments {
            store: None,
            database_url: None,
            sagas: Some(sagas),
            in_flight: 8,
            seconds: 60,
            floor: true,
            parked: None,
            wake_over: 60,
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
