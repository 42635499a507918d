//! What happened in a world, as it is recorded for the checker: client operations, committed rows, grants, sends, what
//! participants did, acknowledgements. Append-only; its hash tells two runs apart (I48). Deliberately not here: what must be
//! true of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use amends_core::fact::Fact;
use amends_core::journal::SagaState;
use amends_core::shard::{
    CancelDisposition, CancelRefusal, OrderRefusal, SignalRefusal, StartAnswer, StartRefusal,
};
use amends_core::{AttemptName, OperationKey, OperationKind, SagaId, Time};

/// What happened, and when on the world's own clock.
#[derive(Clone, Debug, Hash)]
pub struct Entry {
    pub at: Time,
    pub event: Event,
}

/// One thing that happened.
#[derive(Clone, Debug, Hash)]
pub enum Event {
    /// C: a client asks.
    Asked { operation: u32, ask: Ask },
    /// C: it is answered; what was never answered is unknown to it.
    Answered { operation: u32, answer: Answer },
    /// L: a takeover record is durable.
    TakenOver {
        shard: u16,
        position: u64,
        node: usize,
        life: u32,
    },
    /// L: a node owns a shard in this epoch.
    Owned {
        shard: u16,
        epoch: u64,
        node: usize,
        life: u32,
        /// Since when, by the node's own clock.
        node_time: Time,
        /// It is new there; else it took anew what it had.
        opened: bool,
    },
    /// J: a row is durable.
    Committed(Committed),
    /// The row of a saga says so.
    SagaRow {
        saga: SagaId,
        inserted: bool,
        state: i16,
        wake_at: Option<Time>,
    },
    /// A key has a saga.
    KeyRow { key: String, saga: SagaId },
    /// Retention took a saga away, for a node that took this for the time.
    Expired { saga: SagaId, node_time: Time },
    /// A node decided a batch, at this time by its own clock, and hands it to the store.
    Decided { batch: u64, node_time: Time },
    /// A node learned that its batch is durable: so many rows of this shard.
    Settled { batch: u64, shard: u16, rows: usize },
    /// A node's own idea of a saga after a commit, beside the fold of the journal.
    Compared { saga: SagaId, same: bool },
    /// W: a participant has told a node of so much room on this stream; the first time with the stream.
    Credited {
        node: usize,
        participant: usize,
        session: u64,
        commands: usize,
    },
    /// W: a command left for a participant.
    Sent(Sent),
    /// A node counts the time of an attempt from now.
    Counted(Counted),
    /// P: a participant carried a command out.
    Performed(Performed),
    /// P: a participant took a command in hand.
    Admitted {
        participant: usize,
        saga: SagaId,
        epoch: u64,
    },
    /// P: a participant refused a deposed owner's command.
    Fenced {
        key: Arc<OperationKey>,
        attempt: u32,
        epoch: u64,
    },
    /// A participant tells its result, the first time or again.
    Told {
        key: Arc<OperationKey>,
        attempt: u32,
        node: usize,
        honest: bool,
    },
    /// W: a result was answered.
    Acknowledged {
        key: Arc<OperationKey>,
        attempt: u32,
        /// What the result was.
        said: &'static str,
        how: &'static str,
        honest: bool,
    },
    /// A node or participant came, went, or something was done to it.
    Fault {
        what: &'static str,
        whom: usize,
        life: u32,
    },
    /// Faults are off.
    Calm,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    Start {
        definition: usize,
        key: Option<String>,
        input: String,
        /// The operation that this one tries again.
        again: Option<u32>,
    },
    Cancel {
        saga: SagaId,
        namespace: &'static str,
    },
    Signal {
        saga: SagaId,
        signal: &'static str,
        dedupe: Option<String>,
    },
    Order {
        saga: SagaId,
        wish: Wish,
    },
}

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    Compensate,
    /// What would become of that.
    AskOnly,
    Pause,
    Resume,
    Terminate,
    /// Also with another input.
    Retry(Spot, Option<String>),
    Skip(Spot),
    Resolve(Spot, String),
    /// The saga as a whole, with this output.
    ResolveSaga(String),
    /// Of a compensation: that it undid nothing.
    ResolveAbsent(Spot),
}

/// An operation of a step, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spot {
    pub step: String,
    pub item: u32,
    pub operation: OperationKind,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Started(Result<StartAnswer, StartRefusal>),
    Cancelled(Result<CancelDisposition, CancelRefusal>),
    Signalled(Result<bool, SignalRefusal>),
    Acted(Result<SagaState, OrderRefusal>),
}

impl Hash for Answer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The core's answers have no hash of their own.
        format!("{self:?}").hash(state);
    }
}

/// A row of the journal.
#[derive(Clone, Debug)]
pub struct Committed {
    pub shard: u16,
    pub position: u64,
    pub epoch: u64,
    pub batch: u64,
    pub saga: SagaId,
    /// When it was decided, as the row says.
    pub decided_at: Time,
    pub body: Arc<[u8]>,
    /// What its body says.
    pub facts: Arc<[Fact]>,
}

impl Hash for Committed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.shard, self.position, self.epoch, self.batch).hash(state);
        (self.saga, self.decided_at).hash(state);
        self.body.hash(state);
    }
}

/// A command that left.
#[derive(Clone, Debug, Hash)]
pub struct Sent {
    pub key: Arc<OperationKey>,
    pub attempt: u32,
    pub epoch: u64,
    /// To whom, and on which stream.
    pub participant: usize,
    pub session: u64,
    pub node: usize,
    pub life: u32,
    /// What the node took for the time.
    pub node_time: Time,
    /// As it was said when it was due.
    pub due_at: Time,
    pub input: Vec<u8>,
    /// It left from a node whose lease was over.
    pub zombie: bool,
}

/// Why a node counts anew how long an attempt takes, or how long its participant is silent.
#[derive(Clone, Debug, Hash)]
pub struct Counted {
    pub attempt: AttemptName,
    pub node: usize,
    pub life: u32,
    /// What the node took for the time.
    pub node_time: Time,
    /// A heartbeat reached it; else the attempt left, or its participant said that it has it in hand.
    pub beat: bool,
}

/// What a command came to at a participant.
#[derive(Clone, Debug, Hash)]
pub struct Performed {
    pub participant: usize,
    pub key: Arc<OperationKey>,
    /// Of a compensation or a query: the round of the action that it is about.
    pub forward_round: u32,
    pub attempt: u32,
    pub epoch: u64,
    pub effect: Effect,
    /// What it said; none if it died before it could.
    pub said: Option<&'static str>,
    pub verdict: Option<&'static str>,
    /// A digest of the output, to compare what duplicates are told.
    pub output: u64,
}

/// What changed in a participant's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    None,
    Done,
    Undone,
}

/// Everything that happened, in its order.
#[derive(Clone, Debug, Default)]
pub struct History {
    entries: Vec<Entry>,
}

impl History {
    pub fn record(&mut self, at: Time, event: Event) {
        self.entries.push(Entry { at, event });
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// A hash of all of it.
    pub fn hash(&self) -> u64 {
        // Without keys: the same in each process of one binary.
        let mut hasher = DefaultHasher::new();
        self.entries.hash(&mut hasher);
        hasher.finish()
    }
}
