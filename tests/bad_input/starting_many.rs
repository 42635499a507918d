//! Starts in batches and on streams: what is wrong with one start is that start's answer, what is wrong with a message ends the
//! stream, and either way nothing is left behind.

use amends_proto::v1;
use amends_proto::v1::saga_service_client::SagaServiceClient;
use amends_proto::v1::start_event::Event;
use amends_proto::v1::start_result::Result as Became;
use amends_proto::v1::start_sagas_request::Message as Say;
use amends_proto::v1::start_sagas_response::Message as Heard;
use amends_sdk::RpcError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::{healthy, refused, stage};

const PARENT: &str = "namespaces/default";

fn start(input: impl Into<Vec<u8>>) -> v1::SagaStart {
    v1::SagaStart {
        definition: format!("{PARENT}/definitions/shop"),
        input: input.into().into(),
        ..v1::SagaStart::default()
    }
}

/// A batch and a stream in this namespace are refused as a whole.
pub async fn many_are_refused(
    sagas: &mut SagaServiceClient<Channel>,
    parent: &str,
    code: Code,
    reason: &str,
) {
    let request = v1::BatchStartSagasRequest {
        parent: parent.to_owned(),
        starts: vec![start("{}")],
    };
    let answer = sagas.batch_start_sagas(request).await;
    refused(answer, code, reason, parent);
    let mut stream = Stream::silent(sagas).await;
    stream.say(open(parent)).await;
    refused(stream.hear().await, code, reason, parent);
}

/// A stream of starts, spoken by hand.
struct Stream {
    say: mpsc::Sender<v1::StartSagasRequest>,
    answers: Streaming<v1::StartSagasResponse>,
}

impl Stream {
    async fn silent(sagas: &mut SagaServiceClient<Channel>) -> Self {
        let (say, said) = mpsc::channel(8);
        let answers = sagas.start_sagas(ReceiverStream::new(said)).await;
        Self {
            say,
            answers: answers.expect("a stream opens").into_inner(),
        }
    }

    async fn opened(sagas: &mut SagaServiceClient<Channel>) -> Self {
        let mut stream = Self::silent(sagas).await;
        stream.say(open(PARENT)).await;
        let heard = stream.hear().await;
        assert!(matches!(heard, Ok(Heard::Opened(_))), "{heard:?}");
        stream
    }

    async fn say(&self, message: Say) {
        let message = Some(message);
        let request = v1::StartSagasRequest { message };
        self.say.send(request).await.expect("the stream is open");
    }

    /// The next answer; the stream's end without a status is an error too.
    async fn hear(&mut self) -> Result<Heard, Status> {
        let answer = self.answers.message().await?;
        answer
            .and_then(|answer| answer.message)
            .ok_or_else(|| Status::ok("the stream ended"))
    }
}

fn open(parent: &str) -> Say {
    Say::Open(v1::StartsOpen {
        parent: parent.to_owned(),
    })
}

fn starts(starts: Vec<(u64, Option<v1::SagaStart>)>) -> Say {
    let sequenced = |(sequence, start)| v1::SequencedStart {
        sequence,
        start,
        tell_settled: true,
    };
    Say::Starts(v1::Starts {
        starts: starts.into_iter().map(sequenced).collect(),
    })
}

