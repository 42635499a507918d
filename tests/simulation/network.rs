//! Between nodes and participants: streams that break and come back, commands that are slow, repeated and reordered, results
//! that are told until they are acknowledged, and some that nobody asked for. Deliberately not here: the books (`participant`).

use std::sync::Arc;
use std::time::Duration;

use amends_core::id::AttemptName;
use amends_core::shard::{Acknowledged, Command, Input, Report};
use amends_core::{OperationKey, Outcome, Time};

use crate::book::Outbox;
use crate::history::{Counted, Effect, Event as Happened, Performed};
use crate::lane::Message;
use crate::marks::Mark;
use crate::node::{Process, Waiter};
use crate::participant::{Mood, Ran, Told};
use crate::plan::PeopleFaults;
use crate::plant::Plant;
use crate::world::{Event, World};

/// A command on its way.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub command: Arc<Command>,
    pub key: Arc<OperationKey>,
    pub name: AttemptName,
    pub participant: usize,
    pub session: u64,
    pub node: usize,
    pub node_life: u32,
    /// When its attempt's time is over.
    pub expires_at: Time,
    /// A copy that outlives its stream.
    pub stray: bool,
}

/// How long a participant may be away before its attempts are given up.
const SESSION_LEASE: Duration = Duration::from_secs(10);

/// Of a thousand commands, so many are slow in the calm too, at most.
const SLOW_IN_THE_CALM: u64 = 20;

impl World {
    /// A participant opens a stream to a node.
    pub fn attach(&mut self, node: usize, participant: usize) {
        if !self.participants[participant].up {
            return;
        }
        let session = self.fresh();
        let service = &mut self.participants[participant];
        let credit = service.attached(node, session);
        let believed = match self.plant {
            Some(Plant::ForgetCredit) => usize::MAX / 2,
            _ => credit,
        };
        let in_hand = service.in_hand();
        let mut outbox = Outbox::default();
        let book = &mut self.nodes[node].book;
        book.now = self.now;
        book.attach(participant, (session, believed), in_hand, &mut outbox);
        self.happened(Happened::Credited {
            node,
            participant,
            session,
            commands: credit,
        });
        self.dispatch(node, outbox);
        self.tell_all(node, participant);
    }

    /// Tells a node every result that is not acknowledged.
    fn tell_all(&mut self, node: usize, participant: usize) {
        let kept = &self.participants[participant].unacknowledged;
        let kept: Vec<Told> = kept.values().cloned().collect();
        for told in kept {
            self.marks.hit(Mark::ResultRepeated);
            self.tell_result(node, participant, told, true);
        }
    }

    /// A stream breaks; the participant comes back after a while.
    pub fn lose_stream(&mut self, node: usize, participant: usize, away: Duration) {
        let Some(stream) = self.participants[participant].streams.remove(&node) else {
            return;
        };
        self.marks.hit(Mark::StreamLost);
        self.detach(node, participant, stream.session);
        let life = self.nodes[node].life;
        self.after(away, Event::Attach(node, life, participant));
    }

    fn detach(&mut self, node: usize, participant: usize, session: u64) {
        self.nodes[node].book.detach(participant, session);
        let life = self.nodes[node].life;
        self.after(
            SESSION_LEASE,
            Event::Expire(node, life, participant, session),
        );
    }

    /// A participant did not return in time.
    pub fn expire(&mut self, node: usize, participant: usize, session: u64) {
        let mut outbox = Outbox::default();
        let book = &mut self.nodes[node].book;
        book.expire(participant, session, &mut outbox);
        self.marks
            .hit_if(!outbox.lost.is_empty(), Mark::StreamExpired);
        self.dispatch(node, outbox);
    }

    /// A participant's process ends.
    pub fn crash(&mut self, participant: usize, away: Duration) {
        if !self.participants[participant].up {
            return;
        }
        let streams = self.participants[participant].streams.clone();
        let life = self.participants[participant].life;
        self.participants[participant].die();
        for (node, stream) in streams {
            if self.nodes[node].process != Process::Down {
                self.detach(node, participant, stream.session);
            }
        }
        self.happened(Happened::Fault {
            what: "participant",
            whom: participant,
            life,
        });
        self.after(away, Event::Return(participant));
    }

