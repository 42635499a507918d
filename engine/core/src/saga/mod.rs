//! One saga: `decide` (facts from an input), `evolve` (state from a fact, the only way it changes), `due` (what should now
//! be in flight, derived from state). Recovery is the fold of the facts followed by the same question.

pub mod marked;
pub mod place;
pub mod signals;
pub mod standing;
pub mod state;

pub mod decide;

mod backward;
mod children;
mod deadline;
mod forward;
mod items;
mod late;
mod mark;
mod operating;
mod queries;
mod retry;
mod routes;
mod scope;
mod waiting;

pub mod due;
mod evolve;
pub mod replay;

pub use due::{Due, DueChild, DueCommand, due};
pub use marked::Marked;
pub use place::{
    ChildStatus, Failure, Items, Operation, Phase, PinnedChild, PlaceStatus, StepStatus,
};
pub use replay::ReplayError;
pub use signals::Signals;
pub use state::{Abort, CancelRequest, OpenIncident, Saga};
