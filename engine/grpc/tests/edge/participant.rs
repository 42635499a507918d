//! A participant spoken by hand, so that it can misbehave.

use amends_proto::v1;
use amends_proto::v1::attach_request::Message as Say;
use amends_proto::v1::attach_response::Message as Answer;
use amends_proto::v1::attempt_outcome::Outcome;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::node::{Node, PARENT};

/// A stream to the node.
pub struct Participant {
    say: mpsc::Sender<v1::AttachRequest>,
    answers: Streaming<v1::AttachResponse>,
}

impl Participant {
    /// A stream on which nothing was said.
    pub async fn silent(node: &Node) -> Self {
        let (say, said) = mpsc::channel(64);
        let answers = node.participants().attach(ReceiverStream::new(said)).await;
        Self {
            say,
            answers: answers.expect("a stream opens before hello").into_inner(),
        }
    }

    /// A stream that was welcomed.
    pub async fn attached(node: &Node, instance: &str) -> Self {
        let mut participant = Self::silent(node).await;
        participant
            .say(Say::Hello(v1::Hello {
                instance: instance.into(),
                ..hello()
            }))
            .await;
        match participant.answer().await {
            Ok(Answer::Welcome(welcome)) => assert_eq!(
                (welcome.node.as_str(), welcome.protocol_version),
                ("node-1", 1)
            ),
            other => panic!("{other:?}"),
        }
        participant
    }

    pub async fn say(&self, message: Say) {
        self.say_raw(v1::AttachRequest {
            message: Some(message),
        })
        .await;
    }

    pub async fn say_raw(&self, request: v1::AttachRequest) {
        self.say.send(request).await.expect("the stream is open");
    }

    /// The next answer; an end without a status is an error of its own.
    pub async fn answer(&mut self) -> Result<Answer, Status> {
        let response = self.answers.message().await?;
        response
            .and_then(|response| response.message)
            .ok_or_else(|| Status::ok("the stream ended"))
    }

    /// Says something that ends the stream, and how it ended.
    pub async fn ended_by(&mut self, message: Say) -> Result<Answer, Status> {
        self.say(message).await;
        self.answer().await
    }

    /// The next commands.
    pub async fn commands(&mut self) -> Vec<v1::Command> {
        loop {
            match self.answer().await.expect("the stream is open") {
                Answer::Commands(commands) => return commands.commands,
                Answer::Acknowledgements(_) | Answer::Withdrawals(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next acknowledgements.
    pub async fn acknowledgements(&mut self) -> Vec<v1::Acknowledgement> {
        loop {
            match self.answer().await.expect("the stream is open") {
                Answer::Acknowledgements(batch) => return batch.acknowledgements,
                Answer::Commands(_) | Answer::Withdrawals(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn outcomes(&self, outcomes: Vec<v1::AttemptOutcome>) {
        self.say(Say::Outcomes(v1::Outcomes { outcomes })).await;
    }

    /// Answers every command with what `decide` makes of it, until the node or the test ends.
    pub fn work(
        mut self,
        decide: impl Fn(&v1::Command) -> Outcome + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            while let Ok(answer) = self.answer().await {
                let Answer::Commands(batch) = answer else {
                    continue;
                };
                for command in batch.commands {
                    let outcome = outcome(&command, decide(&command));
                    self.outcomes(vec![outcome]).await;
                    self.say(Say::Credit(v1::Credit { commands: 1 })).await;
                }
            }
        })
    }
}

pub fn hello() -> v1::Hello {
    let offer = |action: &str| v1::ActionOffer {
        action: format!("shop.{action}"),
        barrier: true,
    };
    v1::Hello {
        protocol_version: amends_proto::PROTOCOL_VERSION,
        namespace: PARENT.into(),
        participant: "shop".into(),
        instance: "shop-1".into(),
        actions: ["reserve", "release", "charge", "ship"].map(offer).to_vec(),
        credit: 16,
        in_hand: Vec::new(),
        sdk: "by-hand".into(),
    }
}

pub fn outcome(command: &v1::Command, outcome: Outcome) -> v1::AttemptOutcome {
    v1::AttemptOutcome {
        operation_key: command.operation_key.clone(),
        attempt: command.attempt,
        outcome: Some(outcome),
        verdict: v1::BarrierVerdict::First.into(),
        ..v1::AttemptOutcome::default()
    }
}

pub fn succeeded(output: &str) -> Outcome {
    Outcome::Succeeded(v1::Succeeded {
        output: output.to_owned().into(),
    })
}

pub fn rejected(code: &str) -> Outcome {
    Outcome::Rejected(v1::Rejected {
        code: code.into(),
        message: "no".into(),
    })
}

pub fn failed(code: &str) -> Outcome {
    Outcome::Failed(v1::Failed {
        code: code.into(),
        message: "not today".into(),
        retry_after: None,
    })
}
