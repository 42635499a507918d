//! Starts, one by one and in batches, and what they are refused for before anything is asked of the engine. A stream of starts
//! is the module `starts`.

use amends_core::journal::SagaState;
use amends_core::shard::StartAnswer;
use amends_definitions::Payload;
use amends_definitions::limits::KEY_BYTES_MAX;
use amends_orchestrator::{Refusal, StartEvent, StartItem, StartRequest};
use amends_proto::v1;
use amends_proto::v1::start_result::Result as Became;
use bytes::Bytes;
use tokio::time::Instant;
use tonic::Status;
use tracing::Span;

use super::follow;
use super::saga::Sagas;
use crate::convert::payload::payload;
use crate::convert::saga as convert;
use crate::convert::time::checked_duration;
use crate::edge::Stay;
use crate::limits::WAIT_MAX;
use crate::name;
use crate::status::{invalid, rpc_status, status_of};
use crate::stream;
use crate::trace_context::TraceContext;

impl Sagas {
    /// Starts a saga, and waits for it if that is asked for.
    pub(super) async fn start(
        &self,
        mut request: v1::StartSagaRequest,
        context: TraceContext,
        stay: Option<Stay>,
    ) -> Result<v1::StartSagaResponse, Status> {
        let refused = |refusal| status_of(&refusal);
        let wait = request.wait.take();
        let wait = wait.map(|wait| checked_duration("wait", &wait, WAIT_MAX));
        let wait = wait.transpose().map_err(refused)?;
        let request = start_request(request, context).map_err(refused)?;
        let namespace = request.namespace.clone();
        let Some(wait) = wait else {
            let started = self.orchestrator.start_saga(request).await;
            return Ok(response(&namespace, &started.map_err(refused)?));
        };
        let _room = self.admission.long_call()?;
        let (starter, mut events) = self.orchestrator.starter();
        let item = StartItem {
            sequence: 0,
            tell_settled: true,
            request,
        };
        starter.start(vec![item]).await;
        let started = match events.recv().await {
            Some(StartEvent::Answered { result, .. }) => result.map_err(|why| refused(*why))?,
            Some(StartEvent::Settled { .. }) | None => return Err(refused(follow::leaving())),
        };
        // The start is durable: from here on the answer is never an error, and comes when the caller wants it.
        let deadline = Instant::now() + wait;
        if let Some(stay) = stay {
            stay.lengthen();
        }
        let settled = async {
            if !started.created {
                starter.catch_up(&namespace, 0, started.saga).await;
            }
            events.recv().await
        };
        let mut closed = self.closed.clone();
        let event = tokio::select! {
            event = settled => event,
            () = tokio::time::sleep_until(deadline) => None,
            () = follow::ended(&mut closed) => None,
        };
        let answer = response(&namespace, &started);
        Ok(match event {
            Some(StartEvent::Settled { settlement, .. }) => {
                let told = convert::settled(&namespace, started.saga, &settlement);
                v1::StartSagaResponse {
                    settled: true,
                    state: told.state,
                    output: told.output,
                    abort: told.abort,
                    incident: told.incident,
                    ..answer
                }
            }
            Some(StartEvent::Answered { .. }) | None => {
                self.as_it_is(&namespace, answer, &started).await
            }
        })
    }

    /// The answer once the time is over.
    async fn as_it_is(
        &self,
        namespace: &str,
        answer: v1::StartSagaResponse,
        started: &StartAnswer,
    ) -> v1::StartSagaResponse {
        let Ok(view) = self.orchestrator.saga(namespace, started.saga).await else {
            return answer;
        };
        let saga = view.saga.as_ref().ok();
        let state = saga.map_or(SagaState::Parked, amends_core::saga::Saga::state);
        let settled = saga.filter(|_| state.is_settled());
        v1::StartSagaResponse {
            settled: state.is_settled(),
            state: convert::state(state).into(),
            output: settled.map(convert::output).unwrap_or_default(),
            abort: settled.and_then(convert::abort),
            incident: settled.and_then(convert::oldest_incident),
            ..answer
        }
    }

