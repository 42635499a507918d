//! What is for a participant: deliveries gathered into messages of bounded size. A participant that does not read ends
//! its stream, so that a node holds no more for it than its credit and a few messages.

use std::sync::Arc;

use amends_core::OperationKey;
use amends_core::shard::Command;
use amends_orchestrator::{Delivery, Refusal};
use amends_proto::v1;
use amends_proto::v1::attach_response::Message as Answer;
use tokio::sync::{Semaphore, mpsc};
use tonic::Status;

use super::leaving;
use super::reader::Credit;
use crate::convert::command;
use crate::limits::{BATCH_ITEMS_MAX, GATHER_MAX};
use crate::status::{replaced, status_of};
use crate::stream::{self, Out};

/// How long a participant is asked to stay away after a goodbye.
const REATTACH_AFTER: prost_types::Duration = prost_types::Duration {
    seconds: 0,
    nanos: 200_000_000,
};

/// The writing half of a session.
pub(super) struct Writer {
    pub(super) out: Out<v1::AttachResponse>,
    pub(super) deliveries: mpsc::UnboundedReceiver<Delivery>,
    /// Outcomes that the reader refused.
    pub(super) refusals: mpsc::Receiver<Vec<v1::Acknowledgement>>,
    pub(super) credit: Credit,
    /// Room that goes back to the reader with each answer that leaves.
    pub(super) unanswered: Arc<Semaphore>,
}

/// What was gathered for one round of messages.
#[derive(Debug, Default)]
struct Gathered {
    acknowledgements: Vec<v1::Acknowledgement>,
    commands: Vec<Arc<Command>>,
    withdrawals: Vec<v1::AttemptKey>,
    goodbye: Option<String>,
    /// An outcome can neither be recorded nor refused here.
    unavailable: bool,
}

impl Writer {
    /// Writes until the participant is gone, a newer stream replaced this one, or the participant does not read.
    pub(super) async fn run(mut self) -> Result<(), Status> {
        let mut goodbye_said = false;
        loop {
            let mut gathered = Gathered::default();
            tokio::select! {
                delivery = self.deliveries.recv() => match delivery {
                    Some(delivery) => gathered.add(delivery),
                    None if goodbye_said => return Err(status_of(&leaving())),
                    None => return Err(replaced()),
                },
                Some(refused) = self.refusals.recv() => gathered.acknowledgements.extend(refused),
                () = self.out.closed() => return Ok(()),
            }
            // What came in the meantime travels along: a message costs far more than what is in it.
            for _ in 0..GATHER_MAX {
                let Ok(delivery) = self.deliveries.try_recv() else {
                    break;
                };
                gathered.add(delivery);
            }
            let unavailable = gathered.unavailable;
            goodbye_said |= gathered.goodbye.is_some();
            self.credit.spend(gathered.commands.len());
            for message in gathered.messages() {
                let answered = match &message {
                    Answer::Acknowledgements(batch) => batch.acknowledgements.len(),
                    _ => 0,
                };
                self.send(message).await?;
                self.unanswered.add_permits(answered);
            }
            if unavailable {
                return Err(status_of(&not_recorded()));
            }
        }
    }

    /// Sends one message, as soon as the participant has room for it.
    pub(super) async fn send(&mut self, message: Answer) -> Result<(), Status> {
        let response = v1::AttachResponse {
            message: Some(message),
        };
        stream::send(&self.out, response).await
    }
}

impl Gathered {
    fn add(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Commands(commands) => self.commands.extend(commands),
            Delivery::Acknowledgements(answers) => {
                for answer in &answers {
                    match command::acknowledgement(answer) {
                        Some(message) => self.acknowledgements.push(message),
                        None => self.unavailable = true,
                    }
                }
            }
            Delivery::Withdrawals(attempts) => {
                let key =
                    |(key, attempt): &(OperationKey, u32)| command::attempt_key(key, *attempt);
                self.withdrawals.extend(attempts.iter().map(key));
            }
            Delivery::Goodbye { reason } => self.goodbye = Some(reason),
        }
    }

    /// The messages, commands before the withdrawals that may be about them.
    fn messages(self) -> Vec<Answer> {
        let mut messages = Vec::new();
        let mut acknowledgements = self.acknowledgements;
        while !acknowledgements.is_empty() {
            let rest = acknowledgements.split_off(acknowledgements.len().min(BATCH_ITEMS_MAX));
            messages.push(Answer::Acknowledgements(v1::Acknowledgements {
                acknowledgements,
            }));
            acknowledgements = rest;
        }
        messages.extend(
            command::batches(&self.commands)
                .into_iter()
                .map(Answer::Commands),
        );
        let mut attempts = self.withdrawals;
        while !attempts.is_empty() {
            let rest = attempts.split_off(attempts.len().min(BATCH_ITEMS_MAX));
            messages.push(Answer::Withdrawals(v1::Withdrawals { attempts }));
            attempts = rest;
        }
        let goodbye = |reason| {
            Answer::Goodbye(v1::Goodbye {
                reason,
                reattach_after: Some(REATTACH_AFTER),
            })
        };
        messages.extend(self.goodbye.map(goodbye));
        messages
    }
}

