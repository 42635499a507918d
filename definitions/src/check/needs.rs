//! Needs: each names another step, and together they have no cycle. Without `needs` a step needs the step above.

use std::collections::BTreeMap;

use crate::definition::StepIndex;
use crate::diagnostic::Report;
use crate::document::draft::Draft;
use crate::graph::{self, Graph};
use crate::json::shortened;
use crate::suggestion::nearest;

/// The graph, if there is no error that keeps it from being one.
pub(super) fn graph(draft: &Draft<'_>, report: &mut Report) -> Option<Graph> {
    let ids: BTreeMap<&str, usize> = draft
        .steps
        .iter()
        .enumerate()
        .map(|(place, step)| (step.id.value.as_str(), place))
        .collect();
    let mut well_formed = ids.len() == draft.steps.len();
    let mut needs: Vec<Vec<StepIndex>> = Vec::with_capacity(draft.steps.len());
    for (place, step) in draft.steps.iter().enumerate() {
        let Some(named) = &step.needs else {
            needs.push(place.checked_sub(1).map(graph::index).into_iter().collect());
            continue;
        };
        let mut of_step = Vec::new();
        for need in named {
            let Some(found) = ids.get(need.value.as_str()) else {
                let message = format!("there is no step `{}`", shortened(&need.value));
                let help = match nearest(&need.value, ids.keys().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`needs` names steps of this definition".to_owned(),
                };
                report
                    .error("UNKNOWN_STEP", message, need.span.clone())
                    .help(help);
                well_formed = false;
                continue;
            };
            if *found == place {
                let message = format!("step `{}` needs itself", step.id.value);
                report
                    .error("CYCLE", message, need.span.clone())
                    .help("remove it: a step that waits for itself never starts");
                well_formed = false;
                continue;
            }
            if of_step.contains(&graph::index(*found)) {
                let message = format!("`{}` is needed twice", need.value);
                report.warning("DUPLICATE_NEED", message, need.span.clone());
                continue;
            }
            of_step.push(graph::index(*found));
        }
        needs.push(of_step);
    }
    if !well_formed {
        return None;
    }
    match Graph::build(needs) {
        Ok(graph) => Some(graph),
        Err(cycle) => {
            report_cycle(draft, &cycle, report);
            None
        }
    }
}

/// Prints the cycle as a path that begins and ends with its first step in the document.
fn report_cycle(draft: &Draft<'_>, cycle: &[StepIndex], report: &mut Report) {
    let mut path: Vec<StepIndex> = cycle.iter().rev().copied().collect();
    let first = (0..path.len()).min_by_key(|at| path[*at]).unwrap_or(0);
    path.rotate_left(first);
    path.extend(path.first().copied());
    let names: Vec<&str> = path
        .iter()
        .map(|step| draft.steps[step.index()].id.value.as_str())
        .collect();
    let step = &draft.steps[path[0].index()];
    let span = match step.needs.as_ref().and_then(|needs| needs.first()) {
        Some(need) => need.span.clone(),
        None => step.id.span.clone(),
    };
    report
        .error(
            "CYCLE",
            format!("the steps wait for each other: {}", names.join(" needs ")),
            span,
        )
        .help("remove one of these needs; a step without `needs` needs the step above");
}
