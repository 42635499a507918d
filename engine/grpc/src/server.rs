//! The server itself: the HTTP/2 limits, set by hand, and what is served behind them.

use std::future::Future;
use std::time::Duration;

use amends_orchestrator::Orchestrator;
use amends_proto::v1::definition_service_server::DefinitionServiceServer;
use amends_proto::v1::operator_service_server::OperatorServiceServer;
use amends_proto::v1::participant_service_server::ParticipantServiceServer;
use amends_proto::v1::saga_service_server::SagaServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::admin::{AdminToken, Guard};
use crate::attach::Participants;
use crate::connection;
use crate::edge::{Admission, EdgeLayer};
use crate::limits;
use crate::service::{Definitions, Operators, Sagas};

/// How the edge behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's name, as participants are told.
    pub node: String,
    /// How long commands wait for the return of a participant whose stream was lost, as participants are told.
    pub session_lease: Duration,
    /// Short requests at the same time; one more is `RESOURCE_EXHAUSTED`.
    pub calls_max: usize,
    /// Connections of one peer's address at the same time; one more is closed at once.
    pub connections_per_peer_max: usize,
    /// How long a short request may take.
    pub request_timeout: Duration,
    /// What whoever overrides the engine has to know; none lets everybody.
    pub admin_token: Option<AdminToken>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: "amends".into(),
            session_lease: Duration::from_secs(5),
            calls_max: 8_192,
            connections_per_peer_max: limits::CONNECTIONS_PER_PEER_MAX,
            request_timeout: Duration::from_secs(30),
            admin_token: None,
        }
    }
}

/// Why the edge does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reflection service's descriptors are broken.
    #[error("the protocol's descriptors cannot be served")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The transport ended.
    #[error("the gRPC server ended")]
    Transport(#[source] tonic::transport::Error),
}

/// Serves until `shutdown` resolves; then tells every open stream to end, and returns when they did or a short while passed.
/// Drain the orchestrator before: it says goodbye to participants and lets what is in flight commit.
///
/// # Errors
/// If the transport fails.
pub async fn serve(
    listener: TcpListener,
    orchestrator: Orchestrator,
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let (closing, closed) = watch::channel(false);
    let admission = Admission::new(options.calls_max);
    let (reporter, health) = tonic_health::server::health_reporter();
    let edge = EdgeLayer {
        admission: admission.clone(),
        request_timeout: options.request_timeout,
    };
    let participants = Participants::new(
        orchestrator.clone(),
        &options,
        admission.clone(),
        closed.clone(),
    );
    let operators = Operators::new(
        orchestrator.clone(),
        Guard::new(options.admin_token),
        admission.clone(),
        closed.clone(),
    );
    let sagas = Sagas::new(orchestrator.clone(), admission, closed.clone());
    let router = limited()
        .layer(edge)
        .add_service(
            DefinitionServiceServer::new(Definitions::new(orchestrator.clone()))
                .max_decoding_message_size(limits::REQUEST_BYTES_MAX),
        )
        .add_service(
            SagaServiceServer::new(sagas).max_decoding_message_size(limits::REQUEST_BYTES_MAX),
        )
        .add_service(
            OperatorServiceServer::new(operators)
                .max_decoding_message_size(limits::REQUEST_BYTES_MAX),
        )
        .add_service(
            ParticipantServiceServer::new(participants)
                .max_decoding_message_size(limits::REQUEST_BYTES_MAX),
        )
        .add_service(health)
        .add_service(reflection().build_v1().map_err(Error::Reflection)?)
        .add_service(reflection().build_v1alpha().map_err(Error::Reflection)?);
    let signal = async move {
        shutdown.await;
        closing.send_replace(true);
    };
    let connections = connection::accept(
        listener,
        limits::CONNECTIONS_MAX,
        options.connections_per_peer_max,
    );
    tokio::select! {
        served = router.serve_with_incoming_shutdown(connections, signal) => served.map_err(Error::Transport),
        () = grace(closed) => Ok(()),
        () = follow_health(reporter, orchestrator.health()) => Ok(()),
    }
}

/// The limits against peers that mean harm. What tonic leaves open by default has a number here.
fn limited() -> Server {
    Server::builder()
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(limits::PENDING_ACCEPT_RESETS_MAX))
        .http2_max_local_error_reset_streams(Some(limits::LOCAL_ERROR_RESETS_MAX))
        .http2_keepalive_interval(Some(limits::KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(limits::KEEPALIVE_TIMEOUT))
        .http2_adaptive_window(Some(false))
        .accept_http1(false)
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(amends_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Resolves a while after the end was asked for: a peer that keeps its stream open does not keep the node.
async fn grace(mut closed: watch::Receiver<bool>) {
    if closed.wait_for(|closed| *closed).await.is_err() {
        return std::future::pending().await;
    }
    tokio::time::sleep(limits::CLOSE_GRACE).await;
}

/// Reports SERVING exactly while the orchestrator is healthy. Never resolves.
async fn follow_health(reporter: HealthReporter, mut health: watch::Receiver<bool>) {
    loop {
        let status = if *health.borrow_and_update() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in [
            "",
            "amends.v1.DefinitionService",
            "amends.v1.SagaService",
            "amends.v1.OperatorService",
            "amends.v1.ParticipantService",
        ] {
            reporter.set_service_status(service, status).await;
        }
        if health.changed().await.is_err() {
            // Nobody will say that it is healthy any more.
            std::future::pending::<()>().await;
        }
    }
}
