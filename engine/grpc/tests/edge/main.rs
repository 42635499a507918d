//! The edge over a real socket: an in-process node on the memory store, clients and participants that behave, and those
//! that do not. One file for each family of requests; a test that answers for a bad input of the project's list of
//! invariants has its number in its name.

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod node;
mod participant;

mod attach_refusals;
mod definitions;
mod lists;
mod many;
mod names;
mod operators;
mod sagas;
mod signals;
mod starts;
mod transport;
mod waits;
