//! Expressions: each compiles, and refers only to what exists where it stands. A step may read the steps before it alone.

use std::ops::Range;

use serde_json::Value;

use crate::definition::StepIndex;
use crate::diagnostic::Report;
use crate::document::draft::Draft;
use crate::document::fields;
use crate::document::node::Node;
use crate::expression::compile::Fault;
use crate::expression::reference::{ROOTS, Reference};
use crate::expression::template::{self, Found};
use crate::graph::{self, Graph};
use crate::json::shortened;
use crate::suggestion::nearest;
use crate::{Expression, Mapping, Schema};

/// Where an expression stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// `key`: before there is a saga.
    Key,
    /// In a step's `when` and `input`.
    Step(usize),
    /// In a step's `compensate`.
    Compensation(usize),
    /// At the end of the saga.
    Output,
}

/// Compiles `inputSchema`.
pub(super) fn schema(draft: &Draft<'_>, report: &mut Report) -> Option<Schema> {
    let node = draft.input_schema?;
    let mut source = String::new();
    let mut ambiguous = Vec::new();
    node.write_json(&mut source, &mut ambiguous);
    for node in &ambiguous {
        report_ambiguous(node, report);
    }
    if !ambiguous.is_empty() {
        return None;
    }
    match Schema::compile(source) {
        Ok(schema) => Some(schema),
        Err((pointer, message)) => {
            let (at, span) = at_pointer(node, &pointer);
            let message = match at {
                "" => format!("`inputSchema` is not a JSON Schema: {message}"),
                at => format!("`inputSchema` is not a JSON Schema: at `{at}`: {message}"),
            };
            report.error("INPUT_SCHEMA", message, span);
            None
        }
    }
}

/// Compiles the expressions of a draft.
pub(super) struct Checker<'a, 'n> {
    draft: &'a Draft<'n>,
    graph: Option<&'a Graph>,
    schema: Option<Value>,
    pub(super) report: &'a mut Report,
}

impl<'a, 'n> Checker<'a, 'n> {
    pub(super) fn new(
        draft: &'a Draft<'n>,
        graph: Option<&'a Graph>,
        schema: Option<&Schema>,
        report: &'a mut Report,
    ) -> Self {
        Self {
            draft,
            graph,
            schema: schema.and_then(|schema| serde_json::from_str(schema.source()).ok()),
            report,
        }
    }

    /// A field that takes one whole expression.
    pub(super) fn expression(
        &mut self,
        node: &Node,
        what: &str,
        place: Place,
    ) -> Option<Expression> {
        let text = &fields::expression(node, what, self.report)?.text;
        let compiled = template::whole(text).and_then(|source| {
            let compiled = Expression::compile(&text[source.clone()]);
            compiled
                .map(|expression| (expression, source.clone()))
                .map_err(|fault| template::moved(fault, text, source))
        });
        match compiled {
            Err(fault) => {
                self.fault(node, text, fault);
                None
            }
            Ok((expression, source)) => {
                for reference in expression.references() {
                    let at = template::moved_range(&reference.at, text, &source);
                    let span = self.span(node, text, &at);
                    self.reference(reference, expression.source(), span, place);
                }
                Some(expression)
            }
        }
    }

    /// A template.
    pub(super) fn mapping(&mut self, node: &Node, place: Place) -> Option<Mapping> {
        let mut found = Vec::new();
        let mapping = Mapping::compile(node, &mut found);
        let mut well_formed = true;
        for found in found {
            well_formed &= matches!(found, Found::Reference(..));
            match found {
                Found::Reference(node, reference, source) => {
                    let span = self.span(node, scalar_text(node), &reference.at);
                    self.reference(&reference, &source, span, place);
                }
                Found::Fault(node, fault) => self.fault(node, scalar_text(node), fault),
                Found::Ambiguous(node) => report_ambiguous(node, self.report),
                Found::Key(span) => self
                    .report
                    .error("EXPRESSION_IN_KEY", "a key cannot be an expression", span)
                    .help("only values are: keys stay as they are written"),
            }
        }
        well_formed.then_some(mapping)
    }

    fn fault(&mut self, node: &Node, text: &str, fault: Fault) {
        let span = self.span(node, text, &fault.at);
        let added = self.report.error(fault.code, fault.message, span);
        if let Some(help) = fault.help {
            added.help(help);
        }
    }

    /// The place of a part of a scalar's text in the document, or of the whole scalar if it is not written literally.
    fn span(&self, node: &Node, text: &str, at: &Range<usize>) -> Range<usize> {
        let written = self.report.text(node.span.clone());
        match written.and_then(|written| written.find(text)) {
            Some(offset) => {
                let from = node.span.start + offset;
                from + at.start..from + at.end
            }
            None => node.span.clone(),
        }
    }

