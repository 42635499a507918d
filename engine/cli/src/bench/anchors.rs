//! What the machine can do without Amends, measured in the same rounds: one row a transaction by `pgbench` on the same
//! cluster, and a round trip over a bare gRPC stream. Deliberately not here: the floor, which writes Amends's own rows.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use amends_proto::v1::participant_service_client::ParticipantServiceClient;
use amends_proto::v1::participant_service_server::{ParticipantService, ParticipantServiceServer};
use amends_proto::v1::{
    AttachRequest, AttachResponse, Hello, Welcome, attach_request, attach_response,
};
use futures_util::{Stream, StreamExt as _};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use super::bed::Bed;
use super::companion::{Companion, tell};
use super::plan::{Measured, Percentiles, Said};
use crate::children::stdin_closed;
use crate::exit::Exit;
use crate::failure::{Failure, chain};

/// One transaction: a row of 200 bytes.
const TRANSACTION: &str =
    "INSERT INTO bench_rows (body) VALUES (decode(repeat('5a', 200), 'hex'));\n";
/// Round trips that are measured, and as many before them that are not.
const ROUND_TRIPS: u32 = 2_000;
/// How long the process of the echo may take to listen.
const LISTEN_WITHIN: Duration = Duration::from_secs(10);

/// Whether `pgbench` can be run: with a private cluster it is among its programs, else it has to be on the path.
#[must_use]
pub fn pgbench(bed: &mut Bed) -> Option<PathBuf> {
    let database = bed.database().ok()?;
    let own = database
        .cluster()
        .map(|cluster| cluster.programs().join("pgbench"));
    let on_path = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|directory| directory.join("pgbench"))
        .collect::<Vec<_>>();
    own.into_iter().chain(on_path).find(|path| path.exists())
}

/// So many clients that insert a row a transaction, for so long.
///
/// # Errors
/// If `pgbench` does not run, or says nothing that can be read.
pub async fn rows(bed: &mut Bed, clients: u32, length: Duration) -> Result<Measured, Failure> {
    let broken = |why: String| Failure::wrong("pgbench did not measure").because(why);
    let program = pgbench(bed).ok_or_else(|| broken("it is not installed".to_owned()))?;
    let url = bed.database()?.url().to_owned();
    let counters = bed.counters().await?;
    let mut counters = counters.ok_or_else(|| broken("this is no PostgreSQL".to_owned()))?;
    counters.make_rows_table().await?;
    let script = bed.directory().join("row.sql");
    std::fs::write(&script, TRANSACTION).map_err(|error| broken(error.to_string()))?;
    let output = Command::new(program)
        .arg("--no-vacuum")
        .args(["--client", &clients.to_string()])
        .args(["--time", &length.as_secs().max(1).to_string()])
        .arg("--file")
        .arg(&script)
        .arg(&url)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| broken(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    read_pgbench(&said)
        .ok_or_else(|| broken(format!("{said}{}", String::from_utf8_lossy(&output.stderr))))
}

/// Transactions, and how long one took on average.
fn read_pgbench(said: &str) -> Option<Measured> {
    let behind = |head: &str| said.lines().find_map(|line| line.strip_prefix(head));
    let per_second: f64 = first_word(behind("tps = ")?)?.parse().ok()?;
    let average_ms: f64 = first_word(behind("latency average = ")?)?.parse().ok()?;
    let transactions = behind("number of transactions actually processed: ")?;
    let transactions: u64 = transactions.split('/').next()?.trim().parse().ok()?;
    let average = Duration::from_secs_f64(average_ms / 1_000.0);
    Some(Measured {
        sagas: transactions,
        elapsed: Duration::from_secs_f64(super::report::rate(transactions, per_second)),
        latency: Percentiles {
            p50: average,
            ..Percentiles::default()
        },
        ..Measured::default()
    })
}

fn first_word(text: &str) -> Option<&str> {
    text.split_whitespace().next()
}

/// Round trips over a stream to a process that answers each message with one.
///
/// # Errors
/// If that process does not answer.
pub async fn echoes(bed: &Bed) -> Result<Measured, Failure> {
    let broken = |why: String| Failure::wrong("the echo did not answer").because(why);
    let mut echo = Companion::start(
        "echo",
        bed.directory(),
        "http://127.0.0.1:1",
        "default",
        &(),
    )?;
    let Said::Listening(address) = echo.hear(LISTEN_WITHIN).await? else {
        return Err(broken("it does not say where it listens".to_owned()));
    };
    let endpoint = crate::connection::endpoint(&address)?;
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| broken(chain(&error)))?;
    let (send, requests) = mpsc::unbounded_channel();
    let requests = futures_util::stream::unfold(requests, |mut requests| async {
        Some((requests.recv().await?, requests))
    });
    let mut client = ParticipantServiceClient::new(channel);
    let answers = client.attach(requests).await;
    let mut answers = answers
        .map_err(|status| broken(status.to_string()))?
        .into_inner();
    let mut took = Vec::new();
    let mut began = Instant::now();
    for number in 0..2 * ROUND_TRIPS {
        if number == ROUND_TRIPS {
            began = Instant::now();
            took.clear();
        }
        let sent = Instant::now();
        // The stream that is gone says so below.
        let _ = send.send(message());
        let answer = answers.next().await;
        let answer = answer.ok_or_else(|| broken("it went away".to_owned()))?;
        answer.map_err(|status| broken(status.to_string()))?;
        took.push(sent.elapsed());
    }
    let elapsed = began.elapsed();
    echo.stop().await?;
    Ok(Measured {
        sagas: u64::from(ROUND_TRIPS),
        elapsed,
        latency: Percentiles::of(took),
        ..Measured::default()
    })
}

