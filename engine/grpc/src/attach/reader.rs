//! What a participant says after `hello`. A message that breaks the protocol ends the stream; an outcome that is not sound
//! is refused by itself, and the stream goes on.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use amends_core::OperationKey;
use amends_orchestrator::{Refusal, SessionHandle};
use amends_proto::v1;
use amends_proto::v1::attach_request::Message as Said;
use tokio::sync::{Semaphore, mpsc};
use tonic::{Status, Streaming};

use super::{hello, no_hello};
use crate::convert::outcome::{self, Realm};
use crate::limits::{CREDIT_MAX, OPERATION_KEY_BYTES_MAX};
use crate::status::{invalid, status_of};
use crate::stream::{batch, empty_message, of_decoder};

/// The reading half of a session.
pub(super) struct Reader {
    pub(super) said: Streaming<v1::AttachRequest>,
    pub(super) handle: SessionHandle,
    pub(super) realm: Realm,
    pub(super) credit: Credit,
    /// Outcomes that are refused here, on their way to the writer.
    pub(super) refused: mpsc::Sender<Vec<v1::Acknowledgement>>,
    /// Room for outcomes whose answers the participant has not taken: else one that sends and never reads fills the node.
    pub(super) unanswered: Arc<Semaphore>,
    /// How long the participant may say nothing while it has attempts in hand.
    pub(super) silence_max: Duration,
}