    /// A participant's next process attaches everywhere.
    pub fn come_back(&mut self, participant: usize) {
        self.participants[participant].up = true;
        for node in 0..self.nodes.len() {
            let life = self.nodes[node].life;
            let delay = self.hop();
            self.after(delay, Event::Attach(node, life, participant));
        }
    }

    /// Puts a command on its way, perhaps twice.
    pub fn carry(&mut self, parcel: Parcel) {
        let faults = self.people();
        if self.dice.chance(faults.duplicate) {
            self.marks.hit(Mark::DuplicateDelivery);
            self.faults += 1;
            let most = if self.plan.bounded { 3_000 } else { 90_000 };
            let delay = self.dice.millis(0, most);
            let copy = Parcel {
                stray: true,
                ..parcel.clone()
            };
            self.after(delay, Event::Deliver(Box::new(copy)));
        }
        let delay = self.hop();
        self.after(delay, Event::Deliver(Box::new(parcel)));
    }

    /// A command reaches its participant.
    pub fn deliver(&mut self, parcel: Parcel) {
        let service = &mut self.participants[parcel.participant];
        let current = service.session(parcel.node) == Some(parcel.session)
            && self.nodes[parcel.node].life == parcel.node_life;
        if !service.up || !(current || parcel.stray) {
            return;
        }
        if !parcel.stray {
            service.spend(parcel.node);
        }
        let (participant, node) = (parcel.participant, parcel.node);
        self.admit(parcel);
        self.give_credit(participant, node);
    }

    /// A participant takes a command in hand, unless it had it before or may not obey it.
    fn admit(&mut self, parcel: Parcel) {
        let service = &mut self.participants[parcel.participant];
        let seen = service.epochs.entry(parcel.name.saga).or_default();
        if parcel.command.epoch < *seen && self.plant != Some(Plant::ForgetEpochs) {
            self.marks.hit(Mark::FencedCommand);
            self.happened(Happened::Fenced {
                key: parcel.key,
                attempt: parcel.command.attempt,
                epoch: parcel.command.epoch,
            });
            return;
        }
        *seen = parcel.command.epoch.max(*seen);
        if let Some(told) = service.unacknowledged.get(&parcel.name).cloned() {
            self.tell_result(parcel.node, parcel.participant, told, true);
            return;
        }
        if service.running.contains_key(&parcel.name) {
            return;
        }
        service.running.insert(parcel.name.clone(), parcel.node);
        let life = service.life;
        self.happened(Happened::Admitted {
            participant: parcel.participant,
            saga: parcel.name.saga,
            epoch: parcel.command.epoch,
        });
        let faults = self.people();
        let mut time = self.hop();
        if self.dice.chance(faults.slow) {
            self.marks.hit(Mark::Slow);
            self.faults += 1;
            time += self.dice.millis(1_000, 60_000);
        }
        if self.plan.bounded {
            time = time.min(parcel.expires_at.since(self.now));
        }
        if parcel.command.heartbeat.is_some() {
            self.beat_later(parcel.clone(), life);
        }
        self.after(time, Event::Perform(Box::new(parcel), life));
    }

    /// A participant beats more often than it has to, as the SDK does.
    fn beat_later(&mut self, parcel: Parcel, life: u32) {
        let silence = parcel.command.heartbeat.unwrap_or_default();
        self.after(silence / 3, Event::Beat(Box::new(parcel), life));
    }

    /// A heartbeat reaches a node.
    pub fn heartbeat(&mut self, node: usize, attempt: AttemptName) {
        self.marks.hit(Mark::HeartbeatHeard);
        let shard = attempt.saga.shard();
        self.counts(node, &attempt, true);
        let lane = self.nodes[node].lane_of(shard);
        let input = Input::Heartbeat { attempt };
        self.tell(node, lane, Message::Input(shard, input));
    }

