//! Shapes: what schemas say of the values that expressions read and yield, and the fields that they read held against it.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::expressions::Checker;
use crate::Expression;
use crate::diagnostic::Report;
use crate::document::draft::{StepDraft, WorkDraft};
use crate::expression::reference::Reference;
use crate::expression::sort::Sort;
use crate::json::shortened;
use crate::suggestion::nearest;

/// What schemas say of the values that expressions read.
pub(super) struct Shapes {
    pub(super) input: Option<Value>,
    /// Of each step, under `foreach` each item's.
    pub(super) outputs: Vec<Option<Value>>,
    pub(super) signals: BTreeMap<String, Value>,
}

impl<'a> Checker<'a, '_> {
    /// Looks up what a schema says of the items of a list.
    pub(super) fn learn_items(&mut self, step: usize, list: &Expression) {
        let list = list.path().and_then(|path| self.shape_at(path));
        let list = list.filter(|shape| is_closed_form(shape));
        if let Some(items) = list.and_then(|list| list.get("items")) {
            self.item_shapes.insert(step, items);
        }
    }

    /// Checks that an expression may yield what its field takes.
    pub(super) fn check_sort(
        &mut self,
        expression: &Expression,
        what: &str,
        takes: &[Sort],
        span: Range<usize>,
    ) {
        let of_schema = || {
            let shape = self.shape_at(expression.path()?)?;
            Sort::of_schema_type(shape.get("type")?.as_str()?)
        };
        let Some(sort) = expression.sort().or_else(of_schema) else {
            return;
        };
        if takes.contains(&sort) {
            return;
        }
        let takes: Vec<&str> = takes.iter().map(|sort| sort.name()).collect();
        let message = format!(
            "{what} takes {}, and this is {}",
            takes.join(" or "),
            sort.name()
        );
        self.report.error("EXPRESSION_TYPE", message, span);
    }

    /// What a schema says of the value at a path.
    fn shape_at(&self, path: &Reference) -> Option<&'a Value> {
        let shapes: &'a Shapes = self.shapes;
        let (shape, fields) = match (path.root.as_str(), path.fields.as_slice()) {
            ("input", fields) => (shapes.input.as_ref(), fields),
            ("signals", [id, fields @ ..]) => (shapes.signals.get(id), fields),
            ("steps", [id, output, fields @ ..]) if output == "output" => {
                let mut steps = self.draft.steps.iter().enumerate();
                let found = steps.find(|(_, draft)| draft.id.value == *id);
                let shape =
                    found.and_then(|(place, draft)| shape_of(draft, place, shapes).schema());
                (shape, fields)
            }
            _ => return None,
        };
        let shape = fields.iter().try_fold(shape, |shape, field| {
            let shape = shape.filter(|shape| is_closed_form(shape))?;
            Some(shape.get("properties")?.get(field))
        });
        shape.flatten()
    }
}

pub(super) const OUTPUT_SCHEMA: &str = "the step's `outputSchema`";

/// What is known of a step's output.
pub(super) enum Shape<'s> {
    Unknown,
    /// There is none, as this sort of step has none.
    None(&'static str),
    List,
    /// What a schema says, and the schema's name.
    Of(&'s Value, &'static str),
}

impl<'s> Shape<'s> {
    /// The schema, if one says what the output is.
    pub(super) fn schema(self) -> Option<&'s Value> {
        match self {
            Shape::Of(schema, _) => Some(schema),
            Shape::Unknown | Shape::None(_) | Shape::List => None,
        }
    }
}

/// What is known of the output of a step.
pub(super) fn shape_of<'s>(draft: &StepDraft<'_>, step: usize, shapes: &'s Shapes) -> Shape<'s> {
    if draft.foreach.is_some() {
        return Shape::List;
    }
    if draft.on_error.iter().any(|route| route.output.is_some()) {
        return Shape::Unknown;
    }
    match &draft.work {
        Some(WorkDraft::Call { .. } | WorkDraft::Saga(_)) => shapes.outputs[step]
            .as_ref()
            .map_or(Shape::Unknown, |shape| Shape::Of(shape, OUTPUT_SCHEMA)),
        Some(WorkDraft::Wait(wait)) => wait
            .signal
            .as_ref()
            .and_then(|signal| shapes.signals.get(&signal.value))
            .map_or(Shape::Unknown, |shape| {
                Shape::Of(shape, "the signal's `schema`")
            }),
        Some(work @ (WorkDraft::Sleep(_) | WorkDraft::Emit(_) | WorkDraft::Fail(_))) => {
            Shape::None(work.key())
        }
        None => Shape::Unknown,
    }
}

/// Follows a path through the properties that a schema knows.
pub(super) fn follow(
    mut schema: Option<&Value>,
    name: &str,
    mut path: String,
    fields: &[String],
    reference: &Reference,
    span: Range<usize>,
    report: &mut Report,
) {
    for field in fields {
        let Some(properties) = schema
            .and_then(|schema| schema.get("properties"))
            .and_then(Value::as_object)
        else {
            return;
        };
        let Some(here) = schema.filter(|schema| is_closed_form(schema)) else {
            return;
        };
        let required = here.get("required").and_then(Value::as_array);
        let is_required = required
            .is_some_and(|required| required.iter().any(|name| name.as_str() == Some(field)));
        if !properties.contains_key(field.as_str()) && !is_required {
            let closed = here.get("additionalProperties") == Some(&Value::Bool(false));
            let near = nearest(field, properties.keys().map(String::as_str));
            let help = match near {
                Some(near) => format!("did you mean `{path}.{near}`?"),
                None => format!("add it to the `properties` of {name}"),
            };
            let message = format!("{name} knows no `{path}.{}`", shortened(field));
            if closed {
                report.error("UNKNOWN_FIELD", message, span).help(help);
            } else if !reference.test {
                report.warning("UNKNOWN_FIELD", message, span).help(help);
            }
            return;
        }
        path = format!("{path}.{field}");
        schema = properties.get(field.as_str());
    }
    let kind = schema.and_then(|schema| schema.get("type"));
    match kind.and_then(Value::as_str) {
        Some("integer") if reference.beside_double => {
            let message =
                format!("`{path}` is an integer, and arithmetic does not mix int and double");
            report
                .error("MIXED_NUMBERS", message, span)
                .help(format!("write `double({path})`"));
        }
        Some("number") if reference.beside_int => {
            let message = format!(
                "`{path}` may be a double as well as an integer, and arithmetic does not mix them"
            );
            report.warning("MIXED_NUMBERS", message, span).help(format!(
                "write `double({path})`, and the constant with a dot"
            ));
        }
        _ => {}
    }
}

/// If the properties of an object schema are all in `properties`, and not somewhere else as well.
pub(super) fn is_closed_form(schema: &Value) -> bool {
    [
        "$ref",
        "allOf",
        "anyOf",
        "oneOf",
        "if",
        "patternProperties",
        "dependentSchemas",
        "$dynamicRef",
    ]
    .iter()
    .all(|keyword| schema.get(keyword).is_none())
}
