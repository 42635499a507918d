//! The arguments of `simulate` and `verify`.

use std::path::PathBuf;

use clap::Args;

/// Options of `simulate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = SIMULATE_HELP)]
pub struct SimulateArguments {
    /// The document; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A file with the start's input as JSON; made up if absent
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// What a step answers; made up if absent
    #[arg(long = "answer", value_name = "STEP=JSON")]
    pub answers: Vec<String>,
    /// A step, or one of its items, is rejected with this code; without a code every attempt of it fails
    #[arg(long = "fail", value_name = "STEP[#ITEM][:CODE]")]
    pub failures: Vec<String>,
    /// Nobody hears of a step again; with `:effect` it had its effect all the same
    #[arg(long = "unknown", value_name = "STEP[#ITEM][:effect]")]
    pub unknown: Vec<String>,
    /// A step's compensation is refused
    #[arg(long = "stuck", value_name = "STEP[#ITEM]")]
    pub stuck: Vec<String>,
    /// A signal that comes when a step waits for it
    #[arg(long = "signal", value_name = "ID=JSON")]
    pub signals: Vec<String>,
    /// The server crashes after so many rows of the journal, and recovers from them
    #[arg(long, value_name = "ROWS")]
    pub crash_after: Option<usize>,
    /// The saga is cancelled after so many rows of the journal
    #[arg(long, value_name = "ROWS")]
    pub cancel_after: Option<usize>,
    /// Every action stands behind a barrier
    #[arg(long)]
    pub barrier: bool,
}

/// Options of `verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyArguments {
    /// The document; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A file with the start's input as JSON; made up if absent, one for each way that conditions can go
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// What a step answers; made up if absent
    #[arg(long = "answer", value_name = "STEP=JSON")]
    pub answers: Vec<String>,
    /// Every action stands behind a barrier
    #[arg(long)]
    pub barrier: bool,
    /// Show a shortest way to each end
    #[arg(long)]
    pub ways: bool,
    /// Give up after so many states
    #[arg(long, default_value_t = 5_000_000, value_name = "N")]
    pub states: usize,
}

const SIMULATE_HELP: &str = "No server and no participants are needed: the saga runs on the machine that runs in production, on a made-up clock.

  amends simulate place-order.saga.yaml --fail charge:CARD_DECLINED
  amends simulate place-order.saga.yaml --input order.json --unknown ship --crash-after 3";

const VERIFY_HELP: &str = "Every outcome of every step, lost and late results, compensations that fail, a cancel, the deadline and signals are tried
at every point. Ends with 1 if a promise does not hold, or if there are too many states to look at all of them.

  amends verify place-order.saga.yaml
  amends verify place-order.saga.yaml --barrier --ways";
