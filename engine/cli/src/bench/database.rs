//! The database that is measured: a new file, a private cluster, or one that exists; and the counters that it keeps of
//! itself. Deliberately not here: sagas.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amends_postgres_cluster::{Cluster, Options};
use amends_server::amends_store::Error as StoreError;
use amends_server::amends_store::Store;
use amends_server::{Config, DatabaseUrl, open_store};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _};

use super::meter::{Watched, parent_of};
use crate::arguments::bench::{BenchStore, Target};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::output::say;

/// What a private cluster is started with beyond its defaults: what is advised for a server, and memory as for a small one.
pub const SETTINGS: [&str; 5] = [
    "shared_buffers=1GB",
    "max_wal_size=8GB",
    "min_wal_size=4GB",
    "checkpoint_timeout=15min",
    "wal_compression=lz4",
];
/// Files of 16 MiB for the log that are made before anything is measured, as a cluster has them that has run for a while. A new one
/// makes each when it needs it, which took a seventh of the committing process's time.
const LOG_FILES: u32 = 192;
/// What is told of a database, beside its version.
const TOLD: [&str; 8] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_compression",
    "max_wal_size",
    "checkpoint_timeout",
    "shared_buffers",
    "autovacuum",
];

/// A database that is measured.
#[derive(Debug)]
pub struct Database {
    store: BenchStore,
    directory: PathBuf,
    url: String,
    cluster: Option<Cluster>,
    made: u32,
}

impl Database {
    /// Makes one, or takes the one that is given.
    ///
    /// # Errors
    /// If that cannot be.
    pub async fn open(
        directory: &Path,
        store: BenchStore,
        target: &Target,
    ) -> Result<Self, Failure> {
        let mut database = Self {
            store,
            directory: directory.to_owned(),
            url: String::new(),
            cluster: None,
            made: 0,
        };
        if store == BenchStore::Postgres && target.database_url.is_none() {
            let cluster = start_cluster().await?;
            Counters::open(&cluster.url("postgres"))
                .await?
                .make_log_files()
                .await?;
            database.cluster = Some(cluster);
        }
        match (&target.database_url, store) {
            (Some(url), BenchStore::Postgres) => {
                database.url = checked(url)?;
                crate::verbs::migrate::up(&database.url).await?;
            }
            _ => database.renew().await?,
        }
        Ok(database)
    }

    /// A new and empty one beside the last; the one that was given cannot be renewed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn renew(&mut self) -> Result<(), Failure> {
        self.made += 1;
        match (&self.cluster, self.store) {
            (_, BenchStore::Sqlite) => {
                let file = self.directory.join(format!("amends-{}.db", self.made));
                self.url = format!("sqlite:{}", file.display());
            }
            (Some(cluster), BenchStore::Postgres) => {
                let made = cluster.create_database();
                self.url = made
                    .map_err(|error| Failure::wrong("there is no new database").because(error))?;
                crate::verbs::migrate::up(&self.url).await?;
            }
            (None, BenchStore::Postgres) => {
                return Err(Failure::usage("this needs more than one database")
                    .because("--database-url gives one")
                    .advice("leave --database-url out: a cluster is started for the measurement"));
            }
        }
        Ok(())
    }

    /// Takes one that was made before.
    pub fn choose(&mut self, url: &str) {
        url.clone_into(&mut self.url);
    }

    /// The size of a SQLite file, with its log.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        let path = self.url.strip_prefix("sqlite:").unwrap_or_default();
        let size = |path: String| std::fs::metadata(path).map_or(0, |file| file.len());
        size(path.to_owned()) + size(format!("{path}-wal"))
    }

    /// Its kind.
    #[must_use]
    pub fn store(&self) -> BenchStore {
        self.store
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The cluster that was started for it.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Opens it as a server would.
    ///
    /// # Errors
    /// If it cannot be used.
    pub async fn open_store(&self) -> Result<Arc<dyn Store>, Failure> {
        let config = Config {
            database_url: DatabaseUrl::new(&self.url),
            ..Config::default()
        };
        let opened = open_store(&config).await;
        opened.map_err(|error| {
            Failure::new(Exit::Configuration, "the database cannot be used").because(chain(&error))
        })
    }

    /// A connection to its counters; none for SQLite, which keeps none.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn counters(&self) -> Result<Option<Counters>, Failure> {
        match self.store {
            BenchStore::Sqlite => Ok(None),
            BenchStore::Postgres => Counters::open(&self.url).await.map(Some),
        }
    }
}

async fn start_cluster() -> Result<Cluster, Failure> {
    say("starting a private PostgreSQL cluster that waits for the disk");
    let options = Options {
        fsync: true,
        settings: &SETTINGS,
    };
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Configuration, "no PostgreSQL was started")
            .because(error)
            .advice("install its server, or give --database-url postgres://USER@HOST/DATABASE")
    };
    let started = tokio::task::spawn_blocking(move || Cluster::start_with(options)).await;
    started
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))
}

fn checked(url: &str) -> Result<String, Failure> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(url.to_owned());
    }
    Err(Failure::usage("--database-url is no Postgres URL")
        .advice("give it as postgres://USER@HOST/DATABASE"))
}

