//! `bench`: what sagas cost, on a server and a database that are started for it, beside the floor: what the database alone
//! allows for the same rows through the same statement. Deliberately not here: comparisons with other systems.

mod anchors;
mod backlog;
mod bed;
mod churn;
mod client;
mod companion;
mod curves;
mod database;
mod floor;
mod journals;
mod load;
mod meter;
mod parked;
mod participant;
mod plan;
mod recovery;
mod report;
mod rows;
mod still;
mod suite;
mod wire;
mod workload;

use std::time::Duration;

use amends_proto::v1 as proto;

use crate::arguments::Global;
use crate::arguments::bench::{BenchArguments, ParkedArguments, Scenario, Telling};
use crate::children::interrupted;
use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, show, write_out};

use bed::Bed;
use report::Report;
use workload::Workload;

/// Measures; the exit is [`Exit::Wrong`] if a saga failed, or a bound does not hold.
///
/// # Errors
/// If nothing can be measured.
pub async fn run(global: &Global, arguments: &BenchArguments) -> Result<Exit, Failure> {
    tokio::select! {
        // What was started for it ends as it is dropped.
        () = interrupted() => Err(Failure::wrong("the measurement was interrupted")),
        result = measure(global, &arguments.scenario) => result,
    }
}

async fn measure(global: &Global, scenario: &Scenario) -> Result<Exit, Failure> {
    let (report, telling) = match scenario {
        Scenario::Client { plan } => return client::run(global, plan).await,
        Scenario::Participant { plan } => return participant::run(global, plan).await,
        Scenario::Parked(arguments) => return of_parked(global, arguments).await,
        Scenario::Echo { .. } => return anchors::serve().await,
        Scenario::Happy(arguments) => (
            load::run(global, &Workload::Happy, arguments).await?,
            &arguments.telling,
        ),
        Scenario::Failing(arguments) => (
            load::run(global, &Workload::Failing, arguments).await?,
            &arguments.telling,
        ),
        Scenario::Recovery(arguments) => {
            (recovery::run(global, arguments).await?, &arguments.telling)
        }
        Scenario::Backlog(arguments) => {
            (backlog::run(global, arguments).await?, &arguments.telling)
        }
        Scenario::Idle(arguments) => (still::idle(global, arguments).await?, &arguments.telling),
        Scenario::Memory(arguments) => {
            (still::memory(global, arguments).await?, &arguments.telling)
        }
        Scenario::Churn(arguments) => (churn::run(global, arguments).await?, &arguments.telling),
        Scenario::Suite(arguments) => (suite::run(global, arguments).await?, &arguments.telling),
        Scenario::Wide(arguments) => (curves::wide(global, arguments).await?, &arguments.telling),
        Scenario::Payload(arguments) => (
            curves::payload(global, arguments).await?,
            &arguments.telling,
        ),
    };
    tell(global, &report, telling)?;
    Ok(if report.failed() {
        Exit::Wrong
    } else {
        Exit::Ok
    })
}

fn tell(global: &Global, report: &Report, telling: &Telling) -> Result<(), Failure> {
    if let Some(file) = &telling.plot {
        let written = std::fs::write(file, report.plot()?);
        written.map_err(|error| {
            Failure::wrong(format!("{} was not written", file.display())).because(error)
        })?;
    }
    if telling.markdown && global.output == Format::Table {
        return write_out(&report.markdown());
    }
    show(global.output, report)
}

async fn of_parked(global: &Global, arguments: &ParkedArguments) -> Result<Exit, Failure> {
    let mut bed = Bed::open(global, &arguments.target).await?;
    let name = bed.database()?.store().name();
    let url = bed.database()?.url().to_owned();
    let plan = parked::Plan {
        sagas: arguments.sagas,
        over: Duration::from_secs(arguments.wake_over),
    };
    let filled = parked::fill(bed.database()?.open_store().await?, plan).await?;
    let store = bed.database()?.open_store().await?;
    let view = parked::measure(bed.directory(), name, &url, store, filled).await?;
    show(global.output, &view)?;
    Ok(if view.failed() { Exit::Wrong } else { Exit::Ok })
}

/// What makes a workload's definition the newest revision.
fn apply_request(connection: &Connection, workload: &Workload) -> proto::ApplyDefinitionRequest {
    proto::ApplyDefinitionRequest {
        parent: connection.parent(),
        source: workload.source(),
        definition_id: workload.definition_id(),
    }
}
