//! Who wants to hear of a saga's committed changes. Entries without a listener are swept out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use amends_core::SagaId;
use amends_core::journal::SagaState;
use tokio::sync::watch;

use crate::limits::SUBSCRIPTIONS_SWEEP_MIN;

/// Listeners by saga.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_saga: Mutex<Table>,
    /// False while there is none: then a change costs one load.
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    senders: HashMap<SagaId, watch::Sender<Option<SagaState>>>,
    sweep_at: usize,
}

impl Subscriptions {
    pub(crate) fn subscribe(&self, saga: SagaId) -> watch::Receiver<Option<SagaState>> {
        let mut table = self.lock();
        if table.senders.len() >= table.sweep_at.max(SUBSCRIPTIONS_SWEEP_MIN) {
            table
                .senders
                .retain(|_, sender| sender.receiver_count() > 0);
            table.sweep_at = table.senders.len() * 2;
        }
        self.any.store(true, Ordering::Release);
        table
            .senders
            .entry(saga)
            .or_insert_with(|| watch::Sender::new(None))
            .subscribe()
    }

    pub(crate) fn changed(&self, saga: SagaId, state: SagaState) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut table = self.lock();
        let Some(sender) = table.senders.get(&saga) else {
            return;
        };
        if sender.receiver_count() == 0 {
            table.senders.remove(&saga);
            if table.senders.is_empty() {
                self.any.store(false, Ordering::Release);
            }
        } else {
            sender.send_replace(Some(state));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.by_saga.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use amends_core::{ShardId, Time};

    use super::*;

    fn saga(number: u64) -> SagaId {
        SagaId::new(Time::from_micros(1_000_000), ShardId(0), number)
    }

    #[test]
    fn every_listener_hears_of_a_change() {
        let subscriptions = Subscriptions::default();
        let (mut first, mut second) = (
            subscriptions.subscribe(saga(1)),
            subscriptions.subscribe(saga(1)),
        );
        subscriptions.changed(saga(1), SagaState::Compensating);
        subscriptions.changed(saga(2), SagaState::Completed);
        assert_eq!(*first.borrow_and_update(), Some(SagaState::Compensating));
        assert_eq!(*second.borrow_and_update(), Some(SagaState::Compensating));
    }

    #[test]
    fn listeners_that_left_leave_nothing_behind() {
        let subscriptions = Subscriptions::default();
        for number in 0..5 * SUBSCRIPTIONS_SWEEP_MIN as u64 {
            drop(subscriptions.subscribe(saga(number)));
        }
        assert!(subscriptions.lock().senders.len() <= SUBSCRIPTIONS_SWEEP_MIN);
        drop(subscriptions.subscribe(saga(u64::MAX >> 2)));
        subscriptions.changed(saga(u64::MAX >> 2), SagaState::Completed);
        assert!(
            !subscriptions
                .lock()
                .senders
                .contains_key(&saga(u64::MAX >> 2))
        );
    }
}
