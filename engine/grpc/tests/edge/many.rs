//! Batches and streams of starts: each start answered by itself, ends told, numbers that are open, and the ways in which a
//! stream ends.

use std::collections::BTreeMap;
use std::time::Duration;

use amends_proto::v1;
use amends_proto::v1::start_event::Event;
use amends_proto::v1::start_result::Result as Became;
use amends_proto::v1::start_sagas_request::Message as Say;
use amends_proto::v1::start_sagas_response::Message as Heard;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::{RpcStatusExt as _, StatusExt as _};

use crate::node::{Node, PARENT, refusal};
use crate::participant::{Participant, rejected, succeeded};

/// A start of `order`.
fn order(key: Option<&str>, order_id: &str) -> v1::SagaStart {
    v1::SagaStart {
        definition: format!("{PARENT}/definitions/order"),
        key: key.map(Into::into),
        input: format!(r#"{{"order_id": "{order_id}"}}"#).into(),
        ..v1::SagaStart::default()
    }
}

fn batch(starts: Vec<v1::SagaStart>) -> v1::BatchStartSagasRequest {
    v1::BatchStartSagasRequest {
        parent: PARENT.into(),
        starts,
    }
}

/// What is wrong with each way to start, and the start with that wrong.
fn broken() -> Vec<(&'static str, v1::SagaStart)> {
    let good = || order(None, "A-1");
    let with = |change: fn(&mut v1::SagaStart)| {
        let mut start = good();
        change(&mut start);
        start
    };
    vec![
        ("NAME_INVALID", v1::SagaStart::default()),
        (
            "NAMESPACE_MISMATCH",
            with(|start| start.definition = "namespaces/other/definitions/order".into()),
        ),
        (
            "DEFINITION_NOT_FOUND",
            with(|start| start.definition = format!("{PARENT}/definitions/nothing")),
        ),
        (
            "DEFINITION_NOT_FOUND",
            with(|start| start.revision = Some(9)),
        ),
        ("KEY_INVALID", with(|start| start.key = Some(String::new()))),
        ("PAYLOAD_INVALID", with(|start| start.input = "NaN".into())),
        ("INPUT_INVALID", with(|start| start.input = "{}".into())),
        (
            "PAYLOAD_TOO_LARGE",
            with(|start| start.input = format!("\"{}\"", "x".repeat(1024 * 1024)).into()),
        ),
    ]
}

/// The same start, alone.
fn alone(start: v1::SagaStart) -> v1::StartSagaRequest {
    v1::StartSagaRequest {
        parent: PARENT.into(),
        definition: start.definition,
        revision: start.revision,
        key: start.key,
        input: start.input,
        wait: None,
    }
}

#[tokio::test]
async fn each_start_of_a_batch_is_answered_as_it_would_be_alone() {
    let node = Node::with_order().await;
    let mut starts = vec![order(Some("A-1"), "A-1")];
    starts.extend(broken().into_iter().map(|(_, start)| start));
    starts.push(order(Some("A-1"), "A-1"));
    starts.push(order(Some("A-1"), "A-2"));
    let answer = node.sagas().batch_start_sagas(batch(starts.clone())).await;
    let results = answer.unwrap().into_inner().results;
    assert_eq!(results.len(), starts.len());
    let started = |result: &v1::StartResult| match &result.result {
        Some(Became::Started(started)) => started.clone(),
        other => panic!("{other:?}"),
    };
    let (first, again) = (started(&results[0]), started(&results[results.len() - 2]));
    assert_eq!(first.name, again.name);
    assert_eq!(
        (first.created, again.created, first.revision),
        (true, false, 1)
    );
    let wrong = results.iter().zip(starts);
    let wrong = wrong.filter_map(|(result, start)| match &result.result {
        Some(Became::Refused(status)) => Some((status.clone(), start)),
        _ => None,
    });
    let wrong: Vec<_> = wrong.collect();
    let mut reasons: Vec<&str> = broken().iter().map(|(reason, _)| *reason).collect();
    reasons.push("KEY_REUSED");
    assert_eq!(wrong.len(), reasons.len());
    for ((status, start), reason) in wrong.into_iter().zip(reasons) {
        let unary = node.sagas().start_saga(alone(start)).await.unwrap_err();
        assert_eq!(
            status.get_error_details().error_info().unwrap().reason,
            reason
        );
        assert_eq!(
            (status.code, status.message.as_str()),
            (unary.code().into(), unary.message())
        );
        assert_eq!(
            format!("{:?}", status.get_error_details()),
            format!("{:?}", unary.get_error_details())
        );
    }
}

#[tokio::test]
async fn a_batch_fails_as_a_whole_for_what_concerns_all_of_it() {
    let node = Node::with_order().await;
    let many = |count| batch(vec![order(None, "A-1"); count]);
    for (request, expected) in [
        (many(0), (Code::InvalidArgument, "BATCH_INVALID")),
        (many(129), (Code::InvalidArgument, "BATCH_INVALID")),
        (
            v1::BatchStartSagasRequest {
                parent: "namespaces/nobody".into(),
                ..many(1)
            },
            (Code::NotFound, "NAMESPACE_NOT_FOUND"),
        ),
        (
            v1::BatchStartSagasRequest {
                parent: "default".into(),
                ..many(1)
            },
            (Code::InvalidArgument, "NAME_INVALID"),
        ),
    ] {
        let (code, reason) = refusal(node.sagas().batch_start_sagas(request).await);
        assert_eq!((code, reason.as_str()), expected);
    }
    let full = node.sagas().batch_start_sagas(many(128)).await.unwrap();
    let results = full.into_inner().results;
    let started = |result: &v1::StartResult| matches!(result.result, Some(Became::Started(_)));
    assert!(results.len() == 128 && results.iter().all(started));
    node.orchestrator.drain(Duration::from_secs(1)).await;
    let found = refusal(node.sagas().batch_start_sagas(many(1)).await);
    assert_eq!(found, (Code::Unavailable, "DRAINING".into()));
}

/// A stream of starts, spoken by hand.
struct Stream {
    say: mpsc::Sender<v1::StartSagasRequest>,
    answers: Streaming<v1::StartSagasResponse>,
}

impl Stream {
    async fn silent(node: &Node) -> Self {
        let (say, said) = mpsc::channel(256);
        let answers = node.sagas().start_sagas(ReceiverStream::new(said)).await;
        Self {
            say,
            answers: answers
                .expect("a stream opens before it says anything")
                .into_inner(),
        }
    }

    async fn opened(node: &Node) -> Self {
        let mut stream = Self::silent(node).await;
        stream.say(open(PARENT)).await;
        match stream.hear().await {
            Ok(Some(Heard::Opened(opened))) => assert_eq!(opened.open_max, 8_192),
            other => panic!("{other:?}"),
        }
        stream
    }

    async fn say(&self, message: Say) {
        let request = v1::StartSagasRequest {
            message: Some(message),
        };
        self.say.send(request).await.expect("the stream is open");
    }

    async fn start(&self, starts: impl IntoIterator<Item = (u64, bool, v1::SagaStart)>) {
        self.say(starts_of(starts)).await;
    }

    async fn hear(&mut self) -> Result<Option<Heard>, Status> {
        Ok(self
            .answers
            .message()
            .await?
            .and_then(|heard| heard.message))
    }

    /// The next events.
    async fn events(&mut self) -> Vec<v1::StartEvent> {
        match self.hear().await {
            Ok(Some(Heard::Events(events))) => events.events,
            other => panic!("{other:?}"),
        }
    }

    /// Events until there are so many.
    async fn so_many(&mut self, count: usize) -> Vec<v1::StartEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.events().await);
        }
        assert_eq!(events.len(), count, "{events:?}");
        events
    }

    /// Says nothing more; the events until the end, and the end.
    async fn rest(mut self) -> (Vec<v1::StartEvent>, Result<(), Status>) {
        drop(self.say);
        let mut events = Vec::new();
        loop {
            match self.answers.message().await {
                Ok(None) => return (events, Ok(())),
                Err(status) => return (events, Err(status)),
                Ok(Some(heard)) => match heard.message {
                    Some(Heard::Events(more)) => events.extend(more.events),
                    other => panic!("{other:?}"),
                },
            }
        }
    }
}

