//! The normal form: a definition as JSON with every default filled in and every key in order. It is what a store keeps and
//! what the hash is of, so it is versioned: `{"v":1,…}`. Reading it back runs the same checks as reading a document.

use std::collections::BTreeMap;

use crate::check;
use crate::definition::{
    Compensation, CompensationOrder, Definition, Kind, RetryPolicy, Step, Timeouts,
};
use crate::diagnostic::{Report, Severity};
use crate::document::draft::Origin;
use crate::document::duration;
use crate::document::node::{Entry, Node, NodeValue, Scalar, Style};
use crate::expression::{Expression, Mapping};
use crate::json::{self, Fault, Reader};
use crate::limits::{DOCUMENT_BYTES_MAX, PAYLOAD_DEPTH_MAX};

/// Why bytes are not a normal form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a definition in normal form: {0}")]
pub struct NormalFormError(String);

/// Writes a definition in normal form.
#[must_use]
pub fn to_normal_form(definition: &Definition) -> String {
    let mut fields = BTreeMap::from([
        ("apiVersion", string("amends/v1")),
        ("name", string(&definition.name)),
        ("compensation", compensation_policy(definition)),
        (
            "steps",
            list(
                (definition.steps.iter().enumerate())
                    .map(|(place, one)| step(definition, place, one)),
            ),
        ),
    ]);
    if let Some(version) = &definition.version {
        fields.insert("version", string(version));
    }
    if let Some(description) = &definition.description {
        fields.insert("description", string(description));
    }
    if !definition.labels.is_empty() {
        let labels = definition.labels.iter();
        let labels = labels.map(|(name, value)| (name.as_str(), string(value)));
        fields.insert("labels", object(labels.collect()));
    }
    if let Some(key) = &definition.key {
        fields.insert("key", expression(key));
    }
    if let Some(schema) = &definition.input_schema {
        fields.insert("inputSchema", schema.source().to_owned());
    }
    if let Some(output) = &definition.output {
        fields.insert("output", output.source().to_owned());
    }
    format!("{{\"v\":1,\"definition\":{}}}", object(fields))
}

