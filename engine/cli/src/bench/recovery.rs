//! What a crash costs: a server is killed with SIGKILL while many sagas are in flight, and started again. How long until it
//! answers, until every saga was driven again, and until all have ended; whether participants got more than their credit;
//! and whether new sagas could be started meanwhile. Deliberately not here: whether anything was lost, which the kill tests
//! of the whole look for.

use std::time::Duration;

use amends_proto::v1::{self as proto, SagaState};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::apply_request;
use super::bed::Bed;
use super::load::describe;
use super::report::{Line, Report, Wanted, figure, rate};
use super::wire::WireParticipant;
use super::workload::Workload;
use crate::arguments::Global;
use crate::arguments::bench::RecoveryArguments;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::say;

/// Starts that are under way at once while the sagas are started, on so many connections.
const CALLERS: u64 = 512;
const CONNECTIONS: u64 = 8;
/// How often a new saga is started while the server recovers.
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// A start that takes longer counts as refused.
const PROBE_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether all were driven, or have ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// When the recovery is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(300);
/// What the issue of recovery wants.
const DRIVEN_WITHIN_SECONDS: f64 = 5.0;

/// Kills and starts again, so many times.
///
/// # Errors
/// If a server does not start, or the sagas do not go on.
pub async fn run(global: &Global, arguments: &RecoveryArguments) -> Result<Report, Failure> {
    let mut bed = Bed::open(global, &arguments.target).await?;
    let mut report = Report::new();
    describe(&mut bed, &mut report).await?;
    let variant = format!(
        "{}, {} in flight, credit {}",
        bed.place(),
        arguments.sagas,
        arguments.credit
    );
    let mut line = Line::new("recovery", variant, Some(rate(arguments.sagas, 1.0)));
    for round in 0..arguments.pairs {
        if round > 0 {
            bed.database()?.renew().await?;
        }
        let recovered = recover(&mut bed, arguments).await?;
        recovered.told(&mut line);
    }
    let place = bed.place();
    let mut bound = |what: &str, figure, wanted| {
        report.bound(
            format!("{place}: {what}"),
            line.values(figure).to_vec(),
            wanted,
        );
    };
    bound(
        "seconds from the restart until every saga was driven again",
        figure::DRIVEN_SECONDS,
        Wanted::AtMost(DRIVEN_WITHIN_SECONDS),
    );
    bound(
        "commands beyond the credit",
        figure::BEYOND_CREDIT,
        Wanted::AtMost(0.0),
    );
    bound(
        "new sagas that were not accepted once the server answered",
        figure::PROBES_REFUSED,
        Wanted::AtMost(0.0),
    );
    report.lines.push(line);
    Ok(report)
}

/// What one recovery came to.
struct Recovered {
    ready: Duration,
    driven: Duration,
    ended: Duration,
    beyond_credit: u64,
    most_in_hand: usize,
    probes: Probes,
}

impl Recovered {
    fn told(&self, line: &mut Line) {
        line.add(figure::READY_SECONDS, self.ready.as_secs_f64());
        line.add(figure::DRIVEN_SECONDS, self.driven.as_secs_f64());
        line.add(figure::ENDED_SECONDS, self.ended.as_secs_f64());
        line.add(figure::MOST_IN_HAND, rate(self.most_in_hand as u64, 1.0));
        line.add(figure::BEYOND_CREDIT, rate(self.beyond_credit, 1.0));
        line.add(figure::PROBES, rate(self.probes.made, 1.0));
        line.add(figure::PROBES_REFUSED, rate(self.probes.refused, 1.0));
        line.add(
            figure::PROBE_MAX_MS,
            self.probes.slowest.as_secs_f64() * 1_000.0,
        );
    }
}

async fn recover(bed: &mut Bed, arguments: &RecoveryArguments) -> Result<Recovered, Failure> {
    let mut server = bed.start_server(&[]).await?;
    let address = server.address().to_owned();
    let participant = WireParticipant::attach(&address, arguments.credit)?;
    say(format!(
        "starting {} sagas, whose first steps are held",
        arguments.sagas
    ));
    start(&address, &Workload::Happy, arguments.sagas).await?;
    let probed = Workload::Sequence(1);
    apply(&address, &probed).await?;
    say(format!(
        "killing the server; {} commands are in hand",
        participant.told().in_hand
    ));
    server.process().kill().await?;

    let began = Instant::now();
    let sagas = usize::try_from(arguments.sagas).unwrap_or(usize::MAX);
    participant.answer(sagas);
    server.start_again().await?;
    let ready = began.elapsed();
    let (stop, stopped) = oneshot::channel();
    let probing = tokio::spawn(probe(address.clone(), probed, stopped));
    let driven = driven(&participant, began).await?;
    let ended = ended(&address, began).await?;
    // Whoever probes may have failed; that is told below.
    let _ = stop.send(());
    let probes = probing
        .await
        .map_err(|error| Failure::wrong("the probe broke").because(error))??;
    let told = participant.told();
    server.process().stop().await?;
    Ok(Recovered {
        ready,
        driven,
        ended,
        beyond_credit: told.beyond_credit,
        most_in_hand: told.most_in_hand,
        probes,
    })
}

