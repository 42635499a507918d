//! Who attaches: everything that `hello` says is checked here, and nothing is clamped.

use std::collections::BTreeSet;

use amends_core::{Incarnation, OperationKey};
use amends_definitions::ActionName;
use amends_orchestrator::{Attachment, Kind, Refusal};
use amends_proto::v1;

use crate::convert::outcome::{Realm, operation_key};
use crate::limits::{ACTIONS_MAX, CREDIT_MAX, IN_HAND_MAX, INSTANCE_BYTES_MAX, SDK_BYTES_MAX};
use crate::name;
use crate::status::invalid;

/// Reads `hello`.
///
/// # Errors
/// `UNIMPLEMENTED` for another protocol version, `INVALID_ARGUMENT` for everything else.
pub(super) fn check(incarnation: Incarnation, hello: v1::Hello) -> Result<Attachment, Refusal> {
    version(hello.protocol_version)?;
    let namespace = name::namespace("namespace", &hello.namespace)?;
    if !is_identifier(&hello.participant) {
        return Err(invalid("PARTICIPANT_INVALID", "participant", IDENTIFIER));
    }
    if hello.instance.is_empty()
        || hello.instance.len() > INSTANCE_BYTES_MAX
        || hello.instance.contains(char::is_control)
    {
        let description =
            format!("it has 1 to {INSTANCE_BYTES_MAX} bytes, none of them a control character");
        return Err(invalid("INSTANCE_INVALID", "instance", description));
    }
    if hello.sdk.len() > SDK_BYTES_MAX || hello.sdk.contains(char::is_control) {
        return Err(invalid(
            "SDK_INVALID",
            "sdk",
            format!("it has at most {SDK_BYTES_MAX} bytes, none of them a control character"),
        ));
    }
    credit("credit", hello.credit)?;
    let actions = actions(&hello.participant, hello.actions)?;
    let in_hand = in_hand(
        Realm {
            incarnation,
            namespace: namespace.clone(),
        },
        &hello.in_hand,
    )?;
    Ok(Attachment {
        namespace,
        participant: hello.participant,
        instance: hello.instance,
        sdk: hello.sdk,
        actions,
        credit: hello.credit,
        in_hand,
    })
}

/// Checks room for commands.
///
/// # Errors
/// `INVALID_ARGUMENT` outside of 1 to 10,000.
pub(super) fn credit(field: &str, commands: u32) -> Result<(), Refusal> {
    if (1..=CREDIT_MAX).contains(&commands) {
        Ok(())
    } else {
        Err(invalid(
            "CREDIT_INVALID",
            field,
            format!("it is 1 to {CREDIT_MAX}"),
        ))
    }
}

const IDENTIFIER: &str = "it has 1 to 63 bytes: letters, digits, _ and -, with a letter first";

fn version(version: u32) -> Result<(), Refusal> {
    if version == amends_proto::PROTOCOL_VERSION {
        return Ok(());
    }
    let supported = amends_proto::PROTOCOL_VERSION.to_string();
    let message =
        format!("this node speaks version {supported} of the participant protocol, not {version}");
    Err(
        Refusal::new(Kind::Unimplemented, "PROTOCOL_VERSION_UNSUPPORTED", message)
            .with_metadata("supported_min", supported.clone())
            .with_metadata("supported_max", supported),
    )
}

fn actions(
    participant: &str,
    offers: Vec<v1::ActionOffer>,
) -> Result<Vec<(ActionName, bool)>, Refusal> {
    if offers.is_empty() || offers.len() > ACTIONS_MAX {
        return Err(invalid(
            "ACTIONS_INVALID",
            "actions",
            format!("there are 1 to {ACTIONS_MAX} actions"),
        ));
    }
    let mut seen = BTreeSet::new();
    let mut actions = Vec::with_capacity(offers.len());
    for (index, offer) in offers.into_iter().enumerate() {
        let field = format!("actions[{index}].action");
        let action = offer
            .action
            .strip_prefix(participant)
            .and_then(|rest| rest.strip_prefix('.'));
        if !action.is_some_and(is_identifier) {
            let description = format!(
                "it is {participant}.action, where action {}",
                IDENTIFIER.trim_start_matches("it ")
            );
            return Err(invalid("ACTION_INVALID", &field, description));
        }
        if !seen.insert(offer.action.clone()) {
            return Err(invalid("ACTION_REPEATED", &field, "it was offered before"));
        }
        actions.push((ActionName::new(offer.action), offer.barrier));
    }
    Ok(actions)
}

/// What the instance has in hand. Attempts of another life of the database are none of this one's, and are left out: their
/// outcomes will be refused one by one.
fn in_hand(realm: Realm, keys: &[v1::AttemptKey]) -> Result<Vec<(OperationKey, u32)>, Refusal> {
    if keys.len() > IN_HAND_MAX {
        return Err(invalid(
            "IN_HAND_INVALID",
            "in_hand",
            format!("there are at most {IN_HAND_MAX} attempts"),
        ));
    }
    let mut attempts = Vec::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        if key.operation_key.parse::<OperationKey>().is_err() || key.attempt == 0 {
            let field = format!("in_hand[{index}]");
            return Err(invalid(
                "IN_HAND_INVALID",
                &field,
                "it is no attempt: an operation's key, and a number from 1",
            ));
        }
        attempts.extend(
            operation_key(&realm, &key.operation_key).map(|operation| (operation, key.attempt)),
        );
    }
    Ok(attempts)
}

