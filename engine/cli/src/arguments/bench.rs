//! The command line of `bench`: what is measured, on which database, under which load, and how it is told. Deliberately
//! not here: measuring.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// Options of `bench`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP, subcommand_required = true)]
pub struct BenchArguments {
    /// What is measured.
    #[command(subcommand)]
    pub scenario: Scenario,
}

const HELP: &str = "Without --database-url, --store postgres starts a cluster of its own that waits for the disk, and \
removes it at the end.
Participants, client and server are processes of their own, so that the CPU time of each can be told.

  amends bench happy --store postgres --in-flight 64,512 --floor --pairs 7
  amends bench happy --store sqlite --rate 2000
  amends bench suite --store postgres --markdown";

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
pub enum Scenario {
    /// Three steps in a row that succeed: 300 bytes of input, results of 200
    Happy(LoadArguments),
    /// Three steps of which the last is refused, so that two are undone
    Failing(LoadArguments),
    /// Ever more steps in a row, at once, and for each item of a list: what a step costs
    Wide(CurveArguments),
    /// Payloads from 24 bytes to 1 MiB, handed on over three steps
    Payload(CurveArguments),
    /// Kill a server with SIGKILL while many sagas are in flight, and start it again
    Recovery(RecoveryArguments),
    /// Throughput and lists with ever more finished sagas in the database, and with many in flight
    Backlog(BacklogArguments),
    /// CPU time, statements and memory of a server that has nothing to do
    Idle(IdleArguments),
    /// Memory for each saga in flight
    Memory(MemoryArguments),
    /// Sagas that are forgotten soon after their end: size and dead rows over an hour's worth of them
    Churn(ChurnArguments),
    /// Every ratio that is wanted of the engine, in rounds, and whether its bound holds
    Suite(SuiteArguments),
    /// Fill a database with sagas that wait for a signal, and measure a server that has them: its memory, and how late those
    /// wake, every second one, whose wait has a timeout
    Parked(ParkedArguments),
    /// The process that answers each message with one
    #[command(hide = true)]
    Echo {
        /// Nothing
        plan: String,
    },
    /// The process that starts sagas and waits for their ends
    #[command(hide = true)]
    Client {
        /// What it does, as JSON
        plan: String,
    },
    /// The process whose actions do next to nothing
    #[command(hide = true)]
    Participant {
        /// What it does, as JSON
        plan: String,
    },
}

/// Where it is measured.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Run a server on a new database of this kind, instead of using --server
    #[arg(long, value_enum, value_name = "STORE")]
    pub store: Option<BenchStore>,
    /// With --store postgres: an empty database that may be written to, instead of a cluster of its own
    #[arg(
        long,
        env = "AMENDS__DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: Option<String>,
    /// Committer lanes of the server and of the floor; the server's default if absent
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=2), value_name = "N")]
    pub lanes: Option<u8>,
}

/// The load.
#[derive(Clone, Debug, Args)]
pub struct LoadArguments {
    /// Where it is measured.
    #[command(flatten)]
    pub target: Target,
    /// Closed loop: how many sagas are under way at once; several numbers are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "64", value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    pub in_flight: Vec<u32>,
    /// Open loop: start so many sagas a second, whatever becomes of them; latency counts from when each was to start
    #[arg(long, conflicts_with_all = ["in_flight", "floor"], value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "SAGAS/S")]
    pub rate: Option<u32>,
    /// How sagas are started
    #[arg(long, value_enum, default_value_t = Starts::BEST, value_name = "HOW")]
    pub starts: Starts,
    /// Stop each leg after this many sagas
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub sagas: Option<u64>,
    /// How long a leg starts sagas
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600), value_name = "S")]
    pub seconds: u64,
    /// Measure so many times, interleaved; median, least and most are told
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=101), value_name = "N")]
    pub pairs: u32,
    /// Beside each leg write the same rows through the same statement without an engine: what the database alone allows
    #[arg(long, requires = "store")]
    pub floor: bool,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// Options of the curves.
#[derive(Clone, Debug, Args)]
pub struct CurveArguments {
    /// Where it is measured.
    #[command(flatten)]
    pub target: Target,
    /// How sagas are started
    #[arg(long, value_enum, default_value_t = Starts::BEST, value_name = "HOW")]
    pub starts: Starts,
    /// How long each point of a curve starts sagas
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600), value_name = "S")]
    pub seconds: u64,
    /// Measure each curve so many times
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=101), value_name = "N")]
    pub pairs: u32,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// Options of `bench recovery`.
