//! Timeouts: holes filled from the participant, `defaults` and the language; none outlasts what bounds it: an attempt all
//! attempts, a heartbeat its attempt, a step the saga's deadline.

use std::time::Duration;

use super::participants;
use crate::definition::{Deadline, Timeouts};
use crate::diagnostic::Report;
use crate::document::draft::{CallDraft, Draft, SleepDraft, StepDraft, WorkDraft};
use crate::document::duration;
use crate::document::fields::Spanned;
use crate::document::policy::TimeoutFields;
use crate::limits::ATTEMPT_DEFAULT;

/// A step's whole timeouts: its own fields, then its participant's, then `defaults`, then the language.
pub(super) fn of_step(draft: &Draft<'_>, step: &StepDraft<'_>, report: &mut Report) -> Timeouts {
    let deadline = draft.deadline;
    let Some(call) = step.call() else {
        let time = match &step.work {
            Some(WorkDraft::Wait(wait)) => wait.timeout.as_ref(),
            Some(WorkDraft::Sleep(SleepDraft::For(time))) => Some(time),
            _ => None,
        };
        check_deadline(time, deadline, report);
        return Timeouts {
            attempt: ATTEMPT_DEFAULT,
            total: None,
            schedule: None,
            heartbeat: None,
        };
    };
    let mut layers = vec![(&call.timeout, true)];
    let participant = participants::of_action(draft, call.action.as_ref());
    layers.extend(participant.map(|known| (&known.defaults.timeout, true)));
    layers.push((&draft.defaults.timeout, true));
    resolve(&layers, deadline, report)
}

/// The whole timeouts of a compensation: its own fields, then those of `compensation`, then its participant's, then the
/// language. What all attempts of a call may take does not bound a compensation.
pub(super) fn of_compensation(
    draft: &Draft<'_>,
    call: &CallDraft<'_>,
    report: &mut Report,
) -> Timeouts {
    let mut layers = vec![
        (&call.timeout, true),
        (&draft.compensation_defaults.timeout, true),
    ];
    let participant = participants::of_action(draft, call.action.as_ref());
    layers.extend(participant.map(|known| (&known.defaults.timeout, false)));
    resolve(&layers, None, report)
}

/// Fields in the order in which they fill holes, and if their `total` counts.
fn resolve(
    layers: &[(&TimeoutFields, bool)],
    deadline: Option<Deadline>,
    report: &mut Report,
) -> Timeouts {
    let first = |of: fn(&TimeoutFields) -> &Option<Spanned<Duration>>| {
        layers.iter().find_map(|(fields, _)| of(fields).as_ref())
    };
    let attempt = first(|fields| &fields.attempt);
    let schedule = first(|fields| &fields.schedule);
    let heartbeat = first(|fields| &fields.heartbeat);
    let mut bounding = layers.iter().filter(|(_, bounding)| *bounding);
    let total = bounding.find_map(|(fields, _)| fields.total.as_ref());
    check_deadline(attempt, deadline, report);
    check_deadline(total, deadline, report);
    if let (Some(attempt), Some(total)) = (attempt, total)
        && attempt.value > total.value
    {
        report
            .error(
                "ATTEMPT_ABOVE_TOTAL",
                "the timeout of one attempt is longer than that of all attempts together",
                attempt.span.clone(),
            )
            .help("make `attempt` shorter or `total` longer");
    }
    let total = total.map(|total| total.value);
    let whole = [total, deadline.map(|deadline| deadline.after)];
    let default = whole
        .into_iter()
        .flatten()
        .fold(ATTEMPT_DEFAULT, Duration::min);
    let attempt = attempt.map_or(default, |attempt| attempt.value);
    if let Some(heartbeat) = heartbeat
        && heartbeat.value >= attempt
    {
        let message = format!(
            "a heartbeat of {} is not shorter than an attempt, which is {}",
            duration::format(heartbeat.value),
            duration::format(attempt)
        );
        report
            .error("HEARTBEAT_ABOVE_ATTEMPT", message, heartbeat.span.clone())
            .help("make `heartbeat` shorter: a few of them belong into one attempt");
    }
    Timeouts {
        attempt,
        total,
        schedule: schedule.map(|schedule| schedule.value),
        heartbeat: heartbeat.map(|heartbeat| heartbeat.value),
    }
}

fn check_deadline(
    time: Option<&Spanned<Duration>>,
    deadline: Option<Deadline>,
    report: &mut Report,
) {
    let (Some(time), Some(Deadline { after, .. })) = (time, deadline) else {
        return;
    };
    if time.value <= after {
        return;
    }
    let message = format!(
        "a step may take {}, and the whole saga only {}",
        duration::format(time.value),
        duration::format(after)
    );
    report
        .error("TIMEOUT_ABOVE_DEADLINE", message, time.span.clone())
        .help("make it shorter, or `timeout` of the definition longer");
}
