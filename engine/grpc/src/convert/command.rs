//! What goes to participants: commands, withdrawals, acknowledgements, in messages of bounded size.

use std::sync::Arc;

use amends_core::shard::{Acknowledged, Command};
use amends_core::{OperationKey, OperationKind};
use amends_orchestrator::Acknowledgement;
use amends_proto::v1;
use tonic::Code;

use super::time::duration;
use crate::limits::{BATCH_BYTES_MAX, BATCH_ITEMS_MAX};
use crate::name;

/// Commands as messages of at most 128 commands and about 2 MiB, in their order.
#[must_use]
pub fn batches(commands: &[Arc<Command>]) -> Vec<v1::Commands> {
    let mut batches: Vec<v1::Commands> = Vec::new();
    let mut room = 0;
    for command in commands {
        let bytes = command.input.as_bytes().len();
        let message = message(command);
        match batches.last_mut() {
            Some(last) if last.commands.len() < BATCH_ITEMS_MAX && bytes <= room => {
                room -= bytes;
                last.commands.push(message);
            }
            Some(_) | None => {
                room = BATCH_BYTES_MAX.saturating_sub(bytes);
                batches.push(v1::Commands {
                    commands: vec![message],
                });
            }
        }
    }
    batches
}

/// One command.
#[must_use]
pub fn message(command: &Command) -> v1::Command {
    v1::Command {
        saga: name::of_saga(&command.key.namespace, command.key.saga),
        step: command.key.step.to_string(),
        item: command.key.item,
        operation: operation(command.key.operation).into(),
        operation_key: command.key.to_text(),
        attempt: command.attempt,
        forward_operation_key: command
            .forward_key
            .as_ref()
            .map(|key| key.to_text())
            .unwrap_or_default(),
        action: command.action.as_str().to_owned(),
        definition: command.definition.to_string(),
        revision: command.revision,
        epoch: command.epoch,
        input: command.input.to_bytes(),
        timeout: Some(duration(command.timeout)),
        heartbeat_timeout: command.heartbeat.map(duration),
        traceparent: command.traceparent.clone().unwrap_or_default(),
        tracestate: command.tracestate.clone().unwrap_or_default(),
    }
}

/// The name of an attempt.
#[must_use]
pub fn attempt_key(key: &OperationKey, attempt: u32) -> v1::AttemptKey {
    v1::AttemptKey {
        operation_key: key.to_text(),
        attempt,
    }
}

/// The answer to an outcome; none if the outcome is neither recorded nor refused, so that the participant has to keep it.
#[must_use]
pub fn acknowledgement(answer: &Acknowledgement) -> Option<v1::Acknowledgement> {
    let key = answer.key.to_text();
    let recorded = |disposition: v1::acknowledgement::Disposition| v1::Acknowledgement {
        operation_key: key.clone(),
        attempt: answer.attempt,
        disposition: disposition.into(),
        ..v1::Acknowledgement::default()
    };
    let refusal =
        |code, reason, message| Some(refused(key.clone(), answer.attempt, code, reason, message));
    match answer.acknowledged {
        Acknowledged::Recorded => Some(recorded(v1::acknowledgement::Disposition::Recorded)),
        Acknowledged::Late => Some(recorded(v1::acknowledgement::Disposition::Late)),
        Acknowledged::UnknownOperation => refusal(
            Code::NotFound,
            "UNKNOWN_OPERATION",
            "there is no such operation or attempt",
        ),
        Acknowledged::NotServed => refusal(
            Code::PermissionDenied,
            "NOT_SERVED",
            "this instance did not offer the action that it answers for",
        ),
        Acknowledged::Unreadable => refusal(
            Code::FailedPrecondition,
            "HISTORY_UNREADABLE",
            "the saga's history cannot be read by this server",
        ),
        Acknowledged::Unavailable => None,
    }
}

