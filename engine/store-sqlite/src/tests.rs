//! What this store promises beyond the suite of all stores: its statements, its plans, its view, its refusals.

use std::path::PathBuf;
use std::sync::Arc;

use amends_store::conformance::{STORY_STEPS, story};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, Row as _, SqlSafeStr as _};
use tempfile::TempDir;

use super::*;

const SHARDS: u16 = 16;

struct File {
    _directory: TempDir,
    path: PathBuf,
}

impl File {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("amends.db");
        Self {
            _directory: directory,
            path,
        }
    }

    async fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.path, SHARDS).await.unwrap()
    }

    async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(&self.path);
        options.create_if_missing(true).connect().await.unwrap()
    }

    async fn refusal(&self, shards: u16) -> String {
        match SqliteStore::open(&self.path, shards).await {
            Err(Error::Schema(message)) => message,
            Err(other) => panic!("another refusal: {other:?}"),
            Ok(_) => panic!("it was opened"),
        }
    }
}

fn every_statement() -> impl Iterator<Item = &'static str> {
    let many = sql::many().into_iter().flat_map(sql::Many::sizes);
    sql::ALL
        .iter()
        .copied()
        .chain(many.map(|sized| sized.sql.as_str()))
}

#[tokio::test]
async fn every_statement_prepares() {
    let file = File::new();
    file.store().await;
    let mut connection = file.connect().await;
    for statement in every_statement() {
        let prepared = connection.prepare(statement.into_sql_str()).await;
        assert!(prepared.is_ok(), "{statement}: {:?}", prepared.err());
    }
}

#[test]
fn every_statement_is_in_the_list() {
    let source = include_str!("sql.rs");
    let constants = source.matches("pub(crate) const ").count() - 1;
    assert_eq!(constants, sql::ALL.len());
    assert_eq!(
        source.matches("pub(crate) static ").count(),
        sql::many().len()
    );
}

#[tokio::test]
async fn no_statement_of_the_hot_path_scans_a_table() {
    let file = File::new();
    file.store().await;
    let mut connection = file.connect().await;
    // Lists, and definitions by their hash, may: they are rare, and an index would cost every start. So may `shards`,
    // which is small.
    let may_scan = [sql::IDENTITY, sql::LIST, sql::DEFINITION_HASH];
    for statement in every_statement().filter(|statement| !may_scan.contains(statement)) {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let Ok(rows) = sqlx::query(explain).fetch_all(&mut connection).await else {
            continue;
        };
        for row in rows {
            let detail: String = row.get(3);
            let tables = [
                "journal",
                "sagas",
                "saga_keys",
                "definitions",
                "nodes",
                "j",
                "s",
            ];
            let scans = tables.iter().any(|table| detail == format!("SCAN {table}"));
            let scans = scans || detail.contains("AUTOMATIC");
            assert!(!scans, "{statement}: {detail}");
        }
    }
}

#[tokio::test]
async fn the_steps_of_a_saga_are_read_in_sql() {
    let file = File::new();
    let store = file.store().await;
    let (definition, batch) = story();
    store.put_definition(&definition).await.unwrap();
    let mut lane = store.open_lane().await.unwrap();
    lane.append(&batch).await.unwrap();
    let saga = batch.shards[0].inserts[0].id;
    let mut connection = file.connect().await;
    let sql = "SELECT step, operation, state, attempts, last_code, output, began_at FROM steps WHERE saga_id = ? \
        ORDER BY step_index, operation DESC";
    let rows = sqlx::query(sql)
        .bind(saga.to_string())
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            let text = |column| row.get::<Option<String>, _>(column).unwrap_or("-".into());
            assert_eq!(text(6), "2025-11-21T08:00:00.000Z");
            let attempts: i64 = row.get(3);
            format!(
                "{} {} {} {attempts} {} {}",
                text(0),
                text(1),
                text(2),
                text(4),
                text(5)
            )
        })
        .collect();
    assert_eq!(rows, STORY_STEPS);
}

