//! What this store promises beyond the suite of all stores: its statements, its plans, its view, its refusals.

use std::path::PathBuf;

use amends_core::key::Hash128;
use amends_core::{ShardId, Time};
use amends_store::conformance::{Load, STORY_STEPS, story};
use amends_store::{AppendError, Definitions as _, ExpiryPage, KeyLookup, Sagas as _};
use sqlx::sqlite::SqliteConnection;
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
        SqliteStore::open(&self.path, Some(SHARDS)).await.unwrap()
    }

    async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(&self.path);
        options.create_if_missing(true).connect().await.unwrap()
    }

    async fn refusal(&self, shards: u16) -> String {
        match SqliteStore::open(&self.path, Some(shards)).await {
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
fn a_statement_is_filled_up_by_a_quarter_at_most() {
    let many = &*sql::INSERT_JOURNAL;
    for rows in 1..=1_000 {
        let (mut left, mut statements) = (rows, 0);
        while left > 0 {
            let sized = many.fit(left).rows;
            assert!(
                sized <= left || (sized - left) * 4 <= sized,
                "{left} of {rows}: {sized}"
            );
            left -= sized.min(left);
            statements += 1;
        }
        assert!(statements <= rows / 256 + 4, "{rows}: {statements}");
    }
}

#[tokio::test]
async fn a_batch_of_any_size_is_written_whole() {
    for in_flight in (1..=40).chain([100, 143, 250, 300]) {
        let file = File::new();
        let store = file.store().await;
        let mut lane = store.open_lane().await.unwrap();
        let mut load = Load::new(SHARDS, in_flight);
        lane.take_over(&load.takeovers()).await.unwrap();
        let (mut rows, mut sagas) = (usize::from(SHARDS), 0);
        for _ in 0..8 {
            let batch = load.batch();
            rows += batch.shards.iter().map(|it| it.rows.len()).sum::<usize>();
            sagas += batch
                .shards
                .iter()
                .map(|it| it.inserts.len())
                .sum::<usize>();
            lane.append(&batch).await.unwrap();
        }
        let sql = "SELECT (SELECT count(*) FROM journal), (SELECT count(*) FROM sagas), \
            (SELECT count(*) FROM sagas WHERE ended_at_us IS NOT NULL)";
        let counted = sqlx::query(sql).fetch_one(&mut file.connect().await).await;
        let counted = counted.unwrap();
        let counted: [i64; 3] = [0, 1, 2].map(|column| counted.get(column));
        let ended = usize::try_from(load.ended()).unwrap();
        assert_eq!(counted, [rows, sagas, ended].map(count), "{in_flight}");
        assert!(ended > 0, "{in_flight}");
    }
}

#[tokio::test]
async fn a_batch_whose_last_statement_is_refused_leaves_nothing() {
    for in_flight in [1, 8, 300] {
        let file = File::new();
        let store = file.store().await;
        let mut lane = store.open_lane().await.unwrap();
        let mut load = Load::new(SHARDS, in_flight);
        lane.take_over(&load.takeovers()).await.unwrap();
        let batch = load.batch();
        let mut refused = batch.clone();
        let inserts = refused.shards.iter_mut().map(|it| &mut it.inserts);
        let inserts = inserts.max_by_key(|it| it.len()).unwrap();
        inserts.push(inserts[0].clone());
        let outcome = lane.append(&refused).await;
        assert!(
            matches!(outcome, Err(AppendError::Data { .. })),
            "{outcome:?}"
        );
        let sql = "SELECT count(*) FROM journal WHERE kind = 1";
        let counted = sqlx::query(sql).fetch_one(&mut file.connect().await).await;
        assert_eq!(counted.unwrap().get::<i64, _>(0), 0, "{in_flight}");
        // The lane serves on.
        lane.append(&batch).await.unwrap();
    }
}

#[tokio::test]
async fn a_row_of_nulls_is_none_in_any_statement() {
    let file = File::new();
    let store = file.store().await;
    let (definition, batch) = story();
    store.put_definition(&definition).await.unwrap();
    let mut lane = store.open_lane().await.unwrap();
    lane.append(&batch).await.unwrap();
    let mut connection = file.connect().await;
    for sized in sql::many().into_iter().flat_map(sql::Many::sizes) {
        if sized.rows == 1 {
            continue;
        }
        // A parameter that is not bound is null.
        let query = sqlx::query(sized.sql.as_str());
        let rows = query.fetch_all(&mut connection).await.unwrap();
        assert_eq!(rows.len(), 0, "{}", sized.sql);
        let query = sqlx::query(sized.sql.as_str());
        let done = query.execute(&mut connection).await.unwrap();
        assert!(
            sized.sql.contains("saga_keys AS s") || done.rows_affected() == 0,
            "{}",
            sized.sql
        );
    }
}

#[tokio::test]
async fn an_append_that_is_dropped_before_its_turn_never_lands() {
    let file = File::new();
    let store = file.store().await;
    let mut lane = store.open_lane().await.unwrap();
    let mut load = Load::new(SHARDS, 8);
    lane.take_over(&load.takeovers()).await.unwrap();
    let batch = load.batch();
    let turn = store.committing.lock().await;
    // Asked for once, and given up.
    tokio::select! {
        biased;
        written = lane.append(&batch) => panic!("it did not wait: {written:?}"),
        () = std::future::ready(()) => {}
    }
    drop(turn);
    lane.append(&batch).await.unwrap();
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
    // Definitions by their hash may: they are rare, and few. So may a claim look at all nodes. So may `shards`, which is small.
    let may_scan = [sql::IDENTITY, sql::DEFINITION_HASH, sql::CLAIM_DEPOSE];
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
                "incidents",
                "c",
                "j",
                "p",
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
    let sql = "SELECT concat_ws(' ', step, item, operation, round, state, attempts, coalesce(last_code, '-'), \
        coalesce(output, '-')), began_at FROM steps WHERE saga_id = ? \
        ORDER BY step_index, item, instr('forward compensate query', operation)";
    let rows = sqlx::query(sql)
        .bind(saga.to_string())
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            assert_eq!(row.get::<&str, _>(1), "2025-11-21T08:00:00.000Z");
            row.get(0)
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
async fn lists_sweeps_and_recovery_read_what_they_show() {
    let file = File::new();
    file.store().await;
    let mut connection = file.connect().await;
    for (statement, searches) in [
        (
            sql::LIST,
            "SEARCH i USING INDEX sqlite_autoindex_sagas_1 (shard=? AND id>? AND id<?)",
        ),
        (
            sql::LIST_STATES,
            "SEARCH i USING INDEX sagas_states (shard=? AND state=? AND id<?)",
        ),
        (
            sql::LIST_KEYED,
            "SEARCH k USING INDEX sqlite_autoindex_saga_keys_1 (namespace=? AND definition=? AND key_hash=?)",
        ),
        (
            sql::SHARDS_IN_USE,
            "SEARCH s EXISTS USING COVERING INDEX sqlite_autoindex_sagas_1 (shard=?)",
        ),
        (
            sql::SWEEP,
            "SEARCH sagas USING INDEX sqlite_autoindex_sagas_1 (shard=? AND id>? AND id<?)",
        ),
        (
            sql::ACTIVE,
            "SEARCH sagas USING INDEX sagas_states (shard=? AND state=? AND id>?)",
        ),
        (
            sql::COUNT_ACTIVE,
            "SEARCH s USING INDEX sagas_states (shard=? AND state=?)",
        ),
    ] {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explain).fetch_all(&mut connection).await;
        let plan: Vec<String> = rows.unwrap().iter().map(|row| row.get(3)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains(searches), "{statement}\n{plan}");
    }
}

/// Everything that the schema consists of, as text without the spaces that altering leaves behind.
async fn schema(connection: &mut SqliteConnection) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', m.type, m.name, c.name, c.type, c.\"notnull\", c.dflt_value, \
        iif(m.type = 'table', NULL, m.sql)) \
        FROM sqlite_schema AS m LEFT JOIN pragma_table_info(iif(m.type = 'table', m.name, NULL)) AS c ORDER BY 1";
    let rows = sqlx::query(sql).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

const UP_1: &str = include_str!("../migrations/0001_tables.up.sql");
const UP_2: &str = include_str!("../migrations/0002_language.up.sql");
const DOWN_2: &str = include_str!("../migrations/0002_language.down.sql");
const UP_3: &str = include_str!("../migrations/0003_listing.up.sql");
const DOWN_3: &str = include_str!("../migrations/0003_listing.down.sql");
const UP_4: &str = include_str!("../migrations/0004_clocks.up.sql");
const DOWN_4: &str = include_str!("../migrations/0004_clocks.down.sql");

#[tokio::test]
async fn each_migration_down_undoes_its_up() {
    let file = File::new();
    let mut connection = file.connect().await;
    let run = |sql: &'static str| sqlx::raw_sql(sql);
    run(UP_1).execute(&mut connection).await.unwrap();
    let first = schema(&mut connection).await;
    run(UP_2).execute(&mut connection).await.unwrap();
    let second = schema(&mut connection).await;
    run(UP_3).execute(&mut connection).await.unwrap();
    assert_ne!(schema(&mut connection).await, second);
    run(DOWN_3).execute(&mut connection).await.unwrap();
    assert_eq!(schema(&mut connection).await, second);
    run(DOWN_2).execute(&mut connection).await.unwrap();
    assert_eq!(schema(&mut connection).await, first);
    run(UP_2).execute(&mut connection).await.unwrap();
    assert_eq!(schema(&mut connection).await, second);
    assert!(second.len() > first.len() + 20, "{second:#?}");
    run(UP_3).execute(&mut connection).await.unwrap();
    let third = schema(&mut connection).await;
    run(UP_4).execute(&mut connection).await.unwrap();
    let fourth = schema(&mut connection).await;
    assert_eq!(fourth.len(), third.len() + 1, "{fourth:#?}");
    run(DOWN_4).execute(&mut connection).await.unwrap();
    assert_eq!(schema(&mut connection).await, third);
}

/// A saga that runs and one that ended, one of them with its key, as the first version wrote them.
const OLD_ROWS: &str = "\
PRAGMA application_id = 1095585348; PRAGMA user_version = 1; \
INSERT INTO meta (only_row, incarnation, shard_count) VALUES (1, randomblob(16), 16); \
INSERT INTO shards (shard) SELECT value FROM json_each('[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]'); \
INSERT INTO sagas (shard, id, namespace, definition, revision, hash, key, state, started_at_us, updated_at_us, ended_at_us) \
VALUES (3, '019aa56d-607b-8003-8000-000000000001', 'default', 'place-order', 7, zeroblob(32), 'A', 1, 5, 5, NULL), \
    (3, '019aa56d-607b-8003-8000-000000000002', 'default', 'place-order', 7, zeroblob(32), NULL, 4, 5, 6, 6); \
INSERT INTO saga_keys (namespace, definition, key_hash, saga_id, input_hash) \
VALUES ('default', 'place-order', zeroblob(16), '019aa56d-607b-8003-8000-000000000001', zeroblob(16)); \
INSERT INTO journal (shard, position, epoch, batch_id, saga_id, kind, at_us, body) VALUES \
(3, 1, 1, zeroblob(16), NULL, 2, 5, CAST('{\"v\":1,\"takeover\":{\"node\":\"n\"}}' AS BLOB)), \
(3, 2, 1, zeroblob(16), '019aa56d-607b-8003-8000-000000000001', 1, 5, CAST( \
    '{\"v\":1,\"facts\":[{\"kind\":\"scheduled\",\"step\":1,\"operation\":\"forward\",\"input\":{}}]}' AS BLOB)), \
(3, 3, 1, zeroblob(16), '019aa56d-607b-8003-8000-000000000002', 1, 5, CAST( \
    '{\"v\":1,\"facts\":[{\"kind\":\"compensated\"}]}' AS BLOB))";

#[tokio::test]
async fn what_the_first_schema_held_is_read_and_goes_on() {
    let file = File::new();
    let mut connection = file.connect().await;
    for sql in [UP_1, OLD_ROWS] {
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
    let store = file.store().await;
    let (shard, now) = (ShardId(3), Time::from_micros(1_763_800_000_000_000));
    let active = store.load_active(shard, None, now, 10).await.unwrap();
    let [running] = &active[..] else {
        panic!("{active:?}");
    };
    assert_eq!(
        running.rows.as_ref().unwrap()[0].facts[0].kind(),
        "scheduled"
    );
    assert_eq!((running.saga.parent, running.saga.expires_at), (None, None));
    let key = KeyLookup {
        namespace: "default".into(),
        definition: "place-order".into(),
        key_hash: Hash128([0; 16]),
    };
    let found = store.lookup_keys(&[key]).await.unwrap()[0].unwrap();
    assert_eq!((found.saga, found.revision), (running.saga.id, 7));
    assert!(store.turns(shard).await.unwrap().is_empty());
    // What ended before there was an expiry has that of a definition that says nothing.
    let due = Time::from_micros(6) + Duration::from_secs(30 * 24 * 3_600);
    let mut page = ExpiryPage {
        shard,
        after: None,
        begun_before: Time::INFINITY,
        now: due - Duration::from_micros(1),
        limit: 10,
    };
    let swept = store.expire(&page).await.unwrap();
    assert_eq!((swept.gone, swept.due), (0, Some(due)));
    page.now = due;
    assert_eq!(store.expire(&page).await.unwrap().gone, 1);
    let mut lane = store.open_lane().await.unwrap();
    assert_eq!(lane.tails(&[shard]).await.unwrap(), [3]);
    let sql = "SELECT concat_ws(' ', step, item, operation, state) FROM steps WHERE saga_id = ?";
    let step = sqlx::query(sql).bind(running.saga.id.to_string());
    let step = step.fetch_one(&mut connection).await.unwrap();
    assert_eq!(step.get::<&str, _>(0), "1 0 forward scheduled");
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
async fn a_file_has_the_shards_that_it_was_made_with() {
    for (made_with, has) in [(Some(256), 256), (None, SHARD_COUNT_DEFAULT)] {
        let file = File::new();
        drop(SqliteStore::open(&file.path, made_with).await.unwrap());
        let store = SqliteStore::open(&file.path, None).await.unwrap();
        assert_eq!(store.identity().await.unwrap().shard_count, has);
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let opened = SqliteStore::open(directory.path().join("no/such.db"), None).await;
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
    let mut writer = store.committing.lock().await;
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
    let mut writer = store.committing.lock().await;
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
