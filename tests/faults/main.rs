//! The kill test. About two hundred orders are in flight over four services while the server is killed at random moments,
//! services are killed, connections of the database are cut and the database itself crashes. At the end every acknowledged
//! start has its saga, every saga is terminal or parked with a reason, the journal has no gap, and the services' own books say
//! that every order ended wholly or not at all.
//!
//! `AMENDS_KILL_SECONDS` says for how long (12 by default, 60 for a full run). The seed is printed with every run, and
//! `AMENDS_SEED` repeats it: the orders, and the sequence of faults; how they meet is up to the machine.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers as well"
)]

mod chance;
mod company;
mod customers;
mod history;
mod journal;

use std::time::{Duration, Instant};

use amends_tests::postgres::{Cluster, Options};
use amends_tests::server::{Server, Store};

use crate::chance::Dice;
use crate::company::Company;
use crate::customers::Customers;

/// Orders under way at the same time.
const IN_FLIGHT: usize = 200;

/// What may happen to a company, one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// SIGKILL for the server, which comes back after a moment.
    ServerKilled,
    /// SIGKILL for one of the services.
    ServiceKilled,
    /// The database ends every connection of the server.
    ConnectionsCut,
    /// The database crashes, and comes back.
    DatabaseCrashed,
    /// The database stands still for longer than a lease lives, and goes on.
    DatabaseFrozen,
}

#[tokio::test(flavor = "multi_thread")]
async fn random_kills_on_sqlite_leave_nothing_lost_doubled_or_half_done() {
    let server = Server::start_with(Store::Sqlite, &SETTINGS);
    let faults = [
        Fault::ServerKilled,
        Fault::ServerKilled,
        Fault::ServiceKilled,
    ];
    run(server, None, &faults, RECOVERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_kills_on_postgres_leave_nothing_lost_doubled_or_half_done() {
    let cluster = Cluster::start_with(Options {
        fsync: true,
        ..Options::default()
    })
    .unwrap();
    let server = Server::start_in(&cluster, &SETTINGS);
    let faults = [
        Fault::ServerKilled,
        Fault::ServerKilled,
        Fault::ServiceKilled,
    ];
    run(server, Some(&cluster), &faults, RECOVERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_and_a_crashing_postgres_leave_nothing_lost_doubled_or_half_done() {
    let cluster = Cluster::start_with(Options {
        fsync: true,
        ..Options::default()
    })
    .unwrap();
    let server = Server::start_in(
        &cluster,
        &[SETTINGS[0], ("lanes", "2"), ("lease_ms", "3000")],
    );
    let faults = [
        Fault::ConnectionsCut,
        Fault::ConnectionsCut,
        Fault::ConnectionsCut,
        Fault::ConnectionsCut,
        Fault::DatabaseCrashed,
        Fault::DatabaseFrozen,
        Fault::ServerKilled,
    ];
    run(server, Some(&cluster), &faults, UNKNOWN_OUTCOME).await;
}

/// Has the faults happen under load, for as long as it was asked for, and until the server met what they are for.
async fn run(server: Server, cluster: Option<&Cluster>, faults: &[Fault], mark: &str) {
    let seed = chance::seed();
    let lasts = duration();
    eprintln!(
        "seed {seed}: repeat with AMENDS_SEED={seed} AMENDS_KILL_SECONDS={}",
        lasts.as_secs()
    );
    let mut dice = Dice::new(seed);
    let mut company = Company::open(server, cluster, seed).await;
    let customers = Customers::arrive(&company, seed, IN_FLIGHT).await;
    // Nothing is broken before there is something to break.
    customers.wait_until_busy().await;
    let began = Instant::now();
    let mut suffered = Vec::new();
    while began.elapsed() < lasts || (!company.met(mark) && began.elapsed() < lasts * 5) {
        tokio::time::sleep(dice.between(Duration::from_millis(300), Duration::from_millis(1_500)))
            .await;
        // The first of each kind come in turn, so that a short run has them all.
        let fault = match faults.get(suffered.len()) {
            Some(fault) => *fault,
            None => *dice.pick(faults),
        };
        company.suffer(fault, &mut dice).await;
        suffered.push(fault);
    }
    eprintln!("suffered {suffered:?}");
    assert!(
        company.met(mark),
        "the server never met what this is for: {mark:?}"
    );
    let orders = customers.leave().await;
    company.settle(&orders, suffered.len()).await;
}

fn duration() -> Duration {
    let seconds = std::env::var("AMENDS_KILL_SECONDS");
    let seconds = seconds.map_or(12, |text| {
        text.parse().expect("AMENDS_KILL_SECONDS is a number")
    });
    Duration::from_secs(seconds)
}

/// What the server says when it takes up sagas that a killed one left.
const RECOVERED: &str = "active sagas are back in memory";
/// What the server says when a connection was lost while a batch was on its way.
const UNKNOWN_OUTCOME: &str = "nobody knows whether a batch was written";
/// A short lease of sessions, so that a killed service is missed within the run.
const SETTINGS: [(&str, &str); 1] = [("session_lease_ms", "1000")];
