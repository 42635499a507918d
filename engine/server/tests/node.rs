//! A node on a SQLite file: what keeps it from starting, that it serves, and that a successor goes on where it ended.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;

use amends_proto::v1;
use amends_proto::v1::definition_service_client::DefinitionServiceClient;
use amends_proto::v1::saga_service_client::SagaServiceClient;
use amends_server::{Config, DatabaseUrl, Node, RunError, StartError, start};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

const PARENT: &str = "namespaces/default";
const DEFINITION: &str = "apiVersion: amends/v1
name: order
steps:
  - {id: charge, kind: pivot, call: shop.charge}
";

fn config(directory: &Path) -> Config {
    let file = directory.join("amends.db");
    Config {
        listen: "127.0.0.1:0".into(),
        node: Some("node-1".into()),
        database_url: DatabaseUrl::new(format!("sqlite:{}", file.display())),
        ..Config::default()
    }
}

fn run(
    node: Node,
) -> (
    Channel,
    oneshot::Sender<()>,
    JoinHandle<Result<(), RunError>>,
) {
    let channel = Channel::from_shared(format!("http://{}", node.address()))
        .expect("a URL")
        .connect_lazy();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(node.run_until(async {
        let _ = stopped.await;
    }));
    (channel, stop, running)
}

fn refused(started: Result<Node, StartError>) -> StartError {
    let error = started.expect_err("it is refused");
    assert_eq!(error.exit_code(), 78);
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[tokio::test]
async fn a_node_serves_drains_and_its_successor_has_its_sagas() {
    let directory = tempfile::tempdir().unwrap();
    let (channel, stop, running) = run(start(config(directory.path())).await.unwrap());
    let apply = v1::ApplyDefinitionRequest {
        parent: PARENT.into(),
        source: DEFINITION.into(),
        ..Default::default()
    };
    DefinitionServiceClient::new(channel.clone())
        .apply_definition(apply)
        .await
        .unwrap();
    let order = v1::StartSagaRequest {
        parent: PARENT.into(),
        definition: format!("{PARENT}/definitions/order"),
        revision: None,
        key: Some("A-1".into()),
        input: "{}".into(),
        wait: None,
    };
    let started = SagaServiceClient::new(channel.clone())
        .start_saga(order.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(started.created);
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();

    let (channel, stop, running) = run(start(config(directory.path())).await.unwrap());
    let again = SagaServiceClient::new(channel.clone())
        .start_saga(order)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (again.name.as_str(), again.created),
        (started.name.as_str(), false)
    );
    let get = v1::GetSagaRequest { name: started.name };
    let saga = SagaServiceClient::new(channel)
        .get_saga(get)
        .await
        .unwrap()
        .into_inner()
        .saga
        .unwrap();
    assert_eq!(saga.state(), v1::SagaState::Running);
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn b45_a_port_in_use_is_refused_before_the_database_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let error = refused(
        start(Config {
            listen,
            ..config(directory.path())
        })
        .await,
    );
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    assert!(!directory.path().join("amends.db").exists());
}

#[tokio::test]
async fn a_node_beyond_loopback_has_to_be_told_so() {
    let directory = tempfile::tempdir().unwrap();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let error = refused(
            start(Config {
                listen: listen.into(),
                ..config(directory.path())
            })
            .await,
        );
        assert!(
            matches!(error, StartError::InsecureListen { .. }),
            "{error}"
        );
    }
    assert!(!directory.path().join("amends.db").exists());
    let open = Config {
        listen: "0.0.0.0:0".into(),
        allow_insecure_listen: true,
        ..config(directory.path())
    };
    assert!(!start(open).await.unwrap().address().ip().is_loopback());
}

#[tokio::test]
async fn b45_another_number_of_shards_than_the_stored_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (_, stop, running) = run(start(config(directory.path())).await.unwrap());
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    let error = refused(
        start(Config {
            shards: Some(256),
            ..config(directory.path())
        })
        .await,
    );
    assert!(
        matches!(error, StartError::Database { .. }) && error.to_string().contains("16 shards"),
        "{error}"
    );
}

#[tokio::test]
async fn b46_a_file_that_is_no_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("amends.db");
    std::fs::write(
        &file,
        "this is a letter, and no database at all; ".repeat(100),
    )
    .unwrap();
    let before = std::fs::read(&file).unwrap();
    let error = refused(start(config(directory.path())).await);
    assert!(matches!(error, StartError::Database { .. }), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn b45_a_database_that_cannot_be_reached_is_refused_without_its_password() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let directory = tempfile::tempdir().unwrap();
    let database_url =
        DatabaseUrl::new(format!("postgres://amends:hunter2@127.0.0.1:{port}/amends"));
    let error = refused(
        start(Config {
            database_url,
            ..config(directory.path())
        })
        .await,
    );
    let line = error.to_string();
    assert!(
        line.contains("amends@127.0.0.1") && !line.contains("hunter2"),
        "{line}"
    );
}

#[tokio::test]
async fn b46_a_postgres_database_without_the_schema_is_refused_and_served_after_the_migration() {
    let cluster = amends_tests::postgres::Cluster::shared();
    let url = cluster.create_database().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = || Config {
        database_url: DatabaseUrl::new(url.clone()),
        ..config(directory.path())
    };
    let error = refused(start(config()).await);
    assert!(error.to_string().contains("amends migrate up"), "{error}");
    amends_server::amends_store_postgres::migrations::migrate(&url, 16)
        .await
        .unwrap();
    let (_, stop, running) = run(start(config()).await.unwrap());
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}
