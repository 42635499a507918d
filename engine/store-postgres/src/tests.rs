//! What this store promises beyond the suite of all stores: its statements, its plans, its view, its refusals, and what it
//! does when connections break or somebody holds a position.

use amends_core::journal::SagaState;
use amends_core::key::Hash128;
use amends_core::{ShardId, Time};
use amends_store::conformance::{STORY_STEPS, story};
use amends_store::{
    AppendError, Batch, Definitions as _, ExpiryPage, KeyLookup, Leases as _, ListQuery,
    Sagas as _, Takeover,
};
use amends_tests::postgres::Cluster;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqlSafeStr as _,
};

use uuid::Uuid;

use super::*;
use crate::timestamp::Timestamp;

const SHARDS: u16 = 16;

async fn migrated() -> String {
    let url = Cluster::shared().create_database().unwrap();
    migrations::migrate(&url, SHARDS).await.unwrap();
    url
}

async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(PostgresOptions::new(url))
        .await
        .unwrap()
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn refusal(url: &str) -> String {
    match PostgresStore::open(PostgresOptions::new(url)).await {
        Err(Error::Schema(message)) => message,
        Err(other) => panic!("another refusal: {other:?}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[test]
fn b45_a_parameter_with_a_typing_error_is_refused_and_not_shown() {
    for known in [
        "",
        "?",
        "?sslmode=require&host=/run",
        "?options[lock_timeout]=1s",
    ] {
        let url = format!("postgres://a@db/amends{known}");
        assert!(connect_options(&url).is_ok(), "{url}");
    }
    for broken in [
        "?passwrd=hunter2",
        "?sslmode=require&hunter2",
        "?passfile=hunter2",
    ] {
        let error = connect_options(&format!("postgres://a@db/amends{broken}")).unwrap_err();
        let (said, debugged) = (error.to_string(), format!("{error:?}"));
        assert!(
            !said.contains("hunter2") && !debugged.contains("hunter2"),
            "{debugged}"
        );
    }
}

#[tokio::test]
async fn every_statement_prepares() {
    let mut connection = connect(&migrated().await).await;
    for statement in sql::ALL {
        let prepared = connection.prepare(statement.into_sql_str()).await;
        assert!(prepared.is_ok(), "{statement}: {:?}", prepared.err());
    }
    for session in [sql::LANE_SESSION, sql::READER_SESSION, sql::EXPIRY_SESSION] {
        sqlx::raw_sql(session)
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

#[test]
fn every_statement_is_in_the_list() {
    let constants = include_str!("sql.rs").matches("pub(crate) const ").count();
    // But for the list itself and the three texts of several statements.
    assert_eq!(constants - 4, sql::ALL.len());
}

/// The plan that a connection keeps for a statement: the generic one, made against empty tables.
async fn generic_plan(connection: &mut PgConnection, statement: &str) -> String {
    let sets = "SET plan_cache_mode = force_generic_plan";
    sqlx::raw_sql(sets).execute(&mut *connection).await.unwrap();
    let parameters = (1..)
        .take_while(|n| statement.contains(&format!("${n}")))
        .count();
    let arguments = vec!["NULL"; parameters].join(", ");
    let arguments = if parameters == 0 {
        String::new()
    } else {
        format!("({arguments})")
    };
    let prepare = AssertSqlSafe(format!("DEALLOCATE ALL; PREPARE one AS {statement}"));
    sqlx::raw_sql(prepare)
        .execute(&mut *connection)
        .await
        .unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE one{arguments}"));
    let rows = sqlx::raw_sql(explain).fetch_all(connection).await.unwrap();
    rows.iter()
        .map(|row| row.get::<String, _>(0))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A connection to an empty schema: one that was never analysed, and one that was, which looks smaller.
async fn empty_schemas(session: &'static str) -> [PgConnection; 2] {
    let mut connections = [
        connect(&migrated().await).await,
        connect(&migrated().await).await,
    ];
    let analyse = sqlx::raw_sql("ANALYZE").execute(&mut connections[1]);
    analyse.await.unwrap();
    for connection in &mut connections {
        sqlx::raw_sql(session).execute(connection).await.unwrap();
    }
    connections
}

#[tokio::test]
async fn a_lane_plans_without_a_scan_on_an_empty_schema() {
    // Where the rows of a shard are counted, at a takeover, any index of the shard may be taken for as short as another.
    let schemas = empty_schemas(sql::LANE_SESSION).await;
    for (mut connection, probes) in schemas.into_iter().zip([2, 1]) {
        for statement in [
            sql::APPEND_ROWS,
            sql::APPEND_STARTS,
            sql::APPEND,
            sql::APPEND_ALL,
            sql::TAKE_OVER,
            sql::TAILS,
            sql::TAKEN,
            sql::AUTHOR,
        ] {
            let plan = generic_plan(&mut connection, statement).await;
            assert!(
                !plan.contains("Seq Scan") && !plan.contains("Join Filter"),
                "{plan}"
            );
        }
        for statement in [sql::APPEND, sql::APPEND_ALL] {
            let append = generic_plan(&mut connection, statement).await;
            assert!(append.contains(".shard) AND (id = n"), "{append}");
        }
        let append = generic_plan(&mut connection, sql::APPEND_ALL).await;
        let by_name = append.contains("incidents_pkey") && !append.contains("incidents_oldest");
        assert!(by_name, "{append}");
        let tails = generic_plan(&mut connection, sql::TAILS).await;
        let found = tails.matches("using journal_pkey").count();
        assert_eq!(found, probes, "{tails}");
    }
}

#[tokio::test]
async fn a_reader_plans_without_a_scan_on_an_empty_schema() {
    for mut connection in empty_schemas(sql::READER_SESSION).await {
        for (statement, index) in [
            (sql::ACTIVE, "sagas_states"),
            (sql::ACTIVE_ROWS, "journal_saga"),
            (sql::SAGA, "sagas_pkey"),
            (sql::HISTORY, "journal_saga"),
            (sql::SAGAS, "sagas_pkey"),
            (sql::HISTORIES, "journal_saga"),
            (sql::SLEEPERS, "sagas_wake"),
            (sql::TURNS, "sagas_turns"),
            (sql::REVISIONS, "sagas_pkey"),
            (sql::SHARDS_IN_USE, "sagas_pkey"),
            (sql::SWEEP, "sagas_pkey"),
            (sql::COUNT_ACTIVE, "sagas_children"),
            (sql::INCIDENTS, "incidents_oldest"),
            (sql::INCIDENT_GROUPS, "incidents_oldest"),
            (sql::LOOKUP_KEYS, "saga_keys_pkey"),
            (sql::LIST, "sagas_pkey"),
            (sql::LIST_STATES, "sagas_states"),
            (sql::LIST_KEYED, "saga_keys_pkey"),
            (sql::RENEW, "nodes_pkey"),
        ] {
            let plan = generic_plan(&mut connection, statement).await;
            assert!(
                plan.contains(index)
                    && !plan.contains("Seq Scan on")
                    && !plan.contains("Bitmap")
                    && !plan.contains("Join Filter"),
                "{statement}:\n{plan}"
            );
        }
    }
}

#[tokio::test]
async fn retention_probes_on_an_empty_schema() {
    for mut connection in empty_schemas("").await {
        let session = sql::EXPIRY_SESSION.replace("LOCAL ", "");
        let session = AssertSqlSafe(session.replace("true)", "false)"));
        sqlx::raw_sql(session)
            .execute(&mut connection)
            .await
            .unwrap();
        let plan = generic_plan(&mut connection, sql::EXPIRED).await;
        // The sagas themselves, and their parents.
        let probes = plan.matches("Index Scan using sagas_pkey").count();
        assert_eq!(probes, 2, "{plan}");
        let plan = generic_plan(&mut connection, sql::EXPIRE).await;
        assert!(
            !plan.contains("Seq Scan") && !plan.contains("Join Filter"),
            "{plan}"
        );
        for index in [
            "journal_saga",
            "journal_pkey",
            "sagas_pkey",
            "saga_keys_pkey",
            "incidents_pkey",
            "shards_pkey",
        ] {
            let ways = ["using", "Bitmap Index Scan on"].map(|way| format!("{way} {index}"));
            assert!(ways.iter().any(|way| plan.contains(way)), "{index}: {plan}");
        }
        // Each row by its place, not the shard's whole journal for one; but for the shard's own row, and the backward scan
        // that ends at once.
        let whole = plan.matches("Index Cond: (shard = $1)\n").count();
        assert_eq!(whole, 2, "{plan}");
    }
}

#[tokio::test]
async fn the_steps_of_a_saga_are_read_in_sql() {
    let url = migrated().await;
    let store = open(&url).await;
    let (definition, batch) = story();
    store.put_definition(&definition).await.unwrap();
    store
        .open_lane()
        .await
        .unwrap()
        .append(&batch)
        .await
        .unwrap();
    let sql = "SELECT concat_ws(' ', step, item, operation, round, state, attempts, coalesce(last_code, '-'), \
        coalesce(output::text, '-')), began_at FROM amends.steps WHERE saga_id = $1 \
        ORDER BY step_index, item, array_position(ARRAY['forward', 'compensate', 'query'], operation)";
    let saga = batch.shards[0].inserts[0].id.as_uuid();
    let rows = sqlx::query(sql)
        .bind(saga)
        .fetch_all(&mut connect(&url).await)
        .await
        .unwrap();
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            assert_eq!(row.get::<Timestamp, _>(1).0, batch.shards[0].rows[0].at);
            row.get(0)
        })
        .collect();
    assert_eq!(rows, STORY_STEPS);
}

#[tokio::test]
async fn the_steps_of_one_saga_are_probed_for() {
    let mut connection = connect(&migrated().await).await;
    sqlx::raw_sql(sql::READER_SESSION)
        .execute(&mut connection)
        .await
        .unwrap();
    let explain =
        "EXPLAIN SELECT * FROM amends.steps WHERE saga_id = '00000000-0000-8000-8000-000000000000'";
    let rows = sqlx::raw_sql(explain)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("using journal_saga on journal"), "{plan}");
    assert!(
        plan.contains("sagas_pkey") && !plan.contains("Seq Scan"),
        "{plan}"
    );
}

#[tokio::test]
async fn a_server_refuses_a_schema_that_it_does_not_know() {
    let url = Cluster::shared().create_database().unwrap();
    assert!(
        refusal(&url)
            .await
            .contains("no schema of amends: run `amends migrate up --database-url ...`")
    );
    migrations::migrate(&url, SHARDS).await.unwrap();
    drop(open(&url).await);
    let newer = "INSERT INTO amends.migrations (version, name) VALUES (99, 'later')";
    connect(&url).await.execute(newer).await.unwrap();
    let message = refusal(&url).await;
    assert!(
        message.contains("has schema 99") && message.contains("newer binary"),
        "{message}"
    );
    let migrated = migrations::migrate(&url, SHARDS).await;
    assert!(matches!(migrated, Err(Error::Schema(_))), "{migrated:?}");
}

#[tokio::test]
async fn migrations_run_up_and_down_and_up() {
    let url = Cluster::shared().create_database().unwrap();
    assert_eq!(migrations::status(&url).await.unwrap().version, 0);
    let up = migrations::migrate(&url, SHARDS).await.unwrap();
    assert_eq!(
        (up.version, up.version, up.shard_count),
        (4, up.known, Some(SHARDS))
    );
    assert_eq!(migrations::migrate(&url, SHARDS).await.unwrap(), up);
    assert_eq!(migrations::status(&url).await.unwrap(), up);
    let before = open(&url).await.identity().await.unwrap().incarnation;
    let down = migrations::migrate_down(&url, 0).await.unwrap();
    assert_eq!((down.version, down.shard_count), (0, None));
    assert!(
        down.migrations
            .iter()
            .all(|migration| migration.applied_at.is_none())
    );
    migrations::migrate(&url, SHARDS + 1).await.unwrap();
    // Another life of the database.
    assert_ne!(
        open(&url).await.identity().await.unwrap().incarnation,
        before
    );
}

#[tokio::test]
async fn migrations_refuse_what_would_lose_sagas() {
    let url = migrated().await;
    open(&url)
        .await
        .open_lane()
        .await
        .unwrap()
        .append(&story().1)
        .await
        .unwrap();
    let down = migrations::migrate_down(&url, 0).await;
    assert!(
        matches!(&down, Err(Error::Schema(message)) if message.contains("has rows")),
        "{down:?}"
    );
    let other = migrations::migrate(&url, SHARDS + 1).await;
    assert!(
        matches!(&other, Err(Error::Schema(message)) if message.contains("16 shards, not 17")),
        "{other:?}"
    );
    for shards in [0, 4_097] {
        assert!(matches!(
            migrations::migrate(&url, shards).await,
            Err(Error::Schema(_))
        ));
    }
}

/// Everything that the schema consists of, as text.
async fn schema(url: &str) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) \
        FROM information_schema.columns WHERE table_schema = 'amends' AND table_name <> 'migrations' \
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'amends' AND tablename <> 'migrations' \
        UNION ALL SELECT definition FROM pg_views WHERE schemaname = 'amends' \
        UNION ALL SELECT relname || ' ' || reloptions::text FROM pg_class WHERE relnamespace = 'amends'::regnamespace \
        AND reloptions IS NOT NULL ORDER BY 1";
    let rows = sqlx::query(sql).fetch_all(&mut connect(url).await).await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn each_migration_down_undoes_its_up() {
    let url = Cluster::shared().create_database().unwrap();
    migrations::migrate(&url, SHARDS).await.unwrap();
    let newest = schema(&url).await;
    let down = migrations::migrate_down(&url, 1).await.unwrap();
    assert_eq!((down.version, down.known), (1, 4));
    let first = schema(&url).await;
    assert!(
        first != newest
            && refusal(&url)
                .await
                .contains("has schema 1, and 4 is needed")
    );
    // A schema that came up to 1 alone.
    let other = old_database().await;
    assert_eq!(schema(&other).await, first);
    migrations::migrate(&url, SHARDS).await.unwrap();
    assert_eq!(schema(&url).await, newest);
}

/// A database as the first version made it.
async fn old_database() -> String {
    let url = Cluster::shared().create_database().unwrap();
    migrations::migrate(&url, SHARDS).await.unwrap();
    migrations::migrate_down(&url, 0).await.unwrap();
    let mut connection = connect(&url).await;
    for sql in [
        include_str!("../migrations/0001_tables.up.sql"),
        "INSERT INTO amends.migrations (version, name) VALUES (1, 'tables'); \
            INSERT INTO amends.meta (incarnation, shard_count) VALUES (gen_random_uuid(), 16); \
            INSERT INTO amends.shards (shard) SELECT generate_series(0, 15)",
    ] {
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
    url
}

#[tokio::test]
async fn what_the_second_schema_held_is_listed_and_swept() {
    let url = migrated().await;
    migrations::migrate_down(&url, 2).await.unwrap();
    assert!(
        refusal(&url)
            .await
            .contains("has schema 2, and 4 is needed")
    );
    let rows = "INSERT INTO amends.sagas (shard, id, namespace, definition, revision, hash, state, started_at, updated_at, \
        ended_at, expires_at) SELECT 3, ('019aa56d-607b-8003-8000-00000000000' || n)::uuid, 'default', 'place-order', 1, \
        decode(repeat('ab', 32), 'hex'), n, now(), now(), CASE WHEN n IN (2, 4, 6) THEN now() END, \
        CASE WHEN n IN (2, 4, 6) THEN now() END FROM generate_series(1, 6) AS n";
    connect(&url).await.execute(rows).await.unwrap();
    migrations::migrate(&url, SHARDS).await.unwrap();
    let store = open(&url).await;
    for state in 1..=6_i16 {
        let query = ListQuery {
            namespace: "default".into(),
            states: vec![SagaState::from_code(state).unwrap()],
            definition: None,
            key: None,
            before: None,
            limit: 10,
        };
        let listed = store.list(&query).await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0].state.code(), state);
    }
    let active = store.load_active(ShardId(3), None, Time::EPOCH, 10).await;
    assert_eq!(active.unwrap().len(), 3);
    let page = ExpiryPage {
        shard: ShardId(3),
        after: None,
        begun_before: Time::INFINITY,
        now: store.identity().await.unwrap().now,
        limit: 10,
    };
    assert_eq!(store.expire(&page).await.unwrap().gone, 3);
}

/// A saga that runs and one that ended, each with its key, as the first version wrote them.
const OLD_ROWS: &str = "\
INSERT INTO amends.sagas (shard, id, namespace, definition, revision, hash, key, state, started_at, updated_at, ended_at) \
VALUES (3, '019aa56d-607b-8003-8000-000000000001', 'default', 'place-order', 7, decode(repeat('ab', 32), 'hex'), 'A', 1, \
    '2025-11-21 08:00Z', '2025-11-21 08:00Z', NULL), \
    (3, '019aa56d-607b-8003-8000-000000000002', 'default', 'place-order', 7, decode(repeat('ab', 32), 'hex'), NULL, 4, \
    '2025-11-21 08:00Z', '2025-11-21 09:00Z', '2025-11-21 09:00Z'); \
INSERT INTO amends.saga_keys (namespace, definition, key_hash, saga_id, input_hash) \
VALUES ('default', 'place-order', decode(repeat('01', 16), 'hex'), '019aa56d-607b-8003-8000-000000000001', \
    decode(repeat('02', 16), 'hex')); \
INSERT INTO amends.journal (shard, position, epoch, batch_id, saga_id, kind, at, body) VALUES \
(3, 1, 1, gen_random_uuid(), NULL, 2, now(), '{\"v\":1,\"takeover\":{\"node\":\"n\"}}'), \
(3, 2, 1, gen_random_uuid(), '019aa56d-607b-8003-8000-000000000001', 1, now(), \
    '{\"v\":1,\"facts\":[{\"kind\":\"scheduled\",\"step\":1,\"operation\":\"forward\",\"input\":{}}]}'), \
(3, 3, 1, gen_random_uuid(), '019aa56d-607b-8003-8000-000000000002', 1, now(), \
    '{\"v\":1,\"facts\":[{\"kind\":\"compensated\"}]}')";

#[tokio::test]
async fn what_the_first_schema_held_is_read_and_goes_on() {
    let url = old_database().await;
    let write = sqlx::raw_sql(OLD_ROWS);
    write.execute(&mut connect(&url).await).await.unwrap();
    migrations::migrate(&url, SHARDS).await.unwrap();
    let store = open(&url).await;
    let (shard, now) = (ShardId(3), Time::from_micros(1_763_800_000_000_000));
    let active = store.load_active(shard, None, now, 10).await.unwrap();
    let [running] = &active[..] else {
        panic!("{active:?}");
    };
    let saga = running.saga.id;
    assert_eq!(
        running.rows.as_ref().unwrap()[0].facts[0].kind(),
        "scheduled"
    );
    assert_eq!((running.saga.parent, running.saga.expires_at), (None, None));
    let key = KeyLookup {
        namespace: "default".into(),
        definition: "place-order".into(),
        key_hash: Hash128([1; 16]),
    };
    let found = store.lookup_keys(&[key]).await.unwrap()[0].unwrap();
    assert_eq!((found.saga, found.revision), (saga, 7));
    assert!(store.turns(shard).await.unwrap().is_empty());
    assert!(store.sleepers(shard, None, 10).await.unwrap().is_empty());
    // What ended before there was an expiry has that of a definition that says nothing.
    let ended_at = Time::from_micros(1_763_715_600_000_000);
    let kept = Duration::from_secs(30 * 24 * 3_600);
    let mut page = ExpiryPage {
        shard,
        after: None,
        begun_before: Time::INFINITY,
        now: ended_at + kept - Duration::from_micros(1),
        limit: 10,
    };
    let swept = store.expire(&page).await.unwrap();
    assert_eq!((swept.gone, swept.due), (0, Some(ended_at + kept)));
    let mut lane = store.open_lane().await.unwrap();
    assert_eq!(lane.tails(&[shard]).await.unwrap(), [3]);
    let step =
        "SELECT concat_ws(' ', step, item, operation, state) FROM amends.steps WHERE saga_id = $1";
    let step = sqlx::query(step).bind(saga.as_uuid());
    let step = step.fetch_one(&mut connect(&url).await).await.unwrap();
    assert_eq!(step.get::<&str, _>(0), "1 0 forward scheduled");
    // Nothing was written in version 2 yet, so the way back is open; then it is not.
    migrations::migrate_down(&url, 1).await.unwrap();
    migrations::migrate(&url, SHARDS).await.unwrap();
    let mut batch = story().1;
    (batch.shards[0].epoch, batch.shards[0].inserts) = (1, vec![]);
    for row in &mut batch.shards[0].rows {
        (row.saga, row.position) = (saga, row.position + 3);
    }
    let mut lane = open(&url).await.open_lane().await.unwrap();
    lane.append(&batch).await.unwrap();
    page.now = ended_at + kept;
    assert_eq!(store.expire(&page).await.unwrap().gone, 1);
    let down = migrations::migrate_down(&url, 1).await;
    assert!(
        matches!(&down, Err(Error::Schema(message)) if message.contains("schema 1 cannot read")),
        "{down:?}"
    );
    let history = store.histories(&[saga]).await.unwrap().pop().unwrap();
    assert_eq!(history.rows.unwrap().len(), 1 + batch.shards[0].rows.len());
}

#[tokio::test]
async fn migrations_at_once_run_once() {
    let url = Cluster::shared().create_database().unwrap();
    let (one, two) = tokio::join!(
        migrations::migrate(&url, SHARDS),
        migrations::migrate(&url, SHARDS)
    );
    assert_eq!(one.unwrap(), two.unwrap());
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_said() {
    for (url, says) in [
        ("postgres://amends@127.0.0.1:1/none", "refused"),
        ("mysql://nonsense", "reading the database URL"),
        ("", "reading the database URL"),
    ] {
        let Err(error) = PostgresStore::open(PostgresOptions::new(url)).await else {
            panic!("{url} was opened");
        };
        let said = format!("{error} {:?}", std::error::Error::source(&error));
        assert!(
            matches!(error, Error::Unavailable { .. }) && said.contains(says),
            "{said}"
        );
    }
}

fn takeover(batch: &Batch, position: u64) -> Takeover {
    let shard = batch.shards[0].shard;
    let at = batch.shards[0].rows[0].at;
    Takeover {
        shard,
        position,
        batch: Uuid::from_u128(9),
        node: "node-1".into(),
        at,
    }
}

#[tokio::test]
async fn a_takeover_ends_whoever_holds_its_position() {
    let url = migrated().await;
    let store = open(&url).await;
    let (_, batch) = story();
    let mut holder = connect(&url).await;
    // A backend that wrote the row and whose client is gone: the transaction stays open.
    let hold = "BEGIN; INSERT INTO amends.journal (shard, position, epoch, batch_id, kind, at, body) \
        VALUES (3, 1, 0, gen_random_uuid(), 1, now(), '')";
    sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
    let mut lane = store.open_lane().await.unwrap();
    lane.take_over(&[takeover(&batch, 1)]).await.unwrap();
    assert!(sqlx::raw_sql("COMMIT").execute(&mut holder).await.is_err());
    let author = lane.author(ShardId(3), 1).await.unwrap().unwrap();
    assert_eq!((author.epoch, author.batch), (1, Uuid::from_u128(9)));
}

#[tokio::test]
async fn a_read_that_nobody_answers_is_given_up_and_leases_are_renewed_meanwhile() {
    let url = migrated().await;
    let options = PostgresOptions {
        pool_size: 1,
        ..PostgresOptions::new(&url)
    };
    let store = PostgresStore::open(options).await.unwrap();
    let node = amends_store::NodeLease {
        name: "one".into(),
        process: Uuid::from_u128(1),
        address: "here".into(),
        lease: Duration::from_secs(60),
    };
    assert_eq!(
        store.claim(&node, &[ShardId(3)]).await.unwrap(),
        [ShardId(3)]
    );
    let mut holder = connect(&url).await;
    let hold = "BEGIN; LOCK TABLE amends.sagas IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
    let saga = story().1.shards[0].rows[0].saga;
    let sagas = [saga];
    let mut reading = std::pin::pin!(store.histories(&sagas));
    let answered = timeout(Duration::from_millis(200), &mut reading).await;
    assert!(answered.is_err(), "somebody holds the table");
    store.renew(&node, Time::EPOCH).await.unwrap();
    // The time passes by itself once everybody waits.
    tokio::time::pause();
    let read = reading.await;
    tokio::time::resume();
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    assert!(store.histories(&[saga]).await.unwrap().is_empty());
}

async fn kill_lanes(url: &str) {
    let kill = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
        WHERE application_name = 'amends-lane' AND datname = current_database()";
    sqlx::query(kill)
        .fetch_all(&mut connect(url).await)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lane_whose_backend_ended_says_unknown_and_connects_again() {
    let url = migrated().await;
    let store = open(&url).await;
    let (_, batch) = story();
    let mut lane = store.open_lane().await.unwrap();
    kill_lanes(&url).await;
    let outcome = lane.append(&batch).await;
    assert!(
        matches!(outcome, Err(AppendError::Unknown { .. })),
        "{outcome:?}"
    );
    // It did not land, and with the takeover record it never can.
    lane.take_over(&[takeover(&batch, 1)]).await.unwrap();
    let outcome = lane.append(&batch).await;
    assert!(
        matches!(&outcome, Err(AppendError::PositionTaken(lost)) if *lost == [ShardId(3)]),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_lane_writes_to_no_other_life_of_the_database() {
    let url = migrated().await;
    let store = open(&url).await;
    let (_, batch) = story();
    let mut lane = store.open_lane().await.unwrap();
    let restored = "UPDATE amends.meta SET incarnation = gen_random_uuid()";
    connect(&url).await.execute(restored).await.unwrap();
    kill_lanes(&url).await;
    assert!(lane.append(&batch).await.is_err());
    let outcome = lane.append(&batch).await;
    assert!(
        matches!(outcome, Err(AppendError::Unavailable { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_batch_under_way_when_its_backend_ends_is_unknown() {
    let url = migrated().await;
    let store = open(&url).await;
    let (_, batch) = story();
    let mut lane = store.open_lane().await.unwrap();
    let mut holder = connect(&url).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE amends.journal IN EXCLUSIVE MODE")
        .execute(&mut holder)
        .await
        .unwrap();
    let waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'amends-lane' \
        AND datname = current_database() AND wait_event_type = 'Lock'";
    let end = async {
        let mut watcher = connect(&url).await;
        while sqlx::query(waiting)
            .fetch_optional(&mut watcher)
            .await
            .unwrap()
            .is_none()
        {
            tokio::task::yield_now().await;
        }
        kill_lanes(&url).await;
    };
    let (outcome, ()) = tokio::join!(lane.append(&batch), end);
    assert!(
        matches!(outcome, Err(AppendError::Unknown { .. })),
        "{outcome:?}"
    );
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut holder)
        .await
        .unwrap();
    assert_eq!(lane.tails(&[ShardId(3)]).await.unwrap(), [0]);
}

#[tokio::test]
async fn a_database_that_takes_no_writes_refuses_definitely() {
    let url = migrated().await;
    let store = open(&url).await;
    let name = url.rsplit('/').next().unwrap();
    let read_only = AssertSqlSafe(format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = on"
    ));
    sqlx::raw_sql(read_only)
        .execute(&mut connect(&url).await)
        .await
        .unwrap();
    let mut lane = store.open_lane().await.unwrap();
    let outcome = lane.append(&story().1).await;
    assert!(
        matches!(outcome, Err(AppendError::Unavailable { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn what_the_database_cannot_hold_is_refused_as_data() {
    let url = migrated().await;
    let store = open(&url).await;
    let mut lane = store.open_lane().await.unwrap();
    let (_, good) = story();
    let mut bad = good.clone();
    bad.shards[0].inserts[0].key = Some("no\0such text".into());
    let outcome = lane.append(&bad).await;
    assert!(
        matches!(outcome, Err(AppendError::Data { .. })),
        "{outcome:?}"
    );
    let mut bad = good.clone();
    bad.shards[0].rows[0].at = Time::from_micros(-300_000_000_000_000_000);
    let outcome = lane.append(&bad).await;
    assert!(
        matches!(outcome, Err(AppendError::Data { .. })),
        "{outcome:?}"
    );
    lane.append(&good).await.unwrap();
}
