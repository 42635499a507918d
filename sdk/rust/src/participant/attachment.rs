//! The stream to the server: attach, take commands, report outcomes, attach again. One task owns the ledger; handlers
//! run in tasks of their own and report to it. What an attempt comes to is decided in `action` and the barrier.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use amends_proto::v1;
use amends_proto::v1::acknowledgement::Disposition;
use amends_proto::v1::attach_request::Message as Request;
use amends_proto::v1::attach_response::Message as Response;
use amends_proto::v1::participant_service_client::ParticipantServiceClient;
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tracing::Instrument as _;

use crate::backoff::Backoff;
use crate::context::{AttemptKey, Context};
use crate::fail::Fail;
use crate::limits::{BATCH_BYTES_MAX, BATCH_MAX};
use crate::outcome::{Answer, duration_from_wire};
use crate::participant::ledger::{Decision, Ledger, into_wire};
use crate::participant::{Participant, ParticipantError};

/// Runs a participant until `shutdown`, across as many streams as it takes.
pub(super) async fn run(
    participant: Participant,
    channel: Channel,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ParticipantError> {
    let (finished, finished_from) = mpsc::unbounded_channel();
    let (heartbeats, heartbeats_from) = mpsc::unbounded_channel();
    let options = &participant.options;
    let mut attachment = Attachment {
        ledger: Ledger::new(options.concurrency),
        places: Arc::new(Semaphore::new(options.concurrency)),
        client: ParticipantServiceClient::new(channel),
        participant,
        finished,
        finished_from,
        heartbeats,
        heartbeats_from,
        incarnation: None,
        drain_until: None,
    };
    attachment.run(pin!(shutdown)).await
}

struct Attachment {
    participant: Participant,
    client: ParticipantServiceClient<Channel>,
    ledger: Ledger,
    places: Arc<Semaphore>,
    finished: mpsc::UnboundedSender<v1::AttemptOutcome>,
    finished_from: mpsc::UnboundedReceiver<v1::AttemptOutcome>,
    heartbeats: mpsc::UnboundedSender<AttemptKey>,
    heartbeats_from: mpsc::UnboundedReceiver<AttemptKey>,
    /// The database that answered last; absent before the first welcome.
    incarnation: Option<String>,
    /// Set once the participant was asked to end.
    drain_until: Option<Instant>,
}

/// An open stream. The sender is unbounded; credit bounds what can be in it.
struct Session {
    outgoing: mpsc::UnboundedSender<v1::AttachRequest>,
    incoming: Streaming<v1::AttachResponse>,
    heartbeat_interval: Duration,
    /// Set once the server said goodbye.
    leaving: Option<Leaving>,
}

/// A stream that the server is about to close: it gets no more credit, and is left once nothing is in hand. The
/// outcomes of what runs may still be recorded by the server that asked.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    by: Instant,
    reattach_after: Duration,
}

/// How a session ended.
enum End {
    /// The participant is done.
    Done,
    /// The stream is gone; attach again after this long at the earliest.
    Lost(Duration),
}

impl Attachment {
    async fn run<S>(&mut self, mut shutdown: Pin<&mut S>) -> Result<(), ParticipantError>
    where
        S: Future<Output = ()>,
    {
        let (first, last) = self.participant.options.backoff;
        let mut backoff = Backoff::new(first, last);
        loop {
            let mut pause = Duration::ZERO;
            match self.attach(shutdown.as_mut()).await {
                Ok(None) => return Ok(()),
                Ok(Some(session)) => {
                    let began = Instant::now();
                    match self.converse(session, shutdown.as_mut()).await {
                        End::Done => return Ok(()),
                        End::Lost(at_least) => pause = at_least,
                    }
                    if began.elapsed() > last {
                        backoff.reset();
                    }
                }
                Err(status) => self.refused(status)?,
            }
            if !self.pause(pause + backoff.next(), shutdown.as_mut()).await {
                return Ok(());
            }
        }
    }

