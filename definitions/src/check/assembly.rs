//! Putting a definition together from its draft: what needs more than one rule. Only a draft without any error becomes one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::expressions::{Checker, Place};
use super::schemas::Schemas;
use super::shapes::Shapes;
use super::{references, retries, timeouts};
use crate::definition::{
    ActionName, Call, ChildSaga, Compensation, CompensationCall, Definition, DefinitionHash, Emit,
    Fail, Foreach, Kind, Route, Signal, Sleep, Step, StepIndex, Then, Wait, Work,
};
use crate::diagnostic::Report;
use crate::document::draft::{
    CallDraft, CompensateBody, Draft, ForeachDraft, RouteDraft, SleepDraft, StepDraft, WorkDraft,
};
use crate::document::fields::Spanned;
use crate::document::node::Node;
use crate::expression::sort::Sort;
use crate::graph::{Graph, index};
use crate::limits::{ITEMS_MAX, ITEMS_PARALLEL_DEFAULT, RETENTION_DEFAULT};
use crate::{Expression, Mapping, Schema};

/// The definition, but for its hash; none if there is an error.
pub(super) fn assemble(
    draft: &Draft<'_>,
    graph: Option<Graph>,
    schemas: Schemas,
    shapes: &Shapes,
    report: &mut Report,
) -> Option<Definition> {
    let mut parts = Parts {
        expressions: Checker::new(draft, graph.as_ref(), shapes, report),
        draft,
    };
    let key = parts.expression(draft.key, "`key`", &KEY, Place::Key("key"));
    let ordering_key = draft.ordering_key;
    let ordering_key = parts.expression(
        ordering_key,
        "`orderingKey`",
        &KEY,
        Place::Key("orderingKey"),
    );
    let output = parts.mapping(draft.output, Place::Output);
    let steps: Vec<Option<Step>> = draft
        .steps
        .iter()
        .zip(schemas.outputs)
        .enumerate()
        .map(|(place, (step, schema))| parts.step(place, step, schema))
        .collect();
    let used = parts.expressions.used_signals;
    if report.failed() {
        return None;
    }
    // What does not compile might have used one.
    references::check_signals_used(draft, &used, report);
    let signals = draft.signals.iter().zip(schemas.signals);
    let signals: BTreeMap<String, Signal> = signals
        .map(|(signal, schema)| (signal.id.value.clone(), Signal { schema }))
        .collect();
    let steps = steps.into_iter().collect::<Option<Vec<Step>>>()?;
    let mut by_id: Box<[StepIndex]> = (0..steps.len()).map(index).collect();
    by_id.sort_by_key(|index| &steps[index.index()].id);
    Some(Definition {
        name: draft.name.as_ref()?.value.clone(),
        version: draft.version.clone(),
        description: draft.description.clone(),
        labels: draft.labels.clone(),
        key: key?,
        ordering_key: ordering_key?,
        deadline: draft.deadline,
        concurrency: draft.concurrency,
        signals,
        retention: draft.retention.unwrap_or(RETENTION_DEFAULT),
        input_schema: schemas.input,
        output: output?,
        compensation: draft.compensation.clone(),
        steps,
        by_id,
        graph: graph?,
        hash: DefinitionHash([0; 32]),
    })
}

/// What a key may be.
const KEY: [Sort; 2] = [Sort::Text, Sort::Number];

struct Parts<'a, 'n> {
    expressions: Checker<'a, 'n>,
    draft: &'a Draft<'n>,
}

/// What may be missing, but not wrong: none is wrong.
type Maybe<T> = Option<Option<T>>;

impl<'a, 'n> Parts<'a, 'n> {
    fn expression(
        &mut self,
        node: Option<&Node>,
        what: &str,
        takes: &[Sort],
        place: Place,
    ) -> Maybe<Expression> {
        match node {
            None => Some(None),
            Some(node) => self
                .expressions
                .expression(node, what, takes, place)
                .map(Some),
        }
    }

    fn mapping(&mut self, node: Option<&Node>, place: Place) -> Maybe<Mapping> {
        match node {
            None => Some(None),
            Some(node) => self.expressions.mapping(node, place).map(Some),
        }
    }

    /// A step; none if there is something wrong with it.
    fn step(
        &mut self,
        place: usize,
        step: &StepDraft<'n>,
        output_schema: Option<Schema>,
    ) -> Option<Step> {
        let when = self.expression(step.when, "`when`", &[Sort::Bool], Place::Whole(place));
        let foreach = match &step.foreach {
            None => Some(None),
            Some(foreach) => self.foreach(place, foreach).map(Some),
        };
        let work = self.work(place, step);
        let routes: Vec<Option<Route>> = step
            .on_error
            .iter()
            .map(|route| self.route(place, route))
            .collect();
        let compensation = self.compensation(place, step);
        let report = &mut *self.expressions.report;
        let timeouts = timeouts::of_step(self.draft, step, report);
        let retry = retries::of_step(self.draft, step, report);
        retries::check_bound(self.draft, step, &retry, &timeouts, report);
        Some(Step {
            id: step.id.value.as_str().into(),
            kind: step.kind.value,
            when: when?,
            foreach: foreach?,
            work: work?,
            output_schema,
            retry,
            timeouts,
            on_error: routes.into_iter().collect::<Option<_>>()?,
            compensation: compensation?,
        })
    }