/// The counters that PostgreSQL keeps of itself.
#[derive(Debug)]
pub struct Counters {
    connection: PgConnection,
    /// The cluster's first process, if it runs on this machine.
    postmaster: Option<u32>,
}

impl Counters {
    async fn open(url: &str) -> Result<Self, Failure> {
        let options: PgConnectOptions = url.parse().map_err(|error| unread(&error))?;
        let connection = options.application_name("amends-bench").connect().await;
        let mut counters = Self {
            connection: connection.map_err(|error| unread(&error))?,
            postmaster: None,
        };
        let backend: i32 = counters.one("SELECT pg_backend_pid()").await?;
        // On another machine a process of this number is another process, or none.
        counters.postmaster = u32::try_from(backend)
            .ok()
            .and_then(|backend| parent_of(backend, "postgres"));
        Ok(counters)
    }

    /// All processes of the cluster, if it runs on this machine.
    #[must_use]
    pub fn processes(&self) -> Option<Watched> {
        self.postmaster.map(Watched::Family)
    }

    /// Bytes of WAL written so far.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn wal_bytes(&mut self) -> Result<u64, Failure> {
        self.count("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8")
            .await
    }

    /// Statements so far, of all databases of the cluster: each of the engine's is a transaction of its own, or most of one.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn statements(&mut self) -> Result<u64, Failure> {
        self.count("SELECT sum(xact_commit + xact_rollback)::int8 FROM pg_stat_database WHERE datname IS NOT NULL")
            .await
    }

    /// Rows that there are, and rows that nobody sees and nothing has cleared away yet, as the cluster last counted.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn tuples(&mut self) -> Result<(u64, u64), Failure> {
        let live = self.count(
            "SELECT coalesce(sum(n_live_tup), 0)::int8 FROM pg_stat_user_tables WHERE schemaname = 'amends'",
        );
        let live = live.await?;
        let dead = self.count(
            "SELECT coalesce(sum(n_dead_tup), 0)::int8 FROM pg_stat_user_tables WHERE schemaname = 'amends'",
        );
        Ok((live, dead.await?))
    }

    /// The database's size.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn size_bytes(&mut self) -> Result<u64, Failure> {
        self.count("SELECT pg_database_size(current_database())")
            .await
    }

    /// Writes a checkpoint and has statistics gathered, so that no measurement pays for what was written before it.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn settle(&mut self) -> Result<(), Failure> {
        for statement in ["ANALYZE", "CHECKPOINT"] {
            let done = sqlx::query(statement).execute(&mut self.connection).await;
            done.map_err(|error| unread(&error))?;
        }
        Ok(())
    }

    /// Makes files for the log, and has them kept for later use.
    async fn make_log_files(&mut self) -> Result<(), Failure> {
        let switch = "SELECT pg_logical_emit_message(false, 'amends', ''); SELECT pg_switch_wal();";
        for statement in std::iter::repeat_n(switch, LOG_FILES as usize).chain(["CHECKPOINT"]) {
            let done = sqlx::raw_sql(statement).execute(&mut self.connection).await;
            done.map_err(|error| unread(&error))?;
        }
        Ok(())
    }

    /// Makes the table that `pgbench` inserts into, empty.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn make_rows_table(&mut self) -> Result<(), Failure> {
        for statement in [
            "DROP TABLE IF EXISTS bench_rows",
            "CREATE TABLE bench_rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL)",
        ] {
            let done = sqlx::query(statement).execute(&mut self.connection).await;
            done.map_err(|error| unread(&error))?;
        }
        Ok(())
    }

    /// Its version and the settings that matter.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn settings(&mut self) -> Result<Vec<(String, String)>, Failure> {
        let version: String = self.one("SHOW server_version").await?;
        let mut told = vec![("PostgreSQL".to_owned(), version)];
        for name in TOLD {
            // The names are constants of this file.
            let statement = AssertSqlSafe(format!("SHOW {name}"));
            let row = sqlx::query(statement).fetch_one(&mut self.connection).await;
            let row = row.map_err(|error| unread(&error))?;
            let value: String = row.try_get(0).map_err(|error| unread(&error))?;
            told.push((name.to_owned(), value));
        }
        Ok(told)
    }

    async fn count(&mut self, statement: &'static str) -> Result<u64, Failure> {
        let count: i64 = self.one(statement).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn one<T>(&mut self, statement: &'static str) -> Result<T, Failure>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let row = sqlx::query(statement).fetch_one(&mut self.connection).await;
        let row = row.map_err(|error| unread(&error))?;
        row.try_get(0).map_err(|error| unread(&error))
    }
}

fn unread(error: &sqlx::Error) -> Failure {
    Failure::new(Exit::Unavailable, "the database's counters cannot be read").because(chain(error))
}

/// Rows that the journals of a database have taken so far.
///
/// # Errors
/// If it cannot be read.
pub async fn journal_rows(store: &dyn Store) -> Result<u64, Failure> {
    let unread = |error: StoreError| super::journals::broken(&error);
    let identity = store.identity().await.map_err(unread)?;
    let shards: Vec<_> = (0..identity.shard_count)
        .map(amends_server::amends_core::ShardId)
        .collect();
    let mut lane = store.open_lane().await.map_err(unread)?;
    let tails = lane.tails(&shards).await.map_err(unread)?;
    Ok(tails.iter().sum())
}
