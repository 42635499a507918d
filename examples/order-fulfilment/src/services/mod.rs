//! The four services as participants: what they serve, and how they misbehave when asked to.

mod inventory;
mod mail;
mod payments;
mod shipping;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use amends_sdk::Participant;
use amends_sdk::barrier::Barrier;
use sqlx::Pool;

use crate::books::{AnyBooks, Database, prepare};
use crate::order::opening_for;

/// Which of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum ParticipantKind {
    /// Stock: `inventory.reserve`, undone by `inventory.release`.
    Inventory,
    /// Cards: `payments.authorize`, undone by `payments.void`, and `payments.capture`.
    Payments,
    /// Parcels: `shipping.create`.
    Shipping,
    /// Mails: `mail.send`.
    Mail,
}

/// How a service runs.
#[derive(Debug, Clone)]
pub struct ParticipantOptions {
    /// The server's address, such as `http://127.0.0.1:7707`.
    pub server_addr: String,
    /// Where it keeps its books: `sqlite:FILE` or `postgres://…`.
    pub database_url: String,
    /// Chooses how chance falls, and the stock and balances of books that are empty.
    pub seed: u64,
    /// For how many generated orders empty books are filled.
    pub orders: usize,
    /// Attempts at once, 1 to 10,000.
    pub concurrency: usize,
    /// Names this process to the server, the same over restarts; random if absent.
    pub instance: Option<String>,
    /// How it misbehaves.
    pub chaos: Chaos,
}

impl Default for ParticipantOptions {
    fn default() -> Self {
        Self {
            server_addr: "http://127.0.0.1:7707".to_owned(),
            database_url: String::new(),
            seed: 1,
            orders: 300,
            concurrency: 64,
            instance: None,
            chaos: Chaos::default(),
        }
    }
}

/// Misbehaviour, by default none. It falls by the seed and the order, so that a run repeats.
#[derive(Debug, Clone)]
pub struct Chaos {
    /// Answers take this long, from the first to the second.
    pub slow: (Duration, Duration),
    /// In so many of a hundred first attempts, an error that passes.
    pub fail_percent: u8,
    /// After so many of a hundred effects were committed, the process dies before it answers.
    pub die_after_commit_percent: u8,
    /// How it dies.
    pub die: fn(),
}

impl Default for Chaos {
    fn default() -> Self {
        Self {
            slow: (Duration::ZERO, Duration::ZERO),
            fail_percent: 0,
            die_after_commit_percent: 0,
            die: || std::process::exit(DEATH_EXIT_CODE),
        }
    }
}

/// The exit code of a service that died by [`Chaos::die_after_commit_percent`].
pub const DEATH_EXIT_CODE: i32 = 86;

impl ParticipantKind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Inventory, Self::Payments, Self::Shipping, Self::Mail];

    /// The name in `call: inventory.reserve`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Payments => "payments",
            Self::Shipping => "shipping",
            Self::Mail => "mail",
        }
    }

    pub(crate) fn schema(self) -> &'static [&'static str] {
        match self {
            Self::Inventory => &inventory::SCHEMA,
            Self::Payments => &payments::SCHEMA,
            Self::Shipping => &shipping::SCHEMA,
            Self::Mail => &mail::SCHEMA,
        }
    }
}

impl fmt::Display for ParticipantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Runs one service until `shutdown`, then lets what is under way end.
///
/// # Errors
/// Where the books cannot be opened, or the server refuses the service.
pub async fn run_participant(
    kind: ParticipantKind,
    options: ParticipantOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let opening = opening_for(options.seed, options.orders);
    let participant = match AnyBooks::open(&options.database_url).await? {
        AnyBooks::Sqlite(pool) => {
            prepare(&pool, kind, &opening).await?;
            participant(kind, &options, pool).await?
        }
        AnyBooks::Postgres(pool) => {
            prepare(&pool, kind, &opening).await?;
            participant(kind, &options, pool).await?
        }
    };
    participant
        .run_until(&options.server_addr, shutdown)
        .await?;
    Ok(())
}

/// One service over books that are prepared.
///
/// # Errors
/// Where the barrier's table cannot be made.
pub async fn participant<DB: Database>(
    kind: ParticipantKind,
    options: &ParticipantOptions,
    books: Pool<DB>,
) -> anyhow::Result<Participant> {
    let barrier = Barrier::new(books);
    barrier.migrate().await?;
    let participant = match kind {
        ParticipantKind::Inventory => inventory::participant(&barrier),
        ParticipantKind::Payments => payments::participant(&barrier, options.seed),
        ParticipantKind::Shipping => shipping::participant(&barrier, options),
        ParticipantKind::Mail => mail::participant(&barrier),
    };
    let mut sdk = amends_sdk::ParticipantOptions {
        concurrency: options.concurrency,
        ..Default::default()
    };
    if let Some(instance) = &options.instance {
        sdk.instance.clone_from(instance);
    }
    Ok(participant.options(sdk))
}
