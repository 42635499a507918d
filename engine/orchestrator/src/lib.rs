//! The library one embeds: shard loops, committer, leases, dispatch. It knows a [`Store`](amends_store::Store) and no
//! network: `amends-grpc` puts the protocol in front of it.
//!
//! The only way in is [`Orchestrator`], a handle that is cheap to clone. Read on in `lane` (how inputs become durable and
//! outputs leave), `dispatch` (which command goes to whom), `startup` (how shards come to be owned).
//!
//! Deliberately not here: what a saga decides (`amends-core`), how rows are written (the stores).

mod api;
pub mod error;
mod options;
mod orchestrator;
pub mod refusal;

mod children;
mod definitions;
mod explain;
mod explanation;
mod impact;
mod incidents;
mod language;
mod operating;
mod reads;
mod starter;
mod starts;

mod drain;
mod lease;
mod loading;
mod retention;
mod startup;

mod dispatch;
mod lane;

mod backoff;
mod clock;
mod limits;
mod node;
mod status;
mod subscriptions;
mod telemetry;

pub use amends_definitions::{Diagnostic, Severity};
pub use amends_store::{
    DefinitionRecord, Fingerprint, IncidentCursor, IncidentFilter, IncidentGroup, IncidentQuery,
    InvalidFingerprint, ListQuery, SagaRecord,
};
pub use api::{
    ActRequest, Acted, Applied, ChangedIncidents, GroupActed, GroupRequest, GroupVerb, HistoryPage,
    Impact, ParticipantView, Reader, SagaView, Sees, SignalRequest, StartRequest,
};
pub use dispatch::{Acknowledgement, Attachment, AttemptOutcome, Delivery, Session, SessionHandle};
pub use error::Error;
pub use explanation::{
    At, AttemptView, Awaited, ChildName, Explanation, Owed, Sentence, Topic, WaitsFor,
};
pub use incidents::GroupActs;
pub use options::{Options, Retention};
pub use orchestrator::Orchestrator;
pub use refusal::{Kind, Refusal};
pub use starter::{Settlement, StartEvent, StartItem, Starter};
