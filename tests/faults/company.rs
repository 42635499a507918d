//! The server, the four services with books of their own, what befalls them, and what must be true at the end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use amends_example_order_fulfilment::audit::{self, Books, Ending};
use amends_example_order_fulfilment::{BooksUrls, DEFINITION, ParticipantKind, seed_books};
use amends_sdk::proto::{self, SagaState};
use amends_sdk::{Client, ListOptions};
use amends_tests::postgres::Cluster;
use amends_tests::process::{Process, Program};
use amends_tests::server::Server;
use sqlx::Connection as _;

use crate::Fault;
use crate::chance::Dice;
use crate::customers::{ORDERS_MAX, Placed};
use crate::journal;

pub struct Company<'a> {
    server: Server,
    cluster: Option<&'a Cluster>,
    services: Vec<(Program, Process, PathBuf)>,
    books: BooksUrls,
    before: Books,
    pub client: Client,
}

impl<'a> Company<'a> {
    pub async fn open(server: Server, cluster: Option<&'a Cluster>, seed: u64) -> Self {
        let books = match cluster {
            // In the cluster that crashes, so that the services suffer as well.
            Some(cluster) => BooksUrls::all_in(&cluster.create_database().unwrap()),
            None => BooksUrls::sqlite_in(server.directory()),
        };
        seed_books(&books, seed, ORDERS_MAX).await.unwrap();
        let before = audit::books(&books).await.unwrap();
        let services = ParticipantKind::ALL.map(|kind| {
            let program = service(kind, &server.address(), books.of(kind), seed);
            let log = server.directory().join(format!("{kind}.log"));
            (program.clone(), program.start(&log), log)
        });
        let client = Client::connect_lazy(&server.address()).unwrap();
        client.apply_definition(DEFINITION).await.unwrap();
        Self {
            server,
            cluster,
            services: services.into(),
            books,
            before,
            client,
        }
    }

    pub async fn suffer(&mut self, fault: Fault, dice: &mut Dice) {
        match fault {
            Fault::ServerKilled => {
                self.server.kill();
                let away = dice.between(Duration::ZERO, Duration::from_millis(300));
                tokio::time::sleep(away).await;
                self.server.start_again();
            }
            Fault::ServiceKilled => {
                let place = dice.roll(self.services.len() as u64);
                let place = usize::try_from(place).expect("there are four");
                let (program, process, log) = &mut self.services[place];
                process.kill();
                *process = program.start(log);
            }
            Fault::ConnectionsCut => cut_connections(self.server.database_url()).await,
            Fault::DatabaseCrashed => {
                let cluster = self.cluster.expect("only PostgreSQL crashes by itself");
                cluster.crash_and_restart().unwrap();
            }
        }
        let log = self.server.log();
        assert!(!log.contains("panicked"), "{log}");
    }

    /// Whether the server said this.
    pub fn met(&self, mark: &str) -> bool {
        self.server.ever_said(mark)
    }

    /// Waits for every saga, and checks all that must be true of them.
    pub async fn settle(mut self, placed: &[Placed], faults: usize) {
        let (mut endings, mut reasons) = (BTreeMap::new(), Vec::new());
        let deadline = Instant::now() + SETTLE_WITHIN;
        for Placed { order, saga } in placed {
            let left = deadline.saturating_duration_since(Instant::now());
            let settled = self
                .client
                .wait(saga, left.max(Duration::from_secs(1)))
                .await;
            let settled =
                settled.unwrap_or_else(|error| panic!("{saga} was acknowledged: {error}"));
            let saga = settled.saga.expect("a wait answers with its saga");
            assert!(
                settled.settled,
                "it does not settle: {saga:#?}\n{}",
                self.story(&saga.name).await
            );
            assert_eq!(saga.key, order.order_id);
            let ending = ending(&saga);
            if ending == Ending::Parked {
                assert!(
                    saga.incidents
                        .iter()
                        .all(|incident| !incident.reason.is_empty()),
                    "{saga:?}"
                );
                assert!(
                    !saga.incidents.is_empty(),
                    "parked without a reason: {saga:?}"
                );
                reasons.extend(
                    saga.incidents
                        .iter()
                        .map(|incident| incident.reason.clone()),
                );
            }
            endings.insert(order.order_id.clone(), ending);
        }
        assert_eq!(
            self.count_sagas().await,
            placed.len(),
            "a start that nobody asked for"
        );
        // Nobody writes into the books or the journal any more.
        self.server.kill();
        for (_, process, _) in &mut self.services {
            process.kill();
        }
        let after = audit::books(&self.books).await.unwrap();
        let orders: Vec<_> = placed.iter().map(|placed| placed.order.clone()).collect();
        let report = audit::reconcile(&self.before, &after, &orders, &endings);
        eprintln!(
            "{} orders, {faults} faults: {} completed, {} compensated, {} parked {reasons:?}",
            placed.len(),
            report.completed,
            report.compensated,
            report.unsettled
        );
        assert!(report.holds(), "{report}");
        journal::check(self.server.database_url()).await;
        // A run in which nothing happened proves nothing.
        assert!(report.completed > 0 && report.compensated > 0, "{report}");
        assert!(faults > 0);
    }

    async fn count_sagas(&self) -> usize {
        let mut options = ListOptions {
            page_size: 1_000,
            ..ListOptions::default()
        };
        let mut count = 0;
        loop {
            let page = self.client.list(&options).await.unwrap();
            count += page.sagas.len();
            if page.next_page_token.is_empty() {
                return count;
            }
            options.page_token = page.next_page_token;
        }
    }

    /// What is known of a saga, for whoever has to find out.
    async fn story(&self, saga: &str) -> String {
        let history = self.client.history(saga).await.unwrap_or_default();
        let facts = history.iter().map(|entry| {
            let body = String::from_utf8_lossy(&entry.body);
            format!("{} {}\n", entry.position, body)
        });
        let log = self.server.log();
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        let services = self.services.iter().map(|(_, process, _)| process.log());
        format!(
            "{}\nserver, latest first:\n{}\nservices:\n{}",
            facts.collect::<String>(),
            tail.join("\n"),
            services.collect::<String>()
        )
    }
}

fn service(kind: ParticipantKind, server: &str, books: &str, seed: u64) -> Program {
    Program::of_workspace("order-participant")
        .args([kind.name(), "--server", server])
        .args([
            "--seed",
            &seed.to_string(),
            "--orders",
            &ORDERS_MAX.to_string(),
        ])
        // The same name over restarts: the new process replaces the stream of the old one at once.
        .args(["--instance", &format!("{kind}-1")])
        .args([
            "--slow-min-ms",
            "1",
            "--slow-max-ms",
            "40",
            "--fail-percent",
            "5",
        ])
        .env("DATABASE_URL", books)
        .supervised()
}

fn ending(saga: &proto::Saga) -> Ending {
    match saga.state() {
        SagaState::Completed => Ending::Completed,
        SagaState::Compensated => Ending::Compensated,
        SagaState::Parked => Ending::Parked,
        SagaState::Terminated => Ending::Terminated,
        SagaState::Running | SagaState::Compensating | SagaState::Unspecified => {
            panic!("not settled: {saga:?}")
        }
    }
}

/// Ends every connection to the server's database, whatever they are at.
async fn cut_connections(database_url: &str) {
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut connection = sqlx::PgConnection::connect(database_url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

/// From the end of the faults to the last saga.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);