#[derive(Clone, Debug, Args)]
pub struct RecoveryArguments {
    /// Where it is measured.
    #[command(flatten)]
    pub target: Target,
    /// Sagas in flight
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=190_000), value_name = "N")]
    pub sagas: u64,
    /// Commands that the participant takes at once
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    pub credit: u32,
    /// Kill so many times, each on a new database
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=101), value_name = "N")]
    pub pairs: u32,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// Options of `bench backlog`.
#[derive(Clone, Debug, Args)]
pub struct BacklogArguments {
    /// Where it is measured.
    #[command(flatten)]
    pub target: Target,
    /// Finished sagas; each number in a database of its own
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0,500000,2000000",
        value_name = "N"
    )]
    pub stored: Vec<u64>,
    /// Sagas in flight, in one more database
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=190_000), value_name = "N")]
    pub active: u64,
    /// Sagas of the load that are under way at once
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=4_096), value_name = "N")]
    pub in_flight: u32,
    /// How sagas are started
    #[arg(long, value_enum, default_value_t = Starts::BEST, value_name = "HOW")]
    pub starts: Starts,
    /// How long each leg starts sagas
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600), value_name = "S")]
    pub seconds: u64,
    /// How many rounds
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=101), value_name = "N")]
    pub pairs: u32,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// Options of `bench idle`.
#[derive(Clone, Debug, Args)]
pub struct IdleArguments {
    /// Where it is measured.
    #[command(flatten)]
    pub target: Target,
    /// How long it is looked at
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600), value_name = "S")]
    pub seconds: u64,
    /// Measure so many times
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=101), value_name = "N")]
    pub pairs: u32,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// Options of `bench memory`.
#[derive(Clone, Debug, Args)]
pub struct MemoryArguments {
    /// Where it is measured.
    #[command(flatten)]
    pub target: Target,
    /// Sagas in flight, ever more of them
    #[arg(long, value_delimiter = ',', default_value = "10000,50000,100000", value_parser = clap::value_parser!(u64).range(1..=190_000), value_name = "N")]
    pub sagas: Vec<u64>,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// Options of `bench churn`.
#[derive(Clone, Debug, Args)]
pub struct ChurnArguments {
    /// Where it is measured.
    #[command(flatten)]
    pub target: Target,
    /// Sagas in all: an hour's worth of 500 a second if absent
    #[arg(long, default_value_t = 1_800_000, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub sagas: u64,
    /// Sagas that are under way at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096), value_name = "N")]
    pub in_flight: u32,
    /// How sagas are started
    #[arg(long, value_enum, default_value_t = Starts::BEST, value_name = "HOW")]
    pub starts: Starts,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// Options of `bench suite`.
#[derive(Clone, Debug, Args)]
pub struct SuiteArguments {
    /// Where it is measured; without --store on PostgreSQL, then on SQLite
    #[command(flatten)]
    pub target: Target,
    /// How long each leg starts sagas
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600), value_name = "S")]
    pub seconds: u64,
    /// How many rounds
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=101), value_name = "N")]
    pub pairs: u32,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// How it is told, beside the global `--output`.
#[derive(Clone, Debug, Default, Args)]
pub struct Telling {
    /// Print Markdown, ready for BENCHMARKS.md, instead of columns
    #[arg(long)]
    pub markdown: bool,
    /// Draw the figures into this file
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// Options of `bench parked`.
#[derive(Clone, Debug, Args)]
pub struct ParkedArguments {
    /// Where it is measured.
    #[command(flatten)]
    pub target: Target,
    /// How many sagas wait
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(2..=10_000_000), value_name = "N")]
    pub sagas: u64,
    /// The timeouts are spread over this many seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600), value_name = "S")]
    pub wake_over: u64,
}

/// How sagas are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Starts {
    /// Over a stream on which their ends are told
    Streamed,
    /// A call for each, which is answered at its end
    Unary,
}

impl Starts {
    /// The one that costs a client least.
    pub const BEST: Self = Self::Streamed;

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Streamed => "streamed",
            Self::Unary => "unary",
        }
    }
}

/// A kind of database to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchStore {
    /// A new file in the temporary directory
    Sqlite,
    /// A cluster of its own, or the database at --database-url
    Postgres,
}

impl BenchStore {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}
