//! Payloads that a definition can work with: inputs, outputs and signals made up from its schemas and from what its
//! expressions do with them. So a definition can be explored without participants. Deliberately not here: any promise that
//! real payloads look like these.

mod failures;
mod lacking;
mod reading;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::definition::{Definition, Step};
use crate::expression::compile::with_room;
use crate::expression::hints::{ELEMENT, Hint, Hints};
use crate::expression::reference::{ROOTS, ROOTS_IN_PLACES};
use crate::payload::Payload;
use crate::schema::Schema;

pub use failures::{FailureReads, StepFailureReads, is_code};
pub use lacking::Lack;
use lacking::{LACKS_MAX, shown};
use reading::collect;

/// What a definition can work with. The first of each list is the plain case; the others take the other way at one place
/// where an expression branches.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Starts.
    pub inputs: Vec<Payload>,
    /// Outputs of each step in document order; under `foreach`, of one item.
    pub outputs: Vec<Vec<Payload>>,
    /// Payloads of each declared signal.
    pub signals: BTreeMap<String, Vec<Payload>>,
    /// What each of them may lack.
    pub lacking: Lacking,
    /// What no schema requires, is read, and is in every sample all the same; in words.
    pub assumed: Vec<String>,
    /// What expressions read of failures.
    pub failures: FailureReads,
}

/// The plain samples, each without one field that expressions read of it and its schema does not require.
#[derive(Clone, Debug, Default)]
pub struct Lacking {
    /// Starts; items of its lists lack fields as well.
    pub inputs: Vec<Lack>,
    /// Outputs of each step in document order.
    pub outputs: Vec<Vec<Lack>>,
    /// Payloads of each declared signal.
    pub signals: BTreeMap<String, Vec<Lack>>,
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
    /// assert_eq!(samples.lacking.inputs[0].payload.as_bytes(), br#"{"name":"sample"}"#);
    /// ```
    #[must_use]
    pub fn of(definition: &Definition) -> Self {
        let hints = with_room(|| collect(definition)).unwrap_or_default();
        let failures = with_room(|| failures::collect(definition)).unwrap_or_default();
        let mut assumed = of_computed(definition, &hints);
        assumed.extend(failures.assumed.iter().cloned());
        let mut made = |path: Vec<String>, schema: Option<&Schema>| {
            let source = schema.and_then(|schema| serde_json::from_str(schema.source()).ok());
            let maker = Maker {
                hints: &hints,
                schema: schema.zip(source.as_ref()),
            };
            let (lacks, too_many) = maker.lacking(&path);
            assumed.extend(too_many.iter().map(|path| {
                format!("`{path}` is there: {LACKS_MAX} other fields of that payload are left out")
            }));
            (maker.payloads(&path), lacks)
        };
        let (inputs, lacking_inputs) = made(path(&["input"]), definition.input_schema());
        let (mut outputs, mut lacking_outputs) = (Vec::new(), Vec::new());
        for step in definition.steps() {
            let (payloads, lacks) = made(output_of(step), step.output_schema());
            outputs.push(payloads);
            lacking_outputs.push(lacks);
        }
        let (mut signals, mut lacking_signals) = (BTreeMap::new(), BTreeMap::new());
        for (id, signal) in definition.signals() {
            let (payloads, lacks) = made(path(&["signals", id]), signal.schema());
            signals.insert(id.clone(), payloads);
            lacking_signals.insert(id.clone(), lacks);
        }
        Self {
            inputs,
            outputs,
            signals,
            lacking: Lacking {
                inputs: lacking_inputs,
                outputs: lacking_outputs,
                signals: lacking_signals,
            },
            assumed,
            failures,
        }
    }
}

fn path(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

fn output_of(step: &Step) -> Vec<String> {
    let mut at = path(&["steps", step.id(), "output"]);
    if step.foreach().is_some() {
        at.push(ELEMENT.to_owned());
    }
    at
}

/// Fields that are read of what an expression computes: nobody can tell what would have to lack them.
fn of_computed(definition: &Definition, hints: &Hints) -> Vec<String> {
    // Such an item is what it is in every saga.
    let is_constant = |name: &str| {
        let mut lists = definition.steps().iter().filter_map(Step::foreach);
        lists.any(|foreach| foreach.name() == name && foreach.list().references().is_empty())
    };
    let of_names = hints.paths.keys().filter(|path| match path.as_slice() {
        [root, field, _, ..] if root == "self" => field == "input",
        [root, _, ..] => {
            let root = root.as_str();
            !ROOTS.contains(&root) && !ROOTS_IN_PLACES.contains(&root) && !is_constant(root)
        }
        _ => false,
    });
    let of_names = of_names.filter(|path| !hints.may_be_absent(path));
    let fields = of_names.map(|path| shown(path));
    fields
        .chain(hints.of_computed.iter().cloned())
        .map(|field| format!("`{field}` is there: it is read of a computed value"))
        .collect()
}

/// Variants of one payload beside the plain one.
const VARIANTS_MAX: usize = 6;

/// Makes the payloads of one path.
struct Maker<'h> {
    hints: &'h Hints,
    /// Compiled, and as it was written.
    schema: Option<(&'h Schema, &'h Value)>,
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

    fn payload(&self, path: &[String], turns: &mut Turns) -> Payload {
        let value = self.value(path, self.schema.map(|(_, source)| source), turns, 0);
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
        if self.hints.may_be_absent(path) && turns.choose(2) == 1 {
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
        let hints = self.hints.paths.get(path).into_iter().flatten();
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

    pub(super) fn check(source: &str) -> Samples {
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
