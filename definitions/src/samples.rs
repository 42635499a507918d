//! Payloads that a definition can work with: inputs, outputs and signals made up from its schemas and from what its
//! expressions do with them. So a definition can be explored without participants. Deliberately not here: any promise that
//! real payloads look like these.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::definition::{Compensation, Definition, Sleep, Step, Work};
use crate::expression::compile::with_room;
use crate::expression::hints::{ELEMENT, Hint, Hints, Names};
use crate::expression::{Expression, Mapping};
use crate::payload::Payload;
use crate::schema::Schema;

/// What a definition can work with. The first of each list is the plain case; the others take the other way at one place
/// where an expression branches.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Starts.
    pub inputs: Vec<Payload>,
    /// Outputs of each step in document order; under `foreach`, of one item.
    pub outputs: Vec<Vec<Payload>>,
    /// Of each step in document order, an output without what expressions read of it and its schema does not require; none
    /// if nothing is read that may be missing.
    pub lacking: Vec<Option<Payload>>,
    /// Payloads of each declared signal.
    pub signals: BTreeMap<String, Vec<Payload>>,
}

impl Samples {
    /// Makes up samples for a definition.
    ///
    /// ```
    /// let source = "apiVersion: amends/v1\nname: greet\nsteps:\n  - id: hello\n    kind: retriable\n    \
    ///               call: greeter.hello\n    when: input.loud\n    input: {name: \"${{ input.name }}\"}\n";
    /// let definition = amends_definitions::check(source.as_bytes()).definition.expect("it is right");
    /// let samples = amends_definitions::Samples::of(&definition);
    /// assert_eq!(samples.inputs[0].as_bytes(), br#"{"loud":true,"name":"sample"}"#);
    /// assert_eq!(samples.inputs.len(), 2, "loud or not");
    /// ```
    #[must_use]
    pub fn of(definition: &Definition) -> Self {
        let hints = with_room(|| collect(definition)).unwrap_or_default();
        let path = |parts: &[&str]| {
            parts
                .iter()
                .map(|part| (*part).to_owned())
                .collect::<Vec<_>>()
        };
        let maker = |schema: Option<&Schema>| Maker {
            hints: &hints,
            schema: schema.and_then(|schema| serde_json::from_str(schema.source()).ok()),
        };
        let sample = |path: Vec<String>, schema: Option<&Schema>| maker(schema).payloads(&path);
        let of_output = |step: &Step| {
            let mut at = path(&["steps", step.id(), "output"]);
            if step.foreach().is_some() {
                at.push(ELEMENT.to_owned());
            }
            at
        };
        let steps = definition.steps();
        Self {
            inputs: sample(path(&["input"]), definition.input_schema()),
            outputs: (steps.iter())
                .map(|step| sample(of_output(step), step.output_schema()))
                .collect(),
            lacking: (steps.iter())
                .map(|step| maker(step.output_schema()).lacking(&of_output(step)))
                .collect(),
            signals: definition
                .signals()
                .iter()
                .map(|(id, signal)| {
                    let payloads = sample(path(&["signals", id]), signal.schema());
                    (id.clone(), payloads)
                })
                .collect(),
        }
    }
}

/// Variants of one payload beside the plain one.
const VARIANTS_MAX: usize = 6;

/// What all expressions of a definition expect.
fn collect(definition: &Definition) -> Hints {
    let mut hints = Hints::default();
    // What a wait yields is the signal.
    let mut names: Names = Vec::new();
    for step in definition.steps() {
        if let Work::Wait(wait) = step.work() {
            let signal = vec!["signals".to_owned(), wait.signal().to_owned()];
            names.push((format!("steps.{}.output", step.id()), signal));
        }
    }
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
    aliased(hints, &names)
}

