//! The ledger as a process. All it does is read its command line; the ledger is in the library.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use amends_example_money_transfer::{LedgerOptions, books, participant};
use anyhow::Context as _;
use clap::Parser;

/// The ledger of the transfer example: attaches to an Amends server and serves its actions until SIGTERM or Ctrl-C.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The server's address.
    #[arg(long, env = "AMENDS_SERVER", default_value = "http://127.0.0.1:7707")]
    server: String,
    /// The SQLite file with its books, made where there is none.
    #[arg(long, default_value = "ledger.db")]
    books: PathBuf,
    /// How long a debit takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    debit_takes_ms: u64,
    /// Print what the books say, and end.
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
    let books = books::open(&arguments.books).await;
    let books = books.with_context(|| format!("{} cannot be opened", arguments.books.display()))?;
    if arguments.statement {
        println!("{}", books::statement(&books).await?);
        return Ok(());
    }
    let options = LedgerOptions {
        debit_takes: Duration::from_millis(arguments.debit_takes_ms),
    };
    let ledger = participant(books, &options).await?;
    ledger.run(&arguments.server).await?;
    Ok(())
}
