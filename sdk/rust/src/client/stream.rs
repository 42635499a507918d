//! What runs a stream of starts: it gathers orders into messages, hands answers to who waits for them, and opens another
//! stream where one was lost. Starts that can be repeated are said again on it; whoever waits for another is told.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use amends_proto::v1;
use amends_proto::v1::saga_service_client::SagaServiceClient;
use amends_proto::v1::start_event::Event;
use amends_proto::v1::start_sagas_request::Message as Say;
use amends_proto::v1::start_sagas_response::Message as Heard;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::{RETRY_FIRST, RETRY_LAST, RpcError};
use crate::backoff::Backoff;
use crate::limits::{BATCH_BYTES_MAX, BATCH_MAX, STREAM_MESSAGES_MAX};

/// A start, and who waits for it.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) start: v1::SagaStart,
    pub(super) idempotent: bool,
    pub(super) started: oneshot::Sender<Result<v1::StartedSaga, Box<Unstarted>>>,
    pub(super) settled: Option<oneshot::Sender<Result<v1::SettledSaga, RpcError>>>,
}

/// A start that came to nothing, with what it was, so that it can be tried again.
#[derive(Debug)]
pub(super) struct Unstarted {
    pub(super) error: RpcError,
    pub(super) start: v1::SagaStart,
}

/// An order that is not done.
#[derive(Debug)]
struct Pending {
    start: v1::SagaStart,
    idempotent: bool,
    /// It was said on this stream or an earlier one: what came of it may not be known.
    said: bool,
    /// None once it is answered.
    started: Option<oneshot::Sender<Result<v1::StartedSaga, Box<Unstarted>>>>,
    settled: Option<oneshot::Sender<Result<v1::SettledSaga, RpcError>>>,
}

/// Runs a stream of starts.
pub(super) struct Pump {
    sagas: SagaServiceClient<Channel>,
    parent: String,
    retry_for: Duration,
    orders: mpsc::Receiver<Order>,
    /// No more orders come.
    closed: bool,
    next_sequence: u64,
    /// In the order of their coming.
    pending: BTreeMap<u64, Pending>,
    unsaid: VecDeque<u64>,
}

impl Pump {
    pub(super) fn new(
        sagas: SagaServiceClient<Channel>,
        parent: String,
        retry_for: Duration,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Self {
            sagas,
            parent,
            retry_for,
            orders,
            closed: false,
            next_sequence: 0,
            pending: BTreeMap::new(),
            unsaid: VecDeque::new(),
        }
    }

