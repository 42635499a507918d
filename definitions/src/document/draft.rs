//! A draft: what a document says, each part with its place. Nothing here is resolved against anything else yet.

use std::collections::BTreeMap;
use std::ops::Range;

use super::fields::{self, Fields, Spanned};
use super::node::{Node, NodeValue};
use super::policy::{self, RetryDraft, RetryFields, TimeoutFields};
use crate::definition::{CompensationOrder, CompensationPolicy, Kind};
use crate::diagnostic::Report;
use crate::limits::{
    DESCRIPTION_BYTES_MAX, ENTRIES_MAX, ID_BYTES_MAX, LABEL_BYTES_MAX, NAME_BYTES_MAX, STEPS_MAX,
};

/// Who wrote the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An author.
    Author,
    /// [`to_normal_form`](crate::to_normal_form), which spells out what an author cannot set yet.
    NormalForm,
}

/// A definition as written.
#[derive(Debug)]
pub(crate) struct Draft<'n> {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) version: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) key: Option<&'n Node>,
    pub(crate) input_schema: Option<&'n Node>,
    pub(crate) output: Option<&'n Node>,
    pub(crate) default_retry: RetryFields,
    pub(crate) default_timeout: TimeoutFields,
    pub(crate) policies: Vec<(Spanned<String>, RetryFields)>,
    pub(crate) compensation: CompensationPolicy,
    pub(crate) steps: Vec<StepDraft<'n>>,
}

/// A step as written.
#[derive(Debug)]
pub(crate) struct StepDraft<'n> {
    pub(crate) id: Spanned<String>,
    /// None means the step above.
    pub(crate) needs: Option<Vec<Spanned<String>>>,
    pub(crate) kind: Spanned<Kind>,
    pub(crate) when: Option<&'n Node>,
    pub(crate) call: CallDraft<'n>,
    pub(crate) compensate: Option<CompensateDraft<'n>>,
}

/// A call as written.
#[derive(Debug)]
pub(crate) struct CallDraft<'n> {
    pub(crate) action: Option<Spanned<String>>,
    pub(crate) input: Option<&'n Node>,
    pub(crate) retry: Option<RetryDraft>,
    pub(crate) timeout: TimeoutFields,
}

/// `compensate` as written.
#[derive(Debug)]
pub(crate) struct CompensateDraft<'n> {
    pub(crate) span: Range<usize>,
    pub(crate) body: CompensateBody<'n>,
}

/// What `compensate` says.
#[derive(Debug)]
pub(crate) enum CompensateBody<'n> {
    /// Nothing to do, and why.
    None(Option<Spanned<String>>),
    Call(Box<CallDraft<'n>>),
}

const TOP: [&str; 12] = [
    "apiVersion",
    "name",
    "version",
    "description",
    "labels",
    "key",
    "inputSchema",
    "output",
    "defaults",
    "retryPolicies",
    "steps",
    "compensation",
];
const TOP_LATER: [&str; 9] = [
    "orderingKey",
    "timeout",
    "onTimeout",
    "compensation",
    "concurrency",
    "triggers",
    "signals",
    "retention",
    "participants",
];
const STEP: [&str; 9] = [
    "id",
    "needs",
    "call",
    "kind",
    "when",
    "input",
    "compensate",
    "retry",
    "timeout",
];
const STEP_LATER: [&str; 9] = [
    "wait",
    "sleep",
    "saga",
    "emit",
    "fail",
    "onError",
    "query",
    "foreach",
    "outputSchema",
];

