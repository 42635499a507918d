//! The participant `abroad` as a process, with the bank's books in a file. All it does is read its command line.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use amends_example_money_transfer::{AbroadOptions, Bank, abroad};
use anyhow::Context as _;
use clap::Parser;

/// The bank abroad of the transfer example: attaches to an Amends server and serves its actions until SIGTERM or Ctrl-C.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The server's address.
    #[arg(long, env = "AMENDS_SERVER", default_value = "http://127.0.0.1:7707")]
    server: String,
    /// The SQLite file with the bank's books, made where there is none.
    #[arg(long, default_value = "abroad.db")]
    books: PathBuf,
    /// How long an order is on its way to the bank's books, in milliseconds.
    #[arg(long, default_value_t = 0)]
    order_takes_ms: u64,
    /// How long the answer to an order is on its way back, in milliseconds.
    #[arg(long, default_value_t = 0)]
    answer_takes_ms: u64,
    /// Print what the bank was told to pay, and end.
    #[arg(long)]
    statement: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let arguments = Arguments::parse();
    let bank = Bank::open(&arguments.books).await;
    let bank = bank.with_context(|| format!("{} cannot be opened", arguments.books.display()))?;
    if arguments.statement {
        println!("{:<10} {:>12}", "ordered", bank.ordered_minor().await?);
        return Ok(());
    }
    let options = AbroadOptions {
        order_takes: Duration::from_millis(arguments.order_takes_ms),
        answer_takes: Duration::from_millis(arguments.answer_takes_ms),
    };
    abroad(&bank, &options).run(&arguments.server).await?;
    Ok(())
}