/// A refused outcome.
#[must_use]
pub fn refused(
    operation_key: String,
    attempt: u32,
    code: Code,
    reason: &str,
    message: &str,
) -> v1::Acknowledgement {
    v1::Acknowledgement {
        operation_key,
        attempt,
        disposition: v1::acknowledgement::Disposition::Refused.into(),
        code: i32::from(code),
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

fn operation(operation: OperationKind) -> v1::OperationKind {
    match operation {
        OperationKind::Forward => v1::OperationKind::Forward,
        OperationKind::Compensate => v1::OperationKind::Compensate,
        OperationKind::Query => v1::OperationKind::Query,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use amends_core::{Incarnation, SagaId, ShardId, Time};
    use amends_definitions::{ActionName, Payload};
    use bytes::Bytes;

    use super::*;

    fn command(input_bytes: usize) -> Command {
        let key = OperationKey {
            incarnation: Incarnation(uuid::Uuid::from_u128(7)),
            namespace: "default".into(),
            saga: SagaId::new(Time::from_micros(1_763_712_000_123_456), ShardId(3), 9),
            step: "charge".into(),
            item: 0,
            round: 0,
            operation: OperationKind::Compensate,
        };
        Command {
            forward_key: Some(OperationKey {
                operation: OperationKind::Forward,
                ..key.clone()
            }),
            key,
            attempt: 2,
            action: ActionName::new("payments.refund"),
            definition: "place-order".into(),
            revision: 4,
            epoch: 5,
            input: Payload::trusted(Bytes::from(vec![b'1'; input_bytes])),
            timeout: Duration::from_millis(1_500),
            heartbeat: None,
            traceparent: Some("00-a".into()),
            tracestate: None,
            due_at: Time::EPOCH,
            resent: false,
        }
    }

    #[test]
    fn a_command_carries_both_keys_and_its_time() {
        let message = message(&command(3));
        assert!(
            message.operation_key.ends_with("/charge/0/0/compensate"),
            "{}",
            message.operation_key
        );
        assert!(
            message
                .forward_operation_key
                .ends_with("/charge/0/0/forward")
        );
        assert!(message.saga.starts_with("namespaces/default/sagas/"));
        assert_eq!(message.operation(), v1::OperationKind::Compensate);
        assert_eq!(
            message.timeout,
            Some(prost_types::Duration {
                seconds: 1,
                nanos: 500_000_000
            })
        );
    }

    #[test]
    fn messages_hold_128_commands_and_2_mib_and_nothing_is_lost() {
        let counts = |commands: Vec<Command>| -> Vec<usize> {
            let commands: Vec<_> = commands.into_iter().map(Arc::new).collect();
            batches(&commands)
                .iter()
                .map(|batch| batch.commands.len())
                .collect()
        };
        assert_eq!(counts(Vec::new()), Vec::<usize>::new());
        assert_eq!(counts((0..128).map(|_| command(1)).collect()), [128]);
        assert_eq!(counts((0..129).map(|_| command(1)).collect()), [128, 1]);
        let mebibyte = 1024 * 1024;
        assert_eq!(
            counts((0..5).map(|_| command(mebibyte)).collect()),
            [2, 2, 1]
        );
    }

    #[test]
    fn what_became_of_an_outcome_is_told_apart() {
        let answer = |acknowledged| {
            let command = command(1);
            acknowledgement(&Acknowledgement {
                key: command.key,
                attempt: 2,
                acknowledged,
            })
        };
        let code = |acknowledged| {
            answer(acknowledged).map(|answer| (answer.disposition().as_str_name(), answer.code))
        };
        assert_eq!(
            code(Acknowledged::Recorded),
            Some(("DISPOSITION_RECORDED", 0))
        );
        assert_eq!(code(Acknowledged::Late), Some(("DISPOSITION_LATE", 0)));
        assert_eq!(
            code(Acknowledged::UnknownOperation),
            Some(("DISPOSITION_REFUSED", 5))
        );
        assert_eq!(
            code(Acknowledged::NotServed),
            Some(("DISPOSITION_REFUSED", 7))
        );
        assert_eq!(
            code(Acknowledged::Unreadable),
            Some(("DISPOSITION_REFUSED", 9))
        );
        assert_eq!(code(Acknowledged::Unavailable), None);
    }
}