/// Reads a draft; none if there is no mapping to read it from.
pub(crate) fn read<'n>(node: &'n Node, origin: Origin, report: &mut Report) -> Option<Draft<'n>> {
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
    let known = match origin {
        Origin::Author => &TOP[..TOP.len() - 1],
        Origin::NormalForm => &TOP[..],
    };
    let fields = Fields::read(node, "a definition", known, &TOP_LATER, report)?;
    let top = node.span.start..node.span.start;
    api_version(fields, &top, report);
    let name = fields.require("name", "a definition", &top, report);
    let name = name.and_then(|node| fields::text(node, "`name`", NAME_BYTES_MAX, report));
    let (default_retry, default_timeout) = defaults(fields, report);
    let steps = fields.require("steps", "a definition", &top, report);
    Some(Draft {
        name,
        version: optional_text(fields, "version", LABEL_BYTES_MAX, report),
        description: optional_text(fields, "description", DESCRIPTION_BYTES_MAX, report),
        labels: labels(fields, report),
        key: fields.get("key"),
        input_schema: fields.get("inputSchema"),
        output: fields.get("output"),
        default_retry,
        default_timeout,
        policies: policies(fields, report),
        compensation: compensation(fields, origin, report),
        steps: steps.map_or_else(Vec::new, |node| read_steps(node, report)),
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

fn defaults(fields: Fields<'_>, report: &mut Report) -> (RetryFields, TimeoutFields) {
    let Some(fields) = fields
        .get("defaults")
        .and_then(|node| Fields::read(node, "`defaults`", &["retry", "timeout"], &[], report))
    else {
        return (RetryFields::default(), TimeoutFields::default());
    };
    let retry = fields
        .get("retry")
        .and_then(|node| policy::retry_fields(node, "`defaults.retry`", report));
    let timeout = fields
        .get("timeout")
        .and_then(|node| policy::timeout(node, report));
    (retry.unwrap_or_default(), timeout.unwrap_or_default())
}

fn policies(fields: Fields<'_>, report: &mut Report) -> Vec<(Spanned<String>, RetryFields)> {
    let entries = fields
        .get("retryPolicies")
        .and_then(|node| fields::entries(node, "`retryPolicies`", ENTRIES_MAX, report));
    let mut policies = Vec::new();
    for entry in entries.unwrap_or_default() {
        let what = format!("the policy `{}`", crate::json::shortened(&entry.key));
        if let Some(policy) = policy::retry_fields(&entry.value, &what, report) {
            let name = Spanned {
                value: entry.key.clone(),
                span: entry.key_span.clone(),
            };
            policies.push((name, policy));
        }
    }
    policies
}

fn compensation(fields: Fields<'_>, origin: Origin, report: &mut Report) -> CompensationPolicy {
    let mut policy = CompensationPolicy {
        order: CompensationOrder::Reverse,
        park_after: std::time::Duration::from_secs(24 * 60 * 60),
    };
    let node = match origin {
        Origin::Author => None,
        Origin::NormalForm => fields.get("compensation"),
    };
    let Some(node) = node else {
        return policy;
    };
    let known = ["order", "parkAfter"];
    if let Some(fields) = Fields::read(node, "`compensation`", &known, &[], report) {
        let order = optional_text(fields, "order", ID_BYTES_MAX, report);
        match order.as_deref() {
            None | Some("reverse") => {}
            Some("parallel") => policy.order = CompensationOrder::Parallel,
            Some(_) => {
                let message = "`compensation.order` is `reverse` or `parallel`";
                report.error("WRONG_VALUE", message, node.span.clone());
            }
        }
        let park_after = fields.get("parkAfter");
        if let Some(park_after) =
            park_after.and_then(|node| fields::duration(node, "`parkAfter`", report))
        {
            policy.park_after = park_after.value;
        }
    }
    policy
}

fn read_steps<'n>(node: &'n Node, report: &mut Report) -> Vec<StepDraft<'n>> {
    let items = fields::items(node, "`steps`", report).unwrap_or_default();
    if items.is_empty() && matches!(node.value, NodeValue::List(_)) {
        report.error(
            "NO_STEPS",
            "a definition has at least one step",
            node.span.clone(),
        );
    }
    if items.len() > STEPS_MAX {
        let message = format!("{} steps, and at most {STEPS_MAX} are allowed", items.len());
        report.error("TOO_MANY", message, items[STEPS_MAX].span.clone());
        return Vec::new();
    }
    items
        .iter()
        .filter_map(|item| read_step(item, report))
        .collect()
}

