//! What a restart reads from PostgreSQL: the histories of 100,000 sagas in flight, two rows each on average, in pages, as a
//! node does. `cargo bench -p amends-store-postgres --bench recovery`; `AMENDS_BENCH_SAGAS` says how many sagas.
//!
//! Deliberately not here: what shards make of them.

use std::env;
use std::time::{Duration, Instant};

use amends_core::{ShardId, Time};
use amends_store::conformance::Load;
use amends_store::{Sagas as _, Store as _};
use amends_store_postgres::{PostgresOptions, PostgresStore, migrations};
use amends_tests::postgres::{Cluster, Options};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SHARDS: u16 = 256;
const PAGE_SAGAS: usize = 500;
/// So many batches hold sagas of one, two and three rows, a third each.
const BATCHES: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let sagas: usize = match env::var("AMENDS_BENCH_SAGAS") {
        Ok(text) => text.parse()?,
        Err(_) => 100_000,
    };
    let cluster = Cluster::start_with(Options::default())?;
    let url = cluster.create_database()?;
    migrations::migrate(&url, SHARDS).await?;
    let store = PostgresStore::open(PostgresOptions::new(&url)).await?;
    let mut load = Load::new(SHARDS, sagas.div_ceil(BATCHES) * 4);
    let mut lane = store.open_lane().await?;
    lane.take_over(&load.takeovers()).await?;
    for _ in 0..BATCHES {
        lane.append(&load.batch()).await?;
    }
    drop((lane, store));
    for _ in 0..3 {
        let began = Instant::now();
        let store = PostgresStore::open(PostgresOptions::new(&url)).await?;
        let opened = began.elapsed();
        let shards: Vec<ShardId> = (0..SHARDS).map(ShardId).collect();
        let tails = store.open_lane().await?.tails(&shards).await?;
        let tailed = began.elapsed() - opened;
        let mut asleep = Duration::ZERO;
        let (mut read, mut rows) = (0, 0);
        for shard in shards {
            let before = Instant::now();
            store.turns(shard).await?;
            store.sleepers(shard, None, PAGE_SAGAS).await?;
            asleep += before.elapsed();
            let mut after = None;
            loop {
                let page = store
                    .load_active(shard, after, Time::EPOCH, PAGE_SAGAS)
                    .await?;
                after = page.last().map(|history| history.saga.id);
                read += page.len();
                for history in &page {
                    rows += history.rows.as_ref().map_err(ToString::to_string)?.len();
                }
                if page.len() < PAGE_SAGAS {
                    break;
                }
            }
        }
        println!(
            "{read} sagas, {rows} rows, {} journals: opened in {opened:?}, tails in {tailed:?}, turns and sleepers in \
            {asleep:?}, all in {:?}",
            tails.len(),
            began.elapsed()
        );
    }
    Ok(())
}
