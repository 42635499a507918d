//! Starting many: batches and streams, what is said again when a stream was lost, and what is told instead.

use std::time::Duration;

use amends_sdk::{Client, Start, StartOptions, StartStream, proto};
use proto::start_event::Event;
use proto::start_sagas_request::Message as Said;
use proto::start_sagas_response::Message as Say;
use serde_json::json;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use crate::script::{Script, StartsSession, as_message, overloaded, serve, serve_on, unavailable};

fn start(key: &str) -> Start {
    Start::raw("place-order", "{}").key(key)
}

#[tokio::test]
async fn many_starts_travel_128_to_a_call_and_each_has_its_own_result() {
    let (script, client) = serve([unavailable()]).await;
    let mut starts: Vec<Start> = (0..130).map(|n| start(&n.to_string())).collect();
    starts[7] = Start::new("place-order", &"INVALID").unwrap().key("7");
    starts[9] = Start::new("place-order", &"OVERLOADED").unwrap().key("9");
    let results = client.start_many(starts).await.unwrap();
    assert_eq!(results.len(), 130);
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(started) => assert_eq!(started.name, format!("namespaces/default/sagas/{n}")),
            Err(error) => assert_eq!((n, error.code), (7, Code::InvalidArgument)),
        }
    }
    let batches = script.batches.lock().unwrap();
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.starts.len()).collect();
    // Unavailable at first; the two that are left belong to the second call.
    assert_eq!(sizes, [128, 128, 2]);
    assert_eq!(batches[0].parent, "namespaces/default");
    let definition = &batches[0].starts[0].definition;
    assert_eq!(definition, "namespaces/default/definitions/place-order");
}

#[tokio::test]
async fn what_a_busy_server_refused_of_a_batch_is_sent_again_alone() {
    let (script, client) = serve([]).await;
    let busy = Start::new("place-order", &"OVERLOADED").unwrap();
    let results = client.start_many([start("1"), busy]).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let batches = script.batches.lock().unwrap();
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.starts.len()).collect();
    assert_eq!(sizes, [2, 1]);
}

#[tokio::test]
async fn a_start_that_waits_asks_with_the_start_and_goes_on_asking() {
    let (script, client) = serve([]).await;
    let options = StartOptions::key("1");
    let timeout = Duration::from_secs(20);
    let answer = client
        .start_and_wait("place-order", &json!({}), &options, timeout)
        .await;
    assert!(answer.unwrap().settled);
    let (request, _) = script.starts.lock().unwrap()[0].clone();
    assert_eq!(request.wait.unwrap().seconds, 20);
    // The start did not settle; the second wait did.
    assert_eq!(*script.waits.lock().unwrap(), 2);
}

/// A server for streams of starts, and a client's stream.
async fn streams() -> (mpsc::UnboundedReceiver<StartsSession>, StartStream, Script) {
    let (streams, sessions) = mpsc::unbounded_channel();
    let script = Script {
        streams: Some(streams),
        ..Script::default()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve_on(listener, script.clone()));
    let client = Client::connect(&address).await.unwrap();
    (sessions, client.start_stream(), script)
}

/// The next stream, opened.
async fn opened(sessions: &mut mpsc::UnboundedReceiver<StartsSession>) -> StartsSession {
    let mut session = soon(sessions.recv()).await.unwrap();
    let first = session.requests.message().await.unwrap().unwrap();
    let Some(Said::Open(open)) = first.message else {
        panic!("{first:?}");
    };
    assert_eq!(open.parent, "namespaces/default");
    session.say(Say::Opened(proto::StartsOpened { open_max: 8 }));
    session
}

impl StartsSession {
    fn say(&self, message: Say) {
        let message = Some(message);
        self.responses
            .send(Ok(proto::StartSagasResponse { message }))
            .unwrap();
    }

    fn tell(&self, sequence: u64, event: Event) {
        let event = Some(event);
        let events = vec![proto::StartEvent { sequence, event }];
        self.say(Say::Events(proto::StartEvents { events }));
    }

    fn started(&self, sequence: u64) {
        let name = format!("namespaces/default/sagas/{sequence}");
        self.tell(
            sequence,
            Event::Started(proto::StartedSaga {
                name,
                created: true,
                revision: 1,
            }),
        );
    }

    fn settled(&self, sequence: u64) {
        let state = proto::SagaState::Completed.into();
        self.tell(
            sequence,
            Event::Settled(proto::SettledSaga {
                state,
                ..Default::default()
            }),
        );
    }

