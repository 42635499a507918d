//! What can become of a saga, before anything runs: `explore` tries every outcome of every step, cancels, deadlines, signals
//! and late results at every point, on the machine that runs in production; `simulate` plays one way through it.
//!
//! Read in this order: [`world`](crate) (a saga and the participants' books), then `explore` and `simulate`.
//! Deliberately not here: shards, stores and nodes (the simulator in `tests/simulation`), and participants.

mod bound;
mod digest;
mod event;
mod explore;
mod happening;
mod promise;
mod simulate;
mod telling;
mod words;
mod world;

pub use bound::{Bound, WorstCase, worst_case};
pub use event::Event;
pub use explore::{End, Exploration, Options, Progress, Violation, explore, explore_telling};
pub use simulate::{Failure, Line, Script, Simulation, simulate};
pub use telling::fact_in_words;
pub use words::Words;
