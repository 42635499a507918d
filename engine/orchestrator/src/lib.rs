//! The library one embeds: shard loops, committer, leases, dispatch. It knows a [`Store`](amends_store::Store) and no
//! network: `amends-grpc` puts the protocol in front of it.
//!
//! The only way in is [`Orchestrator`], a handle that is cheap to clone.

use std::sync::Arc;
use std::time::Duration;

use amends_core::fact::Fact;
use amends_core::journal::{JournalRow, SagaState};
use amends_core::saga::Saga;
use amends_core::shard::{Acknowledged, CancelDisposition, Command};
use amends_core::{Incarnation, OperationKey, Outcome, SagaId, Verdict};
use amends_definitions::{ActionName, Payload};
use amends_store::Store;
pub use amends_store::{DefinitionRecord, ListQuery, SagaRecord};
use tokio::sync::{mpsc, watch};

pub mod refusal;
pub use refusal::{Kind, Refusal};

/// How a node behaves. Every field has a default that suits one node.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's name: two processes with one name are one after the other, so a restart need not wait for the lease.
    pub node: String,
    /// Where participants and other nodes reach it, as `host:port`.
    pub address: String,
    /// Namespaces that exist beside `default`.
    pub namespaces: Vec<String>,
    /// Committer lanes, each with its own connection; 1 or 2.
    pub lanes: usize,
    /// How long a lease lives without renewal. It is renewed every third of this.
    pub lease: Duration,
    /// How long commands wait for the return of a participant whose stream was lost.
    pub session_lease: Duration,
    /// Sagas in memory; a start beyond it is `RESOURCE_EXHAUSTED`.
    pub active_max: usize,
    /// Inputs of clients waiting in one lane; one more is `RESOURCE_EXHAUSTED`.
    pub queue_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: "amends".into(),
            address: String::new(),
            namespaces: Vec::new(),
            lanes: 1,
            lease: Duration::from_secs(10),
            session_lease: Duration::from_secs(5),
            active_max: 200_000,
            queue_max: 20_000,
        }
    }
}

/// A node's handle.
#[derive(Clone)]
pub struct Orchestrator {
    _inner: Arc<()>,
}

impl Orchestrator {
    /// Claims the shards that are free, takes them over, replays what is active, and drives it. Returns when every claimed
    /// shard has been taken over; replay goes on in the background with admission open.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub async fn start(store: Arc<dyn Store>, options: Options) -> Result<Self, Error> {
        let _ = (store, options);
        Err(Error::Stopped)
    }

    /// The database's life.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(uuid::Uuid::nil())
    }

    /// True while the node owns shards and its store answers; for the health service.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<bool> {
        watch::channel(false).1
    }

    /// Stops admission, says goodbye to participants, waits for what is in flight to commit (`grace` at most), and gives up
    /// the lease.
    pub async fn drain(&self, grace: Duration) {
        let _ = grace;
    }

    /// Resolves when the node cannot go on by itself: its lease or a shard belongs to another process.
    pub async fn failed(&self) -> Error {
        Error::Stopped
    }

    /// Checks a YAML document and stores it as the newest revision.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with a violation for each diagnostic.
    pub async fn apply_definition(
        &self,
        namespace: &str,
        source: &str,
        definition_id: Option<&str>,
    ) -> Result<Applied, Refusal> {
        let _ = (namespace, source, definition_id);
        Err(Refusal::unavailable("not built"))
    }

    /// Checks a YAML document and stores nothing.
    ///
    /// # Errors
    /// If the namespace does not exist.
    pub fn lint_definition(
        &self,
        namespace: &str,
        source: &str,
    ) -> Result<Vec<amends_definitions::Diagnostic>, Refusal> {
        let _ = (namespace, source);
        Err(Refusal::unavailable("not built"))
    }

    /// Reads a revision; the newest if none is given.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn definition(
        &self,
        namespace: &str,
        name: &str,
        revision: Option<u32>,
    ) -> Result<DefinitionRecord, Refusal> {
        let _ = (namespace, name, revision);
        Err(Refusal::unavailable("not built"))
    }

    /// A page of newest revisions, by name, those above `after`.
    ///
    /// # Errors
    /// If the namespace does not exist, or the store does not answer.
    pub async fn list_definitions(
        &self,
        namespace: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DefinitionRecord>, Refusal> {
        let _ = (namespace, after, limit);
        Err(Refusal::unavailable("not built"))
    }

    /// Starts a saga; returns when its start is durable.
    ///
    /// # Errors
    /// As the protocol says.
    pub async fn start_saga(
        &self,
        request: StartRequest,
    ) -> Result<amends_core::shard::StartAnswer, Refusal> {
        let _ = request;
        Err(Refusal::unavailable("not built"))
    }

    /// Reads a saga, folded from what is committed.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn saga(&self, namespace: &str, id: SagaId) -> Result<SagaView, Refusal> {
        let _ = (namespace, id);
        Err(Refusal::unavailable("not built"))
    }

    /// A page of sagas.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn list_sagas(
        &self,
        query: amends_store::ListQuery,
    ) -> Result<Vec<SagaRecord>, Refusal> {
        let _ = query;
        Err(Refusal::unavailable("not built"))
    }

    /// A page of a saga's rows from a position on (1 for all).
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn history(
        &self,
        namespace: &str,
        id: SagaId,
        from: u64,
        limit: usize,
    ) -> Result<HistoryPage, Refusal> {
        let _ = (namespace, id, from, limit);
        Err(Refusal::unavailable("not built"))
    }

    /// Tells of each committed change of a saga, from now on. Subscribe first, then read: nothing is missed.
    #[must_use]
    pub fn subscribe(&self, id: SagaId) -> watch::Receiver<Option<SagaState>> {
        let _ = id;
        watch::channel(None).1
    }

    /// Asks for an abort.
    ///
    /// # Errors
    /// `NOT_FOUND`, `FAILED_PRECONDITION`.
    pub async fn cancel(
        &self,
        namespace: &str,
        id: SagaId,
        by: &str,
        reason: &str,
    ) -> Result<CancelDisposition, Refusal> {
        let _ = (namespace, id, by, reason);
        Err(Refusal::unavailable("not built"))
    }

    /// Attaches a participant instance. A newer one of the same instance replaces the older.
    ///
    /// # Errors
    /// `NOT_FOUND` for an unknown namespace, `UNAVAILABLE` while draining.
    pub fn attach(&self, attachment: Attachment) -> Result<Session, Refusal> {
        let _ = attachment;
        Err(Refusal::unavailable("not built"))
    }
}

