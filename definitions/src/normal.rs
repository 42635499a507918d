//! The normal form: a definition as JSON with every default filled in and every key in order. It is what a store keeps and
//! what the hash is of, so it is versioned: `{"v":1,…}`. Reading it back runs the same checks as reading a document.

mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::check;
use crate::definition::{CompensationOrder, Definition, OnLimit, Then};
use crate::diagnostic::{Report, Severity};
use crate::document::draft::THEN;
use crate::document::duration;
use crate::document::node::{Entry, Node, NodeValue, Scalar, Style};
use crate::expression::Expression;
use crate::json::{self, Fault, Reader};
use crate::limits::{NORMAL_FORM_BYTES_MAX, PAYLOAD_DEPTH_MAX, RETENTION_DEFAULT};

/// Why bytes are not a normal form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a definition in normal form: {0}")]
pub struct NormalFormError(String);

/// Writes a definition in normal form.
///
/// What version 1 of the form did not have from its beginning is left out where it has its default, so that the form of a
/// definition, and with it its hash, never changes: the defaults of what may be left out are those of version 1 for ever.
#[must_use]
pub fn to_normal_form(definition: &Definition) -> String {
    format!("{{\"v\":1,\"definition\":{}}}", object(fields(definition)))
}

fn fields(definition: &Definition) -> BTreeMap<&'static str, String> {
    let mut fields = BTreeMap::from([
        ("apiVersion", string("amends/v1")),
        ("name", string(&definition.name)),
        ("compensation", compensation_policy(definition)),
        (
            "steps",
            list(
                (definition.steps.iter().enumerate())
                    .map(|(place, one)| step::write(definition, place, one)),
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
    if let Some(key) = &definition.ordering_key {
        fields.insert("orderingKey", expression(key));
    }
    if let Some(schema) = &definition.input_schema {
        fields.insert("inputSchema", schema.source().to_owned());
    }
    if let Some(output) = &definition.output {
        fields.insert("output", output.source().to_owned());
    }
    surroundings(&mut fields, definition);
    fields
}

/// What of a step, by its id, a newer definition says otherwise than an older one: keys such as `retry` or `input`;
/// `removed` if it has no such step, `added` if the older had none. Empty if nothing changed.
#[must_use]
pub fn step_changes(older: &Definition, newer: &Definition, id: &str) -> Vec<String> {
    step::changes(older, newer, id)
}

/// Which keys of the definition itself, such as `timeout` or `output`, a newer one says otherwise than an older one. What
/// steps inherit is in theirs.
#[must_use]
pub fn definition_changes(older: &Definition, newer: &Definition) -> Vec<&'static str> {
    let (old, new) = (fields(older), fields(newer));
    let keys: BTreeSet<&&str> = old.keys().chain(new.keys()).collect();
    let own = keys.into_iter().filter(|key| **key != "steps");
    let changed = own.filter(|key| old.get(**key) != new.get(**key));
    changed.copied().collect()
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
    let definition = check::definition(&entry.value, &mut report);
    definition.ok_or_else(|| {
        let diagnostics = report.into_diagnostics();
        let mut errors = diagnostics.iter();
        match errors.find(|found| found.severity == Severity::Error) {
            Some(error) => NormalFormError(format!("{}: {}", error.code, error.message)),
            None => wrong("it is incomplete"),
        }
    })
}

fn surroundings(fields: &mut BTreeMap<&'static str, String>, definition: &Definition) {
    if let Some(deadline) = definition.deadline {
        fields.insert("timeout", time(deadline.after));
        fields.insert("onTimeout", string(then(deadline.then)));
    }
    if let Some(concurrency) = definition.concurrency {
        let on_limit = match concurrency.on_limit {
            OnLimit::Queue => "queue",
            OnLimit::Reject => "reject",
        };
        let concurrency = BTreeMap::from([
            ("max", concurrency.max.to_string()),
            ("onLimit", string(on_limit)),
        ]);
        fields.insert("concurrency", object(concurrency));
    }
    if !definition.signals.is_empty() {
        let signals = definition.signals.iter().map(|(id, signal)| {
            let schema = signal.schema.as_ref();
            let schema = schema.map(|schema| ("schema", schema.source().to_owned()));
            (id.as_str(), object(schema.into_iter().collect()))
        });
        fields.insert("signals", object(signals.collect()));
    }
    if definition.retention != RETENTION_DEFAULT {
        fields.insert("retention", time(definition.retention));
    }
}

fn compensation_policy(definition: &Definition) -> String {
    let policy = &definition.compensation;
    let order = match policy.order {
        CompensationOrder::Reverse => "reverse",
        CompensationOrder::Parallel => "parallel",
    };
    object(BTreeMap::from([
        ("order", string(order)),
        ("parkAfter", time(policy.park_after)),
    ]))
}

fn then(then: Then) -> &'static str {
    let known = THEN.iter().find(|(_, known)| *known == then);
    known.map_or("park", |(word, _)| word)
}

fn time(time: Duration) -> String {
    string(&duration::format(time))
}

fn expression(expression: &Expression) -> String {
    string(&format!("${{{{ {} }}}}", expression.source()))
}

fn string(text: &str) -> String {
    let mut out = String::new();
    json::write_string(&mut out, text);
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
