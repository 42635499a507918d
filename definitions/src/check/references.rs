//! References: an expression refers only to what exists where it stands. A step may read the steps before it alone, and what a
//! schema says of a value is held against the fields that are read of it.

use std::collections::BTreeSet;
use std::ops::Range;

use super::expressions::{Checker, Place};
use super::shapes::{OUTPUT_SCHEMA, Shape, follow, shape_of};
use crate::definition::StepIndex;
use crate::diagnostic::Report;
use crate::document::draft::{Draft, WorkDraft};
use crate::document::fields::{self, Spanned};
use crate::expression::reference::{ROOTS_IN_PLACES, Reference};
use crate::graph;
use crate::json::shortened;
use crate::suggestion::nearest;

/// Warns of signals that no step waits for and no expression reads.
pub(super) fn check_signals_used(draft: &Draft<'_>, read: &BTreeSet<String>, report: &mut Report) {
    for signal in &draft.signals {
        let id = &signal.id.value;
        let awaited = draft.steps.iter().any(|step| match &step.work {
            Some(WorkDraft::Wait(wait)) => {
                wait.signal.as_ref().is_some_and(|name| name.value == *id)
            }
            _ => false,
        });
        if !awaited && !read.contains(id) {
            let message = format!(
                "nothing waits for the signal `{}`, or reads it",
                shortened(id)
            );
            report.warning("UNUSED_SIGNAL", message, signal.id.span.clone());
        }
    }
}

impl Checker<'_, '_> {
    /// Checks what an expression refers to.
    pub(super) fn reference(
        &mut self,
        reference: &Reference,
        source: &str,
        span: Range<usize>,
        place: Place,
    ) {
        let root = reference.root.as_str();
        match (root, place) {
            ("input", _) => self.input(reference, span),
            ("steps" | "saga" | "signals", Place::Key(key)) => {
                self.report
                    .error(
                        "UNKNOWN_ROOT",
                        format!("there is no `{root}` yet when `{key}` is computed"),
                        span,
                    )
                    .help(format!("`{key}` sees `input` alone"));
            }
            ("steps", _) => self.step(reference, span, place),
            ("saga", _) => self.field(reference, &["id", "key", "startedAt"], span),
            ("signals", _) => self.signal(reference, span),
            ("self", Place::Compensation(step)) => {
                let known = ["input", "output", "error", "reason"];
                self.field(reference, &known, span.clone());
                self.output_of_self(reference, source, span, step);
            }
            ("error", Place::Route(_)) => self.field(reference, &["code", "message"], span),
            (root, place) if self.item(place) == Some(root) => {
                self.item_field(reference, span, place)
            }
            (root, place) => self.unknown_root(root, span, place),
        }
    }

    /// Checks that a variable does not hide a root that the expression could mean. Those that exist everywhere are checked
    /// where the expression is compiled.
    pub(super) fn variable(&mut self, name: &str, span: Range<usize>, place: Place) {
        let hides = match name {
            "error" => matches!(place, Place::Route(_)),
            "signals" => !self.draft.signals.is_empty(),
            name => self.item(place) == Some(name),
        };
        if hides {
            let message = format!("the variable `{name}` hides the root `{name}`");
            self.report.error("VARIABLE_HIDES_ROOT", message, span);
        }
    }

    /// The root that an item is seen under.
    fn item(&self, place: Place) -> Option<&str> {
        let step = match place {
            Place::Step(step) | Place::Route(step) | Place::Compensation(step) => step,
            Place::Key(_) | Place::Whole(_) | Place::Output => return None,
        };
        let foreach = self.draft.steps[step].foreach.as_ref();
        foreach.map(|foreach| foreach.root())
    }

