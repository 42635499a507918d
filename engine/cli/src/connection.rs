//! The way to a server: one channel, the namespace, and the names of resources in it. Deliberately not here: what is
//! asked (`verbs`), and how an answer looks (`view`).

use std::time::Duration;

use amends_proto::v1::definition_service_client::DefinitionServiceClient;
use amends_proto::v1::operator_service_client::OperatorServiceClient;
use amends_proto::v1::saga_service_client::SagaServiceClient;
use amends_proto::v1::{Saga, WaitSagaRequest};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::exit::Exit;
use crate::failure::{Failure, chain};

/// A saga with the payloads of its 500 steps is larger than tonic's 4 MiB.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a wait goes on while the server is away.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// One question of a wait; the server allows an hour.
const WAIT_SLICE: Duration = Duration::from_secs(60);

/// A server and a namespace in it.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    namespace: String,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`Exit::Usage`] if the address is none, [`Exit::Unavailable`] if nobody answers there.
    pub async fn open(server: &str, namespace: &str) -> Result<Self, Failure> {
        let endpoint = endpoint(server)?;
        let channel = endpoint.connect().await.map_err(|error| {
            Failure::new(Exit::Unavailable, format!("no server answers at {server}"))
                .because(chain(&error))
                .advice(
                    "start one with `amends dev`, or name another with --server or AMENDS_SERVER",
                )
        })?;
        Ok(Self::over(channel, namespace))
    }

    /// Connects when the first call needs it, and again after a loss.
    ///
    /// # Errors
    /// [`Exit::Usage`] if the address is none.
    pub fn lazy(server: &str, namespace: &str) -> Result<Self, Failure> {
        Ok(Self::over(endpoint(server)?.connect_lazy(), namespace))
    }

    fn over(channel: Channel, namespace: &str) -> Self {
        Self {
            channel,
            namespace: namespace.to_owned(),
        }
    }

    /// The library's client, which has the stream of starts.
    #[must_use]
    pub fn client(&self) -> amends_sdk::Client {
        amends_sdk::Client::new(self.channel.clone()).namespace(&self.namespace)
    }

    /// Calls about sagas.
    #[must_use]
    pub fn sagas(&self) -> SagaServiceClient<Channel> {
        SagaServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Calls about definitions.
    #[must_use]
    pub fn definitions(&self) -> DefinitionServiceClient<Channel> {
        DefinitionServiceClient::new(self.channel.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Calls of operators.
    #[must_use]
    pub fn operators(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// `namespaces/{namespace}`.
    #[must_use]
    pub fn parent(&self) -> String {
        format!("namespaces/{}", self.namespace)
    }

    /// The resource name of a saga, given its id or that name.
    #[must_use]
    pub fn saga_name(&self, id: &str) -> String {
        self.resource("sagas", id)
    }

    /// The resource name of a definition, given its id or that name.
    #[must_use]
    pub fn definition_name(&self, id: &str) -> String {
        self.resource("definitions", id)
    }

    fn resource(&self, collection: &str, id: &str) -> String {
        if id.starts_with("namespaces/") {
            id.to_owned()
        } else {
            format!("namespaces/{}/{collection}/{id}", self.namespace)
        }
    }

    /// Waits until a saga ended or parked, or until the timeout; none waits for ever. A server that goes away and comes
    /// back within half a minute does not end the wait. Says whether the saga is settled.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn wait(
        &self,
        name: &str,
        timeout: Option<Duration>,
    ) -> Result<(Saga, bool), Status> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut away_since: Option<Instant> = None;
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let slice = left.map_or(WAIT_SLICE, |left| left.min(WAIT_SLICE));
            let request = WaitSagaRequest {
                name: name.to_owned(),
                timeout: Some(proto_duration(slice)),
            };
            match self.sagas().wait_saga(request).await {
                Ok(answer) => {
                    away_since = None;
                    let answer = answer.into_inner();
                    let saga = answer
                        .saga
                        .ok_or_else(|| Status::internal("the server's answer lacks the saga"))?;
                    let over = left.is_some_and(|left| left <= slice);
                    if answer.settled || over {
                        return Ok((saga, answer.settled));
                    }
                }
                Err(status) if is_away(&status) => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > AWAY_MAX || left.is_some_and(|left| left.is_zero()) {
                        return Err(status);
                    }
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                Err(status) => return Err(status),
            }
        }
    }
}

/// The server did not answer, and may be back soon.
#[must_use]
pub fn is_away(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // tonic's answer when a connection breaks under a call.
        Code::Unknown | Code::Cancelled | Code::Internal => {
            std::error::Error::source(status).is_some()
        }
        _ => false,
    }
}

/// A duration as the protocol has it.
#[must_use]
pub fn proto_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// The id at the end of a resource name.
#[must_use]
pub fn id_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Where a server is, and how it is reached.
///
/// # Errors
/// [`Exit::Usage`] if the address is none.
pub fn endpoint(server: &str) -> Result<Endpoint, Failure> {
    let wrong = |why: String| {
        Failure::usage(format!("`{server}` is no server's address"))
            .because(why)
            .advice("give --server (or AMENDS_SERVER) as http://HOST:PORT")
    };
    if server.starts_with("https://") {
        return Err(wrong("this build speaks plaintext HTTP/2 only".to_owned()));
    }
    let uri = if server.contains("://") {
        server.to_owned()
    } else {
        format!("http://{server}")
    };
    if !uri.starts_with("http://") {
        return Err(wrong("its scheme is not http".to_owned()));
    }
    let endpoint = Endpoint::from_shared(uri).map_err(|error| wrong(chain(&error)))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ids_and_resource_names_lead_to_the_same_saga() {
        let connection = Connection::lazy("127.0.0.1:1", "shop").expect("an address");
        assert_eq!(connection.saga_name("x"), "namespaces/shop/sagas/x");
        assert_eq!(
            connection.saga_name("namespaces/other/sagas/x"),
            "namespaces/other/sagas/x"
        );
        assert_eq!(
            connection.definition_name("d"),
            "namespaces/shop/definitions/d"
        );
        assert_eq!(id_of("namespaces/other/sagas/x"), "x");
    }

    #[tokio::test]
    async fn addresses_that_lead_nowhere_are_usage_errors() {
        for address in ["https://a:1", "ftp://a:1", "http://", "a b"] {
            let failure = Connection::lazy(address, "default").expect_err(address);
            assert_eq!(failure.exit(), Exit::Usage, "{address}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_unavailable() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let failure = Connection::open(&address, "default")
            .await
            .expect_err("nobody listens");
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(
            failure.render().contains("amends dev"),
            "{}",
            failure.render()
        );
    }
}
