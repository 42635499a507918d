//! Compensations: every compensatable call says what undoes it, or why nothing has to; no other step says either.

use crate::definition::Kind;
use crate::diagnostic::Report;
use crate::document::draft::{Draft, WorkDraft};

pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    for step in &draft.steps {
        let id = &step.id.value;
        match (&step.work, step.kind.value, &step.compensate) {
            (Some(WorkDraft::Call { .. }), Kind::Compensatable, None) => report
                .error(
                    "COMPENSATION_MISSING",
                    format!("the compensatable step `{id}` does not say what undoes it"),
                    step.id.span.clone(),
                )
                .help("add `compensate: {call: participant.action}`, or `compensate: {none: \"why\"}`"),
            (Some(WorkDraft::Call { .. }), Kind::Pivot | Kind::Retriable, Some(compensate)) => report
                .error(
                    "COMPENSATION_NOT_APPLICABLE",
                    format!("step `{id}` is never compensated: it is a pivot or retriable"),
                    compensate.span.clone(),
                )
                .help("remove `compensate`, or make the step compensatable"),
            (Some(WorkDraft::Saga(_)), _, Some(compensate)) => report
                .error(
                    "COMPENSATION_NOT_APPLICABLE",
                    format!("step `{id}` runs a saga: undoing it is undoing that saga"),
                    compensate.span.clone(),
                )
                .help("remove `compensate`: the steps of the child say how each is undone"),
            _ => {}
        }
    }
}
