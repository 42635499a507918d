//! What a step does goes with its kind: only what has an effect outside the saga can be a pivot, only a saga that can still abort
//! fails on purpose.

use crate::definition::Kind;
use crate::diagnostic::Report;
use crate::document::draft::{Draft, FailDraft, StepDraft, WaitDraft, WorkDraft};
use crate::document::fields::Spanned;
use crate::json::shortened;
use crate::suggestion::nearest;

/// Codes that `onError` knows as sorts of failures.
pub(super) const FIXED_CODES: [&str; 2] = ["EXHAUSTED", "FATAL"];

pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    for step in &draft.steps {
        match &step.work {
            Some(WorkDraft::Call { call, query }) => {
                if let (Some(action), Some(query)) = (&call.action, query)
                    && action.value == query.value
                {
                    report
                        .error(
                            "QUERY_IS_CALL",
                            "`query` calls the action itself",
                            query.span.clone(),
                        )
                        .help("a query only looks: name an action that has no effect");
                }
            }
            Some(WorkDraft::Wait(wait)) => {
                not_a_pivot(step, "wait", report);
                check_wait(draft, step, wait, report);
            }
            Some(WorkDraft::Sleep(_)) => not_a_pivot(step, "sleep", report),
            Some(WorkDraft::Emit(_)) => not_a_pivot(step, "emit", report),
            Some(WorkDraft::Fail(fail)) => {
                not_a_pivot(step, "fail", report);
                check_fail(step, fail, report);
            }
            Some(WorkDraft::Saga(_)) | None => {}
        }
    }
}

fn not_a_pivot(step: &StepDraft<'_>, work: &str, report: &mut Report) {
    if step.kind.value != Kind::Pivot {
        return;
    }
    let message = format!(
        "step `{}` cannot be the pivot: `{work}` has no effect outside the saga",
        step.id.value
    );
    report
        .error("NOT_WELL_FORMED", message, step.kind.span.clone())
        .help("the pivot is a `call` or a `saga`");
}

fn check_wait(draft: &Draft<'_>, step: &StepDraft<'_>, wait: &WaitDraft, report: &mut Report) {
    if let Some(then) = &wait.on_timeout {
        super::routes::check_then(step, then, "onTimeout", report);
    }
    let Some(signal) = &wait.signal else {
        return;
    };
    if draft
        .signals
        .iter()
        .all(|known| known.id.value != signal.value)
    {
        unknown_signal(draft, signal, report);
    }
}

/// Reports a signal that is not declared.
pub(super) fn unknown_signal(draft: &Draft<'_>, signal: &Spanned<String>, report: &mut Report) {
    let known = draft.signals.iter().map(|known| known.id.value.as_str());
    let help = match nearest(&signal.value, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "declare it: `signals: {<id>: {schema: …}}`".to_owned(),
    };
    let message = format!("there is no signal `{}`", shortened(&signal.value));
    report
        .error("UNKNOWN_SIGNAL", message, signal.span.clone())
        .help(help);
}

fn check_fail(step: &StepDraft<'_>, fail: &FailDraft<'_>, report: &mut Report) {
    if step.kind.value == Kind::Retriable {
        let message = format!(
            "the retriable step `{}` fails on purpose, where the saga can only go forward",
            step.id.value
        );
        report
            .error("NOT_WELL_FORMED", message, step.kind.span.clone())
            .help("let the saga decide before its point of no return");
    }
    let Some(code) = &fail.code else {
        return;
    };
    super::names::check_code(code, report);
    if FIXED_CODES.contains(&code.value.as_str()) {
        let message = format!("`{}` is a sort of failures in `onError`", code.value);
        report
            .error("WRONG_VALUE", message, code.span.clone())
            .help("give the failure a code of its own");
    }
}
