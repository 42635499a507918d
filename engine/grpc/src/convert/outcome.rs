//! What participants say that attempts came to. A sound outcome whose output cannot be used is still an effect, and becomes
//! [`Outcome::Unusable`]; an outcome that is not sound is refused, and the stream goes on.

use amends_core::{Incarnation, OperationKey, OperationKind, Outcome, Verdict};
use amends_definitions::limits::PAYLOAD_BYTES_MAX;
use amends_definitions::{Payload, PayloadError};
use amends_orchestrator::AttemptOutcome;
use amends_proto::v1;
use amends_proto::v1::attempt_outcome::Outcome as Wire;
use bytes::Bytes;
use tonic::Code;

use super::command::refused;
use super::time::checked_duration;
use crate::limits::{CODE_BYTES_MAX, OUTCOME_MESSAGE_BYTES_MAX, RETRY_AFTER_MAX};

/// Whose operations a session may speak of.
#[derive(Clone, Debug)]
pub struct Realm {
    /// The database's life: an operation of another one is unknown.
    pub incarnation: Incarnation,
    /// The tenant: so is one of another namespace.
    pub namespace: String,
}

/// Why an outcome is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unsound {
    code: Code,
    reason: &'static str,
    message: String,
}

/// Reads an outcome.
///
/// # Errors
/// The acknowledgement that refuses it.
pub fn read(
    realm: &Realm,
    wire: v1::AttemptOutcome,
) -> Result<AttemptOutcome, v1::Acknowledgement> {
    let (key, attempt, epoch) = (wire.operation_key, wire.attempt, wire.epoch);
    let epoch = (epoch > 0).then_some(epoch);
    parse(realm, &key, (attempt, epoch), wire.verdict, wire.outcome)
        .map_err(|unsound| refused(key, attempt, unsound.code, unsound.reason, &unsound.message))
}

/// Reads an operation key of the realm.
#[must_use]
pub fn operation_key(realm: &Realm, text: &str) -> Option<OperationKey> {
    let key: OperationKey = text.parse().ok()?;
    (key.incarnation == realm.incarnation && *key.namespace == *realm.namespace).then_some(key)
}

/// 1 to 128 of `A`–`Z`, `0`–`9` and `_`, with a letter first.
#[must_use]
pub fn is_code(code: &str) -> bool {
    let bytes = code.as_bytes();
    bytes.len() <= CODE_BYTES_MAX
        && bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
}

fn parse(
    realm: &Realm,
    key: &str,
    (attempt, epoch): (u32, Option<u64>),
    verdict: i32,
    outcome: Option<Wire>,
) -> Result<AttemptOutcome, Unsound> {
    if attempt == 0 {
        return Err(unsound("ATTEMPT_INVALID", "attempts count from 1"));
    }
    let verdict = self::verdict(verdict)?;
    let outcome =
        outcome.ok_or_else(|| unsound("OUTCOME_MISSING", "exactly one outcome has to be set"))?;
    // Whether the key is forged, of another database or of another tenant is not told: there is no such operation.
    let key = operation_key(realm, key).ok_or_else(|| Unsound {
        code: Code::NotFound,
        reason: "UNKNOWN_OPERATION",
        message: "there is no such operation or attempt".into(),
    })?;
    let outcome = read_outcome(key.operation, outcome)?;
    Ok(AttemptOutcome {
        key,
        attempt,
        epoch,
        outcome,
        verdict,
    })
}

fn read_outcome(operation: OperationKind, outcome: Wire) -> Result<Outcome, Unsound> {
    match (outcome, operation) {
        (Wire::Succeeded(succeeded), _) => Ok(output(succeeded.output)),
        (Wire::Rejected(rejected), _) => {
            let (code, message) = words(rejected.code, rejected.message)?;
            Ok(Outcome::Rejected { code, message })
        }
        (Wire::Failed(failed), _) => {
            let (code, message) = words(failed.code, failed.message)?;
            let retry_after = failed.retry_after.as_ref();
            let retry_after = retry_after
                .map(|after| checked_duration("retry_after", after, RETRY_AFTER_MAX))
                .transpose();
            let retry_after =
                retry_after.map_err(|refusal| unsound("RETRY_AFTER_INVALID", refusal.message))?;
            Ok(Outcome::Failed {
                code,
                message,
                retry_after,
            })
        }
        (Wire::Fatal(fatal), _) => {
            let (code, message) = words(fatal.code, fatal.message)?;
            Ok(Outcome::Fatal { code, message })
        }
        (Wire::NothingToUndo(_), OperationKind::Compensate) => Ok(Outcome::NothingToUndo),
        (Wire::Superseded(_), OperationKind::Forward) => Ok(Outcome::Superseded),
        (Wire::Absent(_), OperationKind::Query) => Ok(Outcome::Absent),
        (Wire::NothingToUndo(_), OperationKind::Forward | OperationKind::Query) => Err(unsound(
            "OUTCOME_NOT_APPLICABLE",
            "only a compensation can find nothing to undo",
        )),
        (Wire::Superseded(_), OperationKind::Compensate | OperationKind::Query) => Err(unsound(
            "OUTCOME_NOT_APPLICABLE",
            "only an action can be superseded",
        )),
        (Wire::Absent(_), OperationKind::Forward | OperationKind::Compensate) => Err(unsound(
            "OUTCOME_NOT_APPLICABLE",
            "only a query can find its action absent",
        )),
    }
}

