//! What retention costs: sagas that are forgotten seconds after their end, as many as an hour brings; the database's size
//! and dead rows all along, and throughput beside that of sagas that are kept. Deliberately not here: that what is
//! forgotten is gone, which the stores' own tests show.

use std::time::Duration;

use tokio::time::Instant;

use super::bed::{Bed, Leg, Sample};
use super::load::{self, describe};
use super::plan::Pace;
use super::report::{Line, Report, Wanted, figure, rate};
use super::workload::Workload;
use crate::arguments::Global;
use crate::arguments::bench::ChurnArguments;
use crate::failure::Failure;
use crate::output::say;

/// How long a saga is kept after its end.
const KEPT_SECONDS: u32 = 10;
/// How often a server looks for what has expired.
const SWEEP_MS: u64 = 1_000;
/// One stretch of the churn, after which size and dead rows are read.
const STRETCH: Duration = Duration::from_secs(20);
/// The first stretches fill the database up to what it holds from then on.
const STRETCHES_OF_FILLING: usize = 3;
/// How much larger the database may be at the end than when it was filled.
const GROWTH_MAX: f64 = 1.5;
/// What retention leaves of the throughput.
const SHARE_MIN: f64 = 0.8;
const MIB: f64 = 1_048_576.0;

/// Measures churn.
///
/// # Errors
/// If something cannot be measured.
pub async fn run(global: &Global, arguments: &ChurnArguments) -> Result<Report, Failure> {
    let mut bed = Bed::open(global, &arguments.target).await?;
    let mut report = Report::new();
    describe(&mut bed, &mut report).await?;
    let leg = |workload: Workload| Leg {
        workload,
        pace: Pace::InFlight(arguments.in_flight),
        starts: arguments.starts,
        sagas: None,
        length: STRETCH,
    };
    say("sagas that are kept");
    let kept = bed.run(&leg(Workload::Happy)).await?;
    if bed.database()?.cluster().is_some() {
        bed.database()?.renew().await?;
    }
    let settings = [("AMENDS__RETENTION_INTERVAL_MS", SWEEP_MS.to_string())];
    let mut server = bed.start_server(&settings).await?;
    let (address, process) = (server.address().to_owned(), server.process().id());
    let forgotten = leg(Workload::Forgotten(KEPT_SECONDS));
    let began = Instant::now();
    let (mut sagas, mut sizes, mut samples) = (0, Vec::new(), Vec::new());
    while sagas < arguments.sagas {
        let sample = bed.load(&forgotten, &address, process).await?;
        sagas += sample.measured.sagas;
        say(format!(
            "{sagas} of {} sagas after {} s",
            arguments.sagas,
            began.elapsed().as_secs()
        ));
        report.errors.extend(sample.error("churn"));
        if sample.measured.sagas == 0 {
            break;
        }
        let line = stretch(&mut bed, &sample, sagas, &mut sizes).await?;
        report.lines.push(line);
        samples.push(sample);
    }
    server.process().stop().await?;
    let place = bed.place();
    report.lines.push(load::line(
        "kept",
        &format!("{place}, sagas that are kept"),
        0.0,
        std::slice::from_ref(&kept),
    ));
    let shares = samples
        .iter()
        .map(|sample| sample.sagas_per_second() / kept.sagas_per_second());
    let what = format!("{place}: sagas/s while sagas are forgotten, for each where all are kept");
    report.bound(what, shares.collect(), Wanted::AtLeast(SHARE_MIN));
    if let (Some(filled), Some(last)) = (sizes.get(STRETCHES_OF_FILLING - 1), sizes.last()) {
        let what =
            format!("{place}: the database's size at the end, for each byte once it was filled");
        report.bound(what, vec![last / filled], Wanted::AtMost(GROWTH_MAX));
    }
    Ok(report)
}

async fn stretch(
    bed: &mut Bed,
    sample: &Sample,
    sagas: u64,
    sizes: &mut Vec<f64>,
) -> Result<Line, Failure> {
    let variant = format!("{}, after {sagas} sagas", bed.place());
    let mut line = load::line(
        "churn",
        &variant,
        rate(sagas, 1.0),
        std::slice::from_ref(sample),
    )
    .in_series(bed.place());
    let size = match bed.counters().await? {
        Some(mut counters) => {
            let (live, dead) = counters.tuples().await?;
            line.add(figure::LIVE_TUPLES, rate(live, 1.0));
            line.add(figure::DEAD_TUPLES, rate(dead, 1.0));
            counters.size_bytes().await?
        }
        None => bed.database()?.file_bytes(),
    };
    line.add(figure::DATABASE_MIB, rate(size, MIB));
    sizes.push(rate(size, MIB));
    Ok(line)
}