fn open(parent: &str) -> Say {
    Say::Open(v1::StartsOpen {
        parent: parent.into(),
    })
}

fn starts_of(starts: impl IntoIterator<Item = (u64, bool, v1::SagaStart)>) -> Say {
    let start = |(sequence, tell_settled, start)| v1::SequencedStart {
        sequence,
        start: Some(start),
        tell_settled,
    };
    Say::Starts(v1::Starts {
        starts: starts.into_iter().map(start).collect(),
    })
}

/// Sequence and what was told, in words.
fn words(events: &[v1::StartEvent]) -> Vec<(u64, String)> {
    let word = |event: &v1::StartEvent| match &event.event {
        Some(Event::Started(started)) if started.created => "started".to_owned(),
        Some(Event::Started(_)) => "found".to_owned(),
        Some(Event::Refused(status)) => {
            let details = status.get_error_details();
            details
                .error_info()
                .expect("it has a reason")
                .reason
                .clone()
        }
        Some(Event::Settled(settled)) => settled.state().as_str_name().to_owned(),
        None => panic!("an empty event"),
    };
    let words = events.iter().map(|event| (event.sequence, word(event)));
    words.collect()
}

#[tokio::test]
async fn a_stream_answers_every_start_by_itself_and_ends_when_all_is_told() {
    let node = Node::with_order().await;
    let mut stream = Stream::opened(&node).await;
    let wrong = broken();
    let starts = wrong.iter().cloned().zip(10..);
    stream
        .start(starts.map(|((_, start), sequence)| (sequence, true, start)))
        .await;
    let answers: BTreeMap<u64, String> = words(&stream.so_many(wrong.len()).await)
        .into_iter()
        .collect();
    for ((reason, _), sequence) in wrong.iter().zip(10..) {
        assert_eq!(answers[&sequence], *reason);
    }
    // Their numbers are free again, and the stream goes on.
    stream.start([(10, false, order(Some("A-1"), "A-1"))]).await;
    assert_eq!(words(&stream.so_many(1).await), [(10, "started".into())]);
    stream
        .start([
            (10, false, order(Some("A-1"), "A-1")),
            (11, false, order(Some("A-1"), "A-2")),
            (u64::MAX, false, order(None, "A-3")),
        ])
        .await;
    let (events, end) = stream.rest().await;
    end.unwrap();
    let mut told = words(&events);
    told.sort();
    let expected = [(10, "found"), (11, "KEY_REUSED"), (u64::MAX, "started")];
    assert_eq!(
        told,
        expected.map(|(sequence, word)| (sequence, word.to_owned()))
    );
}

