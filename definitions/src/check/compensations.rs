//! Compensations: every compensatable step says what undoes it, or why nothing has to; no other step says either.

use crate::definition::Kind;
use crate::diagnostic::Report;
use crate::document::draft::Draft;

pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    for step in &draft.steps {
        let id = &step.id.value;
        match (step.kind.value, &step.compensate) {
            (Kind::Compensatable, None) => report
                .error(
                    "COMPENSATION_MISSING",
                    format!("the compensatable step `{id}` does not say what undoes it"),
                    step.id.span.clone(),
                )
                .help("add `compensate: {call: participant.action}`, or `compensate: {none: \"why\"}`"),
            (Kind::Pivot | Kind::Retriable, Some(compensate)) => report
                .error(
                    "COMPENSATION_NOT_APPLICABLE",
                    format!("step `{id}` is never compensated: it is a pivot or retriable"),
                    compensate.span.clone(),
                )
                .help("remove `compensate`, or make the step compensatable"),
            _ => {}
        }
    }
}
