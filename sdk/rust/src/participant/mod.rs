//! A participant: what it serves, how it is configured, and running it. Attaching again and again is in `attachment`,
//! one stream in `session`, one attempt in `attempt`, the books about commands in hand in `ledger`.

mod attachment;
mod attempt;
mod ledger;
mod session;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Channel, Endpoint};

use crate::action::Action;
use crate::context::Context;
use crate::fail::Fail;
use crate::limits::{ACTIONS_MAX, CONCURRENCY_MAX};

/// A service that performs actions and compensations.
///
/// It attaches to a server, takes commands as it has room for them, and keeps every outcome until the server has
/// acknowledged it. A lost stream is attached again, with what is in hand.
#[derive(Debug, Clone)]
pub struct Participant {
    name: String,
    actions: BTreeMap<String, Action>,
    options: ParticipantOptions,
}

/// How a participant attaches and runs. The defaults suit most.
#[derive(Debug, Clone)]
pub struct ParticipantOptions {
    /// The namespace whose sagas it serves. Defaults to `default`.
    pub namespace: String,
    /// This process, unique among its like, 1 to 128 bytes. Defaults to a random one; a name that survives a restart
    /// lets the new process replace the stream of the old one at once. The replaced process ends with
    /// [`ParticipantError::Replaced`], so two that run at the same time must not share it.
    pub instance: String,
    /// Attempts that run at once, 1 to 10,000. Defaults to 64.
    pub concurrency: usize,
    /// How long running attempts may go on when the participant is asked to end. Defaults to 30 s.
    pub drain_timeout: Duration,
    /// How long after its deadline an attempt is dropped, so that a hanging handler does not keep its place for ever.
    /// Defaults to 30 s.
    pub abandon_after: Duration,
    /// Pause before attaching again: it doubles from the first to the second, each with full jitter. Defaults to 50
    /// ms and 2 s.
    pub backoff: (Duration, Duration),
    /// How often a silent connection is probed. Defaults to 1 s.
    pub keep_alive_interval: Duration,
    /// How long a probe may go unanswered before the connection counts as lost. Defaults to 5 s.
    pub keep_alive_timeout: Duration,
}

impl Default for ParticipantOptions {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            instance: uuid::Uuid::new_v4().to_string(),
            concurrency: 64,
            drain_timeout: Duration::from_secs(30),
            abandon_after: Duration::from_secs(30),
            backoff: (Duration::from_millis(50), Duration::from_secs(2)),
            keep_alive_interval: Duration::from_secs(1),
            keep_alive_timeout: Duration::from_secs(5),
        }
    }
}

/// Why a participant could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParticipantError {
    /// The participant is not well formed.
    #[error("participant `{participant}`: {problem}")]
    Invalid {
        /// Its name.
        participant: String,
        /// What is wrong, and how to mend it.
        problem: String,
    },
    /// The address cannot be one.
    #[error("`{address}` is not an address: expected something like http://127.0.0.1:7707")]
    Address {
        /// As it was given.
        address: String,
        /// What the parser said.
        #[source]
        source: tonic::transport::Error,
    },
    /// The server refused this participant when it first attached. Trying again would not help.
    #[error("the server refused participant `{participant}`: {} ({:?})", status.message(), status.code())]
    Refused {
        /// Its name.
        participant: String,
        /// What the server said.
        status: Box<tonic::Status>,
    },
    /// Another process attached as the same instance, and took this one's place. Its attempts were cancelled; the other
    /// process gets them again. Give each process an instance of its own, or leave it at the random default.
    #[error(
        "participant `{participant}`: another process attached as instance `{instance}` and replaced this one; give each \
         process an instance of its own"
    )]
    Replaced {
        /// Its name.
        participant: String,
        /// The instance that both have.
        instance: String,
    },
    /// The process could not listen for its termination signals.
    #[error("cannot listen for termination signals")]
    Signals(#[source] std::io::Error),
}

