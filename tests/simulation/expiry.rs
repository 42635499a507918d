//! Retention: what the model of the store takes away, and the sweeper of a node that asks it to, a page at a time. Follows
//! `amends_store::Sagas::expire` and `amends_store::Tail`, which say what must become of journal rows, and
//! `engine/orchestrator/src/retention.rs`. Deliberately not here: when a sweep is worth while, which that file tests itself.

use std::collections::BTreeSet;
use std::time::Duration;

use amends_core::{SagaId, ShardId, Time};
use amends_store::{ExpiryPage, Looked, SagaRecord, Swept, Tail};

use crate::history::{Event as Happened, History};
use crate::marks::Mark;
use crate::plant::Plant;
use crate::store::Database;
use crate::world::{Event, World};

/// A world is not at rest while a saga is about to expire.
const SOON: Duration = Duration::from_secs(10 * 60);

/// Most pages have nothing that goes: whose outcome is unknown has to be many, for some of them to matter.
const UNKNOWN_OFTEN: u64 = 4;

impl Database {
    /// Deletes what has expired of a page; `clock` is what the node that asks takes for the time.
    pub fn expire(&mut self, page: &ExpiryPage, now: Time, history: &mut History) -> Swept {
        let within = |saga: &&SagaRecord| {
            let id = saga.id.as_uuid();
            saga.id.shard() == page.shard && id > page.above() && id < page.below()
        };
        let looked: Vec<Looked> = (self.sagas().filter(within))
            .take(page.limit)
            .map(|saga| Looked {
                saga: saga.id,
                due: self.expires_at(saga),
            })
            .collect();
        let expired: Vec<SagaId> = (page.expired(&looked).into_iter())
            .filter(|id| self.is_released(*id, page.now))
            .collect();
        let gone: BTreeSet<SagaId> = expired.iter().copied().collect();
        self.take_rows_of(page.shard, &gone);
        for saga in &gone {
            history.record(
                now,
                Happened::Expired {
                    saga: *saga,
                    node_time: page.now,
                },
            );
            self.forget(*saga);
        }
        page.swept(&looked, &expired)
    }

    /// When a saga's row says that it expires, if it has ended.
    fn expires_at(&self, saga: &SagaRecord) -> Option<Time> {
        let ended = saga.state.is_terminal();
        match self.plant {
            Some(Plant::ExpireEarly) => saga.ended_at.filter(|_| ended),
            Some(Plant::ExpireProvisional) if saga.parent.is_some() => {
                saga.ended_at.filter(|_| ended)
            }
            Some(Plant::ExpireActive) => Some(saga.updated_at + Duration::from_secs(60)),
            Some(Plant::ExpireParent) if saga.parent.is_none() => self.as_defined(saga),
            _ => saga.expires_at.filter(|_| ended),
        }
    }

    /// The planted bug: when it expires by its definition alone.
    fn as_defined(&self, saga: &SagaRecord) -> Option<Time> {
        let ended_at = saga.ended_at.filter(|_| saga.state.is_terminal())?;
        Some(ended_at + self.definition_of(saga.id)?.retention())
    }

    /// No saga above this one can still want it undone, and its retention has passed since the end of its parent.
    fn is_released(&self, saga: SagaId, now: Time) -> bool {
        let parent = self.record(saga).and_then(|saga| saga.parent);
        match self.plant {
            Some(Plant::ExpireEarly | Plant::ExpireActive) => true,
            Some(Plant::ExpireProvisional) if parent.is_some() => true,
            Some(Plant::ExpireParent) if parent.is_none() => true,
            _ => self.due(saga).is_some_and(|due| due <= now),
        }
    }

    /// When a saga may go; none while it has not ended, or something above it keeps it.
    pub fn due(&self, saga: SagaId) -> Option<Time> {
        let saga = self.record(saga).filter(|saga| saga.state.is_terminal())?;
        let (ended_at, expires_at) = (saga.ended_at?, saga.expires_at?);
        let Some(parent) = saga.parent.and_then(|parent| self.record(parent)) else {
            return Some(expires_at);
        };
        let parent_ended_at = parent.ended_at.filter(|_| parent.state.is_terminal())?;
        let since_parent = parent_ended_at + expires_at.since(ended_at);
        (parent.parent.is_none()).then_some(expires_at.max(since_parent))
    }

    /// Blanks the rows of the last batch before each takeover record and of the journal's last, and deletes the others.
    fn take_rows_of(&mut self, shard: ShardId, gone: &BTreeSet<SagaId>) {
        let epoch = self.epoch(shard);
        let blanked = if self.plant == Some(Plant::ExpireFence) {
            BTreeSet::new()
        } else {
            self.last_batches(shard)
        };
        let mut deleted = 0;
        self.journal.retain(|(of, position), row| {
            if *of != shard || !row.saga.is_some_and(|saga| gone.contains(&saga)) {
                return true;
            }
            if blanked.contains(&row.batch) {
                row.saga = None;
                row.body = [].into();
                return true;
            }
            deleted += u64::from(*position >= epoch);
            false
        });
        let (counted_for, count) = self.expired.entry(shard).or_default();
        if *counted_for != epoch {
            (*counted_for, *count) = (epoch, 0);
        }
        *count += deleted;
    }

