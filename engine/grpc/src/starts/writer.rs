//! What became of starts: events gathered into messages of bounded size. A client that does not read ends its stream, so that
//! a node holds no more for it than its open numbers and a few messages.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use amends_core::SagaId;
use amends_orchestrator::{StartEvent, Starter};
use amends_proto::v1;
use amends_proto::v1::start_event::Event;
use amends_proto::v1::start_sagas_response::Message as Answer;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::numbers::Numbers;
use super::{leaving, message};
use crate::convert::saga as convert;
use crate::limits::{BATCH_BYTES_MAX, BATCH_ITEMS_MAX, CATCH_UPS_AT_ONCE_MAX, GATHER_MAX};
use crate::status::{rpc_status, status_of};
use crate::stream::{self, Out};

type CatchUp = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The writing half of a stream of starts.
pub(super) struct Writer {
    out: Out<v1::StartSagasResponse>,
    events: mpsc::UnboundedReceiver<StartEvent>,
    starter: Starter,
    namespace: Arc<str>,
    numbers: Arc<Numbers>,
    /// Sagas that existed before their start: how they settle has to be read first.
    found: VecDeque<(u64, SagaId)>,
    catching_up: FuturesUnordered<CatchUp>,
}

impl Writer {
    pub(super) fn new(
        out: Out<v1::StartSagasResponse>,
        events: mpsc::UnboundedReceiver<StartEvent>,
        starter: Starter,
        namespace: Arc<str>,
        numbers: Arc<Numbers>,
    ) -> Self {
        Self {
            out,
            events,
            starter,
            namespace,
            numbers,
            found: VecDeque::new(),
            catching_up: FuturesUnordered::new(),
        }
    }

    /// Writes until the client has said everything and heard everything, is gone, or does not read; or until the node is
    /// about to leave and every start that it has taken is answered.
    pub(super) async fn run(
        mut self,
        mut half_closed: watch::Receiver<bool>,
        mut draining: watch::Receiver<bool>,
    ) -> Result<(), Status> {
        loop {
            let (last, leaves) = (*half_closed.borrow(), *draining.borrow());
            if last && self.numbers.none_open() {
                return Ok(());
            }
            if leaves && self.numbers.none_unanswered() {
                return Err(status_of(&leaving()));
            }
            self.catch_up();
            let mut gathered = Gathered::default();
            tokio::select! {
                Some(event) = self.events.recv() => self.add(&mut gathered, event),
                Some(()) = self.catching_up.next(), if !self.catching_up.is_empty() => continue,
                Ok(()) = half_closed.changed(), if !last => continue,
                Ok(()) = draining.changed(), if !leaves => continue,
                () = self.out.closed() => return Ok(()),
            }
            // What came in the meantime travels along: a message costs far more than what is in it.
            for _ in 0..GATHER_MAX {
                let Ok(event) = self.events.try_recv() else {
                    break;
                };
                self.add(&mut gathered, event);
            }
            for events in gathered.messages {
                let answer = Answer::Events(v1::StartEvents { events });
                stream::send(&self.out, message(answer)).await?;
            }
            self.numbers.give_back(gathered.closed);
        }
    }

    fn add(&mut self, gathered: &mut Gathered, event: StartEvent) {
        let (sequence, event, bytes) = match event {
            StartEvent::Answered {
                sequence,
                result: Ok(answer),
            } => {
                let stays = self.numbers.answered(sequence, true);
                gathered.closed += usize::from(!stays);
                if stays && !answer.created {
                    self.found.push_back((sequence, answer.saga));
                }
                let started = convert::started(&self.namespace, &answer);
                (sequence, Event::Started(started), 0)
            }
            StartEvent::Answered {
                sequence,
                result: Err(refusal),
            } => {
                self.numbers.answered(sequence, false);
                gathered.closed += 1;
                let status = rpc_status(&refusal);
                let bytes = status.encoded_len();
                (sequence, Event::Refused(status), bytes)
            }
            StartEvent::Settled {
                sequence,
                saga,
                settlement,
            } => {
                self.numbers.close(sequence);
                gathered.closed += 1;
                let settled = convert::settled(&self.namespace, saga, &settlement);
                let bytes = settled.output.len();
                (sequence, Event::Settled(settled), bytes)
            }
        };
        let event = v1::StartEvent {
            sequence,
            event: Some(event),
        };
        gathered.push(event, bytes);
    }

    /// Reads a few at a time.
    fn catch_up(&mut self) {
        while self.catching_up.len() < CATCH_UPS_AT_ONCE_MAX
            && let Some((sequence, saga)) = self.found.pop_front()
        {
            let (starter, namespace) = (self.starter.clone(), self.namespace.clone());
            self.catching_up.push(Box::pin(async move {
                starter.catch_up(&namespace, sequence, saga).await;
            }));
        }
    }
}

/// What was gathered for one round of messages.
#[derive(Debug, Default)]
struct Gathered {
    messages: Vec<Vec<v1::StartEvent>>,
    /// Bytes that the last message still takes.
    room: usize,
    /// Numbers that are closed once this has left.
    closed: usize,
}

impl Gathered {
    fn push(&mut self, event: v1::StartEvent, bytes: usize) {
        match self.messages.last_mut() {
            Some(last) if last.len() < BATCH_ITEMS_MAX && bytes <= self.room => {
                self.room -= bytes;
                last.push(event);
            }
            Some(_) | None => {
                self.room = BATCH_BYTES_MAX.saturating_sub(bytes);
                self.messages.push(vec![event]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_128_events_and_2_mib_and_nothing_is_lost() {
        let counts = |events: usize, bytes: usize| -> Vec<usize> {
            let mut gathered = Gathered::default();
            for _ in 0..events {
                gathered.push(v1::StartEvent::default(), bytes);
            }
            gathered.messages.iter().map(Vec::len).collect()
        };
        assert_eq!(counts(0, 0), Vec::<usize>::new());
        assert_eq!(counts(128, 1), [128]);
        assert_eq!(counts(129, 1), [128, 1]);
        assert_eq!(counts(5, 1024 * 1024), [2, 2, 1]);
    }
}
