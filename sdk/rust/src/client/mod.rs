//! Starting, observing and cancelling sagas, and applying definitions. Answers are the wire's own messages: the client
//! adds names, retries and typed errors, and interprets nothing.

mod definitions;
mod error;
mod operators;
mod starts;
mod stream;

use std::future::Future;
use std::time::{Duration, Instant};

use amends_proto::v1;
use amends_proto::v1::definition_service_client::DefinitionServiceClient;
use amends_proto::v1::operator_service_client::OperatorServiceClient;
use amends_proto::v1::saga_service_client::SagaServiceClient;
use serde::Serialize;
use tonic::metadata::{Ascii, AsciiMetadataValue, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

pub use crate::client::error::{ClientError, FieldViolation, RpcError};
pub use crate::client::operators::{BatchAct, IncidentOptions};
pub use crate::client::starts::{Running, Start, StartStream};

use crate::backoff::Backoff;
use crate::outcome::duration_into_wire;
use crate::participant::endpoint;

/// A client of a server, for one namespace. Cheap to clone; clones share the connection, which mends itself.
#[derive(Debug, Clone)]
pub struct Client {
    sagas: SagaServiceClient<Channel>,
    definitions: DefinitionServiceClient<Channel>,
    operators: OperatorServiceClient<Channel>,
    namespace: String,
    retry_for: Duration,
    /// What acts of operators are sent with.
    authorization: Option<AsciiMetadataValue>,
}

/// How to start a saga.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// The business key, 1 to 512 bytes: at most one saga exists for it. Leave it out where the definition's own `key`
    /// computes one: both given and different is refused.
    pub key: Option<String>,
    /// The definition has a `key` of its own. That makes the start idempotent, so the client may repeat it when the
    /// answer was lost. With neither this nor a key it may not: a repeated start might be a second saga.
    pub keyed_by_definition: bool,
    /// A revision of the definition; the newest by default.
    pub revision: Option<u32>,
    /// A W3C `traceparent` that the saga belongs to.
    pub traceparent: Option<String>,
}

impl StartOptions {
    /// With this key.
    #[must_use]
    pub fn key(key: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::default()
        }
    }

    /// With a random key, for a definition without one: the start is idempotent, as far as this call repeats it.
    #[must_use]
    pub fn random_key() -> Self {
        Self::key(uuid::Uuid::new_v4().to_string())
    }

    /// With the key that the definition computes.
    #[must_use]
    pub fn keyed_by_definition() -> Self {
        Self {
            keyed_by_definition: true,
            ..Self::default()
        }
    }

    fn is_idempotent(&self) -> bool {
        self.key.is_some() || self.keyed_by_definition
    }
}

/// Which sagas to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Only these states; all if empty.
    pub states: Vec<v1::SagaState>,
    /// Only this definition, by id.
    pub definition: Option<String>,
    /// Only the saga with this key.
    pub key: Option<String>,
    /// 1 to 1,000; 50 if 0.
    pub page_size: u32,
    /// From an earlier answer to the same query; empty for the first page.
    pub page_token: String,
}

