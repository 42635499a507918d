//! A client against a service that answers from a script: what it sends, what it repeats, what its errors keep.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod script;
mod starts;

use std::collections::HashMap;
use std::time::Duration;

use amends_sdk::{Client, StartOptions};
use script::{Script, serve, serve_on, unavailable};
use serde_json::json;
use tokio::sync::mpsc;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

#[tokio::test]
async fn a_start_carries_names_input_key_and_trace() {
    let (script, client) = serve([]).await;
    let options = StartOptions {
        traceparent: Some("00-t".to_owned()),
        ..StartOptions::key("order-1")
    };
    let started = client
        .start("place-order", &json!({"n": 1}), &options)
        .await
        .unwrap();
    assert!(started.created);
    let starts = script.starts.lock().unwrap();
    let (request, trace) = &starts[0];
    assert_eq!(request.parent, "namespaces/default");
    assert_eq!(
        request.definition,
        "namespaces/default/definitions/place-order"
    );
    assert_eq!(request.key.as_deref(), Some("order-1"));
    assert_eq!(&request.input[..], b"{\"n\":1}");
    assert_eq!(trace.as_deref(), Some("00-t"));
}

#[tokio::test]
async fn a_start_whose_answer_was_lost_is_repeated_only_with_a_key() {
    let (script, client) = serve([unavailable()]).await;
    let options = StartOptions::random_key();
    client
        .start("place-order", &json!({}), &options)
        .await
        .unwrap();
    let keys: Vec<_> = script
        .starts
        .lock()
        .unwrap()
        .iter()
        .map(|(r, _)| r.key.clone())
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);

    let (script, client) = serve([unavailable()]).await;
    client
        .start(
            "place-order",
            &json!({}),
            &StartOptions::keyed_by_definition(),
        )
        .await
        .unwrap();
    assert_eq!(script.starts.lock().unwrap().len(), 2);

    let (script, client) = serve([unavailable()]).await;
    let error = client
        .start("place-order", &json!({}), &StartOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(Code::Unavailable));
    assert_eq!(script.starts.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_overloaded_server_is_asked_again_when_it_says_and_a_large_payload_is_not_sent_again() {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(20)));
    let overloaded = Status::with_error_details(Code::ResourceExhausted, "too many sagas", details);
    let (script, client) = serve([Err(overloaded)]).await;
    client
        .start("place-order", &json!({}), &StartOptions::default())
        .await
        .unwrap();
    assert_eq!(script.starts.lock().unwrap().len(), 2);

    let details = ErrorDetails::with_error_info("PAYLOAD_TOO_LARGE", "amends", HashMap::new());
    let large = Status::with_error_details(Code::ResourceExhausted, "1 MiB at most", details);
    let (script, client) = serve([Err(large)]).await;
    let error = client
        .start("place-order", &json!({}), &StartOptions::random_key())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Some("PAYLOAD_TOO_LARGE"));
    assert_eq!(script.starts.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_error_keeps_reason_and_violations() {
    let (_script, client) = serve([]).await;
    let error = client.cancel("1", "changed my mind").await.unwrap_err();
    assert_eq!(
        (error.code(), error.reason()),
        (Some(Code::FailedPrecondition), Some("PAST_THE_POINT"))
    );
    assert_eq!(
        error.to_string(),
        "the pivot `charge` succeeded (PAST_THE_POINT)"
    );

    let details = ErrorDetails::with_bad_request_violation("input", "`sku` is missing");
    let invalid = Status::with_error_details(Code::InvalidArgument, "bad input", details);
    let (_script, client) = serve([Err(invalid)]).await;
    let error = client.get("1").await.unwrap_err();
    assert_eq!(error.rpc().unwrap().violations[0].field, "input");
    assert!(error.to_string().contains("input: `sku` is missing"));
}

#[tokio::test]
async fn a_wait_goes_on_until_the_saga_is_settled_or_the_time_has_passed() {
    let (script, client) = serve([unavailable()]).await;
    let answer = client.wait("1", Duration::from_secs(20)).await.unwrap();
    assert!(answer.settled);
    assert_eq!(*script.waits.lock().unwrap(), 2);
    let (_script, client) = serve([]).await;
    assert!(!client.wait("1", Duration::ZERO).await.unwrap().settled);
}

#[tokio::test]
async fn a_signal_whose_answer_was_lost_is_repeated_only_with_a_dedupe_id() {
    let (script, client) = serve([unavailable()]).await;
    let payload = json!({"approved": true});
    let accepted = client
        .signal("1", "decided", &payload, Some("mail-7"))
        .await;
    assert!(!accepted.unwrap(), "the first one had arrived");
    let signals = script.signals.lock().unwrap().clone();
    assert_eq!(signals.len(), 2);
    assert_eq!(signals[0], signals[1]);
    assert_eq!(signals[0].name, "namespaces/default/sagas/1");
    assert_eq!(signals[0].dedupe_id.as_deref(), Some("mail-7"));
    assert_eq!(&signals[0].payload[..], b"{\"approved\":true}");

    let (script, client) = serve([unavailable()]).await;
    let lost = client.signal("1", "decided", &payload, None).await;
    assert_eq!(lost.unwrap_err().code(), Some(Code::Unavailable));
    assert_eq!(script.signals.lock().unwrap().len(), 1);
    assert!(
        client
            .signal_raw("1", "decided", "1.50", None)
            .await
            .is_ok()
    );
    assert_eq!(&script.signals.lock().unwrap()[1].payload[..], b"1.50");
}

#[tokio::test]
async fn an_explanation_is_asked_for_until_it_is_answered() {
    let (_script, client) = serve([unavailable()]).await;
    let explained = client.explain("1").await.unwrap();
    assert_eq!(explained.sentences[0].text, "namespaces/default/sagas/1");
}

#[tokio::test]
async fn names_are_completed_and_pages_are_followed() {
    let (_script, client) = serve([]).await;
    let client = client.namespace("shop");
    assert_eq!(
        client.get("1").await.unwrap().name,
        "namespaces/shop/sagas/1"
    );
    let full = "namespaces/other/sagas/2";
    assert_eq!(client.get(full).await.unwrap().name, full);
    let history = client.history("1").await.unwrap();
    let positions: Vec<_> = history.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, [1, 2]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_says_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let error = Client::connect(&address).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
    assert!(
        Client::connect("no address")
            .await
            .unwrap_err()
            .to_string()
            .contains("no address")
    );
    let lazy = Client::connect_lazy(&address)
        .unwrap()
        .retry_for(Duration::from_millis(300));
    assert_eq!(
        lazy.get("1").await.unwrap_err().code(),
        Some(Code::Unavailable)
    );
}

#[tokio::test]
async fn a_server_that_is_killed_under_a_call_is_asked_again_once_it_is_back() {
    let (hangs, mut reached) = mpsc::unbounded_channel();
    let killed = Script {
        hangs: Some(hangs),
        ..Script::default()
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let process = tokio::runtime::Runtime::new().unwrap();
    process.spawn(async move {
        serve_on(tokio::net::TcpListener::from_std(listener).unwrap(), killed).await;
    });
    let client = Client::connect(&address.to_string()).await.unwrap();
    let impatient = client.clone().retry_for(Duration::ZERO);
    let asked = tokio::spawn(async move { client.get("1").await });
    let asked_once = tokio::spawn(async move { impatient.get("1").await });
    reached.recv().await.unwrap();
    reached.recv().await.unwrap();
    process.shutdown_background();
    let lost = asked_once.await.unwrap().unwrap_err();
    assert_eq!(lost.code(), Some(Code::Unavailable), "{lost}");
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(serve_on(listener, Script::default()));
    assert_eq!(
        asked.await.unwrap().unwrap().name,
        "namespaces/default/sagas/1"
    );
}
