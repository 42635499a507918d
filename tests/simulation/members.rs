//! Nodes come and go: boot, kill, pause, resume, the lease and what depends on it. Deliberately not here: when that happens
//! (`disturbances`).

use std::time::Duration;

use amends_core::{ShardId, Time};

use crate::history::Event as Happened;
use crate::lane::Lane;
use crate::marks::Mark;
use crate::node::{Clock, Node, Process, Waiter};
use crate::ways::Way;
use crate::world::{Event, World};

impl World {
    /// A node's process starts.
    pub fn boot(&mut self, node: usize) {
        if self.nodes[node].process != Process::Down || self.is_dark() {
            return;
        }
        let old = &self.nodes[node];
        let (life, seasoned) = (old.life + 1, old.seasoned);
        let mut fresh = Node::new(&self.plan, self.now);
        fresh.life = life;
        fresh.seasoned = seasoned;
        fresh.process = Process::Up;
        fresh.clock = Clock::new(self.store.time(self.now), self.now);
        self.nodes[node] = fresh;
        let wanted: Vec<ShardId> = (0..self.plan.shards)
            .map(ShardId)
            .filter(|shard| seasoned || usize::from(shard.0) % self.plan.nodes == node)
            .collect();
        let own = wanted
            .iter()
            .any(|shard| self.store.owner(*shard) == Some(node));
        self.marks.hit_if(own, Mark::RestartTakesItsOwnLease);
        self.claim(node, &wanted);
        let next = self.plan.lease / 3;
        self.after(next, Event::Renew(node, life));
        self.schedule_sweep(node);
        for participant in 0..self.participants.len() {
            let delay = self.hop() + Duration::from_millis(1);
            self.after(delay, Event::Attach(node, life, participant));
        }
        self.happened(Happened::Fault {
            what: "boot",
            whom: node,
            life,
        });
    }

    fn claim(&mut self, node: usize, wanted: &[ShardId]) {
        let life = self.nodes[node].life;
        let before: Vec<Option<usize>> = wanted
            .iter()
            .map(|shard| self.store.owner(*shard))
            .collect();
        let held = self
            .store
            .claim(node, life, wanted, self.plan.lease, self.now);
        let sent_until = self.store.clocks_until(node);
        for (shard, before) in wanted.iter().zip(before) {
            if held.contains(shard) {
                let other = before.is_some_and(|before| before != node);
                self.marks.hit_if(other, Mark::TakeoverByAnother);
                self.begin_takeover(node, *shard, sent_until);
            }
        }
    }

    fn begin_takeover(&mut self, node: usize, shard: ShardId, sent_until: Time) {
        let target = &mut self.nodes[node];
        let lane = target.lane_of(shard);
        let open = target.lanes[lane].slots.contains_key(&shard);
        if open || target.opening.contains_key(&shard) {
            return;
        }
        target.opening.insert(shard, sent_until);
        let life = target.life;
        let delay = self.hop();
        self.after(delay, Event::TakeOver(node, life, shard));
    }

    /// Renews the lease. A node that cannot has lost a shard at least, and ends.
    pub fn renew(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let lease = self.plan.lease;
        if !self.calm() && self.dice.chance(self.plan.store.unavailable) {
            let late = self.nodes[node].lease_is_late(lease, self.now);
            self.nodes[node].late |= late;
            self.after(Duration::from_secs(1), Event::Renew(node, life));
            return;
        }
        let clock = self.nodes[node].clock.now(self.now);
        let renewed = self.store.renew(node, life, lease, clock, self.now);
        let Some(time) = renewed else {
            self.marks.hit(Mark::LeaseLost);
            // Its claimer ended it; else the node would have renewed it, and would be an owner by its lease.
            let ended = self.nodes[node].stopped && self.store.lease_is_ended(node);
            self.marks.hit_if(ended, Mark::LeaseEndedWhileStopped);
            self.kill(node);
            self.after(Duration::from_secs(1), Event::Boot(node));
            return;
        };
        let target = &mut self.nodes[node];
        target.clock.sample(time, self.now);
        target.renewed_at = self.now;
        target.late = false;
        target.stopped = false;
        let wanted: Vec<ShardId> = (0..self.plan.shards).map(ShardId).collect();
        self.claim(node, &wanted);
        self.dispatch(node, crate::book::Outbox::default());
        self.after(lease / 3, Event::Renew(node, life));
    }