/// Reads a definition in normal form.
///
/// # Errors
/// What is wrong with it.
pub fn from_normal_form(bytes: &[u8]) -> Result<Definition, NormalFormError> {
    let wrong = |what: &str| NormalFormError(what.to_owned());
    if bytes.len() > NORMAL_FORM_BYTES_MAX {
        return Err(wrong("it is too large"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
    let fault = |fault: Fault| NormalFormError(fault.to_string());
    json::check(text, PAYLOAD_DEPTH_MAX).map_err(fault)?;
    let node = node(&mut Reader::new(text)).map_err(fault)?;
    let NodeValue::Map(entries) = &node.value else {
        return Err(wrong("it is not an object"));
    };
    let version = entries.iter().find(|entry| entry.key == "v");
    match version.map(|version| &version.value.value) {
        Some(NodeValue::Scalar(version)) if version.text == "1" => {}
        _ => return Err(wrong("its version is not known")),
    }
    let Some(entry) = entries.iter().find(|entry| entry.key == "definition") else {
        return Err(wrong("it has no `definition`"));
    };
    let mut report = Report::new(bytes);
    let definition = check::definition(&entry.value, Origin::NormalForm, &mut report);
    definition.ok_or_else(|| {
        let diagnostics = report.into_diagnostics();
        let mut errors = diagnostics.iter();
        match errors.find(|found| found.severity == Severity::Error) {
            Some(error) => NormalFormError(format!("{}: {}", error.code, error.message)),
            None => wrong("it is incomplete"),
        }
    })
}

/// Filling in the defaults makes a document grow.
const NORMAL_FORM_BYTES_MAX: usize = 8 * DOCUMENT_BYTES_MAX;

fn compensation_policy(definition: &Definition) -> String {
    let policy = &definition.compensation;
    let order = match policy.order {
        CompensationOrder::Reverse => "reverse",
        CompensationOrder::Parallel => "parallel",
    };
    object(BTreeMap::from([
        ("order", string(order)),
        ("parkAfter", string(&duration::format(policy.park_after))),
    ]))
}

fn step(definition: &Definition, place: usize, step: &Step) -> String {
    let kind = match step.kind {
        Kind::Compensatable => "compensatable",
        Kind::Pivot => "pivot",
        Kind::Retriable => "retriable",
    };
    let needs = definition.graph.needs(crate::graph::index(place));
    let needs = needs.iter().map(|need| string(&definition.step(*need).id));
    let mut fields = BTreeMap::from([
        ("id", string(&step.id)),
        ("kind", string(kind)),
        ("needs", list(needs)),
    ]);
    if let Some(work) = step.call() {
        call(
            &mut fields,
            work.action.as_str(),
            work.input.as_ref(),
            &step.retry,
            &step.timeouts,
        );
    }
    if let Some(when) = &step.when {
        fields.insert("when", expression(when));
    }
    match &step.compensation {
        Compensation::NotApplicable | Compensation::Child => {}
        Compensation::None { why } => {
            let none = BTreeMap::from([("none", string(why))]);
            fields.insert("compensate", object(none));
        }
        Compensation::Call(undo) => {
            let mut compensate = BTreeMap::new();
            call(
                &mut compensate,
                undo.action.as_str(),
                undo.input.as_ref(),
                &undo.retry,
                &undo.timeouts,
            );
            fields.insert("compensate", object(compensate));
        }
    }
    object(fields)
}

fn call(
    fields: &mut BTreeMap<&str, String>,
    action: &str,
    input: Option<&Mapping>,
    retry: &RetryPolicy,
    timeouts: &Timeouts,
) {
    fields.insert("call", string(action));
    if let Some(input) = input {
        fields.insert("input", input.source().to_owned());
    }
    let time = |time| string(&duration::format(time));
    let mut policy = BTreeMap::from([
        ("initialInterval", time(retry.initial_interval)),
        ("backoff", double(retry.backoff)),
        ("maxInterval", time(retry.max_interval)),
        ("jitter", double(retry.jitter)),
        ("maxAttempts", retry.max_attempts.to_string()),
        (
            "nonRetryable",
            list(retry.non_retryable.iter().map(|code| string(code))),
        ),
    ]);
    if let Some(max_elapsed) = retry.max_elapsed {
        policy.insert("maxElapsed", time(max_elapsed));
    }
    fields.insert("retry", object(policy));
    let mut timeout = BTreeMap::from([("attempt", time(timeouts.attempt))]);
    if let Some(total) = timeouts.total {
        timeout.insert("total", time(total));
    }
    if let Some(schedule) = timeouts.schedule {
        timeout.insert("schedule", time(schedule));
    }
    fields.insert("timeout", object(timeout));
}

fn expression(expression: &Expression) -> String {
    string(&format!("${{{{ {} }}}}", expression.source()))
}

fn string(text: &str) -> String {
    let mut out = String::new();
    json::write_string(&mut out, text);
    out
}

fn double(value: f64) -> String {
    let mut out = String::new();
    json::write_double(&mut out, value);
    out
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn object(fields: BTreeMap<&str, String>) -> String {
    let fields: Vec<String> = fields
        .into_iter()
        .map(|(key, value)| format!("{}:{value}", string(key)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// Reads checked JSON into a node: its nesting is bounded, so recursion is.
fn node(reader: &mut Reader<'_>) -> Result<Node, Fault> {
    let first = reader.peek();
    let start = reader.at();
    let scalar = |text: String, style| NodeValue::Scalar(Scalar { text, style });
    let value = match first {
        Some(b'{') => {
            let mut entries = Vec::new();
            reader.members::<Fault>(|reader, key| {
                let at = reader.at();
                entries.push(Entry {
                    key: key.into_owned(),
                    key_span: at..at,
                    value: node(reader)?,
                });
                Ok(())
            })?;
            NodeValue::Map(entries)
        }
        Some(b'[') => {
            let mut items = Vec::new();
            reader.items::<Fault>(|reader| {
                items.push(node(reader)?);
                Ok(())
            })?;
            NodeValue::List(items)
        }
        Some(b'"') => scalar(reader.string()?.into_owned(), Style::Quoted),
        Some(b'-' | b'0'..=b'9') => scalar(reader.number()?.text.to_owned(), Style::Json),
        _ => scalar(reader.word()?.to_owned(), Style::Json),
    };
    Ok(Node {
        span: start..reader.at(),
        value,
    })
}