/// One half of an action's name, as the definition language has it.
fn is_identifier(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'-';
    bytes.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use amends_core::{OperationKind, SagaId, ShardId, Time};

    use super::*;

    const INCARNATION: Incarnation = Incarnation(uuid::Uuid::from_u128(7));

    fn offer(action: &str) -> v1::ActionOffer {
        v1::ActionOffer {
            action: action.into(),
            barrier: true,
        }
    }

    fn hello() -> v1::Hello {
        v1::Hello {
            protocol_version: 1,
            namespace: "namespaces/default".into(),
            participant: "inventory".into(),
            instance: "host-1:42".into(),
            actions: vec![offer("inventory.reserve"), offer("inventory.release")],
            credit: 16,
            in_hand: Vec::new(),
            sdk: "amends-sdk-rust/0.1.0".into(),
        }
    }

    fn refused(change: impl FnOnce(&mut v1::Hello)) -> (Kind, &'static str) {
        let mut hello = hello();
        change(&mut hello);
        let refusal = check(INCARNATION, hello).unwrap_err();
        (refusal.kind, refusal.reason)
    }

    #[test]
    fn a_sound_hello_is_read() {
        let attachment = check(INCARNATION, hello()).unwrap();
        assert_eq!(
            (attachment.namespace.as_str(), attachment.credit),
            ("default", 16)
        );
        assert_eq!(
            attachment.actions[0],
            (ActionName::new("inventory.reserve"), true)
        );
    }

    #[test]
    fn b38_another_protocol_version_is_unimplemented_with_the_supported_range() {
        for version in [0, 2, 99, u32::MAX] {
            let refusal = check(
                INCARNATION,
                v1::Hello {
                    protocol_version: version,
                    ..hello()
                },
            )
            .unwrap_err();
            assert_eq!(refusal.kind, Kind::Unimplemented);
            assert_eq!(
                (
                    refusal.metadata["supported_min"].as_str(),
                    refusal.metadata["supported_max"].as_str()
                ),
                ("1", "1")
            );
        }
    }

    #[test]
    fn b42_no_action_100_000_actions_and_a_credit_of_0_or_2_to_the_31_are_invalid_arguments() {
        let invalid = |reason| (Kind::InvalidArgument, reason);
        assert_eq!(
            refused(|hello| hello.actions.clear()),
            invalid("ACTIONS_INVALID")
        );
        let many = |count: usize| {
            (0..count)
                .map(|index| offer(&format!("inventory.a{index}")))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            refused(|hello| hello.actions = many(100_000)),
            invalid("ACTIONS_INVALID")
        );
        assert!(
            check(
                INCARNATION,
                v1::Hello {
                    actions: many(1_000),
                    ..hello()
                }
            )
            .is_ok()
        );
        for credit in [0, 10_001, 1 << 31, u32::MAX] {
            assert_eq!(
                refused(|hello| hello.credit = credit),
                invalid("CREDIT_INVALID")
            );
        }
        assert!(
            check(
                INCARNATION,
                v1::Hello {
                    credit: 10_000,
                    ..hello()
                }
            )
            .is_ok()
        );
    }

    #[test]
    fn actions_of_others_and_repeated_ones_are_invalid_arguments() {
        let invalid = |reason| (Kind::InvalidArgument, reason);
        for action in [
            "",
            "inventory",
            "inventory.",
            "payments.charge",
            "inventory.a.b",
            "inventory.a b",
            "inventory2.a",
        ] {
            assert_eq!(
                refused(|hello| hello.actions = vec![offer(action)]),
                invalid("ACTION_INVALID"),
                "{action}"
            );
        }
        let twice = vec![offer("inventory.a"), offer("inventory.a")];
        assert_eq!(
            refused(|hello| hello.actions = twice),
            invalid("ACTION_REPEATED")
        );
    }

    #[test]
    fn names_without_sense_are_invalid_arguments() {
        let invalid = |reason| (Kind::InvalidArgument, reason);
        assert_eq!(
            refused(|hello| hello.namespace = "default".into()),
            invalid("NAME_INVALID")
        );
        assert_eq!(
            refused(|hello| hello.participant = "a.b".into()),
            invalid("PARTICIPANT_INVALID")
        );
        for instance in [String::new(), "x".repeat(129), "a\0".into()] {
            assert_eq!(
                refused(|hello| hello.instance = instance),
                invalid("INSTANCE_INVALID")
            );
        }
        assert_eq!(
            refused(|hello| hello.sdk = "x".repeat(129)),
            invalid("SDK_INVALID")
        );
    }

    #[test]
    fn attempts_in_hand_of_another_database_are_left_out_and_nonsense_is_refused() {
        let key = OperationKey {
            incarnation: INCARNATION,
            namespace: "default".into(),
            saga: SagaId::new(Time::EPOCH, ShardId(0), 1),
            step: "reserve".into(),
            item: 0,
            round: 0,
            operation: OperationKind::Forward,
        };
        let foreign = OperationKey {
            incarnation: Incarnation(uuid::Uuid::from_u128(8)),
            ..key.clone()
        };
        let attempt = |text: String, attempt| v1::AttemptKey {
            operation_key: text,
            attempt,
        };
        let in_hand = vec![attempt(key.to_string(), 2), attempt(foreign.to_string(), 1)];
        assert_eq!(
            check(INCARNATION, v1::Hello { in_hand, ..hello() })
                .unwrap()
                .in_hand,
            [(key.clone(), 2)]
        );
        for bad in [attempt("x".into(), 1), attempt(key.to_string(), 0)] {
            assert_eq!(
                refused(|hello| hello.in_hand = vec![bad]),
                (Kind::InvalidArgument, "IN_HAND_INVALID")
            );
        }
    }
}
