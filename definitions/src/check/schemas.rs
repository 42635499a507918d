//! Schemas: each compiles, stands by itself, and all of them together stay within the bounds of a definition.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::shapes::Shapes;
use crate::Schema;
use crate::diagnostic::Report;
use crate::document::draft::Draft;
use crate::document::node::{Node, NodeValue};
use crate::limits::SCHEMA_PATTERNS_MAX;

/// The compiled schemas of a definition.
pub(super) struct Schemas {
    pub(super) input: Option<Schema>,
    /// Of each step.
    pub(super) outputs: Vec<Option<Schema>>,
    /// Of each signal, as they are declared.
    pub(super) signals: Vec<Option<Schema>>,
}

/// Compiles the schemas, and keeps what expressions may read of each.
pub(super) fn compile(draft: &Draft<'_>, report: &mut Report) -> (Schemas, Shapes) {
    let mut compiler = Compiler {
        patterns_left: SCHEMA_PATTERNS_MAX,
        report,
    };
    let mut one = |node, code, what: &str| match node {
        Some(node) => compiler.compile(node, code, what),
        None => None,
    };
    let schemas = Schemas {
        input: one(draft.input_schema, "INPUT_SCHEMA", "`inputSchema`"),
        outputs: (draft.steps.iter())
            .map(|step| one(step.output_schema, "OUTPUT_SCHEMA", "`outputSchema`"))
            .collect(),
        signals: (draft.signals.iter())
            .map(|signal| one(signal.schema, "SIGNAL_SCHEMA", "`schema`"))
            .collect(),
    };
    let shape = |schema: &Option<Schema>| {
        let schema = schema.as_ref()?;
        serde_json::from_str::<Value>(schema.source()).ok()
    };
    let named = draft.signals.iter().zip(&schemas.signals);
    let shapes = Shapes {
        input: shape(&schemas.input),
        outputs: schemas.outputs.iter().map(shape).collect(),
        signals: named
            .filter_map(|(signal, schema)| Some((signal.id.value.clone(), shape(schema)?)))
            .collect::<BTreeMap<_, _>>(),
    };
    (schemas, shapes)
}

struct Compiler<'r> {
    patterns_left: usize,
    report: &'r mut Report,
}

impl Compiler<'_> {
    fn compile(&mut self, node: &Node, code: &'static str, what: &str) -> Option<Schema> {
        let mut source = String::new();
        let mut ambiguous = Vec::new();
        node.write_json(&mut source, &mut ambiguous);
        for node in &ambiguous {
            super::expressions::report_ambiguous(node, self.report);
        }
        if !ambiguous.is_empty() {
            return None;
        }
        match Schema::compile(source, &mut self.patterns_left) {
            Ok(schema) => Some(schema),
            Err((pointer, message)) => {
                let (at, span) = at_pointer(node, &pointer);
                let message = match at {
                    "" => format!("{what} is not a JSON Schema: {message}"),
                    at => format!("{what} is not a JSON Schema: at `{at}`: {message}"),
                };
                self.report.error(code, message, span);
                None
            }
        }
    }
}

/// The node at a JSON pointer, or the last on the way.
fn at_pointer<'p>(node: &Node, pointer: &'p str) -> (&'p str, Range<usize>) {
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
