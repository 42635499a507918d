//! How much room participants had, as the nodes were told: what they granted on a stream, less what was sent to them on it.
//! Deliberately not here: judgement.

use std::collections::BTreeMap;
use std::time::Duration;

use amends_core::Time;

use crate::history::{Entry, Event, Sent};

/// The room of each participant with each node.
#[derive(Debug, Default)]
pub struct Rooms(BTreeMap<(usize, usize), Vec<Change>>);

/// Room from a place in the history on.
#[derive(Clone, Copy, Debug)]
struct Change {
    index: usize,
    at: Time,
    session: u64,
    room: usize,
}

impl Rooms {
    pub fn of(entries: &[Entry]) -> Self {
        let mut rooms = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            let (key, session) = match &entry.event {
                Event::Credited {
                    node,
                    participant,
                    session,
                    ..
                } => ((*node, *participant), *session),
                Event::Sent(sent) => ((sent.node, sent.participant), sent.session),
                _ => continue,
            };
            let changes = rooms.0.entry(key).or_default();
            let last = changes.last().filter(|last| last.session == session);
            let had = last.map_or(0, |last| last.room);
            let room = match &entry.event {
                Event::Credited { commands, .. } => had + commands,
                _ => had.saturating_sub(1),
            };
            changes.push(Change {
                index,
                at: entry.at,
                session,
                room,
            });
        }
        rooms
    }

    /// The room that there was for a command when it left.
    pub fn before(&self, index: usize, sent: &Sent) -> usize {
        let changes = self.changes(sent).iter();
        let before = changes.rev().find(|change| change.index < index);
        before
            .filter(|before| before.session == sent.session)
            .map_or(0, |before| before.room)
    }

    /// For how long there was none, between a time and when a command left.
    pub fn none_since(&self, from: Time, index: usize, sent: &Sent) -> Duration {
        let changes = self.changes(sent);
        let pairs = changes.iter().zip(changes.iter().skip(1));
        let full = pairs.filter(|(change, next)| change.room == 0 && next.index <= index);
        full.map(|(change, next)| next.at.since(change.at.max(from)))
            .sum()
    }

    fn changes(&self, sent: &Sent) -> &[Change] {
        let changes = self.0.get(&(sent.node, sent.participant));
        changes.map_or(&[], Vec::as_slice)
    }
}
