//! Curves: what a step costs in sagas of ever more steps, and what a payload costs that grows. Deliberately not here: loads
//! of one kind of saga (`load`).

use std::time::Duration;

use super::bed::{Bed, Leg, Sample};
use super::load::{self, Part, describe, rounds};
use super::meter::Group;
use super::plan::Pace;
use super::report::{Report, Wanted, figure};
use super::workload::Workload;
use crate::arguments::Global;
use crate::arguments::bench::CurveArguments;
use crate::failure::Failure;

/// Attempts that are under way at once, whatever the sagas look like.
const ATTEMPTS_IN_FLIGHT: u32 = 512;
/// Steps of sagas that have them in a row, or all at once.
const STEPS: [u32; 4] = [3, 10, 30, 100];
/// Items of sagas that have one step for each.
const ITEMS: [u32; 4] = [3, 30, 300, 1_000];
/// Payloads, in bytes.
const PAYLOADS: [u32; 7] = [24, 256, 4_096, 16_384, 65_536, 262_144, 1_048_576];
/// Bytes of payloads that are in flight at once, at most.
const PAYLOAD_BYTES_IN_FLIGHT: u32 = 16 << 20;
/// Sagas with payloads that are in flight at once, at most.
const PAYLOADS_IN_FLIGHT: u32 = 64;
/// What a part of the largest saga may cost of the CPU, for each that it costs in the one before.
const LINEAR: f64 = 1.5;

/// Measures sagas of ever more steps.
///
/// # Errors
/// If nothing can be measured.
pub async fn wide(global: &Global, arguments: &CurveArguments) -> Result<Report, Failure> {
    let sequences = STEPS.map(Workload::Sequence);
    let parallels = STEPS.map(Workload::Parallel);
    let items = ITEMS.map(Workload::Foreach);
    let points = [sequences, parallels, items].concat();
    let points = points.into_iter().map(|workload| {
        let size = u32::try_from(workload.attempts()).unwrap_or(u32::MAX);
        let in_flight = match workload.width() {
            1 => PAYLOADS_IN_FLIGHT,
            width => (ATTEMPTS_IN_FLIGHT / width).max(1),
        };
        (workload, size, in_flight)
    });
    let mut report = Report::new();
    let curves = curve(global, arguments, points.collect(), &mut report).await?;
    for (workload, per_attempt) in ends(&curves, |workload| {
        u32::try_from(workload.attempts()).unwrap_or(1)
    }) {
        report.bound(
            format!(
                "{workload}: server CPU of a step in the largest saga, for each of one with a third of the steps"
            ),
            per_attempt,
            Wanted::AtMost(LINEAR),
        );
    }
    Ok(report)
}

/// Measures sagas with payloads of ever more bytes.
///
/// # Errors
/// If nothing can be measured.
pub async fn payload(global: &Global, arguments: &CurveArguments) -> Result<Report, Failure> {
    let points = PAYLOADS.map(|bytes| {
        let in_flight = (PAYLOAD_BYTES_IN_FLIGHT / bytes).clamp(1, PAYLOADS_IN_FLIGHT);
        (Workload::Payload(bytes), bytes, in_flight)
    });
    let mut report = Report::new();
    let curves = curve(global, arguments, points.to_vec(), &mut report).await?;
    let size = |workload: &Workload| match workload {
        Workload::Payload(bytes) => *bytes,
        _ => 1,
    };
    for (workload, per_byte) in ends(&curves, size) {
        report.bound(
            format!("{workload}: server CPU of a byte in the largest payload, for each of one with a quarter of the bytes"),
            per_byte,
            Wanted::AtMost(LINEAR),
        );
    }
    Ok(report)
}

type Curve = Vec<(Workload, Vec<Sample>)>;

async fn curve(
    global: &Global,
    arguments: &CurveArguments,
    points: Vec<(Workload, u32, u32)>,
    report: &mut Report,
) -> Result<Curve, Failure> {
    let mut bed = Bed::open(global, &arguments.target).await?;
    describe(&mut bed, report).await?;
    let leg = |(workload, _, in_flight): &(Workload, u32, u32)| {
        Part::Engine(Leg {
            workload: workload.clone(),
            pace: Pace::InFlight(*in_flight),
            starts: arguments.starts,
            sagas: None,
            length: Duration::from_secs(arguments.seconds),
        })
    };
    let parts: Vec<Part> = points.iter().map(leg).collect();
    let samples = rounds(&mut bed, &parts, arguments.pairs).await?;
    for ((workload, x, in_flight), samples) in points.iter().zip(&samples) {
        let variant = format!(
            "{}, {}, {in_flight} in flight",
            bed.place(),
            workload.size()
        );
        let errors = samples.iter().filter_map(|sample| sample.error(&variant));
        report.errors.extend(errors);
        let mut line = load::line(workload.name(), &variant, f64::from(*x), samples)
            .in_series(workload.name());
        for sample in samples {
            for (figure, group) in [
                (figure::SERVER_CPU_US_PER_ATTEMPT, Group::Server),
                (figure::POSTGRES_CPU_US_PER_ATTEMPT, Group::Postgres),
            ] {
                if let Some(micros) = sample.cpu_us(group) {
                    line.add(figure, micros / super::report::rate(sample.attempts, 1.0));
                }
            }
        }
        report.lines.push(line);
    }
    let workloads = points.into_iter().map(|(workload, _, _)| workload);
    Ok(workloads.zip(samples).collect())
}

/// Of each kind of saga, what one of its parts costs the server in the largest for each that it costs in the one before.
fn ends(curve: &Curve, size: impl Fn(&Workload) -> u32) -> Vec<(&'static str, Vec<f64>)> {
    let cost = |(workload, sample): (&Workload, &Sample)| {
        Some(sample.cpu_us(Group::Server)? / f64::from(size(workload)))
    };
    let pair = |pair: &[(Workload, Vec<Sample>)]| {
        let [(small, fewer), (large, more)] = pair else {
            return None;
        };
        let ratios = fewer.iter().zip(more);
        let ratios = ratios
            .filter_map(|(fewer, more)| Some(cost((large, more))? / cost((small, fewer))?))
            .collect();
        Some((large.name(), ratios))
    };
    let last_of_kind = |index: usize| {
        curve
            .get(index + 2)
            .is_none_or(|(next, _)| next.name() != curve[index + 1].0.name())
    };
    (0..curve.len().saturating_sub(1))
        .filter(|index| last_of_kind(*index))
        .filter_map(|index| pair(&curve[index..index + 2]))
        .collect()
}