    /// Until nobody orders any more and everything is answered.
    pub(super) async fn run(mut self) {
        while !self.closed {
            match self.orders.recv().await {
                Some(order) => self.take(order),
                None => return,
            }
            let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
            let mut give_up = Instant::now() + self.retry_for;
            while !self.pending.is_empty() {
                let mut opened = false;
                let error = match self.stream(&mut opened).await {
                    Ok(()) => RpcError::from(Status::unavailable("the stream of starts ended")),
                    Err(status) => RpcError::from(status),
                };
                if opened {
                    backoff.reset();
                    give_up = Instant::now() + self.retry_for;
                }
                let pause = backoff.next();
                if error.code != Code::Unavailable || Instant::now() + pause >= give_up {
                    self.fail_all(&error);
                } else {
                    self.say_again(&error);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// One stream, until it ends or everything is done that ever will be.
    async fn stream(&mut self, opened: &mut bool) -> Result<(), Status> {
        let (say, said) = mpsc::channel(STREAM_MESSAGES_MAX);
        let open = v1::StartsOpen {
            parent: self.parent.clone(),
        };
        // It is empty still, so there is room.
        let _ = say.try_send(request(Say::Open(open)));
        let answers = self.sagas.start_sagas(ReceiverStream::new(said)).await?;
        let mut answers = answers.into_inner();
        let mut say = Some(say);
        loop {
            if self.closed && self.unsaid.is_empty() {
                // Half-closed: what is owed still comes.
                say = None;
            }
            let room = async {
                match &say {
                    Some(say) if !self.unsaid.is_empty() => say.reserve().await.ok(),
                    Some(_) | None => std::future::pending().await,
                }
            };
            let takes = !self.closed && self.unsaid.len() < BATCH_MAX;
            tokio::select! {
                biased;
                heard = answers.message() => match heard? {
                    Some(heard) => *opened |= self.hear(heard),
                    None => return Ok(()),
                },
                order = self.orders.recv(), if takes => self.take_all(order),
                room = room => match room {
                    Some(room) => {
                        let message = self.next_message();
                        room.send(message);
                    }
                    // The stream has ended: its end is the next that is heard.
                    None => return self.last_words(&mut answers).await,
                },
            }
        }
    }

    async fn last_words(
        &mut self,
        answers: &mut Streaming<v1::StartSagasResponse>,
    ) -> Result<(), Status> {
        while let Some(heard) = answers.message().await? {
            self.hear(heard);
        }
        Ok(())
    }

    fn take_all(&mut self, order: Option<Order>) {
        let Some(order) = order else {
            self.closed = true;
            return;
        };
        self.take(order);
        // What else is there travels in the same message.
        while self.unsaid.len() < BATCH_MAX
            && let Ok(order) = self.orders.try_recv()
        {
            self.take(order);
        }
    }

    fn take(&mut self, order: Order) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let pending = Pending {
            start: order.start,
            idempotent: order.idempotent,
            said: false,
            started: Some(order.started),
            settled: order.settled,
        };
        self.pending.insert(sequence, pending);
        self.unsaid.push_back(sequence);
    }

    fn next_message(&mut self) -> v1::StartSagasRequest {
        let (mut starts, mut bytes) = (Vec::new(), 0);
        while let Some(sequence) = self.unsaid.front().copied() {
            let Some(pending) = self.pending.get_mut(&sequence) else {
                self.unsaid.pop_front();
                continue;
            };
            bytes += pending.start.encoded_len();
            if starts.len() == BATCH_MAX || (!starts.is_empty() && bytes > BATCH_BYTES_MAX) {
                break;
            }
            self.unsaid.pop_front();
            pending.said = true;
            starts.push(v1::SequencedStart {
                sequence,
                start: Some(pending.start.clone()),
                tell_settled: pending.settled.is_some(),
            });
        }
        request(Say::Starts(v1::Starts { starts }))
    }

    /// True if the server has said that the stream is open.
    fn hear(&mut self, heard: v1::StartSagasResponse) -> bool {
        match heard.message {
            Some(Heard::Opened(_)) => return true,
            Some(Heard::Events(events)) => {
                for event in events.events {
                    self.became(event);
                }
            }
            None => {}
        }
        false
    }

    fn became(&mut self, event: v1::StartEvent) {
        let sequence = event.sequence;
        let Some(pending) = self.pending.get_mut(&sequence) else {
            return;
        };
        // Whoever waits may have gone.
        match event.event {
            Some(Event::Started(started)) => {
                if let Some(waits) = pending.started.take() {
                    let _ = waits.send(Ok(started));
                }
                if pending.settled.is_none() {
                    self.pending.remove(&sequence);
                }
            }
            Some(Event::Refused(status)) => self.fail(sequence, &RpcError::from(status)),
            Some(Event::Settled(settled)) => {
                let pending = self.pending.remove(&sequence);
                if let Some(waits) = pending.and_then(|pending| pending.settled) {
                    let _ = waits.send(Ok(settled));
                }
            }
            None => {}
        }
    }

    /// The stream was lost: what may be said twice is said again, what was not said yet as well.
    fn say_again(&mut self, error: &RpcError) {
        let lost: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.said && !pending.idempotent)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in lost {
            self.fail(sequence, error);
        }
        self.unsaid = self.pending.keys().copied().collect();
    }

    fn fail_all(&mut self, error: &RpcError) {
        let all: Vec<u64> = self.pending.keys().copied().collect();
        for sequence in all {
            self.fail(sequence, error);
        }
        self.unsaid.clear();
    }

    fn fail(&mut self, sequence: u64, error: &RpcError) {
        let Some(pending) = self.pending.remove(&sequence) else {
            return;
        };
        let error = error.clone();
        if let Some(waits) = pending.started {
            let start = pending.start;
            let _ = waits.send(Err(Box::new(Unstarted { error, start })));
        } else if let Some(waits) = pending.settled {
            let _ = waits.send(Err(error));
        }
    }
}

fn request(message: Say) -> v1::StartSagasRequest {
    v1::StartSagasRequest {
        message: Some(message),
    }
}
