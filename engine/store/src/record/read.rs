//! Bytes to facts. Whatever the bytes, the answer is facts or a message, never a panic.

use std::sync::Arc;
use std::time::Duration;

use amends_core::fact::{AbortReason, AttemptEnded, Incident, IncidentReason, Started};
use amends_core::{Fact, OperationKind, Outcome, Place, Time, Verdict};
use amends_definitions::{DefinitionHash, Payload, StepIndex};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::VERSION;

pub(super) fn body(body: &[u8]) -> Result<Vec<Fact>, String> {
    let envelope: Envelope<'_> = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        // Another version may have another form: then its number is the message, not what else it has.
        Err(error) => {
            return Err(match serde_json::from_slice::<Version>(body) {
                Ok(Version { v }) if v != VERSION => unknown_version(v),
                Ok(_) | Err(_) => error.to_string(),
            });
        }
    };
    if envelope.v != VERSION {
        return Err(unknown_version(envelope.v));
    }
    envelope.facts.into_iter().map(Record::into_fact).collect()
}

fn unknown_version(v: u32) -> String {
    format!("it has version {v}, and this binary knows {VERSION} alone")
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
    traceparent: Option<String>,
    tracestate: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    input: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    output: Option<&'a RawValue>,
    step: Option<u16>,
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
}

/// A payload that is `null` is there.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl Record<'_> {
    fn into_fact(self) -> Result<Fact, String> {
        Ok(match self.kind.as_str() {
            "started" => Fact::Started(self.started()?),
            "skipped" => Fact::Skipped { step: self.step()? },
            "scheduled" => Fact::Scheduled {
                place: self.step()?.into(),
                operation: self.operation()?,
                round: 0,
                input: payload(self.input, "input")?,
            },
            "step_failed" => Fact::StepFailed {
                place: self.step()?.into(),
                operation: self.operation()?,
                code: need(self.code, "code")?,
                message: need(self.message, "message")?,
            },
            "attempt_ended" => Fact::AttemptEnded(self.attempt_ended()?),
            "withdrawn" => Fact::Withdrawn {
                place: self.step()?.into(),
                operation: self.operation()?,
                round: 0,
                attempt: need(self.attempt, "attempt")?,
                code: need(self.code, "code")?,
            },
            "abort_decided" => Fact::AbortDecided(self.abort_reason()?),
            "settling" => Fact::Settling {
                place: self.step()?.into(),
                until: Time::from_micros(need(self.until_us, "until_us")?),
            },
            "cancel_pending" => Fact::CancelPending {
                by: need(self.by, "by")?,
                reason: need(self.reason, "reason")?,
            },
            "cancel_dropped" => Fact::CancelDropped,
            "late_result" => Fact::LateResult {
                leak: need(self.leak, "leak")?,
                ended: self.attempt_ended()?,
            },
            "incident_opened" => Fact::IncidentOpened(self.incident()?),
            "incident_closed" => Fact::IncidentClosed {
                place: self.step.map(StepIndex).map(Place::from),
                operation: self.maybe_operation()?,
            },
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
            ordering_key: None,
            concurrency_max: None,
            parent: None,
            input: payload(self.input, "input")?,
            traceparent: self.traceparent,
            tracestate: self.tracestate,
        })
    }

    fn attempt_ended(mut self) -> Result<AttemptEnded, String> {
        Ok(AttemptEnded {
            place: self.step()?.into(),
            operation: self.operation()?,
            round: 0,
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
            other => return Err(unknown("outcome", other)),
        })
    }

    fn abort_reason(self) -> Result<AbortReason, String> {
        let cause = need(self.cause.clone(), "cause")?;
        Ok(match cause.as_str() {
            "STEP_FAILED" => AbortReason::StepFailed {
                place: self.step()?.into(),
                code: need(self.code, "code")?,
                message: need(self.message, "message")?,
            },
            "CANCELLED" => AbortReason::Cancelled {
                by: need(self.by, "by")?,
                reason: need(self.reason, "reason")?,
            },
            "OUTPUT_INVALID" => AbortReason::OutputInvalid {
                code: need(self.code, "code")?,
                message: need(self.message, "message")?,
            },
            other => return Err(unknown("cause", other)),
        })
    }

    fn incident(self) -> Result<Incident, String> {
        let place = self.step.map(StepIndex).map(Place::from);
        let operation = self.maybe_operation()?;
        let reason = need(self.reason, "reason")?;
        Ok(Incident {
            place,
            operation,
            code: None,
            reason: IncidentReason::parse(&reason).ok_or_else(|| unknown("reason", &reason))?,
            message: need(self.message, "message")?,
        })
    }

    fn step(&self) -> Result<StepIndex, String> {
        need(self.step, "step").map(StepIndex)
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
    let raw = need(raw, name)?;
    Ok(Payload::trusted(Bytes::copy_from_slice(
        raw.get().as_bytes(),
    )))
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
