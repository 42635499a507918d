//! Measures how fast this store appends, on a cluster of its own that waits for the disk:
//! `cargo run --release -p amends-store-postgres --example append_rate_postgres`.

use std::time::Duration;

use amends_store::conformance::append_rate;
use amends_store_postgres::{PostgresOptions, PostgresStore, migrations};
use amends_tests::postgres::{Cluster, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let cluster = Cluster::start_with(Options {
        fsync: true,
        ..Options::default()
    })?;
    for rows in [64, 512] {
        let url = cluster.create_database()?;
        migrations::migrate(&url, 8).await?;
        let store = PostgresStore::open(PostgresOptions::new(url)).await?;
        let rate = append_rate(&store, 0, rows, Duration::from_secs(5)).await?;
        println!("batches of {rows} rows: {rate} rows/s");
    }
    Ok(())
}
