//! Participants and clients of Amends in Rust.
//!
//! A participant is a handful of plain async functions:
//!
//! ```no_run
//! use amends_sdk::{Context, Fail, Participant};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Reserve {
//!     sku: String,
//!     quantity: u32,
//! }
//!
//! #[derive(Serialize)]
//! struct Reserved {
//!     reservation: String,
//! }
//!
//! async fn reserve(context: Context, input: Reserve) -> Result<Reserved, Fail> {
//!     if input.quantity > 100 {
//!         return Err(Fail::rejected("OUT_OF_STOCK").message(input.sku)); // a business "no": the saga compensates
//!     }
//!     // An error under `?` is retried, with the same operation key.
//!     Ok(Reserved { reservation: context.operation_key().to_owned() })
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let inventory = Participant::new("inventory").action("reserve", reserve);
//!     inventory.run("http://127.0.0.1:7707").await?; // until SIGTERM, then drains
//!     Ok(())
//! }
//! ```
//!
//! Delivery is at least once, and a compensation may arrive for an action that never ran, or before it. The `barrier`
//! (with feature `sqlite` or `postgres`) settles all of that in the participant's own database; [`testing`] has the
//! checks that every participant owes.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod barrier;
pub mod limits;
pub mod testing;

mod action;
mod backoff;
mod client;
mod context;
mod fail;
mod outcome;
mod participant;

/// The wire protocol's messages, which the [`Client`] answers with.
pub use amends_proto::v1 as proto;

pub use crate::action::Action;
pub use crate::client::{
    BatchAct, Client, ClientError, FieldViolation, IncidentOptions, ListOptions, RpcError, Running,
    Start, StartOptions, StartStream,
};
pub use crate::context::{Context, Operation};
pub use crate::fail::{Fail, FailKind};
pub use crate::outcome::{Answer, Outcome, Verdict};
pub use crate::participant::{Participant, ParticipantError, ParticipantOptions};

/// Compiles the examples of the page that people see first.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