fn output(bytes: Bytes) -> Outcome {
    if bytes.is_empty() {
        return Outcome::Succeeded {
            output: Payload::null(),
        };
    }
    if bytes.len() > PAYLOAD_BYTES_MAX {
        let message = format!(
            "the output has {} bytes, and at most {PAYLOAD_BYTES_MAX} are allowed",
            bytes.len()
        );
        return Outcome::Unusable {
            code: "OUTPUT_TOO_LARGE".into(),
            message,
        };
    }
    match Payload::check(bytes) {
        Ok(output) => Outcome::Succeeded { output },
        Err(error @ PayloadError::TooLarge { .. }) => Outcome::Unusable {
            code: "OUTPUT_TOO_LARGE".into(),
            message: error.to_string(),
        },
        Err(error @ PayloadError::Syntax(_)) => Outcome::Unusable {
            code: "OUTPUT_INVALID".into(),
            message: error.to_string(),
        },
    }
}

fn words(code: String, message: String) -> Result<(String, String), Unsound> {
    if !is_code(&code) {
        return Err(unsound(
            "CODE_INVALID",
            format!(
                "a code is upper snake case, 1 to {CODE_BYTES_MAX} bytes, such as OUT_OF_STOCK"
            ),
        ));
    }
    if message.len() > OUTCOME_MESSAGE_BYTES_MAX {
        let found = message.len();
        return Err(unsound(
            "MESSAGE_TOO_LONG",
            format!(
                "the message has {found} bytes, and at most {OUTCOME_MESSAGE_BYTES_MAX} are allowed"
            ),
        ));
    }
    if message.contains('\0') {
        return Err(unsound(
            "MESSAGE_INVALID",
            "the message has a NUL character",
        ));
    }
    Ok((code, message))
}

fn verdict(number: i32) -> Result<Option<Verdict>, Unsound> {
    let known = v1::BarrierVerdict::try_from(number).map_err(|_| {
        unsound(
            "ENUM_INVALID",
            format!("{number} is no verdict of a barrier"),
        )
    })?;
    Ok(match known {
        v1::BarrierVerdict::Unspecified => None,
        v1::BarrierVerdict::First => Some(Verdict::First),
        v1::BarrierVerdict::Duplicate => Some(Verdict::Duplicate),
        v1::BarrierVerdict::NothingToUndo => Some(Verdict::NothingToUndo),
        v1::BarrierVerdict::Superseded => Some(Verdict::Superseded),
    })
}

