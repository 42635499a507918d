//! What one attempt came to, and what the barrier said about it, between the handler and the wire. Which outcome a
//! situation deserves is decided by the handlers, the barrier and the attempt runner.

use std::time::Duration;

use amends_proto::v1;
use amends_proto::v1::attempt_outcome::Outcome as WireOutcome;
use bytes::Bytes;
use serde::Serialize;

use crate::fail::{Fail, FailKind};
use crate::limits::PAYLOAD_BYTES_MAX;

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It had its effect; this is the output, JSON in UTF-8. Of a query: the action had its effect, with this output.
    Succeeded(Bytes),
    /// It did not succeed, as the handler or the SDK says.
    NotSucceeded(Fail),
    /// Of a compensation: the action never had an effect, and never will have.
    NothingToUndo,
    /// The barrier refused a late action: its compensation was there first.
    Superseded,
    /// Of a query: the action has had no effect, and never will have.
    Absent,
}

/// What the barrier said about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is no barrier, or it recorded nothing.
    None,
    /// This was the first time, and the outcome is recorded beside the effect.
    First,
    /// The operation had been decided: this is the outcome that was recorded then, byte for byte.
    Duplicate,
    /// A compensation without an effect to undo.
    NothingToUndo,
    /// An action after its compensation.
    Superseded,
}

/// An outcome with the barrier's verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What the attempt came to.
    pub outcome: Outcome,
    /// What the barrier said.
    pub verdict: Verdict,
}

impl Answer {
    /// An answer of an action without a barrier.
    #[must_use]
    pub fn plain(outcome: Outcome) -> Self {
        Self {
            outcome,
            verdict: Verdict::None,
        }
    }

    /// An answer with the barrier's verdict.
    #[must_use]
    pub fn new(outcome: Outcome, verdict: Verdict) -> Self {
        Self { outcome, verdict }
    }

    pub(crate) fn fail(fail: Fail) -> Self {
        Self::plain(Outcome::NotSucceeded(fail))
    }

    /// The code, if it is one of the failures.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::NotSucceeded(fail) => Some(fail.code()),
            Outcome::Succeeded(_)
            | Outcome::NothingToUndo
            | Outcome::Superseded
            | Outcome::Absent => None,
        }
    }

    pub(crate) fn into_wire(self) -> (WireOutcome, v1::BarrierVerdict) {
        let verdict = match self.verdict {
            Verdict::None => v1::BarrierVerdict::Unspecified,
            Verdict::First => v1::BarrierVerdict::First,
            Verdict::Duplicate => v1::BarrierVerdict::Duplicate,
            Verdict::NothingToUndo => v1::BarrierVerdict::NothingToUndo,
            Verdict::Superseded => v1::BarrierVerdict::Superseded,
        };
        let outcome = match self.outcome {
            Outcome::Succeeded(output) => WireOutcome::Succeeded(v1::Succeeded { output }),
            Outcome::NotSucceeded(fail) => fail_into_wire(fail),
            Outcome::NothingToUndo => WireOutcome::NothingToUndo(v1::NothingToUndo {}),
            Outcome::Superseded => WireOutcome::Superseded(v1::Superseded {}),
            Outcome::Absent => WireOutcome::Absent(v1::Absent {}),
        };
        (outcome, verdict)
    }
}

/// Reads an input; what does not parse can never work.
pub(crate) fn parse_input<I: serde::de::DeserializeOwned>(input: &[u8]) -> Result<I, Fail> {
    let text: &[u8] = if input.is_empty() { b"null" } else { input };
    serde_json::from_slice(text).map_err(|error| {
        Fail::fatal("INPUT_INVALID").message(format!("the input does not parse: {error}"))
    })
}

/// Why an output cannot travel.
#[derive(Debug)]
pub(crate) struct UnusableOutput {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// What travels in its place where the effect cannot be taken back: short, and certain to be refused.
    pub(crate) sent: Bytes,
}

/// Writes an output, within its bound.
pub(crate) fn write_output<O: Serialize>(output: &O) -> Result<Bytes, UnusableOutput> {
    let bytes = serde_json::to_vec(output).map_err(|error| UnusableOutput {
        code: "OUTPUT_INVALID",
        message: format!("the output cannot be written as JSON: {error}"),
        sent: Bytes::from_static(b"not JSON"),
    })?;
    let size = bytes.len();
    let bytes = Bytes::from(bytes);
    if size > PAYLOAD_BYTES_MAX {
        return Err(UnusableOutput {
            code: "OUTPUT_TOO_LARGE",
            message: format!("the output has {size} bytes, and {PAYLOAD_BYTES_MAX} are the most"),
            sent: bytes.slice(..=PAYLOAD_BYTES_MAX),
        });
    }
    Ok(bytes)
}

pub(crate) fn duration_from_wire(duration: &prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok()?;
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into())))
}

pub(crate) fn duration_into_wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

fn fail_into_wire(fail: Fail) -> WireOutcome {
    let Fail {
        kind,
        code,
        message,
        retry_after,
    } = fail;
    match kind {
        FailKind::Rejected => WireOutcome::Rejected(v1::Rejected { code, message }),
        FailKind::Fatal => WireOutcome::Fatal(v1::Fatal { code, message }),
        FailKind::Failed => WireOutcome::Failed(v1::Failed {
            code,
            message,
            retry_after: retry_after.map(duration_into_wire),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_at_the_bound_travels_and_one_byte_more_does_not() {
        let at_bound = "x".repeat(PAYLOAD_BYTES_MAX - 2);
        assert_eq!(write_output(&at_bound).unwrap().len(), PAYLOAD_BYTES_MAX);
        let above = "x".repeat(PAYLOAD_BYTES_MAX - 1);
        assert_eq!(write_output(&above).unwrap_err().code, "OUTPUT_TOO_LARGE");
    }

    #[test]
    fn an_empty_input_is_null_and_a_wrong_one_is_fatal() {
        assert_eq!(parse_input::<Option<u8>>(b"").unwrap(), None);
        let fail = parse_input::<u8>(b"\"x\"").unwrap_err();
        assert_eq!(
            (fail.kind(), fail.code()),
            (FailKind::Fatal, "INPUT_INVALID")
        );
    }

    #[test]
    fn a_negative_duration_of_the_wire_is_no_duration() {
        let negative = prost_types::Duration {
            seconds: -1,
            nanos: 0,
        };
        assert_eq!(duration_from_wire(&negative), None);
        let whole = duration_into_wire(Duration::from_millis(1_500));
        assert_eq!(
            duration_from_wire(&whole),
            Some(Duration::from_millis(1_500))
        );
    }
}
