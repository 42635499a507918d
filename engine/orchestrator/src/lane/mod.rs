//! A lane: one task that owns the state of a disjoint set of shards, and its committers.
//!
//! Messages in, time, batches, outputs out; nothing in a lane waits for anything but its messages. What takes time - the
//! store - is another task that answers with a message.

mod asking;
mod batch;
mod committer;
mod lookup;
mod message;
mod narrow;
mod route;
mod slot;
mod task;
mod verdict;

pub(crate) use batch::Way;
pub(crate) use committer::{Committer, Resolution, Verdict};
pub(crate) use message::{
    ActOrder, CancelOrder, Keyed, Lanes, Message, ReportedOutcome, SignalOrder, StartOrder, Waiting,
};
pub(crate) use task::LaneTask;