impl Participant {
    /// A participant that serves nothing yet. The name is the first part of `call: inventory.reserve`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            actions: BTreeMap::new(),
            options: ParticipantOptions::default(),
        }
    }

    /// Serves a plain async function as `participant.name`. Actions and compensations are served alike.
    #[must_use]
    pub fn action<F, R, I, O>(self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Context, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Fail>> + Send + 'static,
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
    {
        self.serve(name, Action::new(handler))
    }

    /// Serves an async function that tells whether an action had its effect; see [`Action::query`].
    #[must_use]
    pub fn query<F, R, I, O>(self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Context, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<O>, Fail>> + Send + 'static,
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
    {
        self.serve(name, Action::query(handler))
    }

    /// Serves an action made elsewhere, such as one behind a barrier.
    #[must_use]
    pub fn serve(mut self, name: impl Into<String>, action: Action) -> Self {
        self.actions.insert(name.into(), action);
        self
    }

    /// Changes how it attaches and runs.
    #[must_use]
    pub fn options(mut self, options: ParticipantOptions) -> Self {
        self.options = options;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One of its actions by the name it was served under.
    #[must_use]
    pub fn get(&self, action: &str) -> Option<&Action> {
        self.actions.get(action)
    }

    /// Runs until the process is asked to end by SIGTERM or Ctrl-C, then drains.
    ///
    /// # Errors
    /// As [`Participant::run_until`], and where the signals cannot be listened for.
    pub async fn run(self, address: &str) -> Result<(), ParticipantError> {
        let asked = termination().map_err(ParticipantError::Signals)?;
        self.run_until(address, asked).await
    }

    /// Runs until `shutdown` is ready, then drains: it takes no new commands, lets those under way end, and leaves when
    /// their outcomes are acknowledged or the drain timeout passed.
    ///
    /// # Errors
    /// Where the participant or the address is not well formed, or the server refuses the first attachment for a reason
    /// that trying again cannot mend, or another process of the same instance took its place. A server that is not there
    /// is waited for.
    pub async fn run_until(
        self,
        address: &str,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ParticipantError> {
        self.check()?;
        let channel = self.channel(address)?;
        let asked = CancellationToken::new();
        // In a task of its own: what a runtime blocks on is no worker of it, and would have to wake one for each handler.
        let attached = attachment::run(self, channel, asked.clone().cancelled_owned());
        let mut attached = AbortOnDropHandle::new(tokio::spawn(attached));
        let ended = tokio::select! {
            ended = &mut attached => ended,
            () = shutdown => {
                asked.cancel();
                attached.await
            }
        };
        match ended.map_err(JoinError::try_into_panic) {
            Ok(ended) => ended,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime is being shut down, and this with it.
            Err(Err(_)) => Ok(()),
        }
    }

    fn check(&self) -> Result<(), ParticipantError> {
        let problem = if !is_name(&self.name) {
            "its name has to be lower-case letters, digits, `_` and `-`, and begin with a letter"
        } else if self.actions.is_empty() {
            "it serves nothing: add an action"
        } else if self.actions.len() > ACTIONS_MAX {
            "it serves too many actions: 1,000 are the most"
        } else if !self.actions.keys().all(|name| is_name(name)) {
            "an action's name has to be lower-case letters, digits, `_` and `-`, and begin with a letter"
        } else if !(1..=CONCURRENCY_MAX).contains(&self.options.concurrency) {
            "its concurrency has to be 1 to 10,000"
        } else if !(1..=128).contains(&self.options.instance.len()) {
            "its instance has to have 1 to 128 bytes"
        } else {
            return Ok(());
        };
        Err(ParticipantError::Invalid {
            participant: self.name.clone(),
            problem: problem.to_owned(),
        })
    }

    fn channel(&self, address: &str) -> Result<Channel, ParticipantError> {
        let options = &self.options;
        let endpoint = endpoint(address).map_err(|source| ParticipantError::Address {
            address: address.to_owned(),
            source,
        })?;
        Ok(endpoint
            .http2_keep_alive_interval(options.keep_alive_interval)
            .keep_alive_timeout(options.keep_alive_timeout)
            .connect_lazy())
    }
}

/// An endpoint with the transport settings that participants and clients share.
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    let address = if address.contains("://") {
        address.to_owned()
    } else {
        format!("http://{address}")
    };
    Ok(Endpoint::from_shared(address)?
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .http2_keep_alive_interval(Duration::from_secs(1))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true))
}

/// Ready when the process is asked to end.
///
/// # Errors
/// Where the operating system refuses the registration.
pub(crate) fn termination() -> std::io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-');
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(allowed)
}