/// Some 200 bytes.
fn message() -> AttachRequest {
    AttachRequest {
        message: Some(attach_request::Message::Hello(Hello {
            sdk: "x".repeat(200),
            ..Hello::default()
        })),
    }
}

/// Of the process that answers: serves until its parent is gone.
///
/// # Errors
/// If it cannot listen.
pub async fn serve() -> Result<Exit, Failure> {
    let failed = |why: String| Failure::wrong("the echo cannot listen").because(why);
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    let address = address.map_err(|error| failed(error.to_string()))?;
    let incoming = tonic::transport::server::TcpIncoming::bind(address);
    let incoming = incoming.map_err(|error| failed(error.to_string()))?;
    tell(&Said::Listening(format!("http://{address}")))?;
    tonic::transport::Server::builder()
        .add_service(ParticipantServiceServer::new(Echo))
        .serve_with_incoming_shutdown(incoming.with_nodelay(Some(true)), stdin_closed())
        .await
        .map_err(|error| failed(chain(&error)))?;
    Ok(Exit::Ok)
}

struct Echo;

#[tonic::async_trait]
impl ParticipantService for Echo {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<AttachResponse, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let answer = |request: Result<AttachRequest, Status>| {
            let text = match request?.message {
                Some(attach_request::Message::Hello(hello)) => hello.sdk,
                _ => String::new(),
            };
            let welcome = Welcome {
                incarnation: text,
                ..Welcome::default()
            };
            Ok(AttachResponse {
                message: Some(attach_response::Message::Welcome(welcome)),
            })
        };
        Ok(Response::new(Box::pin(request.into_inner().map(answer))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_says_is_read() {
        let said = "transaction type: row.sql\nscaling factor: 1\nnumber of clients: 16\n\
                    number of transactions actually processed: 45000\nnumber of failed transactions: 0 (0.000%)\n\
                    latency average = 1.067 ms\ninitial connection time = 20.1 ms\ntps = 15000.5 (without initial connection time)\n";
        let measured = read_pgbench(said).expect("it is read");
        assert_eq!(measured.sagas, 45_000);
        assert!(
            (measured.elapsed.as_secs_f64() - 3.0).abs() < 0.01,
            "{measured:?}"
        );
        assert_eq!(measured.latency.p50, Duration::from_micros(1_067));
        assert!(read_pgbench("connection failed").is_none());
    }
}
