//! A node made from configuration: [`Config`] says what, [`start`] binds the port, opens the store and claims the shards,
//! [`Node::run_until`] serves. Wiring only: what a node *does* is in `amends-orchestrator` and `amends-grpc`.
//!
//! Nothing here writes to standard output, and nothing prints a secret.

pub mod config;
pub mod telemetry;

mod admin;
mod error;
mod node;
mod signal;
mod store;

pub use amends_grpc::AdminToken;
pub use amends_grpc::limits::ADMIN_TOKEN_BYTES_MAX;
pub use config::{Config, DatabaseUrl, LogFormat, Sources};
pub use error::{RunError, StartError};
pub use node::{Node, start};
pub use signal::shutdown_signal;
pub use store::open_store;

// The seam of the stores, for whoever migrates a database or measures one without an engine: one way in for the binary.
pub use {amends_core, amends_store, amends_store_postgres};
