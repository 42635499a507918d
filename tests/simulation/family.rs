//! Between parents and children: what a parent's shard asks finds its way to the owner of the child's shard, and the answer
//! back, or gets lost; the asking shard asks again. Follows `engine/orchestrator/src/children.rs`. Deliberately not here: what
//! parents and children decide (the core).

use amends_core::shard::{ChildAnswer, ChildRequest, ChildState, ChildWish, Input};
use amends_core::{SagaId, ShardId};
use amends_definitions::{Definition, Kind};

use crate::beginning::Beginning;
use crate::lane::Message;
use crate::marks::Mark;
use crate::node::Process;
use crate::world::{Event, World};

impl World {
    /// Finds the revision that a child is pinned to.
    pub fn resolve_child(&mut self, request: ChildRequest) {
        let asked = &request.requested;
        let document = self
            .documents
            .iter()
            .find(|document| document.definition.name() == asked.name);
        let parent = request.parent.clone();
        let refused = |code: &str, message: &str| ChildState::Refused {
            code: code.into(),
            message: message.into(),
        };
        let state = match document {
            None => refused("DEFINITION_NOT_FOUND", "there is none"),
            Some(document) => {
                let definition = crate::planted::definition(&document.definition, self.plant);
                let hash = definition.hash();
                let pivot = can_pass_point_of_no_return(&definition);
                let key = asked.key.clone();
                match Beginning::check(definition, key, asked.input.clone(), self.plan.shards) {
                    None => refused("INPUT_INVALID", "it does not fit"),
                    Some(_) if pivot && !request.may_have_pivot => {
                        self.marks.hit(Mark::ChildRefusedForItsPivot);
                        refused("CHILD_HAS_PIVOT", "it could not be undone")
                    }
                    Some(beginning) => {
                        let shard = beginning.home.unwrap_or_else(|| parent.saga.shard());
                        let (item, round) = (parent.item, parent.round);
                        ChildState::Pinned {
                            child: SagaId::child(parent.saga, &parent.step, item, round, shard),
                            revision: 1,
                            hash,
                        }
                    }
                }
            }
        };
        self.answer_parent(ChildAnswer { parent, state });
    }

    /// Tells a child's shard what its parent wants.
    pub fn ask_child(&mut self, mut wish: ChildWish) {
        let begin = &*wish.start;
        let document = self
            .documents
            .iter()
            .find(|document| document.definition.name() == &*begin.name);
        let Some(document) = document else {
            return;
        };
        let definition = crate::planted::definition(&document.definition, self.plant);
        let (key, input) = (begin.key.clone(), begin.input.clone());
        if let Some(beginning) = Beginning::check(definition, key, input, self.plan.shards) {
            let start = beginning.into_start(wish.child, Some(wish.parent.clone()));
            wish.start.resolved = Some(Box::new(start));
        }
        self.marks.hit(Mark::ChildAsked);
        self.post(wish.child.shard(), Message::Child(Box::new(wish)));
    }

    /// Tells a parent's shard where its child is.
    pub fn answer_parent(&mut self, answer: ChildAnswer) {
        let shard = answer.parent.saga.shard();
        let input = Input::ChildAnswered(Box::new(answer));
        self.post(shard, Message::Input(shard, input));
    }

    /// Sends a message to whoever owns a shard, or loses it.
    fn post(&mut self, shard: ShardId, message: Message) {
        if !self.calm() && self.dice.chance(50) {
            self.marks.hit(Mark::ChildMessageLost);
            return;
        }
        let delay = self.hop();
        self.after(delay, Event::ToOwner(shard, Box::new(message)));
    }

    /// It arrives at the owner of this time.
    pub fn reach_owner(&mut self, shard: ShardId, message: Message) {
        let Some(owner) = self.store.owner(shard) else {
            return;
        };
        let node = &mut self.nodes[owner];
        let lane = node.lane_of(shard);
        match node.process {
            Process::Down => {}
            Process::Paused => {
                let event = Event::Lane(owner, node.life, lane, Box::new(message));
                node.mailbox.push(event);
            }
            Process::Up => self.tell(owner, lane, message),
        }
    }

    /// In the calm somebody looks after what waits for people: signals that sagas wait for are sent, what was paused or is
    /// beyond its deadline is undone, and what keeps others from their turn is given up.
    pub fn look_after(&mut self) {
        let waiting: Vec<SagaId> = self
            .store
            .sagas()
            .filter(|saga| !saga.state.is_terminal())
            .map(|saga| saga.id)
            .collect();
        for saga in waiting {
            let Some(folded) = self.store.folded(saga) else {
                continue;
            };
            let awaits = folded.places().any(|place| {
                let phase = folded.place(place).forward.phase;
                matches!(phase, amends_core::saga::Phase::Awaiting { .. })
            });
            let held = folded
                .incidents()
                .iter()
                .any(amends_core::saga::OpenIncident::holds);
            let parked = !folded.incidents().is_empty();
            let awaited = folded.parent().is_some_and(|parent| {
                let state = self.store.state(parent.saga);
                state.is_some_and(|state| !state.is_terminal())
            });
            let turn = parked && (folded.needs_turn() || awaited);
            if awaits {
                self.signal(saga, "go");
                self.signal(saga, "more");
            }
            if held {
                self.order(saga, crate::history::Wish::Compensate);
                self.order(saga, crate::history::Wish::Resume);
            } else if turn {
                self.order(saga, crate::history::Wish::Terminate);
            }
        }
    }
}

/// A saga of it may come to where it cannot be undone.
fn can_pass_point_of_no_return(definition: &Definition) -> bool {
    let mut kinds = definition.steps().iter().map(|step| step.kind());
    kinds.any(|kind| kind != Kind::Compensatable)
}
