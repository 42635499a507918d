//! The store refused the data of a batch: which input is it? The shards of the batch are decided alone, each with half as
//! many inputs after every refusal, until one input is left; that one is refused, and its neighbours commit.

use amends_core::{ShardId, Time};

use super::task::LaneTask;
use crate::telemetry;

/// What is left to be tried of a shard under suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    /// Inputs to decide at once.
    pub(super) inputs: usize,
    /// Inputs that may still hide the one.
    pub(super) left: usize,
}

impl Suspect {
    /// So many inputs were in the shard when its batch was refused, alone or with others.
    fn new(queued: usize, alone: bool) -> Self {
        let left = queued.max(1);
        Self {
            inputs: if alone { left.div_ceil(2) } else { left },
            left,
        }
    }

    /// What it tried was written. None if nothing is left to be tried.
    pub(super) fn cleared(self) -> Option<Self> {
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

impl LaneTask {
    /// The batch of these shards was refused, and they have been rolled back.
    pub(super) fn narrow(&mut self, shards: &[ShardId], message: &str) {
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
                telemetry::data_refused(*id, suspect.inputs, message);
                slot.suspect = Some(suspect);
                continue;
            }
            telemetry::input_refused(*id, message);
            let left = slot
                .suspect
                .map_or(0, |suspect| suspect.left.saturating_sub(1));
            slot.suspect = (left > 0).then_some(Suspect { inputs: left, left });
            if queued == 0 {
                // A batch without an input cannot be refused for its input's data: this shard cannot be served.
                self.lose(*id);
            } else {
                slot.shard.refuse_first(message);
            }
        }
    }

    /// A shard under suspicion that can be tried.
    pub(super) fn ready_suspect(&mut self, now: Time) -> Option<ShardId> {
        if self.suspects.is_empty() {
            return None;
        }
        let slots = &self.slots;
        self.suspects
            .retain(|id| slots.get(id).is_some_and(|slot| slot.suspect.is_some()));
        self.suspects
            .iter()
            .copied()
            .find(|id| self.slots.get(id).is_some_and(|slot| slot.is_ready(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_inputs_is_found_in_logarithmic_steps() {
        for poison in 0..100 {
            let (mut done, mut tries) = (0, 0);
            let mut suspect = Some(Suspect::new(100, true));
            let mut found = None;
            while let Some(current) = suspect {
                tries += 1;
                if (done..done + current.inputs).contains(&poison) {
                    if let Some(narrower) = current.halved() {
                        suspect = Some(narrower);
                    } else {
                        found = Some(done);
                        break;
                    }
                } else {
                    done += current.inputs;
                    suspect = current.cleared();
                }
            }
            assert_eq!(found, Some(poison));
            assert!(tries <= 110, "{tries}");
        }
    }

    #[test]
    fn a_shard_is_first_tried_whole_if_it_was_refused_with_others() {
        assert_eq!(Suspect::new(8, false), Suspect { inputs: 8, left: 8 });
        assert_eq!(Suspect::new(8, true), Suspect { inputs: 4, left: 8 });
        assert_eq!(Suspect::new(0, true), Suspect { inputs: 1, left: 1 });
    }
}