    /// What a node takes for a sign of life of an attempt is on record.
    pub fn counts(&mut self, node: usize, attempt: &AttemptName, beat: bool) {
        let target = &mut self.nodes[node];
        let counted = Counted {
            attempt: attempt.clone(),
            node,
            life: target.life,
            node_time: target.clock.now(self.now),
            beat,
        };
        self.happened(Happened::Counted(counted));
    }

    /// It works still: it says so, unless its network or its mood is against it.
    pub fn beat(&mut self, parcel: Parcel, life: u32) {
        let service = &self.participants[parcel.participant];
        let session = service.session(parcel.node) == Some(parcel.session);
        if service.life != life || !service.running.contains_key(&parcel.name) {
            return;
        }
        if session && !self.dice.chance(self.people().silent) {
            let delay = self.hop();
            let event = Event::Heartbeat(parcel.node, parcel.node_life, parcel.name.clone());
            self.after(delay, event);
        }
        self.beat_later(parcel, life);
    }

    /// A participant carries a command out, or dies over it.
    pub fn perform(&mut self, parcel: Parcel, life: u32) {
        if self.participants[parcel.participant].life != life {
            return;
        }
        let faults = self.people();
        if self.plan.bounded && self.now >= parcel.expires_at {
            self.marks.hit(Mark::HandlerDropped);
            return self.answer(parcel, Ran::dropped(), &faults);
        }
        let poison = self.is_poisonous(&parcel, &faults);
        if poison || self.dice.chance(faults.crash_before) {
            self.marks.hit(Mark::CrashBeforeCommit);
            self.marks.hit_if(poison, Mark::PoisonStep);
            self.faults += 1;
            let away = self.dice.millis(50, 5_000);
            self.crash(parcel.participant, away);
            return;
        }
        let service = &mut self.participants[parcel.participant];
        let mut mood = Mood {
            dice: &mut self.dice,
            faults: &faults,
            marks: &mut self.marks,
            plant: self.plant,
            poison: if self.calm_at.is_some() {
                0
            } else {
                self.plan.store.poison
            },
        };
        let ran = service
            .books
            .run(&parcel.command, service.barrier, &mut mood);
        let dies = ran.effect != Effect::None && self.dice.chance(faults.crash_after);
        let output = match &ran.outcome {
            Outcome::Succeeded { output } => amends_core::key::hash_64(output.as_bytes()),
            _ => 0,
        };
        self.happened(Happened::Performed(Performed {
            participant: parcel.participant,
            key: Arc::clone(&parcel.key),
            forward_round: (parcel.command.forward_key.as_ref())
                .map_or(parcel.key.round, |forward| forward.round),
            attempt: parcel.command.attempt,
            epoch: parcel.command.epoch,
            effect: ran.effect,
            said: (!dies).then(|| ran.outcome.as_str()),
            verdict: ran.verdict.map(amends_core::Verdict::as_str),
            output,
        }));
        if dies {
            self.marks.hit(Mark::CrashAfterCommit);
            self.faults += 1;
            let away = self.dice.millis(50, 5_000);
            self.crash(parcel.participant, away);
            return;
        }
        self.answer(parcel, ran, &faults);
    }

    /// A participant is done with a command, and says what came of it.
    fn answer(&mut self, parcel: Parcel, ran: Ran, faults: &PeopleFaults) {
        let told = Told {
            key: parcel.key,
            attempt: parcel.command.attempt,
            epoch: parcel.command.epoch,
            action: parcel.command.action.clone(),
            outcome: ran.outcome,
            verdict: ran.verdict,
        };
        let service = &mut self.participants[parcel.participant];
        service.running.remove(&parcel.name);
        service.unacknowledged.insert(parcel.name, told.clone());
        self.first_telling(parcel.node, parcel.participant, told, faults);
        self.give_credit(parcel.participant, parcel.node);
    }

    /// A participant says how much more room it has.
    fn give_credit(&mut self, participant: usize, node: usize) {
        let service = &mut self.participants[participant];
        let Some(commands) = service.credit_due(node) else {
            return;
        };
        let session = service.session(node).expect("there is one to say it on");
        let life = self.nodes[node].life;
        let delay = self.hop();
        let event = Event::Credit(node, life, participant, session, commands);
        self.after(delay, event);
    }

