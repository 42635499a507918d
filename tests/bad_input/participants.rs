//! Participants that do not keep to the protocol.

use amends_proto::v1::acknowledgement::Disposition;
use amends_proto::v1::attach_request::Message;
use amends_proto::v1::attempt_outcome::Outcome;
use amends_proto::v1::{self, SagaState};
use tonic::Code;

use super::{healthy, refused, stage};
use crate::stage::{BareStream, hello, succeeded};

fn failed(command: &v1::Command, failed: v1::Failed) -> v1::AttemptOutcome {
    v1::AttemptOutcome {
        outcome: Some(Outcome::Failed(failed)),
        ..succeeded(command)
    }
}

/// The outcome is refused with this, and the stream goes on.
#[track_caller]
fn refusal(answer: &v1::Acknowledgement, code: Code, reason: &str) {
    assert_eq!(answer.disposition(), Disposition::Refused, "{answer:?}");
    assert_eq!(
        (answer.code, answer.reason.as_str()),
        (i32::from(code), reason),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b38_a_result_before_hello_is_a_failed_precondition() {
    let stage = stage().await;
    let outcome = v1::AttemptOutcome {
        operation_key: "x".to_owned(),
        attempt: 1,
        ..v1::AttemptOutcome::default()
    };
    for first in [
        Message::Outcomes(v1::Outcomes {
            outcomes: vec![outcome],
        }),
        Message::Credit(v1::Credit { commands: 1 }),
        Message::Drain(v1::Drain {}),
        Message::Heartbeats(v1::Heartbeats::default()),
    ] {
        let about = format!("{first:?}");
        let mut stream = stage.bare_stream().await;
        stream.say(first).await;
        refused(
            stream.hear().await,
            Code::FailedPrecondition,
            "HELLO_EXPECTED",
            &about,
        );
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b38_a_second_hello_is_a_failed_precondition() {
    let stage = stage().await;
    let mut stream = stage.bare_stream().await;
    stream.greet(hello("one", 1)).await;
    stream.say(Message::Hello(hello("one", 1))).await;
    let status = until_the_end(&mut stream).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b38_another_version_of_the_protocol_is_unimplemented_and_told_which_is() {
    let stage = stage().await;
    for protocol_version in [0, 2, 99, u32::MAX] {
        let mut stream = stage.bare_stream().await;
        let greeting = v1::Hello {
            protocol_version,
            ..hello("one", 1)
        };
        stream.say(Message::Hello(greeting)).await;
        let about = protocol_version.to_string();
        let error = refused(
            stream.hear().await,
            Code::Unimplemented,
            "PROTOCOL_VERSION_UNSUPPORTED",
            &about,
        );
        assert_eq!(error.metadata["supported_min"], "1", "{error:?}");
        assert_eq!(error.metadata["supported_max"], "1", "{error:?}");
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b39_a_result_for_an_operation_that_is_not_ones_own_is_refused_without_a_hint() {
    let stage = stage().await;
    let mut shop = stage.bare_stream().await;
    shop.greet(hello("one", 10)).await;
    let name = stage.start("o1").await;
    let command = shop.command().await;
    let key = command.operation_key.clone();
    let (_, rest) = key.split_once('/').expect("the incarnation comes first");
    let other_life = format!("00000000-0000-4000-8000-000000000000/{rest}");
    for forged in [
        String::new(),
        "x".to_owned(),
        format!("{key}/more"),
        other_life,
        key.replace("/default/", "/other/"),
        key.replace("/reserve/", "/refund/"),
        "k".repeat(100_000),
    ] {
        let outcome = v1::AttemptOutcome {
            operation_key: forged,
            ..succeeded(&command)
        };
        refusal(
            &shop.answer(outcome).await,
            Code::NotFound,
            "UNKNOWN_OPERATION",
        );
    }
    let later = v1::AttemptOutcome {
        attempt: 7,
        ..succeeded(&command)
    };
    refusal(
        &shop.answer(later).await,
        Code::NotFound,
        "UNKNOWN_OPERATION",
    );
    // Another participant answers for the shop.
    let mut stranger = stage.bare_stream().await;
    let offer = v1::ActionOffer {
        action: "bank.pay".to_owned(),
        barrier: false,
    };
    let greeting = v1::Hello {
        participant: "bank".to_owned(),
        actions: vec![offer],
        ..hello("robber", 1)
    };
    stranger.greet(greeting).await;
    refusal(
        &stranger.answer(succeeded(&command)).await,
        Code::PermissionDenied,
        "NOT_SERVED",
    );
    // None of that decided anything: the true result does.
    let recorded = shop.answer(succeeded(&command)).await;
    assert_eq!(recorded.disposition(), Disposition::Recorded);
    drop(shop);
    let _actor = stage.attach_willing();
    stage.settled_as(&name, SagaState::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b39_a_result_of_an_older_epoch_is_taken_while_its_operation_is_open() {
    let mut stage = stage().await;
    let mut first = stage.bare_stream().await;
    first.greet(hello("one", 1)).await;
    let name = stage.start("o1").await;
    let command = first.command().await;
    stage.server.crash_and_restart();
    let mut second = stage.bare_stream().await;
    let in_hand = v1::AttemptKey {
        operation_key: command.operation_key.clone(),
        attempt: command.attempt,
    };
    let greeting = v1::Hello {
        in_hand: vec![in_hand],
        ..hello("one", 1)
    };
    second.greet(greeting).await;
    let recorded = second.answer(succeeded(&command)).await;
    assert_eq!(
        recorded.disposition(),
        Disposition::Recorded,
        "{recorded:?}"
    );
    drop(second);
    let actor = stage.attach_willing();
    stage.settled_as(&name, SagaState::Completed).await;
    assert!(!actor.actions(&name).contains(&"reserve".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn b40_an_outcome_that_cannot_be_is_refused_by_itself_and_the_stream_stays() {
    let stage = stage().await;
    let mut stream = stage.bare_stream().await;
    stream.greet(hello("one", 10)).await;
    let name = stage.start("o1").await;
    let command = stream.command().await;
    let none = v1::AttemptOutcome {
        outcome: None,
        ..succeeded(&command)
    };
    refusal(
        &stream.answer(none).await,
        Code::InvalidArgument,
        "OUTCOME_MISSING",
    );
    let attempt_0 = v1::AttemptOutcome {
        attempt: 0,
        ..succeeded(&command)
    };
    refusal(
        &stream.answer(attempt_0).await,
        Code::InvalidArgument,
        "ATTEMPT_INVALID",
    );
    for code in ["", "lower", "A B", &"A".repeat(129)] {
        let without_class = v1::Failed {
            code: code.to_owned(),
            ..v1::Failed::default()
        };
        let answer = stream.answer(failed(&command, without_class)).await;
        refusal(&answer, Code::InvalidArgument, "CODE_INVALID");
    }
    let century = 100 * 366 * 24 * 60 * 60;
    for (seconds, nanos) in [(-1, 0), (century, 0), (0, -1), (i64::MAX, 0)] {
        let late = v1::Failed {
            code: "BUSY".to_owned(),
            message: String::new(),
            retry_after: Some(prost_types::Duration { seconds, nanos }),
        };
        let answer = stream.answer(failed(&command, late)).await;
        refusal(&answer, Code::InvalidArgument, "RETRY_AFTER_INVALID");
    }
    let recorded = stream.answer(succeeded(&command)).await;
    assert_eq!(
        recorded.disposition(),
        Disposition::Recorded,
        "{recorded:?}"
    );
    drop(stream);
    let _actor = stage.attach_willing();
    stage.settled_as(&name, SagaState::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b40_words_and_verdicts_that_do_not_fit_are_refused_and_the_stream_stays() {
    let stage = stage().await;
    let mut stream = stage.bare_stream().await;
    stream.greet(hello("one", 10)).await;
    let name = stage.start("o1").await;
    let command = stream.command().await;
    let verdict = v1::AttemptOutcome {
        verdict: 99,
        ..succeeded(&command)
    };
    refusal(
        &stream.answer(verdict).await,
        Code::InvalidArgument,
        "ENUM_INVALID",
    );
    let wordy = v1::Failed {
        code: "BUSY".to_owned(),
        message: "w".repeat(4 * 1024 + 1),
        retry_after: None,
    };
    let answer = stream.answer(failed(&command, wordy)).await;
    refusal(&answer, Code::InvalidArgument, "MESSAGE_TOO_LONG");
    // An action cannot have had nothing to undo.
    let undone = v1::AttemptOutcome {
        outcome: Some(Outcome::NothingToUndo(v1::NothingToUndo {})),
        ..succeeded(&command)
    };
    refusal(
        &stream.answer(undone).await,
        Code::InvalidArgument,
        "OUTCOME_NOT_APPLICABLE",
    );
    let recorded = stream.answer(succeeded(&command)).await;
    assert_eq!(
        recorded.disposition(),
        Disposition::Recorded,
        "{recorded:?}"
    );
    drop(stream);
    let _actor = stage.attach_willing();
    stage.settled_as(&name, SagaState::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b42_an_offer_beyond_the_bounds_is_an_invalid_argument_and_never_clamped() {
    let stage = stage().await;
    let offer = |action: String| v1::ActionOffer {
        action,
        barrier: false,
    };
    let many = (0..1_001)
        .map(|number| offer(format!("shop.a{number}")))
        .collect();
    let greetings = [
        (
            v1::Hello {
                actions: many,
                ..hello("one", 1)
            },
            "ACTIONS_INVALID",
        ),
        (
            v1::Hello {
                actions: Vec::new(),
                ..hello("one", 1)
            },
            "ACTIONS_INVALID",
        ),
        (hello("one", 0), "CREDIT_INVALID"),
        (hello("one", 10_001), "CREDIT_INVALID"),
        (hello("one", 1 << 31), "CREDIT_INVALID"),
        (hello("", 1), "INSTANCE_INVALID"),
        (hello(&"i".repeat(129), 1), "INSTANCE_INVALID"),
        (
            v1::Hello {
                actions: vec![offer("bank.pay".to_owned())],
                ..hello("one", 1)
            },
            "ACTION_INVALID",
        ),
        (
            v1::Hello {
                participant: "no name".to_owned(),
                ..hello("one", 1)
            },
            "PARTICIPANT_INVALID",
        ),
    ];
    for (greeting, reason) in greetings {
        let mut stream = stage.bare_stream().await;
        stream.say(Message::Hello(greeting)).await;
        refused(stream.hear().await, Code::InvalidArgument, reason, reason);
    }
    healthy(&stage).await;
}

async fn until_the_end(stream: &mut BareStream) -> tonic::Status {
    loop {
        if let Err(status) = stream.hear().await {
            return status;
        }
    }
}
