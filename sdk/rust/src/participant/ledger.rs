//! The books about commands in hand: which attempts run, which outcomes wait for their acknowledgement, how much room
//! there is, and which epochs were seen. Pure: no stream, no task, no clock.

use amends_proto::v1;
use foldhash::{HashMap, HashMapExt as _};
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use crate::context::AttemptKey;
use crate::limits::{EPOCHS_PER_GENERATION, UNACKNOWLEDGED_BYTES_MAX, UNACKNOWLEDGED_MAX};

/// What is in hand.
#[derive(Debug)]
pub(crate) struct Ledger {
    concurrency: usize,
    running: HashMap<AttemptKey, CancellationToken>,
    /// Each with its size on the wire.
    unacknowledged: HashMap<AttemptKey, (v1::AttemptOutcome, usize)>,
    unacknowledged_bytes: usize,
    /// Commands that the server may still send on this stream.
    granted: usize,
    epochs: Epochs,
}

/// What to do with a command.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    /// Run it; this token cancels it.
    Run(CancellationToken),
    /// It runs already.
    Running,
    /// It has run, and this outcome waits for its acknowledgement.
    Answered(Box<v1::AttemptOutcome>),
    /// It comes from an owner of the shard that was deposed: a newer epoch was seen for its saga.
    Fenced {
        /// The newest epoch seen.
        seen: u64,
    },
}

impl Ledger {
    pub(crate) fn new(concurrency: usize) -> Self {
        Self {
            concurrency,
            running: HashMap::new(),
            unacknowledged: HashMap::new(),
            unacknowledged_bytes: 0,
            granted: 0,
            epochs: Epochs::default(),
        }
    }

    /// A stream begins: returns its first credit. The wire wants at least one.
    pub(crate) fn attached(&mut self) -> usize {
        self.granted = 0;
        self.credit_due().unwrap_or_else(|| {
            self.granted = 1;
            1
        })
    }

    /// Another database answers: its epochs have nothing to do with those seen.
    pub(crate) fn forget_epochs(&mut self) {
        self.epochs = Epochs::default();
    }

    /// Room that the server does not know of yet. None while too many outcomes wait for their acknowledgement.
    pub(crate) fn credit_due(&mut self) -> Option<usize> {
        if self.unacknowledged.len() >= UNACKNOWLEDGED_MAX
            || self.unacknowledged_bytes >= UNACKNOWLEDGED_BYTES_MAX
        {
            return None;
        }
        let taken = self.running.len() + self.granted;
        let due = self.concurrency.checked_sub(taken).filter(|due| *due > 0)?;
        self.granted += due;
        Some(due)
    }

    pub(crate) fn accept(&mut self, command: &v1::Command) -> Decision {
        self.granted = self.granted.saturating_sub(1);
        if let Err(seen) = self.epochs.admit(&command.saga, command.epoch) {
            return Decision::Fenced { seen };
        }
        let key = (command.operation_key.clone(), command.attempt);
        if let Some((outcome, _)) = self.unacknowledged.get(&key) {
            return Decision::Answered(Box::new(outcome.clone()));
        }
        if self.running.contains_key(&key) {
            return Decision::Running;
        }
        let token = CancellationToken::new();
        self.running.insert(key, token.clone());
        Decision::Run(token)
    }

    pub(crate) fn finished(&mut self, outcome: &v1::AttemptOutcome) {
        let key = (outcome.operation_key.clone(), outcome.attempt);
        self.running.remove(&key);
        let bytes = outcome.encoded_len();
        self.unacknowledged_bytes += bytes;
        let replaced = self.unacknowledged.insert(key, (outcome.clone(), bytes));
        if let Some((_, replaced)) = replaced {
            self.unacknowledged_bytes -= replaced;
        }
    }

    /// Whether the outcome was waiting for this.
    pub(crate) fn acknowledged(&mut self, key: &AttemptKey) -> bool {
        match self.unacknowledged.remove(key) {
            Some((_, bytes)) => {
                self.unacknowledged_bytes -= bytes;
                true
            }
            None => false,
        }
    }

    pub(crate) fn withdraw(&mut self, key: &AttemptKey) {
        if let Some(token) = self.running.get(key) {
            token.cancel();
        }
    }

