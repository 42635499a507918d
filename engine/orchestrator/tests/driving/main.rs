//! The whole orchestrator over the memory store, on paused time: what clients and participants see, whatever fails.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod children;
mod faults;
mod faulty;
mod language;
mod operators;
mod ownership;
mod progress;
mod sessions;
mod starting;
mod telling;
mod world;
