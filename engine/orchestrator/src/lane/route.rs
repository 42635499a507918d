//! Where outputs go: to those who wait, to the registry, to the loader, to subscribers.

use std::collections::BTreeMap;

use amends_core::OperationKey;
use amends_core::journal::SagaState;
use amends_core::shard::{
    Acknowledged, CancelDisposition, CancelRefusal, Input, OrderRefusal, Output, SignalRefusal,
    StartRefusal, Token,
};
use tokio::sync::OwnedSemaphorePermit;

use super::Waiting;
use super::task::LaneTask;
use crate::dispatch::{Acknowledgement, InstanceId, Order};
use crate::starter::Caller;
use crate::subscriptions::Change;
use crate::{children, telemetry};

/// Who waits for the answer to an input.
#[derive(Debug)]
pub(super) enum Waiter {
    Start(Caller),
    Cancel(Waiting<Result<CancelDisposition, CancelRefusal>>),
    Signal(Waiting<Result<bool, SignalRefusal>>),
    Act(Waiting<Result<SagaState, OrderRefusal>>),
    Outcome {
        instance: InstanceId,
        key: OperationKey,
        attempt: u32,
        _permit: OwnedSemaphorePermit,
    },
}

impl LaneTask {
    /// Lets out what is durable.
    pub(super) fn let_out(&mut self) {
        if self.outputs.is_empty() {
            return;
        }
        let mut orders = Vec::new();
        let mut answers: BTreeMap<InstanceId, Vec<Acknowledgement>> = BTreeMap::new();
        let (mut begun, mut changes) = (Vec::new(), Vec::new());
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Send(command) => orders.push(Order::Send(command)),
                Output::Withdraw { attempt, .. } => orders.push(Order::Withdraw(attempt)),
                Output::Started { token, result } => {
                    if let Some(Waiter::Start(caller)) = self.waiters.remove(&token.0) {
                        begun.extend(caller.answer(result));
                    }
                }
                Output::Cancelled { token, result } => {
                    if let Some(Waiter::Cancel(waiting)) = self.waiters.remove(&token.0) {
                        answer(waiting, result);
                    }
                }
                Output::Signalled { token, result } => {
                    if let Some(Waiter::Signal(waiting)) = self.waiters.remove(&token.0) {
                        answer(waiting, result);
                    }
                }
                Output::Acted { token, result } => {
                    if let Some(Waiter::Act(waiting)) = self.waiters.remove(&token.0) {
                        answer(waiting, result);
                    }
                }
                Output::ResolveChild(request) => children::resolve(&self.node, request),
                Output::AskChild(wish) => children::ask(&self.node, wish),
                Output::AnswerParent(answer) => children::answer(&self.node, answer),
                Output::Acknowledge {
                    token,
                    acknowledged,
                } => {
                    self.acknowledge(token, acknowledged, &mut answers);
                }
                Output::Load { saga } => {
                    let urgent = self.urgent.remove(&saga);
                    self.node.loads.ask(saga, urgent);
                }
                Output::Changed {
                    saga,
                    state,
                    settled,
                    incidents_before,
                } => {
                    if state.is_terminal() {
                        orders.push(Order::Forget(saga));
                    }
                    telemetry::saga_changed(saga, state.as_str());
                    if state == SagaState::Parked
                        && let Some(parked) = &settled
                    {
                        telemetry::parked(saga, parked, incidents_before);
                    }
                    changes.push(Change {
                        saga,
                        state,
                        settled,
                    });
                }
            }
        }
        self.node.subscriptions.tell(begun, changes);
        self.node.registry.apply(orders);
        self.node.registry.acknowledge(answers);
    }

    fn acknowledge(
        &mut self,
        token: Token,
        acknowledged: Acknowledged,
        answers: &mut BTreeMap<InstanceId, Vec<Acknowledgement>>,
    ) {
        if let Some(Waiter::Outcome {
            instance,
            key,
            attempt,
            ..
        }) = self.waiters.remove(&token.0)
        {
            telemetry::outcome_acknowledged(&key, attempt, acknowledged);
            answers.entry(instance).or_default().push(Acknowledgement {
                key,
                attempt,
                acknowledged,
            });
        }
    }
}

/// The answer to an input for a shard that this node does not serve.
pub(super) fn refusal_of(input: &Input) -> Option<Output> {
    match input {
        Input::Start { token, .. } => Some(Output::Started {
            token: *token,
            result: Err(StartRefusal::Unavailable),
        }),
        Input::Cancel { token, .. } => Some(Output::Cancelled {
            token: *token,
            result: Err(CancelRefusal::Unavailable),
        }),
        Input::Outcome {
            token: Some(token), ..
        } => Some(Output::Acknowledge {
            token: *token,
            acknowledged: Acknowledged::Unavailable,
        }),
        Input::Signal { token, .. } => Some(Output::Signalled {
            token: *token,
            result: Err(SignalRefusal::Unavailable),
        }),
        Input::Order { token, .. } => Some(Output::Acted {
            token: *token,
            result: Err(OrderRefusal::Unavailable),
        }),
        // Parents and children ask again.
        Input::Child(_)
        | Input::ChildAnswered(_)
        | Input::Outcome { token: None, .. }
        | Input::Sent { .. }
        | Input::Heartbeat { .. }
        | Input::Withdrawn { .. }
        | Input::Loaded { .. } => None,
    }
}

fn answer<T>(waiting: Waiting<T>, result: T) {
    let Waiting { reply, ticket } = waiting;
    drop(ticket);
    // Whoever asked may have gone.
    let _ = reply.send(result);
}
