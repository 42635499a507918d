//! Facts to bytes. Written straight, without a document in between: payloads are large, and they are JSON already.

use std::io::Write as _;

use amends_core::fact::{
    AbortReason, Act, AttemptEnded, ChildOutcome, Incident, Operated, Parent, Started,
};
use amends_core::journal::payload_bytes;
use amends_core::{Fact, OperationKind, Outcome, Place, Time};
use amends_definitions::{Payload, StepIndex};

use super::{COMPENSATED, COMPLETED, REFUSED, TERMINATED, VERSION};

/// What a fact takes beside its payloads, about: room that is asked for at once.
const FACT_BYTES: usize = 128;

/// How long a body is, about.
pub(super) fn body_bytes(facts: &[Fact]) -> usize {
    let payloads: usize = facts.iter().map(payload_bytes).sum();
    payloads + (facts.len() + 1) * FACT_BYTES
}

pub(super) fn body(out: &mut Vec<u8>, facts: &[Fact]) {
    write!(out, "{{\"v\":{VERSION},\"facts\":[").expect("writing to memory cannot fail");
    for (index, each) in facts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        fact(out, each);
    }
    out.extend_from_slice(b"]}");
}

pub(super) fn takeover(node: &str) -> Vec<u8> {
    let mut out = format!("{{\"v\":{VERSION},\"takeover\":").into_bytes();
    Object::begin(&mut out).text("node", node).end();
    out.push(b'}');
    out
}

pub(super) fn fact(out: &mut Vec<u8>, fact: &Fact) {
    let object = Object::begin(out).text("kind", fact.kind());
    match fact {
        Fact::Started(started) => self::started(object, started),
        Fact::TurnGranted | Fact::DeadlinePassed | Fact::CancelDropped | Fact::Compensated => {
            object
        }
        Fact::Skipped { step } => object.step(*step),
        Fact::ItemsListed { step, items, keys } => object
            .step(*step)
            .payload("items", items)
            .texts("keys", keys),
        Fact::Scheduled {
            place,
            operation,
            round,
            input,
        } => object
            .operation_at(*place, *operation, *round)
            .payload("input", input),
        Fact::StepFailed {
            place,
            operation,
            code,
            message,
        } => object
            .operation_at(*place, *operation, 0)
            .error(code, message),
        Fact::AttemptEnded(ended) => attempt_ended(object, ended),
        Fact::Withdrawn { .. } => withdrawn(object, fact),
        Fact::SignalAwaited { .. }
        | Fact::SignalReceived(_)
        | Fact::SignalConsumed { .. }
        | Fact::SignalUnconsumed { .. } => signal(object, fact),
        Fact::Sleeping { place, until } | Fact::Settling { place, until } => {
            object.place(*place).time("until_us", *until)
        }
        Fact::Slept { place } => object.place(*place),
        Fact::ChildRequested(_) | Fact::ChildPinned { .. } | Fact::ChildEnded { .. } => {
            child(object, fact)
        }
        Fact::Emitted {
            place,
            event_type,
            subject,
            data,
        } => object
            .place(*place)
            .text("event_type", event_type)
            .maybe(subject.as_deref(), |o, subject| o.text("subject", subject))
            .payload("data", data),
        Fact::Continued { place, output } => object
            .place(*place)
            .maybe(output.as_ref(), |o, output| o.payload("output", output)),
        Fact::AbortDecided(reason) => abort_decided(object, reason),
        Fact::CancelPending { by, reason } => object.text("by", by).text("reason", reason),
        Fact::LateResult { ended, leak } => attempt_ended(object.number("leak", *leak), ended),
        Fact::IncidentOpened(incident) => incident_opened(object, incident),
        Fact::IncidentClosed { place, operation } => about(object, *place, *operation),
        Fact::Operated(operated) => self::operated(object, operated),
        Fact::Completed { output } => object.payload("output", output),
    }
    .end();
}

fn withdrawn<'a>(object: Object<'a>, fact: &Fact) -> Object<'a> {
    match fact {
        Fact::Withdrawn {
            place,
            operation,
            round,
            attempt,
            code,
        } => object
            .operation_at(*place, *operation, *round)
            .number("attempt", *attempt)
            .text("code", code),
        _ => object,
    }
}