    /// Starts many sagas, each by itself.
    pub(super) async fn start_batch(
        &self,
        request: v1::BatchStartSagasRequest,
        context: &TraceContext,
    ) -> Result<v1::BatchStartSagasResponse, Refusal> {
        let namespace = name::namespace("parent", &request.parent)?;
        stream::batch("starts", request.starts.len())?;
        self.orchestrator.admits_starts(&namespace)?;
        let (starter, mut events) = self.orchestrator.starter();
        let mut results = vec![v1::StartResult::default(); request.starts.len()];
        let mut items = Vec::with_capacity(results.len());
        for (sequence, start) in (0..).zip(request.starts) {
            match saga_start(&namespace, start, context) {
                Ok(request) => items.push(StartItem {
                    sequence,
                    tell_settled: false,
                    request,
                }),
                Err(refusal) => starter.refuse(sequence, refusal),
            }
        }
        starter.start(items).await;
        // The channel ends with the last answer.
        drop(starter);
        while let Some(event) = events.recv().await {
            if let StartEvent::Answered { sequence, result } = event
                && let Some(place) = usize::try_from(sequence)
                    .ok()
                    .and_then(|index| results.get_mut(index))
            {
                place.result = Some(match result {
                    Ok(answer) => Became::Started(convert::started(&namespace, &answer)),
                    Err(refusal) => Became::Refused(rpc_status(&refusal)),
                });
            }
        }
        Ok(v1::BatchStartSagasResponse { results })
    }
}

fn response(namespace: &str, started: &StartAnswer) -> v1::StartSagaResponse {
    Span::current().record("saga", tracing::field::display(started.saga));
    v1::StartSagaResponse {
        name: name::of_saga(namespace, started.saga),
        created: started.created,
        revision: started.revision,
        ..v1::StartSagaResponse::default()
    }
}

/// One start of many, checked for its shape.
pub(crate) fn saga_start(
    namespace: &str,
    start: v1::SagaStart,
    context: &TraceContext,
) -> Result<StartRequest, Refusal> {
    let context = TraceContext::of_fields(&start.traceparent, &start.tracestate, context);
    let start = Shape {
        definition: start.definition,
        revision: start.revision,
        key: start.key,
        input: start.input,
    };
    start.check(namespace.to_owned(), context)
}

fn start_request(
    request: v1::StartSagaRequest,
    context: TraceContext,
) -> Result<StartRequest, Refusal> {
    let namespace = name::namespace("parent", &request.parent)?;
    let start = Shape {
        definition: request.definition,
        revision: request.revision,
        key: request.key,
        input: request.input,
    };
    start.check(namespace, context)
}

/// What every way to start a saga has in common.
struct Shape {
    definition: String,
    revision: Option<u32>,
    key: Option<String>,
    input: Bytes,
}

impl Shape {
    fn check(self, namespace: String, context: TraceContext) -> Result<StartRequest, Refusal> {
        let definition = name::definition("definition", &self.definition)?;
        if definition.namespace != namespace {
            let description =
                format!("it is in another namespace than the parent, namespaces/{namespace}");
            return Err(invalid("NAMESPACE_MISMATCH", "definition", description));
        }
        self.key.as_deref().map(check_key).transpose()?;
        Ok(StartRequest {
            input: input(self.input)?,
            namespace,
            definition: definition.id,
            revision: self.revision,
            key: self.key,
            traceparent: context.traceparent,
            tracestate: context.tracestate,
        })
    }
}

pub(super) fn check_key(key: &str) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains('\0') {
        return Err(invalid(
            "KEY_INVALID",
            "key",
            format!("it has 1 to {KEY_BYTES_MAX} bytes, none of them NUL"),
        ));
    }
    Ok(())
}

fn input(bytes: Bytes) -> Result<Payload, Refusal> {
    if bytes.is_empty() {
        return Ok(Payload::empty_object());
    }
    payload("input", bytes)
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