fn unsound(reason: &'static str, message: impl Into<String>) -> Unsound {
    Unsound {
        code: Code::InvalidArgument,
        reason,
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use amends_core::{SagaId, ShardId, Time};

    use super::*;

    fn realm() -> Realm {
        Realm {
            incarnation: Incarnation(uuid::Uuid::from_u128(7)),
            namespace: "default".into(),
        }
    }

    fn key(operation: OperationKind) -> OperationKey {
        OperationKey {
            incarnation: realm().incarnation,
            namespace: "default".into(),
            saga: SagaId::new(Time::from_micros(1_763_712_000_123_456), ShardId(3), 9),
            step: "charge".into(),
            item: 0,
            round: 0,
            operation,
        }
    }

    fn wire(outcome: Wire) -> v1::AttemptOutcome {
        v1::AttemptOutcome {
            operation_key: key(OperationKind::Forward).to_string(),
            attempt: 1,
            outcome: Some(outcome),
            ..v1::AttemptOutcome::default()
        }
    }

    fn failed(code: &str, message: &str, retry_after: Option<(i64, i32)>) -> v1::AttemptOutcome {
        let retry_after =
            retry_after.map(|(seconds, nanos)| prost_types::Duration { seconds, nanos });
        wire(Wire::Failed(v1::Failed {
            code: code.into(),
            message: message.into(),
            retry_after,
        }))
    }

    fn refusal(wire: v1::AttemptOutcome) -> (i32, String) {
        let answer = read(&realm(), wire).unwrap_err();
        assert_eq!(
            answer.disposition(),
            v1::acknowledgement::Disposition::Refused
        );
        (answer.code, answer.reason)
    }

    #[test]
    fn sound_outcomes_are_read() {
        let read = |wire| read(&realm(), wire).unwrap().outcome;
        let after = Some(Duration::from_secs(2));
        assert_eq!(
            read(failed("BUSY", "later", Some((2, 0)))),
            Outcome::Failed {
                code: "BUSY".into(),
                message: "later".into(),
                retry_after: after
            }
        );
        assert_eq!(
            read(wire(Wire::Succeeded(v1::Succeeded::default()))),
            Outcome::Succeeded {
                output: Payload::null()
            }
        );
        assert_eq!(
            read(wire(Wire::Superseded(v1::Superseded {}))),
            Outcome::Superseded
        );
        let mut undone = wire(Wire::NothingToUndo(v1::NothingToUndo {}));
        undone.operation_key = key(OperationKind::Compensate).to_string();
        assert_eq!(read(undone), Outcome::NothingToUndo);
    }

    #[test]
    fn b40_an_unset_outcome_and_attempt_0_are_refused() {
        let mut none = failed("A", "", None);
        none.outcome = None;
        assert_eq!(refusal(none), (3, "OUTCOME_MISSING".into()));
        let mut zero = failed("A", "", None);
        zero.attempt = 0;
        assert_eq!(refusal(zero), (3, "ATTEMPT_INVALID".into()));
        let mut verdict = failed("A", "", None);
        verdict.verdict = 5;
        assert_eq!(refusal(verdict), (3, "ENUM_INVALID".into()));
    }

    #[test]
    fn b40_a_retry_after_of_minus_1_or_100_years_is_refused() {
        let century = 100 * 365 * 24 * 60 * 60;
        for after in [
            (-1, 0),
            (century, 0),
            (0, -1),
            (30 * 24 * 60 * 60, 1),
            (i64::MAX, i32::MAX),
        ] {
            assert_eq!(
                refusal(failed("A", "", Some(after))),
                (3, "RETRY_AFTER_INVALID".into()),
                "{after:?}"
            );
        }
    }

    #[test]
    fn b40_an_error_without_a_class_or_with_endless_words_is_refused() {
        let long = "A".repeat(CODE_BYTES_MAX + 1);
        for code in ["", "out_of_stock", "A B", "9A", "_A", "Ä", "A\0", &long] {
            assert_eq!(
                refusal(failed(code, "", None)),
                (3, "CODE_INVALID".into()),
                "{code:?}"
            );
        }
        assert!(
            read(
                &realm(),
                failed(&long[1..], &"x".repeat(OUTCOME_MESSAGE_BYTES_MAX), None)
            )
            .is_ok()
        );
        assert_eq!(
            refusal(failed(
                "A",
                &"x".repeat(OUTCOME_MESSAGE_BYTES_MAX + 1),
                None
            )),
            (3, "MESSAGE_TOO_LONG".into())
        );
        assert_eq!(
            refusal(failed("A", "a\0b", None)),
            (3, "MESSAGE_INVALID".into())
        );
    }

    #[test]
    fn b39_a_forged_key_and_one_of_another_database_or_namespace_are_not_found_alike() {
        let mut keys = vec![
            "".to_owned(),
            "x".repeat(1 << 20),
            key(OperationKind::Forward).to_string().to_uppercase(),
        ];
        keys.push(
            OperationKey {
                incarnation: Incarnation(uuid::Uuid::from_u128(8)),
                ..key(OperationKind::Forward)
            }
            .to_string(),
        );
        keys.push(
            OperationKey {
                namespace: "other".into(),
                ..key(OperationKind::Forward)
            }
            .to_string(),
        );
        for text in keys {
            let mut outcome = failed("A", "", None);
            outcome.operation_key = text;
            assert_eq!(refusal(outcome), (5, "UNKNOWN_OPERATION".into()));
        }
    }

    #[test]
    fn an_outcome_that_its_operation_cannot_have_is_refused() {
        assert_eq!(
            refusal(wire(Wire::NothingToUndo(v1::NothingToUndo {}))),
            (3, "OUTCOME_NOT_APPLICABLE".into())
        );
        let mut superseded = wire(Wire::Superseded(v1::Superseded {}));
        superseded.operation_key = key(OperationKind::Compensate).to_string();
        assert_eq!(refusal(superseded), (3, "OUTCOME_NOT_APPLICABLE".into()));
    }

    #[test]
    fn an_output_that_cannot_be_used_is_still_an_effect() {
        let code = |output: Vec<u8>| {
            let outcome = wire(Wire::Succeeded(v1::Succeeded {
                output: output.into(),
            }));
            match read(&realm(), outcome).unwrap().outcome {
                Outcome::Unusable { code, .. } => code,
                other => other.as_str().to_owned(),
            }
        };
        assert_eq!(code(b"{\"a\":1}".to_vec()), "succeeded");
        assert_eq!(code(b"{".to_vec()), "OUTPUT_INVALID");
        assert_eq!(code(b"\xff".to_vec()), "OUTPUT_INVALID");
        assert_eq!(code(vec![b'1'; PAYLOAD_BYTES_MAX + 1]), "OUTPUT_TOO_LARGE");
    }
}
