//! The services of clients. Each method reads its request, asks the orchestrator, and writes the answer; no more.

mod definition;
mod follow;
mod page;
mod saga;

pub(crate) use definition::Definitions;
pub(crate) use saga::Sagas;

pub(crate) use follow::ended;