    fn unknown_root(&mut self, root: &str, span: Range<usize>, place: Place) {
        let items = self.draft.steps.iter().enumerate();
        let item = items
            .filter_map(|(step, draft)| Some((step, draft.foreach.as_ref()?.root())))
            .find(|(_, item)| *item == root)
            .filter(|_| !ROOTS_IN_PLACES.contains(&root));
        let (message, help) = match (root, item) {
            ("self", _) => (
                "`self` exists in `compensate` alone".to_owned(),
                "a step reads `input` and the outputs of the steps before it".to_owned(),
            ),
            ("error", _) => (
                "`error` exists in `onError` alone".to_owned(),
                "a compensation reads `self.error`".to_owned(),
            ),
            ("event", _) => (
                "`event` exists in `triggers` alone, and they are not served yet".to_owned(),
                "start the saga with what it needs as its `input`".to_owned(),
            ),
            (_, Some((step, _))) if place.step() == Some(step) => (
                format!("there is no `{root}` yet when `when` and `foreach.in` are computed"),
                "both are for the step as a whole".to_owned(),
            ),
            (_, Some((step, _))) => (
                format!(
                    "`{root}` exists in step `{}` alone",
                    self.draft.steps[step].id.value
                ),
                "read the step's `output`, the list of what its items came to".to_owned(),
            ),
            (_, None) => {
                let roots = self.roots(place);
                let help = match nearest(root, roots.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the roots are {}", fields::list(&roots)),
                };
                (format!("there is no `{}`", shortened(root)), help)
            }
        };
        self.report.error("UNKNOWN_ROOT", message, span).help(help);
    }

    /// The roots that exist in a place.
    fn roots(&self, place: Place) -> Vec<&str> {
        let mut roots = vec!["input"];
        if matches!(place, Place::Key(_)) {
            return roots;
        }
        roots.extend(["saga", "steps"]);
        if matches!(place, Place::Compensation(_)) {
            roots.push("self");
        }
        if matches!(place, Place::Route(_)) {
            roots.push("error");
        }
        if !self.draft.signals.is_empty() {
            roots.push("signals");
        }
        roots.extend(self.item(place));
        roots
    }

    fn signal(&mut self, reference: &Reference, span: Range<usize>) {
        let Some((id, rest)) = reference.fields.split_first() else {
            self.report
                .error(
                    "SIGNALS_NEEDS_ID",
                    "`signals` is read one signal at a time",
                    span,
                )
                .help("write `signals.<id>`, with the id as a constant");
            return;
        };
        if self.draft.signals.iter().all(|known| known.id.value != *id) {
            let value = id.clone();
            super::works::unknown_signal(self.draft, &Spanned { value, span }, self.report);
            return;
        }
        self.used_signals.insert(id.clone());
        let path = format!("signals.{id}");
        let shape = self.shapes.signals.get(id);
        follow(
            shape,
            "the signal's `schema`",
            path,
            rest,
            reference,
            span,
            self.report,
        );
    }

    fn step(&mut self, reference: &Reference, span: Range<usize>, place: Place) {
        let Some((id, rest)) = reference.fields.split_first() else {
            self.report
                .error("STEPS_NEEDS_ID", "`steps` is read one step at a time", span)
                .help("write `steps.<id>`, with the id as a constant");
            return;
        };
        let mut steps = self.draft.steps.iter();
        let Some(found) = steps.position(|step| step.id.value == *id) else {
            let ids = self.draft.steps.iter().map(|step| step.id.value.as_str());
            let help = match nearest(id, ids) {
                Some(near) => format!("did you mean `steps.{near}`?"),
                None => "`steps.<id>` names a step of this definition".to_owned(),
            };
            let message = format!("there is no step `{}`", shortened(id));
            self.report.error("UNKNOWN_STEP", message, span).help(help);
            return;
        };
        if let Some((field, rest)) = rest.split_first() {
            let of = format!("steps.{id}");
            self.one_of(&of, field, &["status", "output"], span.clone());
            if field == "output" {
                self.output(reference, found, rest, span.clone());
            }
        }
        self.check_ancestor(found, span, place);
    }

