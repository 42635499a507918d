//! Timeouts: holes filled from `defaults` and the language, and no attempt that outlasts all attempts.

use std::time::Duration;

use crate::definition::Timeouts;
use crate::diagnostic::Report;
use crate::document::policy::TimeoutFields;

const ATTEMPT: Duration = Duration::from_secs(30);

/// Whole timeouts: the step's own fields, then `defaults`, then the language.
pub(super) fn resolve(
    own: &TimeoutFields,
    default: Option<&TimeoutFields>,
    report: &mut Report,
) -> Timeouts {
    let none = TimeoutFields::default();
    let default = default.unwrap_or(&none);
    let attempt = own.attempt.as_ref().or(default.attempt.as_ref());
    let total = own.total.as_ref().or(default.total.as_ref());
    let schedule = own.schedule.as_ref().or(default.schedule.as_ref());
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
    Timeouts {
        attempt: match (attempt, total) {
            (Some(attempt), _) => attempt.value,
            (None, Some(total)) => ATTEMPT.min(total),
            (None, None) => ATTEMPT,
        },
        total,
        schedule: schedule.map(|schedule| schedule.value),
        heartbeat: None,
    }
}
