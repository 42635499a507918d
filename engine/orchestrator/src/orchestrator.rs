//! The handle: the only way in. Each method is one line; what it does is in the module of its name.

use std::sync::Arc;
use std::time::Duration;

use amends_core::journal::{IncidentInsert, SagaState};
use amends_core::shard::{CancelDisposition, StartAnswer};
use amends_core::{Incarnation, SagaId};
use amends_definitions::Diagnostic;
use amends_store::{
    DefinitionRecord, IncidentFilter, IncidentGroup, IncidentQuery, ListQuery, SagaRecord, Store,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::DropGuard;

use crate::api::{
    ActRequest, Acted, Applied, GroupRequest, HistoryPage, ParticipantView, SagaView,
    SignalRequest, StartRequest,
};
use crate::dispatch::{Attachment, Session};
use crate::error::Error;
use crate::explanation::Explanation;
use crate::incidents::GroupActs;
use crate::node::Node;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::starter::{StartEvent, Starter};
use crate::{drain, explain, impact, incidents, language, operating, reads, starter, startup};

/// A node's handle. When the last one goes without [`Orchestrator::drain`], the node stops where it is, as after a crash.
#[derive(Clone)]
pub struct Orchestrator {
    node: Arc<Node>,
    _stop: Arc<DropGuard>,
}

impl Orchestrator {
    /// Claims all shards, waiting while another live node holds some, takes them over, replays what is active, and drives
    /// it. Returns when every shard has been taken over; replay goes on in the background with admission open.
    ///
    /// # Errors
    /// If an option is out of its range, or the store cannot be used.
    pub async fn start(store: Arc<dyn Store>, options: Options) -> Result<Self, Error> {
        let (node, guard) = startup::start(store, options).await?;
        Ok(Self {
            node,
            _stop: Arc::new(guard),
        })
    }

    /// The database's life.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.node.incarnation
    }

    /// True while the node owns shards and its store answers; for the health service.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<bool> {
        self.node.status.health()
    }

    /// Stops admission, says goodbye to participants, waits for what is in flight to commit (`grace` at most), and gives up
    /// the lease.
    pub async fn drain(&self, grace: Duration) {
        drain::drain(&self.node, grace).await;
    }

    /// Resolves when the node cannot go on by itself: its lease or a shard belongs to another process, or it was stopped.
    pub async fn failed(&self) -> Error {
        let mut failure = self.node.status.failure();
        match failure.wait_for(Option::is_some).await {
            Ok(failure) => failure
                .as_ref()
                .map_or(Error::Stopped, crate::status::Failure::to_error),
            Err(_) => Error::Stopped,
        }
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
        language::apply(&self.node, namespace, source, definition_id).await
    }

    /// Checks a YAML document and stores nothing.
    ///
    /// # Errors
    /// If the namespace does not exist.
    pub fn lint_definition(
        &self,
        namespace: &str,
        source: &str,
    ) -> Result<Vec<Diagnostic>, Refusal> {
        self.node.namespace(namespace)?;
        Ok(amends_definitions::check(source.as_bytes()).diagnostics)
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
        let found = reads::revision(&self.node, namespace, name, revision).await?;
        Ok(found.record.clone())
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
        reads::list_definitions(&self.node, namespace, after, limit).await
    }

    /// Starts a saga; returns when its start is durable.
    ///
    /// # Errors
    /// `NOT_FOUND` for the namespace or the definition, `INVALID_ARGUMENT` for the input or the key, `ALREADY_EXISTS` for a
    /// key with another input, `RESOURCE_EXHAUSTED` under overload, `UNAVAILABLE` if it cannot be told: try again.
    pub async fn start_saga(&self, request: StartRequest) -> Result<StartAnswer, Refusal> {
        starter::start_one(&self.node, request).await
    }

    /// Whether starts are taken at all, in this namespace.
    ///
    /// # Errors
    /// `UNAVAILABLE` while draining or while nothing can be written; `NOT_FOUND` for the namespace.
    pub fn admits_starts(&self, namespace: &str) -> Result<(), Refusal> {
        self.node.status.admit()?;
        self.node.namespace(namespace).map(drop)
    }

    /// A handle that starts many sagas, and where what becomes of them is told.
    #[must_use]
    pub fn starter(&self) -> (Starter, mpsc::UnboundedReceiver<StartEvent>) {
        Starter::new(self.node.clone())
    }

    /// True once the node takes no new work because it is about to leave.
    #[must_use]
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.node.status.drains()
    }

    /// Reads a saga, folded from what is committed.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn saga(&self, namespace: &str, id: SagaId) -> Result<SagaView, Refusal> {
        reads::saga(&self.node, namespace, id).await
    }

    /// Says why a saga is where it is, what ran where and when, what is owed and what it waits for.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn explain(&self, namespace: &str, id: SagaId) -> Result<Explanation, Refusal> {
        explain::explain(&self.node, namespace, id).await
    }

    /// A page of sagas.
    ///
    /// # Errors
    /// If the namespace does not exist, or the store does not answer.
    pub async fn list_sagas(&self, query: ListQuery) -> Result<Vec<SagaRecord>, Refusal> {
        reads::list(&self.node, &query).await
    }

    /// A saga without its history; none if there is no such saga in the namespace.
    ///
    /// # Errors
    /// If the namespace does not exist, or the store does not answer.
    pub async fn saga_record(
        &self,
        namespace: &str,
        id: SagaId,
    ) -> Result<Option<SagaRecord>, Refusal> {
        reads::record(&self.node, namespace, id).await
    }

    /// A page of a saga's rows from a position on (1 for all).
    ///
    /// # Errors
    /// `NOT_FOUND`; `FAILED_PRECONDITION` if a row cannot be read.
    pub async fn history(
        &self,
        namespace: &str,
        id: SagaId,
        from: u64,
        limit: usize,
    ) -> Result<HistoryPage, Refusal> {
        reads::history(&self.node, namespace, id, from, limit).await
    }

    /// Tells of each committed change of a saga, from now on. Subscribe first, then read: nothing is missed.
    #[must_use]
    pub fn subscribe(&self, id: SagaId) -> watch::Receiver<Option<SagaState>> {
        self.node.subscriptions.subscribe(id)
    }

    /// Asks for an abort.
    ///
    /// # Errors
    /// `NOT_FOUND`; `FAILED_PRECONDITION` if it has ended or can only go forward.
    pub async fn cancel(
        &self,
        namespace: &str,
        id: SagaId,
        by: &str,
        reason: &str,
    ) -> Result<CancelDisposition, Refusal> {
        operating::cancel(&self.node, namespace, id, by, reason).await
    }

    /// Sends a signal that the saga's definition declares. It is buffered until a step waits for it. True if it was
    /// accepted, false if one with its dedupe id had been before.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_ARGUMENT` for a signal that is not declared or a payload that does not satisfy its schema;
    /// `FAILED_PRECONDITION` if the saga has ended; `RESOURCE_EXHAUSTED` if too many wait in it.
    pub async fn signal(&self, request: SignalRequest) -> Result<bool, Refusal> {
        operating::signal(&self.node, request).await
    }

    /// Does something about a saga, or only says what would become of it.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_ARGUMENT` for a step that the saga does not have; `FAILED_PRECONDITION` with a reason of its
    /// own for what would break what a saga promises.
    pub async fn order(&self, request: ActRequest) -> Result<Acted, Refusal> {
        operating::act(&self.node, request).await
    }

    /// A page of open incidents, the oldest first.
    ///
    /// # Errors
    /// If the namespace does not exist, or the store does not answer.
    pub async fn list_incidents(
        &self,
        query: IncidentQuery,
    ) -> Result<Vec<IncidentInsert>, Refusal> {
        incidents::list(&self.node, &query).await
    }

    /// Open incidents by what they have in common, the most numerous first.
    ///
    /// # Errors
    /// If the namespace does not exist, or the store does not answer.
    pub async fn incident_groups(
        &self,
        filter: IncidentFilter,
        limit: usize,
    ) -> Result<Vec<IncidentGroup>, Refusal> {
        incidents::groups(&self.node, &filter, limit).await
    }

    /// Does the same about every incident of a group, one after the other, at a rate, for as long as it is asked for the
    /// next.
    ///
    /// # Errors
    /// If the namespace does not exist or the rate is out of its range; `UNAVAILABLE` while nothing can be written.
    pub fn act_on_group(&self, request: GroupRequest) -> Result<GroupActs, Refusal> {
        GroupActs::new(&self.node, request)
    }

    /// The participant instances that are attached, by name.
    ///
    /// # Errors
    /// If the namespace does not exist.
    pub fn participants(&self, namespace: &str) -> Result<Vec<ParticipantView>, Refusal> {
        self.node.namespace(namespace)?;
        let now = self.node.clock.now();
        Ok(self.node.registry.participants(namespace, now))
    }

    /// Takes a revision of a definition out of sight: nothing starts from it any more.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` with their number while sagas in flight are pinned to it; `NOT_FOUND`.
    pub async fn delete_definition(
        &self,
        namespace: &str,
        name: &str,
        revision: u32,
    ) -> Result<(), Refusal> {
        impact::delete(&self.node, namespace, name, revision).await
    }

    /// Attaches a participant instance. A newer one of the same instance replaces the older.
    ///
    /// # Errors
    /// `NOT_FOUND` for an unknown namespace, `UNAVAILABLE` while draining.
    pub fn attach(&self, attachment: Attachment) -> Result<Session, Refusal> {
        self.node.namespace(&attachment.namespace)?;
        let session = self.node.registry.attach(&attachment);
        session.ok_or_else(|| {
            Refusal::new(
                crate::refusal::Kind::Unavailable,
                "DRAINING",
                "this node is draining: try another, or again",
            )
        })
    }
}

impl std::fmt::Debug for Orchestrator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Orchestrator").field(&self.node).finish()
    }
}