    /// The next starts; none at the end.
    async fn starts(&mut self) -> Vec<proto::SequencedStart> {
        match soon(self.requests.message()).await.unwrap() {
            Some(proto::StartSagasRequest {
                message: Some(Said::Starts(starts)),
            }) => starts.starts,
            None => Vec::new(),
            other => panic!("{other:?}"),
        }
    }
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it happens in time")
}

#[tokio::test]
async fn starts_share_messages_and_each_hears_its_own_answer() {
    let (mut sessions, stream, _) = streams().await;
    let clients: Vec<_> = (0..3)
        .map(|n| {
            let stream = stream.clone();
            tokio::spawn(async move { stream.start(start(&n.to_string())).await })
        })
        .collect();
    let mut session = opened(&mut sessions).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(session.starts().await);
    }
    assert!(seen.iter().all(|start| !start.tell_settled));
    for start in seen.iter().rev() {
        session.started(start.sequence);
    }
    for client in clients {
        assert!(soon(client).await.unwrap().unwrap().created);
    }
    // The last handle gone, the stream is half-closed.
    drop(stream);
    assert!(session.starts().await.is_empty());
}

#[tokio::test]
async fn an_end_is_told_after_its_start_and_outlives_the_handle() {
    let (mut sessions, stream, _) = streams().await;
    let asking = tokio::spawn(async move { stream.start_to_end(start("1")).await });
    let mut session = opened(&mut sessions).await;
    let starts = session.starts().await;
    assert!(starts[0].tell_settled);
    session.started(starts[0].sequence);
    let running = soon(asking).await.unwrap().unwrap();
    assert!(session.starts().await.is_empty());
    session.settled(starts[0].sequence);
    let settled = soon(running.settled()).await.unwrap();
    assert_eq!(settled.state(), proto::SagaState::Completed);
}

#[tokio::test]
async fn a_lost_stream_is_opened_again_and_what_has_a_key_is_said_again() {
    let (mut sessions, stream, _) = streams().await;
    let spawn = |start: Start| {
        let stream = stream.clone();
        tokio::spawn(async move { stream.start_to_end(start).await })
    };
    let keyed = spawn(start("1"));
    let mut session = opened(&mut sessions).await;
    let first = session.starts().await;
    let unkeyed = spawn(Start::raw("place-order", "{}"));
    session.starts().await;
    let told = spawn(start("2"));
    let third = session.starts().await;
    session.started(third[0].sequence);
    let told = soon(told).await.unwrap().unwrap();
    session
        .responses
        .send(Err(Status::unavailable("the node is about to leave")))
        .unwrap();
    let error = soon(unkeyed).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(Code::Unavailable));

    let mut session = opened(&mut sessions).await;
    let again = session.starts().await;
    assert_eq!(again, [first, third].concat());
    for start in &again {
        session.started(start.sequence);
        session.settled(start.sequence);
    }
    let keyed = soon(keyed).await.unwrap().unwrap();
    assert!(soon(keyed.settled()).await.is_ok() && soon(told.settled()).await.is_ok());
}

#[tokio::test]
async fn a_refused_start_is_its_own_error_and_a_busy_server_is_asked_again() {
    let (mut sessions, stream, _) = streams().await;
    let asking = tokio::spawn({
        let stream = stream.clone();
        async move { stream.start(Start::raw("place-order", "1")).await }
    });
    let mut session = opened(&mut sessions).await;
    let starts = session.starts().await;
    session.tell(
        starts[0].sequence,
        Event::Refused(as_message(&overloaded())),
    );
    let starts = session.starts().await;
    let invalid = Status::invalid_argument("no such input");
    session.tell(starts[0].sequence, Event::Refused(as_message(&invalid)));
    let error = soon(asking).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(Code::InvalidArgument));
}

#[tokio::test]
async fn a_stream_that_is_refused_for_good_fails_what_waits_and_is_tried_with_the_next_start() {
    let (mut sessions, stream, script) = streams().await;
    let denied = Err(Status::not_found("no such namespace"));
    script.answers.lock().unwrap().push_back(denied);
    let error = soon(stream.start(start("1"))).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::NotFound));
    let asking = tokio::spawn(async move { stream.start(start("2")).await });
    let mut session = opened(&mut sessions).await;
    let starts = session.starts().await;
    session.started(starts[0].sequence);
    assert!(soon(asking).await.unwrap().is_ok());
}
