//! A fake of the server for the SDK's tests: the test itself plays the server, message by message. It keeps no journal
//! and decides nothing.

use std::net::SocketAddr;
use std::time::Duration;

use amends_sdk::proto;
use proto::attach_request::Message as Request;
use proto::attach_response::Message as Response;
use proto::participant_service_server::{ParticipantService, ParticipantServiceServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Status, Streaming};

/// Where participants attach; each stream comes out of `sessions`.
pub struct FakeServer {
    pub address: String,
    sessions: mpsc::UnboundedReceiver<Session>,
    lease_seconds: i64,
}

/// One stream, in the test's hands.
pub struct Session {
    pub hello: proto::Hello,
    requests: Streaming<proto::AttachRequest>,
    responses: mpsc::UnboundedSender<Result<proto::AttachResponse, Status>>,
}

struct Service {
    sessions: mpsc::UnboundedSender<Session>,
    refuse: Option<Status>,
}

impl FakeServer {
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), None).await
    }

    pub async fn start_refusing(status: Status) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), Some(status)).await
    }

    async fn start_on(address: SocketAddr, refuse: Option<Status>) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (sender, sessions) = mpsc::unbounded_channel();
        let service = ParticipantServiceServer::new(Service {
            sessions: sender,
            refuse,
        });
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        Self {
            address,
            sessions,
            lease_seconds: 3,
        }
    }

    pub fn with_lease_seconds(self, lease_seconds: i64) -> Self {
        Self {
            lease_seconds,
            ..self
        }
    }

    /// The next stream, after its hello and welcome.
    pub async fn session(&mut self) -> Session {
        let session = soon(self.sessions.recv()).await.unwrap();
        session.send(Response::Welcome(proto::Welcome {
            protocol_version: 1,
            incarnation: "one".to_owned(),
            node: "fake".to_owned(),
            session_lease: Some(prost_types::Duration {
                seconds: self.lease_seconds,
                nanos: 0,
            }),
        }));
        session
    }
}

impl Session {
    pub fn send(&self, message: Response) {
        let message = Some(message);
        self.responses
            .send(Ok(proto::AttachResponse { message }))
            .unwrap();
    }

    pub fn command(&self, commands: impl IntoIterator<Item = proto::Command>) {
        let commands = commands.into_iter().collect();
        self.send(Response::Commands(proto::Commands { commands }));
    }

    /// Breaks the stream, as a server that is killed would.
    pub fn break_off(self) {
        self.responses
            .send(Err(Status::unavailable("killed")))
            .unwrap();
    }

    /// Ends the stream with a status.
    pub fn end(self, status: Status) {
        self.responses.send(Err(status)).unwrap();
    }

    /// The next message; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Request> {
        let message = soon(self.requests.message()).await.ok()??;
        message.message
    }

    /// The next outcomes, whatever comes between.
    pub async fn outcomes(&mut self) -> Vec<proto::AttemptOutcome> {
        loop {
            match self.next().await.expect("the stream is open") {
                Request::Outcomes(outcomes) => return outcomes.outcomes,
                _ => continue,
            }
        }
    }

    /// The next single outcome.
    pub async fn outcome(&mut self) -> proto::AttemptOutcome {
        let mut outcomes = self.outcomes().await;
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        outcomes.remove(0)
    }

    pub fn acknowledge(&self, outcome: &proto::AttemptOutcome) {
        let acknowledgement = proto::Acknowledgement {
            operation_key: outcome.operation_key.clone(),
            attempt: outcome.attempt,
            disposition: proto::acknowledgement::Disposition::Recorded.into(),
            ..Default::default()
        };
        self.send(Response::Acknowledgements(proto::Acknowledgements {
            acknowledgements: vec![acknowledgement],
        }));
    }
}

#[tonic::async_trait]
impl ParticipantService for Service {
    type AttachStream = UnboundedReceiverStream<Result<proto::AttachResponse, Status>>;

    async fn attach(
        &self,
        request: tonic::Request<Streaming<proto::AttachRequest>>,
    ) -> Result<tonic::Response<Self::AttachStream>, Status> {
        if let Some(status) = &self.refuse {
            return Err(status.clone());
        }
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|first| first.message);
        let Some(Request::Hello(hello)) = first else {
            return Err(Status::invalid_argument("hello comes first"));
        };
        let (responses, from) = mpsc::unbounded_channel();
        let _ = self.sessions.send(Session {
            hello,
            requests,
            responses,
        });
        Ok(tonic::Response::new(UnboundedReceiverStream::new(from)))
    }
}

/// A forward command of `inventory` with an empty object as its input.
pub fn command(key: &str, action: &str) -> proto::Command {
    proto::Command {
        operation_key: key.to_owned(),
        attempt: 1,
        operation: proto::OperationKind::Forward.into(),
        action: format!("inventory.{action}"),
        saga: format!("namespaces/default/sagas/{key}"),
        step: "reserve_stock".to_owned(),
        definition: "place-order".to_owned(),
        revision: 1,
        epoch: 1,
        input: "{}".into(),
        timeout: Some(prost_types::Duration {
            seconds: 20,
            nanos: 0,
        }),
        ..Default::default()
    }
}

/// Waits, but not for ever.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it happens in time")
}