    /// Opens a stream and waits for its welcome. `None` if the participant has nothing left to do.
    async fn attach<S>(&mut self, mut shutdown: Pin<&mut S>) -> Result<Option<Session>, Status>
    where
        S: Future<Output = ()>,
    {
        let (outgoing, requests) = mpsc::unbounded_channel();
        let credit = self.ledger.attached();
        let hello = self.hello(credit);
        outgoing
            .send(request(Request::Hello(hello)))
            .expect("the receiver is in this function");
        let requests = tokio_stream::wrappers::UnboundedReceiverStream::new(requests);
        let mut client = self.client.clone();
        let opening = async move {
            let mut incoming = client.attach(requests).await?.into_inner();
            let first = incoming.message().await?;
            Ok::<_, Status>((incoming, first.and_then(|first| first.message)))
        };
        let opening = tokio::time::timeout(WELCOME_TIMEOUT, opening);
        let mut opening = pin!(opening);
        let opened = loop {
            tokio::select! {
                opened = &mut opening => break opened,
                () = &mut shutdown, if self.drain_until.is_none() => {
                    self.begin_drain();
                    if self.ledger.is_empty() {
                        return Ok(None);
                    }
                }
                () = until(self.drain_until) => return Ok(None),
            }
        };
        let late = |_| Status::unavailable("the server did not say welcome in time");
        let (incoming, first) = opened.map_err(late)??;
        let Some(Response::Welcome(welcome)) = first else {
            return Err(Status::unavailable(
                "the server did not begin with a welcome",
            ));
        };
        Ok(Some(self.welcomed(welcome, outgoing, incoming)))
    }

    fn welcomed(
        &mut self,
        welcome: v1::Welcome,
        outgoing: mpsc::UnboundedSender<v1::AttachRequest>,
        incoming: Streaming<v1::AttachResponse>,
    ) -> Session {
        tracing::info!(
            participant = self.participant.name,
            node = welcome.node,
            "attached"
        );
        let incarnation = Some(welcome.incarnation);
        if self.incarnation != incarnation {
            self.ledger.forget_epochs();
            self.incarnation = incarnation;
        }
        let lease = welcome.session_lease.as_ref().and_then(duration_from_wire);
        let third = lease.unwrap_or(SESSION_LEASE_DEFAULT) / 3;
        Session {
            outgoing,
            incoming,
            heartbeat_interval: third.clamp(HEARTBEAT_MIN, HEARTBEAT_MAX),
            leaving: None,
        }
    }

