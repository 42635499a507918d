//! A draft: what a document says, each part with its place. Nothing here is resolved against anything else yet.

mod step;
mod surroundings;
mod work;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

pub(crate) use step::{CompensateBody, ForeachDraft, RouteDraft, StepDraft};
pub(crate) use surroundings::{ParticipantDraft, SignalDraft};
pub(crate) use work::{CallDraft, FailDraft, SleepDraft, WaitDraft, WorkDraft};

use super::fields::{self, Fields, Spanned};
use super::keys;
use super::node::{Node, NodeValue};
use super::policy::{self, Layer, RetryFields};
use crate::definition::{CompensationPolicy, Concurrency, Deadline, Then};
use crate::diagnostic::Report;
use crate::limits::{DESCRIPTION_BYTES_MAX, ENTRIES_MAX, LABEL_BYTES_MAX, NAME_BYTES_MAX};

/// A definition as written.
#[derive(Debug)]
pub(crate) struct Draft<'n> {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) version: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) key: Option<&'n Node>,
    pub(crate) ordering_key: Option<&'n Node>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) signals: Vec<SignalDraft<'n>>,
    pub(crate) retention: Option<Duration>,
    pub(crate) input_schema: Option<&'n Node>,
    pub(crate) output: Option<&'n Node>,
    pub(crate) participants: Vec<ParticipantDraft>,
    pub(crate) defaults: Layer,
    pub(crate) policies: Vec<(Spanned<String>, RetryFields)>,
    pub(crate) compensation: CompensationPolicy,
    pub(crate) compensation_defaults: Layer,
    pub(crate) steps: Vec<StepDraft<'n>>,
}

/// Where a failure, or a time that is over, may lead.
pub(crate) const THEN: [(&str, Then); 3] = [
    ("compensate", Then::Compensate),
    ("continue", Then::Continue),
    ("park", Then::Park),
];

/// Reads a draft; none if there is no mapping to read it from.
pub(crate) fn read<'n>(node: &'n Node, report: &mut Report) -> Option<Draft<'n>> {
    let NodeValue::Map(_) = &node.value else {
        report
            .error(
                "NOT_A_MAPPING",
                format!("a definition is a mapping, and this is {}", node.kind()),
                node.span.clone(),
            )
            .help("a definition begins with `apiVersion: amends/v1`");
        return None;
    };
    let (known, later) = (&keys::DEFINITION, &keys::DEFINITION_LATER);
    let fields = Fields::read(node, "a definition", known, later, report)?;
    let top = node.span.start..node.span.start;
    api_version(fields, &top, report);
    let name = fields.require("name", "a definition", &top, report);
    let name = name.and_then(|node| fields::text(node, "`name`", NAME_BYTES_MAX, report));
    let steps = fields.require("steps", "a definition", &top, report);
    let (compensation, compensation_defaults) = surroundings::compensation(fields, report);
    Some(Draft {
        name,
        version: optional_text(fields, "version", LABEL_BYTES_MAX, report),
        description: optional_text(fields, "description", DESCRIPTION_BYTES_MAX, report),
        labels: labels(fields, report),
        key: fields.get("key"),
        ordering_key: fields.get("orderingKey"),
        deadline: surroundings::deadline(fields, report),
        concurrency: surroundings::concurrency(fields, report),
        signals: surroundings::signals(fields, report),
        retention: fields
            .get("retention")
            .and_then(|node| fields::duration(node, "`retention`", report))
            .map(|retention| retention.value),
        input_schema: fields.get("inputSchema"),
        output: fields.get("output"),
        participants: surroundings::participants(fields, report),
        defaults: surroundings::defaults(fields, report),
        policies: policies(fields, report),
        compensation,
        compensation_defaults,
        steps: steps.map_or_else(Vec::new, |node| step::read_all(node, report)),
    })
}

fn api_version(fields: Fields<'_>, top: &Range<usize>, report: &mut Report) {
    let Some(node) = fields.require("apiVersion", "a definition", top, report) else {
        return;
    };
    if let Some(version) = fields::text(node, "`apiVersion`", LABEL_BYTES_MAX, report)
        && version.value != "amends/v1"
    {
        let message = format!("`apiVersion` is `{}`, which is not known", version.value);
        report
            .error("API_VERSION", message, version.span)
            .help("write `apiVersion: amends/v1`");
    }
}

fn optional_text(fields: Fields<'_>, key: &str, max: usize, report: &mut Report) -> Option<String> {
    let node = fields.get(key)?;
    fields::text(node, &format!("`{key}`"), max, report).map(|text| text.value)
}

fn labels(fields: Fields<'_>, report: &mut Report) -> BTreeMap<String, String> {
    let entries = fields
        .get("labels")
        .and_then(|node| fields::entries(node, "`labels`", ENTRIES_MAX, report));
    let mut labels = BTreeMap::new();
    for entry in entries.unwrap_or_default() {
        let what = format!("the label `{}`", crate::json::shortened(&entry.key));
        if entry.key.is_empty() || entry.key.len() > LABEL_BYTES_MAX {
            let message = format!("a label's name has 1 to {LABEL_BYTES_MAX} bytes");
            report.error("TOO_LONG", message, entry.key_span.clone());
        }
        if let Some(value) = fields::text(&entry.value, &what, LABEL_BYTES_MAX, report) {
            labels.insert(entry.key.clone(), value.value);
        }
    }
    labels
}

fn policies(fields: Fields<'_>, report: &mut Report) -> Vec<(Spanned<String>, RetryFields)> {
    let entries = fields
        .get("retryPolicies")
        .and_then(|node| fields::entries(node, "`retryPolicies`", ENTRIES_MAX, report));
    let mut policies = Vec::new();
    for entry in entries.unwrap_or_default() {
        let what = format!("the policy `{}`", crate::json::shortened(&entry.key));
        if let Some(policy) = policy::retry_fields(&entry.value, &what, report) {
            policies.push((entry.name(), policy));
        }
    }
    policies
}