fn signal<'a>(object: Object<'a>, fact: &Fact) -> Object<'a> {
    match fact {
        Fact::SignalAwaited { place, until } => object
            .place(*place)
            .maybe(*until, |o, until| o.time("until_us", until)),
        Fact::SignalReceived(signal) => object
            .number("number", signal.number)
            .text("signal", &signal.signal)
            .text("by", &signal.by)
            .maybe(signal.dedupe_id.as_deref(), |o, id| o.text("dedupe_id", id))
            .payload("payload", &signal.payload),
        Fact::SignalConsumed { place, number } => object.place(*place).number("number", *number),
        Fact::SignalUnconsumed { number } => object.number("number", *number),
        _ => object,
    }
}

fn child<'a>(object: Object<'a>, fact: &Fact) -> Object<'a> {
    match fact {
        Fact::ChildRequested(requested) => object
            .place(requested.place)
            .round(requested.round)
            .text("name", &requested.name)
            .maybe(requested.key.as_deref(), |o, key| o.text("key", key))
            .payload("input", &requested.input),
        Fact::ChildPinned {
            place,
            round,
            child,
            revision,
            hash,
        } => object
            .place(*place)
            .round(*round)
            .text("child", &child.to_string())
            .number("revision", *revision)
            .text("hash", &hash.to_string()),
        Fact::ChildEnded {
            place,
            round,
            operation,
            outcome,
        } => child_outcome(object.operation_at(*place, *operation, *round), outcome),
        _ => object,
    }
}

fn child_outcome<'a>(object: Object<'a>, outcome: &ChildOutcome) -> Object<'a> {
    match outcome {
        ChildOutcome::Completed { output } => {
            object.text("outcome", COMPLETED).payload("output", output)
        }
        ChildOutcome::Compensated { code, message } => {
            object.text("outcome", COMPENSATED).error(code, message)
        }
        ChildOutcome::Refused { code, message } => {
            object.text("outcome", REFUSED).error(code, message)
        }
        ChildOutcome::Terminated { message } => {
            object.text("outcome", TERMINATED).text("message", message)
        }
    }
}

fn operated<'a>(object: Object<'a>, operated: &Operated) -> Object<'a> {
    let object = object
        .text("by", &operated.by)
        .text("reason", &operated.reason)
        .text("act", operated.act.as_str());
    match &operated.act {
        Act::Retry {
            place,
            operation,
            input,
        } => object
            .place(*place)
            .operation(*operation)
            .maybe(input.as_ref(), |o, input| o.payload("input", input)),
        Act::Skip { place } | Act::ResolveAbsent { place } | Act::ResolveNotUndone { place } => {
            object.place(*place)
        }
        Act::Resolve {
            place,
            operation,
            output,
        } => object
            .place(*place)
            .operation(*operation)
            .payload("output", output),
        Act::ResolveSaga | Act::Compensate | Act::Pause | Act::Resume | Act::Terminate => object,
    }
}

fn started<'a>(object: Object<'a>, started: &Started) -> Object<'a> {
    object
        .text("namespace", &started.namespace)
        .text("definition", &started.definition)
        .number("revision", started.revision)
        .text("hash", &started.hash.to_string())
        .maybe(started.key.as_deref(), |o, key| o.text("key", key))
        .maybe(started.ordering_key.as_deref(), |o, key| {
            o.text("ordering_key", key)
        })
        .maybe(started.concurrency_max, |o, max| {
            o.number("concurrency_max", max)
        })
        .maybe(started.parent.as_ref(), |mut o, parent| {
            o.name("parent");
            parent_object(o.out, parent);
            o
        })
        .maybe(started.traceparent.as_deref(), |o, text| {
            o.text("traceparent", text)
        })
        .maybe(started.tracestate.as_deref(), |o, text| {
            o.text("tracestate", text)
        })
        .payload("input", &started.input)
}

fn parent_object(out: &mut Vec<u8>, parent: &Parent) {
    Object::begin(out)
        .text("saga", &parent.saga.to_string())
        .text("step", &parent.step)
        .item(parent.item)
        .round(parent.round)
        .number("depth", parent.depth)
        .end();
}

