//! What a definition says about its sagas as a whole: deadline, concurrency, signals, participants, defaults, compensation.

use std::time::Duration;

use super::THEN;
use crate::definition::{
    CompensationOrder, CompensationPolicy, Concurrency, Deadline, OnLimit, Then,
};
use crate::diagnostic::Report;
use crate::document::fields::{self, Fields, Spanned};
use crate::document::keys;
use crate::document::node::Node;
use crate::document::policy::{self, Layer};
use crate::limits::{
    CONCURRENCY_MAX, ENTRIES_MAX, ID_BYTES_MAX, PARK_AFTER_DEFAULT, PARTICIPANT_ACTIONS_MAX,
};

/// One of `signals`.
#[derive(Debug)]
pub(crate) struct SignalDraft<'n> {
    pub(crate) id: Spanned<String>,
    pub(crate) schema: Option<&'n Node>,
}

/// One of `participants`.
#[derive(Debug)]
pub(crate) struct ParticipantDraft {
    pub(crate) name: Spanned<String>,
    /// None means that the contract does not say.
    pub(crate) actions: Option<Vec<Spanned<String>>>,
    pub(crate) defaults: Layer,
}

pub(super) fn deadline(fields: Fields<'_>, report: &mut Report) -> Option<Deadline> {
    let then = fields.get("onTimeout").and_then(|node| {
        let choices = [THEN[0], THEN[2]];
        fields::choice(node, "`onTimeout`", &choices, report)
    });
    let Some(node) = fields.get("timeout") else {
        if let Some(span) = fields.key_span("onTimeout") {
            report
                .error("MISSING_KEY", "`onTimeout` needs `timeout`", span)
                .help("add `timeout`, the deadline, or remove `onTimeout`");
        }
        return None;
    };
    let after = fields::duration(node, "`timeout`", report)?;
    Some(Deadline {
        after: after.value,
        then: then.map_or(Then::Compensate, |then| then.value),
    })
}

pub(super) fn concurrency(fields: Fields<'_>, report: &mut Report) -> Option<Concurrency> {
    let node = fields.get("concurrency")?;
    let fields = Fields::read(node, "`concurrency`", &keys::CONCURRENCY, &[], report)?;
    let on_limit = fields.get("onLimit").and_then(|node| {
        let choices = [("queue", OnLimit::Queue), ("reject", OnLimit::Reject)];
        fields::choice(node, "`concurrency.onLimit`", &choices, report)
    });
    let at = node.span.start..node.span.start;
    let max = fields.require("max", "`concurrency`", &at, report)?;
    let max = fields::whole(max, "`concurrency.max`", 1..=CONCURRENCY_MAX, report)?;
    Some(Concurrency {
        max: max.value,
        on_limit: on_limit.map_or(OnLimit::Queue, |on_limit| on_limit.value),
    })
}

pub(super) fn signals<'n>(fields: Fields<'n>, report: &mut Report) -> Vec<SignalDraft<'n>> {
    let entries = fields
        .get("signals")
        .and_then(|node| fields::entries(node, "`signals`", ENTRIES_MAX, report));
    let mut signals = Vec::new();
    for entry in entries.unwrap_or_default() {
        let what = format!("the signal `{}`", crate::json::shortened(&entry.key));
        let (known, later) = (&keys::SIGNAL, &keys::SIGNAL_LATER);
        let fields = Fields::read(&entry.value, &what, known, later, report);
        signals.push(SignalDraft {
            id: entry.name(),
            schema: fields.and_then(|fields| fields.get("schema")),
        });
    }
    signals
}

pub(super) fn participants(fields: Fields<'_>, report: &mut Report) -> Vec<ParticipantDraft> {
    let entries = fields
        .get("participants")
        .and_then(|node| fields::entries(node, "`participants`", ENTRIES_MAX, report));
    let mut participants = Vec::new();
    for entry in entries.unwrap_or_default() {
        let what = format!("the participant `{}`", crate::json::shortened(&entry.key));
        let fields = Fields::read(&entry.value, &what, &keys::PARTICIPANT, &[], report);
        participants.push(ParticipantDraft {
            name: entry.name(),
            actions: fields
                .and_then(|fields| fields.get("actions"))
                .and_then(|node| actions(node, report)),
            defaults: fields.map_or_else(Layer::default, |fields| layer(fields, report)),
        });
    }
    participants
}

fn actions(node: &Node, report: &mut Report) -> Option<Vec<Spanned<String>>> {
    let max = PARTICIPANT_ACTIONS_MAX;
    let items = fields::items_up_to(node, "`actions`", max, report)?;
    let read = |item| fields::text(item, "an action", ID_BYTES_MAX, report);
    Some(items.iter().filter_map(read).collect())
}

pub(super) fn defaults(fields: Fields<'_>, report: &mut Report) -> Layer {
    fields
        .get("defaults")
        .and_then(|node| Fields::read(node, "`defaults`", &keys::DEFAULTS, &[], report))
        .map_or_else(Layer::default, |fields| layer(fields, report))
}

pub(super) fn compensation(fields: Fields<'_>, report: &mut Report) -> (CompensationPolicy, Layer) {
    let mut policy = CompensationPolicy {
        order: CompensationOrder::Reverse,
        park_after: PARK_AFTER_DEFAULT,
    };
    let Some(fields) = fields.get("compensation").and_then(|node| {
        let known = &keys::COMPENSATION;
        Fields::read(node, "`compensation`", known, &[], report)
    }) else {
        return (policy, Layer::default());
    };
    if let Some(order) = fields.get("order").and_then(|node| {
        let choices = [
            ("reverse", CompensationOrder::Reverse),
            ("parallel", CompensationOrder::Parallel),
        ];
        fields::choice(node, "`compensation.order`", &choices, report)
    }) {
        policy.order = order.value;
    }
    if let Some(park_after) = duration(fields, "parkAfter", report) {
        policy.park_after = park_after;
    }
    (policy, layer(fields, report))
}

fn duration(fields: Fields<'_>, key: &str, report: &mut Report) -> Option<Duration> {
    let node = fields.get(key)?;
    let duration = fields::duration(node, &format!("`{key}`"), report);
    duration.map(|duration| duration.value)
}

fn layer(fields: Fields<'_>, report: &mut Report) -> Layer {
    Layer {
        retry: fields
            .get("retry")
            .and_then(|node| policy::retry(node, report)),
        timeout: fields
            .get("timeout")
            .and_then(|node| policy::timeout(node, report))
            .unwrap_or_default(),
    }
}
