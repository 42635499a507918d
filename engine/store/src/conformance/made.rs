//! What the checks write: sagas, rows and batches, made up, but of the form that a shard writes.

use std::sync::Arc;
use std::time::Duration;

use amends_core::fact::{IncidentReason, Started};
use amends_core::journal::{
    IncidentInsert, IncidentName, JournalRow, KeyInsert, SagaInsert, SagaState, SagaUpdate,
    ShardBatch, Turn,
};
use amends_core::key::{Hash128, hash_128};
use amends_core::{Fact, OperationKind, SagaId, ShardId, Time};
use amends_definitions::{DefinitionHash, Payload, StepIndex};
use bytes::Bytes;
use uuid::Uuid;

use crate::{AppendError, Batch, Cause, KeyLookup, Lane, Takeover};

use super::Outcome;

pub(super) const NAMESPACE: &str = "default";
pub(super) const DEFINITION: &str = "place-order";
pub(super) const AT: Time = Time::from_micros(1_763_712_000_123_456);

/// The `n`th saga of a shard; ids rise with `n`.
pub(super) fn saga(shard: u16, n: u32) -> SagaId {
    let millis = Duration::from_millis(u64::from(n));
    SagaId::new(AT + millis, ShardId(shard), u64::from(n))
}

/// What one shard writes, built row by row.
#[derive(Clone)]
pub(super) struct Writes(ShardBatch);

impl Writes {
    pub(super) fn at(shard: u16, epoch: u64) -> Self {
        let (rows, inserts, updates, keys) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self(ShardBatch {
            shard: ShardId(shard),
            epoch,
            rows,
            inserts,
            updates,
            keys,
            incidents_opened: vec![],
            incidents_closed: vec![],
        })
    }

    pub(super) fn start(self, position: u64, saga: SagaId) -> Self {
        self.start_with(position, saga, None, Payload::empty_object())
    }

    pub(super) fn start_keyed(self, position: u64, saga: SagaId, key: &str) -> Self {
        self.start_with(position, saga, Some(key), Payload::empty_object())
    }

    pub(super) fn start_with(
        mut self,
        position: u64,
        saga: SagaId,
        key: Option<&str>,
        input: Payload,
    ) -> Self {
        let insert = insert(saga, key);
        let started = Fact::Started(Started {
            namespace: Arc::clone(&insert.namespace),
            definition: Arc::clone(&insert.definition),
            revision: insert.revision,
            hash: insert.hash,
            key: insert.key.clone(),
            input,
            ordering_key: None,
            concurrency_max: None,
            parent: None,
            traceparent: None,
            tracestate: None,
        });
        self.0.keys.extend(key.map(|key| key_insert(saga, key)));
        self.0.inserts.push(insert);
        self.row(position, saga, vec![started])
    }

    pub(super) fn step(self, position: u64, saga: SagaId) -> Self {
        self.row(position, saga, vec![Fact::Skipped { step: StepIndex(0) }])
    }

    pub(super) fn row(mut self, position: u64, saga: SagaId, facts: Vec<Fact>) -> Self {
        self.0.rows.push(JournalRow {
            position,
            saga,
            at: AT,
            facts,
        });
        self
    }

    /// One more fact of the last row.
    pub(super) fn and(mut self, fact: Fact) -> Self {
        for row in self.0.rows.iter_mut().rev().take(1) {
            row.facts.push(fact.clone());
        }
        self
    }

    pub(super) fn update(mut self, saga: SagaId, state: SagaState, wake_at: Option<Time>) -> Self {
        let ended_at = state.is_terminal().then_some(AT);
        self.0.updates.push(SagaUpdate {
            id: saga,
            state,
            turn_granted: true,
            wake_at,
            updated_at: AT,
            ended_at,
            expires_at: None,
        });
        self
    }

    /// A saga that waits for a turn, or holds one.
    pub(super) fn start_in_turn(self, saga: SagaId, turn: Turn) -> Self {
        let mut writes = self.start(turn.position, saga);
        for insert in writes
            .0
            .inserts
            .iter_mut()
            .filter(|insert| insert.id == saga)
        {
            insert.turn = Some(turn);
        }
        writes
    }

    pub(super) fn start_child(self, position: u64, saga: SagaId, parent: SagaId) -> Self {
        let mut writes = self.start(position, saga);
        for insert in writes
            .0
            .inserts
            .iter_mut()
            .filter(|insert| insert.id == saga)
        {
            insert.parent = Some(parent);
        }
        writes
    }

    /// The end of a saga, and how long it is kept from then on.
    pub(super) fn end(self, position: u64, saga: SagaId, at: Time, kept: Duration) -> Self {
        self.step(position, saga)
            .update(saga, SagaState::Completed, None)
            .kept(at, kept)
    }

