//! What a store's benchmark writes: batches as a server's committer makes them of so many sagas of four transitions in
//! flight, over all shards, without an engine. Deliberately not here: clocks, reports, and what a store is set to.

use std::collections::BTreeMap;
use std::time::Duration;

use amends_core::fact::AttemptEnded;
use amends_core::journal::SagaState;
use amends_core::{Fact, OperationKind, Outcome, SagaId, ShardId, Time};
use amends_definitions::{Payload, StepIndex};
use uuid::Uuid;

use super::made::{AT, Writes, batch, payload_of};
use crate::{Batch, STARTS_IN_A_ROW, Takeover};

/// Made-up sagas under way: each is four rows, an insert and an update; 300 bytes of input, 200 of each result.
pub struct Load {
    shards: u16,
    in_flight: usize,
    flights: Vec<Flight>,
    positions: BTreeMap<u16, u64>,
    begun: u64,
    ended: u64,
    batches: u64,
}

struct Flight {
    saga: SagaId,
    done: u8,
}

impl Load {
    /// So many sagas in flight, in journals without any row.
    #[must_use]
    pub fn new(shards: u16, in_flight: usize) -> Self {
        Self {
            shards,
            in_flight,
            flights: Vec::new(),
            positions: (0..shards).map(|shard| (shard, EPOCH)).collect(),
            begun: 0,
            ended: 0,
            batches: 0,
        }
    }

    /// What is written first.
    #[must_use]
    pub fn takeovers(&self) -> Vec<Takeover> {
        let takeover = |shard| Takeover {
            shard: ShardId(shard),
            position: EPOCH,
            batch: Uuid::from_u128(1),
            node: "node-1".into(),
            at: AT,
        };
        (0..self.shards).map(takeover).collect()
    }

    /// The next batch: a transition of every saga in flight. A quarter begins with each of the first batches, so that
    /// every batch has each kind of transition in it.
    pub fn batch(&mut self) -> Batch {
        self.batches += 1;
        let at = AT + Duration::from_millis(self.batches);
        let quarter = self.in_flight.div_ceil(usize::from(TRANSITIONS));
        let room = (self.in_flight - self.flights.len()).min(quarter);
        self.flights.extend((0..room).map(|_| {
            self.begun += 1;
            let shard = (self.begun / u64::from(STARTS_IN_A_ROW)) % u64::from(self.shards);
            let shard = ShardId(u16::try_from(shard).unwrap_or_default());
            Flight {
                saga: SagaId::new(at, shard, scattered(self.begun)),
                done: 0,
            }
        }));
        let mut writes: BTreeMap<u16, Writes> = BTreeMap::new();
        for flight in &mut self.flights {
            let shard = flight.saga.shard().0;
            let position = self.positions.entry(shard).or_insert(EPOCH);
            *position += 1;
            let so_far = writes
                .remove(&shard)
                .unwrap_or_else(|| Writes::at(shard, EPOCH));
            writes.insert(shard, transition(so_far, flight, *position, at));
            flight.done += 1;
        }
        let before = self.flights.len();
        self.flights.retain(|flight| flight.done < TRANSITIONS);
        self.ended += (before - self.flights.len()) as u64;
        batch(u128::from(self.batches) + 1, writes.into_values())
    }

    /// How many sagas have ended with the batches so far.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended
    }
}

fn transition(writes: Writes, flight: &Flight, position: u64, at: Time) -> Writes {
    let step = u16::from(flight.done);
    match flight.done {
        0 => writes
            .start_with(position, flight.saga, None, payload_of(300))
            .and(scheduled(step, 300)),
        1 | 2 => writes.row(
            position,
            flight.saga,
            vec![ended(step - 1), scheduled(step, 200)],
        ),
        _ => {
            let completed = Fact::Completed {
                output: Payload::null(),
            };
            writes
                .row(position, flight.saga, vec![ended(step - 1), completed])
                .update(flight.saga, SagaState::Completed, None)
                .kept(at, KEPT)
        }
    }
}

fn scheduled(step: u16, bytes: usize) -> Fact {
    Fact::Scheduled {
        place: StepIndex(step).into(),
        operation: OperationKind::Forward,
        round: 0,
        input: payload_of(bytes),
    }
}

fn ended(step: u16) -> Fact {
    Fact::AttemptEnded(AttemptEnded {
        place: StepIndex(step).into(),
        operation: OperationKind::Forward,
        round: 0,
        attempt: 1,
        outcome: Outcome::Succeeded {
            output: payload_of(200),
        },
        verdict: None,
        instance: Some("0d5b3a6e-6a43-4a4f-9d8e-1f2f3b4c5d6e".into()),
        sent_at: Some(AT),
        retry_at: None,
    })
}

/// Numbers that look random, so that ids of one millisecond are in no order.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
}

const EPOCH: u64 = 1;
const TRANSITIONS: u8 = 4;
/// The language's default: every end brings its expiry.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
