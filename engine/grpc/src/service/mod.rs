//! The services of clients. Each method reads its request, asks the orchestrator, and writes the answer; no more.

mod definition;
mod follow;
mod listing;
mod operator;
mod page;
mod person;
mod saga;
mod start;

pub(crate) use definition::Definitions;
pub(crate) use operator::Operators;
pub(crate) use saga::Sagas;

pub(crate) use follow::ended;
pub(crate) use start::saga_start;
