//! The client's numbers that are open: from when a start is taken until the last that is told of it. Each is room, of which a
//! stream has only so much.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use amends_orchestrator::Refusal;
use amends_proto::v1;
use tokio::sync::Semaphore;

use crate::limits::STARTS_OPEN_MAX;
use crate::status::invalid;

/// Numbers that are open.
#[derive(Debug)]
pub(super) struct Numbers {
    table: Mutex<Table>,
    room: Semaphore,
}

#[derive(Debug, Default)]
struct Table {
    /// Whether it is to be told how the saga settles.
    open: HashMap<u64, bool>,
    /// Those whose start is neither durable nor refused.
    unanswered: usize,
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self {
            table: Mutex::default(),
            room: Semaphore::new(STARTS_OPEN_MAX),
        }
    }

    /// Opens the numbers of a message, once there is room for all.
    ///
    /// # Errors
    /// If one of them is open already: then none is opened.
    pub(super) async fn open(&self, starts: &[v1::SequencedStart]) -> Result<(), Refusal> {
        let count = u32::try_from(starts.len()).unwrap_or(u32::MAX);
        // It is never closed.
        if let Ok(room) = self.room.acquire_many(count).await {
            // It comes back with the last answers.
            room.forget();
        }
        let mut table = self.lock();
        for (index, start) in starts.iter().enumerate() {
            match table.open.entry(start.sequence) {
                Entry::Vacant(entry) => {
                    entry.insert(start.tell_settled);
                }
                Entry::Occupied(_) => return Err(in_use(index, start.sequence)),
            }
        }
        table.unanswered += starts.len();
        Ok(())
    }

    /// A start was answered, and its saga runs or not: true if its number stays open.
    pub(super) fn answered(&self, sequence: u64, started: bool) -> bool {
        let mut table = self.lock();
        table.unanswered = table.unanswered.saturating_sub(1);
        let stays = started && table.open.get(&sequence).copied().unwrap_or(false);
        if !stays {
            table.open.remove(&sequence);
        }
        stays
    }

    /// The last was told of a start.
    pub(super) fn close(&self, sequence: u64) {
        self.lock().open.remove(&sequence);
    }

    /// Numbers that were closed are room again.
    pub(super) fn give_back(&self, count: usize) {
        self.room.add_permits(count);
    }

    pub(super) fn none_open(&self) -> bool {
        self.lock().open.is_empty()
    }

    pub(super) fn none_unanswered(&self) -> bool {
        self.lock().unanswered == 0
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_use(index: usize, sequence: u64) -> Refusal {
    invalid(
        "SEQUENCE_IN_USE",
        &format!("starts.starts[{index}].sequence"),
        format!(
            "{sequence} is open: a number may be said again once the last was told of its start"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(sequences: impl IntoIterator<Item = u64>) -> Vec<v1::SequencedStart> {
        let start = |sequence| v1::SequencedStart {
            sequence,
            start: None,
            tell_settled: sequence % 2 == 1,
        };
        sequences.into_iter().map(start).collect()
    }

    #[tokio::test]
    async fn a_number_is_open_until_the_last_was_told_of_its_start() {
        let numbers = Numbers::new();
        numbers.open(&starts([1, 2, 3])).await.unwrap();
        assert!(!numbers.none_unanswered());
        assert!(numbers.answered(1, true));
        assert!(!numbers.answered(2, true) && !numbers.answered(3, false));
        assert!(numbers.none_unanswered() && !numbers.none_open());
        let refusal = numbers.open(&starts([4, 1])).await.unwrap_err();
        assert_eq!(refusal.reason, "SEQUENCE_IN_USE");
        assert_eq!(refusal.violations[0].0, "starts.starts[1].sequence");
        numbers.close(1);
        assert!(numbers.open(&starts([1, 2, 3])).await.is_ok());
        let twice = numbers.open(&starts([7, 7])).await.unwrap_err();
        assert_eq!(twice.reason, "SEQUENCE_IN_USE");
    }

    #[tokio::test]
    async fn as_many_are_open_as_the_bound_says_and_one_more_waits_for_room() {
        let numbers = Numbers::new();
        let full = starts(0..STARTS_OPEN_MAX as u64);
        numbers.open(&full).await.unwrap();
        let more = starts([u64::MAX]);
        let mut waiting = Box::pin(numbers.open(&more));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        numbers.close(0);
        numbers.give_back(1);
        assert!(waiting.await.is_ok());
    }
}
