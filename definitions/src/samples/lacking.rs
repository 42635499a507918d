//! Payloads without something that expressions read of them and that no schema requires: each lacks one field. Deliberately
//! not here: fields that are asked for with `has`; plain samples vary in those.

use serde_json::Value;

use super::Maker;
use crate::expression::hints::ELEMENT;
use crate::payload::Payload;
use crate::schema::Schema;

/// A payload that lacks one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Which, as expressions read it: `steps.charge.output.id`, `input.items[].sku`.
    pub path: String,
    /// The same within the payload: `id`, `items[].sku`.
    pub field: String,
    /// The plain sample without it.
    pub payload: Payload,
}

/// So many fields of one payload are left out, each in a payload of its own.
pub(super) const LACKS_MAX: usize = 16;

impl Maker<'_> {
    /// The plain payload without one field, for each that is read of it and that nothing requires; and the paths of those
    /// that are too many.
    pub(super) fn lacking(&self, path: &[String]) -> (Vec<Lack>, Vec<String>) {
        let whole = self.payload(path, &mut super::Turns::default());
        let Ok(value) = serde_json::from_slice::<Value>(whole.as_bytes()) else {
            return (Vec::new(), Vec::new());
        };
        let mut unrequired = Vec::new();
        let schema = self.schema.map(|(_, source)| source);
        self.unrequired(&mut path.to_vec(), schema, &value, &mut unrequired);
        let (mut lacks, mut too_many) = (Vec::new(), Vec::new());
        for at in unrequired {
            let fields = &at[path.len()..];
            let mut value = value.clone();
            take(&mut value, fields);
            let payload = Payload::trusted(value.to_string().into());
            if self.is_refused(&whole, &payload) {
                continue;
            }
            if lacks.len() == LACKS_MAX {
                too_many.push(shown(&at));
                continue;
            }
            lacks.push(Lack {
                path: shown(&at),
                field: shown(fields),
                payload,
            });
        }
        (lacks, too_many)
    }

    /// The schema lets the payload through, and not without the field: so it does require it, in whatever words.
    fn is_refused(&self, whole: &Payload, without: &Payload) -> bool {
        let accepts = |schema: &Schema, payload| schema.check(payload).is_ok();
        self.schema
            .is_some_and(|(schema, _)| accepts(schema, whole) && !accepts(schema, without))
    }

    /// The fields at and under a path that are read, that are there, and that a schema does not plainly require.
    fn unrequired(
        &self,
        at: &mut Vec<String>,
        schema: Option<&Value>,
        value: &Value,
        found: &mut Vec<Vec<String>>,
    ) {
        let of_schema = |keyword: &str| schema.and_then(|schema| schema.get(keyword));
        match value {
            Value::Array(items) => {
                if let Some(item) = items.first() {
                    at.push(ELEMENT.to_owned());
                    self.unrequired(at, of_schema("items"), item, found);
                    at.pop();
                }
            }
            Value::Object(object) => {
                let required = of_schema("required").and_then(Value::as_array);
                let is_required = |field: &str| {
                    required.is_some_and(|names| names.iter().any(|name| name == field))
                };
                let fields = self.hints.fields(at).into_iter().map(str::to_owned);
                for field in fields.collect::<Vec<_>>() {
                    let Some(part) = object.get(&field) else {
                        continue;
                    };
                    let schema = of_schema("properties").and_then(|known| known.get(&field));
                    let is_required = is_required(&field);
                    at.push(field);
                    if !is_required && !self.hints.may_be_absent(at) {
                        found.push(at.clone());
                    }
                    self.unrequired(at, schema, part, found);
                    at.pop();
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn take(value: &mut Value, fields: &[String]) {
    match (value, fields) {
        (Value::Object(object), [field]) => {
            object.remove(field);
        }
        (Value::Object(object), [field, rest @ ..]) => {
            if let Some(part) = object.get_mut(field) {
                take(part, rest);
            }
        }
        (Value::Array(items), [_, rest @ ..]) => {
            if let Some(item) = items.first_mut() {
                take(item, rest);
            }
        }
        _ => {}
    }
}

/// A path as it is read: `input.items[].sku`.
pub(super) fn shown(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        if part != ELEMENT && !text.is_empty() {
            text.push('.');
        }
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    fn lacks(lacks: &[Lack]) -> Vec<(&str, &str)> {
        let text = |lack| std::str::from_utf8(Payload::as_bytes(lack)).expect("JSON is text");
        lacks
            .iter()
            .map(|lack| (lack.path.as_str(), text(&lack.payload)))
            .collect()
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
        let lacking = check(source).lacking.outputs;
        assert_eq!(
            lacks(&lacking[0]),
            [("steps.hold.output.id", r#"{"mail":"sample"}"#)]
        );
        assert_eq!(
            lacks(&lacking[1]),
            [
                (
                    "steps.pay.output.a.y",
                    r#"{"a":{"x":"sample"},"b":"sample"}"#
                ),
                ("steps.pay.output.b", r#"{"a":{"x":"sample","y":"sample"}}"#),
            ]
        );
        assert!(lacking[2].is_empty(), "nothing is read of it");
        assert!(lacking[3].is_empty(), "nothing is read of it");
    }

    #[test]
    fn inputs_items_and_signals_lack_what_is_read_of_them_and_not_required() {
        let source = "apiVersion: amends/v1
name: lacking
inputSchema: {type: object, required: [cars], properties: {cars: {type: array, items: {type: object, required: [city]}}}}
signals: {go: {schema: {type: object, required: [by], properties: {by: {type: object}}}}}
steps:
  - {id: wait, needs: [], wait: {signal: go}}
  - id: cars
    foreach: {in: \"input.cars.filter(car, car.wanted)\", as: car, key: car.city}
    call: cars.hold
    input: {size: \"${{ car.size }}\", note: \"${{ steps.wait.output.by.name }}\", to: \"${{ signals.go.to }}\"}
    compensate: {call: cars.cancel}
output: {first: \"${{ steps.cars.output[0].ref }}\", all: \"${{ steps.cars.output.map(car, car.price) }}\"}
";
        let found = check(source);
        let paths = |found: &[Lack]| -> Vec<String> {
            found.iter().map(|lack| lack.path.clone()).collect()
        };
        assert_eq!(
            lacks(&found.lacking.inputs),
            [
                (
                    "input.cars[].size",
                    r#"{"cars":[{"city":"sample","wanted":true}]}"#
                ),
                (
                    "input.cars[].wanted",
                    r#"{"cars":[{"city":"sample","size":"sample"}]}"#
                ),
            ]
        );
        assert_eq!(
            lacks(&found.lacking.signals["go"]),
            [
                ("signals.go.by.name", r#"{"by":{},"to":"sample"}"#),
                ("signals.go.to", r#"{"by":{"name":"sample"}}"#),
            ]
        );
        assert_eq!(
            paths(&found.lacking.outputs[1]),
            ["steps.cars.output[].price", "steps.cars.output[].ref"]
        );
        assert_eq!(found.lacking.outputs[1][0].field, "price");
        assert!(found.assumed.is_empty(), "{:?}", found.assumed);
    }

    #[test]
    fn what_a_schema_requires_in_other_words_is_required() {
        let source = |schema: &str| {
            format!(
                "apiVersion: amends/v1
name: lacking
inputSchema: {schema}
steps:
  - {{id: ship, kind: retriable, call: p.ship, input: {{to: \"${{{{ input.to }}}}\"}}}}
"
            )
        };
        let properties = "properties: {to: {type: string}}";
        for (schema, expected) in [
            (
                format!("{{type: object, {properties}, minProperties: 1}}"),
                0,
            ),
            (
                format!("{{type: object, {properties}, allOf: [{{required: [to]}}]}}"),
                0,
            ),
            (
                format!("{{type: object, {properties}, minProperties: 0}}"),
                1,
            ),
        ] {
            let found = check(&source(&schema)).lacking.inputs;
            assert_eq!(found.len(), expected, "{schema}");
        }
    }

    #[test]
    fn what_cannot_be_left_out_is_assumed() {
        let source = "apiVersion: amends/v1
name: lacking
steps:
  - id: cars
    needs: []
    foreach: {in: \"input.cars.map(car, car.best)\", as: best}
    call: cars.hold
    input: {city: \"${{ best.city }}\", size: \"${{ input.sizes[input.size].width }}\"}
    compensate: {call: cars.cancel}
";
        assert_eq!(
            check(source).assumed,
            [
                "`best.city` is there: it is read of a computed value",
                "`width` is there: it is read of a computed value",
            ]
        );
    }

    #[test]
    fn what_a_compensation_reads_of_its_own_input_is_followed_to_where_it_comes_from() {
        let source = |input: &str, read: &str| {
            format!(
                "apiVersion: amends/v1
name: lacking
steps:
  - id: hold
    call: p.hold
    input: {input}
    compensate: {{call: p.release, input: {{id: \"${{{{ {read} }}}}\"}}}}
"
            )
        };
        let whole = "\"${{ input.flight }}\"";
        let parts = "{flight: \"${{ input.flight }}\", kind: 7, all: \"${{ [input.flight] }}\"}";
        for (input, read, lacks, assumed) in [
            (
                whole,
                "self.input.id",
                &["input.flight", "input.flight.id"][..],
                0,
            ),
            (
                parts,
                "self.input.flight.id",
                &["input.flight", "input.flight.id"],
                0,
            ),
            (parts, "self.input.kind", &["input.flight"], 0),
            (parts, "self.input.all[0].id", &["input.flight"], 1),
        ] {
            let found = check(&source(input, read));
            let paths: Vec<_> = found.lacking.inputs.iter().map(|lack| &lack.path).collect();
            assert_eq!(paths, lacks, "{read}");
            assert_eq!(found.assumed.len(), assumed, "{:?}", found.assumed);
        }
    }

    #[test]
    fn so_many_fields_of_a_payload_are_left_out_and_the_others_are_assumed() {
        let source = |fields: usize| {
            let read: Vec<String> = (10..10 + fields)
                .map(|field| format!("f{field}: \"${{{{ input.f{field} }}}}\""))
                .collect();
            format!(
                "apiVersion: amends/v1\nname: lacking\nsteps:\n  - {{id: ship, kind: retriable, call: p.ship, input: {{{}}}}}\n",
                read.join(", ")
            )
        };
        let found = check(&source(LACKS_MAX));
        assert_eq!(found.lacking.inputs.len(), LACKS_MAX);
        assert!(found.assumed.is_empty(), "{:?}", found.assumed);
        let found = check(&source(LACKS_MAX + 1));
        assert_eq!(found.lacking.inputs.len(), LACKS_MAX);
        assert_eq!(
            found.assumed,
            ["`input.f26` is there: 16 other fields of that payload are left out"]
        );
    }
}
