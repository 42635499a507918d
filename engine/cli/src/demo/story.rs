//! The example package's story, as the demo tells it: its orders, its services with their misfortunes, its books and its
//! audit. Deliberately not here: any of the story's own rules.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use amends_example_order_fulfilment::audit::{AuditReport, Books, Ending, books, reconcile};
use amends_example_order_fulfilment::{
    BooksUrls, Chaos, ParticipantKind, ParticipantOptions, generate_orders, run_participant,
    seed_books,
};

pub use amends_example_order_fulfilment::{DEFINITION, DEFINITION_NAME, Order};

use crate::arguments::DemoParticipantArguments;
use crate::failure::Failure;

/// The names of the services.
pub fn services() -> impl Iterator<Item = &'static str> {
    ParticipantKind::ALL.into_iter().map(ParticipantKind::name)
}

/// The orders of a seed.
#[must_use]
pub fn orders(seed: u64, count: u32) -> Vec<Order> {
    generate_orders(seed, count as usize)
}

/// Opens the services' books for these orders, and reads them.
///
/// # Errors
/// If a file cannot be written.
pub async fn open_books(directory: &Path, seed: u64, count: u32) -> Result<Books, Failure> {
    let urls = BooksUrls::sqlite_in(directory);
    seed_books(&urls, seed, count as usize)
        .await
        .map_err(|error| broken("were not opened", &error))?;
    read_books(directory).await
}

/// Compares the books with how the sagas ended.
///
/// # Errors
/// If the books cannot be read.
pub async fn audit(
    directory: &Path,
    before: &Books,
    orders: &[Order],
    endings: &BTreeMap<String, Ending>,
) -> Result<AuditReport, Failure> {
    Ok(reconcile(
        before,
        &read_books(directory).await?,
        orders,
        endings,
    ))
}

async fn read_books(directory: &Path) -> Result<Books, Failure> {
    let read = books(&BooksUrls::sqlite_in(directory)).await;
    read.map_err(|error| broken("were not read", &error))
}

/// Runs one service with its misfortunes, until it is killed.
///
/// # Errors
/// If there is no such service, or it cannot run.
pub async fn participate(
    server: &str,
    arguments: &DemoParticipantArguments,
) -> Result<(), Failure> {
    let name = arguments.participant.as_str();
    let kind = ParticipantKind::ALL
        .into_iter()
        .find(|kind| kind.name() == name);
    let kind = kind.ok_or_else(|| Failure::usage(format!("the demo has no service `{name}`")))?;
    let options = ParticipantOptions {
        server_addr: server.to_owned(),
        database_url: BooksUrls::sqlite_in(&arguments.books).of(kind).to_owned(),
        seed: arguments.seed,
        orders: arguments.orders as usize,
        instance: Some(format!("demo-{name}")),
        chaos: chaos(kind),
        ..ParticipantOptions::default()
    };
    let run = run_participant(kind, options, std::future::pending()).await;
    run.map_err(|error| {
        Failure::wrong(format!("the service {name} could not run")).because(format!("{error:#}"))
    })
}

/// Shipping answers slowly, and dies now and then after it did its work; the others stumble a little.
fn chaos(kind: ParticipantKind) -> Chaos {
    let millis = Duration::from_millis;
    match kind {
        ParticipantKind::Inventory | ParticipantKind::Payments => Chaos {
            fail_percent: 3,
            ..Chaos::default()
        },
        ParticipantKind::Shipping => Chaos {
            slow: (millis(50), millis(600)),
            fail_percent: 3,
            die_after_commit_percent: 2,
            ..Chaos::default()
        },
        ParticipantKind::Mail => Chaos {
            slow: (millis(5), millis(40)),
            ..Chaos::default()
        },
    }
}

fn broken(what: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::wrong(format!("the services' books {what}")).because(format!("{error:#}"))
}
