//! One of the four services as a process. All it does is read its command line; the services are in the library.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use amends_example_order_fulfilment::{
    Chaos, ParticipantKind, ParticipantOptions, run_participant,
};
use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// One of the services of the order example: attaches to an Amends server and serves its actions until SIGTERM.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Which service.
    kind: ParticipantKind,
    /// The server's address.
    #[arg(long, env = "AMENDS_SERVER", default_value = "http://127.0.0.1:7707")]
    server: String,
    /// Where it keeps its books: `sqlite:FILE` or `postgres://…`. By default a SQLite file named after the service in
    /// the current directory.
    #[arg(long, env = "DATABASE_URL")]
    database_url: Option<String>,
    /// Chooses how chance falls, and the stock and balances of empty books.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how many generated orders empty books are filled.
    #[arg(long, default_value_t = 300)]
    orders: usize,
    /// Attempts at once, 1 to 10,000.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Names this process to the server, the same over restarts. Random if not given.
    #[arg(long)]
    instance: Option<String>,
    /// Shipping: the shortest time to answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    slow_min_ms: u64,
    /// Shipping: the longest time to answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    slow_max_ms: u64,
    /// Shipping: of a hundred first attempts, so many fail with an error that passes.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    fail_percent: u8,
    /// Shipping: of a hundred parcels, so many are booked by a process that dies before it says so (exit code 86).
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    die_after_commit_percent: u8,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| "warn,amends_sdk=info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let arguments = Arguments::parse();
    let kind = arguments.kind;
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    run_participant(kind, arguments.into_options(), shutdown)
        .await
        .with_context(|| format!("{kind} cannot run"))
}

impl Arguments {
    fn into_options(self) -> ParticipantOptions {
        let default_file = PathBuf::from(format!("{}.db", self.kind));
        ParticipantOptions {
            server_addr: self.server,
            database_url: self
                .database_url
                .unwrap_or_else(|| format!("sqlite:{}", default_file.display())),
            seed: self.seed,
            orders: self.orders,
            concurrency: self.concurrency,
            instance: self.instance,
            chaos: Chaos {
                slow: (
                    Duration::from_millis(self.slow_min_ms),
                    Duration::from_millis(self.slow_max_ms),
                ),
                fail_percent: self.fail_percent,
                die_after_commit_percent: self.die_after_commit_percent,
                ..Chaos::default()
            },
        }
    }
}
