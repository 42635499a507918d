//! Sagas that belong to sagas of other shards. The parent asks - for a revision, for a run, for an undoing - and asks again
//! until the answer is a fact of its own; what was asked is volatile. The child answers whenever it is asked, and when it
//! ends. A wish that was overtaken by its opposite changes nothing: a child that must not run any more is on record.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fact::{ChildOutcome, Parent};
use crate::id::SagaId;
use crate::limits::{
    ASLEEP_AFTER, CHILD_ASKED_AGAIN_AFTER, CHILD_ASKED_AT_REST_AFTER, CHILD_KEPT_MIN,
};
use crate::saga::{DueChild, Saga};
use crate::shard::entry::{InBatch, Moment, Slot};
use crate::shard::io::{ChildAnswer, ChildState, ChildWish, Output, Start, Want};
use crate::shard::machine::Shard;
use crate::time::Time;

/// What can be asked about a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Resolve,
    Run,
    Undo,
}

/// Names a question: the parent's step, item and round, and what is asked.
type AskName = (Arc<str>, u32, u32, Question);

/// When something was asked for the last time, and when it is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ask {
    again_at: Time,
}

/// What a saga asked about its children, and has no answer to yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asks(BTreeMap<AskName, Ask>);

impl Asks {
    /// When something is asked again.
    pub fn wake_at(&self) -> Option<Time> {
        self.0.values().map(|ask| ask.again_at).min()
    }

    /// Asks what the state asks for: at once, soon again, and then at times, so that a parent can leave memory meanwhile.
    pub fn reconcile(&mut self, due: Vec<DueChild>, now: Time, outputs: &mut Vec<Output>) {
        if due.is_empty() {
            return self.0.clear();
        }
        let mut asks = BTreeMap::new();
        for child in due {
            let name = name(&child);
            let known = self.0.remove(&name);
            let pause = match known {
                Some(ask) if ask.again_at > now => {
                    asks.insert(name, ask);
                    continue;
                }
                Some(_) => CHILD_ASKED_AT_REST_AFTER,
                None => CHILD_ASKED_AGAIN_AFTER,
            };
            let again_at = now + pause;
            asks.insert(name, Ask { again_at });
            outputs.push(match child {
                DueChild::Resolve(request) => Output::ResolveChild(request),
                DueChild::Ask(wish) => Output::AskChild(wish),
            });
        }
        self.0 = asks;
    }
}

fn name(child: &DueChild) -> AskName {
    let (parent, question) = match child {
        DueChild::Resolve(request) => (&request.parent, Question::Resolve),
        DueChild::Ask(wish) => match wish.want {
            Want::Run => (&wish.parent, Question::Run),
            Want::Undo { .. } => (&wish.parent, Question::Undo),
        },
    };
    (parent.step.clone(), parent.item, parent.round, question)
}

impl Shard {
    /// A parent wants something of its child, which is in memory, or does not exist.
    pub(super) fn child(&mut self, wish: &ChildWish, batch: &mut InBatch, at: Moment<'_>) {
        match self.sagas.get(&wish.child) {
            // It is parked in plain sight, and the parent asks again.
            None | Some(Slot::Loading(_) | Slot::Unreadable(_)) => {}
            Some(Slot::Absent) => match &wish.start.resolved {
                Some(start) => self.begin_child(wish, start, batch, at),
                // Nobody made a start of it: the parent asks again.
                None => {
                    self.sagas.remove(&wish.child);
                }
            },
            Some(Slot::Present(entry)) => {
                if !belongs_to(&entry.saga, wish) {
                    batch.outputs.push(refused(
                        &wish.parent,
                        "CHILD_ID_TAKEN",
                        "another saga has the id that the child would have",
                    ));
                    return;
                }
                batch.answers.insert(wish.child);
                self.touch(wish.child, batch);
                if let Want::Undo { code, message } = &wish.want {
                    self.on_saga(wish.child, batch, at, |decision| {
                        decision.undo(code, message)
                    });
                }
            }
        }
    }

    /// A child that does not exist begins: to run, or to be on record as undone before it did anything.
    fn begin_child(
        &mut self,
        wish: &ChildWish,
        start: &Start,
        batch: &mut InBatch,
        at: Moment<'_>,
    ) {
        let undone = match &wish.want {
            Want::Undo { code, message } => Some((code.as_str(), message.as_str())),
            Want::Run if self.key_of(start).is_some() => {
                Some(("KEY_TAKEN", "another saga has the child's key"))
            }
            Want::Run if self.limit_reached(start).is_some() => Some((
                "LIMIT_REACHED",
                "as many sagas of the child's definition run as may run at a time",
            )),
            Want::Run => None,
        };
        batch.answers.insert(wish.child);
        self.begin(start, undone, batch, at);
    }

    /// A child, or who looked for its definition, answers.
    pub(super) fn child_answered(
        &mut self,
        answer: &ChildAnswer,
        batch: &mut InBatch,
        at: Moment<'_>,
    ) {
        self.on_saga(answer.parent.saga, batch, at, |decision| {
            decision.child_answered(answer);
        });
    }

    /// The store refuses what a wish leads to. A child that could not begin never will; one that exists parks.
    pub(super) fn refuse_wish(&mut self, wish: &ChildWish, message: &str) -> Option<SagaId> {
        match self.sagas.get(&wish.child) {
            Some(Slot::Absent) => {
                self.sagas.remove(&wish.child);
                self.outputs
                    .push(refused(&wish.parent, "RECORD_REFUSED", message));
                None
            }
            Some(Slot::Present(_) | Slot::Loading(_) | Slot::Unreadable(_)) | None => {
                Some(wish.child)
            }
        }
    }
}

/// The saga is the child that its parent speaks of.
fn belongs_to(saga: &Saga, wish: &ChildWish) -> bool {
    let asks = &wish.parent;
    let same = |known: &Parent| {
        (known.saga, &known.step, known.item, known.round)
            == (asks.saga, &asks.step, asks.item, asks.round)
    };
    saga.started().namespace == wish.namespace && saga.parent().is_some_and(same)
}

fn refused(parent: &Parent, code: &str, message: &str) -> Output {
    Output::AnswerParent(Box::new(ChildAnswer {
        parent: parent.clone(),
        state: ChildState::Ended(ChildOutcome::Refused {
            code: code.into(),
            message: message.into(),
        }),
    }))
}

/// A parent that only waits for a child may leave memory: the pause between two questions is long enough.
const _: () = assert!(CHILD_ASKED_AT_REST_AFTER.as_secs() > ASLEEP_AFTER.as_secs());
/// Whatever was asked of a child finds it.
const _: () = assert!(CHILD_KEPT_MIN.as_secs() > CHILD_ASKED_AT_REST_AFTER.as_secs());
