//! Signals that a saga has accepted: those that nothing took yet, and of each id the latest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amends_definitions::Payload;

use crate::fact::SignalReceived;

/// Accepted signals.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Signals {
    pub(crate) received: u32,
    pub(crate) pending: VecDeque<SignalReceived>,
    pub(crate) latest: BTreeMap<String, Payload>,
    pub(crate) dedupe_ids: BTreeSet<String>,
}

impl Signals {
    /// How many were accepted.
    #[must_use]
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Those that nothing took yet, in the order of acceptance.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = &SignalReceived> {
        self.pending.iter()
    }

    /// The latest payload of an id.
    #[must_use]
    pub fn latest(&self, signal: &str) -> Option<&Payload> {
        self.latest.get(signal)
    }

    pub(crate) fn receive(&mut self, signal: &SignalReceived) {
        self.received = self.received.max(signal.number);
        self.latest
            .insert(signal.signal.clone(), signal.payload.clone());
        self.dedupe_ids.extend(signal.dedupe_id.clone());
        self.pending.push_back(signal.clone());
    }

    /// Takes a signal out of those that wait.
    pub(crate) fn take(&mut self, number: u32) -> Option<SignalReceived> {
        let at = self
            .pending
            .iter()
            .position(|signal| signal.number == number)?;
        self.pending.remove(at)
    }
}
