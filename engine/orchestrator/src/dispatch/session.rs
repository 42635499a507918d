//! A participant's end of dispatch: what it says when it attaches, what it gets, and the handle through which it answers.

use std::sync::Arc;

use amends_core::shard::{Acknowledged, Command, Report};
use amends_core::{OperationKey, Outcome, Verdict};
use amends_definitions::ActionName;
use tokio::sync::mpsc;

use super::{InstanceId, Registry, attempt_of};
use crate::lane::ReportedOutcome;

/// A participant instance that wants work.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The tenant.
    pub namespace: String,
    /// The participant's name.
    pub participant: String,
    /// This process.
    pub instance: String,
    /// What it runs, such as `amends-sdk-rust/0.1.0`; for people.
    pub sdk: String,
    /// What it serves, and whether behind a barrier.
    pub actions: Vec<(ActionName, bool)>,
    /// How many commands it takes at first.
    pub credit: u32,
    /// What it still has in hand: commands that are not sent to it again.
    pub in_hand: Vec<(OperationKey, u32)>,
}

/// A participant's session. Its stream is lost when its last handle is dropped.
#[derive(Debug)]
pub struct Session {
    /// What is for the participant; it ends when the session was replaced by a newer one.
    pub deliveries: mpsc::UnboundedReceiver<Delivery>,
    /// What comes from it.
    pub handle: SessionHandle,
}

/// What comes from a participant. When the last clone is dropped, the stream counts as lost.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    end: Arc<End>,
}

/// Something for a participant.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Commands; their attempts' time runs since.
    Commands(Vec<Arc<Command>>),
    /// Answers to outcomes.
    Acknowledgements(Vec<Acknowledgement>),
    /// Attempts whose result no longer matters.
    Withdrawals(Vec<(OperationKey, u32)>),
    /// The node leaves.
    Goodbye {
        /// In words.
        reason: String,
    },
}

/// What one attempt came to, checked for its shape.
#[derive(Clone, Debug)]
pub struct AttemptOutcome {
    /// The operation.
    pub key: OperationKey,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The epoch of its command; none if that is not said.
    pub epoch: Option<u64>,
    /// What it came to.
    pub outcome: Outcome,
    /// What the barrier said.
    pub verdict: Option<Verdict>,
}

/// The answer to one outcome.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// The operation.
    pub key: OperationKey,
    /// The attempt.
    pub attempt: u32,
    /// What became of it.
    pub acknowledged: Acknowledged,
}

impl SessionHandle {
    pub(super) fn new(
        registry: Arc<Registry>,
        instance: InstanceId,
        session: u64,
        attachment: &Attachment,
    ) -> Self {
        let end = End {
            registry,
            instance,
            session,
            namespace: attachment.namespace.as_str().into(),
            name: attachment.instance.as_str().into(),
            serves: attachment
                .actions
                .iter()
                .map(|(action, _)| action.clone())
                .collect(),
        };
        Self { end: Arc::new(end) }
    }

    /// More room.
    pub fn credit(&self, commands: u32) {
        self.end
            .registry
            .credit(self.end.instance, self.end.session, commands);
    }

    /// What attempts came to. Each is answered by an [`Acknowledgement`] once that is durable; waits while the lanes are full.
    pub async fn outcomes(&self, outcomes: Vec<AttemptOutcome>) {
        let end = &self.end;
        let mut refused = Vec::new();
        let mut taken = Vec::new();
        for outcome in outcomes {
            if let Some(acknowledged) = end.refusal(&outcome.key) {
                refused.push(Acknowledgement {
                    key: outcome.key,
                    attempt: outcome.attempt,
                    acknowledged,
                });
                continue;
            }
            if !taken.is_empty() && end.registry.room_is_scarce() {
                // What waits for room must not hold the room that it waits for.
                end.registry
                    .reported(end.instance, std::mem::take(&mut taken));
            }
            let Some(permit) = end.registry.room().await else {
                return;
            };
            taken.push(end.reported(outcome, permit));
        }
        end.registry.reported(end.instance, taken);
        end.registry.acknowledge([(end.instance, refused)]);
    }

    /// Attempts that are still under way. What was not sent to this instance, or has no heartbeat timeout, is passed over.
    pub fn heartbeats(&self, attempts: &[(OperationKey, u32)]) {
        let attempts = attempts.iter();
        let attempts = attempts.map(|(key, attempt)| attempt_of(key, *attempt));
        self.end
            .registry
            .heartbeats(self.end.instance, attempts.collect());
    }

    /// Commands that are with this instance.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.end.registry.in_flight_with(self.end.instance)
    }

    /// No new commands.
    pub fn drain(&self) {
        self.end
            .registry
            .drain_session(self.end.instance, self.end.session);
    }
}

struct End {
    registry: Arc<Registry>,
    instance: InstanceId,
    session: u64,
    namespace: Arc<str>,
    name: Arc<str>,
    serves: Arc<[ActionName]>,
}

impl End {
    /// Why no shard needs to be asked about this operation.
    fn refusal(&self, key: &OperationKey) -> Option<Acknowledged> {
        if key.namespace != self.namespace {
            return Some(Acknowledged::NotServed);
        }
        (!self.registry.is_ours(key)).then_some(Acknowledged::UnknownOperation)
    }

    fn reported(
        &self,
        outcome: AttemptOutcome,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> ReportedOutcome {
        let report = Report {
            namespace: self.namespace.clone(),
            attempt: attempt_of(&outcome.key, outcome.attempt),
            epoch: outcome.epoch,
            outcome: outcome.outcome,
            verdict: outcome.verdict,
            instance: Some(self.name.clone()),
            serves: self.serves.clone(),
        };
        ReportedOutcome {
            report,
            instance: self.instance,
            key: outcome.key,
            permit,
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.registry.lost(self.instance, self.session);
    }
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End")
            .field("instance", &self.name)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
