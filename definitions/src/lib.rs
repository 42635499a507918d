//! What a saga *is*: the definition language `amends/v1`, its checks, and the checked [`Definition`] that the engine runs.
//!
//! Pure and synchronous: no clock, no I/O, no randomness. Reading YAML lives behind the feature `document`, so that the
//! saga core, which only runs checked definitions, sees no format.

pub mod definition;
pub mod expression;
pub mod graph;
pub mod limits;
pub mod payload;
pub mod schema;

pub use definition::{
    ActionName, Compensation, CompensationCall, CompensationOrder, CompensationPolicy, Definition,
    DefinitionHash, Kind, RetryPolicy, Step, StepIndex, Timeouts,
};
pub use expression::{EvaluationError, Expression, Mapping, Scope, SelfScope, StepScope};
pub use payload::{Payload, PayloadError};
pub use schema::Schema;
