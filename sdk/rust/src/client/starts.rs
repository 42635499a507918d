//! Starting more than one saga: many with one call, many over one stream, and one with its end in the same call. The stream
//! itself is in `stream`.

use std::time::{Duration, Instant};

use amends_proto::v1;
use amends_proto::v1::start_result::Result as Became;
use bytes::Bytes;
use prost::Message as _;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status};

use super::stream::{Order, Pump, Unstarted};
use super::{
    Client, ClientError, RETRY_FIRST, RETRY_LAST, RpcError, StartOptions, WAIT_AT_ONCE_MAX,
};
use crate::backoff::Backoff;
use crate::limits::{BATCH_BYTES_MAX, BATCH_MAX, STREAM_ORDERS_MAX};
use crate::outcome::duration_into_wire;

/// A saga to start, one of many.
#[derive(Debug, Clone)]
pub struct Start {
    definition: String,
    input: Bytes,
    options: StartOptions,
}

impl Start {
    /// A start of a definition, by its id or its resource name.
    ///
    /// # Errors
    /// [`ClientError::Input`] where the input is not JSON.
    pub fn new(definition: impl Into<String>, input: &impl Serialize) -> Result<Self, ClientError> {
        let input = serde_json::to_vec(input).map_err(ClientError::Input)?;
        Ok(Self::raw(definition, input))
    }

    /// The same with an input that is JSON already, byte for byte.
    #[must_use]
    pub fn raw(definition: impl Into<String>, input: impl Into<Bytes>) -> Self {
        Self {
            definition: definition.into(),
            input: input.into(),
            options: StartOptions::default(),
        }
    }

    /// With these options: a key above all, since without one nothing can be repeated.
    #[must_use]
    pub fn options(mut self, options: StartOptions) -> Self {
        self.options = options;
        self
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.options.key = Some(key.into());
        self
    }

    fn into_wire(self, client: &Client) -> (v1::SagaStart, bool) {
        let idempotent = self.options.is_idempotent();
        let start = v1::SagaStart {
            definition: client.definition_name(&self.definition),
            revision: self.options.revision,
            key: self.options.key,
            input: self.input,
            traceparent: self.options.traceparent.unwrap_or_default(),
            tracestate: String::new(),
        };
        (start, idempotent)
    }
}

impl Client {
    /// Starts many sagas, a hundred or so with each call. What became of each comes in the order of the starts; one that
    /// is refused does not hurt the others.
    ///
    /// ```no_run
    /// # async fn example(client: amends_sdk::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use amends_sdk::Start;
    ///
    /// let orders = ["A-1", "A-2", "A-3"];
    /// let starts = orders.map(|order| Start::raw("place-order", format!(r#"{{"order_id": "{order}"}}"#)).key(order));
    /// for (order, started) in orders.iter().zip(client.start_many(starts).await?) {
    ///     match started {
    ///         Ok(saga) => println!("{order}: {}", saga.name),
    ///         Err(refusal) => println!("{order}: {refusal}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What concerns all of them: such as a server that cannot be reached for as long as calls are repeated. Some may be
    /// started then: starts with keys may be made again.
    pub async fn start_many(
        &self,
        starts: impl IntoIterator<Item = Start>,
    ) -> Result<Vec<Result<v1::StartedSaga, RpcError>>, ClientError> {
        let mut results = Vec::new();
        let mut batch = Batch::default();
        for start in starts {
            let (start, idempotent) = start.into_wire(self);
            let bytes = start.encoded_len();
            if batch.is_full(bytes) {
                self.start_batch(std::mem::take(&mut batch), &mut results)
                    .await?;
            }
            batch.push(start, idempotent, bytes);
        }
        if !batch.starts.is_empty() {
            self.start_batch(batch, &mut results).await?;
        }
        Ok(results)
    }

