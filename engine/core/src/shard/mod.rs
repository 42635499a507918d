//! Many sagas, one journal: what arrives is queued, decided when the shard may write, and let out when it is durable.
//!
//! A shard has at most one batch in flight. Every output - commands, answers, refusals and "duplicate" answers included -
//! was computed from a state at some position, and leaves only when that position is committed.

pub mod io;

mod children;
mod command;
mod deciding;
mod entry;
mod flight;
mod loading;
pub mod machine;
mod orders;
mod outcomes;
mod refusing;
mod rows;
mod sleeping;
mod starts;
mod turns;

pub use io::{
    Acknowledged, CancelDisposition, CancelRefusal, ChildAnswer, ChildRequest, ChildStart,
    ChildState, ChildWish, Command, Existing, History, Input, LoadedSaga, Order, OrderRefusal,
    Output, Report, Signal, SignalRefusal, Start, StartAnswer, StartKey, StartRefusal,
    Surroundings, Target, Token, Verb, Want,
};
pub use machine::{BatchLimits, Shard};
pub use turns::TurnRecovered;