    fn last_batches(&self, shard: ShardId) -> BTreeSet<u64> {
        let mut last = None;
        let mut batches = BTreeSet::new();
        for ((_, position), row) in self.journal.range((shard, 0)..=(shard, u64::MAX)) {
            if row.epoch == *position {
                batches.extend(last);
            }
            last = Some(row.batch);
        }
        batches.extend(last);
        batches
    }

    /// What a journal says of its end: whether a row is missing.
    pub fn end(&self, shard: ShardId) -> Tail {
        let epoch = self.epoch(shard);
        let rows = self.journal.range((shard, epoch)..=(shard, u64::MAX));
        let expired = self.expired.get(&shard).copied().unwrap_or_default();
        Tail {
            shard,
            last: self.tail(shard),
            epoch,
            rows: rows.count() as u64,
            expired: if expired.0 == epoch { expired.1 } else { 0 },
        }
    }
}

impl World {
    /// A node sweeps again, after a while.
    pub fn schedule_sweep(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let wait = self.dice.millis(5_000, 60_000);
        self.after(wait, Event::Sweep(node, life, ShardId(0), None));
    }

    /// A node looks at a page of a shard's sagas, whoever owns it.
    pub fn sweep(&mut self, node: usize, shard: ShardId, after: Option<SagaId>) {
        let sweeps = self.plant != Some(Plant::ForgetRetention);
        let fails = !self.calm() && self.dice.chance(self.plan.store.unavailable);
        if !sweeps || fails {
            return self.swept(node, shard, None);
        }
        let now = self.nodes[node].clock.now(self.now);
        let page = ExpiryPage {
            shard,
            after,
            begun_before: Time::INFINITY,
            now,
            limit: self.plan.page,
        };
        self.ask_to_expire(node, page);
    }

    /// The statement may be slow; and nobody may learn what became of it: then it was carried out, or is later, or never.
    fn ask_to_expire(&mut self, node: usize, page: ExpiryPage) {
        let slow = self.plan.store.slow;
        let unknown = self.plan.store.unknown * UNKNOWN_OFTEN;
        let calm = self.calm();
        let dice = self.sweeping.as_mut().filter(|_| !calm);
        let draws = dice.map(|dice| (dice.below(1_000), dice.below(3), dice.millis(500, 15_000)));
        let Some((draw, fate, late)) = draws.filter(|(draw, ..)| *draw < slow + unknown) else {
            let swept = self.delete_page(node, &page);
            return self.swept(node, page.shard, swept.last);
        };
        self.faults += 1;
        let life = self.nodes[node].life;
        if draw < slow {
            self.marks.hit(Mark::ExpirySlow);
            return self.after(late, Event::Expiring(node, life, page, true));
        }
        match fate {
            0 => self.marks.hit(Mark::ExpiryUnknownLost),
            1 => {
                let gone = self.delete_page(node, &page).gone > 0;
                self.marks.hit_if(gone, Mark::ExpiryUnknownLanded);
            }
            _ => self.after(late, Event::Expiring(node, life, page, false)),
        }
        self.swept(node, page.shard, None);
    }

    /// The statement arrives late, and maybe nobody waits for it any more.
    pub fn expire_late(&mut self, node: usize, life: u32, page: &ExpiryPage, awaited: bool) {
        let swept = self.delete_page(node, page);
        let landed = swept.gone > 0 && !awaited;
        self.marks
            .hit_if(landed, Mark::ExpiryUnknownLandsAfterwards);
        if awaited {
            let answer = Event::Swept(node, life, page.shard, swept.last);
            self.after(Duration::ZERO, answer);
        }
    }

    fn delete_page(&mut self, node: usize, page: &ExpiryPage) -> Swept {
        let swept = self.store.expire(page, self.now, &mut self.history);
        self.marks.hit_if(swept.gone > 0, Mark::Expired);
        let other = self.store.owner(page.shard) != Some(node);
        self.marks
            .hit_if(swept.gone > 0 && other, Mark::ExpiredByAnother);
        let kept = swept.due.is_some_and(|due| due <= page.now);
        self.marks.hit_if(kept, Mark::KeptForItsParent);
        swept
    }

    /// A page was looked at, or nobody knows whether: the node goes on behind it.
    pub fn swept(&mut self, node: usize, shard: ShardId, last: Option<SagaId>) {
        let life = self.nodes[node].life;
        let next = match last {
            Some(_) => shard,
            None => ShardId(shard.0 + 1),
        };
        if next.0 < self.plan.shards {
            let delay = self.hop();
            self.after(delay, Event::Sweep(node, life, next, last));
        } else {
            self.schedule_sweep(node);
        }
    }

    /// A saga that has ended is about to expire.
    pub fn expires_soon(&mut self) -> bool {
        let now = self.now;
        let clocks = self.nodes.iter_mut().map(|node| node.clock.now(now));
        let until = clocks.max().unwrap_or(now) + SOON;
        let mut due = self
            .store
            .sagas()
            .filter_map(|saga| self.store.due(saga.id));
        due.any(|due| due <= until)
    }
}
