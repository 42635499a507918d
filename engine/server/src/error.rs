//! Why a node does not start, or does not go on. Every message is one line and has no secret.

use std::net::SocketAddr;

/// Why a node was not started. Nothing was written, and nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be read, or says what cannot be.
    #[error("the configuration is not usable: {0}")]
    Config(String),
    /// It would listen where anybody can reach it.
    #[error(
        "{address} can be reached from other machines, and there is no TLS and no authentication yet: whoever reaches it can \
         do everything; listen on 127.0.0.1, or say --insecure-listen (allow_insecure_listen = true)"
    )]
    InsecureListen {
        /// Where it would listen.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {message}")]
    Listen {
        /// As it was configured.
        address: String,
        /// Why, as the operating system says.
        message: String,
    },
    /// The database cannot be used.
    #[error("the database {database} cannot be used: {message}")]
    Database {
        /// Which, without its password.
        database: String,
        /// Why, with the causes in one line.
        message: String,
    },
    /// The shards could not be taken over.
    #[error("the node could not take over its shards: {0}")]
    Orchestrator(String),
    /// Traces or logs cannot be set up.
    #[error("telemetry cannot be set up: {0}")]
    Telemetry(String),
}

impl StartError {
    /// `EX_CONFIG` of `sysexits.h`: trying again without a change does not help.
    pub const EXIT_CODE: u8 = 78;

    /// What the process exits with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        Self::EXIT_CODE
    }
}

/// Why a running node ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its lease or a shard belongs to another process, or its store failed for good.
    #[error("the node cannot go on")]
    Lost(#[source] amends_orchestrator::Error),
    /// The gRPC server ended.
    #[error("the gRPC server ended")]
    Serve(#[source] amends_grpc::Error),
    /// The gRPC server ended without being asked to.
    #[error("the gRPC server ended without a reason")]
    ServeEnded,
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        // Some errors repeat their cause: it is said once.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = next.source();
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer\n  words")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_is_one_line_with_each_cause_once() {
        assert_eq!(
            chain(&Outer(std::io::Error::other("inner\ncause"))),
            "outer words: inner cause"
        );
    }
}
