//! What is asked of an orchestrator, and what it answers.

use amends_core::SagaId;
use amends_core::journal::JournalRow;
use amends_core::saga::Saga;
use amends_core::shard::Verb;
use amends_definitions::{Diagnostic, Payload};
use amends_store::{DefinitionRecord, SagaRecord};

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

/// A signal for a saga.
#[derive(Clone, Debug)]
pub struct SignalRequest {
    /// The tenant.
    pub namespace: String,
    /// Which saga.
    pub saga: SagaId,
    /// The signal's id in the definition.
    pub signal: String,
    /// What comes with it.
    pub payload: Payload,
    /// Who sends it.
    pub by: String,
    /// The sender's own id for it, 1 to 512 bytes.
    pub dedupe_id: Option<String>,
}

/// An operator's act on a saga.
#[derive(Clone, Debug)]
pub struct ActRequest {
    /// The tenant.
    pub namespace: String,
    /// Which saga.
    pub saga: SagaId,
    /// Who.
    pub by: String,
    /// Why; recorded.
    pub reason: String,
    /// Only say what would become of it.
    pub dry_run: bool,
    /// What.
    pub verb: Verb,
}

/// An applied revision.
#[derive(Debug)]
pub struct Applied {
    /// The newest revision.
    pub record: DefinitionRecord,
    /// False if the newest had this content already.
    pub created: bool,
    /// Warnings.
    pub diagnostics: Vec<Diagnostic>,
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
