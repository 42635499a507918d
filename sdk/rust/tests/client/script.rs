//! The service that answers from a script.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amends_sdk::{Client, proto};
use prost::Message as _;
use proto::saga_service_server::{SagaService, SagaServiceServer};
use proto::start_result::Result as Became;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Plays back one answer for each call, and keeps what it was asked.
#[derive(Clone, Default)]
pub struct Script {
    pub answers: Arc<Mutex<VecDeque<Result<(), Status>>>>,
    pub starts: Arc<Mutex<Vec<Start>>>,
    pub waits: Arc<Mutex<u32>>,
    pub signals: Arc<Mutex<Vec<proto::SignalSagaRequest>>>,
    pub batches: Arc<Mutex<Vec<proto::BatchStartSagasRequest>>>,
    /// Streams of starts that were opened go here; without it they are refused.
    pub streams: Option<mpsc::UnboundedSender<StartsSession>>,
    /// If set, a read says so here and never answers.
    pub hangs: Option<mpsc::UnboundedSender<()>>,
}

/// A stream of starts: what the client says, and where it is answered.
pub struct StartsSession {
    pub requests: Streaming<proto::StartSagasRequest>,
    pub responses: mpsc::UnboundedSender<Result<proto::StartSagasResponse, Status>>,
}

/// A start, and the `traceparent` that came with it.
type Start = (proto::StartSagaRequest, Option<String>);
type Stream<T> = tokio_stream::Empty<Result<T, Status>>;

#[tonic::async_trait]
impl SagaService for Script {
    type StartSagasStream = UnboundedReceiverStream<Result<proto::StartSagasResponse, Status>>;
    type WatchSagaStream = Stream<proto::WatchSagaResponse>;
    type FollowSagaHistoryStream = Stream<proto::FollowSagaHistoryResponse>;

