//! Everything that can reach a lane: one closed enum.

use std::collections::BTreeMap;
use std::sync::Arc;

use amends_core::journal::SagaState;
use amends_core::shard::{
    CancelDisposition, CancelRefusal, ChildAnswer, ChildWish, Existing, History, LoadedSaga, Order,
    OrderRefusal, Report, Signal, SignalRefusal, Start, TurnRecovered,
};
use amends_core::{AttemptName, OperationKey, SagaId, ShardId, Time};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Verdict;
use crate::dispatch::InstanceId;
use crate::starter::Caller;
use crate::status::Ticket;

/// Everything that can reach a lane.
#[derive(Debug)]
pub(crate) enum Message {
    /// Clients start sagas.
    Starts(Vec<StartOrder>),
    /// A client asks for an abort.
    Cancel(CancelOrder),
    /// A client sends a signal.
    Signal(SignalOrder),
    /// An operator acts.
    Act(ActOrder),
    /// A parent's shard wants something of a child.
    Child(Box<ChildWish>),
    /// A parent's shard is answered.
    ChildAnswered(Box<ChildAnswer>),
    /// Participants say what attempts came to.
    Outcomes(Vec<ReportedOutcome>),
    /// The server itself says what an attempt came to.
    ServerOutcome(Box<Report>),
    /// Commands leave.
    Sent(Vec<AttemptName>),
    /// Attempts that are still under way.
    Heartbeats(Vec<AttemptName>),
    /// Commands will never leave.
    Withdrawn(Vec<AttemptName>),
    /// Who has the keys of these starts; none if the store did not say.
    LookedUp {
        starts: Vec<Keyed>,
        found: Option<Vec<Option<Existing>>>,
    },
    /// The same for starts of a shard whose batch was rolled back.
    LookedUpAgain {
        shard: ShardId,
        found: BTreeMap<SagaId, Existing>,
    },
    /// Who has, or waits for, a turn in a shard that was taken over: before any saga of it.
    RecoveredTurns {
        shard: ShardId,
        turns: Vec<TurnRecovered>,
    },
    /// When sagas of the shard that sleep have to be back in memory.
    RecoveredSleepers {
        shard: ShardId,
        sleepers: Vec<(SagaId, Time)>,
    },
    /// A page of a shard's active sagas. `more` is answered when they are in memory; none if this was the last page.
    Recovered {
        shard: ShardId,
        histories: Vec<History>,
        more: Option<oneshot::Sender<()>>,
    },
    /// A saga that the shard asked for.
    Loaded { saga: SagaId, loaded: LoadedSaga },
    /// What became of a batch.
    Written {
        /// Which of the lane's committers.
        way: usize,
        verdict: Verdict,
    },
    /// To be answered when nothing waits and nothing is in flight.
    Flush(oneshot::Sender<()>),
}

/// Somebody waits for an answer; dropping it tells them that there is none.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    pub(crate) reply: oneshot::Sender<T>,
    pub(crate) ticket: Ticket,
}

/// A start and who waits for it.
#[derive(Debug)]
pub(crate) struct StartOrder {
    pub(crate) start: Box<Start>,
    pub(crate) caller: Caller,
}

/// A start whose key has to be looked up before it can be decided.
#[derive(Debug)]
pub(crate) enum Keyed {
    /// A client's.
    Start(StartOrder),
    /// A child's, which begins only if it does not exist.
    Child(Box<ChildWish>),
}

/// A cancel and who waits for it.
#[derive(Debug)]
pub(crate) struct CancelOrder {
    pub(crate) namespace: Arc<str>,
    pub(crate) saga: SagaId,
    pub(crate) by: String,
    pub(crate) reason: String,
    pub(crate) waiting: Waiting<Result<CancelDisposition, CancelRefusal>>,
}

/// A signal and who waits for its acceptance.
#[derive(Debug)]
pub(crate) struct SignalOrder {
    pub(crate) signal: Box<Signal>,
    pub(crate) waiting: Waiting<Result<bool, SignalRefusal>>,
}

/// An operator's act and who waits for what becomes of it.
#[derive(Debug)]
pub(crate) struct ActOrder {
    pub(crate) order: Box<Order>,
    pub(crate) waiting: Waiting<Result<SagaState, OrderRefusal>>,
}

/// What a participant says, and whom to answer.
#[derive(Debug)]
pub(crate) struct ReportedOutcome {
    pub(crate) report: Report,
    pub(crate) instance: InstanceId,
    pub(crate) key: OperationKey,
    /// Its room among the outcomes that wait.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The ways in to all lanes. A shard's lane is its number modulo their count.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    inboxes: Arc<[mpsc::UnboundedSender<Message>]>,
    shard_count: u16,
}

impl Lanes {
    /// The lanes, and the inbox of each.
    pub(crate) fn new(
        count: usize,
        shard_count: u16,
    ) -> (Self, Vec<mpsc::UnboundedReceiver<Message>>) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        (
            Self {
                inboxes: senders.into(),
                shard_count,
            },
            receivers,
        )
    }

    pub(crate) fn count(&self) -> usize {
        self.inboxes.len()
    }

    pub(crate) fn shard_count(&self) -> u16 {
        self.shard_count
    }

    /// There is such a shard.
    pub(crate) fn has(&self, shard: ShardId) -> bool {
        shard.0 < self.shard_count
    }

    pub(crate) fn lane_of(&self, shard: ShardId) -> usize {
        usize::from(shard.0) % self.inboxes.len()
    }

    /// The shards of a lane.
    pub(crate) fn shards_of(&self, lane: usize) -> Vec<ShardId> {
        (0..self.shard_count)
            .map(ShardId)
            .filter(|shard| self.lane_of(*shard) == lane)
            .collect()
    }

    /// To the lane of a shard. Who waits for an answer learns from the dropped message that the lane has stopped.
    pub(crate) fn send(&self, shard: ShardId, message: Message) {
        self.send_to(self.lane_of(shard), message);
    }

    pub(crate) fn send_to(&self, lane: usize, message: Message) {
        let _ = self.inboxes[lane].send(message);
    }

    /// Items to the lanes of their shards, in their order: one message for each lane.
    pub(crate) fn scatter<T>(
        &self,
        items: Vec<T>,
        shard: impl Fn(&T) -> ShardId,
        message: impl Fn(Vec<T>) -> Message,
    ) {
        if items.is_empty() {
            return;
        }
        if self.inboxes.len() == 1 {
            return self.send_to(0, message(items));
        }
        let mut parts: Vec<Vec<T>> = self.inboxes.iter().map(|_| Vec::new()).collect();
        for item in items {
            parts[self.lane_of(shard(&item))].push(item);
        }
        for (lane, part) in parts.into_iter().enumerate() {
            if !part.is_empty() {
                self.send_to(lane, message(part));
            }
        }
    }
}
