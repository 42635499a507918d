//! What people ask for: cancels, signals, operators' acts.

use std::sync::Arc;

use crate::id::SagaId;
use crate::journal::SagaState;
use crate::saga::decide::Decision;
use crate::shard::entry::{InBatch, Moment, Slot};
use crate::shard::io::{
    CancelRefusal, Input, Order, OrderRefusal, Output, Signal, SignalRefusal, Token,
};
use crate::shard::machine::Shard;

/// Why nothing can be decided for a saga that somebody names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unnamed {
    NotFound,
    Unreadable,
    Unavailable,
}

impl Shard {
    pub(super) fn cancel(&mut self, input: &Input, batch: &mut InBatch, at: Moment<'_>) {
        let Input::Cancel {
            token,
            namespace,
            saga,
            by,
            reason,
        } = input
        else {
            return;
        };
        let result = match self.find(*saga, namespace) {
            Err(Unnamed::NotFound) => Err(CancelRefusal::NotFound),
            Err(Unnamed::Unreadable) => Err(CancelRefusal::Unreadable),
            Err(Unnamed::Unavailable) => Err(CancelRefusal::Unavailable),
            Ok(()) => self
                .on_saga(*saga, batch, at, |decision| decision.cancel(by, reason))
                .unwrap_or(Err(CancelRefusal::NotFound)),
        };
        batch.outputs.push(Output::Cancelled {
            token: *token,
            result,
        });
    }

    pub(super) fn signal(
        &mut self,
        token: Token,
        signal: &Signal,
        batch: &mut InBatch,
        at: Moment<'_>,
    ) {
        let result = match self.find(signal.saga, &signal.namespace) {
            Err(Unnamed::NotFound) => Err(SignalRefusal::NotFound),
            Err(Unnamed::Unreadable) => Err(SignalRefusal::Unreadable),
            Err(Unnamed::Unavailable) => Err(SignalRefusal::Unavailable),
            Ok(()) => self
                .on_saga(signal.saga, batch, at, |decision| decision.signal(signal))
                .unwrap_or(Err(SignalRefusal::NotFound)),
        };
        batch.outputs.push(Output::Signalled { token, result });
    }

    pub(super) fn order(
        &mut self,
        token: Token,
        order: &Order,
        batch: &mut InBatch,
        at: Moment<'_>,
    ) {
        let result = match self.find(order.saga, &order.namespace) {
            Err(Unnamed::NotFound) => Err(OrderRefusal::NotFound),
            Err(Unnamed::Unreadable) => Err(OrderRefusal::Unreadable),
            Err(Unnamed::Unavailable) => Err(OrderRefusal::Unavailable),
            Ok(()) if order.dry_run => self.rehearse(order, batch, at),
            Ok(()) => self
                .on_saga(order.saga, batch, at, |decision| decision.order(order))
                .unwrap_or(Err(OrderRefusal::NotFound)),
        };
        batch.outputs.push(Output::Acted { token, result });
    }

    /// What would become of an order: decided on a copy, and forgotten.
    fn rehearse(
        &mut self,
        order: &Order,
        batch: &mut InBatch,
        at: Moment<'_>,
    ) -> Result<SagaState, OrderRefusal> {
        // Touched, so that a saga that was loaded for this leaves memory again.
        self.touch(order.saga, batch);
        let Some(Slot::Present(entry)) = self.sagas.get(&order.saga) else {
            return Err(OrderRefusal::NotFound);
        };
        let mut copy = (*entry.saga).clone();
        let now = entry.time(at.now);
        let decision = Decision::new(&mut copy, now, at.surroundings);
        decision.settling_from(entry.settles_from).order(order)
    }

    /// The saga is in memory, and in the namespace that it is believed to be in.
    fn find(&self, saga: SagaId, namespace: &Arc<str>) -> Result<(), Unnamed> {
        match self.sagas.get(&saga) {
            None | Some(Slot::Loading(_)) => Err(Unnamed::Unavailable),
            Some(Slot::Absent) => Err(Unnamed::NotFound),
            Some(Slot::Unreadable(_)) => Err(Unnamed::Unreadable),
            Some(Slot::Present(entry)) if entry.saga.started().namespace == *namespace => Ok(()),
            Some(Slot::Present(_)) => Err(Unnamed::NotFound),
        }
    }
}
