//! Who has the key of a start: asked in batches before starts are decided, and again after a batch was rolled back. The
//! unique index is the backstop, not the detector.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amends_core::shard::{Existing, Start};
use amends_core::{SagaId, ShardId, Time};
use amends_store::{Error, KeyFound, KeyLookup};
use tokio::task::JoinSet;

use super::route::Waiter;
use super::task::LaneTask;
use super::{Message, StartOrder};
use crate::backoff::Backoff;
use crate::limits::{LOADS_AT_ONCE_MAX, LOOKUP_KEYS_MAX};
use crate::node::Node;
use crate::telemetry;

/// What to ask for a start; nothing if it has no key.
pub(super) fn question(start: &Start) -> Option<(SagaId, KeyLookup)> {
    let key = start.key?;
    let (namespace, definition) = (
        start.started.namespace.clone(),
        start.started.definition.clone(),
    );
    Some((
        start.id,
        KeyLookup {
            namespace,
            definition,
            key_hash: key.key_hash,
        },
    ))
}

impl LaneTask {
    /// Asks for the keys that gathered while the question before was under way.
    pub(super) fn look_up_starts(&mut self) {
        if self.looking_up || self.unlooked.is_empty() {
            return;
        }
        self.looking_up = true;
        let count = self.unlooked.len().min(LOOKUP_KEYS_MAX);
        let starts: Vec<StartOrder> = self.unlooked.drain(..count).collect();
        let (node, lane) = (self.node.clone(), self.lane);
        self.node.tasks.spawn(async move {
            let keys: Vec<KeyLookup> = starts
                .iter()
                .filter_map(|order| question(&order.start))
                .map(|(_, key)| key)
                .collect();
            let found = match find(&node, &keys).await {
                Ok(found) => Some(found),
                Err(error) => {
                    telemetry::store_failed("look up keys", &error);
                    None
                }
            };
            node.lanes
                .send_to(lane, Message::LookedUp { starts, found });
        });
    }

    pub(super) fn looked_up(
        &mut self,
        starts: Vec<StartOrder>,
        found: Option<Vec<Option<Existing>>>,
        now: Time,
    ) {
        self.looking_up = false;
        let Some(found) = found else {
            for order in starts {
                let refused = Err(amends_core::shard::StartRefusal::Unavailable);
                // Whoever asked may have gone.
                let _ = order.waiting.reply.send(refused);
            }
            return;
        };
        for (mut order, existing) in starts.into_iter().zip(found) {
            order.start.existing = existing;
            self.start(order, now);
        }
    }

    /// Asks again for the keys of a shard's starts, after its batch was rolled back; it decides nothing until then.
    pub(super) fn look_up_again(&mut self, shard: ShardId) {
        let questions: Vec<(SagaId, KeyLookup)> = (self.waiters.values())
            .filter_map(|waiter| match waiter {
                Waiter::Start {
                    looked_up: Some((saga, key)),
                    ..
                } if saga.shard() == shard => Some((*saga, key.clone())),
                _ => None,
            })
            .collect();
        let Some(slot) = self.slots.get_mut(&shard) else {
            return;
        };
        if questions.is_empty() {
            return;
        }
        slot.looking_up = true;
        let node = self.node.clone();
        self.node.tasks.spawn(async move {
            let (sagas, keys): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
            let mut backoff = Backoff::new();
            loop {
                match find(&node, &keys).await {
                    Ok(found) => {
                        let found: BTreeMap<_, _> = sagas
                            .into_iter()
                            .zip(found)
                            .filter_map(|(saga, found)| Some((saga, found?)))
                            .collect();
                        node.lanes
                            .send(shard, Message::LookedUpAgain { shard, found });
                        return;
                    }
                    Err(error) => telemetry::store_failed("look up keys again", &error),
                }
                if node
                    .stop
                    .run_until_cancelled(backoff.wait())
                    .await
                    .is_none()
                {
                    return;
                }
            }
        });
    }

    pub(super) fn looked_up_again(&mut self, shard: ShardId, found: &BTreeMap<SagaId, Existing>) {
        let Some(slot) = self.slots.get_mut(&shard) else {
            return;
        };
        slot.looking_up = false;
        for start in slot.shard.starts_to_look_up() {
            start.existing = found.get(&start.id).copied();
        }
        self.touch(shard);
    }
}

/// Who has these keys, with the revisions that they are pinned to.
async fn find(node: &Arc<Node>, keys: &[KeyLookup]) -> Result<Vec<Option<Existing>>, Error> {
    let found = node.store.lookup_keys(keys).await?;
    // Many starts with one key at once are the usual case of a key that exists.
    let sagas: BTreeSet<SagaId> = found.iter().flatten().map(|found| found.saga).collect();
    let sagas: Vec<SagaId> = sagas.into_iter().collect();
    let mut revisions = BTreeMap::new();
    // One after the other, a client that repeats a thousand starts would hold up everybody else's.
    for sagas in sagas.chunks(LOADS_AT_ONCE_MAX) {
        let mut reads = JoinSet::new();
        for saga in sagas.iter().copied() {
            let node = node.clone();
            reads.spawn(async move { (saga, node.store.history(saga, 1, 1).await) });
        }
        for (saga, history) in reads.join_all().await {
            revisions.insert(saga, history?.map_or(0, |history| history.saga.revision));
        }
    }
    let existing = |found: KeyFound| Existing {
        saga: found.saga,
        input_hash: found.input_hash,
        revision: revisions.get(&found.saga).copied().unwrap_or(0),
    };
    Ok(found.into_iter().map(|found| found.map(existing)).collect())
}
