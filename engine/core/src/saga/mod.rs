//! One saga: `decide` (facts from an input), `evolve` (state from a fact, the only way it changes), `due` (what should now
//! be in flight, derived from state). Recovery is the fold of the facts followed by the same question.

pub mod state;

pub use state::{Abort, CancelRequest, OpenIncident, Operation, Phase, ReplayError, Saga, StepStatus};
