//! ParticipantService: one stream per participant instance. `hello` checks who comes; `reader` takes what it says; `writer`
//! sends what is for it. Both end together, and with them the orchestrator's session.

mod hello;
mod reader;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use amends_core::Incarnation;
use amends_orchestrator::{Kind, Orchestrator, Refusal, Session};
use amends_proto::v1;
use amends_proto::v1::attach_request::Message as Said;
use amends_proto::v1::attach_response::Message as Answer;
use amends_proto::v1::participant_service_server::ParticipantService;
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::{Request, Response, Status, Streaming};

use crate::convert::outcome::Realm;
use crate::convert::time::duration;
use crate::edge::Admission;
use crate::limits::{HELLO_TIMEOUT, OUTGOING_MESSAGES, SILENT_LEASES, UNANSWERED_OUTCOMES_MAX};
use crate::server::Options;
use crate::status::status_of;
use crate::stream::{self, Out, empty_message, of_decoder};
use reader::{Credit, Reader};
use writer::Writer;

/// The service.
#[derive(Clone)]
pub(crate) struct Participants {
    orchestrator: Orchestrator,
    node: Arc<str>,
    session_lease: Duration,
    admission: Admission,
    closed: watch::Receiver<bool>,
}

impl Participants {
    pub(crate) fn new(
        orchestrator: Orchestrator,
        options: &Options,
        admission: Admission,
        closed: watch::Receiver<bool>,
    ) -> Self {
        let node = Arc::from(options.node.as_str());
        Self {
            orchestrator,
            node,
            session_lease: options.session_lease,
            admission,
            closed,
        }
    }

    fn welcome(&self, incarnation: Incarnation) -> v1::Welcome {
        v1::Welcome {
            protocol_version: amends_proto::PROTOCOL_VERSION,
            incarnation: incarnation.0.hyphenated().to_string(),
            node: self.node.to_string(),
            session_lease: Some(duration(self.session_lease)),
        }
    }

    /// Everything that happens on one stream, until it ends; with why it ended, unless the participant left by itself.
    async fn serve(
        self,
        mut said: Streaming<v1::AttachRequest>,
        out: Out<v1::AttachResponse>,
    ) -> Result<(), Status> {
        let mut closed = self.closed.clone();
        let first = tokio::select! {
            first = tokio::time::timeout(HELLO_TIMEOUT, said.message()) => first,
            () = crate::service::ended(&mut closed) => return Err(status_of(&leaving())),
        };
        let first = first
            .map_err(|_| status_of(&no_hello("no message came")))?
            .map_err(of_decoder)?;
        let Some(first) = first else { return Ok(()) };
        let hello = match first.message {
            Some(Said::Hello(hello)) => hello,
            Some(Said::Credit(_) | Said::Outcomes(_) | Said::Heartbeats(_) | Said::Drain(_)) => {
                return Err(status_of(&no_hello("another message came first")));
            }
            None => return Err(status_of(&empty_message())),
        };
        let incarnation = self.orchestrator.incarnation();
        let attachment = hello::check(incarnation, hello).map_err(|refusal| status_of(&refusal))?;
        let realm = Realm {
            incarnation,
            namespace: attachment.namespace.clone(),
        };
        let (participant, instance) = (attachment.participant.clone(), attachment.instance.clone());
        let credit = Credit::new(attachment.credit);
        let Session { deliveries, handle } = self
            .orchestrator
            .attach(attachment)
            .map_err(|refusal| status_of(&refusal))?;
        tracing::info!(target: "amends_grpc", participant, instance, "a participant attached");
        let (refused, refusals) = mpsc::channel(OUTGOING_MESSAGES);
        let unanswered = Arc::new(Semaphore::new(UNANSWERED_OUTCOMES_MAX));
        let mut writer = Writer {
            out,
            deliveries,
            refusals,
            credit: credit.clone(),
            unanswered: unanswered.clone(),
        };
        writer
            .send(Answer::Welcome(self.welcome(incarnation)))
            .await?;
        let reader = Reader {
            said,
            handle,
            realm,
            credit,
            refused,
            unanswered,
            silence_max: self.session_lease.saturating_mul(SILENT_LEASES),
        };
        let ended = tokio::select! {
            ended = reader.run() => ended,
            ended = writer.run() => ended,
            () = crate::service::ended(&mut closed) => Err(status_of(&leaving())),
        };
        tracing::info!(target: "amends_grpc", participant, instance, reason = ?ended.as_ref().err().map(Status::message), "a participant left");
        ended
    }
}

#[tonic::async_trait]
impl ParticipantService for Participants {
    type AttachStream = stream::Answers<v1::AttachResponse>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let room = self.admission.long_call()?;
        let participants = self.clone();
        let said = request.into_inner();
        Ok(Response::new(stream::serve(room, |out| {
            participants.serve(said, out)
        })))
    }
}

fn no_hello(what: &str) -> Refusal {
    Refusal::new(
        Kind::FailedPrecondition,
        "HELLO_EXPECTED",
        format!("the first message of a participant is hello, once; {what}"),
    )
}

fn leaving() -> Refusal {
    Refusal::unavailable("the node is about to leave; attach to another, or again")
}
