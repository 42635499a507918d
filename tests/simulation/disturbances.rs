//! When what goes wrong, and when it stops: kills, pauses, crashes, lost streams, jumps of the clock, long darkness; then the
//! calm, in which everything has to come to rest. Deliberately not here: how each is carried out.

use std::time::Duration;

use amends_core::saga::due;

use crate::history::Event as Happened;
use crate::lane::Lane;
use crate::marks::Mark;
use crate::node::Process;
use crate::world::{Event, World};

impl World {
    pub fn schedule_disturbances(&mut self) {
        let span = u64::try_from(self.plan.span.as_millis()).expect("short");
        for _ in 0..self.plan.node.disturbances {
            let at = self.dice.millis(100, span);
            self.after(at, Event::Disturb);
        }
    }

    /// One thing goes wrong.
    pub fn disturb(&mut self) {
        if self.calm() || self.is_dark() {
            return;
        }
        let faults = self.plan.node.clone();
        let weights = [
            faults.kill,
            faults.pause,
            faults.participant,
            faults.stream,
            faults.clock,
            faults.dark,
        ];
        let total: u64 = weights.iter().sum();
        if total == 0 {
            return;
        }
        self.faults += 1;
        let mut draw = self.dice.below(total);
        let mut which = 0;
        for (place, weight) in weights.iter().enumerate() {
            which = place;
            if draw < *weight {
                break;
            }
            draw -= weight;
        }
        let node = usize::try_from(self.dice.below(1_000)).expect("few") % self.nodes.len();
        let people = u64::try_from(self.participants.len()).expect("few");
        let participant = usize::try_from(self.dice.below(people)).expect("few");
        match which {
            0 => {
                let away = self.dice.millis(10, 40_000);
                self.kill(node);
                self.after(away, Event::Boot(node));
            }
            1 => {
                let time = self.dice.millis(1_000, 300_000);
                // At any time, or while a batch is under way: nobody may learn what became of that.
                if self.dice.chance(500) {
                    self.nodes[node].pauses_at_write = Some(time);
                } else {
                    self.pause(node, time);
                }
            }
            2 => {
                let away = self.dice.millis(50, 40_000);
                self.marks
                    .hit_if(away > Duration::from_secs(10), Mark::NobodyServes);
                self.crash(participant, away);
            }
            3 => {
                let away = self.dice.millis(50, 30_000);
                self.lose_stream(node, participant, away);
            }
            4 => {
                self.jump();
                // A failover that takes a node with it.
                if self.dice.chance(500) {
                    let away = self.dice.millis(10, 3_000);
                    self.kill(node);
                    self.after(away, Event::Boot(node));
                }
            }
            _ => self.darken(),
        }
    }

    /// The database's clock jumps: after a failover, or because somebody set it.
    fn jump(&mut self) {
        let jump = i64::try_from(self.dice.between(1, 600_000_000)).expect("ten minutes");
        let forward = !self.plan.bounded && self.dice.chance(500);
        self.marks.hit_if(forward, Mark::ClockForward);
        self.marks.hit_if(!forward, Mark::ClockBackward);
        self.store.clock_offset += if forward { jump } else { -jump };
        self.happened(Happened::Fault {
            what: "clock",
            whom: 0,
            life: 0,
        });
    }

    /// Everybody is gone for more than a day.
    fn darken(&mut self) {
        self.marks.hit(Mark::Darkness);
        let away = Duration::from_secs(25 * 3_600) + self.dice.millis(0, 3_600_000);
        for participant in 0..self.participants.len() {
            self.crash(participant, away);
        }
        for node in 0..self.nodes.len() {
            self.kill(node);
            self.after(away, Event::Boot(node));
        }
        self.plan.node.dark = 0;
        self.plan.span = away;
        // Nothing else happens meanwhile, and the calm comes after it.
        self.after(away + Duration::from_secs(60), Event::Calm);
    }

    /// Everybody is gone, and nobody comes back before it is over.
    pub fn is_dark(&self) -> bool {
        let long = self.plan.span > Duration::from_secs(24 * 3_600);
        long && self.now.since(crate::world::BEGINNING) < self.plan.span
    }

    /// Faults are off, the network heals, whoever is gone comes back.
    pub fn calm_down(&mut self) {
        if self.calm() || self.is_dark() {
            return;
        }
        self.calm_at = Some(self.now);
        self.happened(Happened::Calm);
        self.poisonous.clear();
        for node in 0..self.nodes.len() {
            let life = self.nodes[node].life;
            match self.nodes[node].process {
                Process::Paused => self.resume(node, life),
                Process::Down => self.after(Duration::from_millis(5), Event::Boot(node)),
                Process::Up => {
                    for participant in 0..self.participants.len() {
                        let delay = self.hop() + Duration::from_millis(20);
                        self.after(delay, Event::Attach(node, life, participant));
                    }
                }
            }
        }
        for participant in 0..self.participants.len() {
            if !self.participants[participant].up {
                self.after(Duration::from_millis(10), Event::Return(participant));
            }
        }
        self.after(Duration::from_secs(5), Event::Look);
    }

    /// Is everything at rest?
    pub fn look(&mut self) {
        self.rested = self.is_at_rest();
        if !self.rested {
            self.look_after();
            self.after(Duration::from_secs(5), Event::Look);
        }
    }

    fn is_at_rest(&mut self) -> bool {
        let busy = self.participants.iter().any(|participant| {
            !participant.up
                || !participant.running.is_empty()
                || !participant.unacknowledged.is_empty()
        });
        if busy || !self.every_shard_is_open() || self.expires_soon() {
            return false;
        }
        let now = self.now;
        for node in &mut self.nodes {
            let time = node.clock.now(now);
            let idle = node.process == Process::Up
                && node.waiters.is_empty()
                && node.lanes.iter().all(|lane| lane.is_idle(time));
            if !idle {
                return false;
            }
        }
        self.store.sagas().all(|saga| {
            saga.state.is_terminal()
                || self.store.folded(saga.id).is_some_and(|folded| {
                    let due = due(folded, self.store.time(now));
                    !folded.incidents().is_empty()
                        && due.commands.is_empty()
                        && due.awaited.is_empty()
                        && due.children.is_empty()
                        && due.wake_at.is_none()
                })
        })
    }

    fn every_shard_is_open(&self) -> bool {
        self.shards().all(|shard| {
            let owner = self.store.owner(shard);
            owner.is_some_and(|owner| {
                let node = &self.nodes[owner];
                let lane: &Lane = &node.lanes[node.lane_of(shard)];
                lane.slots.contains_key(&shard)
            })
        })
    }
}