    /// The last update is an end at this time, and the saga is kept for so long from then on.
    pub(super) fn kept(mut self, at: Time, kept: Duration) -> Self {
        for update in self.0.updates.iter_mut().rev().take(1) {
            (update.ended_at, update.expires_at) = (Some(at), Some(at + kept));
        }
        self
    }

    /// The last update's turn has not come.
    pub(super) fn without_turn(mut self) -> Self {
        for update in self.0.updates.iter_mut().rev().take(1) {
            update.turn_granted = false;
        }
        self
    }

    pub(super) fn open(mut self, incident: IncidentInsert) -> Self {
        self.0.incidents_opened.push(incident);
        self
    }

    pub(super) fn close(mut self, saga: SagaId, number: u32) -> Self {
        self.0.incidents_closed.push(IncidentName { saga, number });
        self
    }

    /// Lets every saga that begins here be pinned to this revision.
    pub(super) fn revision(mut self, revision: u32) -> Self {
        for insert in &mut self.0.inserts {
            insert.revision = revision;
        }
        self
    }

    /// Lets every saga that begins here belong to this tenant and definition.
    pub(super) fn of(mut self, namespace: &str, definition: &str) -> Self {
        for insert in &mut self.0.inserts {
            (insert.namespace, insert.definition) = (namespace.into(), definition.into());
        }
        for key in &mut self.0.keys {
            (key.namespace, key.definition) = (namespace.into(), definition.into());
        }
        self
    }

    pub(super) fn shard_batch(&self) -> &ShardBatch {
        &self.0
    }
}

pub(super) fn insert(saga: SagaId, key: Option<&str>) -> SagaInsert {
    SagaInsert {
        id: saga,
        namespace: NAMESPACE.into(),
        definition: DEFINITION.into(),
        revision: 3,
        hash: DefinitionHash([7; 32]),
        key: key.map(Into::into),
        turn: None,
        parent: None,
        state: SagaState::Running,
        wake_at: None,
        started_at: AT,
        updated_at: AT,
        ended_at: None,
        expires_at: None,
    }
}

/// A saga's `number`th incident, `seconds` after [`AT`].
pub(super) fn incident(saga: SagaId, number: u32, seconds: u64) -> IncidentInsert {
    IncidentInsert {
        name: IncidentName { saga, number },
        namespace: NAMESPACE.into(),
        definition: DEFINITION.into(),
        revision: 3,
        step: Some("charge".into()),
        item: 0,
        operation: Some(OperationKind::Forward),
        reason: IncidentReason::StepRefused,
        code: Some("CARD_DECLINED".into()),
        message: "the bank says no".into(),
        opened_at: AT + Duration::from_secs(seconds),
    }
}

fn key_insert(saga: SagaId, key: &str) -> KeyInsert {
    KeyInsert {
        namespace: NAMESPACE.into(),
        definition: DEFINITION.into(),
        key_hash: hash_128(key.as_bytes()),
        saga,
        input_hash: input_hash(),
    }
}

pub(super) fn input_hash() -> Hash128 {
    hash_128(b"{}")
}

pub(super) fn key(namespace: &str, definition: &str, key: &str) -> KeyLookup {
    KeyLookup {
        namespace: namespace.into(),
        definition: definition.into(),
        key_hash: hash_128(key.as_bytes()),
    }
}

pub(super) fn batch(id: u128, writes: impl IntoIterator<Item = Writes>) -> Batch {
    Batch {
        id: Uuid::from_u128(id),
        shards: writes.into_iter().map(|writes| writes.0).collect(),
    }
}

pub(super) fn takeover(shard: u16, position: u64, id: u128) -> Takeover {
    Takeover {
        shard: ShardId(shard),
        position,
        batch: Uuid::from_u128(id),
        node: "node-1".into(),
        at: AT,
    }
}

/// Numbers that look random and are the same in each run (xorshift64).
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A JSON text of so many bytes.
pub(super) fn payload_of(bytes: usize) -> Payload {
    let text = format!("\"{}\"", "x".repeat(bytes.saturating_sub(2)));
    Payload::trusted(Bytes::from(text))
}

pub(super) async fn tails(lane: &mut dyn Lane, shards: &[u16]) -> Result<Vec<u64>, crate::Error> {
    let shards: Vec<ShardId> = shards.iter().map(|shard| ShardId(*shard)).collect();
    lane.tails(&shards).await
}

/// The write failed because exactly these shards are lost.
pub(super) fn lost(outcome: Result<(), AppendError>, shards: &[u16]) -> Outcome {
    let expected: Vec<ShardId> = shards.iter().map(|shard| ShardId(*shard)).collect();
    match outcome {
        Err(AppendError::PositionTaken(mut taken)) => {
            taken.sort_unstable();
            super::same(&taken, &expected, "the shards that are lost")
        }
        other => Err(unexpected("PositionTaken", &other)),
    }
}

pub(super) fn unexpected(expected: &str, got: &dyn std::fmt::Debug) -> Cause {
    format!("{expected} was expected, and it is {got:?}").into()
}
