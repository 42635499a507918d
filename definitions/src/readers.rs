//! Who reads the output of a step: what a person has to know before the step goes without one.

use crate::definition::{Compensation, Definition, Sleep, Step, StepIndex, Work};
use crate::expression::{Expression, Mapping};

/// An expression, or some of one field, that reads a step's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputReader {
    /// Of which step; none: of the saga's own `output`.
    pub step: Option<StepIndex>,
    /// In which field of it, such as `input`, `when` or `foreach.in`.
    pub field: &'static str,
    /// It asks with `has` whether there is an output, or takes the step as a whole, which is there without one. A read of the output
    /// beside that has no value all the same.
    pub asks_first: bool,
}

impl Definition {
    /// Whatever reads the output of a step, in document order; the saga's own output last.
    ///
    /// ```
    /// let source = "apiVersion: amends/v1\nname: order\nsteps:\n  - {id: ship, kind: retriable, call: p.ship}\n  \
    ///               - {id: mail, kind: retriable, call: p.mail, input: {ref: \"${{ steps.ship.output.ref }}\"}}\n";
    /// let definition = amends_definitions::check(source.as_bytes()).definition.expect("it is right");
    /// let readers = definition.output_readers(amends_definitions::StepIndex(0));
    /// assert_eq!((readers.len(), readers[0].field), (1, "input"));
    /// assert!(!readers[0].asks_first);
    /// ```
    #[must_use]
    pub fn output_readers(&self, read: StepIndex) -> Vec<OutputReader> {
        let id = self.step(read).id();
        let of_steps = self.step_indices().flat_map(|index| {
            let fields = fields(self.step(index)).into_iter();
            fields.map(move |(field, expressions)| (Some(index), field, expressions))
        });
        let of_saga = [(None, "output", of(self.output()))];
        of_steps
            .chain(of_saga)
            .filter_map(|(step, field, expressions)| {
                let asks = asks_first(&expressions, id)?;
                Some(OutputReader {
                    step,
                    field,
                    asks_first: asks,
                })
            })
            .collect()
    }
}

/// If the expressions read the step's output: each that does asks first.
fn asks_first(expressions: &[&Expression], id: &str) -> Option<bool> {
    let asks = expressions.iter().filter_map(|expression| {
        let of_step = expression.references().iter().filter(|reference| {
            let is_output = |field: &String| field == "output";
            let fields = reference.fields.as_slice();
            reference.root == "steps"
                && fields.first().is_some_and(|step| step == id)
                && fields.get(1).is_none_or(is_output)
        });
        let of_step: Vec<_> = of_step.collect();
        // Of a part of the output, `has` has no value either where there is none.
        let asks = of_step
            .iter()
            .any(|reference| reference.test && reference.fields.len() == 2);
        let whole = of_step.iter().all(|reference| reference.fields.len() == 1);
        (!of_step.is_empty()).then_some(asks || whole)
    });
    asks.reduce(|all, one| all && one)
}

/// The fields of a step that have expressions.
fn fields(step: &Step) -> Vec<(&'static str, Vec<&Expression>)> {
    let mut fields: Vec<(&'static str, Vec<&Expression>)> = Vec::new();
    fields.push(("when", step.when().into_iter().collect()));
    if let Some(foreach) = step.foreach() {
        fields.push(("foreach.in", vec![foreach.list()]));
        fields.push(("foreach.key", foreach.key().into_iter().collect()));
    }
    match step.work() {
        Work::Call(call) => fields.push(("input", of(call.input()))),
        Work::Saga(child) => {
            fields.push(("saga.key", child.key().into_iter().collect()));
            fields.push(("saga.input", of(child.input())));
        }
        Work::Emit(emit) => {
            fields.push(("emit.subject", of(emit.subject())));
            fields.push(("emit.data", of(emit.data())));
        }
        Work::Fail(fail) => fields.push(("fail.message", of(fail.message()))),
        Work::Sleep(Sleep::Until(until)) => fields.push(("sleep.until", vec![until])),
        Work::Sleep(Sleep::For(_)) | Work::Wait(_) => {}
    }
    let routes = step.on_error().iter();
    fields.push((
        "onError",
        routes.flat_map(|route| of(route.output())).collect(),
    ));
    if let Compensation::Call(undo) = step.compensation() {
        fields.push(("compensate.input", of(undo.input())));
    }
    fields
}

fn of(mapping: Option<&Mapping>) -> Vec<&Expression> {
    let expressions = mapping.into_iter().flat_map(Mapping::expressions);
    expressions.map(|(expression, _)| expression).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_that_reads_an_output_is_found() {
        let source = "apiVersion: amends/v1
name: readers

steps:
  - {id: hold, call: p.hold, compensate: {call: p.release}}
  - id: cars
    when: has(steps.hold.output) && steps.hold.output.cars
    foreach: {in: steps.hold.output.list, as: car, key: \"steps.hold.output.prefix + car.city\"}
    call: cars.hold
    input: {state: \"${{ steps.hold.status }}\", b: \"${{ has(steps.hold.output) ? steps.hold.output.b : 'none' }}\"}
    onError: [{codes: [FULL], then: continue, output: {x: \"${{ steps.hold.output.x }}\"}}]
    compensate: {call: cars.cancel, input: \"${{ has(steps.hold.output.x) ? 1 : 2 }}\"}
  - {id: child, saga: {name: other, key: steps.hold.output.key, input: \"${{ steps.hold }}\"}}
  - {id: nap, sleep: {until: steps.hold.output.at}}
  - {id: tell, emit: {type: t, subject: \"${{ steps.hold.output.s }}\", data: \"${{ steps.cars.output }}\"}}
  - {id: refuse, when: \"false\", fail: {code: LATE, message: \"${{ steps.hold.output.m }}\"}}
output: {h: \"${{ steps.hold.output.h }}\"}
";
        let checked = crate::check(source.as_bytes());
        let definition = checked.definition.expect("a right definition");
        let readers = |step: u16| -> Vec<(String, &str, bool)> {
            let readers = definition.output_readers(StepIndex(step)).into_iter();
            let step = |reader: &OutputReader| match reader.step {
                Some(index) => definition.step(index).id().to_owned(),
                None => String::new(),
            };
            readers
                .map(|reader| (step(&reader), reader.field, reader.asks_first))
                .collect()
        };
        let expected = [
            ("cars", "when", true),
            ("cars", "foreach.in", false),
            ("cars", "foreach.key", false),
            ("cars", "input", true),
            ("cars", "onError", false),
            ("cars", "compensate.input", false),
            ("child", "saga.key", false),
            ("child", "saga.input", true),
            ("nap", "sleep.until", false),
            ("tell", "emit.subject", false),
            ("refuse", "fail.message", false),
            ("", "output", false),
        ];
        let expected = expected.map(|(step, field, asks)| (step.to_owned(), field, asks));
        assert_eq!(readers(0), expected);
        assert_eq!(readers(1), [("tell".to_owned(), "emit.data", false)]);
        assert!(readers(2).is_empty());
    }
}
