//! Sagas begin: those that clients start, and those that parents ask for.

use std::sync::Arc;

use amends_definitions::{Definition, OnLimit};

use crate::fact::{Fact, Started};
use crate::id::SagaId;
use crate::journal::{JournalRow, KeyInsert};
use crate::saga::Saga;
use crate::saga::decide::{self, Decision};
use crate::shard::entry::{Entry, InBatch, KeyName, Moment, Queued, Slot};
use crate::shard::io::{Existing, Input, Output, Start, StartAnswer, StartRefusal, Token, Want};
use crate::shard::machine::Shard;
use crate::shard::turns::Held;

impl Shard {
    pub(super) fn start(
        &mut self,
        token: Token,
        request: &Start,
        batch: &mut InBatch,
        at: Moment<'_>,
    ) {
        let result = match self.key_of(request) {
            Some(existing) => answer_existing(request, existing),
            None => match self.limit_reached(request) {
                Some(max) => Err(StartRefusal::LimitReached { max }),
                None => {
                    self.begin(request, None, batch, at);
                    Ok(StartAnswer {
                        saga: request.id,
                        created: true,
                        revision: request.started.revision,
                    })
                }
            },
        };
        batch.outputs.push(Output::Started { token, result });
    }

    /// Who has the key of a start.
    pub(super) fn key_of(&self, request: &Start) -> Option<Existing> {
        let name = key_name(request)?;
        request.existing.or_else(|| self.keys.get(&name).copied())
    }

    /// One more saga of this definition would have to wait, and the definition says not to.
    pub(super) fn limit_reached(&self, request: &Start) -> Option<u32> {
        let started = &request.started;
        let max = started.concurrency_max?;
        let rejects = request
            .definition
            .concurrency()
            .is_some_and(|concurrency| concurrency.on_limit == OnLimit::Reject);
        let group = (started.namespace.clone(), started.definition.clone());
        (rejects && self.turns.is_full(&group, max)).then_some(max)
    }

    /// Records a start. With a code and words, the saga is undone before it did anything; then it takes no key and no turn.
    pub(super) fn begin(
        &mut self,
        request: &Start,
        undone: Option<(&str, &str)>,
        batch: &mut InBatch,
        at: Moment<'_>,
    ) {
        let (id, started) = (request.id, &request.started);
        self.touch_new(id, batch);
        let position = self.next_position;
        let (definition, started) = (request.definition.clone(), started.clone());
        let (saga, facts) = match undone {
            Some(why) => start_undone((id, position), definition, started, at, why),
            None => {
                self.take_key(request, batch);
                let granted = self.enter(id, &started, position, batch);
                decide::start(id, definition, started, at.now, at.surroundings, granted)
            }
        };
        debug_assert_eq!(crate::invariants::check(&saga), Ok(()));
        let needs_turn = saga.needs_turn();
        self.put_slot(id, Slot::Present(Box::new(Entry::new(saga, position))));
        self.push_row(id, facts, at.now, batch);
        if needs_turn {
            self.follow_turn(id, batch);
        }
    }

    /// Puts a saga that begins behind those that wait; true if it need not wait.
    fn enter(&mut self, id: SagaId, started: &Started, position: u64, batch: &mut InBatch) -> bool {
        let Some(held) = Held::of(started, position, false) else {
            return true;
        };
        self.set_turn(id, Some(held), batch);
        self.turns.may_begin(id)
    }

    fn take_key(&mut self, request: &Start, batch: &mut InBatch) {
        let (Some(name), Some(key)) = (key_name(request), request.key) else {
            return;
        };
        let started = &request.started;
        let existing = Existing {
            saga: request.id,
            input_hash: key.input_hash,
            revision: started.revision,
        };
        batch.keys.push(KeyInsert {
            namespace: started.namespace.clone(),
            definition: started.definition.clone(),
            key_hash: key.key_hash,
            saga: request.id,
            input_hash: key.input_hash,
        });
        self.keys.insert(name.clone(), existing);
        batch.key_names.push(name);
    }
}

/// A saga that begins and is undone in one row, without a step: it is on record, and never ran.
fn start_undone(
    (id, position): (SagaId, u64),
    definition: Arc<Definition>,
    started: Started,
    at: Moment<'_>,
    (code, message): (&str, &str),
) -> (Saga, Vec<Fact>) {
    let mut row = JournalRow {
        position,
        saga: id,
        at: at.now,
        facts: vec![Fact::Started(started)],
    };
    let mut saga = Saga::replay(id, definition, std::slice::from_ref(&row))
        .expect("a start alone is a history");
    let mut decision = Decision::new(&mut saga, at.now, at.surroundings);
    decision.undo(code, message);
    row.facts.extend(decision.into_facts());
    (saga, row.facts)
}

fn key_name(request: &Start) -> Option<KeyName> {
    let started = &request.started;
    let key = request.key?;
    Some((
        started.namespace.clone(),
        started.definition.clone(),
        key.key_hash,
    ))
}

fn answer_existing(request: &Start, existing: Existing) -> Result<StartAnswer, StartRefusal> {
    if request
        .key
        .is_some_and(|key| key.input_hash == existing.input_hash)
    {
        Ok(StartAnswer {
            saga: existing.saga,
            created: false,
            revision: existing.revision,
        })
    } else {
        Err(StartRefusal::KeyReused {
            saga: existing.saga,
        })
    }
}

/// The start that an input may lead to, if its key has to be looked up in the store.
pub(super) fn keyed_start(queued: &mut Queued) -> Option<(&mut Start, &mut bool)> {
    let Queued::Input { input, looked_up } = queued else {
        return None;
    };
    let start = match input {
        Input::Start { start, .. } => &mut **start,
        Input::Child(wish) if wish.want == Want::Run => wish.start.resolved.as_deref_mut()?,
        Input::Child(_)
        | Input::ChildAnswered(_)
        | Input::Outcome { .. }
        | Input::Sent { .. }
        | Input::Withdrawn { .. }
        | Input::Heartbeat { .. }
        | Input::Signal { .. }
        | Input::Order { .. }
        | Input::Cancel { .. }
        | Input::Loaded { .. } => return None,
    };
    start.key.is_some().then_some((start, looked_up))
}
