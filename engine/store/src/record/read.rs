//! Bytes to facts. Whatever the bytes, the answer is facts or a message, never a panic.

use std::sync::Arc;
use std::time::Duration;

use amends_core::fact::{
    AbortReason, Act, AttemptEnded, ChildOutcome, ChildRequested, Incident, IncidentReason,
    Operated, Parent, SignalReceived, Started,
};
use amends_core::{Fact, OperationKind, Outcome, Place, SagaId, Time, Verdict};
use amends_definitions::{DefinitionHash, Payload, StepIndex};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{COMPENSATED, COMPLETED, REFUSED, TERMINATED, VERSION};

pub(super) fn body(body: &[u8]) -> Result<Vec<Fact>, String> {
    let envelope: Envelope<'_> = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        // Another version may have another form: then its number is the message, not what else it has.
        Err(error) => {
            return Err(match serde_json::from_slice::<Version>(body) {
                Ok(Version { v }) if !is_known(v) => unknown_version(v),
                Ok(_) | Err(_) => error.to_string(),
            });
        }
    };
    if !is_known(envelope.v) {
        return Err(unknown_version(envelope.v));
    }
    let fact = |record: Record<'_>| {
        if envelope.v == 1 {
            record.refuse_later_than_1()?;
        }
        record.into_fact()
    };
    envelope.facts.into_iter().map(fact).collect()
}

fn is_known(v: u32) -> bool {
    (1..=VERSION).contains(&v)
}

fn unknown_version(v: u32) -> String {
    format!("it has version {v}, and this binary knows 1 to {VERSION} alone")
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    v: u32,
    #[serde(borrow)]
    facts: Vec<Record<'a>>,
}

/// A fact of any kind. One structure for all, because an internally tagged enum would buffer, and a buffered payload is
/// not the text that came.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    kind: String,
    namespace: Option<String>,
    definition: Option<String>,
    revision: Option<u32>,
    hash: Option<String>,
    key: Option<String>,
    ordering_key: Option<String>,
    concurrency_max: Option<u32>,
    parent: Option<ParentRecord>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    input: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    output: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    items: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    keys: Option<Vec<String>>,
    step: Option<u16>,
    item: Option<u32>,
    round: Option<u32>,
    operation: Option<String>,
    attempt: Option<u32>,
    outcome: Option<String>,
    code: Option<String>,
    message: Option<String>,
    retry_after_ns: Option<u64>,
    verdict: Option<String>,
    instance: Option<String>,
    sent_at_us: Option<i64>,
    retry_at_us: Option<i64>,
    until_us: Option<i64>,
    leak: Option<bool>,
    cause: Option<String>,
    by: Option<String>,
    reason: Option<String>,
    number: Option<u32>,
    signal: Option<String>,
    dedupe_id: Option<String>,
    name: Option<String>,
    child: Option<String>,
    event_type: Option<String>,
    subject: Option<String>,
    act: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParentRecord {
    saga: String,
    step: String,
    item: Option<u32>,
    round: Option<u32>,
    depth: u32,
}