    fn reference(&mut self, reference: &Reference, source: &str, span: Range<usize>, place: Place) {
        match (reference.root.as_str(), place) {
            ("input", _) => self.input(reference, span),
            ("steps" | "saga", Place::Key) => {
                let root = &reference.root;
                self.report
                    .error(
                        "UNKNOWN_ROOT",
                        format!("there is no `{root}` yet when `key` is computed"),
                        span,
                    )
                    .help("`key` sees `input` alone");
            }
            ("steps", _) => self.step(reference, span, place),
            ("saga", _) => self.field(reference, &["id", "key", "startedAt"], span),
            ("self", Place::Compensation(_)) => {
                self.field(
                    reference,
                    &["input", "output", "error", "reason"],
                    span.clone(),
                );
                self.output_of_self(reference, source, span);
            }
            ("self", _) => self
                .report
                .error("UNKNOWN_ROOT", "`self` exists in `compensate` alone", span)
                .help("a step reads `input` and the outputs of the steps before it"),
            (root, _) => {
                let message = format!("there is no `{}`", shortened(root));
                let help = match nearest(root, ROOTS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the roots are {}", fields::list(&ROOTS)),
                };
                self.report.error("UNKNOWN_ROOT", message, span).help(help);
            }
        }
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
        if let Some(field) = rest.first() {
            self.one_of(
                &format!("steps.{id}"),
                field,
                &["status", "output"],
                span.clone(),
            );
        }
        let (reader, itself) = match place {
            Place::Key | Place::Output => return,
            Place::Step(reader) => (reader, false),
            Place::Compensation(reader) => (reader, true),
        };
        let Some(graph) = self.graph else {
            return;
        };
        let ancestors: &[StepIndex] = graph.ancestors(graph::index(reader));
        if ancestors.contains(&graph::index(found)) || (itself && found == reader) {
            return;
        }
        let reader = &self.draft.steps[reader].id.value;
        let (message, help) = if reader == id {
            (
                format!("step `{id}` reads itself, before it has run"),
                "a step reads `input` and the outputs of the steps before it".to_owned(),
            )
        } else {
            (
                format!("step `{reader}` reads `{id}`, which is not before it"),
                format!("let `{reader}` need `{id}`, directly or through others"),
            )
        };
        self.report
            .error("NOT_AN_ANCESTOR", message, span)
            .help(help);
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
    fn output_of_self(&mut self, reference: &Reference, source: &str, span: Range<usize>) {
        let reads_inside =
            reference.fields.len() > 1 && reference.fields[0] == "output" && !reference.test;
        if reads_inside && !source.contains("null") {
            self.report
                .warning(
                    "SELF_OUTPUT_MAY_BE_NULL",
                    "`self.output` is null when the outcome of the step is unknown, and then this fails",
                    span,
                )
                .help("write `self.output == null ? … : …`, or use `self.input`");
        }
    }

    /// Follows a path through the properties that the schema knows.
    fn input(&mut self, reference: &Reference, span: Range<usize>) {
        let mut schema = self.schema.as_ref();
        let mut path = String::from("input");
        for field in &reference.fields {
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
                    None => "add it to the `properties` of `inputSchema`".to_owned(),
                };
                let message = format!("`inputSchema` knows no `{path}.{}`", shortened(field));
                if closed {
                    self.report.error("UNKNOWN_FIELD", message, span).help(help);
                } else if !reference.test {
                    self.report
                        .warning("UNKNOWN_FIELD", message, span)
                        .help(help);
                }
                return;
            }
            path = format!("{path}.{field}");
            schema = properties.get(field.as_str());
        }
        let kind = schema.and_then(|schema| schema.get("type"));
        if reference.beside_double && kind.and_then(Value::as_str) == Some("integer") {
            let message =
                format!("`{path}` is an integer, and arithmetic does not mix int and double");
            self.report
                .error("MIXED_NUMBERS", message, span)
                .help(format!("write `double({path})`"));
        }
    }
}

/// If the properties of an object schema are all in `properties`, and not somewhere else as well.
fn is_closed_form(schema: &Value) -> bool {
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

fn scalar_text(node: &Node) -> &str {
    match &node.value {
        crate::document::node::NodeValue::Scalar(scalar) => &scalar.text,
        _ => "",
    }
}

fn report_ambiguous(node: &Node, report: &mut Report) {
    if let crate::document::node::NodeValue::Scalar(scalar) = &node.value
        && let Err(help) = scalar.data()
    {
        let message = format!(
            "readers of YAML disagree on what `{}` is",
            shortened(&scalar.text)
        );
        report
            .error("AMBIGUOUS_SCALAR", message, node.span.clone())
            .help(help);
    }
}

/// The node at a JSON pointer, or the last on the way.
fn at_pointer<'p>(node: &Node, pointer: &'p str) -> (&'p str, Range<usize>) {
    use crate::document::node::NodeValue;
    let mut here = node;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let next = match &here.value {
            NodeValue::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == token)
                .map(|entry| &entry.value),
            NodeValue::List(items) => token.parse::<usize>().ok().and_then(|at| items.get(at)),
            NodeValue::Scalar(_) => None,
        };
        match next {
            Some(next) => here = next,
            None => break,
        }
    }
    (pointer, here.span.clone())
}
