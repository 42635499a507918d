//! Who wants to hear of a saga's committed changes: whoever watches it hears of each, whoever started it and wants to know
//! how it settles hears that once, with the saga itself, so that nothing is read for it. Entries without a listener are
//! swept out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amends_core::SagaId;
use amends_core::journal::SagaState;
use amends_core::saga::Saga;
use tokio::sync::watch;

use crate::limits::SUBSCRIPTIONS_SWEEP_MIN;
use crate::starter::Listener;

/// Listeners by saga.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    table: Mutex<Table>,
    /// False while there is none: then a change costs one load.
    any: AtomicBool,
}

/// A committed change of a saga.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) saga: SagaId,
    pub(crate) state: SagaState,
    /// The saga, if it has ended or is parked, and can be read.
    pub(crate) settled: Option<Arc<Saga>>,
}

#[derive(Debug, Default)]
struct Table {
    watched: Swept<watch::Sender<Option<SagaState>>>,
    awaited: Swept<Vec<Listener>>,
}

/// A map that looks for entries without a listener whenever it has doubled.
#[derive(Debug)]
struct Swept<V> {
    by_saga: HashMap<SagaId, V>,
    sweep_at: usize,
}

impl Subscriptions {
    /// Tells of every change, from now on.
    pub(crate) fn subscribe(&self, saga: SagaId) -> watch::Receiver<Option<SagaState>> {
        let mut table = self.lock();
        let watched = &mut table.watched;
        watched.sweep(|sender| sender.receiver_count() > 0);
        self.any.store(true, Ordering::Release);
        watched
            .by_saga
            .entry(saga)
            .or_insert_with(|| watch::Sender::new(None))
            .subscribe()
    }

    /// Tells once how the saga settles, if it does from now on.
    pub(crate) fn listen(&self, saga: SagaId, listener: Listener) {
        let mut table = self.lock();
        self.any.store(true, Ordering::Release);
        table.listen(saga, listener);
    }

    /// Takes a listener away; false if it has been told.
    pub(crate) fn unlisten(&self, saga: SagaId, listener: &Listener) -> bool {
        let mut table = self.lock();
        let Some(listeners) = table.awaited.by_saga.get_mut(&saga) else {
            return false;
        };
        let before = listeners.len();
        listeners.retain(|known| !known.is(listener));
        let found = listeners.len() < before;
        if listeners.is_empty() {
            table.awaited.by_saga.remove(&saga);
        }
        found
    }

    /// Tells of changes, those of sagas that have only just begun to be listened to among them.
    pub(crate) fn tell(&self, begun: Vec<(SagaId, Listener)>, changes: Vec<Change>) {
        if begun.is_empty() && !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut table = self.lock();
        for (saga, listener) in begun {
            self.any.store(true, Ordering::Release);
            table.listen(saga, listener);
        }
        for change in changes {
            table.changed(change);
        }
        if table.watched.by_saga.is_empty() && table.awaited.by_saga.is_empty() {
            self.any.store(false, Ordering::Release);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn listen(&mut self, saga: SagaId, listener: Listener) {
        self.awaited
            .sweep(|listeners| listeners.iter().any(|listener| !listener.has_gone()));
        let listeners = self.awaited.by_saga.entry(saga).or_default();
        listeners.push(listener);
    }

    fn changed(&mut self, change: Change) {
        let Change {
            saga,
            state,
            settled,
        } = change;
        if let Some(sender) = self.watched.by_saga.get(&saga) {
            if sender.receiver_count() == 0 {
                self.watched.by_saga.remove(&saga);
            } else {
                sender.send_replace(Some(state));
            }
        }
        if state.is_settled()
            && let Some(listeners) = self.awaited.by_saga.remove(&saga)
        {
            for listener in listeners {
                listener.settled(saga, state, settled.clone());
            }
        }
    }
}

impl<V> Swept<V> {
    fn sweep(&mut self, has_listener: impl Fn(&V) -> bool) {
        if self.by_saga.len() >= self.sweep_at.max(SUBSCRIPTIONS_SWEEP_MIN) {
            self.by_saga.retain(|_, entry| has_listener(entry));
            self.sweep_at = self.by_saga.len() * 2;
        }
    }
}

impl<V> Default for Swept<V> {
    fn default() -> Self {
        Self {
            by_saga: HashMap::new(),
            sweep_at: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use amends_core::{ShardId, Time};

    use super::*;

    fn saga(number: u64) -> SagaId {
        SagaId::new(Time::from_micros(1_000_000), ShardId(0), number)
    }

    fn change(number: u64, state: SagaState) -> Vec<Change> {
        vec![Change {
            saga: saga(number),
            state,
            settled: None,
        }]
    }

    #[test]
    fn every_listener_hears_of_a_change() {
        let subscriptions = Subscriptions::default();
        let (mut first, mut second) = (
            subscriptions.subscribe(saga(1)),
            subscriptions.subscribe(saga(1)),
        );
        subscriptions.tell(Vec::new(), change(1, SagaState::Compensating));
        subscriptions.tell(Vec::new(), change(2, SagaState::Completed));
        assert_eq!(*first.borrow_and_update(), Some(SagaState::Compensating));
        assert_eq!(*second.borrow_and_update(), Some(SagaState::Compensating));
    }

    #[test]
    fn listeners_that_left_leave_nothing_behind() {
        let subscriptions = Subscriptions::default();
        for number in 0..5 * SUBSCRIPTIONS_SWEEP_MIN as u64 {
            drop(subscriptions.subscribe(saga(number)));
        }
        assert!(subscriptions.lock().watched.by_saga.len() <= SUBSCRIPTIONS_SWEEP_MIN);
        drop(subscriptions.subscribe(saga(u64::MAX >> 2)));
        subscriptions.tell(Vec::new(), change(u64::MAX >> 2, SagaState::Completed));
        assert!(
            !subscriptions
                .lock()
                .watched
                .by_saga
                .contains_key(&saga(u64::MAX >> 2))
        );
    }
}