/// Starts that are wrong by themselves, and what each is answered.
fn wrong() -> Vec<(v1::SagaStart, Code, &'static str)> {
    let with = |change: &dyn Fn(&mut v1::SagaStart)| {
        let mut wrong = start("{}");
        change(&mut wrong);
        wrong
    };
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    vec![
        (
            with(&|start| start.definition.clear()),
            Code::InvalidArgument,
            "NAME_INVALID",
        ),
        (
            with(&|start| start.definition = format!("{PARENT}/definitions/../shop")),
            Code::InvalidArgument,
            "NAME_INVALID",
        ),
        (
            with(&|start| start.definition = "namespaces/other/definitions/shop".to_owned()),
            Code::InvalidArgument,
            "NAMESPACE_MISMATCH",
        ),
        (
            with(&|start| start.definition = format!("{PARENT}/definitions/no-such")),
            Code::NotFound,
            "DEFINITION_NOT_FOUND",
        ),
        (
            with(&|start| start.revision = Some(0)),
            Code::NotFound,
            "DEFINITION_NOT_FOUND",
        ),
        (
            with(&|start| start.key = Some(String::new())),
            Code::InvalidArgument,
            "KEY_INVALID",
        ),
        (
            with(&|start| start.key = Some("k".repeat(10 * 1024))),
            Code::InvalidArgument,
            "KEY_INVALID",
        ),
        (start(deep), Code::InvalidArgument, "PAYLOAD_INVALID"),
        (start("1e400"), Code::InvalidArgument, "PAYLOAD_INVALID"),
        (
            start(r#"{"a":1,"a":2}"#),
            Code::InvalidArgument,
            "PAYLOAD_INVALID",
        ),
        (
            start(r#""\ud800""#),
            Code::InvalidArgument,
            "PAYLOAD_INVALID",
        ),
        (start(large), Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"),
    ]
}

#[track_caller]
fn is(status: tonic_types::Status, code: Code, reason: &str) {
    let error = RpcError::from(status);
    let found = (error.code, error.reason.as_deref());
    assert_eq!(found, (code, Some(reason)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_b7_b8_b9_what_is_wrong_with_a_start_is_its_own_answer_and_starts_nothing() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    let request = v1::BatchStartSagasRequest {
        parent: PARENT.to_owned(),
        starts: wrong().into_iter().map(|(start, ..)| start).collect(),
    };
    let results = sagas.batch_start_sagas(request).await.unwrap();
    let results = results.into_inner().results;
    assert_eq!(results.len(), wrong().len());
    for (result, (_, code, reason)) in results.into_iter().zip(wrong()) {
        match result.result {
            Some(Became::Refused(status)) => is(status, code, reason),
            other => panic!("{reason}: {other:?}"),
        }
    }
    let mut stream = Stream::opened(&mut sagas).await;
    for (sequence, (wrong, code, reason)) in (0..).zip(wrong()) {
        stream.say(starts(vec![(sequence, Some(wrong))])).await;
        match stream.hear().await {
            Ok(Heard::Events(events)) => match events.events.as_slice() {
                [
                    v1::StartEvent {
                        sequence: of,
                        event: Some(Event::Refused(status)),
                    },
                ] => {
                    assert_eq!(*of, sequence);
                    is(status.clone(), code, reason);
                }
                other => panic!("{reason}: {other:?}"),
            },
            other => panic!("{reason}: {other:?}"),
        }
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b38_a_message_before_open_and_a_second_open_are_failed_preconditions() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    let mut stream = Stream::silent(&mut sagas).await;
    stream.say(starts(vec![(1, Some(start("{}")))])).await;
    let (code, reason) = (Code::FailedPrecondition, "OPEN_EXPECTED");
    refused(stream.hear().await, code, reason, "no open");
    let mut stream = Stream::opened(&mut sagas).await;
    stream.say(open(PARENT)).await;
    refused(stream.hear().await, code, reason, "open twice");
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b19_b21_a_message_without_anything_too_much_in_it_or_a_number_twice_ends_the_stream() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    let one = || (7, None);
    for (message, reason) in [
        (None, "MESSAGE_MISSING"),
        (Some(starts(Vec::new())), "BATCH_INVALID"),
        (
            Some(starts((0..129).map(|n| (n, None)).collect())),
            "BATCH_INVALID",
        ),
        (Some(starts(vec![one(), one()])), "SEQUENCE_IN_USE"),
    ] {
        let mut stream = Stream::opened(&mut sagas).await;
        let request = v1::StartSagasRequest { message };
        stream.say.send(request).await.unwrap();
        refused(stream.hear().await, Code::InvalidArgument, reason, reason);
    }
    let mut stream = Stream::opened(&mut sagas).await;
    let large = start(vec![b'x'; 5 * 1024 * 1024]);
    stream.say(starts(vec![(1, Some(large))])).await;
    let (code, reason) = (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE");
    refused(stream.hear().await, code, reason, "5 MiB");
    for count in [0, 129] {
        let request = v1::BatchStartSagasRequest {
            parent: PARENT.to_owned(),
            starts: vec![start("{}"); count],
        };
        let answer = sagas.batch_start_sagas(request).await;
        refused(answer, Code::InvalidArgument, "BATCH_INVALID", "batch");
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_a_wait_out_of_its_range_is_an_invalid_argument_and_starts_nothing() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    for (seconds, nanos) in [
        (-1, 0),
        (3_601, 0),
        (0, -1),
        (1, 1_000_000_000),
        (i64::MAX, 0),
    ] {
        let request = v1::StartSagaRequest {
            parent: PARENT.to_owned(),
            definition: format!("{PARENT}/definitions/shop"),
            wait: Some(prost_types::Duration { seconds, nanos }),
            ..v1::StartSagaRequest::default()
        };
        let answer = sagas.start_saga(request).await;
        let about = format!("{seconds} s {nanos} ns");
        refused(answer, Code::InvalidArgument, "DURATION_INVALID", &about);
    }
    healthy(&stage).await;
}
