//! Facts to bytes. Written straight, without a document in between: payloads are large, and they are JSON already.

use amends_core::fact::{AbortReason, AttemptEnded, Incident, Started};
use amends_core::{Fact, OperationKind, Outcome, Time};
use amends_definitions::{Payload, StepIndex};

use super::VERSION;

pub(super) fn body(facts: &[Fact]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(format!("{{\"v\":{VERSION},\"facts\":[").as_bytes());
    for (index, each) in facts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        fact(&mut out, each);
    }
    out.extend_from_slice(b"]}");
    out
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
        Fact::Skipped { step } => object.step(*step),
        Fact::Scheduled {
            place,
            operation,
            input,
            ..
        } => object
            .step(place.step)
            .operation(*operation)
            .payload("input", input),
        Fact::StepFailed {
            place,
            operation,
            code,
            message,
        } => object
            .step(place.step)
            .operation(*operation)
            .text("code", code)
            .text("message", message),
        Fact::AttemptEnded(ended) => attempt_ended(object, ended),
        Fact::Withdrawn {
            place,
            operation,
            attempt,
            code,
            ..
        } => object
            .step(place.step)
            .operation(*operation)
            .number("attempt", *attempt)
            .text("code", code),
        Fact::AbortDecided(reason) => abort_decided(object, reason),
        Fact::Settling { place, until } => object.step(place.step).time("until_us", *until),
        Fact::CancelPending { by, reason } => object.text("by", by).text("reason", reason),
        Fact::CancelDropped | Fact::Compensated => object,
        // Nothing records these yet.
        Fact::TurnGranted
        | Fact::ItemsListed { .. }
        | Fact::SignalAwaited { .. }
        | Fact::SignalReceived(_)
        | Fact::SignalConsumed { .. }
        | Fact::SignalUnconsumed { .. }
        | Fact::Sleeping { .. }
        | Fact::Slept { .. }
        | Fact::ChildRequested(_)
        | Fact::ChildPinned { .. }
        | Fact::ChildEnded { .. }
        | Fact::Emitted { .. }
        | Fact::Continued { .. }
        | Fact::DeadlinePassed
        | Fact::Operated(_) => object,
        Fact::LateResult { ended, leak } => attempt_ended(object.number("leak", *leak), ended),
        Fact::IncidentOpened(incident) => incident_opened(object, incident),
        Fact::IncidentClosed { place, operation } => {
            about(object, place.map(|place| place.step), *operation)
        },
        Fact::Completed { output } => object.payload("output", output),
    }
    .end();
}

fn started<'a>(object: Object<'a>, started: &Started) -> Object<'a> {
    object
        .text("namespace", &started.namespace)
        .text("definition", &started.definition)
        .number("revision", started.revision)
        .text("hash", &started.hash.to_string())
        .maybe(started.key.as_deref(), |o, key| o.text("key", key))
        .maybe(started.traceparent.as_deref(), |o, text| {
            o.text("traceparent", text)
        })
        .maybe(started.tracestate.as_deref(), |o, text| {
            o.text("tracestate", text)
        })
        .payload("input", &started.input)
}

fn attempt_ended<'a>(object: Object<'a>, ended: &AttemptEnded) -> Object<'a> {
    let object = object
        .step(ended.place.step)
        .operation(ended.operation)
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
        | Outcome::Unknown { code, message } => object.text("code", code).text("message", message),
        Outcome::Failed {
            code,
            message,
            retry_after,
        } => {
            let object = object.text("code", code).text("message", message);
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
        } => object
            .step(place.step)
            .text("code", code)
            .text("message", message),
        AbortReason::Cancelled { by, reason } => object.text("by", by).text("reason", reason),
        AbortReason::DeadlineExceeded => object,
        AbortReason::Operator { by, reason } => object.text("by", by).text("reason", reason),
        AbortReason::OutputInvalid { code, message }
        | AbortReason::ParentAborted { code, message } => {
            object.text("code", code).text("message", message)
        }
    }
}

fn incident_opened<'a>(object: Object<'a>, incident: &Incident) -> Object<'a> {
    about(object, incident.place.map(|place| place.step), incident.operation)
        .text("reason", incident.reason.as_str())
        .text("message", &incident.message)
}

fn about(
    object: Object<'_>,
    step: Option<StepIndex>,
    operation: Option<OperationKind>,
) -> Object<'_> {
    object
        .maybe(step, Object::step)
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
        self.out.extend_from_slice(number.to_string().as_bytes());
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
