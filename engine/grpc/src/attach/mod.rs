//! ParticipantService: one stream per participant instance. `hello` checks who comes; `reader` takes what it says; `writer`
//! sends what is for it. Both end together, and with them the orchestrator's session.

mod hello;
mod reader;
mod writer;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amends_core::Incarnation;
use amends_orchestrator::{Kind, Orchestrator, Refusal, Session};
use amends_proto::v1;
use amends_proto::v1::attach_request::Message as Said;
use amends_proto::v1::attach_response::Message as Answer;
use amends_proto::v1::participant_service_server::ParticipantService;
use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::convert::outcome::Realm;
use crate::convert::time::duration;
use crate::edge::Admission;
use crate::limits::{
    CLOSE_GRACE, HELLO_TIMEOUT, OUTGOING_MESSAGES, SILENT_LEASES, UNANSWERED_OUTCOMES_MAX,
};
use crate::server::Options;
use crate::status::{decoder_refusal, invalid, status_of};
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
        out: mpsc::Sender<Result<v1::AttachResponse, Status>>,
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

/// What a participant is told, and its place among the streams. HTTP/2 asks for nothing while the participant does not read,
/// for as long as it likes: so its session, which does not wait as long, can take everything out of it.
pub(crate) struct AttachStream(Arc<Mutex<Option<Outgoing>>>);

struct Outgoing {
    answers: ReceiverStream<Result<v1::AttachResponse, Status>>,
    _room: OwnedSemaphorePermit,
}

impl AttachStream {
    fn lock(&self) -> MutexGuard<'_, Option<Outgoing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream for AttachStream {
    type Item = Result<v1::AttachResponse, Status>;

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        match &mut *self.lock() {
            Some(outgoing) => Pin::new(&mut outgoing.answers).poll_next(cx),
            None => std::task::Poll::Ready(Some(Err(status_of(&writer::does_not_read())))),
        }
    }
}

#[tonic::async_trait]
impl ParticipantService for Participants {
    type AttachStream = AttachStream;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<AttachStream>, Status> {
        let room = self.admission.long_call()?;
        let (out, answers) = mpsc::channel(OUTGOING_MESSAGES);
        let last = out.clone();
        let serving = self.clone().serve(request.into_inner(), out);
        let outgoing = Outgoing {
            answers: ReceiverStream::new(answers),
            _room: room,
        };
        let outgoing = Arc::new(Mutex::new(Some(outgoing)));
        let stream = AttachStream(outgoing.clone());
        // The stream has to be answered before its first message is read: some clients wait for that.
        let session = async move {
            if let Err(status) = serving.await {
                let told = last.send(Err(status));
                // One that is gone does not want to know, and one that never reads leaves nothing behind.
                if tokio::time::timeout(CLOSE_GRACE, told).await.is_err() {
                    *AttachStream(outgoing).lock() = None;
                }
            }
        };
        tokio::spawn(session.in_current_span());
        Ok(Response::new(stream))
    }
}

/// A stream that broke, or bytes that are no message.
fn of_decoder(status: Status) -> Status {
    decoder_refusal(&status).map_or(status, |refusal| status_of(&refusal))
}

fn no_hello(what: &str) -> Refusal {
    Refusal::new(
        Kind::FailedPrecondition,
        "HELLO_EXPECTED",
        format!("the first message of a participant is hello, once; {what}"),
    )
}

fn empty_message() -> Refusal {
    invalid(
        "MESSAGE_MISSING",
        "message",
        "exactly one message has to be set, and one that this version knows",
    )
}

fn leaving() -> Refusal {
    Refusal::unavailable("the node is about to leave; attach to another, or again")
}