/// Moves what is expected of a wait's output to its signal.
fn aliased(hints: Hints, names: &Names) -> Hints {
    let mut moved = Hints::default();
    for (path, found) in hints.0 {
        let head = path.get(..3).map(|head| head.join("."));
        let alias = names.iter().find(|(name, _)| Some(name) == head.as_ref());
        let path = match alias {
            Some((_, signal)) => signal.iter().chain(&path[3..]).cloned().collect(),
            None => path,
        };
        moved.0.entry(path).or_default().extend(found);
    }
    moved
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
        let source = foreach.list().source().trim();
        let plain = source
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "_.".contains(char));
        if plain {
            let mut element: Vec<String> = source.split('.').map(str::to_owned).collect();
            element.push(ELEMENT.to_owned());
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
        let input = vec!["self.input".to_owned()];
        names.push(("self".to_owned(), input));
        // `self.output` is the step's own.
        let mut own = Hints::default();
        of_mapping(&mut own, undo.input(), &names);
        for (path, found) in own.0 {
            let path = match path.as_slice() {
                [root, field, rest @ ..] if root == "self.input" && field == "output" => {
                    output.iter().chain(rest).cloned().collect()
                }
                _ => path,
            };
            hints.0.entry(path).or_default().extend(found);
        }
    }
}

fn of_mapping(hints: &mut Hints, mapping: Option<&Mapping>, names: &Names) {
    let Some(mapping) = mapping else { return };
    for (expression, in_text) in mapping.expressions() {
        hints.collect(expression.source(), in_text.then_some(Hint::Text), names);
    }
}

/// Makes the payloads of one path.
struct Maker<'h> {
    hints: &'h Hints,
    schema: Option<Value>,
}