/// A start, checked for its shape alone.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// The tenant.
    pub namespace: String,
    /// The definition's id.
    pub definition: String,
    /// A revision's number; none for the newest.
    pub revision: Option<u32>,
    /// The business key; none to let the definition compute it.
    pub key: Option<String>,
    /// The input.
    pub input: Payload,
    /// W3C Trace Context, checked.
    pub traceparent: Option<String>,
    /// W3C Trace Context.
    pub tracestate: Option<String>,
}

/// An applied revision.
#[derive(Debug)]
pub struct Applied {
    /// The newest revision.
    pub record: DefinitionRecord,
    /// False if the newest had this content already.
    pub created: bool,
    /// Warnings.
    pub diagnostics: Vec<amends_definitions::Diagnostic>,
}

/// A saga as it is.
#[derive(Debug)]
pub struct SagaView {
    /// Its row.
    pub record: SagaRecord,
    /// Its state; or why its history cannot be folded: then it is parked for that reason.
    pub saga: Result<Saga, String>,
}

/// A page of a saga's history.
#[derive(Debug)]
pub struct HistoryPage {
    /// Its row.
    pub record: SagaRecord,
    /// Rows in order.
    pub rows: Vec<JournalRow>,
    /// Step ids of its definition, to name the steps of facts.
    pub step_ids: Vec<String>,
    /// The same facts as JSON: outer as `rows`, inner as their facts.
    pub bodies: Vec<Vec<String>>,
}

/// A participant instance that wants work.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The tenant.
    pub namespace: String,
    /// The participant's name.
    pub participant: String,
    /// This process.
    pub instance: String,
    /// What it serves, and whether behind a barrier.
    pub actions: Vec<(ActionName, bool)>,
    /// How many commands it takes at first.
    pub credit: u32,
    /// What it still has in hand: commands that are not sent to it again.
    pub in_hand: Vec<(OperationKey, u32)>,
}

/// A participant's session. Dropping it is the loss of its stream.
#[derive(Debug)]
pub struct Session {
    /// What is for the participant; it ends when the session was replaced by a newer one.
    pub deliveries: mpsc::UnboundedReceiver<Delivery>,
    /// What comes from it.
    pub handle: SessionHandle,
}

/// What comes from a participant.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    _inner: Arc<()>,
}

impl SessionHandle {
    /// More room.
    pub fn credit(&self, commands: u32) {
        let _ = commands;
    }

    /// What attempts came to. Each is answered by an [`Acknowledgement`] once that is durable; waits while the lanes are full.
    pub async fn outcomes(&self, outcomes: Vec<AttemptOutcome>) {
        let _ = outcomes;
    }

    /// No new commands.
    pub fn drain(&self) {}
}

/// What one attempt came to, checked for its shape.
#[derive(Clone, Debug)]
pub struct AttemptOutcome {
    /// The operation.
    pub key: OperationKey,
    /// The key as the participant wrote it, for the answer.
    pub attempt: u32,
    /// What it came to.
    pub outcome: Outcome,
    /// What the barrier said.
    pub verdict: Option<Verdict>,
}

/// Something for a participant.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Commands; their attempts' time runs since.
    Commands(Vec<Command>),
    /// Answers to outcomes.
    Acknowledgements(Vec<Acknowledgement>),
    /// Attempts whose result no longer matters.
    Withdrawals(Vec<(OperationKey, u32)>),
    /// The node leaves.
    Goodbye {
        /// In words.
        reason: String,
    },
}

/// The answer to one outcome.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// The operation.
    pub key: OperationKey,
    /// The attempt.
    pub attempt: u32,
    /// What became of it.
    pub acknowledged: Acknowledged,
}

/// Why a node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not do what it has to.
    #[error("the store failed")]
    Store(#[source] amends_store::Error),
    /// It was stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// One fact as JSON, for histories.
#[must_use]
pub fn fact_kind(fact: &Fact) -> &'static str {
    fact.kind()
}
