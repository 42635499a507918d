//! Servers at rest: what an idle one costs, and what sagas in flight cost in memory that wait for a participant.
//! Deliberately not here: sagas that wait for a signal, which leave memory (`parked`).

use std::time::Duration;

use super::bed::Bed;
use super::load::describe;
use super::meter::{Group, Meter, Watched, resident_bytes};
use super::plan::ParticipantPlan;
use super::recovery;
use super::report::{Line, Report, Wanted, figure, rate};
use super::workload::Workload;
use crate::arguments::Global;
use crate::arguments::bench::{IdleArguments, MemoryArguments};
use crate::failure::Failure;
use crate::output::say;

/// A server has this long to come to rest.
const CALM: Duration = Duration::from_secs(5);
/// A connection of PostgreSQL that is idle tells what it did within ten seconds: what the start did is told by then.
const COUNTED: Duration = Duration::from_secs(12);
/// What an idle server may take.
const CPU_PERCENT_MAX: f64 = 1.0;
const STATEMENTS_PER_SECOND_MAX: f64 = 2.0;
const RESIDENT_MIB_MAX: f64 = 50.0;
/// One participant is attached, as to most servers.
const CONCURRENCY: u32 = 64;
const MIB: f64 = 1_048_576.0;

/// Measures an idle server.
///
/// # Errors
/// If it does not start.
pub async fn idle(global: &Global, arguments: &IdleArguments) -> Result<Report, Failure> {
    let mut bed = Bed::open(global, &arguments.target).await?;
    let mut report = Report::new();
    describe(&mut bed, &mut report).await?;
    let mut line = Line::new("idle", format!("{}, one participant", bed.place()), None);
    for _ in 0..arguments.pairs {
        rest(&mut bed, Duration::from_secs(arguments.seconds), &mut line).await?;
    }
    let place = bed.place();
    for (what, figure, most) in [
        ("percent of a core", figure::CPU_PERCENT, CPU_PERCENT_MAX),
        (
            "statements a second",
            figure::STATEMENTS_PER_SECOND,
            STATEMENTS_PER_SECOND_MAX,
        ),
        (
            "MiB of resident memory",
            figure::RESIDENT_MIB,
            RESIDENT_MIB_MAX,
        ),
    ] {
        let what = format!("{place}: {what} of an idle server");
        report.bound(what, line.values(figure).to_vec(), Wanted::AtMost(most));
    }
    report.lines.push(line);
    Ok(report)
}

async fn rest(bed: &mut Bed, length: Duration, line: &mut Line) -> Result<(), Failure> {
    let mut server = bed.start_server(&[]).await?;
    let address = server.address().to_owned();
    let plan = ParticipantPlan {
        concurrency: CONCURRENCY,
    };
    let participant = bed.start_participant(&address, &plan)?;
    tokio::time::sleep(CALM + COUNTED).await;
    say(format!("an idle server for {} s", length.as_secs()));
    let process = server.process().id();
    let meter = Meter::default().watch(Group::Server, process.map(Watched::Process));
    let mut counters = bed.counters().await?;
    let mut statements = Vec::new();
    if let Some(counters) = &mut counters {
        statements.push(counters.statements().await?);
    }
    let before = meter.read();
    tokio::time::sleep(length).await;
    let used = meter.read().since(&before);
    if let Some(counters) = &mut counters {
        statements.push(counters.statements().await?);
    }
    if let Some(cpu) = used.of(Group::Server) {
        let percent = cpu.as_secs_f64() / length.as_secs_f64() * 100.0;
        line.add(figure::CPU_PERCENT, percent);
    }
    if let [before, after] = statements[..] {
        // The reading of the counter itself is one of them.
        let count = after.saturating_sub(before).saturating_sub(1);
        line.add(
            figure::STATEMENTS_PER_SECOND,
            rate(count, length.as_secs_f64()),
        );
    }
    if let Some((now, _)) = resident_bytes(process) {
        line.add(figure::RESIDENT_MIB, rate(now, MIB));
    }
    participant.stop().await?;
    server.process().stop().await
}

/// Measures what sagas in flight take of a server's memory.
///
/// # Errors
/// If they cannot be started.
pub async fn memory(global: &Global, arguments: &MemoryArguments) -> Result<Report, Failure> {
    let mut bed = Bed::open(global, &arguments.target).await?;
    let mut report = Report::new();
    describe(&mut bed, &mut report).await?;
    let mut server = bed.start_server(&[]).await?;
    let address = server.address().to_owned();
    let process = server.process().id();
    // The first ones bring what every server has that works.
    recovery::start(&address, &Workload::Held, 1).await?;
    tokio::time::sleep(CALM).await;
    let empty = resident_bytes(process).map_or(0, |(now, _)| now);
    let mut started = 0;
    for sagas in &arguments.sagas {
        say(format!("{sagas} sagas in flight"));
        recovery::start(&address, &Workload::Held, sagas.saturating_sub(started)).await?;
        started = started.max(*sagas);
        tokio::time::sleep(CALM).await;
        let variant = format!("{}, {started} in flight", bed.place());
        let mut line =
            Line::new("memory", variant, Some(rate(started, 1.0))).in_series(bed.place());
        let Some((now, _)) = resident_bytes(process) else {
            report
                .notes
                .push("Only Linux tells how much memory a process takes.".to_owned());
            break;
        };
        line.add(figure::RESIDENT_MIB, rate(now, MIB));
        line.add(
            figure::RESIDENT_BYTES_PER_SAGA,
            rate(now.saturating_sub(empty), rate(started, 1.0)),
        );
        report.lines.push(line);
    }
    // Their participant never comes: a server that is told to end would wait for nothing.
    server.process().kill().await?;
    Ok(report)
}
