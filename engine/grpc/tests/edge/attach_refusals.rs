//! Participants that break the protocol, and those whose outcomes are not sound.

use std::time::Duration;

use amends_proto::v1;
use amends_proto::v1::acknowledgement::Disposition;
use amends_proto::v1::attach_request::Message as Say;
use amends_proto::v1::attempt_outcome::Outcome;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::node::{Node, ORDER, refusal};
use crate::participant::{Participant, hello, outcome, rejected, succeeded};

#[tokio::test]
async fn b38_a_result_before_hello_and_a_second_hello_are_failed_preconditions() {
    let node = Node::with_order().await;
    for early in [
        Say::Outcomes(v1::Outcomes::default()),
        Say::Credit(v1::Credit { commands: 1 }),
        Say::Heartbeats(v1::Heartbeats::default()),
        Say::Drain(v1::Drain {}),
    ] {
        let ended = Participant::silent(&node).await.ended_by(early).await;
        assert_eq!(
            refusal(ended),
            (Code::FailedPrecondition, "HELLO_EXPECTED".into())
        );
    }
    let ended = Participant::attached(&node, "shop-1")
        .await
        .ended_by(Say::Hello(hello()))
        .await;
    assert_eq!(
        refusal(ended),
        (Code::FailedPrecondition, "HELLO_EXPECTED".into())
    );
}

#[tokio::test]
async fn b38_protocol_versions_99_and_0_are_unimplemented_with_the_supported_range() {
    let node = Node::start().await;
    for version in [0, 99] {
        let strange = Say::Hello(v1::Hello {
            protocol_version: version,
            ..hello()
        });
        let status = Participant::silent(&node)
            .await
            .ended_by(strange)
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        let details = status.get_error_details();
        let metadata = &details.error_info().unwrap().metadata;
        assert_eq!(
            (
                metadata["supported_min"].as_str(),
                metadata["supported_max"].as_str()
            ),
            ("1", "1")
        );
    }
}

#[tokio::test]
async fn b4_a_participant_of_an_unknown_namespace_is_not_found() {
    let node = Node::start().await;
    let strange = Say::Hello(v1::Hello {
        namespace: "namespaces/nowhere".into(),
        ..hello()
    });
    let ended = Participant::silent(&node).await.ended_by(strange).await;
    assert_eq!(refusal(ended).0, Code::NotFound);
}

#[tokio::test]
async fn b19_a_message_without_content_is_an_invalid_argument() {
    let node = Node::start().await;
    let mut first = Participant::silent(&node).await;
    first.say_raw(v1::AttachRequest { message: None }).await;
    assert_eq!(
        refusal(first.answer().await),
        (Code::InvalidArgument, "MESSAGE_MISSING".into())
    );
    let mut later = Participant::attached(&node, "shop-1").await;
    later.say_raw(v1::AttachRequest { message: None }).await;
    assert_eq!(
        refusal(later.answer().await),
        (Code::InvalidArgument, "MESSAGE_MISSING".into())
    );
}

#[tokio::test]
async fn b42_credit_and_batches_out_of_range_are_invalid_arguments_and_never_clamped() {
    let node = Node::start().await;
    let many = vec![v1::AttemptOutcome::default(); 129];
    for (message, reason) in [
        (Say::Credit(v1::Credit { commands: 0 }), "CREDIT_INVALID"),
        (
            Say::Credit(v1::Credit { commands: 10_001 }),
            "CREDIT_INVALID",
        ),
        (
            Say::Credit(v1::Credit { commands: 9_990 }),
            "CREDIT_INVALID",
        ),
        (
            Say::Outcomes(v1::Outcomes { outcomes: many }),
            "BATCH_INVALID",
        ),
        (Say::Outcomes(v1::Outcomes::default()), "BATCH_INVALID"),
        (
            Say::Heartbeats(v1::Heartbeats {
                attempts: vec![v1::AttemptKey::default()],
            }),
            "HEARTBEAT_INVALID",
        ),
    ] {
        let ended = Participant::attached(&node, "shop-1")
            .await
            .ended_by(message)
            .await;
        assert_eq!(refusal(ended), (Code::InvalidArgument, reason.into()));
    }
}

