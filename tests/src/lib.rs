//! What the tests of several packages share: a private PostgreSQL cluster (from a package of its own), the workspace's own binaries as processes that
//! can be killed and started again, and a fuzzer. No test lives here that belongs to one package alone, and nothing of
//! this is ever part of a shipped binary. Deliberately not here: anything that speaks gRPC.

pub mod fuzz;
pub mod process;
pub mod server;

pub use amends_postgres_cluster as postgres;