    fn hello(&self, credit: usize) -> v1::Hello {
        let name = &self.participant.name;
        let offers = self.participant.actions.iter();
        v1::Hello {
            protocol_version: amends_proto::PROTOCOL_VERSION,
            namespace: format!("namespaces/{}", self.participant.options.namespace),
            participant: name.clone(),
            instance: self.participant.options.instance.clone(),
            actions: offers
                .map(|(action, served)| v1::ActionOffer {
                    action: format!("{name}.{action}"),
                    barrier: served.has_barrier(),
                })
                .collect(),
            credit: u32::try_from(credit).unwrap_or(u32::MAX),
            in_hand: self.ledger.in_hand(),
            sdk: concat!("amends-sdk-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// A server that is not there is waited for; one that refuses is not, unless it had accepted before: then somebody
    /// is changing it.
    fn refused(&self, status: Status) -> Result<(), ParticipantError> {
        let hopeless = matches!(
            status.code(),
            Code::InvalidArgument
                | Code::NotFound
                | Code::FailedPrecondition
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::Unimplemented
        );
        if hopeless && self.incarnation.is_none() {
            return Err(ParticipantError::Refused {
                participant: self.participant.name.clone(),
                status: Box::new(status),
            });
        }
        tracing::warn!(participant = self.participant.name, %status, "cannot attach, trying again");
        Ok(())
    }

    /// Waits, and keeps the books meanwhile. False if the participant has nothing left to do.
    async fn pause<S>(&mut self, pause: Duration, mut shutdown: Pin<&mut S>) -> bool
    where
        S: Future<Output = ()>,
    {
        let mut pause = pin!(tokio::time::sleep(pause));
        loop {
            if self.drain_until.is_some() && self.ledger.is_empty() {
                return false;
            }
            tokio::select! {
                () = &mut pause => return true,
                Some(outcome) = self.finished_from.recv() => self.ledger.finished(&outcome),
                Some(_) = self.heartbeats_from.recv() => {}
                () = &mut shutdown, if self.drain_until.is_none() => self.begin_drain(),
                () = until(self.drain_until) => return false,
            }
        }
    }

    async fn converse<S>(&mut self, mut session: Session, mut shutdown: Pin<&mut S>) -> End
    where
        S: Future<Output = ()>,
    {
        let waiting: Vec<_> = self.ledger.unacknowledged().cloned().collect();
        session.report(waiting);
        if self.drain_until.is_some() {
            session.send(Request::Drain(v1::Drain {}));
        }
        let mut beat = tokio::time::interval(session.heartbeat_interval);
        let mut ended = Vec::new();
        let mut alive = Vec::new();
        loop {
            if self.drain_until.is_some() && self.ledger.is_empty() {
                return End::Done;
            }
            if session.leaving.is_some() && self.ledger.is_empty() {
                return End::Lost(session.reattach_after());
            }
            tokio::select! {
                message = session.incoming.message() => match self.received(message, &mut session) {
                    Some(end) => return end,
                    None => self.grant(&session),
                },
                _ = self.finished_from.recv_many(&mut ended, BATCH_MAX) => {
                    for outcome in &ended {
                        self.ledger.finished(outcome);
                    }
                    session.report(ended.drain(..));
                    self.grant(&session);
                }
                _ = self.heartbeats_from.recv_many(&mut alive, BATCH_MAX) => {
                    alive.retain(|key| self.ledger.is_running(key));
                    session.beat(alive.drain(..).map(|key| into_wire(&key)));
                }
                _ = beat.tick() => session.beat(self.ledger.running()),
                () = &mut shutdown, if self.drain_until.is_none() => {
                    self.begin_drain();
                    session.send(Request::Drain(v1::Drain {}));
                }
                () = until(session.leaving.map(|leaving| leaving.by)) => {
                    return End::Lost(session.reattach_after());
                }
                () = until(self.drain_until) => {
                    tracing::warn!(participant = self.participant.name, "leaving with attempts under way");
                    self.ledger.cancel_all();
                    return End::Done;
                }
            }
        }
    }

    /// Handles one message, or the end of the stream.
    fn received(
        &mut self,
        message: Result<Option<v1::AttachResponse>, Status>,
        session: &mut Session,
    ) -> Option<End> {
        let participant = &self.participant.name;
        let message = match message {
            Ok(Some(message)) => message.message,
            Ok(None) => return Some(End::Lost(session.reattach_after())),
            Err(status) => {
                tracing::warn!(participant, %status, "the stream is lost, attaching again");
                return Some(End::Lost(session.reattach_after()));
            }
        };
        match message {
            Some(Response::Commands(commands)) => {
                for command in commands.commands {
                    self.command(command, session);
                }
            }
            Some(Response::Acknowledgements(answers)) => {
                for answer in answers.acknowledgements {
                    self.acknowledged(answer);
                }
            }
            Some(Response::Withdrawals(withdrawals)) => {
                for key in withdrawals.attempts {
                    self.ledger.withdraw(&(key.operation_key, key.attempt));
                }
            }
            Some(Response::Goodbye(goodbye)) => {
                tracing::info!(
                    participant,
                    reason = goodbye.reason,
                    "the server is leaving"
                );
                let after = goodbye.reattach_after.as_ref().and_then(duration_from_wire);
                session.leaving = Some(Leaving {
                    by: Instant::now() + GOODBYE_TIMEOUT,
                    reattach_after: after.unwrap_or_default().min(REATTACH_AFTER_MAX),
                });
            }
            // A second welcome changes nothing, and an unknown message is from a newer server.
            Some(Response::Welcome(_)) | None => {}
        }
        None
    }

    fn command(&mut self, command: v1::Command, session: &Session) {
        match self.ledger.accept(&command) {
            Decision::Run(cancellation) => self.start(command, cancellation),
            Decision::Running => {}
            Decision::Answered(outcome) => session.report([*outcome]),
            Decision::Fenced { seen } => tracing::warn!(
                saga = command.saga,
                epoch = command.epoch,
                seen,
                "refused a command of a deposed owner"
            ),
        }
    }

    fn start(&self, command: v1::Command, cancellation: CancellationToken) {
        let span = tracing::info_span!(
            "attempt",
            saga = command.saga,
            step = command.step,
            action = command.action,
            attempt = command.attempt,
            operation_key = command.operation_key,
            traceparent = command.traceparent,
        );
        let prefix = format!("{}.", self.participant.name);
        let action = command.action.strip_prefix(&prefix);
        let action = action.and_then(|name| self.participant.get(name)).cloned();
        let (places, finished) = (self.places.clone(), self.finished.clone());
        let heartbeats = self.heartbeats.clone();
        let abandon_after = self.participant.options.abandon_after;
        let attempt = async move {
            let (operation_key, attempt) = (command.operation_key.clone(), command.attempt);
            // The place is there unless a stream began while the participant was full.
            let _place = places.acquire_owned().await;
            let begin_time = Some(SystemTime::now().into());
            let answer = perform(command, action, cancellation, heartbeats, abandon_after).await;
            tracing::debug!(outcome = ?answer.outcome, verdict = ?answer.verdict, "attempt ended");
            let (outcome, verdict) = answer.into_wire();
            let outcome = v1::AttemptOutcome {
                operation_key,
                attempt,
                outcome: Some(outcome),
                verdict: verdict.into(),
                begin_time,
                end_time: Some(SystemTime::now().into()),
            };
            // A receiver that is gone belongs to a participant that has ended.
            let _ = finished.send(outcome);
        };
        tokio::spawn(attempt.instrument(span));
    }

    fn acknowledged(&mut self, answer: v1::Acknowledgement) {
        let disposition = answer.disposition();
        let key = (answer.operation_key, answer.attempt);
        if !self.ledger.acknowledged(&key) {
            return;
        }
        match disposition {
            Disposition::Recorded | Disposition::Unspecified => {}
            Disposition::Late => {
                tracing::debug!(
                    operation_key = key.0,
                    attempt = key.1,
                    "the outcome came late"
                );
            }
            Disposition::Refused => tracing::warn!(
                operation_key = key.0,
                attempt = key.1,
                reason = answer.reason,
                message = answer.message,
                "the server refused an outcome"
            ),
        }
    }

    fn grant(&mut self, session: &Session) {
        if self.drain_until.is_some() || session.leaving.is_some() {
            return;
        }
        if let Some(due) = self.ledger.credit_due() {
            let commands = u32::try_from(due).unwrap_or(u32::MAX);
            session.send(Request::Credit(v1::Credit { commands }));
        }
    }

    fn begin_drain(&mut self) {
        tracing::info!(participant = self.participant.name, "draining");
        self.drain_until = Some(Instant::now() + self.participant.options.drain_timeout);
    }
}

impl Session {
    /// A receiver that is gone belongs to a stream whose end `incoming` is about to report.
    fn send(&self, message: Request) {
        let _ = self.outgoing.send(request(message));
    }

    fn report(&self, outcomes: impl IntoIterator<Item = v1::AttemptOutcome>) {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for outcome in outcomes {
            let size = outcome.encoded_len();
            let full = batch.len() == BATCH_MAX || bytes + size > BATCH_BYTES_MAX;
            if full && !batch.is_empty() {
                let outcomes = std::mem::take(&mut batch);
                self.send(Request::Outcomes(v1::Outcomes { outcomes }));
                bytes = 0;
            }
            bytes += size;
            batch.push(outcome);
        }
        if !batch.is_empty() {
            self.send(Request::Outcomes(v1::Outcomes { outcomes: batch }));
        }
    }

    fn beat(&self, attempts: impl Iterator<Item = v1::AttemptKey>) {
        let attempts: Vec<_> = attempts.collect();
        for batch in attempts.chunks(BATCH_MAX) {
            let attempts = batch.to_vec();
            self.send(Request::Heartbeats(v1::Heartbeats { attempts }));
        }
    }

    fn reattach_after(&self) -> Duration {
        self.leaving
            .map_or(Duration::ZERO, |leaving| leaving.reattach_after)
    }
}

/// Runs the handler, cancels it at its deadline, and drops it a while later.
async fn perform(
    command: v1::Command,
    action: Option<crate::action::Action>,
    cancellation: CancellationToken,
    heartbeats: mpsc::UnboundedSender<AttemptKey>,
    abandon_after: Duration,
) -> Answer {
    let (input, name) = (command.input.clone(), command.action.clone());
    let Some(action) = action else {
        let text = format!("this participant does not serve `{name}`");
        return Answer::fail(Fail::fatal("NO_SUCH_ACTION").message(text));
    };
    let context = Context::from_command(command, cancellation.clone(), Some(heartbeats));
    let Some(context) = context else {
        let text = "the command does not say which operation it asks for";
        return Answer::fail(Fail::fatal("NO_SUCH_OPERATION").message(text));
    };
    let deadline = context.deadline();
    let mut handler = pin!(action.invoke(context, input));
    if let Ok(answer) = tokio::time::timeout_at(deadline.into(), &mut handler).await {
        return answer;
    }
    cancellation.cancel();
    match tokio::time::timeout(abandon_after, handler).await {
        Ok(answer) => answer,
        Err(_) => Answer::fail(
            Fail::failed("DEADLINE_EXCEEDED")
                .message("the handler ran on behind its deadline and was dropped"),
        ),
    }
}

fn request(message: Request) -> v1::AttachRequest {
    v1::AttachRequest {
        message: Some(message),
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
const SESSION_LEASE_DEFAULT: Duration = Duration::from_secs(30);
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
const HEARTBEAT_MAX: Duration = Duration::from_secs(10);
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(10);
const REATTACH_AFTER_MAX: Duration = Duration::from_secs(60);
