//! What a committer said of its batch, and what it means for each of the batch's shards.

use amends_core::ShardId;

use super::narrow::Suspect;
use super::task::LaneTask;
use super::{Resolution, Verdict};
use crate::status::Failure;
use crate::telemetry;

impl LaneTask {
    /// The batch that went this way has its verdict.
    pub(super) fn written(&mut self, way: usize, verdict: Verdict) {
        let shards = self.ways[way].arrived();
        self.touched.extend(&shards);
        match verdict {
            Verdict::Committed => shards.iter().for_each(|id| self.committed(*id)),
            Verdict::KeyTaken => {
                shards.iter().for_each(|id| self.roll_back(*id, None));
                // The key may be wanted twice within the batch, by starts with different homes: no look-up finds that.
                self.one_by_one.extend(&shards);
            }
            Verdict::Data(message) => {
                shards.iter().for_each(|id| self.roll_back(*id, None));
                self.suspects.extend(&shards);
                self.narrow(&shards, &message);
            }
            Verdict::Taken(lost) => {
                for id in shards {
                    if lost.contains(&id) {
                        self.lose(id);
                    } else {
                        self.roll_back(id, None);
                    }
                }
            }
            Verdict::Resolved(resolutions) => {
                for (id, resolution) in resolutions {
                    match resolution {
                        Resolution::Committed => self.committed(id),
                        Resolution::Retaken(epoch) => {
                            telemetry::shard_retaken(id, epoch);
                            self.node.registry.raise_epoch(id, epoch);
                            self.roll_back(id, Some(epoch));
                        }
                        Resolution::Lost => self.lose(id),
                    }
                }
            }
        }
    }

    fn committed(&mut self, id: ShardId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.shard.committed();
        }
        self.clear(id);
    }

    fn roll_back(&mut self, id: ShardId, retaken: Option<u64>) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.shard.rolled_back(retaken);
            self.look_up_again(id);
        }
    }

    /// What a suspect shard tried was not refused.
    pub(super) fn clear(&mut self, id: ShardId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.suspect = slot.suspect.and_then(Suspect::cleared);
        }
    }

    /// Another node owns the shard: nothing of it leaves any more, and this node does not fight for it.
    pub(super) fn lose(&mut self, id: ShardId) {
        telemetry::shard_lost(id);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.shard.depose();
            let now = self.node.clock.now();
            slot.open(now);
            self.touched.insert(id);
        }
        self.node.open_shards.close(id);
        self.node.registry.forget_shard(id);
        self.node.status.fail(Failure::ShardLost(id));
    }
}
