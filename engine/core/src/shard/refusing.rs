//! Inputs that lead to nothing, each with its answer; and sagas that cannot be read, or whose data the store refuses.

use crate::fact::{Fact, Incident, IncidentReason};
use crate::id::SagaId;
use crate::journal::SagaState;
use crate::shard::entry::{InBatch, Queued, Slot, Unreadable};
use crate::shard::io::{
    Acknowledged, CancelRefusal, Input, OrderRefusal, Output, SignalRefusal, StartRefusal,
};
use crate::shard::machine::Shard;
use crate::time::Time;

/// A state that an unreadable saga is shown in.
pub(super) const UNREADABLE_STATE: SagaState = SagaState::Parked;

/// Why an input leads to nothing.
#[derive(Clone, Copy)]
enum Why<'a> {
    /// This node lost the shard, or cannot reach the store.
    Unavailable,
    /// There is no such saga.
    Absent,
    /// The store refuses the data.
    Data(&'a str),
}

impl Unreadable {
    pub fn incident(&self) -> Incident {
        Incident {
            place: None,
            operation: None,
            reason: self.reason,
            code: None,
            message: self.message.clone(),
        }
    }
}

impl Shard {
    /// Answers an input that is not decided here any more.
    pub(super) fn refuse(&mut self, input: &Input) {
        self.outputs.extend(refusal(input, Why::Unavailable));
    }

    /// Answers an input for a saga that does not exist.
    pub(super) fn answer_absent(&mut self, input: &Input) {
        let mut refusal = refusal(input, Why::Absent);
        if let (Some(Output::Acknowledge { acknowledged, .. }), Input::Outcome { report, .. }) =
            (&mut refusal, input)
        {
            *acknowledged = self.as_far_as_known(*acknowledged, report);
        }
        self.outputs.extend(refusal);
    }

    /// The store refuses what this input leads to: it is answered, and its saga parks. What a saga's own timers lead to
    /// would be refused again and again: they rest until something arrives for it.
    pub(super) fn refuse_data(&mut self, queued: &Queued, message: &str) {
        let saga = match queued {
            Queued::Wake(saga) | Queued::Reconcile(saga) => {
                self.rest_timers(*saga);
                Some(*saga)
            }
            // To park was what was refused: the saga stays in memory as it is.
            Queued::Park { saga, .. } => {
                self.rest_timers(*saga);
                None
            }
            Queued::ParkUnreadable(_) => None,
            Queued::Input { input, .. } => {
                self.outputs.extend(refusal(input, Why::Data(message)));
                match input {
                    Input::Start { .. } => None,
                    Input::Child(wish) => self.refuse_wish(wish, message),
                    Input::Outcome { report, .. } => Some(report.attempt.saga),
                    Input::Cancel { saga, .. } | Input::Loaded { saga, .. } => Some(*saga),
                    Input::Signal { signal, .. } => Some(signal.saga),
                    Input::Order { order, .. } => Some(order.saga),
                    Input::ChildAnswered(answer) => Some(answer.parent.saga),
                    Input::Sent { attempt }
                    | Input::Withdrawn { attempt }
                    | Input::Heartbeat { attempt } => Some(attempt.saga),
                }
            }
        };
        if let Some(saga) = saga {
            let (reason, message) = (IncidentReason::RecordRefused, message.to_owned());
            self.queue.push_front(Queued::Park {
                saga,
                reason,
                message,
            });
        }
    }

    /// What a saga's own timers lead to was refused.
    fn rest_timers(&mut self, id: SagaId) {
        if let Some(Slot::Present(entry)) = self.sagas.get_mut(&id) {
            entry.refused = true;
            entry.rests_until = None;
            if let Some(at) = entry.wake_at.take() {
                self.timers.remove(&(at, id));
            }
        }
    }

    pub(super) fn park_unreadable(&mut self, id: SagaId, batch: &mut InBatch, now: Time) {
        self.touch(id, batch);
        let Some(Slot::Unreadable(unreadable)) = self.sagas.get_mut(&id) else {
            return;
        };
        unreadable.state = UNREADABLE_STATE;
        let incident = unreadable.incident();
        let incidents_before = unreadable.known.as_ref().map_or(0, |known| known.1);
        self.push_row(id, vec![Fact::IncidentOpened(incident)], now, batch);
        batch.outputs.push(Output::Changed {
            saga: id,
            state: UNREADABLE_STATE,
            settled: None,
            incidents_before,
        });
    }
}

/// The answer to an input that leads to nothing; none if nobody waits for one.
fn refusal(input: &Input, why: Why<'_>) -> Option<Output> {
    Some(match input {
        Input::Start { token, .. } => Output::Started {
            token: *token,
            result: Err(match why {
                Why::Unavailable | Why::Absent => StartRefusal::Unavailable,
                Why::Data(message) => StartRefusal::Data {
                    message: message.to_owned(),
                },
            }),
        },
        Input::Outcome {
            token: Some(token), ..
        } => Output::Acknowledge {
            token: *token,
            acknowledged: match why {
                Why::Unavailable => Acknowledged::Unavailable,
                Why::Absent => Acknowledged::UnknownOperation,
                Why::Data(_) => Acknowledged::Unreadable,
            },
        },
        Input::Cancel { token, .. } => Output::Cancelled {
            token: *token,
            result: Err(match why {
                Why::Unavailable | Why::Data(_) => CancelRefusal::Unavailable,
                Why::Absent => CancelRefusal::NotFound,
            }),
        },
        Input::Signal { token, .. } => Output::Signalled {
            token: *token,
            result: Err(match why {
                Why::Unavailable | Why::Data(_) => SignalRefusal::Unavailable,
                Why::Absent => SignalRefusal::NotFound,
            }),
        },
        Input::Order { token, .. } => Output::Acted {
            token: *token,
            result: Err(match why {
                Why::Unavailable | Why::Data(_) => OrderRefusal::Unavailable,
                Why::Absent => OrderRefusal::NotFound,
            }),
        },
        Input::Outcome { token: None, .. }
        | Input::Sent { .. }
        | Input::Withdrawn { .. }
        | Input::Heartbeat { .. }
        | Input::Child(_)
        | Input::ChildAnswered(_)
        | Input::Loaded { .. } => return None,
    })
}