/// A payload that is `null` is there.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl Record<'_> {
    /// What version 1 did not have, in a row that says that it is of version 1.
    fn refuse_later_than_1(&self) -> Result<(), String> {
        if !KINDS_OF_1.contains(&self.kind.as_str()) {
            return Err(format!("version 1 has no fact of kind {:?}", self.kind));
        }
        let later = self.item.is_some()
            || self.round.is_some()
            || self.ordering_key.is_some()
            || self.concurrency_max.is_some()
            || self.parent.is_some();
        if later {
            let kind = &self.kind;
            return Err(format!("a {kind} of version 1 has a field of version 2"));
        }
        Ok(())
    }

    fn into_fact(self) -> Result<Fact, String> {
        Ok(match self.kind.as_str() {
            "started" => Fact::Started(self.started()?),
            "turn_granted" => Fact::TurnGranted,
            "skipped" => Fact::Skipped { step: self.step()? },
            "items_listed" => Fact::ItemsListed {
                step: self.step()?,
                items: payload(self.items, "items")?,
                keys: need(self.keys, "keys")?,
            },
            "scheduled" => Fact::Scheduled {
                place: self.place()?,
                operation: self.operation()?,
                round: self.round(),
                input: payload(self.input, "input")?,
            },
            "step_failed" => Fact::StepFailed {
                place: self.place()?,
                operation: self.operation()?,
                code: need(self.code, "code")?,
                message: need(self.message, "message")?,
            },
            "attempt_ended" => Fact::AttemptEnded(self.attempt_ended()?),
            "withdrawn" => Fact::Withdrawn {
                place: self.place()?,
                operation: self.operation()?,
                round: self.round(),
                attempt: need(self.attempt, "attempt")?,
                code: need(self.code, "code")?,
            },
            "continued" => Fact::Continued {
                place: self.place()?,
                output: self.output.map(trusted),
            },
            "settling" => Fact::Settling {
                place: self.place()?,
                until: self.until()?,
            },
            "late_result" => Fact::LateResult {
                leak: need(self.leak, "leak")?,
                ended: self.attempt_ended()?,
            },
            _ => return self.into_wait(),
        })
    }

    /// What a saga waits for beside its calls.
    fn into_wait(self) -> Result<Fact, String> {
        Ok(match self.kind.as_str() {
            "signal_awaited" => Fact::SignalAwaited {
                place: self.place()?,
                until: self.until_us.map(Time::from_micros),
            },
            "signal_received" => Fact::SignalReceived(SignalReceived {
                number: need(self.number, "number")?,
                signal: need(self.signal, "signal")?,
                payload: payload(self.payload, "payload")?,
                by: need(self.by, "by")?,
                dedupe_id: self.dedupe_id,
            }),
            "signal_consumed" => Fact::SignalConsumed {
                place: self.place()?,
                number: need(self.number, "number")?,
            },
            "signal_unconsumed" => Fact::SignalUnconsumed {
                number: need(self.number, "number")?,
            },
            "sleeping" => Fact::Sleeping {
                place: self.place()?,
                until: self.until()?,
            },
            "slept" => Fact::Slept {
                place: self.place()?,
            },
            "child_requested" => Fact::ChildRequested(ChildRequested {
                place: self.place()?,
                round: self.round(),
                name: need(self.name, "name")?,
                key: self.key,
                input: payload(self.input, "input")?,
            }),
            "child_pinned" => Fact::ChildPinned {
                place: self.place()?,
                round: self.round(),
                child: saga_id("child", &need(self.child, "child")?)?,
                revision: need(self.revision, "revision")?,
                hash: definition_hash(&need(self.hash, "hash")?)?,
            },
            "child_ended" => Fact::ChildEnded {
                place: self.place()?,
                round: self.round(),
                operation: self.operation()?,
                outcome: self.child_outcome()?,
            },
            "emitted" => Fact::Emitted {
                place: self.place()?,
                event_type: need(self.event_type, "event_type")?,
                subject: self.subject,
                data: payload(self.data, "data")?,
            },
            _ => return self.into_course(),
        })
    }

    /// What is about the saga as a whole.
    fn into_course(self) -> Result<Fact, String> {
        Ok(match self.kind.as_str() {
            "deadline_passed" => Fact::DeadlinePassed,
            "abort_decided" => Fact::AbortDecided(self.abort_reason()?),
            "cancel_pending" => Fact::CancelPending {
                by: need(self.by, "by")?,
                reason: need(self.reason, "reason")?,
            },
            "cancel_dropped" => Fact::CancelDropped,
            "incident_opened" => Fact::IncidentOpened(self.incident()?),
            "incident_closed" => Fact::IncidentClosed {
                place: self.maybe_place()?,
                operation: self.maybe_operation()?,
            },
            "operated" => Fact::Operated(Operated {
                by: need(self.by.clone(), "by")?,
                reason: need(self.reason.clone(), "reason")?,
                act: self.act()?,
            }),
            "completed" => Fact::Completed {
                output: payload(self.output, "output")?,
            },
            "compensated" => Fact::Compensated,
            other => return Err(format!("this binary knows no fact of kind {other:?}")),
        })
    }

    fn started(self) -> Result<Started, String> {
        Ok(Started {
            namespace: Arc::from(need(self.namespace, "namespace")?),
            definition: Arc::from(need(self.definition, "definition")?),
            revision: need(self.revision, "revision")?,
            hash: definition_hash(&need(self.hash, "hash")?)?,
            key: self.key,
            ordering_key: self.ordering_key,
            concurrency_max: self.concurrency_max,
            parent: self.parent.map(ParentRecord::into_parent).transpose()?,
            input: payload(self.input, "input")?,
            traceparent: self.traceparent,
            tracestate: self.tracestate,
        })
    }

    fn child_outcome(self) -> Result<ChildOutcome, String> {
        let kind = need(self.outcome, "outcome")?;
        let (code, message) = (self.code, self.message);
        Ok(match kind.as_str() {
            COMPLETED => ChildOutcome::Completed {
                output: payload(self.output, "output")?,
            },
            COMPENSATED => ChildOutcome::Compensated {
                code: need(code, "code")?,
                message: need(message, "message")?,
            },
            REFUSED => ChildOutcome::Refused {
                code: need(code, "code")?,
                message: need(message, "message")?,
            },
            TERMINATED => ChildOutcome::Terminated {
                message: need(message, "message")?,
            },
            other => return Err(unknown("outcome of a child", other)),
        })
    }

    fn act(self) -> Result<Act, String> {
        let act = need(self.act.clone(), "act")?;
        Ok(match act.as_str() {
            "retry" => Act::Retry {
                place: self.place()?,
                operation: self.operation()?,
                input: self.input.map(trusted),
            },
            "skip" => Act::Skip {
                place: self.place()?,
            },
            "resolve" => Act::Resolve {
                place: self.place()?,
                operation: self.operation()?,
                output: payload(self.output, "output")?,
            },
            "resolve_saga" => Act::ResolveSaga,
            "resolve_absent" => Act::ResolveAbsent {
                place: self.place()?,
            },
            "resolve_not_undone" => Act::ResolveNotUndone {
                place: self.place()?,
            },
            "compensate" => Act::Compensate,
            "pause" => Act::Pause,
            "resume" => Act::Resume,
            "terminate" => Act::Terminate,
            other => return Err(unknown("act", other)),
        })
    }

    fn attempt_ended(mut self) -> Result<AttemptEnded, String> {
        Ok(AttemptEnded {
            place: self.place()?,
            operation: self.operation()?,
            round: self.round(),
            attempt: need(self.attempt, "attempt")?,
            outcome: self.outcome()?,
            verdict: match self.verdict {
                None => None,
                Some(text) => Some(Verdict::parse(&text).ok_or_else(|| unknown("verdict", &text))?),
            },
            instance: self.instance,
            sent_at: self.sent_at_us.map(Time::from_micros),
            retry_at: self.retry_at_us.map(Time::from_micros),
        })
    }

    fn outcome(&mut self) -> Result<Outcome, String> {
        let kind = need(self.outcome.take(), "outcome")?;
        let mut error = || {
            let code = need(self.code.take(), "code")?;
            Ok::<_, String>((code, need(self.message.take(), "message")?))
        };
        Ok(match kind.as_str() {
            "succeeded" => Outcome::Succeeded {
                output: payload(self.output, "output")?,
            },
            "unusable" => error().map(|(code, message)| Outcome::Unusable { code, message })?,
            "rejected" => error().map(|(code, message)| Outcome::Rejected { code, message })?,
            "fatal" => error().map(|(code, message)| Outcome::Fatal { code, message })?,
            "unknown" => error().map(|(code, message)| Outcome::Unknown { code, message })?,
            "failed" => {
                let (code, message) = error()?;
                let retry_after = self.retry_after_ns.map(Duration::from_nanos);
                Outcome::Failed {
                    code,
                    message,
                    retry_after,
                }
            }
            "nothing_to_undo" => Outcome::NothingToUndo,
            "superseded" => Outcome::Superseded,
            "absent" => Outcome::Absent,
            other => return Err(unknown("outcome", other)),
        })
    }

    fn abort_reason(self) -> Result<AbortReason, String> {
        let cause = need(self.cause.clone(), "cause")?;
        Ok(match cause.as_str() {
            "STEP_FAILED" => AbortReason::StepFailed {
                place: self.place()?,
                code: need(self.code, "code")?,
                message: need(self.message, "message")?,
            },
            "CANCELLED" => AbortReason::Cancelled {
                by: need(self.by, "by")?,
                reason: need(self.reason, "reason")?,
            },
            "DEADLINE_EXCEEDED" => AbortReason::DeadlineExceeded,
            "OPERATOR" => AbortReason::Operator {
                by: need(self.by, "by")?,
                reason: need(self.reason, "reason")?,
            },
            "PARENT_ABORTED" => AbortReason::ParentAborted {
                code: need(self.code, "code")?,
                message: need(self.message, "message")?,
            },
            "OUTPUT_INVALID" => AbortReason::OutputInvalid {
                code: need(self.code, "code")?,
                message: need(self.message, "message")?,
            },
            other => return Err(unknown("cause", other)),
        })
    }

    fn incident(self) -> Result<Incident, String> {
        let place = self.maybe_place()?;
        let operation = self.maybe_operation()?;
        let reason = need(self.reason, "reason")?;
        Ok(Incident {
            place,
            operation,
            code: self.code,
            reason: IncidentReason::parse(&reason).ok_or_else(|| unknown("reason", &reason))?,
            message: need(self.message, "message")?,
        })
    }

    fn step(&self) -> Result<StepIndex, String> {
        need(self.step, "step").map(StepIndex)
    }

    fn place(&self) -> Result<Place, String> {
        Ok(Place::item(self.step()?, self.item.unwrap_or(0)))
    }

    /// An item without its step would be about the whole saga, and it is not.
    fn maybe_place(&self) -> Result<Option<Place>, String> {
        match (self.step, self.item) {
            (None, None) => Ok(None),
            _ => self.place().map(Some),
        }
    }

    fn round(&self) -> u32 {
        self.round.unwrap_or(0)
    }

    fn until(&self) -> Result<Time, String> {
        need(self.until_us, "until_us").map(Time::from_micros)
    }

    fn operation(&self) -> Result<OperationKind, String> {
        need(self.maybe_operation()?, "operation")
    }

    fn maybe_operation(&self) -> Result<Option<OperationKind>, String> {
        let Some(text) = &self.operation else {
            return Ok(None);
        };
        OperationKind::parse(text)
            .map(Some)
            .ok_or_else(|| unknown("operation", text))
    }
}

