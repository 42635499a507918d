//! A node's life: bind, open, claim; serve; drain.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use amends_orchestrator::Orchestrator;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::admin::read_token;
use crate::config::Config;
use crate::error::{RunError, StartError, chain};
use crate::store::open_store;

/// A started node: it listens and owns shards, and answers as soon as it runs.
pub struct Node {
    address: SocketAddr,
    name: String,
    listener: TcpListener,
    orchestrator: Orchestrator,
    edge: amends_grpc::Options,
    drain_grace: Duration,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("address", &self.address)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Reads the admin token, binds the port, opens the store, claims the shards that are free. In this order: a node that cannot be reached, or cannot
/// read its database, takes nothing from others.
///
/// # Errors
/// The first thing that is in the way.
pub async fn start(config: Config) -> Result<Node, StartError> {
    config.check()?;
    let admin_token = config.admin_token_file.as_deref().map(read_token);
    let admin_token = admin_token.transpose()?;
    let listener = bind(&config).await?;
    let address = listener
        .local_addr()
        .map_err(|error| listen_error(&config.listen, &error))?;
    let name = config.node.clone().unwrap_or_else(|| default_name(address));
    let store = open_store(&config).await?;
    let options = amends_orchestrator::Options {
        node: name.clone(),
        address: address.to_string(),
        namespaces: config.namespaces.clone(),
        lanes: config.lanes,
        lease: config.lease(),
        session_lease: config.session_lease(),
        active_max: config.active_max,
        queue_max: config.queue_max,
        retention: amends_orchestrator::Retention {
            interval: Duration::from_millis(config.retention_interval_ms),
            batch: config.retention_batch,
        },
    };
    let started = Orchestrator::start(store, options).await;
    let orchestrator = started.map_err(|error| StartError::Orchestrator(chain(&error)))?;
    tracing::info!(node = name, %address, database = %config.database_url, "the node is ready");
    let edge = amends_grpc::Options {
        node: name.clone(),
        session_lease: config.session_lease(),
        calls_max: config.calls_max,
        connections_per_peer_max: config.connections_per_peer_max,
        request_timeout: config.request_timeout(),
        admin_token,
    };
    Ok(Node {
        address,
        name,
        listener,
        orchestrator,
        edge,
        drain_grace: config.drain_grace(),
    })
}

impl Node {
    /// Where it listens; with port 0 configured, the port that it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Serves until `shutdown` resolves. Then: no new sagas, goodbye to participants, what is in flight commits (for the
    /// configured grace), the lease is given up, open streams end.
    ///
    /// # Errors
    /// If the node ended without being asked to.
    pub async fn run_until(
        self,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), RunError> {
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            // A sender that is gone means the same.
            let _ = stopped.await;
        };
        let mut serving = pin!(amends_grpc::serve(
            self.listener,
            self.orchestrator.clone(),
            self.edge,
            stopped
        ));
        let lost = tokio::select! {
            () = shutdown => None,
            error = self.orchestrator.failed() => Some(error),
            ended = &mut serving => return ended.map_err(RunError::Serve).and(Err(RunError::ServeEnded)),
        };
        if let Some(error) = &lost {
            tracing::error!(error = chain(error), "the node cannot go on");
        }
        // Clients and participants are served while what is in flight ends.
        tokio::select! {
            () = self.orchestrator.drain(self.drain_grace) => {}
            ended = &mut serving => return ended.map_err(RunError::Serve).and(Err(RunError::ServeEnded)),
        }
        // The receiver is gone only if the server ended, which the next line tells.
        let _ = stop.send(());
        serving.await.map_err(RunError::Serve)?;
        lost.map_or(Ok(()), |error| Err(RunError::Lost(error)))
    }
}

async fn bind(config: &Config) -> Result<TcpListener, StartError> {
    let resolved = tokio::net::lookup_host(&config.listen)
        .await
        .map_err(|error| listen_error(&config.listen, &error))?;
    let addresses: Vec<SocketAddr> = resolved.collect();
    let open = addresses
        .iter()
        .find(|address| !address.ip().to_canonical().is_loopback());
    if let (Some(address), false) = (open, config.allow_insecure_listen) {
        return Err(StartError::InsecureListen { address: *address });
    }
    if let Some(address) = open {
        tracing::warn!(%address, "listening beyond loopback without TLS and authentication");
    }
    TcpListener::bind(addresses.as_slice())
        .await
        .map_err(|error| listen_error(&config.listen, &error))
}

fn listen_error(address: &str, error: &std::io::Error) -> StartError {
    StartError::Listen {
        address: address.to_owned(),
        message: chain(error),
    }
}

/// The host's name and the port: the same after a restart, so that a restarted node need not wait for its own lease.
fn default_name(address: SocketAddr) -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = read
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty());
    let host = host
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "localhost".to_owned());
    format!("{host}:{}", address.port())
}
