//! The store refused the data of a batch: which input is it? A sketch of `engine/orchestrator/src/lane/narrow.rs`.

use amends_core::{ShardId, Time};

use crate::lane::{Around, Lane};
use crate::marks::Mark;

/// What is left to be tried of a shard under suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Inputs to decide at once.
    pub inputs: usize,
    /// Inputs that may still hide the one.
    left: usize,
}

impl Suspect {
    fn new(queued: usize, alone: bool) -> Self {
        let left = queued.max(1);
        Self {
            inputs: if alone { left.div_ceil(2) } else { left },
            left,
        }
    }

    /// What it tried was written. None if nothing is left to be tried.
    pub fn cleared(self) -> Option<Self> {
        let left = self.left.saturating_sub(self.inputs);
        (left > 0).then_some(Self {
            inputs: self.inputs.min(left),
            left,
        })
    }

    /// What it tried was refused. None if that was a single input: it is the one.
    fn halved(self) -> Option<Self> {
        (self.inputs > 1).then_some(Self {
            inputs: self.inputs / 2,
            left: self.left,
        })
    }
}

impl Lane {
    /// The batch of these shards was refused, and they have been rolled back.
    pub fn narrow(&mut self, shards: &[ShardId], around: &mut Around<'_>) {
        let mut unservable = Vec::new();
        for id in shards {
            let Some(slot) = self.slots.get_mut(id) else {
                continue;
            };
            let queued = slot.shard.queued();
            let narrower = match slot.suspect {
                None => Some(Suspect::new(queued, shards.len() == 1)),
                Some(suspect) => suspect.halved(),
            };
            if let Some(suspect) = narrower {
                slot.suspect = Some(suspect);
                continue;
            }
            let left = slot
                .suspect
                .map_or(0, |suspect| suspect.left.saturating_sub(1));
            slot.suspect = (left > 0).then_some(Suspect { inputs: left, left });
            if queued == 0 {
                unservable.push(*id);
            } else {
                around.marks.hit(Mark::StoreInputFoundByHalving);
                slot.shard.refuse_first("the model of the store refuses it");
            }
        }
        for id in unservable {
            self.lose(id, around);
        }
    }

    /// A shard under suspicion that can be tried.
    pub fn ready_suspect(&mut self, now: Time) -> Option<ShardId> {
        let slots = &self.slots;
        self.suspects
            .retain(|id| slots.get(id).is_some_and(|slot| slot.suspect.is_some()));
        self.suspects
            .iter()
            .copied()
            .find(|id| slots.get(id).is_some_and(|slot| slot.can_decide(now)))
    }
}
