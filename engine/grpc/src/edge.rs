//! What every request passes before its service: admission, a time limit, a span, and tonic's decode errors said in our
//! words. Deliberately not here: admission of sagas, which is the orchestrator's.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use amends_orchestrator::{Kind, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::metadata::MetadataMap;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span};

use crate::limits::LONG_CALLS_MAX;
use crate::status::{deadline_exceeded, decoder_refusal, status_of};
use crate::trace_context::TraceContext;

/// How many requests a node works on at once.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    calls: Arc<Semaphore>,
    long_calls: Arc<Semaphore>,
}

impl Admission {
    pub(crate) fn new(calls_max: usize) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(calls_max)),
            long_calls: Arc::new(Semaphore::new(LONG_CALLS_MAX)),
        }
    }

    /// Room for a request that stays open; the stream that answers it holds the permit.
    pub(crate) fn long_call(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.long_calls)
            .try_acquire_owned()
            .map_err(|_| status_of(&overloaded()))
    }

    fn call(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.calls)
            .try_acquire_owned()
            .map_err(|_| status_of(&overloaded()))
    }
}

/// Puts the edge before the services.
#[derive(Clone, Debug)]
pub(crate) struct EdgeLayer {
    pub(crate) admission: Admission,
    pub(crate) request_timeout: Duration,
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge {
            inner,
            layer: self.clone(),
        }
    }
}

/// The edge before a service.
#[derive(Clone, Debug)]
pub(crate) struct Edge<S> {
    inner: S,
    layer: EdgeLayer,
}

/// A short call's room and time limit, which its service may give up: it then asks for other room by itself.
#[derive(Clone, Debug)]
pub(crate) struct Stay(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Stay {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    /// From now on the call may take as long as its service lets it.
    pub(crate) fn lengthen(&self) {
        drop(self.lock().take());
    }

    fn is_long(&self) -> bool {
        self.lock().is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a call is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// It answers at once: it has a time limit and needs room.
    Short,
    /// It stays open: its own stream asks for room.
    Long,
    /// Health and reflection answer under overload as well.
    Aside,
}

impl Class {
    fn of(path: &str) -> Self {
        let Some(method) = path.strip_prefix("/amends.v1.") else {
            return Self::Aside;
        };
        match method {
            "SagaService/WaitSaga"
            | "SagaService/WatchSaga"
            | "SagaService/FollowSagaHistory"
            | "SagaService/StartSagas"
            | "OperatorService/OperateIncidents"
            | "ParticipantService/Attach" => Self::Long,
            _ => Self::Short,
        }
    }
}

impl<S> Service<Request<Body>> for Edge<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The clone was not polled for readiness; the one that was takes this call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let class = Class::of(request.uri().path());
        let permit = match class {
            Class::Short => self.layer.admission.call().map(Some),
            Class::Long | Class::Aside => Ok(None),
        };
        let stay = match permit {
            Ok(permit) => permit.map(Stay::new),
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        if let Some(stay) = &stay {
            request.extensions_mut().insert(stay.clone());
        }
        let span = span(&request, class);
        let limit = self.layer.request_timeout;
        let answer = async move {
            let response = match &stay {
                Some(stay) => limited(inner.call(request), limit, stay).await?,
                None => inner.call(request).await?,
            };
            let response = if class == Class::Aside {
                response
            } else {
                translate(response)
            };
            if let Some(code) = response
                .headers()
                .get("grpc-status")
                .and_then(|value| value.to_str().ok())
            {
                Span::current().record("rpc.grpc.status_code", code);
            }
            Ok(response)
        };
        Box::pin(answer.instrument(span))
    }
}

/// What a short call answers, in time unless it may stay.
async fn limited(
    answering: impl Future<Output = Result<Response<Body>, Infallible>>,
    limit: Duration,
    stay: &Stay,
) -> Result<Response<Body>, Infallible> {
    let mut answering = pin!(answering);
    match tokio::time::timeout(limit, answering.as_mut()).await {
        Ok(response) => response,
        Err(_) if stay.is_long() => answering.await,
        Err(_) => Ok(deadline_exceeded().into_http()),
    }
}

/// The span of a call. Its field `traceparent` lets an exporter continue the caller's trace.
fn span(request: &Request<Body>, class: Class) -> Span {
    if class == Class::Aside {
        return Span::none();
    }
    let mut path = request.uri().path().trim_start_matches('/').splitn(2, '/');
    let (service, method) = (
        path.next().unwrap_or_default(),
        path.next().unwrap_or_default(),
    );
    // Most requests have no trace, and their headers need no copy.
    let traced = request.headers().contains_key("traceparent");
    let headers = traced.then(|| MetadataMap::from_headers(request.headers().clone()));
    let context = headers
        .map(|headers| TraceContext::of(&headers))
        .unwrap_or_default();
    tracing::info_span!(
        target: "amends_grpc",
        "rpc",
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = tracing::field::Empty,
        saga = tracing::field::Empty,
        traceparent = context.traceparent,
    )
}

/// Only an answer without a body has its status among the headers: a refusal, or a request that could not be decoded.
fn translate(response: Response<Body>) -> Response<Body> {
    let refusal = Status::from_header_map(response.headers())
        .as_ref()
        .and_then(decoder_refusal);
    refusal.map_or(response, |refusal| status_of(&refusal).into_http())
}

fn overloaded() -> Refusal {
    Refusal::new(
        Kind::ResourceExhausted {
            retry_after: Some(Duration::from_millis(250)),
        },
        "OVERLOADED",
        "the node works on as many requests as it can; nothing was done, try again in a moment",
    )
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn calls_that_stay_open_are_known() {
        assert_eq!(Class::of("/amends.v1.SagaService/StartSaga"), Class::Short);
        assert_eq!(Class::of("/amends.v1.SagaService/WaitSaga"), Class::Long);
        assert_eq!(Class::of("/amends.v1.SagaService/StartSagas"), Class::Long);
        assert_eq!(
            Class::of("/amends.v1.SagaService/BatchStartSagas"),
            Class::Short
        );
        assert_eq!(
            Class::of("/amends.v1.ParticipantService/Attach"),
            Class::Long
        );
        assert_eq!(Class::of("/grpc.health.v1.Health/Check"), Class::Aside);
    }

    #[test]
    fn b9_a_message_over_the_decode_limit_is_resource_exhausted() {
        let response =
            translate(Status::out_of_range("decoded message length too large").into_http());
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(
            status.get_error_details().error_info().unwrap().reason,
            "PAYLOAD_TOO_LARGE"
        );
    }

    #[test]
    fn b21_bytes_that_are_no_message_are_an_invalid_argument() {
        let response = translate(Status::internal("failed to decode Protobuf message").into_http());
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            status.get_error_details().error_info().unwrap().reason,
            "MALFORMED_REQUEST"
        );
    }

    #[test]
    fn a_full_node_says_when_to_come_back() {
        let admission = Admission::new(1);
        let held = admission.call().unwrap();
        let status = admission.call().unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.get_error_details().retry_info().is_some());
        drop(held);
        assert!(admission.call().is_ok());
    }
}
