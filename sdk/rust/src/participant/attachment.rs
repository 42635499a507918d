//! The stream to the server: attach, take commands, report outcomes, attach again. One task owns the ledger; handlers
//! run in tasks of their own and report to it. What an attempt comes to is decided in `action` and the barrier.

use std::error::Error as _;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_proto::v1;
use amends_proto::v1::acknowledgement::Disposition;
use amends_proto::v1::attach_request::Message as Request;
use amends_proto::v1::attach_response::Message as Response;
use amends_proto::v1::participant_service_client::ParticipantServiceClient;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tracing::Instrument as _;

use crate::backoff::Backoff;
use crate::client::RpcError;
use crate::context::AttemptKey;
use crate::limits::BATCH_MAX;
use crate::outcome::duration_from_wire;
use crate::participant::attempt::Attempt;
use crate::participant::ledger::{Decision, Ledger, into_wire};
use crate::participant::session::{Leaving, Session, request};
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
        failures: 0,
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
    /// How often attaching failed in a row.
    failures: u32,
    /// Set once the participant was asked to end.
    drain_until: Option<Instant>,
}

/// How a session ended.
enum End {
    /// The participant is done.
    Done,
    /// The stream is gone; attach again after this long at the earliest.
    Lost(Duration),
    /// Another process has this one's place.
    Replaced,
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
                        End::Replaced => return Err(self.replaced()),
                    }
                    if began.elapsed() > FLAPPING_UNDER {
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
        self.failures = 0;
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
    fn refused(&mut self, status: Status) -> Result<(), ParticipantError> {
        if is_replacement(&status) {
            return Err(self.replaced());
        }
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
        self.failures = self.failures.saturating_add(1);
        // Somebody who looks has to see it, and a night without a server must not fill a disk.
        if self.failures.is_power_of_two() {
            let (participant, failures) = (&self.participant.name, self.failures);
            let error = said(&status);
            tracing::warn!(participant, failures, error, "cannot attach, trying again");
        }
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
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
            Err(status) if is_replacement(&status) => return Some(End::Replaced),
            Err(status) => {
                let error = said(&status);
                tracing::warn!(participant, error, "the stream is lost, attaching again");
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
        let action = command.action.strip_prefix(&self.participant.name);
        let action = action.and_then(|rest| rest.strip_prefix('.'));
        let attempt = Attempt {
            action: action.and_then(|name| self.participant.get(name)).cloned(),
            command,
            cancellation,
            heartbeats: self.heartbeats.clone(),
            abandon_after: self.participant.options.abandon_after,
        };
        let (places, finished) = (self.places.clone(), self.finished.clone());
        let span = attempt.span();
        let running = async move {
            // The place is there unless a stream began while the participant was full.
            let _place = places.acquire_owned().await;
            // A receiver that is gone belongs to a participant that has ended.
            let _ = finished.send(attempt.run().await);
        };
        tokio::spawn(running.instrument(span));
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

    /// What is in hand is the other process's now: it gets the commands again.
    fn replaced(&self) -> ParticipantError {
        self.ledger.cancel_all();
        ParticipantError::Replaced {
            participant: self.participant.name.clone(),
            instance: self.participant.options.instance.clone(),
        }
    }

    fn begin_drain(&mut self) {
        tracing::info!(participant = self.participant.name, "draining");
        self.drain_until = Some(Instant::now() + self.participant.options.drain_timeout);
    }
}

/// The server ended the stream because a newer one has the same instance. To attach again would end that one, and so on
/// by turns.
fn is_replacement(status: &Status) -> bool {
    status.code() == Code::Aborted
        && RpcError::from(status.clone()).reason.as_deref() == Some("SESSION_REPLACED")
}

/// What a status says, and what caused it at the root, on one line.
fn said(status: &Status) -> String {
    let mut cause = status.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    match cause {
        Some(cause) => format!("{}: {cause}", status.message()),
        None => status.message().to_owned(),
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
/// A stream that lasted longer is no sign of trouble that attaching again would make worse.
const FLAPPING_UNDER: Duration = Duration::from_millis(250);
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(10);
const REATTACH_AFTER_MAX: Duration = Duration::from_secs(60);
