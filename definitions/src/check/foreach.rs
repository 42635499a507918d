//! `foreach`: the item has a name of its own, and no more items are under way than there may be.

use super::names::{RESERVED, is_snake_case};
use crate::diagnostic::Report;
use crate::document::draft::{Draft, ForeachDraft};
use crate::expression::reference::{ROOTS, ROOTS_IN_PLACES};
use crate::json::shortened;

pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    for step in &draft.steps {
        let Some(foreach) = &step.foreach else {
            continue;
        };
        check_name(draft, foreach, report);
        if let (Some(parallel), Some(items)) = (&foreach.max_parallel, &foreach.max_items)
            && parallel.value > items.value
        {
            report
                .error(
                    "OUT_OF_BOUNDS",
                    "`maxParallel` is more than `maxItems`",
                    parallel.span.clone(),
                )
                .help("make it at most as much");
        }
    }
}

fn check_name(draft: &Draft<'_>, foreach: &ForeachDraft<'_>, report: &mut Report) {
    let name = foreach.root();
    let span = foreach
        .name
        .as_ref()
        .map_or(&foreach.span, |name| &name.span);
    let wrong = if ROOTS.contains(&name) || ROOTS_IN_PLACES.contains(&name) {
        format!("the item's name hides the root `{name}`")
    } else if RESERVED.contains(&name) {
        format!("`{name}` is a word of the expression language")
    } else if !is_snake_case(name) {
        format!("`{}` is not snake_case", shortened(name))
    } else if draft.steps.iter().any(|step| step.id.value == name) {
        format!("the item has the name of the step `{name}`")
    } else {
        return;
    };
    report
        .error("ITEM_NAME", wrong, span.clone())
        .help("give the item a name of its own with `as`, such as `as: line`");
}