    /// Only what is before a step may be read by it; a compensation reads its own step as well.
    fn check_ancestor(&mut self, found: usize, span: Range<usize>, place: Place) {
        let (Some(reader), Some(graph)) = (place.step(), self.graph) else {
            return;
        };
        let itself = matches!(place, Place::Compensation(_)) && found == reader;
        let ancestors: &[StepIndex] = graph.ancestors(graph::index(reader));
        if itself || ancestors.contains(&graph::index(found)) {
            return;
        }
        let id = |step: usize| self.draft.steps[step].id.value.as_str();
        let (message, help) = if reader == found {
            (
                format!("step `{}` reads itself, before it has run", id(found)),
                "a step reads `input` and the outputs of the steps before it".to_owned(),
            )
        } else {
            let (reader, id) = (id(reader), id(found));
            (
                format!("step `{reader}` reads `{id}`, which is not before it"),
                format!("let `{reader}` need `{id}`, directly or through others"),
            )
        };
        self.report
            .error("NOT_AN_ANCESTOR", message, span)
            .help(help);
    }

    /// `steps.<id>.output`, as far as the step says what it is.
    fn output(&mut self, reference: &Reference, step: usize, rest: &[String], span: Range<usize>) {
        let draft = &self.draft.steps[step];
        let path = format!("steps.{}.output", draft.id.value);
        match shape_of(draft, step, self.shapes) {
            Shape::Unknown => {}
            Shape::None(work) if !reference.test => {
                let message = format!("there is no `{path}`: `{work}` has no output");
                self.report.error("UNKNOWN_FIELD", message, span);
            }
            Shape::None(_) => {}
            Shape::List if rest.is_empty() => {}
            Shape::List => {
                let message = format!("`{path}` is a list: one output for each item of `foreach`");
                self.report
                    .error("UNKNOWN_FIELD", message, span)
                    .help(format!("read an item, such as `{path}[0]`, or use `map`"));
            }
            Shape::Of(shape, name) => {
                follow(Some(shape), name, path, rest, reference, span, self.report);
            }
        }
    }

    fn field(&mut self, reference: &Reference, known: &[&str], span: Range<usize>) {
        if let Some(field) = reference.fields.first() {
            self.one_of(&reference.root, field, known, span);
        }
    }

    fn one_of(&mut self, of: &str, field: &str, known: &[&str], span: Range<usize>) {
        if known.contains(&field) {
            return;
        }
        let help = match nearest(field, known.iter().copied()) {
            Some(near) => format!("did you mean `{of}.{near}`?"),
            None => format!("`{of}` has {}", fields::list(known)),
        };
        let message = format!("`{of}` has no field `{}`", shortened(field));
        self.report.error("UNKNOWN_FIELD", message, span).help(help);
    }

    /// A compensation may run without knowing the outcome of its step.
    fn output_of_self(
        &mut self,
        reference: &Reference,
        source: &str,
        span: Range<usize>,
        step: usize,
    ) {
        let [first, rest @ ..] = reference.fields.as_slice() else {
            return;
        };
        if first != "output" {
            return;
        }
        if !rest.is_empty() && !reference.test && !source.contains("null") {
            self.report
                .warning(
                    "SELF_OUTPUT_MAY_BE_NULL",
                    "`self.output` is null when the outcome of the step is unknown, and then this fails",
                    span.clone(),
                )
                .help("write `self.output == null ? … : …`, or use `self.input`");
        }
        // Under `foreach` it is the item's.
        let shape = self.shapes.outputs[step].as_ref();
        let (path, name) = ("self.output".to_owned(), OUTPUT_SCHEMA);
        follow(shape, name, path, rest, reference, span, self.report);
    }

    fn item_field(&mut self, reference: &Reference, span: Range<usize>, place: Place) {
        let shape = place
            .step()
            .and_then(|step| self.item_shapes.get(&step).copied());
        let (path, name) = (reference.root.clone(), "the schema of the list");
        let fields = &reference.fields;
        follow(shape, name, path, fields, reference, span, self.report);
    }

    fn input(&mut self, reference: &Reference, span: Range<usize>) {
        let (shape, path) = (self.shapes.input.as_ref(), "input".to_owned());
        let fields = &reference.fields;
        follow(
            shape,
            "`inputSchema`",
            path,
            fields,
            reference,
            span,
            self.report,
        );
    }
}
