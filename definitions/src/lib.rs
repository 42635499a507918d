//! What a saga *is*: the definition language `amends/v1`, its checks, and the checked [`Definition`] that the engine runs.
//!
//! Pure and synchronous: no clock, no I/O, no randomness. Reading YAML lives behind the feature `document`, so that the
//! saga core, which only runs checked definitions, sees no format.

#![cfg_attr(
    not(feature = "document"),
    allow(dead_code, reason = "only reading documents builds definitions")
)]

#[cfg(feature = "document")]
mod check;
#[cfg(feature = "document")]
mod codes;
pub mod definition;
#[cfg(feature = "document")]
mod diagnostic;
#[cfg(feature = "document")]
mod document;
pub mod expression;
pub mod graph;
mod json;
#[cfg(feature = "document")]
mod language;
pub mod limits;
#[cfg(feature = "document")]
mod normal;
pub mod payload;
#[cfg(feature = "document")]
mod readers;
#[cfg(feature = "document")]
mod samples;
pub mod schema;
#[cfg(feature = "document")]
mod suggestion;

#[cfg(feature = "document")]
pub use check::{Checked, check};
#[cfg(feature = "document")]
pub use codes::CODES;
pub use definition::{
    ActionName, Call, ChildSaga, Compensation, CompensationCall, CompensationOrder,
    CompensationPolicy, Concurrency, Deadline, Definition, DefinitionHash, Emit, Fail, Foreach,
    Kind, OnLimit, RetryPolicy, Route, Signal, Sleep, Step, StepIndex, Then, Timeouts, Wait, Work,
};
#[cfg(feature = "document")]
pub use diagnostic::{Diagnostic, Severity, render};
pub use expression::{EvaluationError, Expression, Mapping, Scope, SelfScope, StepScope, Steps};
#[cfg(feature = "document")]
pub use language::language_schema;
#[cfg(feature = "document")]
pub use normal::{
    NormalFormError, definition_changes, from_normal_form, step_changes, to_normal_form,
};
pub use payload::{Payload, PayloadError};
#[cfg(feature = "document")]
pub use readers::OutputReader;
#[cfg(feature = "document")]
pub use samples::{FailureReads, Lack, Lacking, Samples, StepFailureReads, is_code};
pub use schema::Schema;
