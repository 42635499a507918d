//! What all expressions of a definition read, and what they expect of it. Paths go through names: the item of a step, a
//! wait's output, what a compensation sees of its own step.

use crate::definition::{Compensation, Definition, Sleep, Step, Work};
use crate::expression::hints::{ELEMENT, Hint, Hints, Names, element_path};
use crate::expression::origin::{Origin, origin};
use crate::expression::{Expression, Mapping};

/// What all expressions of a definition expect.
pub(super) fn collect(definition: &Definition) -> Hints {
    let mut hints = Hints::default();
    let whole = |hints: &mut Hints, expression: Option<&Expression>, hint: Hint| {
        if let Some(expression) = expression {
            hints.collect(expression.source(), Some(hint), &Vec::new());
        }
    };
    whole(&mut hints, definition.key(), Hint::Text);
    whole(&mut hints, definition.ordering_key(), Hint::Text);
    of_mapping(&mut hints, definition.output(), &Vec::new());
    for step in definition.steps() {
        of_step(&mut hints, step);
    }
    aliased(hints, definition)
}

/// Moves what is expected of a wait's output to its signal: it is what a wait yields.
fn aliased(hints: Hints, definition: &Definition) -> Hints {
    let mut moved = Hints {
        of_computed: hints.of_computed,
        ..Hints::default()
    };
    for (path, found) in hints.paths {
        let waited_for = match path.as_slice() {
            [root, id, field, ..] if root == "steps" && field == "output" => definition
                .steps()
                .iter()
                .find(|step| step.id() == id)
                .and_then(|step| Some((step, signal_of(step)?))),
            _ => None,
        };
        let path = match waited_for {
            Some((step, signal)) => {
                // Under `foreach` each item yields one.
                let of_item =
                    step.foreach().is_some() && path.get(3).is_some_and(|at| at == ELEMENT);
                let rest = &path[3 + usize::from(of_item)..];
                let signal = ["signals".to_owned(), signal.to_owned()];
                signal.iter().chain(rest).cloned().collect()
            }
            None => path,
        };
        moved.add(path, found);
    }
    moved
}

fn signal_of(step: &Step) -> Option<&str> {
    match step.work() {
        Work::Wait(wait) => Some(wait.signal()),
        Work::Call(_) | Work::Sleep(_) | Work::Saga(_) | Work::Emit(_) | Work::Fail(_) => None,
    }
}

fn of_step(hints: &mut Hints, step: &Step) {
    let mut names: Names = Vec::new();
    let mut output = vec![
        "steps".to_owned(),
        step.id().to_owned(),
        "output".to_owned(),
    ];
    if let Some(when) = step.when() {
        hints.collect(when.source(), Some(Hint::Bool), &names);
    }
    if let Some(foreach) = step.foreach() {
        hints.collect(foreach.list().source(), Some(Hint::List), &names);
        if let Some(element) = element_path(foreach.list().source(), &names) {
            names.push((foreach.name().to_owned(), element));
        }
        output.push(ELEMENT.to_owned());
        if let Some(key) = foreach.key() {
            hints.collect(key.source(), Some(Hint::Text), &names);
        }
    }
    match step.work() {
        Work::Call(call) => of_mapping(hints, call.input(), &names),
        Work::Saga(child) => {
            of_mapping(hints, child.input(), &names);
            if let Some(key) = child.key() {
                hints.collect(key.source(), Some(Hint::Text), &names);
            }
        }
        Work::Emit(emit) => {
            of_mapping(hints, emit.subject(), &names);
            of_mapping(hints, emit.data(), &names);
        }
        Work::Fail(fail) => of_mapping(hints, fail.message(), &names),
        Work::Sleep(Sleep::Until(until)) => {
            hints.collect(until.source(), Some(Hint::Time), &names);
        }
        Work::Sleep(Sleep::For(_)) | Work::Wait(_) => {}
    }
    for route in step.on_error() {
        of_mapping(hints, route.output(), &names);
    }
    if let Compensation::Call(undo) = step.compensation() {
        let mut own = Hints::default();
        of_mapping(&mut own, undo.input(), &names);
        hints.of_computed.append(&mut own.of_computed);
        for (path, found) in own.paths {
            match path.as_slice() {
                [root, field, rest @ ..] if root == "self" && field == "output" => {
                    hints.add(output.iter().chain(rest).cloned().collect(), found);
                }
                [root, field, rest @ ..] if root == "self" && field == "input" => {
                    let own = match step.work() {
                        Work::Call(call) => call.input(),
                        Work::Saga(_)
                        | Work::Wait(_)
                        | Work::Sleep(_)
                        | Work::Emit(_)
                        | Work::Fail(_) => None,
                    };
                    let computed = Origin::Computed;
                    match own.map_or(computed, |own| origin(own, rest, &names)) {
                        Origin::At(path) => hints.add(path, found),
                        Origin::Written => {}
                        Origin::Computed => hints.add(path, found),
                    }
                }
                _ => hints.add(path, found),
            }
        }
    }
}

fn of_mapping(hints: &mut Hints, mapping: Option<&Mapping>, names: &Names) {
    let Some(mapping) = mapping else { return };
    for (expression, in_text) in mapping.expressions() {
        hints.collect(expression.source(), in_text.then_some(Hint::Text), names);
    }
}
