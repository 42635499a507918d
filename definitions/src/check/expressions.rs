//! Expressions: each compiles, and every name in it is handed to the rule of references with its place in the document.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;

use super::shapes::Shapes;
use crate::diagnostic::Report;
use crate::document::draft::Draft;
use crate::document::fields;
use crate::document::node::{Node, NodeValue};
use crate::expression::compile::Fault;
use crate::expression::sort::Sort;
use crate::expression::template::{self, Found};
use crate::graph::Graph;
use crate::json::shortened;
use crate::{Expression, Mapping};

/// Where an expression stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// In the key of this name, which is computed before there is a saga.
    Key(&'static str),
    /// In what is computed for a step as a whole: `when` and `foreach.in`.
    Whole(usize),
    /// In what a step does, under `foreach` for one item.
    Step(usize),
    /// In a step's `onError`.
    Route(usize),
    /// In a step's `compensate`.
    Compensation(usize),
    /// At the end of the saga.
    Output,
}

impl Place {
    /// The step that it is in.
    pub(super) fn step(self) -> Option<usize> {
        match self {
            Place::Key(_) | Place::Output => None,
            Place::Whole(step)
            | Place::Step(step)
            | Place::Route(step)
            | Place::Compensation(step) => Some(step),
        }
    }
}

/// Compiles the expressions of a draft.
pub(super) struct Checker<'a, 'n> {
    pub(super) draft: &'a Draft<'n>,
    pub(super) graph: Option<&'a Graph>,
    pub(super) shapes: &'a Shapes,
    pub(super) used_signals: BTreeSet<String>,
    /// What is known of the items of each `foreach`, by its step.
    pub(super) item_shapes: BTreeMap<usize, &'a Value>,
    pub(super) report: &'a mut Report,
}

impl<'a, 'n> Checker<'a, 'n> {
    pub(super) fn new(
        draft: &'a Draft<'n>,
        graph: Option<&'a Graph>,
        shapes: &'a Shapes,
        report: &'a mut Report,
    ) -> Self {
        Self {
            draft,
            graph,
            shapes,
            used_signals: BTreeSet::new(),
            item_shapes: BTreeMap::new(),
            report,
        }
    }

    /// A field that takes one whole expression.
    pub(super) fn expression(
        &mut self,
        node: &Node,
        what: &str,
        takes: &[Sort],
        place: Place,
    ) -> Option<Expression> {
        let text = &fields::expression(node, what, self.report)?.text;
        let compiled = template::whole(text).and_then(|source| {
            let compiled = Expression::compile(&text[source.clone()]);
            let expression =
                compiled.map_err(|fault| template::moved(fault, text, source.clone()))?;
            template::stays_whole(text, &source)?;
            Ok((expression, source))
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
                for variable in expression.variables() {
                    let at = template::moved_range(&variable.at, text, &source);
                    let span = self.span(node, text, &at);
                    self.variable(&variable.name, span, place);
                }
                let span = self.span(node, text, &source);
                self.check_sort(&expression, what, takes, span);
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
            well_formed &= matches!(
                found,
                Found::Reference(..) | Found::Variable(..) | Found::Unprintable(..)
            );
            match found {
                Found::Reference(node, reference, source) => {
                    let span = self.span(node, scalar_text(node), &reference.at);
                    self.reference(&reference, &source, span, place);
                }
                Found::Variable(node, variable) => {
                    let span = self.span(node, scalar_text(node), &variable.at);
                    self.variable(&variable.name, span, place);
                }
                // A warning: revisions that are stored may have it, and have to stay readable.
                Found::Unprintable(node, sort, at) => {
                    let span = self.span(node, scalar_text(node), &at);
                    let message = format!(
                        "{} stands in a text, which has no form for it: this fails when it is evaluated",
                        sort.name()
                    );
                    self.report
                        .warning("EXPRESSION_TYPE", message, span)
                        .help("let the expression be the whole value, or pick from it what the text is to say");
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
}

/// Reports a scalar that readers of YAML disagree on.
pub(super) fn report_ambiguous(node: &Node, report: &mut Report) {
    if let NodeValue::Scalar(scalar) = &node.value
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

fn scalar_text(node: &Node) -> &str {
    match &node.value {
        NodeValue::Scalar(scalar) => &scalar.text,
        _ => "",
    }
}