fn need<T>(field: Option<T>, name: &str) -> Result<T, String> {
    field.ok_or_else(|| format!("a fact lacks the field `{name}`"))
}

fn payload(raw: Option<&RawValue>, name: &str) -> Result<Payload, String> {
    need(raw, name).map(trusted)
}

fn trusted(raw: &RawValue) -> Payload {
    Payload::trusted(Bytes::copy_from_slice(raw.get().as_bytes()))
}

fn saga_id(field: &str, text: &str) -> Result<SagaId, String> {
    text.parse().map_err(|_| unknown(field, text))
}

impl ParentRecord {
    fn into_parent(self) -> Result<Parent, String> {
        Ok(Parent {
            saga: saga_id("saga", &self.saga)?,
            step: Arc::from(self.step),
            item: self.item.unwrap_or(0),
            round: self.round.unwrap_or(0),
            depth: self.depth,
        })
    }
}

fn unknown(field: &str, value: &str) -> String {
    format!("this binary knows no {field} {value:?}")
}

fn definition_hash(text: &str) -> Result<DefinitionHash, String> {
    let mut hash = [0_u8; 32];
    // Only what a hash prints as is one: no sign, no upper case, no other length.
    let digits = text
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !digits || text.len() != 64 {
        return Err(unknown("hash", text));
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).map_err(|e| e.to_string())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|e| e.to_string())?;
    }
    Ok(DefinitionHash(hash))
}

/// The kinds of `golden/v1.jsonl`.
const KINDS_OF_1: &[&str] = &[
    "started",
    "skipped",
    "scheduled",
    "step_failed",
    "attempt_ended",
    "withdrawn",
    "abort_decided",
    "settling",
    "cancel_pending",
    "cancel_dropped",
    "late_result",
    "incident_opened",
    "incident_closed",
    "completed",
    "compensated",
];