    /// Starts a saga and waits until it ended or parked, in one call as far as that goes: `settled` is false if the time
    /// passed first. A call whose answer was lost is repeated if that is safe, as with [`Client::start`].
    ///
    /// # Errors
    /// Whatever the server answers; [`ClientError::Input`] where the input is not JSON.
    pub async fn start_and_wait(
        &self,
        definition: &str,
        input: &impl Serialize,
        options: &StartOptions,
        timeout: Duration,
    ) -> Result<v1::StartSagaResponse, ClientError> {
        let input = serde_json::to_vec(input).map_err(ClientError::Input)?;
        let deadline = Instant::now().checked_add(timeout);
        let at_once = duration_into_wire(timeout.min(WAIT_AT_ONCE_MAX));
        let started = self.start_once(definition, input.into(), options, Some(at_once));
        let started = started.await?;
        let left = deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        if started.settled || left.is_zero() {
            return Ok(started);
        }
        let waited = self.wait(&started.name, left).await?;
        let saga = waited.saga.unwrap_or_default();
        Ok(v1::StartSagaResponse {
            settled: waited.settled,
            state: saga.state,
            output: saga.output,
            abort: saga.abort,
            incident: saga.incidents.into_iter().next(),
            ..started
        })
    }

    /// A stream over which many sagas are started, and on which it is told how they end: a start costs a fraction of a call.
    /// It is opened with the first start, and mends itself. Must be called within a Tokio runtime.
    ///
    /// ```no_run
    /// # async fn example(client: amends_sdk::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use amends_sdk::Start;
    ///
    /// let stream = client.start_stream();
    /// let order = |id: &str| Start::raw("place-order", format!(r#"{{"order_id": "{id}"}}"#)).key(id);
    /// // Many at once, from many tasks or from one: they share messages.
    /// let (one, two) = tokio::join!(stream.start(order("A-1")), stream.start(order("A-2")));
    /// println!("{} {}", one?.name, two?.name);
    ///
    /// let running = stream.start_to_end(order("A-3")).await?;
    /// println!("{} has begun", running.started.name);
    /// println!("it ended as {:?}", running.settled().await?.state());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn start_stream(&self) -> StartStream {
        let (orders, ordered) = mpsc::channel(STREAM_ORDERS_MAX);
        let pump = Pump::new(self.sagas.clone(), self.parent(), self.retry_for, ordered);
        tokio::spawn(pump.run());
        StartStream {
            client: self.clone(),
            orders,
        }
    }

    /// One call, and again for those that the server was too busy for.
    async fn start_batch(
        &self,
        batch: Batch,
        results: &mut Vec<Result<v1::StartedSaga, RpcError>>,
    ) -> Result<(), ClientError> {
        let give_up = Instant::now() + self.retry_for;
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
        let first = results.len();
        let lacking = || RpcError::from(Status::internal("the server did not say"));
        results.extend(batch.starts.iter().map(|_| Err(lacking())));
        let mut left: Vec<usize> = (0..batch.starts.len()).collect();
        loop {
            let message = v1::BatchStartSagasRequest {
                parent: self.parent(),
                starts: left.iter().map(|&at| batch.starts[at].clone()).collect(),
            };
            let answer = self.repeat(batch.all_idempotent, || {
                let (mut sagas, message) = (self.sagas.clone(), message.clone());
                async move { sagas.batch_start_sagas(message).await }
            });
            let answer = answer.await?.results;
            if answer.len() != left.len() {
                return Err(ClientError::Incomplete);
            }
            let (mut again, mut pause) = (Vec::new(), Duration::ZERO);
            for (at, result) in left.iter().copied().zip(answer) {
                let result = result_of(result);
                if let Err(error) = &result
                    && is_repeatable(error, batch.idempotent[at])
                {
                    again.push(at);
                    pause = pause.max(error.retry_after.unwrap_or_default());
                }
                results[first + at] = result;
            }
            let pause = backoff.next().max(pause);
            if again.is_empty() || Instant::now() + pause >= give_up {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            left = again;
        }
    }
}

/// A stream of starts. Cheap to clone; clones share the stream, which ends when the last one and everything that is
/// waited for have gone.
#[derive(Debug, Clone)]
pub struct StartStream {
    client: Client,
    orders: mpsc::Sender<Order>,
}

/// A saga that was started, and of which it will be told how it settled.
#[derive(Debug)]
pub struct Running {
    /// The saga.
    pub started: v1::StartedSaga,
    settled: oneshot::Receiver<Result<v1::SettledSaga, RpcError>>,
}

impl Running {
    /// Waits until it ended or parked.
    ///
    /// # Errors
    /// If the stream was lost for longer than calls are repeated, or the start had no key and cannot be repeated: then the
    /// saga runs on all the same, and [`Client::wait`] says how it ends.
    pub async fn settled(self) -> Result<v1::SettledSaga, ClientError> {
        match self.settled.await {
            Ok(settled) => settled.map_err(ClientError::from),
            Err(_) => Err(lost().into()),
        }
    }
}