fn read_step<'n>(node: &'n Node, report: &mut Report) -> Option<StepDraft<'n>> {
    let fields = Fields::read(node, "a step", &STEP, &STEP_LATER, report)?;
    let at = node.span.start..node.span.start;
    let id = fields
        .require("id", "a step", &at, report)
        .and_then(|node| fields::text(node, "`id`", ID_BYTES_MAX, report));
    let what = match &id {
        Some(id) => format!("step `{}`", id.value),
        None => "a step".to_owned(),
    };
    // A step of a sort that is not served says so already.
    let call = if STEP_LATER[..5]
        .iter()
        .any(|sort| fields.get(sort).is_some())
    {
        fields.get("call")
    } else {
        fields.require("call", &what, &at, report)
    };
    let step = StepDraft {
        id: id?,
        needs: fields.get("needs").map(|node| needs(node, report)),
        kind: kind(fields, &node.span, report),
        when: fields.get("when"),
        call: read_call(fields, call, report),
        compensate: fields
            .get("compensate")
            .and_then(|node| compensate(node, report)),
    };
    Some(step)
}

fn read_call<'n>(
    fields: Fields<'n>,
    action: Option<&'n Node>,
    report: &mut Report,
) -> CallDraft<'n> {
    CallDraft {
        action: action.and_then(|node| fields::text(node, "`call`", 2 * ID_BYTES_MAX + 1, report)),
        input: fields.get("input"),
        retry: fields
            .get("retry")
            .and_then(|node| policy::retry(node, report)),
        timeout: fields
            .get("timeout")
            .and_then(|node| policy::timeout(node, report))
            .unwrap_or_default(),
    }
}

fn needs(node: &Node, report: &mut Report) -> Vec<Spanned<String>> {
    let items = fields::items(node, "`needs`", report).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| fields::text(item, "a step in `needs`", ID_BYTES_MAX, report))
        .collect()
}

fn kind(fields: Fields<'_>, span: &Range<usize>, report: &mut Report) -> Spanned<Kind> {
    let default = Spanned {
        value: Kind::Compensatable,
        span: span.clone(),
    };
    let kind = fields
        .get("kind")
        .and_then(|node| fields::text(node, "`kind`", ID_BYTES_MAX, report));
    let Some(kind) = kind else {
        return default;
    };
    let value = match kind.value.as_str() {
        "compensatable" => Kind::Compensatable,
        "pivot" => Kind::Pivot,
        "retriable" => Kind::Retriable,
        unknown => {
            let kinds = ["compensatable", "pivot", "retriable"];
            let near = crate::suggestion::nearest(unknown, kinds);
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("a kind is one of {}", fields::list(&kinds)),
            };
            let message = format!("there is no kind `{}`", crate::json::shortened(unknown));
            report
                .error("WRONG_VALUE", message, kind.span.clone())
                .help(help);
            // The other rules go on with what was meant.
            match near {
                Some("pivot") => Kind::Pivot,
                Some("retriable") => Kind::Retriable,
                _ => Kind::Compensatable,
            }
        }
    };
    Spanned {
        value,
        span: kind.span,
    }
}

fn compensate<'n>(node: &'n Node, report: &mut Report) -> Option<CompensateDraft<'n>> {
    let known = ["none", "call", "input", "retry", "timeout"];
    let fields = Fields::read(node, "`compensate`", &known, &[], report)?;
    let span = node.span.clone();
    let Some(none) = fields.get("none") else {
        let at = span.start..span.start;
        let call = fields.require("call", "`compensate`", &at, report);
        return Some(CompensateDraft {
            span,
            body: CompensateBody::Call(Box::new(read_call(fields, call, report))),
        });
    };
    for other in &known[1..] {
        if fields.get(other).is_some() {
            report
                .error(
                    "WRONG_VALUE",
                    format!(
                        "`compensate` is either `none` or a call: `{other}` does not go with `none`"
                    ),
                    span.clone(),
                )
                .help("`{none: \"why\"}`, or `{call, input, retry, timeout}`");
        }
    }
    let why = fields::text(none, "`compensate.none`", DESCRIPTION_BYTES_MAX, report);
    Some(CompensateDraft {
        span,
        body: CompensateBody::None(why),
    })
}