    fn foreach(&mut self, place: usize, draft: &ForeachDraft<'_>) -> Option<Foreach> {
        let list = self.expression(
            draft.list,
            "`foreach.in`",
            &[Sort::List],
            Place::Whole(place),
        );
        if let Some(Some(list)) = &list {
            self.expressions.learn_items(place, list);
        }
        let key = self.expression(draft.key, "`foreach.key`", &KEY, Place::Step(place));
        let whole = |given: &Option<Spanned<u32>>| given.as_ref().map(|given| given.value);
        let max_items = whole(&draft.max_items).unwrap_or(ITEMS_MAX);
        let max_parallel = whole(&draft.max_parallel);
        Some(Foreach {
            list: list??,
            name: draft.root().to_owned(),
            key: key?,
            max_parallel: max_parallel.unwrap_or(ITEMS_PARALLEL_DEFAULT.min(max_items)),
            max_items,
        })
    }

    fn work(&mut self, place: usize, step: &StepDraft<'_>) -> Option<Work> {
        let at = Place::Step(place);
        match step.work.as_ref()? {
            WorkDraft::Call { call, query } => {
                let input = self.mapping(call.input, at);
                Some(Work::Call(Call {
                    action: action(call.action.as_ref()?),
                    input: input?,
                    query: query.as_ref().map(action),
                }))
            }
            WorkDraft::Wait(wait) => Some(Work::Wait(Wait {
                signal: wait.signal.as_ref()?.value.clone(),
                timeout: duration(&wait.timeout),
                on_timeout: match (&wait.on_timeout, step.kind.value) {
                    (Some(then), _) => then.value,
                    (None, Kind::Retriable) => Then::Park,
                    (None, Kind::Compensatable | Kind::Pivot) => Then::Compensate,
                },
            })),
            WorkDraft::Sleep(SleepDraft::For(time)) => Some(Work::Sleep(Sleep::For(time.value))),
            WorkDraft::Sleep(SleepDraft::Until(node)) => {
                let until = self.expression(Some(node), "`sleep.until`", &[Sort::Text], at)??;
                Some(Work::Sleep(Sleep::Until(until)))
            }
            WorkDraft::Saga(saga) => {
                let key = self.expression(saga.key, "`saga.key`", &KEY, at);
                let input = self.mapping(saga.input, at);
                Some(Work::Saga(ChildSaga {
                    name: saga.name.as_ref()?.value.clone(),
                    key: key?,
                    input: input?,
                }))
            }
            WorkDraft::Emit(emit) => {
                let subject = self.mapping(emit.subject, at);
                let data = self.mapping(emit.data, at);
                Some(Work::Emit(Emit {
                    event_type: emit.event_type.as_ref()?.value.clone(),
                    subject: subject?,
                    data: data?,
                }))
            }
            WorkDraft::Fail(fail) => {
                let message = self.mapping(fail.message, at);
                Some(Work::Fail(Fail {
                    code: fail.code.as_ref()?.value.clone(),
                    message: message?,
                }))
            }
        }
    }

    fn route(&mut self, place: usize, route: &RouteDraft<'_>) -> Option<Route> {
        let at = Place::Route(place);
        let when = self.expression(route.when, "`when`", &[Sort::Bool], at);
        let output = self.mapping(route.output, at);
        let mut codes: Vec<String> = route.codes.iter().map(|code| code.value.clone()).collect();
        codes.sort_unstable();
        codes.dedup();
        Some(Route {
            codes,
            when: when?,
            then: route.then.as_ref()?.value,
            output: output?,
        })
    }

    fn compensation(&mut self, place: usize, step: &StepDraft<'_>) -> Option<Compensation> {
        let Some(compensate) = &step.compensate else {
            // A compensatable call without one has its diagnostic.
            return Some(match (&step.work, step.kind.value) {
                (Some(WorkDraft::Saga(_)), Kind::Compensatable) => Compensation::Child,
                _ => Compensation::NotApplicable,
            });
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
        let input = self.mapping(call.input, Place::Compensation(place));
        let report = &mut *self.expressions.report;
        let timeouts = timeouts::of_compensation(self.draft, call, report);
        let retry = retries::of_compensation(self.draft, call, report);
        Some(CompensationCall {
            action: action(call.action.as_ref()?),
            input: input?,
            retry,
            timeouts,
        })
    }
}

fn action(name: &Spanned<String>) -> ActionName {
    ActionName::new(name.value.as_str())
}

fn duration(given: &Option<Spanned<Duration>>) -> Option<Duration> {
    given.as_ref().map(|given| given.value)
}