    /// A node hears of room.
    pub fn credit(&mut self, node: usize, participant: usize, session: u64, commands: usize) {
        if self.nodes[node].book.credit(participant, session, commands) {
            self.happened(Happened::Credited {
                node,
                participant,
                session,
                commands,
            });
            self.dispatch(node, Outbox::default());
        }
    }

    fn is_poisonous(&mut self, parcel: &Parcel, faults: &PeopleFaults) -> bool {
        if faults.poison == 0 {
            return false;
        }
        let step = (parcel.name.saga, parcel.key.step.to_string());
        let dice = &mut self.dice;
        *self
            .poisonous
            .entry(step)
            .or_insert_with(|| dice.chance(faults.poison))
    }

    /// Tells a fresh result, perhaps twice, perhaps not yet, perhaps beside a forged one.
    fn first_telling(
        &mut self,
        node: usize,
        participant: usize,
        told: Told,
        faults: &PeopleFaults,
    ) {
        if self.dice.chance(faults.forge_result) {
            self.forge(node, participant, &told);
        }
        if self.dice.chance(faults.repeat_result) {
            self.marks.hit(Mark::ResultRepeated);
            self.tell_result(node, participant, told.clone(), true);
        }
        if !self.dice.chance(faults.lose_result) {
            self.tell_result(node, participant, told, true);
        }
        self.schedule_retelling(participant);
    }

    fn schedule_retelling(&mut self, participant: usize) {
        let life = self.participants[participant].life;
        if self.retelling.get(&participant) != Some(&life) {
            self.retelling.insert(participant, life);
            let delay = self.dice.millis(3_000, 20_000);
            self.after(delay, Event::Retell(participant, life));
        }
    }

    /// What is not acknowledged is told again, to whoever should own it, or to anyone.
    pub fn retell(&mut self, participant: usize, life: u32) {
        self.retelling.remove(&participant);
        if self.participants[participant].life != life {
            return;
        }
        let kept = &self.participants[participant].unacknowledged;
        let kept: Vec<Told> = kept.values().cloned().collect();
        for told in kept {
            let owner = self.store.owner(told.key.saga.shard());
            let streams = &self.participants[participant].streams;
            let attached: Vec<usize> = streams.keys().copied().collect();
            let stray = !self.calm() && self.dice.chance(200);
            // Who lost the shard and has not noticed is where a result may be lost: rare, and so sought out.
            let unawares = |node: &usize| self.nodes[*node].knows_older(&told.key, told.epoch);
            let deposed: Vec<usize> = attached.iter().copied().filter(unawares).collect();
            let to = match owner.filter(|owner| !stray && attached.contains(owner)) {
                _ if !deposed.is_empty() && !self.calm() => self.dice.pick(&deposed).copied(),
                Some(owner) => Some(owner),
                None => self.dice.pick(&attached).copied(),
            };
            if let Some(node) = to {
                self.marks.hit(Mark::ResultRepeated);
                self.tell_result(node, participant, told, true);
            }
        }
        if !self.participants[participant].unacknowledged.is_empty() {
            self.schedule_retelling(participant);
        }
    }

    /// Results of attempts that were never made, of other tenants, of strangers.
    fn forge(&mut self, node: usize, participant: usize, told: &Told) {
        let mut forged = told.clone();
        let mut key = OperationKey::clone(&told.key);
        match self.dice.below(3) {
            0 => {
                self.marks.hit(Mark::ResultForged);
                forged.attempt += 1_000;
            }
            1 => {
                self.marks.hit(Mark::ResultOfOtherNamespace);
                key.namespace = "other".into();
            }
            _ => {
                self.marks.hit(Mark::ResultOfStranger);
                forged.action = amends_definitions::ActionName::new("nobody.nothing");
            }
        }
        forged.key = Arc::new(key);
        self.tell_result(node, participant, forged, false);
    }