    async fn start_saga(
        &self,
        request: Request<proto::StartSagaRequest>,
    ) -> Result<Response<proto::StartSagaResponse>, Status> {
        let trace = request.metadata().get("traceparent");
        let trace = trace.map(|t| t.to_str().unwrap().to_owned());
        self.starts
            .lock()
            .unwrap()
            .push((request.into_inner(), trace));
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))?;
        Ok(Response::new(proto::StartSagaResponse {
            name: "namespaces/default/sagas/1".to_owned(),
            created: true,
            revision: 1,
            ..Default::default()
        }))
    }

    /// Refuses the starts whose input is the name of a code, the first time that they come.
    async fn batch_start_sagas(
        &self,
        request: Request<proto::BatchStartSagasRequest>,
    ) -> Result<Response<proto::BatchStartSagasResponse>, Status> {
        let request = request.into_inner();
        let first = self.batches.lock().unwrap().is_empty();
        self.batches.lock().unwrap().push(request.clone());
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))?;
        let result = |start: &proto::SagaStart| {
            let refused = match &start.input[..] {
                b"\"OVERLOADED\"" if first => Some(overloaded()),
                b"\"INVALID\"" => Some(Status::invalid_argument("no such input")),
                _ => None,
            };
            proto::StartResult {
                result: Some(match refused {
                    Some(status) => Became::Refused(as_message(&status)),
                    None => Became::Started(proto::StartedSaga {
                        name: format!("namespaces/default/sagas/{}", start.key()),
                        created: true,
                        revision: 1,
                    }),
                }),
            }
        };
        let results = request.starts.iter().map(result).collect();
        Ok(Response::new(proto::BatchStartSagasResponse { results }))
    }

    async fn start_sagas(
        &self,
        request: Request<Streaming<proto::StartSagasRequest>>,
    ) -> Result<Response<Self::StartSagasStream>, Status> {
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))?;
        let streams = self.streams.as_ref();
        let streams = streams.ok_or_else(|| Status::unimplemented("not in this test"))?;
        let (responses, from) = mpsc::unbounded_channel();
        let requests = request.into_inner();
        let _ = streams.send(StartsSession {
            requests,
            responses,
        });
        Ok(Response::new(UnboundedReceiverStream::new(from)))
    }

    async fn get_saga(
        &self,
        request: Request<proto::GetSagaRequest>,
    ) -> Result<Response<proto::GetSagaResponse>, Status> {
        if let Some(hangs) = &self.hangs {
            hangs.send(()).unwrap();
            std::future::pending::<()>().await;
        }
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))?;
        let name = request.into_inner().name;
        let saga = Some(proto::Saga {
            name,
            ..Default::default()
        });
        Ok(Response::new(proto::GetSagaResponse { saga }))
    }

    async fn list_sagas(
        &self,
        _: Request<proto::ListSagasRequest>,
    ) -> Result<Response<proto::ListSagasResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn wait_saga(
        &self,
        _: Request<proto::WaitSagaRequest>,
    ) -> Result<Response<proto::WaitSagaResponse>, Status> {
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))?;
        let mut waits = self.waits.lock().unwrap();
        *waits += 1;
        let settled = *waits > 1;
        Ok(Response::new(proto::WaitSagaResponse {
            saga: None,
            settled,
        }))
    }

    async fn watch_saga(
        &self,
        _: Request<proto::WatchSagaRequest>,
    ) -> Result<Response<Self::WatchSagaStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn list_saga_history(
        &self,
        request: Request<proto::ListSagaHistoryRequest>,
    ) -> Result<Response<proto::ListSagaHistoryResponse>, Status> {
        let first = request.into_inner().page_token.is_empty();
        let entry = proto::HistoryEntry {
            position: if first { 1 } else { 2 },
            ..Default::default()
        };
        Ok(Response::new(proto::ListSagaHistoryResponse {
            entries: vec![entry],
            next_page_token: if first {
                "more".to_owned()
            } else {
                String::new()
            },
        }))
    }

    async fn follow_saga_history(
        &self,
        _: Request<proto::FollowSagaHistoryRequest>,
    ) -> Result<Response<Self::FollowSagaHistoryStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn cancel_saga(
        &self,
        _: Request<proto::CancelSagaRequest>,
    ) -> Result<Response<proto::CancelSagaResponse>, Status> {
        let details = ErrorDetails::with_error_info("PAST_THE_POINT", "amends", HashMap::new());
        let text = "the pivot `charge` succeeded";
        Err(Status::with_error_details(
            Code::FailedPrecondition,
            text,
            details,
        ))
    }

    async fn signal_saga(
        &self,
        request: Request<proto::SignalSagaRequest>,
    ) -> Result<Response<proto::SignalSagaResponse>, Status> {
        let mut signals = self.signals.lock().unwrap();
        signals.push(request.into_inner());
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))?;
        let accepted = signals.len() == 1;
        Ok(Response::new(proto::SignalSagaResponse { accepted }))
    }

    async fn explain_saga(
        &self,
        request: Request<proto::ExplainSagaRequest>,
    ) -> Result<Response<proto::ExplainSagaResponse>, Status> {
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))?;
        let sentence = proto::Sentence {
            text: request.into_inner().name,
            ..Default::default()
        };
        Ok(Response::new(proto::ExplainSagaResponse {
            sentences: vec![sentence],
            ..Default::default()
        }))
    }
}

pub async fn serve(answers: impl IntoIterator<Item = Result<(), Status>>) -> (Script, Client) {
    let script = Script::default();
    script.answers.lock().unwrap().extend(answers);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve_on(listener, script.clone()));
    let client = Client::connect(&address).await.unwrap();
    (script, client)
}

pub async fn serve_on(listener: tokio::net::TcpListener, script: Script) {
    tonic::transport::Server::builder()
        .add_service(SagaServiceServer::new(script))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
        .unwrap();
}

pub fn unavailable() -> Result<(), Status> {
    Err(Status::unavailable("starting"))
}

/// Too much to do, and when to come back.
pub fn overloaded() -> Status {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(20)));
    Status::with_error_details(Code::ResourceExhausted, "too many sagas", details)
}

/// A status that stands within an answer.
pub fn as_message(status: &Status) -> tonic_types::Status {
    tonic_types::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: (tonic_types::Status::decode(status.details()).unwrap_or_default()).details,
    }
}