impl Reader {
    /// Reads until the participant leaves, or breaks the protocol.
    pub(super) async fn run(mut self) -> Result<(), Status> {
        while let Some(request) = self.next().await? {
            let message = request.message.ok_or_else(empty_message);
            self.take(message.map_err(|refusal| status_of(&refusal))?)
                .await
                .map_err(|refusal| status_of(&refusal))?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<v1::AttachRequest>, Status> {
        let has_attempts = || self.handle.in_flight() > 0;
        match heard(self.said.message(), self.silence_max, has_attempts).await {
            Some(message) => message.map_err(of_decoder),
            None => Err(status_of(&silent(self.silence_max))),
        }
    }

    async fn take(&mut self, said: Said) -> Result<(), Refusal> {
        match said {
            Said::Hello(_) => Err(no_hello("it came again")),
            Said::Credit(credit) => {
                hello::credit("credit.commands", credit.commands)?;
                self.credit.grant(credit.commands)?;
                self.handle.credit(credit.commands);
                Ok(())
            }
            Said::Outcomes(outcomes) => self.outcomes(outcomes.outcomes).await,
            Said::Heartbeats(heartbeats) => {
                let attempts = heartbeats_of(&heartbeats.attempts)?;
                self.handle.heartbeats(&attempts);
                Ok(())
            }
            Said::Drain(_) => {
                self.handle.drain();
                Ok(())
            }
        }
    }

    async fn outcomes(&mut self, outcomes: Vec<v1::AttemptOutcome>) -> Result<(), Refusal> {
        batch("outcomes.outcomes", outcomes.len())?;
        keys_are_short(&outcomes)?;
        let count = u32::try_from(outcomes.len()).unwrap_or(u32::MAX);
        let Ok(room) = self.unanswered.acquire_many(count).await else {
            // It is never closed.
            return Ok(());
        };
        // The writer gives it back with the answers.
        room.forget();
        let (sound, refused) = sort(&self.realm, outcomes);
        if !refused.is_empty() && self.refused.send(refused).await.is_err() {
            // The writer has ended, and ends this half.
            return Ok(());
        }
        if !sound.is_empty() {
            self.handle.outcomes(sound).await;
        }
        Ok(())
    }
}

/// What comes next; nothing if the participant was silent for that long while it had attempts in hand. It may have got
/// them when the time was almost over, so they count from its end on.
async fn heard<T>(
    next: impl Future<Output = T>,
    silence_max: Duration,
    has_attempts: impl Fn() -> bool,
) -> Option<T> {
    let mut next = pin!(next);
    let mut expected = has_attempts();
    loop {
        if let Ok(heard) = tokio::time::timeout(silence_max, next.as_mut()).await {
            return Some(heard);
        }
        let still = has_attempts();
        if expected && still {
            return None;
        }
        expected = still;
    }
}

/// Pings may still be answered for a participant whose process is stuck.
fn silent(silence_max: Duration) -> Refusal {
    Refusal::unavailable(format!(
        "the participant has attempts in hand and said nothing for {} ms; send heartbeats, and attach again",
        silence_max.as_millis()
    ))
}

/// Room for commands that was given and not used. It is bounded, whatever a participant adds up.
#[derive(Clone, Debug)]
pub(super) struct Credit(Arc<AtomicU32>);

impl Credit {
    pub(super) fn new(commands: u32) -> Self {
        Self(Arc::new(AtomicU32::new(commands)))
    }

    fn grant(&self, commands: u32) -> Result<(), Refusal> {
        let fits = |left: u32| left.checked_add(commands).filter(|sum| *sum <= CREDIT_MAX);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map(|_| ())
            .map_err(|left| {
                let description =
                    format!("{left} are unused already, and at most {CREDIT_MAX} can be");
                invalid("CREDIT_INVALID", "credit.commands", description)
            })
    }

    /// Commands are about to leave.
    pub(super) fn spend(&self, commands: usize) {
        let commands = u32::try_from(commands).unwrap_or(u32::MAX);
        let spent = |left: u32| Some(left.saturating_sub(commands));
        // The closure always yields a value.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent);
    }
}

/// Outcomes that are sound, and the answers to those that are not.
fn sort(
    realm: &Realm,
    outcomes: Vec<v1::AttemptOutcome>,
) -> (
    Vec<amends_orchestrator::AttemptOutcome>,
    Vec<v1::Acknowledgement>,
) {
    let (mut sound, mut refused) = (Vec::with_capacity(outcomes.len()), Vec::new());
    for wire in outcomes {
        match outcome::read(realm, wire) {
            Ok(outcome) => sound.push(outcome),
            Err(answer) => refused.push(answer),
        }
    }
    (sound, refused)
}

/// Every outcome is answered by its key, so a key without bound would be memory without bound.
fn keys_are_short(outcomes: &[v1::AttemptOutcome]) -> Result<(), Refusal> {
    let long = |outcome: &v1::AttemptOutcome| outcome.operation_key.len() > OPERATION_KEY_BYTES_MAX;
    match outcomes.iter().position(long) {
        None => Ok(()),
        Some(index) => Err(invalid(
            "OPERATION_KEY_INVALID",
            &format!("outcomes.outcomes[{index}].operation_key"),
            format!("it has at most {OPERATION_KEY_BYTES_MAX} bytes; say the command's"),
        )),
    }
}

fn heartbeats_of(attempts: &[v1::AttemptKey]) -> Result<Vec<(OperationKey, u32)>, Refusal> {
    batch("heartbeats.attempts", attempts.len())?;
    let named = attempts.iter().enumerate().map(|(index, key)| {
        let named = key.operation_key.parse::<OperationKey>();
        match named {
            Ok(operation) if key.attempt > 0 => Ok((operation, key.attempt)),
            Ok(_) | Err(_) => Err(invalid(
                "HEARTBEAT_INVALID",
                &format!("heartbeats.attempts[{index}]"),
                "it is no attempt: an operation's key, and a number from 1",
            )),
        }
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use amends_core::Incarnation;

    use super::*;

    #[test]
    fn credit_adds_up_to_its_bound_and_not_beyond() {
        let credit = Credit::new(9_000);
        assert!(credit.grant(1_000).is_ok());
        assert_eq!(credit.grant(1).unwrap_err().reason, "CREDIT_INVALID");
        credit.spend(5);
        assert!(credit.grant(5).is_ok());
        assert!(credit.grant(u32::MAX).is_err());
        credit.spend(usize::MAX);
        assert!(credit.grant(10_000).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_only_while_attempts_are_in_hand() {
        let silence_max = Duration::from_secs(10);
        let began = tokio::time::Instant::now();
        let never = || std::future::pending::<()>();
        assert_eq!(heard(never(), silence_max, || true).await, None);
        assert_eq!(began.elapsed(), silence_max);
        let late = async {
            tokio::time::sleep(silence_max * 50).await;
            7
        };
        assert_eq!(heard(late, silence_max, || false).await, Some(7));
        // The attempts come just before the first time is over.
        let began = tokio::time::Instant::now();
        let after = silence_max - Duration::from_millis(1);
        let has_attempts = || began.elapsed() > after;
        assert_eq!(heard(never(), silence_max, has_attempts).await, None);
        assert_eq!(began.elapsed(), silence_max * 2);
    }

    #[test]
    fn a_key_beyond_its_bound_is_no_key_of_ours() {
        let outcome = |bytes: usize| v1::AttemptOutcome {
            operation_key: "x".repeat(bytes),
            ..v1::AttemptOutcome::default()
        };
        assert!(keys_are_short(&[outcome(0), outcome(OPERATION_KEY_BYTES_MAX)]).is_ok());
        let refusal = keys_are_short(&[outcome(1), outcome(OPERATION_KEY_BYTES_MAX + 1)]);
        assert_eq!(refusal.unwrap_err().reason, "OPERATION_KEY_INVALID");
    }

    #[test]
    fn a_heartbeat_names_an_attempt() {
        assert!(
            heartbeats_of(&[v1::AttemptKey {
                operation_key: "x".into(),
                attempt: 1
            }])
            .is_err()
        );
    }

    #[test]
    fn b40_a_bad_outcome_is_answered_by_itself_and_its_neighbours_are_taken() {
        let realm = Realm {
            incarnation: Incarnation(uuid::Uuid::from_u128(7)),
            namespace: "default".into(),
        };
        let key = format!(
            "{}/default/019aa578-c07b-8abc-bfff-ffffffffffff/charge/0/0/forward",
            realm.incarnation
        );
        let outcome = Some(v1::attempt_outcome::Outcome::Superseded(v1::Superseded {}));
        let good = v1::AttemptOutcome {
            operation_key: key,
            attempt: 1,
            outcome,
            ..v1::AttemptOutcome::default()
        };
        let bad = v1::AttemptOutcome {
            attempt: 0,
            ..good.clone()
        };
        let (sound, refused) = sort(&realm, vec![good.clone(), bad, good]);
        assert_eq!((sound.len(), refused.len()), (2, 1));
        assert_eq!((refused[0].code, refused[0].attempt), (3, 0));
    }
}
