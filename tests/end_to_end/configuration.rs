//! What the server refuses to start with. Each ends with 78 and one line that says why, and nothing was touched.

use std::time::Duration;

use amends_tests::postgres::Cluster;
use amends_tests::process::{Ended, free_port};
use amends_tests::server::{Server, Store, migrate, migrated_database, server_program};
use sqlx::Connection as _;

const QUICKLY: Duration = Duration::from_secs(20);

fn refusal(arguments: &[&str]) -> Ended {
    let ended = server_program()
        .args(arguments.iter().copied())
        .run(QUICKLY);
    assert_eq!(ended.code, Some(78), "{arguments:?}: {ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    assert!(
        ended.stdout.is_empty(),
        "data goes to stdout, talk to stderr: {ended:?}"
    );
    ended
}

fn new_file(directory: &tempfile::TempDir) -> String {
    format!("sqlite:{}", directory.path().join("new.db").display())
}

#[test]
fn a_server_that_strangers_could_reach_does_not_start_unless_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let database = new_file(&directory);
    let listen = format!("0.0.0.0:{}", free_port());
    let arguments = ["--listen", &listen, "--database-url", &database];
    let ended = refusal(&arguments);
    assert!(ended.stderr.contains("--insecure-listen"), "{ended:?}");
    assert!(!directory.path().join("new.db").exists());
    let log = directory.path().join("log");
    let told = server_program()
        .args(arguments)
        .args(["--insecure-listen", "--until-stdin-closes"])
        .env("AMENDS_LOG", "info");
    told.start(&log).wait_for_log("listening on ", QUICKLY);
}

#[test]
fn b45_a_configuration_that_cannot_be_is_refused_before_anything_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let database = new_file(&directory);
    let listen = format!("127.0.0.1:{}", free_port());
    let file = directory.path().join("amends.toml");
    for (content, named) in [
        ("lanse = 1", "lanse"),
        ("lanes = 'two'", "lanes"),
        ("lanes = -1", "lanes"),
        ("lease_ms = 1", "lease_ms"),
        ("shards = 0", "shards"),
        ("namespaces = ['../x']", "namespaces"),
        ("listen = 'nowhere'", "listen"),
        ("listen = ", "TOML"),
    ] {
        std::fs::write(&file, content).unwrap();
        let path = file.display().to_string();
        let ended = refusal(&["--config", &path, "--database-url", &database]);
        assert!(ended.stderr.contains(named), "{content}: {ended:?}");
    }
    refusal(&["--config", "no-such-file.toml", "--database-url", &database]);
    refusal(&["--listen", &listen]);
    refusal(&[
        "--listen",
        &listen,
        "--database-url",
        "mysql://nobody@nowhere",
    ]);
    assert!(!directory.path().join("new.db").exists());
}

#[test]
fn b45_a_secret_is_not_printed() {
    for url in [
        "postgres://amends:hunter2@127.0.0.1:1/amends",
        "mysql://amends:hunter2@127.0.0.1/amends",
    ] {
        let listen = format!("127.0.0.1:{}", free_port());
        let ended = refusal(&["--listen", &listen, "--database-url", url]);
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
    }
}

#[test]
fn b45_a_port_in_use_is_refused() {
    let server = Server::start(Store::Sqlite);
    let directory = tempfile::tempdir().unwrap();
    let database = new_file(&directory);
    let ended = refusal(&["--listen", &server.listen(), "--database-url", &database]);
    assert!(ended.stderr.contains(&server.listen()), "{ended:?}");
}

#[test]
fn b45_another_number_of_shards_than_the_stored_one_is_refused() {
    let mut server = Server::start_with(Store::Sqlite, &[("shards", "16")]);
    server.kill();
    let listen = format!("127.0.0.1:{}", free_port());
    let program = server_program()
        .args(["--listen", &listen, "--database-url", server.database_url()])
        .env("AMENDS__SHARDS", "32");
    let ended = program.run(QUICKLY);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(
        ended.stderr.contains("16") && ended.stderr.contains("32"),
        "{ended:?}"
    );
}

#[test]
fn b46_a_database_without_a_schema_is_refused_until_it_is_migrated() {
    let url = Cluster::shared().create_database().unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let ended = refusal(&["--listen", &listen, "--database-url", &url]);
    assert!(ended.stderr.contains("migrate"), "{ended:?}");
    migrate(&url);
    migrate(&url);
    let directory = tempfile::tempdir().unwrap();
    let program = server_program()
        .args([
            "--listen",
            &listen,
            "--database-url",
            &url,
            "--until-stdin-closes",
        ])
        .env("AMENDS_LOG", "info");
    let mut process = program.start(&directory.path().join("log"));
    process.wait_for_log("listening on ", QUICKLY);
}

#[tokio::test(flavor = "multi_thread")]
async fn b46_a_newer_schema_is_refused_by_server_and_migration_and_left_alone() {
    let url = migrated_database(Cluster::shared());
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let newer = "INSERT INTO amends.migrations (version, name) VALUES (999, 'from the future')";
    sqlx::raw_sql(newer).execute(&mut connection).await.unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let ended = refusal(&["--listen", &listen, "--database-url", &url]);
    assert!(ended.stderr.contains("newer"), "{ended:?}");
    let migration = amends_tests::process::Program::of_workspace("amends")
        .args(["migrate", "up", "--database-url", &url])
        .run(QUICKLY);
    assert_ne!(migration.code, Some(0), "{migration:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b46_a_file_of_a_newer_schema_and_a_file_that_is_none_are_refused() {
    let mut server = Server::start(Store::Sqlite);
    server.kill();
    let mut connection = sqlx::SqliteConnection::connect(server.database_url())
        .await
        .unwrap();
    make_newer(&mut connection).await;
    connection.close().await.unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let ended = refusal(&["--listen", &listen, "--database-url", server.database_url()]);
    assert!(ended.stderr.contains("newer"), "{ended:?}");
    let directory = tempfile::tempdir().unwrap();
    let nonsense = directory.path().join("new.db");
    std::fs::write(
        &nonsense,
        "this is no database, but a letter to somebody who likes to read".repeat(99),
    )
    .unwrap();
    refusal(&["--listen", &listen, "--database-url", &new_file(&directory)]);
    let kept = std::fs::read_to_string(&nonsense).unwrap();
    assert!(kept.starts_with("this is no database"));
}

/// The store keeps the schema's version in SQLite's own place for it, or in the migrations' table.
async fn make_newer(connection: &mut sqlx::SqliteConnection) {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    assert!(version > 0, "the version is in user_version");
    sqlx::raw_sql("PRAGMA user_version = 999999")
        .execute(connection)
        .await
        .unwrap();
}