#[tokio::test]
async fn b40_unsound_outcomes_are_refused_one_by_one_and_the_stream_stays() {
    let node = Node::with_order().await;
    let mut shop = Participant::attached(&node, "shop-1").await;
    let name = node.start_order("A-1").await.unwrap().name;
    let reserve = shop.commands().await.remove(0);
    let failed = |retry_after| {
        Outcome::Failed(v1::Failed {
            code: "BUSY".into(),
            message: String::new(),
            retry_after,
        })
    };
    let duration = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let unsound = vec![
        v1::AttemptOutcome {
            outcome: None,
            ..outcome(&reserve, succeeded("1"))
        },
        v1::AttemptOutcome {
            attempt: 0,
            ..outcome(&reserve, succeeded("1"))
        },
        outcome(&reserve, failed(duration(-1))),
        outcome(&reserve, failed(duration(100 * 365 * 24 * 60 * 60))),
        outcome(&reserve, rejected("")),
        outcome(&reserve, rejected("out of stock")),
        v1::AttemptOutcome {
            verdict: 77,
            ..outcome(&reserve, succeeded("1"))
        },
        outcome(&reserve, Outcome::NothingToUndo(v1::NothingToUndo {})),
    ];
    let count = unsound.len();
    shop.outcomes(unsound).await;
    let refused = shop.acknowledgements().await;
    assert_eq!(refused.len(), count);
    for answer in refused {
        assert_eq!(
            (answer.disposition(), answer.code),
            (Disposition::Refused, 3),
            "{answer:?}"
        );
    }
    shop.outcomes(vec![outcome(&reserve, succeeded("1"))]).await;
    for _ in 0..2 {
        let command = shop.commands().await.remove(0);
        shop.outcomes(vec![outcome(&command, succeeded("1"))]).await;
    }
    assert_eq!(node.settled(&name).await.state(), v1::SagaState::Completed);
}

#[tokio::test]
async fn b39_outcomes_of_unknown_forged_and_foreign_operations_are_refused_and_a_second_one_is_late()
 {
    let node = Node::with_order().await;
    let mut shop = Participant::attached(&node, "shop-1").await;
    node.start_order("A-1").await.unwrap();
    let reserve = shop.commands().await.remove(0);
    let incarnation = reserve.operation_key.split('/').next().unwrap().to_owned();
    let forged = |key: String| v1::AttemptOutcome {
        operation_key: key,
        ..outcome(&reserve, succeeded("1"))
    };
    let key = &reserve.operation_key;
    let strange = vec![
        forged("nonsense".into()),
        forged(key.replace(&incarnation, &"0".repeat(32))),
        forged(key.replace("/default/", "/other/")),
        forged(key.replace("/reserve/", "/steal/")),
        forged(key.replace("/0/0/", "/0/7/")),
        v1::AttemptOutcome {
            attempt: 9,
            ..outcome(&reserve, succeeded("1"))
        },
    ];
    let mut answers = Vec::new();
    let count = strange.len();
    shop.outcomes(strange).await;
    while answers.len() < count {
        answers.extend(shop.acknowledgements().await);
    }
    for answer in answers {
        assert_eq!(
            (answer.disposition(), answer.code),
            (Disposition::Refused, 5),
            "{answer:?}"
        );
        assert_eq!(answer.reason, "UNKNOWN_OPERATION");
    }
    for expected in [Disposition::Recorded, Disposition::Late] {
        shop.outcomes(vec![outcome(&reserve, succeeded("1"))]).await;
        assert_eq!(shop.acknowledgements().await[0].disposition(), expected);
    }
}

#[tokio::test]
async fn b39_an_outcome_for_an_action_that_the_instance_does_not_serve_is_permission_denied() {
    let node = Node::with_order().await;
    let mut shop = Participant::attached(&node, "shop-1").await;
    node.start_order("A-1").await.unwrap();
    let reserve = shop.commands().await.remove(0);
    let mut thief = Participant::silent(&node).await;
    let offer = v1::ActionOffer {
        action: "thief.steal".into(),
        barrier: false,
    };
    let hello = v1::Hello {
        participant: "thief".into(),
        instance: "thief-1".into(),
        actions: vec![offer],
        ..hello()
    };
    thief.say(Say::Hello(hello)).await;
    thief.answer().await.unwrap();
    thief
        .outcomes(vec![outcome(&reserve, succeeded("1"))])
        .await;
    let answer = thief.acknowledgements().await.remove(0);
    assert_eq!(
        (answer.disposition(), answer.code, answer.reason.as_str()),
        (Disposition::Refused, 7, "NOT_SERVED")
    );
}

