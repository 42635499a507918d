//! A node's dispatcher: what waits for a participant, what was sent to whom. A sketch of
//! `engine/orchestrator/src/dispatch/{book,attaching}.rs`: the same promises about *sent*, *withdrawn* and *sent again*,
//! without the fairness.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use amends_core::id::{AttemptName, OperationName};
use amends_core::shard::Command;
use amends_core::{OperationKey, SagaId, ShardId, Time};

/// What has to be told once the book is in order.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Commands that leave: to whom, on which session, and whether an earlier session carried them.
    pub commands: Vec<(usize, u64, Arc<Command>)>,
    pub sent: Vec<AttemptName>,
    pub withdrawn: Vec<AttemptName>,
    /// Attempts of which nobody will tell.
    pub lost: Vec<AttemptName>,
}

/// What one node knows of the participants, and what it has for them.
#[derive(Debug, Default)]
pub struct Book {
    queued: BTreeMap<AttemptName, (u64, Box<Command>)>,
    sent: BTreeMap<AttemptName, (Arc<Command>, usize, Time)>,
    instances: BTreeMap<usize, Instance>,
    places: u64,
    /// The world's time, as those say who hand something in.
    pub now: Time,
}

#[derive(Debug, Default)]
struct Instance {
    session: u64,
    live: bool,
    /// Commands that it has room for, as it has said.
    credit: usize,
    resend: VecDeque<AttemptName>,
    held: BTreeSet<AttemptName>,
}

/// Names an attempt as the core does.
pub fn name_of(key: &OperationKey, attempt: u32) -> AttemptName {
    AttemptName {
        saga: key.saga,
        name: OperationName {
            step: key.step.clone(),
            item: key.item,
            round: key.round,
            operation: key.operation,
        },
        attempt,
    }
}

impl Book {
    /// A command to be sent; `to` serves its action.
    pub fn send(&mut self, command: Box<Command>, to: usize, outbox: &mut Outbox) {
        let name = name_of(&command.key, command.attempt);
        if self.sent.contains_key(&name) || self.queued.contains_key(&name) {
            return;
        }
        let mut first = name.clone();
        first.attempt = 0;
        let older: Vec<AttemptName> = self
            .sent
            .range(first..name.clone())
            .map(|(older, _)| older.clone())
            .collect();
        for older in older {
            self.sent.remove(&older);
        }
        let holds = self.instances.get(&to);
        if holds.is_some_and(|instance| instance.held.contains(&name)) {
            outbox.sent.push(name.clone());
            self.sent.insert(name, (command.into(), to, self.now));
            return;
        }
        self.places += 1;
        self.queued.insert(name, (self.places, command));
    }

    /// A command whose result no longer matters.
    pub fn withdraw(&mut self, name: &AttemptName, forgets: bool, outbox: &mut Outbox) {
        let forgotten = forgets && self.sent.remove(name).is_some();
        if forgotten || self.queued.remove(name).is_some() {
            outbox.withdrawn.push(name.clone());
        } else {
            self.sent.remove(name);
        }
    }

    pub fn forget_saga(&mut self, saga: SagaId) {
        self.queued.retain(|name, _| name.saga != saga);
        self.sent.retain(|name, _| name.saga != saga);
    }

    pub fn forget_shard(&mut self, shard: ShardId) {
        self.queued.retain(|name, _| name.saga.shard() != shard);
        self.sent.retain(|name, _| name.saga.shard() != shard);
    }

    /// What waits or is sent again carries the owner's new epoch.
    pub fn raise_epoch(&mut self, shard: ShardId, epoch: u64) {
        for (name, (_, command)) in &mut self.queued {
            if name.saga.shard() == shard {
                command.epoch = epoch;
            }
        }
        for (name, (command, ..)) in &mut self.sent {
            if name.saga.shard() == shard {
                Arc::make_mut(command).epoch = epoch;
            }
        }
    }

    /// An outcome arrived.
    pub fn reported(&mut self, name: &AttemptName) {
        self.sent.remove(name);
        self.queued.remove(name);
        for instance in self.instances.values_mut() {
            instance.held.remove(name);
        }
    }

