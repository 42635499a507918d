//! Children: none of the same definition that waits for its parent to end, which waits for it. Deliberately not here: keys that an
//! expression computes anew for the child, and children of children.

use crate::definition::{ChildSaga, Definition, OnLimit, Work};
use crate::diagnostic::Report;
use crate::document::draft::{Draft, WorkDraft};
use crate::expression::origin::{Origin, origin};

pub(super) fn check(draft: &Draft<'_>, definition: &Definition, report: &mut Report) {
    for (step, draft) in definition.steps().iter().zip(&draft.steps) {
        let (Work::Saga(child), Some(WorkDraft::Saga(written))) = (step.work(), &draft.work) else {
            continue;
        };
        let Some(why) = waits(definition, child) else {
            continue;
        };
        let span = written
            .name
            .as_ref()
            .map_or(&draft.id.span, |name| &name.span);
        let message = format!(
            "step `{}` waits for what cannot come: its child is a saga of this definition too, {why}, and so its turn comes when this saga has ended",
            step.id()
        );
        report
            .warning("CHILD_WAITS_FOR_PARENT", message, span.clone())
            .help("make it a saga of another definition, or one with a turn of its own");
    }
}

/// Why the child gets its turn when its parent has ended, and not before.
fn waits(definition: &Definition, child: &ChildSaga) -> Option<&'static str> {
    if child.name() != definition.name() {
        return None;
    }
    let one_runs = definition
        .concurrency()
        .is_some_and(|concurrency| concurrency.max == 1 && concurrency.on_limit == OnLimit::Queue);
    if one_runs {
        return Some("`concurrency.max` is 1");
    }
    let key = definition.ordering_key()?;
    let is_same = key.references().iter().all(|reference| {
        let itself = std::iter::once(&reference.root).chain(&reference.fields);
        let given = child
            .input()
            .map(|input| origin(input, &reference.fields, &Vec::new()));
        given == Some(Origin::At(itself.cloned().collect()))
    });
    is_same.then_some("its `orderingKey` is the same")
}

#[cfg(test)]
mod tests {
    const INPUT: &str = "{account: \"${{ input.account }}\", rest: 1}";

    fn is_warned(document: &str, child: &str, input: &str) -> bool {
        let source = format!(
            "apiVersion: amends/v1\nname: tree\n{document}\nsteps:\n  \
             - {{id: child, when: input.deeper, saga: {{name: {child}, input: {input}}}}}\n"
        );
        let checked = crate::check(source.as_bytes());
        assert!(checked.definition.is_some(), "{:?}", checked.diagnostics);
        let mut codes = checked.diagnostics.iter().map(|found| found.code);
        codes.any(|code| code == "CHILD_WAITS_FOR_PARENT")
    }

    #[test]
    fn a_child_that_has_its_parents_turn_is_warned_of() {
        for (document, input) in [
            ("concurrency: {max: 1}", INPUT),
            ("orderingKey: input.account", INPUT),
            ("orderingKey: input.account", "\"${{ input }}\""),
            ("orderingKey: \"'all'\"", "{}"),
            (
                "orderingKey: \"input.account + '-' + input.of.kind\"",
                "\"${{ input }}\"",
            ),
        ] {
            assert!(is_warned(document, "tree", input), "{document} {input}");
            assert!(!is_warned(document, "other", input), "{document} {input}");
        }
    }

    #[test]
    fn a_child_that_may_have_a_turn_of_its_own_is_not() {
        for (document, input) in [
            ("", INPUT),
            ("concurrency: {max: 2}", INPUT),
            ("concurrency: {max: 1, onLimit: reject}", INPUT),
            (
                "orderingKey: input.account",
                "{account: \"${{ input.next }}\"}",
            ),
            (
                "orderingKey: input.account",
                "{account: \"${{ input.account + 'x' }}\"}",
            ),
            ("orderingKey: input.account", "{account: other}"),
            (
                "orderingKey: \"input.account + '-' + input.of.kind\"",
                INPUT,
            ),
        ] {
            assert!(!is_warned(document, "tree", input), "{document} {input}");
        }
    }
}
