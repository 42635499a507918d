//! What is asked of an orchestrator, and what it answers.

use amends_core::journal::{IncidentInsert, JournalRow, SagaState};
use amends_core::saga::Saga;
use amends_core::shard::Verb;
use amends_core::{SagaId, Time};
use amends_definitions::{ActionName, Diagnostic, Payload};
use amends_store::{DefinitionRecord, Fingerprint, SagaRecord};

use crate::refusal::Refusal;

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
    /// What it means for sagas in flight; none if nothing was created, or the store did not say.
    pub impact: Option<Impact>,
}

/// What a new revision means for sagas in flight: they stay pinned to theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impact {
    /// Sagas in flight, by older revision.
    pub in_flight: Vec<(u32, u64)>,
    /// Parked sagas of older revisions whose step the new revision changes.
    pub changed: Vec<ChangedIncidents>,
}

/// Incidents at a step that a new revision changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedIncidents {
    /// What they have in common.
    pub fingerprint: Fingerprint,
    /// How many.
    pub incidents: u64,
    /// Which keys of the step are other, such as `retry`; `removed` if it is gone. Without a step, of the definition.
    pub changes: Vec<String>,
}

/// The same act on each incident of a group.
#[derive(Clone, Debug)]
pub struct GroupRequest {
    /// The tenant.
    pub namespace: String,
    /// Which incidents.
    pub fingerprint: Fingerprint,
    /// Who.
    pub by: String,
    /// Why; recorded with each saga.
    pub reason: String,
    /// Only say what would become of them.
    pub dry_run: bool,
    /// What.
    pub verb: GroupVerb,
    /// Sagas in a second, 1 to 1,000.
    pub per_second: u32,
    /// Sagas at most; none for all.
    pub limit: Option<usize>,
}

/// What is done about each incident of a group: each incident's own step, item and operation are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupVerb {
    /// Try again.
    Retry {
        /// Instead of the recorded input.
        input: Option<Payload>,
    },
    /// Take the step for skipped.
    Skip,
    /// Take it for done.
    Resolve {
        /// What stands for its output.
        output: Payload,
    },
    /// The action is known to have had no effect.
    ResolveAbsent,
    /// Undo the saga.
    Compensate,
    /// Begin nothing more going forward.
    Pause,
    /// Go on.
    Resume,
    /// End the saga as it is.
    Terminate,
}

impl GroupVerb {
    /// It is done once for a saga, whatever incidents it has.
    #[must_use]
    pub fn is_about_the_saga(&self) -> bool {
        match self {
            Self::Compensate | Self::Pause | Self::Resume | Self::Terminate => true,
            Self::Retry { .. } | Self::Skip | Self::Resolve { .. } | Self::ResolveAbsent => false,
        }
    }
}

/// What became of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acted {
    /// Where the saga is then.
    pub state: SagaState,
    /// Of a skip: who reads the output that there will not be.
    pub readers: Vec<Reader>,
}

/// Expressions of one field that read the output of a step that is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Of which step; none: of the saga's own `output`.
    pub step: Option<String>,
    /// In which field of it, such as `input`.
    pub field: &'static str,
    /// What they will see.
    pub sees: Sees,
}

/// What an expression sees in the place of an output that there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// Nothing: what reads it has no value.
    Nothing,
    /// That there is none: it asks with `has`, or takes the step as a whole. What reads it beside that has no value.
    Absence,
    /// A list with null in the place of an item without an output.
    NullInList,
}

/// What became of one incident of a group.
#[derive(Debug)]
pub struct GroupActed {
    /// The incident, as it was when it was read.
    pub incident: IncidentInsert,
    /// What became of its saga; or why nothing was done.
    pub result: Result<Acted, Refusal>,
}

/// An attached participant instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantView {
    /// The participant's name.
    pub participant: String,
    /// The instance.
    pub instance: String,
    /// What it runs.
    pub sdk: String,
    /// The actions that it serves, and whether behind a barrier.
    pub actions: Vec<(ActionName, bool)>,
    /// Commands that it still takes.
    pub credit: u32,
    /// Commands that it has in hand.
    pub in_hand: usize,
    /// It takes no new commands: it is about to leave.
    pub draining: bool,
    /// Since when it is attached.
    pub attached_at: Time,
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