impl Maker<'_> {
    /// The plain payload first, then those that differ from it at one place.
    fn payloads(&self, path: &[String]) -> Vec<Payload> {
        let mut turns = Turns::default();
        let mut payloads = vec![self.payload(path, &mut turns)];
        let places = turns.seen.clone();
        for (place, candidates) in places.iter().enumerate() {
            for turn in 1..*candidates {
                if payloads.len() > VARIANTS_MAX {
                    return payloads;
                }
                let mut turns = Turns {
                    chosen: Some((place, turn)),
                    seen: Vec::new(),
                };
                let payload = self.payload(path, &mut turns);
                if !payloads.contains(&payload) {
                    payloads.push(payload);
                }
            }
        }
        payloads
    }

    /// The plain payload without what is read of it and nothing requires; none if that is nothing.
    fn lacking(&self, path: &[String]) -> Option<Payload> {
        let whole = self.payload(path, &mut Turns::default());
        let mut value: Value = serde_json::from_slice(whole.as_bytes()).ok()?;
        let lacks = self.take_unrequired(path, self.schema.as_ref(), &mut value);
        lacks.then(|| Payload::trusted(value.to_string().into()))
    }

    /// Takes fields away, and says whether there were any. Those that are asked for with `has` are left: they vary anyway.
    fn take_unrequired(&self, path: &[String], schema: Option<&Value>, value: &mut Value) -> bool {
        let Value::Object(object) = value else {
            return false;
        };
        let required = schema.and_then(|schema| schema.get("required")?.as_array());
        let mut lacks = false;
        for field in self.hints.fields(path) {
            let mut at = path.to_vec();
            at.push(field.to_owned());
            let hints = self.hints.0.get(&at);
            if field == ELEMENT || hints.is_some_and(|hints| hints.contains(&Hint::Optional)) {
                continue;
            }
            let is_required = required.is_some_and(|names| names.iter().any(|name| name == field));
            if !is_required {
                lacks |= object.remove(field).is_some();
            } else if let Some(part) = object.get_mut(field) {
                let schema = schema.and_then(|schema| schema.get("properties")?.get(field));
                lacks |= self.take_unrequired(&at, schema, part);
            }
        }
        lacks
    }

    fn payload(&self, path: &[String], turns: &mut Turns) -> Payload {
        let value = self.value(path, self.schema.as_ref(), turns, 0);
        let text = value
            .unwrap_or_else(|| Value::Object(Map::new()))
            .to_string();
        Payload::trusted(text.into())
    }

    /// A value for a path; none if it is absent in this turn.
    fn value(
        &self,
        path: &[String],
        schema: Option<&Value>,
        turns: &mut Turns,
        depth: usize,
    ) -> Option<Value> {
        if let Some(fixed) = schema.and_then(|schema| schema.get("const")) {
            return Some(fixed.clone());
        }
        let mut fields = self.hints.fields(path);
        let is_list = fields.remove(ELEMENT) || expects(schema, "array");
        if depth > DEPTH_MAX {
            return Some(Value::Null);
        }
        let optional = self
            .hints
            .0
            .get(path)
            .is_some_and(|hints| hints.contains(&Hint::Optional));
        if optional && turns.choose(2) == 1 {
            return None;
        }
        if is_list {
            let mut element = path.to_vec();
            element.push(ELEMENT.to_owned());
            let items = schema.and_then(|schema| schema.get("items"));
            let item = self.value(&element, items, turns, depth + 1);
            return Some(Value::Array(item.into_iter().collect()));
        }
        let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
        let declared = properties
            .into_iter()
            .flat_map(|properties| properties.keys());
        fields.extend(declared.map(String::as_str));
        if !fields.is_empty() || expects(schema, "object") {
            let mut object = Map::new();
            for field in fields {
                let mut at = path.to_vec();
                at.push(field.to_owned());
                let schema = properties.and_then(|properties| properties.get(field));
                if let Some(value) = self.value(&at, schema, turns, depth + 1) {
                    object.insert(field.to_owned(), value);
                }
            }
            return Some(Value::Object(object));
        }
        let candidates = self.leaves(path, schema);
        let turn = turns.choose(candidates.len());
        candidates.into_iter().nth(turn)
    }

    /// What may stand at a path without parts, the plainest first.
    fn leaves(&self, path: &[String], schema: Option<&Value>) -> Vec<Value> {
        let of_schema = schema.map(leaves_of).unwrap_or_default();
        if !of_schema.is_empty() {
            return of_schema;
        }
        let mut candidates = Vec::new();
        let hints = self.hints.0.get(path).into_iter().flatten();
        for hint in hints {
            match hint {
                Hint::Optional => {}
                Hint::Bool => candidates.extend([Value::from(true), Value::from(false)]),
                Hint::Int => candidates.push(Value::from(1)),
                Hint::Double => candidates.push(Value::from(1.5)),
                Hint::List => candidates.push(Value::Array(vec![Value::from("sample")])),
                Hint::Text => candidates.push(Value::from("sample")),
                Hint::Time => candidates.push(Value::from("2030-01-01T00:00:00Z")),
                Hint::Equals(text) => {
                    candidates.extend([Value::from(text.as_str()), Value::from("another")]);
                }
                Hint::Near(number) => candidates.extend(
                    [*number, number.saturating_add(1), number.saturating_sub(1)].map(Value::from),
                ),
            }
        }
        let texts = candidates.iter().any(Value::is_string);
        let numbers = candidates.iter().any(Value::is_number);
        if texts && numbers {
            // Shown as text, and counted with: a number can be both.
            candidates.retain(|value| !value.is_string());
        }
        if candidates.is_empty() {
            candidates.push(Value::from("sample"));
        }
        candidates
    }
}

const DEPTH_MAX: usize = 16;

/// Which candidate is taken where: the first everywhere, but another one at one place.
#[derive(Default)]
struct Turns {
    chosen: Option<(usize, usize)>,
    /// How many candidates there were at each place.
    seen: Vec<usize>,
}

impl Turns {
    fn choose(&mut self, candidates: usize) -> usize {
        let place = self.seen.len();
        self.seen.push(candidates);
        match self.chosen {
            Some((chosen, turn)) if chosen == place => turn.min(candidates.saturating_sub(1)),
            _ => 0,
        }
    }
}

fn expects(schema: Option<&Value>, kind: &str) -> bool {
    schema
        .and_then(|schema| schema.get("type")?.as_str())
        .is_some_and(|known| known == kind)
}

