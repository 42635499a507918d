//! What a batch costs PostgreSQL, in several shapes of statement and schema, side by side: rate, CPU of the server's
//! processes and of this one, and bytes of write-ahead log, each for one saga of four transitions.
//!
//! `cargo bench -p amends-store-postgres --bench append` measures on a cluster of its own that waits for the disk.
//! `AMENDS_BENCH_WAYS=lane,transaction` picks ways, `AMENDS_BENCH_ROUNDS` says how often each is run (3), and
//! `AMENDS_BENCH_SAGAS` how many sagas a run has (20,000). Ways are interleaved, because machines drift.
//! `AMENDS_BENCH_CLUSTER=postgres://…/postgres` measures on a cluster that is there, with its settings, in new databases.
//!
//! Deliberately not here: the engine, expressions and gRPC (`amends bench`).

use std::env;
use std::time::Instant;

use amends_store::Store as _;
use amends_store::conformance::Load;
use amends_store_postgres::{PostgresOptions, PostgresStore, migrations};
use amends_tests::postgres::{Cluster, Options};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::figures::{Figures, cpu_of, own_cpu, print_header, print_median};

mod figures;
mod transaction;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A way to write, on a schema that is changed first.
struct Way {
    name: &'static str,
    schema: &'static str,
    shards: u16,
    statements: Statements,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Statements {
    /// What a lane does.
    One,
    /// BEGIN, a statement for each table, COMMIT: each a round trip.
    Transaction,
}

const WAYS: &[Way] = &[
    Way {
        name: "lane",
        schema: "",
        shards: SHARDS,
        statements: Statements::One,
    },
    Way {
        name: "transaction",
        schema: "",
        shards: SHARDS,
        statements: Statements::Transaction,
    },
];

const SHARDS: u16 = amends_store_postgres::SHARD_COUNT_DEFAULT;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let picked = env::var("AMENDS_BENCH_WAYS").unwrap_or_default();
    let picked: Vec<&str> = picked.split(',').filter(|name| !name.is_empty()).collect();
    let ways: Vec<&Way> = (WAYS.iter())
        .filter(|way| picked.is_empty() || picked.contains(&way.name))
        .collect();
    let rounds: usize = number("AMENDS_BENCH_ROUNDS", 3)?;
    let sagas: u64 = number("AMENDS_BENCH_SAGAS", 20_000)?;
    let mut databases = Databases::new()?;
    print_header();
    for in_flight in [64, 512] {
        let mut figures: Vec<Vec<Figures>> = ways.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (way, figures) in ways.iter().zip(&mut figures) {
                figures.push(measure(&mut databases, way, in_flight, sagas).await?);
            }
        }
        for (way, figures) in ways.iter().zip(figures) {
            print_median(way.name, in_flight, figures);
        }
    }
    Ok(())
}

fn number<T: std::str::FromStr>(variable: &str, default: T) -> Result<T, Failure>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match env::var(variable) {
        Ok(text) => Ok(text.parse()?),
        Err(_) => Ok(default),
    }
}

/// Where databases are made.
enum Databases {
    Own(Cluster),
    There { url: String, number: u32 },
}

impl Databases {
    fn new() -> Result<Self, Failure> {
        Ok(match env::var("AMENDS_BENCH_CLUSTER") {
            Ok(url) => Self::There { url, number: 0 },
            Err(_) => Self::Own(Cluster::start_with(Options {
                fsync: true,
                ..Options::default()
            })?),
        })
    }

    /// A new database; the one before is gone.
    async fn create(&mut self) -> Result<String, Failure> {
        match self {
            Self::Own(cluster) => Ok(cluster.create_database()?),
            Self::There { url, number } => {
                let mut connection = PgConnection::connect(url).await?;
                let name = |number: u32| format!("amends_bench_append_{number}");
                for sql in [
                    format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name(*number)),
                    format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name(*number + 1)),
                    format!("CREATE DATABASE {}", name(*number + 1)),
                ] {
                    sqlx::raw_sql(AssertSqlSafe(sql))
                        .execute(&mut connection)
                        .await?;
                }
                *number += 1;
                let (server, _) = url.rsplit_once('/').ok_or("no database in the URL")?;
                Ok(format!("{server}/{}", name(*number)))
            }
        }
    }
}

async fn measure(
    databases: &mut Databases,
    way: &Way,
    in_flight: usize,
    sagas: u64,
) -> Result<Figures, Failure> {
    let url = databases.create().await?;
    migrations::migrate(&url, way.shards).await?;
    let mut watcher = PgConnection::connect(&url).await?;
    sqlx::raw_sql(way.schema).execute(&mut watcher).await?;
    sqlx::raw_sql("CHECKPOINT").execute(&mut watcher).await?;
    let store = PostgresStore::open(PostgresOptions::new(&url)).await?;
    let mut load = Load::new(way.shards, in_flight);
    let mut lane = store.open_lane().await?;
    lane.take_over(&load.takeovers()).await?;
    let mut transaction = transaction::open(&url).await?;
    let (log, server, own) = (
        log_position(&mut watcher).await?,
        server_cpu(&mut watcher).await?,
        own_cpu()?,
    );
    let began = Instant::now();
    while load.ended() < sagas {
        let batch = load.batch();
        match way.statements {
            Statements::One => lane.append(&batch).await?,
            Statements::Transaction => transaction::append(&mut transaction, &batch).await?,
        }
    }
    let elapsed = began.elapsed();
    Ok(Figures {
        sagas: load.ended(),
        elapsed,
        server: server_cpu(&mut watcher).await? - server,
        own: own_cpu()? - own,
        log_bytes: log_position(&mut watcher).await? - log,
    })
}

/// Where the write-ahead log ends, in bytes.
async fn log_position(watcher: &mut PgConnection) -> Result<u64, Failure> {
    let row = sqlx::query("SELECT (pg_current_wal_insert_lsn() - '0/0')::int8")
        .fetch_one(watcher)
        .await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?)?)
}

/// What all the server's processes have used so far.
async fn server_cpu(watcher: &mut PgConnection) -> Result<std::time::Duration, Failure> {
    let rows = sqlx::query("SELECT pid FROM pg_stat_activity")
        .fetch_all(watcher)
        .await?;
    let mut sum = std::time::Duration::ZERO;
    for row in rows {
        sum += cpu_of(&row.try_get::<i32, _>(0)?.to_string()).unwrap_or_default();
    }
    Ok(sum)
}