/// An outcome that was neither recorded nor refused has no acknowledgement: the participant keeps it, and sends it again
/// when it attaches again.
fn not_recorded() -> Refusal {
    Refusal::unavailable(
        "an outcome could not be recorded here: attach again, and send what is not acknowledged",
    )
}

#[cfg(test)]
mod tests {
    use amends_core::shard::Acknowledged;
    use amends_core::{Incarnation, OperationKind, SagaId, ShardId, Time};
    use amends_orchestrator::Acknowledgement;
    use tonic::Code;

    use super::*;

    fn key() -> OperationKey {
        OperationKey {
            incarnation: Incarnation(uuid::Uuid::from_u128(7)),
            namespace: "default".into(),
            saga: SagaId::new(Time::EPOCH, ShardId(3), 9),
            step: "charge".into(),
            item: 0,
            round: 0,
            operation: OperationKind::Forward,
        }
    }

    fn answers(acknowledged: Acknowledged, count: usize) -> Delivery {
        Delivery::Acknowledgements(
            (0..count)
                .map(|_| Acknowledgement {
                    key: key(),
                    attempt: 1,
                    acknowledged,
                })
                .collect(),
        )
    }

    struct Ends {
        out: mpsc::Receiver<Result<v1::AttachResponse, Status>>,
        deliveries: mpsc::UnboundedSender<Delivery>,
        refusals: mpsc::Sender<Vec<v1::Acknowledgement>>,
    }

    fn writer() -> (Writer, Ends) {
        let (out, seen) = mpsc::channel(1);
        let (deliver, deliveries) = mpsc::unbounded_channel();
        let (refuse, refusals) = mpsc::channel(1);
        let writer = Writer {
            out,
            deliveries,
            refusals,
            credit: Credit::new(1),
            unanswered: Arc::new(Semaphore::new(0)),
        };
        (
            writer,
            Ends {
                out: seen,
                deliveries: deliver,
                refusals: refuse,
            },
        )
    }

    #[tokio::test]
    async fn what_gathered_travels_together_in_bounded_messages() {
        let (writer, mut ends) = writer();
        ends.deliveries
            .send(Delivery::Withdrawals(vec![(key(), 1)]))
            .unwrap();
        ends.deliveries
            .send(answers(Acknowledged::Recorded, 100))
            .unwrap();
        ends.deliveries
            .send(answers(Acknowledged::Late, 100))
            .unwrap();
        let unanswered = writer.unanswered.clone();
        let running = tokio::spawn(writer.run());
        let mut sizes = Vec::new();
        for _ in 0..3 {
            match ends.out.recv().await.unwrap().unwrap().message.unwrap() {
                Answer::Acknowledgements(batch) => sizes.push(batch.acknowledgements.len()),
                Answer::Withdrawals(batch) => sizes.push(batch.attempts.len()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sizes, [128, 72, 1]);
        assert_eq!(unanswered.available_permits(), 200);
        drop(ends.out);
        assert!(running.await.unwrap().is_ok());
        drop(ends.refusals);
    }

    #[tokio::test]
    async fn a_replaced_session_is_aborted() {
        let (writer, ends) = writer();
        drop(ends.deliveries);
        assert_eq!(writer.run().await.unwrap_err().code(), Code::Aborted);
        drop((ends.out, ends.refusals));
    }

    #[tokio::test]
    async fn a_session_that_ends_after_goodbye_was_not_replaced() {
        let (writer, mut ends) = writer();
        let reason = "the node shuts down".to_owned();
        ends.deliveries.send(Delivery::Goodbye { reason }).unwrap();
        drop(ends.deliveries);
        assert_eq!(writer.run().await.unwrap_err().code(), Code::Unavailable);
        let said = ends.out.recv().await.unwrap().unwrap().message;
        assert!(matches!(said, Some(Answer::Goodbye(_))), "{said:?}");
        drop(ends.refusals);
    }

    #[tokio::test]
    async fn an_outcome_that_could_not_be_recorded_is_not_acknowledged_and_ends_the_stream() {
        let (writer, mut ends) = writer();
        ends.deliveries
            .send(answers(Acknowledged::Unavailable, 1))
            .unwrap();
        assert_eq!(writer.run().await.unwrap_err().code(), Code::Unavailable);
        assert!(ends.out.recv().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn b41_a_participant_that_does_not_read_ends_its_stream() {
        let (writer, ends) = writer();
        ends.refusals
            .send(vec![v1::Acknowledgement::default(); 129])
            .await
            .unwrap();
        let status = writer.run().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        drop(ends.out);
    }
}
