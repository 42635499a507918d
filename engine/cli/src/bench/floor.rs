//! The floor under the benchmark: the journal rows and saga rows of three-step sagas, written through the statement that
//! a server's committer uses, with as many sagas in flight and over as many connections, and without an engine,
//! expressions or a network. What a server can never exceed on this machine.

use std::sync::Arc;
use std::time::Duration;

use amends_definitions::DefinitionHash;
use amends_server::amends_core::Time;
use amends_server::amends_store::{STARTS_IN_A_ROW, Store};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::Budget;
use super::journals::{self, Journals, Writer};
use super::plan::{Measured, Recorder};
use super::rows::{Made, Rows};
use super::workload::{HAPPY, HAPPY_ID};
use crate::failure::Failure;

/// How many transitions a three-step saga has.
pub const TRANSITIONS: u8 = 4;
/// From so many sagas in flight on a server has enough for two batches at once.
const BESIDE_FROM: u32 = 256;
/// The lease has to outlast the writing.
const LEASE_BEYOND: Duration = Duration::from_secs(120);

/// How much is written.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Sagas under way at once.
    pub in_flight: u32,
    /// Committer lanes of a server.
    pub lanes: u16,
    /// Over one connection a lane, also where a server would use two.
    pub alone: bool,
    /// No more sagas than so many.
    pub sagas: Option<u64>,
    /// For how long.
    pub length: Duration,
}

impl Plan {
    /// What it is called in a report.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.alone {
            "the floor over one connection"
        } else {
            "the floor"
        }
    }

    /// As many as a server uses: beside one that is at work another, if the store writes over two, and if there is enough
    /// for both.
    fn connections(&self, at_once: usize) -> u16 {
        let at_once = u16::try_from(at_once).unwrap_or(u16::MAX);
        let beside = if self.alone || self.in_flight < BESIDE_FROM {
            1
        } else {
            (at_once / self.lanes.max(1)).max(1)
        };
        self.lanes.max(1) * beside
    }
}

/// Writes into a database.
///
/// # Errors
/// If it cannot be written, or a server uses it.
pub async fn run(store: Arc<dyn Store>, plan: Plan) -> Result<Measured, Failure> {
    let mut floor = Floor::hold(store, plan).await?;
    let measured = floor.write(plan).await;
    floor.release().await?;
    measured
}

/// A database that is written into.
pub struct Floor {
    journals: Journals,
    writers: Vec<Writer>,
    hash: DefinitionHash,
    /// The database's clock.
    now: Time,
    /// When it said so.
    at: Instant,
}

impl Floor {
    /// Takes a database.
    ///
    /// # Errors
    /// If it cannot be written, or a server uses it.
    pub async fn hold(store: Arc<dyn Store>, plan: Plan) -> Result<Self, Failure> {
        let hash = journals::put(store.as_ref(), HAPPY).await?.hash();
        let identity = store.identity().await;
        let now = identity.map_err(|error| journals::broken(&error))?.now;
        let at = Instant::now();
        let lease = plan.length.saturating_add(LEASE_BEYOND);
        let connections = plan.connections(store.connections_at_once());
        let mut journals = Journals::hold(store, connections, lease, now).await?;
        Ok(Self {
            writers: journals.take_writers(),
            journals,
            hash,
            now,
            at,
        })
    }

    /// Writes sagas, from their starts to their ends.
    ///
    /// # Errors
    /// If the database does not take them.
    pub async fn write(&mut self, plan: Plan) -> Result<Measured, Failure> {
        let budget = Budget::new(plan.sagas, plan.length);
        let began = budget.began;
        let lanes = u32::try_from(self.writers.len()).unwrap_or(1).max(1);
        let mut tasks = JoinSet::new();
        for mut writer in self.writers.drain(..) {
            let lane = Lane {
                rows: Rows::new(HAPPY_ID, self.hash),
                in_flight: plan.in_flight.div_ceil(lanes) as usize,
                budget: budget.clone(),
                now: self.now + began.duration_since(self.at),
            };
            tasks.spawn(async move {
                let recorded = lane.write(&mut writer).await;
                (writer, recorded)
            });
        }
        let mut recorder = Recorder::new();
        for (writer, recorded) in tasks.join_all().await {
            self.writers.push(writer);
            recorder.add(recorded?);
        }
        Ok(recorder.finish(began.elapsed()))
    }

    /// Gives the database back.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn release(self) -> Result<(), Failure> {
        drop(self.writers);
        self.journals.release().await
    }
}

/// What one connection writes.
struct Lane {
    rows: Rows,
    in_flight: usize,
    budget: Budget,
    /// The database's clock when the budget began.
    now: Time,
}

impl Lane {
    async fn write(&self, writer: &mut Writer) -> Result<Recorder, Failure> {
        let mut recorder = Recorder::new();
        let mut flights: Vec<Flight> = Vec::new();
        // A few sagas in a row go to one shard, as with a server.
        let shards = writer.shards().to_vec().into_iter();
        let mut shards = shards
            .flat_map(|shard| std::iter::repeat_n(shard, usize::from(STARTS_IN_A_ROW)))
            .cycle();
        // A quarter begins with each of the first commits, so that every batch holds every kind of transition, as a server's does.
        let quarter = self.in_flight.div_ceil(usize::from(TRANSITIONS));
        loop {
            let at = self.now + self.budget.began.elapsed();
            let room = (self.in_flight - flights.len()).min(quarter);
            for shard in shards.by_ref().take(room) {
                if !self.budget.take() {
                    break;
                }
                flights.push(Flight {
                    made: self.rows.saga(at, shard),
                    done: 0,
                    began: Instant::now(),
                });
            }
            if flights.is_empty() {
                return Ok(recorder);
            }
            let next = |batch: &mut journals::Rows<'_>| {
                for flight in &flights {
                    if let Some((batch, position)) = batch.next(flight.made.id.shard()) {
                        self.rows
                            .write(batch, &flight.made, flight.done, position, at);
                    }
                }
            };
            writer.append(next).await?;
            flights.retain_mut(|flight| {
                flight.done += 1;
                let under_way = flight.done < TRANSITIONS;
                if !under_way {
                    recorder.took(flight.began.elapsed());
                }
                under_way
            });
        }
    }
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

    fn plan(sagas: u64, lanes: u16) -> Plan {
        Plan {
            in_flight: 8,
            lanes,
            alone: false,
            sagas: Some(sagas),
            length: Duration::from_secs(60),
        }
    }

    #[tokio::test]
    async fn the_floor_writes_whole_sagas_and_leaves_none_behind() {
        for lanes in [1, 2] {
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new(4));
            let measured = run(Arc::clone(&store), plan(21, lanes))
                .await
                .expect("a measurement");
            assert_eq!(measured.sagas, 21);
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
        let failure = run(store, plan(1, 1))
            .await
            .expect_err("the shards are taken");
        assert_eq!(failure.exit(), Exit::Conflict);
    }
}