#[tokio::test]
async fn the_steps_of_one_saga_are_probed_for() {
    let file = File::new();
    file.store().await;
    let mut connection = file.connect().await;
    let sql = "EXPLAIN QUERY PLAN SELECT * FROM steps WHERE saga_id = 'x'";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(3)).collect();
    let probes = |what: &str| plan.iter().any(|line| line.starts_with(what));
    assert!(
        probes("SEARCH s USING INDEX sqlite_autoindex_sagas_1 (shard=? AND id=?)"),
        "{plan:#?}"
    );
    assert!(
        probes("SEARCH j USING INDEX journal_saga (shard=? AND saga_id=?)"),
        "{plan:#?}"
    );
}

#[tokio::test]
async fn a_database_of_others_is_refused_and_left_alone() {
    let file = File::new();
    let mut connection = file.connect().await;
    sqlx::query("CREATE TABLE theirs (n)")
        .execute(&mut connection)
        .await
        .unwrap();
    let before = std::fs::read(&file.path).unwrap();
    assert!(file.refusal(SHARDS).await.contains("another application"));
    assert!(std::fs::read(&file.path).unwrap() == before);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let file = File::new();
    let content = "dear diary, ".repeat(1_000);
    std::fs::write(&file.path, &content).unwrap();
    assert!(file.refusal(SHARDS).await.contains("not a SQLite database"));
    assert_eq!(std::fs::read_to_string(&file.path).unwrap(), content);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let file = File::new();
    drop(file.store().await);
    sqlx::query("PRAGMA user_version = 99")
        .execute(&mut file.connect().await)
        .await
        .unwrap();
    let message = file.refusal(SHARDS).await;
    assert!(
        message.contains("has schema 99") && message.contains("newer binary"),
        "{message}"
    );
}

#[tokio::test]
async fn another_number_of_shards_is_refused() {
    let file = File::new();
    drop(file.store().await);
    let message = file.refusal(SHARDS + 1).await;
    assert!(message.contains("16 shards, not 17"), "{message}");
    for shards in [0, 4_097] {
        assert!(file.refusal(shards).await.contains("1 to 4096 shards"));
    }
    file.store().await;
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let opened = SqliteStore::open(directory.path().join("no/such.db"), SHARDS).await;
    assert!(matches!(opened.err(), Some(Error::Unavailable { .. })));
}

#[tokio::test]
async fn processes_that_make_the_file_at_once_make_one_database() {
    let file = File::new();
    let (one, two) = tokio::join!(file.store(), file.store());
    let (one, two) = (one.identity().await.unwrap(), two.identity().await.unwrap());
    assert_eq!(
        (one.incarnation, one.shard_count),
        (two.incarnation, SHARDS)
    );
}

#[tokio::test]
async fn a_write_that_is_given_up_leaves_nothing_and_blocks_nobody() {
    let file = File::new();
    let store = file.store().await;
    let mut writer = Writer::new(store.options.clone(), Arc::clone(&store.turns));
    let mut writing = writer.begin().await.unwrap();
    let delete = sqlx::query("DELETE FROM shards")
        .execute(writing.connection())
        .await
        .unwrap();
    assert_eq!(delete.rows_affected(), u64::from(SHARDS));
    drop(writing);
    let rows = sqlx::query("SELECT shard FROM shards")
        .fetch_all(&mut file.connect().await)
        .await
        .unwrap();
    assert_eq!(rows.len(), usize::from(SHARDS));
    writer.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn what_is_answered_is_on_the_disk() {
    let file = File::new();
    let store = file.store().await;
    let mut writer = Writer::new(store.options.clone(), Arc::clone(&store.turns));
    let connection = writer.connection().await.unwrap();
    for (pragma, expected) in [("PRAGMA synchronous", "2"), ("PRAGMA journal_mode", "wal")] {
        let row = sqlx::query(pragma)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        let value: String = row
            .try_get::<i64, _>(0)
            .map_or_else(|_| row.get(0), |number| number.to_string());
        assert_eq!(value, expected, "{pragma}");
    }
}