fn attempt_ended<'a>(object: Object<'a>, ended: &AttemptEnded) -> Object<'a> {
    let object = object
        .operation_at(ended.place, ended.operation, ended.round)
        .number("attempt", ended.attempt)
        .text("outcome", ended.outcome.as_str());
    let object = outcome(object, &ended.outcome);
    object
        .maybe(ended.verdict, |o, verdict| {
            o.text("verdict", verdict.as_str())
        })
        .maybe(ended.instance.as_deref(), |o, instance| {
            o.text("instance", instance)
        })
        .maybe(ended.sent_at, |o, at| o.time("sent_at_us", at))
        .maybe(ended.retry_at, |o, at| o.time("retry_at_us", at))
}

fn outcome<'a>(object: Object<'a>, outcome: &Outcome) -> Object<'a> {
    match outcome {
        Outcome::Succeeded { output } => object.payload("output", output),
        Outcome::Unusable { code, message }
        | Outcome::Rejected { code, message }
        | Outcome::Fatal { code, message }
        | Outcome::Unknown { code, message } => object.error(code, message),
        Outcome::Failed {
            code,
            message,
            retry_after,
        } => {
            let object = object.error(code, message);
            // Nanoseconds in a u64 last for 584 years; longer than any bound on it.
            object.maybe(*retry_after, |o, after| {
                o.number(
                    "retry_after_ns",
                    u64::try_from(after.as_nanos()).unwrap_or(u64::MAX),
                )
            })
        }
        Outcome::NothingToUndo | Outcome::Superseded | Outcome::Absent => object,
    }
}

fn abort_decided<'a>(object: Object<'a>, reason: &AbortReason) -> Object<'a> {
    let object = object.text("cause", reason.kind());
    match reason {
        AbortReason::StepFailed {
            place,
            code,
            message,
        } => object.place(*place).error(code, message),
        AbortReason::DeadlineExceeded => object,
        AbortReason::Cancelled { by, reason } | AbortReason::Operator { by, reason } => {
            object.text("by", by).text("reason", reason)
        }
        AbortReason::OutputInvalid { code, message }
        | AbortReason::ParentAborted { code, message } => object.error(code, message),
    }
}

fn incident_opened<'a>(object: Object<'a>, incident: &Incident) -> Object<'a> {
    about(object, incident.place, incident.operation)
        .text("reason", incident.reason.as_str())
        .maybe(incident.code.as_deref(), |o, code| o.text("code", code))
        .text("message", &incident.message)
}

fn about(object: Object<'_>, place: Option<Place>, operation: Option<OperationKind>) -> Object<'_> {
    object
        .maybe(place, Object::place)
        .maybe(operation, Object::operation)
}

/// A JSON object that is being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    fn end(self) {
        self.out.push(b'}');
    }

    /// Names are ours: none needs an escape.
    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(mut self, name: &str, text: &str) -> Self {
        self.name(name);
        serde_json::to_writer(&mut *self.out, text)
            .expect("writing a string to memory cannot fail");
        self
    }

    /// A number or a boolean: both print as JSON.
    fn number(mut self, name: &str, number: impl std::fmt::Display) -> Self {
        self.name(name);
        write!(self.out, "{number}").expect("writing to memory cannot fail");
        self
    }

    fn payload(mut self, name: &str, payload: &Payload) -> Self {
        self.name(name);
        self.out.extend_from_slice(payload.as_bytes());
        self
    }

    fn time(self, name: &str, time: Time) -> Self {
        self.number(name, time.as_micros())
    }

    fn texts(mut self, name: &str, texts: &[String]) -> Self {
        self.name(name);
        serde_json::to_writer(&mut *self.out, texts)
            .expect("writing strings to memory cannot fail");
        self
    }

    fn error(self, code: &str, message: &str) -> Self {
        self.text("code", code).text("message", message)
    }

    fn operation_at(self, place: Place, operation: OperationKind, round: u32) -> Self {
        self.place(place).operation(operation).round(round)
    }

    fn place(self, place: Place) -> Self {
        self.step(place.step).item(place.item)
    }

    /// The step itself is what most facts are about.
    fn item(self, item: u32) -> Self {
        self.maybe((item != 0).then_some(item), |o, item| {
            o.number("item", item)
        })
    }

    /// Only an operator begins another round.
    fn round(self, round: u32) -> Self {
        self.maybe((round != 0).then_some(round), |o, round| {
            o.number("round", round)
        })
    }

    fn step(self, step: StepIndex) -> Self {
        self.number("step", step.0)
    }

    fn operation(self, operation: OperationKind) -> Self {
        self.text("operation", operation.as_str())
    }

    fn maybe<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => write(self, value),
            None => self,
        }
    }
}
