//! Who has the key of a start: asked in batches before starts are decided, and again after a batch was rolled back. The
//! unique index is the backstop, not the detector.

use std::collections::BTreeMap;

use amends_core::shard::{ChildWish, Existing, Input, Start, Want};
use amends_core::{SagaId, ShardId, Time};
use amends_store::{Error, KeyFound, KeyLookup};

use super::task::LaneTask;
use super::{Keyed, Message};
use crate::backoff::Backoff;
use crate::limits::LOOKUP_KEYS_MAX;
use crate::node::Node;
use crate::{children, telemetry};

/// The keyed start that a wish may lead to.
pub(super) fn keyed(wish: &ChildWish) -> Option<&Start> {
    let start = wish.start.resolved.as_deref()?;
    (wish.want == Want::Run && start.key.is_some()).then_some(start)
}

/// What to ask for a start; nothing if it has no key.
fn question(start: &Start) -> Option<KeyLookup> {
    Some(KeyLookup {
        namespace: start.started.namespace.clone(),
        definition: start.started.definition.clone(),
        key_hash: start.key?.key_hash,
    })
}

impl LaneTask {
    /// Asks for the keys that gathered while the question before was under way.
    pub(super) fn look_up_starts(&mut self) {
        if self.looking_up || self.unlooked.is_empty() {
            return;
        }
        self.looking_up = true;
        let count = self.unlooked.len().min(LOOKUP_KEYS_MAX);
        let starts: Vec<Keyed> = self.unlooked.drain(..count).collect();
        let (node, lane) = (self.node.clone(), self.lane);
        self.node.tasks.spawn(async move {
            let keys: Vec<KeyLookup> = starts
                .iter()
                .filter_map(|keyed_start| match keyed_start {
                    Keyed::Start(order) => question(&order.start),
                    Keyed::Child(wish) => keyed(wish).and_then(question),
                })
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
        starts: Vec<Keyed>,
        found: Option<Vec<Option<Existing>>>,
        now: Time,
    ) {
        self.looking_up = false;
        let Some(found) = found else {
            for keyed_start in starts {
                match keyed_start {
                    // Whoever asked is told as much.
                    Keyed::Start(order) => drop(order),
                    Keyed::Child(wish) => children::ask_again(&self.node, wish),
                }
            }
            return;
        };
        for (keyed_start, existing) in starts.into_iter().zip(found) {
            match keyed_start {
                Keyed::Start(mut order) => {
                    order.start.existing = existing;
                    self.start(order, now);
                }
                Keyed::Child(mut wish) => {
                    if let Some(start) = &mut wish.start.resolved {
                        start.existing = existing;
                    }
                    self.input(wish.child.shard(), Input::Child(wish), now);
                }
            }
        }
    }

    /// Asks again for the keys of a shard's starts, after its batch was rolled back; it decides nothing until then.
    pub(super) fn look_up_again(&mut self, shard: ShardId) {
        let Some(slot) = self.slots.get_mut(&shard) else {
            return;
        };
        let unlooked = slot.shard.unlooked_starts().into_iter();
        let questions: Vec<(SagaId, KeyLookup)> = unlooked
            .filter_map(|start| Some((start.id, question(start)?)))
            .collect();
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

/// Who has these keys. The store tells the revisions with them: asked for apart, a saga that expires in between would be
/// found, and its revision would not.
async fn find(node: &Node, keys: &[KeyLookup]) -> Result<Vec<Option<Existing>>, Error> {
    let found = node.store.lookup_keys(keys).await?;
    let existing = |found: KeyFound| Existing {
        saga: found.saga,
        input_hash: found.input_hash,
        revision: found.revision,
    };
    Ok(found.into_iter().map(|found| found.map(existing)).collect())
}
