//! Measures how fast this store appends: `cargo run --release -p amends-store-sqlite --example append_rate_sqlite`.

use std::time::Duration;

use amends_store::conformance::append_rate;
use amends_store_sqlite::SqliteStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Beside the build, not in a temporary directory: that may be memory.
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR"))?;
    for rows in [64, 512] {
        let path = directory.path().join(format!("{rows}.db"));
        let store = SqliteStore::open(path, 8).await?;
        let rate = append_rate(&store, 0, rows, Duration::from_secs(5)).await?;
        println!("batches of {rows} rows: {rate} rows/s");
    }
    Ok(())
}
