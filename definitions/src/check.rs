//! Checks: from a draft to a definition. One rule a file; each rule reports all that it finds, and only a draft without any
//! error becomes a [`Definition`].

mod compensations;
mod expressions;
mod kinds;
mod names;
mod needs;
mod retries;
mod timeouts;

use sha2::{Digest, Sha256};

use crate::definition::{
    ActionName, Call, Compensation, CompensationCall, Definition, DefinitionHash, Kind, Step, Work,
};
use crate::diagnostic::{Diagnostic, Report};
use crate::document::draft::{self, CallDraft, CompensateBody, Draft, Origin, StepDraft};
use crate::document::node::Node;
use crate::document::yaml;
use crate::expression::compile::with_room;
use crate::graph::Graph;
use crate::normal;

/// What checking a document leads to.
#[derive(Debug)]
pub struct Checked {
    /// The definition, if there was no error.
    pub definition: Option<Definition>,
    /// All findings in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads and checks a document in YAML.
///
/// ```
/// let source = b"apiVersion: amends/v1\nname: greet\nsteps: [{id: hello, call: mail.send}]\n";
/// let checked = amends_definitions::check(source);
/// assert!(checked.definition.is_none());
/// assert_eq!(checked.diagnostics[0].code, "COMPENSATION_MISSING");
/// print!("{}", amends_definitions::render("greet.saga.yaml", source, &checked.diagnostics));
/// ```
#[must_use]
pub fn check(source: &[u8]) -> Checked {
    let mut report = Report::new(source);
    let definition = yaml::read(source, &mut report)
        .filter(|_| !report.failed())
        .and_then(|node| definition(&node, Origin::Author, &mut report));
    Checked {
        definition,
        diagnostics: report.into_diagnostics(),
    }
}

/// Checks a document's tree.
pub(crate) fn definition(node: &Node, origin: Origin, report: &mut Report) -> Option<Definition> {
    let checked = with_room(|| definition_here(node, origin, report));
    checked.unwrap_or_else(|| {
        let message =
            "the definition was not checked: there was no thread to be had, or the checker failed";
        report
            .error("OUT_OF_RESOURCES", message, 0..0)
            .help("try again; if it happens each time, report it with the document");
        None
    })
}

fn definition_here(node: &Node, origin: Origin, report: &mut Report) -> Option<Definition> {
    let draft = draft::read(node, origin, report)?;
    names::check(&draft, report);
    compensations::check(&draft, report);
    let graph = needs::graph(&draft, report);
    if let Some(graph) = &graph {
        kinds::check(&draft, graph, report);
    }
    retries::check(&draft, report);
    let schema = expressions::schema(&draft, report);
    let mut parts = Parts {
        expressions: expressions::Checker::new(&draft, graph.as_ref(), schema.as_ref(), report),
        draft: &draft,
    };
    let key = parts.key();
    let output = parts.output();
    let steps: Vec<Option<Step>> = draft
        .steps
        .iter()
        .enumerate()
        .map(|(place, step)| parts.step(place, step))
        .collect();
    if report.failed() {
        return None;
    }
    build(
        draft,
        steps.into_iter().collect::<Option<_>>()?,
        graph?,
        |definition| {
            definition.key = key;
            definition.output = output;
            definition.input_schema = schema;
        },
    )
}

fn build(
    draft: Draft<'_>,
    steps: Vec<Step>,
    graph: Graph,
    complete: impl FnOnce(&mut Definition),
) -> Option<Definition> {
    let mut definition = Definition {
        name: draft.name?.value,
        version: draft.version,
        description: draft.description,
        labels: draft.labels,
        key: None,
        ordering_key: None,
        deadline: None,
        concurrency: None,
        signals: std::collections::BTreeMap::new(),
        retention: crate::limits::RETENTION_DEFAULT,
        input_schema: None,
        output: None,
        compensation: draft.compensation,
        steps,
        graph,
        hash: DefinitionHash([0; 32]),
    };
    complete(&mut definition);
    let normal_form = normal::to_normal_form(&definition);
    definition.hash = DefinitionHash(Sha256::digest(normal_form.as_bytes()).into());
    Some(definition)
}

/// Makes the parts of a definition that need more than one rule.
struct Parts<'a, 'n> {
    expressions: expressions::Checker<'a, 'n>,
    draft: &'a Draft<'n>,
}

impl Parts<'_, '_> {
    fn key(&mut self) -> Option<crate::Expression> {
        let node = self.draft.key?;
        self.expressions
            .expression(node, "`key`", expressions::Place::Key)
    }

    fn output(&mut self) -> Option<crate::Mapping> {
        let node = self.draft.output?;
        self.expressions.mapping(node, expressions::Place::Output)
    }

    /// A step; none if there is something wrong with it.
    fn step(&mut self, place: usize, step: &StepDraft<'_>) -> Option<Step> {
        let forward = expressions::Place::Step(place);
        let when = step
            .when
            .map(|node| self.expressions.expression(node, "`when`", forward));
        let input = step
            .call
            .input
            .map(|node| self.expressions.mapping(node, forward));
        let report = &mut *self.expressions.report;
        let timeouts = timeouts::resolve(
            &step.call.timeout,
            Some(&self.draft.default_timeout),
            report,
        );
        let retry = retries::resolve(
            self.draft,
            step.call.retry.as_ref(),
            retries::Of::Step(step.kind.value),
            report,
        );
        retries::check_bound(step, &retry, &timeouts, report);
        let compensation = self.compensation(place, step);
        Some(Step {
            id: step.id.value.clone(),
            kind: step.kind.value,
            when: optional(when)?,
            foreach: None,
            work: Work::Call(Call {
                action: ActionName::new(step.call.action.as_ref()?.value.as_str()),
                input: optional(input)?,
                query: None,
            }),
            output_schema: None,
            retry,
            timeouts,
            on_error: Vec::new(),
            compensation: compensation?,
        })
    }

    fn compensation(&mut self, place: usize, step: &StepDraft<'_>) -> Option<Compensation> {
        let Some(compensate) = &step.compensate else {
            return (step.kind.value != Kind::Compensatable).then_some(Compensation::NotApplicable);
        };
        match &compensate.body {
            CompensateBody::None(why) => {
                let why = why.as_ref()?.value.clone();
                Some(Compensation::None { why })
            }
            CompensateBody::Call(call) => {
                self.compensation_call(place, call).map(Compensation::Call)
            }
        }
    }

    fn compensation_call(
        &mut self,
        place: usize,
        call: &CallDraft<'_>,
    ) -> Option<CompensationCall> {
        let backward = expressions::Place::Compensation(place);
        let input = call
            .input
            .map(|node| self.expressions.mapping(node, backward));
        let report = &mut *self.expressions.report;
        let timeouts = timeouts::resolve(&call.timeout, None, report);
        let of = retries::Of::Compensation;
        let retry = retries::resolve(self.draft, call.retry.as_ref(), of, report);
        Some(CompensationCall {
            action: ActionName::new(call.action.as_ref()?.value.as_str()),
            input: optional(input)?,
            retry,
            timeouts,
        })
    }
}

/// What may be missing, but not wrong.
fn optional<T>(part: Option<Option<T>>) -> Option<Option<T>> {
    match part {
        None => Some(None),
        Some(part) => part.map(Some),
    }
}
