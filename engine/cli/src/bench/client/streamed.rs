//! One stream on which sagas are started and their ends are told; many starts in a message where many are due. Deliberately
//! not here: when the next one is started.

use std::collections::HashMap;
use std::time::Duration;

use amends_proto::v1::start_event::Event;
use amends_proto::v1::start_sagas_request::Message as Sent;
use amends_proto::v1::start_sagas_response::Message as Got;
use amends_proto::v1::{
    SagaStart, SagaState, SequencedStart, StartEvent, StartSagasRequest, StartSagasResponse,
    Starts, StartsOpen,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};

use super::super::plan::{Measured, Pace, Recorder};
use super::super::workload::Workload;
use super::{Budget, due};
use crate::arguments::Global;
use crate::connection::Connection;
use crate::failure::Failure;

/// Starts in one message.
const STARTS_MAX: usize = 128;
/// Bytes of inputs in one message; it may have 4 MiB.
const STARTS_BYTES_MAX: usize = 2 << 20;
/// Sagas that are open on one stream, so that none meets the server's bound.
const OPEN_PER_STREAM: u32 = 4_096;
/// Nothing is told for so long: something is lost.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Starts sagas over streams.
pub struct Starter {
    connection: Connection,
    start: SagaStart,
    end: SagaState,
    /// Starts in one message, given the size of an input.
    batch: usize,
}

impl Starter {
    /// Connects.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn open(global: &Global, workload: &Workload) -> Result<Self, Failure> {
        let connection = Connection::open(&global.server, &global.namespace).await?;
        let input = workload.input();
        let batch = (STARTS_BYTES_MAX / input.len().max(1)).clamp(1, STARTS_MAX);
        let start = SagaStart {
            definition: connection.definition_name(&workload.definition_id()),
            input: input.into(),
            ..SagaStart::default()
        };
        Ok(Self {
            connection,
            start,
            end: workload.end(),
            batch,
        })
    }

    /// Starts sagas while the budget lets it, and waits for all of them.
    ///
    /// # Errors
    /// If a stream is lost.
    pub async fn load(&self, pace: Pace, budget: Budget) -> Result<Measured, Failure> {
        let began = budget.began;
        let paces = match pace {
            Pace::PerSecond(_) => vec![pace],
            Pace::InFlight(count) => shares(count),
        };
        let mut streams = JoinSet::new();
        for pace in paces {
            let stream = Stream::open(self).await;
            let stream =
                stream.map_err(|status| Failure::refused("no stream of starts", &status))?;
            streams.spawn(stream.run(pace, budget.clone()));
        }
        let mut recorder = Recorder::new();
        for ended in streams.join_all().await {
            recorder.add(
                ended.map_err(|status| Failure::refused("a stream of starts was lost", &status))?,
            );
        }
        Ok(recorder.finish(began.elapsed()))
    }
}

/// So many in flight, over as few streams as hold them.
fn shares(count: u32) -> Vec<Pace> {
    let streams = count.div_ceil(OPEN_PER_STREAM).max(1);
    let share = |stream: u32| count / streams + u32::from(stream < count % streams);
    (0..streams)
        .map(|stream| Pace::InFlight(share(stream)))
        .collect()
}

/// One stream.
struct Stream {
    requests: mpsc::UnboundedSender<StartSagasRequest>,
    events: Streaming<StartSagasResponse>,
    start: SagaStart,
    end: SagaState,
    batch: usize,
    /// Since when each is under way, or when it was to start.
    open: HashMap<u64, Instant>,
    next: u64,
    recorder: Recorder,
}

impl Stream {
    async fn open(starter: &Starter) -> Result<Self, Status> {
        let (requests, sent) = mpsc::unbounded_channel();
        let sent = futures_util::stream::unfold(sent, |mut sent| async {
            Some((sent.recv().await?, sent))
        });
        let open = StartsOpen {
            parent: starter.connection.parent(),
        };
        // The receiver is in this function.
        let _ = requests.send(message(Sent::Open(open)));
        let events = starter.connection.sagas().start_sagas(sent).await?;
        let mut events = events.into_inner();
        let first = events.message().await?.and_then(|first| first.message);
        let Some(Got::Opened(_)) = first else {
            return Err(Status::internal("the stream does not begin with `opened`"));
        };
        Ok(Self {
            requests,
            events,
            start: starter.start.clone(),
            end: starter.end,
            batch: starter.batch,
            open: HashMap::new(),
            next: 0,
            recorder: Recorder::new(),
        })
    }

