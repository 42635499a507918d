//! A node made from configuration: [`Config`] says what, [`start`] binds the port, opens the store and claims the shards,
//! [`Node::run_until`] serves. Wiring only: what a node *does* is in `amends-orchestrator` and `amends-grpc`.
//!
//! Nothing here writes to standard output, and nothing prints a secret.

pub mod config;
pub mod telemetry;

mod error;
mod node;
mod signal;
mod store;

pub use config::{Config, DatabaseUrl, LogFormat, Sources};
pub use error::{RunError, StartError};
pub use node::{Node, start};
pub use signal::shutdown_signal;
pub use store::open as open_store;

/// The rooms below, for those who measure or migrate a database without a node.
pub use {amends_core, amends_store, amends_store_postgres};