#[tokio::test]
async fn b42_a_newer_stream_of_an_instance_ends_the_older() {
    let node = Node::with_order().await;
    let mut older = Participant::attached(&node, "shop-1").await;
    let _newer = Participant::attached(&node, "shop-1").await;
    let ended = tokio::time::timeout(Duration::from_secs(5), older.answer())
        .await
        .expect("it ends");
    assert_eq!(refusal(ended), (Code::Aborted, "SESSION_REPLACED".into()));
}

#[tokio::test]
async fn participants_are_told_goodbye_when_the_node_leaves() {
    let node = Node::with_order().await;
    let mut shop = Participant::attached(&node, "shop-1").await;
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            match shop.answer().await {
                Ok(answer) => seen.push(answer),
                Err(status) => return (seen, status.code()),
            }
        }
    });
    node.stop().await;
    let (seen, code) = seen.await.unwrap();
    assert!(
        matches!(seen.first(), Some(v1::attach_response::Message::Goodbye(_))),
        "{seen:?}"
    );
    assert_eq!(code, Code::Unavailable);
}

#[tokio::test]
async fn a_participant_that_falls_silent_with_attempts_in_hand_loses_its_stream_and_an_idle_one_does_not()
 {
    let lease = Duration::from_millis(100);
    let node = Node::start_with(|options| options.session_lease = lease).await;
    node.apply(ORDER).await.unwrap();
    let mut shop = Participant::attached(&node, "shop-1").await;
    assert!(
        tokio::time::timeout(lease * 10, shop.answer())
            .await
            .is_err()
    );
    node.start_order("A-1").await.unwrap();
    let command = shop.commands().await.remove(0);
    let attempts = vec![v1::AttemptKey {
        operation_key: command.operation_key,
        attempt: command.attempt,
    }];
    for _ in 0..20 {
        shop.say(Say::Heartbeats(v1::Heartbeats {
            attempts: attempts.clone(),
        }))
        .await;
        let quiet = tokio::time::timeout(lease / 2, shop.answer()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }
    let ended = tokio::time::timeout(Duration::from_secs(10), shop.answer())
        .await
        .expect("it ends");
    assert_eq!(refusal(ended).0, Code::Unavailable);
}

#[tokio::test]
async fn b39_a_node_that_is_told_of_a_newer_epoch_does_not_say_that_there_is_no_such_attempt() {
    let node = Node::with_order().await;
    let mut shop = Participant::attached(&node, "shop-1").await;
    node.start_order("A-1").await.unwrap();
    let reserve = shop.commands().await.remove(0);
    let newer = v1::AttemptOutcome {
        attempt: 2,
        epoch: reserve.epoch + 1,
        ..outcome(&reserve, succeeded("1"))
    };
    shop.outcomes(vec![newer]).await;
    assert_eq!(refusal(shop.answer().await).0, Code::Unavailable);
    // What the node does know is taken, whatever epoch it speaks of.
    let mut shop = Participant::attached(&node, "shop-1").await;
    let known = v1::AttemptOutcome {
        epoch: u64::MAX,
        ..outcome(&reserve, succeeded("1"))
    };
    shop.outcomes(vec![known]).await;
    let answer = shop.acknowledgements().await.remove(0);
    assert_eq!(answer.disposition(), Disposition::Recorded, "{answer:?}");
}

#[tokio::test]
async fn b41_the_outcomes_of_a_participant_that_does_not_read_wait_for_it() {
    let node = Node::start().await;
    let mut shop = Participant::attached(&node, "shop-1").await;
    let unknown = v1::AttemptOutcome {
        operation_key: format!(
            "{}/default/019aa578-c07b-8000-bfff-ffffffffffff/charge/0/0/forward",
            node.orchestrator.incarnation()
        ),
        attempt: 1,
        outcome: Some(succeeded(&format!("{:?}", "x".repeat(1_000)))),
        ..v1::AttemptOutcome::default()
    };
    let batch = || shop.outcomes(vec![unknown.clone(); 128]);
    let mut said = 0;
    while said < 400
        && tokio::time::timeout(Duration::from_secs(2), batch())
            .await
            .is_ok()
    {
        said += 1;
    }
    assert!(said < 400, "the node read everything");
    let mut answered = 0;
    while answered < said * 128 {
        answered += shop.acknowledgements().await.len();
    }
}