    async fn run(mut self, pace: Pace, budget: Budget) -> Result<Recorder, Status> {
        match pace {
            Pace::InFlight(count) => self.closed(count as usize, &budget).await?,
            Pace::PerSecond(rate) => self.open_loop(rate, &budget).await?,
        }
        while !self.open.is_empty() {
            self.hear().await?;
        }
        Ok(self.recorder)
    }

    async fn closed(&mut self, count: usize, budget: &Budget) -> Result<(), Status> {
        loop {
            let mut dues = Vec::new();
            while self.open.len() + dues.len() < count && budget.take() {
                dues.push(Instant::now());
            }
            let full = self.open.len() + dues.len() >= count;
            self.send(dues);
            if !full {
                return Ok(());
            }
            self.hear().await?;
        }
    }

    async fn open_loop(&mut self, rate: u32, budget: &Budget) -> Result<(), Status> {
        let mut number = 0;
        loop {
            let mut dues = Vec::new();
            let mut at = due(budget.began, rate, number);
            while at <= Instant::now() {
                if !budget.take() {
                    self.send(dues);
                    return Ok(());
                }
                dues.push(at);
                number += 1;
                at = due(budget.began, rate, number);
            }
            self.send(dues);
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                heard = self.hear(), if !self.open.is_empty() => heard?,
            }
        }
    }

    /// Starts a saga for each of these times.
    fn send(&mut self, dues: Vec<Instant>) {
        for dues in dues.chunks(self.batch) {
            let mut starts = Vec::with_capacity(dues.len());
            for due in dues {
                self.open.insert(self.next, *due);
                starts.push(SequencedStart {
                    sequence: self.next,
                    start: Some(self.start.clone()),
                    tell_settled: true,
                });
                self.next += 1;
            }
            // A stream that is gone says so when it is listened to.
            let _ = self.requests.send(message(Sent::Starts(Starts { starts })));
        }
    }

    /// Waits for the next message, and takes what is told in it.
    async fn hear(&mut self) -> Result<(), Status> {
        let heard = timeout(SILENCE_MAX, self.events.message()).await;
        let silent = |_| Status::deadline_exceeded("nothing was told for two minutes");
        let heard = heard.map_err(silent)??;
        let heard = heard.ok_or_else(|| Status::unavailable("the stream of starts ended"))?;
        if let Some(Got::Events(events)) = heard.message {
            let now = Instant::now();
            for event in events.events {
                self.take(event, now);
            }
        }
        Ok(())
    }

    fn take(&mut self, event: StartEvent, now: Instant) {
        let ended = match event.event {
            Some(Event::Started(_)) | None => return,
            Some(Event::Settled(settled)) if settled.state() == self.end => Ok(()),
            Some(Event::Settled(settled)) => Err(format!(
                "{} is {}",
                settled.name,
                settled.state().as_str_name()
            )),
            Some(Event::Refused(status)) => Err(format!("{}: {}", status.code, status.message)),
        };
        let Some(since) = self.open.remove(&event.sequence) else {
            return;
        };
        match ended {
            Ok(()) => self.recorder.took(now.duration_since(since)),
            Err(error) => self.recorder.failed(error),
        }
    }
}

fn message(message: Sent) -> StartSagasRequest {
    StartSagasRequest {
        message: Some(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sagas_are_shared_out_over_streams() {
        let count = |pace: &Pace| pace.number();
        assert_eq!(shares(1).iter().map(count).collect::<Vec<_>>(), [1]);
        assert_eq!(shares(4_096).len(), 1);
        let two: Vec<u32> = shares(4_097).iter().map(count).collect();
        assert_eq!(two, [2_049, 2_048]);
    }
}