#[tokio::test]
async fn ends_are_told_with_what_they_came_to_also_after_a_half_close() {
    let node = Node::start().await;
    let source = "apiVersion: amends/v1
name: order
output: '${{ steps.charge.output }}'
steps:
  - id: reserve
    call: shop.reserve
    input: {order: '${{ input.order_id }}'}
    compensate: {call: shop.release}
  - id: charge
    kind: pivot
    call: shop.charge
    input: {order: '${{ input.order_id }}'}
";
    node.apply(source).await.unwrap();
    let _shop = Participant::attached(&node, "shop-1")
        .await
        .work(|command| {
            let bad = String::from_utf8_lossy(&command.input).contains("bad");
            match command.action.as_str() {
                "shop.charge" if bad => rejected("CARD_DECLINED"),
                _ => succeeded(r#"{"paid":7}"#),
            }
        });
    let stream = Stream::opened(&node).await;
    stream
        .start([
            (1, true, order(None, "good")),
            (2, true, order(Some("k"), "bad")),
            (3, false, order(None, "good")),
        ])
        .await;
    let (events, end) = stream.rest().await;
    end.unwrap();
    let told = words(&events);
    let of = |sequence: u64| -> Vec<&str> {
        let told = told.iter().filter(|(known, _)| *known == sequence);
        told.map(|(_, word)| word.as_str()).collect()
    };
    assert_eq!(of(1), ["started", "SAGA_STATE_COMPLETED"]);
    assert_eq!(of(2), ["started", "SAGA_STATE_COMPENSATED"]);
    assert_eq!(of(3), ["started"]);
    let settled = |sequence: u64| {
        let mut settled = events.iter().filter_map(|event| match &event.event {
            Some(Event::Settled(settled)) if event.sequence == sequence => Some(settled.clone()),
            _ => None,
        });
        settled.next().expect("it was told")
    };
    let (good, bad) = (settled(1), settled(2));
    assert_eq!(&good.output[..], br#"{"paid":7}"#);
    assert!(good.abort.is_none() && !good.details_omitted && good.incident.is_none());
    let abort = bad.abort.expect("it was aborted");
    assert_eq!(
        (abort.code.as_str(), abort.step.as_str()),
        ("CARD_DECLINED", "charge")
    );
    assert!(bad.output.is_empty());
    // One that ended long ago is told as well, on another stream.
    let stream = Stream::opened(&node).await;
    stream.start([(9, true, order(Some("k"), "bad"))]).await;
    let (events, end) = stream.rest().await;
    end.unwrap();
    let expected = [(9, "found"), (9, "SAGA_STATE_COMPENSATED")];
    assert_eq!(
        words(&events),
        expected.map(|(sequence, word)| (sequence, word.to_owned()))
    );
    node.stop().await;
}

#[tokio::test]
async fn a_saga_that_is_found_while_it_runs_is_told_when_it_ends_to_everyone_who_asked() {
    let node = Node::with_order().await;
    let mut streams = vec![Stream::opened(&node).await, Stream::opened(&node).await];
    for stream in &mut streams {
        stream.start([(1, true, order(Some("A-1"), "A-1"))]).await;
        stream.so_many(1).await;
        stream.start([(2, true, order(Some("A-1"), "A-1"))]).await;
        assert_eq!(words(&stream.so_many(1).await), [(2, "found".into())]);
    }
    let _shop = Participant::attached(&node, "shop-1")
        .await
        .work(|_| succeeded("null"));
    for stream in streams {
        let (events, end) = stream.rest().await;
        end.unwrap();
        let mut told = words(&events);
        told.sort();
        let completed = || "SAGA_STATE_COMPLETED".to_owned();
        assert_eq!(told, [(1, completed()), (2, completed())]);
    }
}

#[tokio::test]
async fn a_parked_saga_is_told_with_its_incident() {
    let node = Node::start().await;
    let source = "apiVersion: amends/v1
name: order
steps:
  - id: ship
    kind: retriable
    call: shop.ship
";
    node.apply(source).await.unwrap();
    let _shop = Participant::attached(&node, "shop-1")
        .await
        .work(|_| rejected("NO_ROAD"));
    let mut stream = Stream::opened(&node).await;
    stream.start([(1, true, order(None, "A-1"))]).await;
    let events = stream.so_many(2).await;
    let Some(Event::Settled(settled)) = &events[1].event else {
        panic!("{events:?}");
    };
    assert_eq!(settled.state(), v1::SagaState::Parked);
    let incident = settled
        .incident
        .as_ref()
        .expect("it is parked for something");
    assert_eq!(
        (incident.step.as_str(), incident.code.as_str()),
        ("ship", "NO_ROAD")
    );
}

#[tokio::test]
async fn messages_that_break_the_protocol_end_the_stream_with_what_is_wrong() {
    let node = Node::with_order().await;
    let good = || (1, false, order(None, "A-1"));
    let empty = v1::StartSagasRequest { message: None };
    let expect = |(code, reason): (Code, &str), found: (Code, String)| {
        assert_eq!(found, (code, reason.to_owned()));
    };
    for (first, expected) in [
        (
            starts_of([good()]),
            (Code::FailedPrecondition, "OPEN_EXPECTED"),
        ),
        (
            open("namespaces/nobody"),
            (Code::NotFound, "NAMESPACE_NOT_FOUND"),
        ),
        (open("default"), (Code::InvalidArgument, "NAME_INVALID")),
        (open(""), (Code::InvalidArgument, "NAME_INVALID")),
    ] {
        let mut stream = Stream::silent(&node).await;
        stream.say(first).await;
        expect(expected, refusal(stream.hear().await));
    }
    let mut stream = Stream::silent(&node).await;
    stream.say.send(empty.clone()).await.unwrap();
    expect(
        (Code::InvalidArgument, "MESSAGE_MISSING"),
        refusal(stream.hear().await),
    );
    for (then, expected) in [
        (open(PARENT), (Code::FailedPrecondition, "OPEN_EXPECTED")),
        (starts_of([]), (Code::InvalidArgument, "BATCH_INVALID")),
        (
            starts_of((0..129).map(|sequence| (sequence, false, order(None, "A-1")))),
            (Code::InvalidArgument, "BATCH_INVALID"),
        ),
        (
            starts_of([good(), good()]),
            (Code::InvalidArgument, "SEQUENCE_IN_USE"),
        ),
    ] {
        let mut stream = Stream::opened(&node).await;
        stream.say(then).await;
        expect(expected, refusal(stream.hear().await));
    }
    let mut stream = Stream::opened(&node).await;
    stream.say.send(empty).await.unwrap();
    expect(
        (Code::InvalidArgument, "MESSAGE_MISSING"),
        refusal(stream.hear().await),
    );
    // Open for as long as its end is not told.
    let mut stream = Stream::opened(&node).await;
    stream.start([(1, true, order(None, "A-1"))]).await;
    stream.so_many(1).await;
    stream.start([good()]).await;
    expect(
        (Code::InvalidArgument, "SEQUENCE_IN_USE"),
        refusal(stream.hear().await),
    );
}

#[tokio::test]
async fn b9_a_message_over_4_mib_ends_the_stream_and_a_start_without_anything_is_refused_alone() {
    let node = Node::with_order().await;
    let mut stream = Stream::opened(&node).await;
    let nothing = Say::Starts(v1::Starts {
        starts: vec![v1::SequencedStart {
            sequence: 4,
            start: None,
            tell_settled: true,
        }],
    });
    stream.say(nothing).await;
    assert_eq!(
        words(&stream.so_many(1).await),
        [(4, "START_MISSING".into())]
    );
    let large = "x".repeat(5 * 1024 * 1024);
    stream.start([(5, false, order(None, &large))]).await;
    let found = refusal(stream.hear().await);
    assert_eq!(found, (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE".into()));
}

#[tokio::test]
async fn as_many_starts_are_open_as_was_said_and_then_nothing_is_read() {
    let node = Node::with_order().await;
    let mut stream = Stream::opened(&node).await;
    let count = 8_192_u64;
    for first in (0..count).step_by(128) {
        let starts = (first..first + 128).map(|sequence| (sequence, true, order(None, "A-1")));
        stream.start(starts).await;
    }
    let events = stream.so_many(8_192).await;
    assert!(words(&events).iter().all(|(_, word)| word == "started"));
    // Not read while all are open: this number is taken only once another is free.
    stream
        .start([(count, false, order(None, "one more"))])
        .await;
    let _shop = Participant::attached(&node, "shop-1")
        .await
        .work(|_| succeeded("null"));
    let told = words(&stream.events().await);
    assert!(
        told.iter().all(|(_, word)| word == "SAGA_STATE_COMPLETED"),
        "{told:?}"
    );
    let mut more = Vec::new();
    while !more.iter().any(|(sequence, _)| *sequence == count) {
        more.extend(words(&stream.events().await));
    }
}

#[tokio::test]
async fn a_start_has_its_own_trace_or_the_calls() {
    let node = Node::with_order().await;
    let trace = |digit: &str| format!("00-{}-{}-01", digit.repeat(32), digit.repeat(16));
    let starts = ["", &trace("2"), "nonsense"].map(|traceparent| v1::SagaStart {
        traceparent: traceparent.into(),
        ..order(None, "A-1")
    });
    let mut request = tonic::Request::new(batch(starts.to_vec()));
    let call = trace("1").parse().unwrap();
    request.metadata_mut().insert("traceparent", call);
    let answer = node.sagas().batch_start_sagas(request).await;
    let mut kept = Vec::new();
    for result in answer.unwrap().into_inner().results {
        let Some(Became::Started(started)) = result.result else {
            panic!("{result:?}");
        };
        let request = v1::GetSagaRequest { name: started.name };
        let saga = node
            .sagas()
            .get_saga(request)
            .await
            .unwrap()
            .into_inner()
            .saga;
        kept.push(saga.unwrap().traceparent);
    }
    assert_eq!(kept, [trace("1"), trace("2"), String::new()]);
}

#[tokio::test]
async fn a_node_that_leaves_answers_what_it_has_taken_and_says_so() {
    let node = Node::with_order().await;
    let mut stream = Stream::opened(&node).await;
    stream.start([(1, true, order(Some("A-1"), "A-1"))]).await;
    assert_eq!(words(&stream.so_many(1).await), [(1, "started".into())]);
    let idle = Stream::opened(&node).await;
    node.orchestrator.drain(Duration::from_secs(1)).await;
    for mut stream in [stream, idle] {
        let found = refusal(stream.hear().await);
        assert_eq!(found, (Code::Unavailable, "DRAINING".into()));
    }
    let mut late = Stream::silent(&node).await;
    late.say(open(PARENT)).await;
    let found = refusal(late.hear().await);
    assert_eq!(found, (Code::Unavailable, "DRAINING".into()));
}