/// Makes a workload's definition the newest revision.
///
/// # Errors
/// If the server does not take it.
pub async fn apply(address: &str, workload: &Workload) -> Result<(), Failure> {
    let connection = Connection::open(address, "default").await?;
    let request = apply_request(&connection, workload);
    let applied = connection.definitions().apply_definition(request).await;
    applied.map_err(|status| {
        Failure::refused("the benchmark's definition was not applied", &status)
    })?;
    Ok(())
}

/// Starts so many sagas, and waits for none.
///
/// # Errors
/// If one is not accepted.
pub async fn start(address: &str, workload: &Workload, sagas: u64) -> Result<(), Failure> {
    apply(address, workload).await?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(address, "default").await?);
    }
    let mut callers = JoinSet::new();
    for (caller, connection) in (0..CALLERS).zip(connections.iter().cycle()) {
        let count = sagas / CALLERS + u64::from(caller < sagas % CALLERS);
        let (connection, request) = (connection.clone(), start_request(connection, workload));
        callers.spawn(async move {
            for _ in 0..count {
                connection.sagas().start_saga(request.clone()).await?;
            }
            Ok::<_, tonic::Status>(())
        });
    }
    for started in callers.join_all().await {
        started.map_err(|status| Failure::refused("a saga was not started", &status))?;
    }
    Ok(())
}

fn start_request(connection: &Connection, workload: &Workload) -> proto::StartSagaRequest {
    proto::StartSagaRequest {
        parent: connection.parent(),
        definition: connection.definition_name(&workload.definition_id()),
        revision: None,
        key: None,
        input: workload.input().into(),
        wait: None,
    }
}

async fn driven(participant: &WireParticipant, began: Instant) -> Result<Duration, Failure> {
    loop {
        let told = participant.told();
        if let Some(at) = told.all_driven_at {
            return Ok(at.duration_since(began));
        }
        if began.elapsed() > GIVE_UP_AFTER {
            return Err(Failure::wrong(format!(
                "only {} sagas were driven again after {} s",
                told.driven,
                GIVE_UP_AFTER.as_secs()
            ))
            .because(told.error.unwrap_or_default()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn ended(address: &str, began: Instant) -> Result<Duration, Failure> {
    let connection = Connection::open(address, "default").await?;
    let request = proto::ListSagasRequest {
        parent: connection.parent(),
        page_size: 1,
        states: vec![SagaState::Running.into(), SagaState::Parked.into()],
        definition_id: Workload::Happy.definition_id(),
        ..proto::ListSagasRequest::default()
    };
    loop {
        let listed = connection.sagas().list_sagas(request.clone()).await;
        let listed = listed.map_err(|status| Failure::unread("no list of sagas", &status))?;
        if listed.into_inner().sagas.is_empty() {
            return Ok(began.elapsed());
        }
        if began.elapsed() > GIVE_UP_AFTER {
            return Err(Failure::wrong("sagas have not ended after the restart"));
        }
        tokio::time::sleep(LOOK_EVERY * 10).await;
    }
}

/// What became of new sagas.
#[derive(Debug, Default)]
struct Probes {
    made: u64,
    refused: u64,
    slowest: Duration,
}

/// Starts a saga now and then, until it is told to stop.
async fn probe(
    address: String,
    workload: Workload,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Probes, Failure> {
    let connection = Connection::open(&address, "default").await?;
    let request = start_request(&connection, &workload);
    let mut tick = tokio::time::interval(PROBE_EVERY);
    let mut probes = Probes::default();
    loop {
        tokio::select! {
            _ = &mut stopped => return Ok(probes),
            _ = tick.tick() => {}
        }
        let began = Instant::now();
        let mut sagas = connection.sagas();
        let answer = sagas.start_saga(request.clone());
        let accepted = tokio::time::timeout(PROBE_WITHIN, answer).await;
        probes.made += 1;
        probes.refused += u64::from(!accepted.is_ok_and(|answer| answer.is_ok()));
        probes.slowest = probes.slowest.max(began.elapsed());
    }
}