impl StartStream {
    /// Starts a saga; returns when its start is durable. With a key it is repeated for as long as calls are, over another
    /// stream if this one is lost.
    ///
    /// # Errors
    /// Whatever the server answers to this start.
    pub async fn start(&self, start: Start) -> Result<v1::StartedSaga, ClientError> {
        let (started, _) = self.order(start, false).await?;
        Ok(started)
    }

    /// The same, and it will be told how the saga settles.
    ///
    /// # Errors
    /// Whatever the server answers to this start.
    pub async fn start_to_end(&self, start: Start) -> Result<Running, ClientError> {
        let (started, settled) = self.order(start, true).await?;
        let settled = settled.ok_or(ClientError::Incomplete)?;
        Ok(Running { started, settled })
    }

    async fn order(
        &self,
        start: Start,
        to_end: bool,
    ) -> Result<(v1::StartedSaga, Option<Settled>), ClientError> {
        let give_up = Instant::now() + self.client.retry_for;
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
        let (mut start, idempotent) = start.into_wire(&self.client);
        loop {
            let (started, answer) = oneshot::channel();
            let (settled, end) = to_end.then(oneshot::channel).unzip();
            let order = Order {
                start,
                idempotent,
                started,
                settled,
            };
            // The other end runs for as long as this one is there.
            let sent = self.orders.send(order).await;
            let answer = match sent {
                Ok(()) => answer.await.map_err(|_| lost())?,
                Err(_) => return Err(lost().into()),
            };
            let unstarted = match answer {
                Ok(started) => return Ok((started, end)),
                Err(unstarted) => *unstarted,
            };
            let Unstarted { error, start: same } = unstarted;
            let pause = backoff.next().max(error.retry_after.unwrap_or_default());
            let again = is_repeatable(&error, idempotent);
            if !again || Instant::now() + pause >= give_up {
                return Err(error.into());
            }
            tokio::time::sleep(pause).await;
            start = same;
        }
    }
}

type Settled = oneshot::Receiver<Result<v1::SettledSaga, RpcError>>;

/// Starts of one call.
#[derive(Debug, Default)]
struct Batch {
    starts: Vec<v1::SagaStart>,
    idempotent: Vec<bool>,
    all_idempotent: bool,
    bytes: usize,
}

impl Batch {
    fn is_full(&self, bytes: usize) -> bool {
        self.starts.len() >= BATCH_MAX
            || (!self.starts.is_empty() && self.bytes + bytes > BATCH_BYTES_MAX)
    }

    fn push(&mut self, start: v1::SagaStart, idempotent: bool, bytes: usize) {
        self.all_idempotent = idempotent && (self.all_idempotent || self.starts.is_empty());
        self.starts.push(start);
        self.idempotent.push(idempotent);
        self.bytes += bytes;
    }
}

fn result_of(result: v1::StartResult) -> Result<v1::StartedSaga, RpcError> {
    match result.result {
        Some(Became::Started(started)) => Ok(started),
        Some(Became::Refused(status)) => Err(status.into()),
        None => Err(Status::internal("the server did not say").into()),
    }
}

/// As for calls: an overloaded server did nothing, one that cannot tell may have.
fn is_repeatable(error: &RpcError, idempotent: bool) -> bool {
    match error.code {
        Code::Unavailable => idempotent,
        Code::ResourceExhausted => error.retry_after.is_some(),
        _ => false,
    }
}

/// What runs the stream has gone, which is so only once the runtime ends.
fn lost() -> RpcError {
    Status::unavailable("the stream of starts has ended").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_128_starts_and_2_mib_and_one_start_always_fits() {
        let mut batch = Batch::default();
        assert!(!batch.is_full(BATCH_BYTES_MAX * 2));
        for _ in 0..BATCH_MAX {
            assert!(!batch.is_full(1));
            batch.push(v1::SagaStart::default(), true, 1);
        }
        assert!(batch.is_full(1) && batch.all_idempotent);
        let mut batch = Batch::default();
        batch.push(v1::SagaStart::default(), false, BATCH_BYTES_MAX);
        assert!(batch.is_full(1) && !batch.is_full(0));
        batch.push(v1::SagaStart::default(), true, 0);
        assert!(!batch.all_idempotent);
    }
}