    /// Everything that waits and has somewhere to go goes. `serves` tells who takes an action.
    pub fn dispatch(&mut self, serves: impl Fn(&Command) -> Option<usize>, outbox: &mut Outbox) {
        let ids: Vec<usize> = self.instances.keys().copied().collect();
        for id in ids {
            self.resend(id, outbox);
        }
        let mut waiting: Vec<(u64, AttemptName)> = self
            .queued
            .iter()
            .map(|(name, (place, _))| (*place, name.clone()))
            .collect();
        waiting.sort_unstable();
        for (_, name) in waiting {
            let to = self
                .queued
                .get(&name)
                .and_then(|(_, command)| serves(command));
            let Some(to) = to.filter(|to| self.has_room(*to)) else {
                continue;
            };
            let Some(instance) = self.instances.get_mut(&to) else {
                continue;
            };
            if let Some((_, command)) = self.queued.remove(&name) {
                let session = instance.session;
                instance.credit -= 1;
                let command: Arc<Command> = command.into();
                outbox.sent.push(name.clone());
                outbox.commands.push((to, session, Arc::clone(&command)));
                self.sent.insert(name, (command, to, self.now));
            }
        }
    }

    fn resend(&mut self, id: usize, outbox: &mut Outbox) {
        let Some(instance) = self.instances.get_mut(&id).filter(|instance| instance.live) else {
            return;
        };
        while instance.credit > 0
            && let Some(name) = instance.resend.pop_front()
        {
            // It may have been reported, or its saga may have ended, meanwhile. And its time runs from its first sending:
            // what is over by now may have been decided already, and what is not has what is left.
            if let Some((command, _, first)) = self.sent.get(&name)
                && self.now.since(*first) < command.timeout
            {
                let again = Command {
                    resent: true,
                    timeout: command.timeout - self.now.since(*first),
                    ..Command::clone(command)
                };
                instance.credit -= 1;
                outbox.sent.push(name);
                outbox.commands.push((id, instance.session, again.into()));
            }
        }
    }

    fn has_room(&self, to: usize) -> bool {
        let instance = self.instances.get(&to);
        instance.is_some_and(|it| it.live && it.credit > 0 && it.resend.is_empty())
    }

    /// A participant has more room. False if it said so on a stream that is over.
    pub fn credit(&mut self, id: usize, session: u64, commands: usize) -> bool {
        let instance = self.instances.get_mut(&id);
        let Some(instance) = instance.filter(|instance| instance.session == session) else {
            return false;
        };
        instance.credit += commands;
        true
    }

    /// Something waits for a participant that is there and has no room.
    pub fn waits_for_credit(&self) -> bool {
        let mut waiting = self.queued.values();
        waiting.any(|(_, command)| {
            let to = crate::node::participant_of(&command.action);
            let instance = to.and_then(|to| self.instances.get(&to));
            instance.is_some_and(|instance| instance.live && instance.credit == 0)
        })
    }

    /// A participant attaches, maybe again, and says how much room it has and what it has in hand.
    pub fn attach(
        &mut self,
        id: usize,
        (session, credit): (u64, usize),
        in_hand: BTreeSet<AttemptName>,
        outbox: &mut Outbox,
    ) {
        let missing: Vec<AttemptName> = self
            .sent
            .iter()
            .filter(|(name, (_, by, _))| *by == id && !in_hand.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &in_hand {
            if let Some((_, command)) = self.queued.remove(name) {
                outbox.sent.push(name.clone());
                self.sent
                    .insert(name.clone(), (command.into(), id, self.now));
            }
        }
        let instance = self.instances.entry(id).or_default();
        instance.session = session;
        instance.live = true;
        instance.credit = credit;
        instance.held = in_hand;
        instance.resend = missing.into();
    }

    /// A stream ended.
    pub fn detach(&mut self, id: usize, session: u64) {
        if let Some(instance) = self.instances.get_mut(&id)
            && instance.session == session
        {
            instance.live = false;
        }
    }

    /// The participant did not return within its lease.
    pub fn expire(&mut self, id: usize, session: u64, outbox: &mut Outbox) {
        let gone = self
            .instances
            .get(&id)
            .is_some_and(|instance| instance.session == session && !instance.live);
        if !gone {
            return;
        }
        self.instances.remove(&id);
        let lost: Vec<AttemptName> = self
            .sent
            .iter()
            .filter(|(_, (_, by, _))| *by == id)
            .map(|(name, _)| name.clone())
            .collect();
        for name in lost {
            self.sent.remove(&name);
            outbox.lost.push(name);
        }
    }

    /// A participant is attached here.
    pub fn is_attached(&self, id: usize) -> bool {
        self.instances
            .get(&id)
            .is_some_and(|instance| instance.live)
    }

    pub fn waits(&self) -> bool {
        !self.queued.is_empty()
    }

    pub fn in_flight(&self) -> usize {
        self.sent.len()
    }

    /// A compensation is on its way, of a saga with another that waits.
    pub fn compensates(&self) -> bool {
        self.sent
            .keys()
            .any(|name| name.name.operation == amends_core::OperationKind::Compensate)
    }
}
