//! A node on a free port, and clients of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amends_core::Time;
use amends_orchestrator::{Options, Orchestrator};
use amends_proto::v1;
use amends_proto::v1::definition_service_client::DefinitionServiceClient;
use amends_proto::v1::operator_service_client::OperatorServiceClient;
use amends_proto::v1::participant_service_client::ParticipantServiceClient;
use amends_proto::v1::saga_service_client::SagaServiceClient;
use amends_store::memory::MemoryStore;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Three steps of one participant, `shop`.
pub const ORDER: &str = "apiVersion: amends/v1
name: order
inputSchema: {type: object, required: [order_id]}
defaults: {retry: {initialInterval: 10ms, maxAttempts: 3}}
steps:
  - id: reserve
    call: shop.reserve
    input: {order: '${{ input.order_id }}'}
    compensate: {call: shop.release}
  - id: charge
    kind: pivot
    call: shop.charge
  - id: ship
    kind: retriable
    call: shop.ship
";

/// A node with the namespaces `default` and `other`.
pub struct Node {
    pub channel: Channel,
    pub orchestrator: Orchestrator,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), amends_grpc::Error>>,
}

impl Node {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A node with other options of its edge.
    pub async fn start_with(change: impl FnOnce(&mut amends_grpc::Options)) -> Self {
        let clock = || {
            Time::EPOCH
                + SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .expect("the clock is behind 1970")
        };
        let store = Arc::new(MemoryStore::with_clock(4, clock));
        let options = Options {
            node: "node-1".into(),
            namespaces: vec!["other".into()],
            ..Options::default()
        };
        let orchestrator = Orchestrator::start(store, options)
            .await
            .expect("the memory store can be used");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let mut options = amends_grpc::Options {
            node: "node-1".into(),
            ..amends_grpc::Options::default()
        };
        change(&mut options);
        let shutdown = async {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(amends_grpc::serve(
            listener,
            orchestrator.clone(),
            options,
            shutdown,
        ));
        let channel = Channel::from_shared(format!("http://{address}"))
            .expect("a URL")
            .connect_lazy();
        Self {
            channel,
            orchestrator,
            stop: Some(stop),
            serving,
        }
    }

    /// A node that has the definition `order`.
    pub async fn with_order() -> Self {
        let node = Self::start().await;
        node.apply(ORDER).await.expect("the definition is sound");
        node
    }

    pub async fn apply(&self, source: &str) -> Result<v1::ApplyDefinitionResponse, Status> {
        let request = v1::ApplyDefinitionRequest {
            parent: PARENT.into(),
            source: source.into(),
            ..Default::default()
        };
        self.definitions()
            .apply_definition(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub async fn start_order(&self, key: &str) -> Result<v1::StartSagaResponse, Status> {
        let request = v1::StartSagaRequest {
            key: Some(key.into()),
            ..order()
        };
        self.sagas()
            .start_saga(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Waits until a saga ended or parked.
    pub async fn settled(&self, name: &str) -> v1::Saga {
        let timeout = Some(prost_types::Duration {
            seconds: 20,
            nanos: 0,
        });
        let request = v1::WaitSagaRequest {
            name: name.into(),
            timeout,
        };
        let waited = self
            .sagas()
            .wait_saga(request)
            .await
            .expect("the saga exists")
            .into_inner();
        assert!(waited.settled, "{:?}", waited.saga);
        waited.saga.expect("it is part of the answer")
    }

    pub fn sagas(&self) -> SagaServiceClient<Channel> {
        SagaServiceClient::new(self.channel.clone())
    }

    pub fn definitions(&self) -> DefinitionServiceClient<Channel> {
        DefinitionServiceClient::new(self.channel.clone())
    }

    pub fn operators(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.channel.clone())
    }

    pub fn participants(&self) -> ParticipantServiceClient<Channel> {
        ParticipantServiceClient::new(self.channel.clone())
    }

    /// Ends the node as a server does, and says whether that went well.
    pub async fn stop(mut self) {
        self.orchestrator.drain(Duration::from_secs(5)).await;
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.serving
            .await
            .expect("it does not panic")
            .expect("it ends well");
    }
}

pub const PARENT: &str = "namespaces/default";

/// A start of `order` without a key.
pub fn order() -> v1::StartSagaRequest {
    v1::StartSagaRequest {
        parent: PARENT.into(),
        definition: format!("{PARENT}/definitions/order"),
        revision: None,
        key: None,
        input: r#"{"order_id": "A-1"}"#.into(),
        wait: None,
    }
}

/// A saga's name that nobody has.
pub fn nobody(namespace: &str) -> String {
    format!("namespaces/{namespace}/sagas/019aa578-c07b-8000-bfff-ffffffffffff")
}

/// The code and the reason of a refusal. Every refusal has one, in our domain.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.expect_err("it is refused");
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, amends_grpc::ERROR_DOMAIN);
    (status.code(), info.reason.clone())
}
