//! `onError`: where a definite failure leads is somewhere the saga can still go.

use super::works::FIXED_CODES;
use crate::definition::{Kind, Then};
use crate::diagnostic::Report;
use crate::document::draft::{Draft, RouteDraft, StepDraft, WorkDraft};
use crate::document::fields::Spanned;

pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    for step in &draft.steps {
        let mut all_taken = false;
        for route in &step.on_error {
            check_route(step, route, report);
            if all_taken {
                let message = "no failure comes to this route: the one before takes them all";
                report
                    .warning("UNREACHABLE_ROUTE", message, route.span.clone())
                    .help("put the route without `codes` and `when` last");
            }
            all_taken |= route.codes.is_empty() && route.when.is_none();
        }
    }
}

/// A retriable step stands where the saga can only go forward.
pub(super) fn check_then(
    step: &StepDraft<'_>,
    then: &Spanned<Then>,
    key: &str,
    report: &mut Report,
) {
    if step.kind.value != Kind::Retriable || then.value != Then::Compensate {
        return;
    }
    let message = format!(
        "the retriable step `{}` stands where the saga can only go forward: `{key}` cannot be `compensate`",
        step.id.value
    );
    report
        .error("NOT_WELL_FORMED", message, then.span.clone())
        .help("write `park` or `continue`");
}

fn check_route(step: &StepDraft<'_>, route: &RouteDraft<'_>, report: &mut Report) {
    for code in &route.codes {
        if !FIXED_CODES.contains(&code.value.as_str()) {
            super::names::check_code(code, report);
        }
    }
    if let Some(WorkDraft::Wait(_)) = &step.work
        && let Some(code) = route.codes.iter().find(|code| code.value == "WAIT_TIMEOUT")
    {
        let message = "no failure comes to this route: a wait whose time is over goes where `wait.onTimeout` says";
        report
            .warning("UNREACHABLE_ROUTE", message, code.span.clone())
            .help("set `wait.onTimeout`");
    }
    let Some(then) = &route.then else {
        return;
    };
    check_then(step, then, "then", report);
    if let Some(output) = route.output
        && then.value != Then::Continue
    {
        report
            .error(
                "KEY_NOT_APPLICABLE",
                "`output` goes with `then: continue` alone",
                output.span.clone(),
            )
            .help("remove it: the step has no output where the saga does not go on");
    }
}
