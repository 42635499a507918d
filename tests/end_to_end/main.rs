//! The real server as a process, on SQLite and on PostgreSQL, with real participants and clients over the wire. Whatever a
//! newcomer is promised is tried here once, in good weather and in bad; `bad_input` has what must be refused. Deliberately not
//! here: random kills under load, which are `faults`.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers as well"
)]

#[path = "../bad_input/mod.rs"]
mod bad_input;
mod configuration;
mod delivery;
mod doubt;
mod examples;
mod flows;
mod operating;
mod orders;
mod payments_abroad;
mod queries;
mod reading;
mod restarts;
mod stage;
mod transfers;
mod trips;