    fn tell_result(&mut self, node: usize, participant: usize, told: Told, honest: bool) {
        let life = self.nodes[node].life;
        let mut delay = self.hop();
        if !self.calm() && self.dice.chance(100) {
            self.marks.hit(Mark::Reordered);
            delay += self.dice.millis(0, 10_000);
        }
        let event = Event::Result(node, life, participant, Box::new(told), honest);
        self.after(delay, event);
    }

    /// A result reaches a node.
    pub fn result(&mut self, node: usize, participant: usize, told: Told, honest: bool) {
        let name = crate::book::name_of(&told.key, told.attempt);
        self.happened(Happened::Told {
            key: Arc::clone(&told.key),
            attempt: told.attempt,
            node,
            honest,
        });
        let life = self.participants[participant].life;
        let target = &mut self.nodes[node];
        let token = target.wait(Waiter::Participant {
            participant,
            life,
            key: Arc::clone(&told.key),
            name: name.clone(),
            epoch: told.epoch,
            said: told.outcome.as_str(),
            honest,
        });
        if honest {
            target.book.reported(&name);
        }
        let shard = name.saga.shard();
        let report = Report {
            namespace: told.key.namespace.clone(),
            attempt: name,
            epoch: (self.plant != Some(Plant::WithholdEpochs)).then_some(told.epoch),
            outcome: told.outcome,
            verdict: told.verdict,
            instance: Some(format!("{participant}-{life}").into()),
            serves: [told.action].into(),
        };
        let input = Input::Outcome {
            token: Some(token),
            report,
        };
        let lane = target.lane_of(shard);
        self.tell(node, lane, Message::Input(shard, input));
    }

    /// A node answers a result.
    pub fn acknowledge(&mut self, node: usize, token: u64, how: Acknowledged) {
        let Some(Waiter::Participant {
            participant,
            life,
            key,
            name,
            epoch,
            said,
            honest,
        }) = self.nodes[node].waiters.remove(&token)
        else {
            return;
        };
        let answer = match how {
            Acknowledged::Recorded => "recorded",
            Acknowledged::Late => "late",
            Acknowledged::UnknownOperation => "unknown",
            Acknowledged::NotServed => "not_served",
            Acknowledged::Unreadable => "unreadable",
            Acknowledged::Unavailable => "unavailable",
        };
        let gone =
            self.store.state(key.saga).is_none() && self.store.last_state(key.saga).is_some();
        let unknown = honest && how == Acknowledged::UnknownOperation;
        self.marks.hit_if(unknown && gone, Mark::ResultOfExpired);
        let deposed = self.nodes[node].knows_older(&key, epoch);
        let kept = honest && deposed && how == Acknowledged::Unavailable;
        self.marks.hit_if(kept, Mark::ResultUnknownToDeposed);
        self.happened(Happened::Acknowledged {
            key,
            attempt: name.attempt,
            said,
            how: answer,
            honest,
        });
        if honest && how != Acknowledged::Unavailable {
            let delay = self.hop();
            self.after(delay, Event::Acknowledged(participant, life, name));
        }
    }

    /// An acknowledgement reaches its participant.
    pub fn forget_result(&mut self, participant: usize, life: u32, name: &AttemptName) {
        let service = &mut self.participants[participant];
        if service.life == life {
            service.unacknowledged.remove(name);
        }
    }

    /// The participants' faults of this time. That a handler takes its time now and then is none.
    fn people(&self) -> PeopleFaults {
        if self.calm() {
            PeopleFaults {
                slow: self.plan.people.slow.min(SLOW_IN_THE_CALM),
                ..PeopleFaults::default()
            }
        } else {
            self.plan.people.clone()
        }
    }
}

/// The server's own word for an attempt whose stream did not come back.
pub fn stream_lost(attempt: AttemptName) -> Input {
    Input::Outcome {
        token: None,
        report: Report {
            namespace: crate::clients::NAMESPACE.into(),
            attempt,
            epoch: None,
            outcome: Outcome::Unknown {
                code: "STREAM_LOST".into(),
                message: "the stream was lost, and did not come back".into(),
            },
            verdict: None,
            instance: None,
            serves: [].into(),
        },
    }
}
