//! Reach: no step stands behind one that always fails the saga.

use crate::definition::Then;
use crate::diagnostic::Report;
use crate::document::draft::{Draft, StepDraft, WorkDraft};
use crate::graph::{self, Graph};

pub(super) fn check(draft: &Draft<'_>, graph: &Graph, report: &mut Report) {
    for (place, step) in draft.steps.iter().enumerate() {
        if !always_fails(step) {
            continue;
        }
        for behind in graph.dependants(graph::index(place)) {
            let behind = &draft.steps[behind.index()].id;
            let message = format!(
                "step `{}` is never reached: `{}` before it always fails",
                behind.value, step.id.value
            );
            report
                .error("UNREACHABLE_STEP", message, behind.span.clone())
                .help(format!(
                    "give `{}` a `when`, or `{}` other `needs`",
                    step.id.value, behind.value
                ));
        }
    }
}

fn always_fails(step: &StepDraft<'_>) -> bool {
    let goes_on = step.on_error.iter().any(|route| {
        let then = route.then.as_ref().map(|then| then.value);
        then != Some(Then::Compensate)
    });
    matches!(step.work, Some(WorkDraft::Fail(_)))
        && step.when.is_none()
        && step.foreach.is_none()
        && !goes_on
}
