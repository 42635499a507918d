//! One of the four services as a process. All it does is read its command line; the services are in the library.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use amends_example_trip_booking::{Service, books, participant};
use anyhow::Context as _;
use clap::Parser;

/// A service of the trip example: attaches to an Amends server and serves its actions until SIGTERM or Ctrl-C.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Which service.
    service: Service,
    /// The server's address.
    #[arg(long, env = "AMENDS_SERVER", default_value = "http://127.0.0.1:7707")]
    server: String,
    /// The directory where it keeps its books, in a SQLite file named after the service.
    #[arg(long, default_value = ".")]
    books: PathBuf,
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
    let service = arguments.service;
    let books = books::open(&arguments.books, service).await;
    let books = books.with_context(|| format!("the books of {service} cannot be opened"))?;
    participant(service, books)
        .await?
        .run(&arguments.server)
        .await?;
    Ok(())
}
