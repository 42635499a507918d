//! How a node behaves.

use std::time::Duration;

use crate::error::Error;

/// How a node behaves. Every field has a default that suits one node.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's name: two processes with one name are one after the other, so a restart need not wait for the lease.
    pub node: String,
    /// Where participants and other nodes reach it, as `host:port`.
    pub address: String,
    /// Namespaces that exist beside `default`.
    pub namespaces: Vec<String>,
    /// Committer lanes, each with a task and shards of its own; 1 or 2.
    pub lanes: usize,
    /// How long a lease lives without renewal. It is renewed every third of this.
    pub lease: Duration,
    /// How long commands wait for the return of a participant whose stream was lost.
    pub session_lease: Duration,
    /// Sagas in memory; a start beyond it is `RESOURCE_EXHAUSTED`.
    pub active_max: usize,
    /// Inputs of clients waiting in one lane; one more is `RESOURCE_EXHAUSTED`.
    pub queue_max: usize,
    /// How what nobody needs any more is taken away.
    pub retention: Retention,
}

/// How sagas that ended are deleted once their retention has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How often it is asked whether a sweep is worth while, give or take a quarter; zero to delete nothing.
    pub interval: Duration,
    /// Sagas that are looked at, and deleted, at once.
    pub batch: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            batch: 1_000,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: "amends".into(),
            address: String::new(),
            namespaces: Vec::new(),
            lanes: 1,
            lease: Duration::from_secs(10),
            session_lease: Duration::from_secs(5),
            active_max: 200_000,
            queue_max: 20_000,
            retention: Retention::default(),
        }
    }
}

impl Options {
    /// Every option is within its range.
    ///
    /// # Errors
    /// Which one is not.
    pub fn check(&self) -> Result<(), Error> {
        let complaint = if self.node.is_empty() {
            "a node needs a name"
        } else if !(1..=64).contains(&self.lanes) {
            "a node has 1 to 64 lanes"
        } else if self.lease < Duration::from_millis(30) {
            "a lease lives for 30 ms at least"
        } else if self.active_max == 0 || self.queue_max == 0 {
            "the bounds of admission are 1 at least"
        } else if self.retention.batch == 0 {
            "retention deletes 1 saga at once at least; an interval of zero turns it off"
        } else {
            return Ok(());
        };
        Err(Error::Options(complaint.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused() {
        assert!(Options::default().check().is_ok());
        for broken in [
            Options {
                node: String::new(),
                ..Options::default()
            },
            Options {
                lanes: 0,
                ..Options::default()
            },
            Options {
                lanes: 65,
                ..Options::default()
            },
            Options {
                lease: Duration::ZERO,
                ..Options::default()
            },
            Options {
                active_max: 0,
                ..Options::default()
            },
            Options {
                queue_max: 0,
                ..Options::default()
            },
            Options {
                retention: Retention {
                    batch: 0,
                    ..Retention::default()
                },
                ..Options::default()
            },
        ] {
            assert!(broken.check().is_err(), "{broken:?}");
        }
    }
}