impl Client {
    /// Connects to a server, such as `http://127.0.0.1:7707`.
    ///
    /// # Errors
    /// Where the address is not one, or nobody answers there.
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        let endpoint = endpoint(address).map_err(|e| ClientError::address(address, e))?;
        let channel = endpoint.connect().await;
        let channel = channel.map_err(|e| ClientError::connect(address, e))?;
        Ok(Self::new(channel))
    }

    /// A client that connects with its first call, and so may be made before its server runs.
    ///
    /// # Errors
    /// Where the address is not one.
    pub fn connect_lazy(address: &str) -> Result<Self, ClientError> {
        let endpoint = endpoint(address).map_err(|e| ClientError::address(address, e))?;
        Ok(Self::new(endpoint.connect_lazy()))
    }

    /// A client over a channel made elsewhere.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        // The payloads of a saga's 500 steps do not fit tonic's 4 MiB.
        let message_bytes_max = 64 << 20;
        let sagas = SagaServiceClient::new(channel.clone());
        let definitions = DefinitionServiceClient::new(channel.clone());
        let operators = OperatorServiceClient::new(channel);
        Self {
            sagas: sagas.max_decoding_message_size(message_bytes_max),
            definitions: definitions.max_decoding_message_size(message_bytes_max),
            operators: operators.max_decoding_message_size(message_bytes_max),
            namespace: "default".to_owned(),
            retry_for: Duration::from_secs(30),
            authorization: None,
        }
    }

    /// For another namespace than `default`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// With the server's admin token, which it may ask of whoever overrides it: it goes with [`Client::operate`] and
    /// [`Client::operate_incidents`] alone.
    ///
    /// # Errors
    /// Where a header cannot carry it: it is empty, or something else than visible ASCII characters.
    pub fn admin_token(mut self, token: &str) -> Result<Self, ClientError> {
        let visible = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let authorization = visible.then(|| format!("Bearer {token}").parse().ok());
        let mut authorization: AsciiMetadataValue =
            authorization.flatten().ok_or(ClientError::Token)?;
        authorization.set_sensitive(true);
        self.authorization = Some(authorization);
        Ok(self)
    }

    /// For how long a call is repeated while the server is unavailable or overloaded. Zero for not at all. Defaults
    /// to 30 s.
    #[must_use]
    pub fn retry_for(mut self, retry_for: Duration) -> Self {
        self.retry_for = retry_for;
        self
    }

    /// Starts a saga. With a key, at most one exists for it: the same input again answers with that one.
    ///
    /// # Errors
    /// Whatever the server answers; [`ClientError::Input`] where the input is not JSON.
    pub async fn start(
        &self,
        definition: &str,
        input: &impl Serialize,
        options: &StartOptions,
    ) -> Result<v1::StartSagaResponse, ClientError> {
        let input = serde_json::to_vec(input).map_err(ClientError::Input)?;
        self.start_raw(definition, input, options).await
    }

    /// Starts a saga with an input that is JSON already, byte for byte.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn start_raw(
        &self,
        definition: &str,
        input: impl Into<bytes::Bytes>,
        options: &StartOptions,
    ) -> Result<v1::StartSagaResponse, ClientError> {
        self.start_once(definition, input.into(), options, None)
            .await
    }

    async fn start_once(
        &self,
        definition: &str,
        input: bytes::Bytes,
        options: &StartOptions,
        wait: Option<prost_types::Duration>,
    ) -> Result<v1::StartSagaResponse, ClientError> {
        let message = v1::StartSagaRequest {
            parent: self.parent(),
            definition: self.definition_name(definition),
            revision: options.revision,
            key: options.key.clone(),
            input,
            wait,
        };
        let trace = options.traceparent.as_deref().map(str::parse);
        let trace: Option<MetadataValue<Ascii>> =
            trace.transpose().map_err(|_| ClientError::Traceparent)?;
        self.repeat(options.is_idempotent(), || {
            let mut request = Request::new(message.clone());
            if let Some(trace) = &trace {
                request.metadata_mut().insert("traceparent", trace.clone());
            }
            let mut sagas = self.sagas.clone();
            async move { sagas.start_saga(request).await }
        })
        .await
    }

    /// Reads a saga with its steps, by its id or its resource name.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn get(&self, saga: &str) -> Result<v1::Saga, ClientError> {
        let name = self.saga_name(saga);
        let answer = self.repeat(true, || {
            let (mut sagas, name) = (self.sagas.clone(), name.clone());
            async move { sagas.get_saga(v1::GetSagaRequest { name }).await }
        });
        present(answer.await?.saga)
    }

    /// Lists sagas, the newest first, one page at a time.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn list(&self, options: &ListOptions) -> Result<v1::ListSagasResponse, ClientError> {
        let message = v1::ListSagasRequest {
            parent: self.parent(),
            page_size: options.page_size,
            page_token: options.page_token.clone(),
            states: options.states.iter().map(|&state| state.into()).collect(),
            definition_id: options.definition.clone().unwrap_or_default(),
            key: options.key.clone().unwrap_or_default(),
            ..v1::ListSagasRequest::default()
        };
        self.repeat(true, || {
            let (mut sagas, message) = (self.sagas.clone(), message.clone());
            async move { sagas.list_sagas(message).await }
        })
        .await
    }

    /// Waits until a saga ended or parked, through restarts of the server. `settled` is false if the time passed first.
    ///
    /// # Errors
    /// Whatever the server answers, but an unavailable server alone only once the time has passed.
    pub async fn wait(
        &self,
        saga: &str,
        timeout: Duration,
    ) -> Result<v1::WaitSagaResponse, ClientError> {
        let deadline = Instant::now().checked_add(timeout);
        let name = self.saga_name(saga);
        let client = self.clone().retry_for(timeout.max(self.retry_for));
        loop {
            let left = deadline.map_or(WAIT_AT_ONCE_MAX, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            let message = v1::WaitSagaRequest {
                name: name.clone(),
                timeout: Some(duration_into_wire(left.min(WAIT_AT_ONCE_MAX))),
            };
            let answer = client.repeat(true, || {
                let (mut sagas, message) = (self.sagas.clone(), message.clone());
                async move { sagas.wait_saga(message).await }
            });
            let answer = answer.await?;
            if answer.settled || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(answer);
            }
        }
    }

    /// Sends the saga after each change, first as it is. The stream ends with the saga, or with the connection.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn watch(&self, saga: &str) -> Result<Streaming<v1::WatchSagaResponse>, ClientError> {
        let name = self.saga_name(saga);
        self.repeat(true, || {
            let (mut sagas, name) = (self.sagas.clone(), name.clone());
            async move { sagas.watch_saga(v1::WatchSagaRequest { name }).await }
        })
        .await
    }

    /// Reads a saga's whole history, oldest first.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn history(&self, saga: &str) -> Result<Vec<v1::HistoryEntry>, ClientError> {
        let mut message = v1::ListSagaHistoryRequest {
            name: self.saga_name(saga),
            page_size: HISTORY_PAGE,
            page_token: String::new(),
        };
        let mut entries = Vec::new();
        loop {
            let page = self.repeat(true, || {
                let (mut sagas, message) = (self.sagas.clone(), message.clone());
                async move { sagas.list_saga_history(message).await }
            });
            let page = page.await?;
            entries.extend(page.entries);
            if page.next_page_token.is_empty() {
                return Ok(entries);
            }
            message.page_token = page.next_page_token;
        }
    }

    /// Follows a saga's history: what is recorded, then what is committed next. The stream ends with the saga, or
    /// with the connection.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn follow_history(
        &self,
        saga: &str,
    ) -> Result<Streaming<v1::FollowSagaHistoryResponse>, ClientError> {
        let name = self.saga_name(saga);
        self.repeat(true, || {
            let (mut sagas, name) = (self.sagas.clone(), name.clone());
            async move {
                let request = v1::FollowSagaHistoryRequest { name };
                sagas.follow_saga_history(request).await
            }
        })
        .await
    }

    /// Asks for an abort. The reason is recorded; it has 1 to 1,024 bytes.
    ///
    /// # Errors
    /// Whatever the server answers; behind the point of no return that is `FAILED_PRECONDITION`.
    pub async fn cancel(
        &self,
        saga: &str,
        reason: &str,
    ) -> Result<v1::CancelSagaResponse, ClientError> {
        let message = v1::CancelSagaRequest {
            name: self.saga_name(saga),
            reason: reason.to_owned(),
        };
        self.repeat(true, || {
            let (mut sagas, message) = (self.sagas.clone(), message.clone());
            async move { sagas.cancel_saga(message).await }
        })
        .await
    }

    /// A saga's resource name, from that or from its id.
    #[must_use]
    pub fn saga_name(&self, saga: &str) -> String {
        if saga.contains('/') {
            saga.to_owned()
        } else {
            format!("{}/sagas/{saga}", self.parent())
        }
    }

    fn definition_name(&self, definition: &str) -> String {
        if definition.contains('/') {
            definition.to_owned()
        } else {
            format!("{}/definitions/{definition}", self.parent())
        }
    }

    fn parent(&self) -> String {
        format!("namespaces/{}", self.namespace)
    }

    /// Calls until it is answered. An overloaded server refuses before it does anything, so such a call may always be
    /// repeated; one whose answer was lost may be only if it is idempotent.
    async fn repeat<T, F>(
        &self,
        idempotent: bool,
        mut call: impl FnMut() -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let give_up = Instant::now() + self.retry_for;
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => RpcError::from(status),
            };
            let again = match error.code {
                Code::Unavailable => idempotent,
                // Without a time to come back it is not overload: the request itself is too large.
                Code::ResourceExhausted => error.retry_after.is_some(),
                _ => false,
            };
            let pause = backoff.next().max(error.retry_after.unwrap_or_default());
            if !again || Instant::now() + pause >= give_up {
                return Err(error.into());
            }
            tokio::time::sleep(pause).await;
        }
    }
}

fn present<T>(field: Option<T>) -> Result<T, ClientError> {
    field.ok_or(ClientError::Incomplete)
}

const HISTORY_PAGE: u32 = 1_000;
/// Shorter than what proxies between client and server tend to cut.
const WAIT_AT_ONCE_MAX: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(2);
