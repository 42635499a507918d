//! The normal form of a step. A call has its whole policy and timeouts; what only a call has is left out everywhere else.

use std::collections::{BTreeMap, BTreeSet};

use super::{expression, list, object, string, then, time};
use crate::definition::{
    Compensation, Definition, Foreach, Kind, RetryPolicy, Route, Sleep, Step, Timeouts, Work,
};
use crate::expression::Mapping;
use crate::json;

type Fields<'f> = BTreeMap<&'f str, String>;

/// Writes a step.
pub(super) fn write(definition: &Definition, place: usize, step: &Step) -> String {
    object(fields(definition, place, step))
}

/// What of a step, by its id, one definition says otherwise than another: keys of the normal form, in order; `removed` if
/// it has no such step, `added` if the other has none.
pub(super) fn changes(older: &Definition, newer: &Definition, id: &str) -> Vec<String> {
    let of = |definition: &Definition| {
        let place = definition.steps.iter().position(|step| *step.id == *id)?;
        let fields = fields(definition, place, &definition.steps[place]);
        let owned = fields.into_iter();
        Some(BTreeMap::from_iter(
            owned.map(|(key, value)| (key.to_owned(), value)),
        ))
    };
    match (of(older), of(newer)) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec!["removed".to_owned()],
        (None, Some(_)) => vec!["added".to_owned()],
        (Some(old), Some(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let changed = keys
                .into_iter()
                .filter(|key| old.get(*key) != new.get(*key));
            changed.cloned().collect()
        }
    }
}

fn fields<'f>(definition: &'f Definition, place: usize, step: &'f Step) -> Fields<'f> {
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
    work(&mut fields, step);
    if let Some(when) = &step.when {
        fields.insert("when", expression(when));
    }
    if let Some(one) = &step.foreach {
        fields.insert("foreach", foreach(one));
    }
    if let Some(schema) = &step.output_schema {
        fields.insert("outputSchema", schema.source().to_owned());
    }
    if !step.on_error.is_empty() {
        fields.insert("onError", list(step.on_error.iter().map(route)));
    }
    match &step.compensation {
        Compensation::NotApplicable | Compensation::Child => {}
        Compensation::None { why } => {
            let none = BTreeMap::from([("none", string(why))]);
            fields.insert("compensate", object(none));
        }
        Compensation::Call(undo) => {
            let mut compensate = BTreeMap::from([("call", string(undo.action.as_str()))]);
            mapping(&mut compensate, "input", undo.input.as_ref());
            attempts(&mut compensate, &undo.retry, &undo.timeouts);
            fields.insert("compensate", object(compensate));
        }
    }
    fields
}

fn work(fields: &mut Fields<'_>, step: &Step) {
    let (key, value) = match &step.work {
        Work::Call(call) => {
            mapping(fields, "input", call.input.as_ref());
            attempts(fields, &step.retry, &step.timeouts);
            if let Some(query) = &call.query {
                fields.insert("query", string(query.as_str()));
            }
            ("call", string(call.action.as_str()))
        }
        Work::Wait(wait) => {
            let mut parts = BTreeMap::from([("signal", string(&wait.signal))]);
            if let Some(timeout) = wait.timeout {
                parts.insert("timeout", time(timeout));
                parts.insert("onTimeout", string(then(wait.on_timeout)));
            }
            ("wait", object(parts))
        }
        Work::Sleep(Sleep::For(duration)) => ("sleep", time(*duration)),
        Work::Sleep(Sleep::Until(until)) => {
            let until = BTreeMap::from([("until", expression(until))]);
            ("sleep", object(until))
        }
        Work::Saga(child) => {
            let mut parts = BTreeMap::from([("name", string(&child.name))]);
            if let Some(key) = &child.key {
                parts.insert("key", expression(key));
            }
            mapping(&mut parts, "input", child.input.as_ref());
            ("saga", object(parts))
        }
        Work::Emit(emit) => {
            let mut parts = BTreeMap::from([("type", string(&emit.event_type))]);
            mapping(&mut parts, "subject", emit.subject.as_ref());
            mapping(&mut parts, "data", emit.data.as_ref());
            ("emit", object(parts))
        }
        Work::Fail(fail) => {
            let mut parts = BTreeMap::from([("code", string(&fail.code))]);
            mapping(&mut parts, "message", fail.message.as_ref());
            ("fail", object(parts))
        }
    };
    fields.insert(key, value);
}

fn foreach(foreach: &Foreach) -> String {
    let mut parts = BTreeMap::from([
        ("in", expression(&foreach.list)),
        ("as", string(&foreach.name)),
        ("maxParallel", foreach.max_parallel.to_string()),
        ("maxItems", foreach.max_items.to_string()),
    ]);
    if let Some(key) = &foreach.key {
        parts.insert("key", expression(key));
    }
    object(parts)
}

fn route(route: &Route) -> String {
    let mut parts = BTreeMap::from([("then", string(then(route.then)))]);
    if !route.codes.is_empty() {
        parts.insert("codes", list(route.codes.iter().map(|code| string(code))));
    }
    if let Some(when) = &route.when {
        parts.insert("when", expression(when));
    }
    mapping(&mut parts, "output", route.output.as_ref());
    object(parts)
}

fn mapping<'f>(fields: &mut Fields<'f>, key: &'f str, mapping: Option<&Mapping>) {
    if let Some(mapping) = mapping {
        fields.insert(key, mapping.source().to_owned());
    }
}

/// How often and how long a call is tried.
fn attempts(fields: &mut Fields<'_>, retry: &RetryPolicy, timeouts: &Timeouts) {
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
    for (key, part) in [
        ("total", timeouts.total),
        ("schedule", timeouts.schedule),
        ("heartbeat", timeouts.heartbeat),
    ] {
        if let Some(part) = part {
            timeout.insert(key, time(part));
        }
    }
    fields.insert("timeout", object(timeout));
}

fn double(value: f64) -> String {
    let mut out = String::new();
    json::write_double(&mut out, value);
    out
}