fn leaves_of(schema: &Value) -> Vec<Value> {
    if let Some(Value::Array(values)) = schema.get("enum") {
        return values.clone();
    }
    if let Some(default) = schema.get("default") {
        return vec![default.clone()];
    }
    let minimum = schema.get("minimum").cloned();
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => vec![Value::from(true), Value::from(false)],
        Some("integer") => vec![minimum.unwrap_or(Value::from(1))],
        Some("number") => vec![minimum.unwrap_or(Value::from(1.5))],
        Some("null") => vec![Value::Null],
        Some("string") => {
            let length = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0);
            let length = usize::try_from(length).unwrap_or(0).min(1_024);
            vec![Value::from(format!("{:x<length$}", "sample"))]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str) -> Samples {
        let checked = crate::check(source.as_bytes());
        Samples::of(&checked.definition.expect("a right definition"))
    }

    fn texts(payloads: &[Payload]) -> Vec<String> {
        let text = |payload: &Payload| String::from_utf8_lossy(payload.as_bytes()).into_owned();
        payloads.iter().map(text).collect()
    }

    #[test]
    fn comparisons_branches_and_sums_shape_the_samples() {
        let samples = check(
            "apiVersion: amends/v1
name: shaped
steps:
  - id: reserve
    call: stock.reserve
    when: input.total > 100 && input.kind == 'express'
    input: {text: \"for ${{ input.name }}\", sum: \"${{ input.a + input.b }}\"}
    compensate: {call: stock.release, input: {id: \"${{ self.output.id }}\"}}
  - {id: ship, kind: retriable, call: shipping.create, when: has(input.email)}
",
        );
        assert_eq!(
            texts(&samples.inputs)[0],
            r#"{"a":1,"b":1,"email":"sample","kind":"express","name":"sample","total":100}"#
        );
        assert!(
            texts(&samples.inputs)
                .iter()
                .any(|text| !text.contains("email"))
        );
        assert!(
            texts(&samples.inputs)
                .iter()
                .any(|text| text.contains(":101"))
        );
        assert_eq!(texts(&samples.outputs[0]), [r#"{"id":"sample"}"#]);
    }

    #[test]
    fn an_output_lacks_what_is_read_of_it_and_not_required() {
        let source = "apiVersion: amends/v1
name: lacking
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release, input: {id: \"${{ self.output.id }}\"}}}
  - id: pay
    kind: pivot
    call: p.pay
    outputSchema: {type: object, required: [a], properties: {a: {type: object, required: [x]}, b: {type: string}}}
  - {id: mail, kind: retriable, call: p.mail, when: has(steps.hold.output.mail)}
  - {id: last, kind: retriable, call: p.last}
output: {x: \"${{ steps.pay.output.a.x }}\", y: \"${{ steps.pay.output.a.y }}\", b: \"${{ steps.pay.output.b }}\"}
";
        let lacking = check(source).lacking;
        let lacking = |step: usize| lacking[step].as_ref().map(Payload::as_bytes);
        assert_eq!(lacking(0), Some(&br#"{"mail":"sample"}"#[..]));
        assert_eq!(lacking(1), Some(&br#"{"a":{"x":"sample"}}"#[..]));
        assert_eq!(
            (lacking(2), lacking(3)),
            (None, None),
            "nothing is read of them"
        );
    }

    #[test]
    fn a_schema_goes_before_guesses() {
        let samples = check(
            "apiVersion: amends/v1
name: shaped
inputSchema:
  type: object
  required: [size]
  properties: {size: {enum: [small, large]}, count: {type: integer, minimum: 3}, tags: {type: array, items: {type: string}}}
steps:
  - {id: ship, kind: retriable, call: shipping.create, input: {size: \"${{ input.size }}\"}}
",
        );
        assert_eq!(
            texts(&samples.inputs)[..2],
            [
                r#"{"count":3,"size":"small","tags":["sample"]}"#,
                r#"{"count":3,"size":"large","tags":["sample"]}"#
            ]
        );
    }
}
