//! What a batch costs SQLite: rate, CPU of this process, and bytes written to the file and its log, each for one saga of
//! four transitions. `cargo bench -p amends-store-sqlite --bench append`; `AMENDS_BENCH_ROUNDS` says how often (3), and
//! `AMENDS_BENCH_SAGAS` how many sagas a run has (10,000). Another number of shards is measured beside the default.
//!
//! Deliberately not here: the engine, expressions and gRPC (`amends bench`).

use std::time::{Duration, Instant};
use std::{env, fs};

use amends_store::Store as _;
use amends_store::conformance::Load;
use amends_store_sqlite::{SHARD_COUNT_DEFAULT, SqliteStore};

/// As many as a PostgreSQL database has.
const SHARDS_MANY: u16 = 256;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let rounds: usize = number("AMENDS_BENCH_ROUNDS", 3)?;
    let sagas: u64 = number("AMENDS_BENCH_SAGAS", 10_000)?;
    println!("shards in flight    sagas/s   us/saga   B/saga");
    for (in_flight, shards) in [64, 512, 1_024]
        .into_iter()
        .flat_map(|it| [SHARD_COUNT_DEFAULT, SHARDS_MANY].map(|shards| (it, shards)))
    {
        let mut runs = Vec::new();
        for _ in 0..rounds {
            runs.push(measure(in_flight, shards, sagas).await?);
        }
        let median = |value: fn(&Run) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        println!(
            "{shards:>6} {in_flight:>9} {:>10.0} {:>9.1} {:>8.0}",
            median(|run| run.sagas as f64 / run.elapsed.as_secs_f64()),
            median(|run| run.cpu.as_secs_f64() * 1e6 / run.sagas as f64),
            median(|run| run.written_bytes as f64 / run.sagas as f64),
        );
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

struct Run {
    sagas: u64,
    elapsed: Duration,
    cpu: Duration,
    written_bytes: u64,
}

async fn measure(in_flight: usize, shards: u16, sagas: u64) -> Result<Run, Failure> {
    // Beside the build, not in a temporary directory: that may be memory.
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR"))?;
    let path = directory.path().join("amends.db");
    let store = SqliteStore::open(path, Some(shards)).await?;
    let mut load = Load::new(shards, in_flight);
    let mut lane = store.open_lane().await?;
    lane.take_over(&load.takeovers()).await?;
    let (cpu, written) = (cpu()?, written()?);
    let began = Instant::now();
    while load.ended() < sagas {
        lane.append(&load.batch()).await?;
    }
    Ok(Run {
        sagas: load.ended(),
        elapsed: began.elapsed(),
        cpu: self::cpu()? - cpu,
        written_bytes: self::written()? - written,
    })
}

/// CPU that this process has used, in user and in kernel mode. Linux counts in hundredths of a second.
fn cpu() -> Result<Duration, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may have blanks in it.
    let (_, behind) = stat.rsplit_once(')').ok_or("no process")?;
    let ticks: u64 = (behind.split_whitespace().skip(11).take(2))
        .map(str::parse::<u64>)
        .sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Bytes that this process has handed to the kernel to write.
fn written() -> Result<u64, Failure> {
    let io = fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(line.ok_or("no count of written bytes")?.parse()?)
}
