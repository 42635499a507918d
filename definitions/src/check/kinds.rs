//! Kinds: `compensatable* pivot? retriable*` on the whole DAG, so that at any moment a saga can either go back or go on.

use crate::definition::{Kind, StepIndex};
use crate::diagnostic::Report;
use crate::document::draft::Draft;
use crate::graph::{self, Graph};

const CODE: &str = "NOT_WELL_FORMED";

pub(super) fn check(draft: &Draft<'_>, graph: &Graph, report: &mut Report) {
    for step in &draft.steps {
        if step.kind.value == Kind::Pivot
            && let Some(foreach) = &step.foreach
        {
            let message = format!("the pivot `{}` stands under `foreach`", step.id.value);
            report
                .error(CODE, message, foreach.span.clone())
                .help("a point of no return is passed once: do the list in one call, or make the step compensatable or retriable");
        }
    }
    check_order(draft, graph, report);
}

fn check_order(draft: &Draft<'_>, graph: &Graph, report: &mut Report) {
    let of = |kind: Kind| {
        let steps = draft.steps.iter().enumerate();
        steps
            .filter(move |(_, step)| step.kind.value == kind)
            .map(|(place, _)| graph::index(place))
            .collect::<Vec<StepIndex>>()
    };
    let id = |step: StepIndex| draft.steps[step.index()].id.value.as_str();
    let span = |step: StepIndex| draft.steps[step.index()].kind.span.clone();
    let pivots = of(Kind::Pivot);
    for second in pivots.iter().skip(1) {
        let message = format!(
            "`{}` is a second pivot, after `{}`",
            id(*second),
            id(pivots[0])
        );
        report.error(CODE, message, span(*second)).help(
            "a saga has one point of no return: make the other step compensatable or retriable",
        );
    }
    let compensatables = of(Kind::Compensatable);
    if let Some(pivot) = pivots.first() {
        for step in &compensatables {
            if graph.ancestors(*pivot).contains(step) {
                continue;
            }
            let where_it_is = if graph.descendants(*pivot).contains(step) {
                "behind"
            } else {
                "beside"
            };
            let message = format!(
                "the compensatable step `{}` is {where_it_is} the pivot `{}`: after the pivot's success nothing is compensated",
                id(*step),
                id(*pivot)
            );
            report
                .error(CODE, message, draft.steps[step.index()].id.span.clone())
                .help(format!(
                    "make it `kind: retriable`, or let `{}` need it",
                    id(*pivot)
                ));
        }
    }
    for step in of(Kind::Retriable) {
        let ancestors = graph.ancestors(step);
        for other in compensatables.iter().chain(&pivots) {
            if ancestors.contains(other) {
                continue;
            }
            let relation = if graph.descendants(step).contains(other) {
                "before"
            } else {
                "beside"
            };
            let message = format!(
                "the retriable step `{}` is {relation} `{}`, which can still abort the saga",
                id(step),
                id(*other)
            );
            report.error(CODE, message, span(step)).help(format!(
                "let `{}` need `{}`, directly or through others",
                id(step),
                id(*other)
            ));
            break;
        }
    }
}