    pub(crate) fn cancel_all(&self) {
        for token in self.running.values() {
            token.cancel();
        }
    }

    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = &v1::AttemptOutcome> {
        self.unacknowledged.values().map(|(outcome, _)| outcome)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = v1::AttemptKey> {
        self.running.keys().map(into_wire)
    }

    pub(crate) fn is_running(&self, key: &AttemptKey) -> bool {
        self.running.contains_key(key)
    }

    /// Everything that a new stream has to know of.
    pub(crate) fn in_hand(&self) -> Vec<v1::AttemptKey> {
        let unacknowledged = self.unacknowledged.keys().map(into_wire);
        self.running().chain(unacknowledged).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.unacknowledged.is_empty()
    }
}

pub(crate) fn into_wire(key: &AttemptKey) -> v1::AttemptKey {
    v1::AttemptKey {
        operation_key: key.0.clone(),
        attempt: key.1,
    }
}

/// The newest epoch seen for each of the sagas seen last. Two generations bound it: when the younger is full it becomes
/// the older, and what was only in the older is forgotten.
#[derive(Debug, Default)]
struct Epochs {
    young: HashMap<String, u64>,
    old: HashMap<String, u64>,
}

impl Epochs {
    fn admit(&mut self, saga: &str, epoch: u64) -> Result<(), u64> {
        let young = self.young.get(saga).copied();
        let seen = young.or_else(|| self.old.get(saga).copied()).unwrap_or(0);
        if epoch < seen {
            return Err(seen);
        }
        if young != Some(epoch) {
            if young.is_none() && self.young.len() >= EPOCHS_PER_GENERATION {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(saga.to_owned(), epoch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(key: &str, attempt: u32, epoch: u64) -> v1::Command {
        v1::Command {
            operation_key: key.to_owned(),
            attempt,
            saga: "s".to_owned(),
            epoch,
            ..Default::default()
        }
    }

    fn outcome(key: &str, attempt: u32) -> v1::AttemptOutcome {
        v1::AttemptOutcome {
            operation_key: key.to_owned(),
            attempt,
            ..Default::default()
        }
    }

    #[test]
    fn room_is_granted_once_and_again_when_an_attempt_ends() {
        let mut ledger = Ledger::new(2);
        assert_eq!(ledger.attached(), 2);
        assert_eq!(ledger.credit_due(), None);
        assert!(matches!(
            ledger.accept(&command("a", 1, 1)),
            Decision::Run(_)
        ));
        assert_eq!(ledger.credit_due(), None);
        ledger.finished(&outcome("a", 1));
        assert_eq!(ledger.credit_due(), Some(1));
    }

    #[test]
    fn a_full_participant_attaches_with_one_credit_and_owes_it() {
        let mut ledger = Ledger::new(1);
        ledger.attached();
        ledger.accept(&command("a", 1, 1));
        assert_eq!(ledger.attached(), 1);
        ledger.finished(&outcome("a", 1));
        assert_eq!(ledger.credit_due(), None);
    }

    #[test]
    fn a_command_in_hand_does_not_run_twice() {
        let mut ledger = Ledger::new(4);
        ledger.attached();
        assert!(matches!(
            ledger.accept(&command("a", 1, 1)),
            Decision::Run(_)
        ));
        assert_eq!(ledger.accept(&command("a", 1, 1)), Decision::Running);
        ledger.finished(&outcome("a", 1));
        let again = ledger.accept(&command("a", 1, 1));
        assert_eq!(again, Decision::Answered(Box::new(outcome("a", 1))));
        assert_eq!(ledger.in_hand(), vec![into_wire(&("a".to_owned(), 1))]);
        assert!(ledger.acknowledged(&("a".to_owned(), 1)));
        assert!(!ledger.acknowledged(&("a".to_owned(), 1)));
        assert!(ledger.is_empty());
        assert!(matches!(
            ledger.accept(&command("a", 2, 1)),
            Decision::Run(_)
        ));
    }

    #[test]
    fn a_command_of_a_deposed_owner_is_refused_until_the_database_is_another() {
        let mut ledger = Ledger::new(4);
        ledger.attached();
        ledger.accept(&command("a", 1, 7));
        assert_eq!(
            ledger.accept(&command("b", 1, 6)),
            Decision::Fenced { seen: 7 }
        );
        ledger.forget_epochs();
        assert!(matches!(
            ledger.accept(&command("b", 1, 6)),
            Decision::Run(_)
        ));
    }

    #[test]
    fn too_many_outcomes_without_acknowledgement_stop_the_credit() {
        let mut ledger = Ledger::new(1);
        ledger.attached();
        for number in 0..UNACKNOWLEDGED_MAX {
            ledger.finished(&outcome(&number.to_string(), 1));
        }
        ledger.accept(&command("a", 1, 1));
        ledger.finished(&outcome("a", 1));
        assert_eq!(ledger.credit_due(), None);
        for key in ["0", "a"] {
            ledger.acknowledged(&(key.to_owned(), 1));
        }
        assert_eq!(ledger.credit_due(), Some(1));
    }

    #[test]
    fn memory_of_epochs_is_bounded_and_keeps_the_sagas_seen_last() {
        let mut epochs = Epochs::default();
        for number in 0..=EPOCHS_PER_GENERATION {
            epochs.admit(&number.to_string(), 5).unwrap();
        }
        let newest = EPOCHS_PER_GENERATION.to_string();
        assert_eq!(epochs.admit(&newest, 4), Err(5));
        assert_eq!(epochs.admit("0", 4), Err(5));
        for number in 0..2 * EPOCHS_PER_GENERATION {
            epochs.admit(&format!("x{number}"), 5).unwrap();
        }
        assert!(epochs.young.len() + epochs.old.len() <= 2 * EPOCHS_PER_GENERATION);
        assert_eq!(epochs.admit("0", 4), Ok(()));
    }
}