    /// SIGKILL: what was volatile is gone.
    pub fn kill(&mut self, node: usize) {
        if self.nodes[node].process == Process::Down {
            return;
        }
        self.mark_kill(node);
        let old = &self.nodes[node];
        let (life, seasoned) = (old.life, old.seasoned);
        let mut dead = Node::new(&self.plan, self.now);
        dead.life = life + 1;
        dead.seasoned = seasoned;
        self.nodes[node] = dead;
        for participant in &mut self.participants {
            participant.streams.remove(&node);
        }
        self.happened(Happened::Fault {
            what: "kill",
            whom: node,
            life,
        });
    }

    /// At which points a node dies.
    fn mark_kill(&mut self, node: usize) {
        let target = &self.nodes[node];
        let mut ways = target.lanes.iter().flat_map(|lane| &lane.ways.all);
        let writing = ways.any(Way::is_busy);
        let queued = target.lanes.iter().map(Lane::queued).sum::<usize>() > 0;
        let result = target
            .waiters
            .values()
            .any(|waiter| matches!(waiter, Waiter::Participant { .. }));
        let told = self
            .participants
            .iter()
            .flat_map(|participant| participant.unacknowledged.keys())
            .any(|name| {
                let folded = self.store.folded(name.saga);
                folded.is_some_and(|saga| {
                    let step = saga.definition().step_index(&name.name.step);
                    step.is_some_and(|step| {
                        saga.operation(step, name.name.operation).attempt > name.attempt
                    })
                }) || self
                    .store
                    .state(name.saga)
                    .is_some_and(amends_core::journal::SagaState::is_terminal)
            });
        let (waits, flies) = (target.book.waits(), target.book.in_flight() > 0);
        let compensates = target.book.compensates();
        self.marks.hit_if(writing, Mark::KilledWithCommitUnderWay);
        self.marks.hit_if(queued, Mark::KilledBeforeCommit);
        self.marks.hit_if(waits, Mark::KilledBeforeSend);
        self.marks.hit_if(flies, Mark::KilledAfterSend);
        self.marks.hit_if(result, Mark::KilledWithResultInHand);
        self.marks.hit_if(told, Mark::KilledBeforeAcknowledgement);
        self.marks
            .hit_if(compensates, Mark::KilledBetweenCompensations);
    }

    /// SIGSTOP.
    pub fn pause(&mut self, node: usize, time: Duration) {
        if self.nodes[node].process != Process::Up {
            return;
        }
        self.marks.hit(Mark::Paused);
        self.nodes[node].process = Process::Paused;
        let life = self.nodes[node].life;
        self.happened(Happened::Fault {
            what: "pause",
            whom: node,
            life,
        });
        self.after(time, Event::Resume(node, life));
    }

    /// SIGCONT: what arrived meanwhile is taken, in its order.
    pub fn resume(&mut self, node: usize, life: u32) {
        let target = &mut self.nodes[node];
        if target.process != Process::Paused || target.life != life {
            return;
        }
        target.process = Process::Up;
        target.stopped = true;
        for event in std::mem::take(&mut target.mailbox) {
            // A renewal is a statement too, and its connection may have to be made anew: what else was on its way may be faster.
            let delay = match &event {
                Event::Renew(..) if self.dice.chance(300) => self.dice.millis(0, 10_000),
                Event::Renew(..) => self.hop() + self.hop(),
                _ => Duration::ZERO,
            };
            self.after(delay, event);
        }
    }
}
