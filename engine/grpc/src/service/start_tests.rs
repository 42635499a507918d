//! What a start's request is refused for before anything is asked of the engine.

use amends_orchestrator::Kind;

use super::*;

fn request() -> v1::StartSagaRequest {
    v1::StartSagaRequest {
        parent: "namespaces/default".into(),
        definition: "namespaces/default/definitions/place-order".into(),
        revision: None,
        key: Some("A-1".into()),
        input: Bytes::from_static(b"{\"order_id\": \"A-1\"}"),
        wait: None,
    }
}

fn refused(request: v1::StartSagaRequest) -> (Kind, &'static str) {
    let refusal = start_request(request, TraceContext::default()).unwrap_err();
    (refusal.kind, refusal.reason)
}

#[test]
fn a_sound_start_is_read_with_its_trace() {
    let context = TraceContext {
        traceparent: Some("00-x".into()),
        tracestate: Some("a=1".into()),
    };
    let start = start_request(request(), context).unwrap();
    assert_eq!(
        (start.namespace.as_str(), start.definition.as_str()),
        ("default", "place-order")
    );
    assert_eq!(
        (start.traceparent.as_deref(), start.tracestate.as_deref()),
        (Some("00-x"), Some("a=1"))
    );
    let start = start_request(
        v1::StartSagaRequest {
            input: Bytes::new(),
            ..request()
        },
        TraceContext::default(),
    )
    .unwrap();
    assert_eq!(start.input, Payload::empty_object());
}

#[test]
fn b7_an_empty_an_endless_and_a_nul_key_are_invalid_arguments() {
    for key in [
        "",
        "a\0b",
        &"k".repeat(KEY_BYTES_MAX + 1),
        &"k".repeat(10 * 1024),
    ] {
        let found = refused(v1::StartSagaRequest {
            key: Some(key.into()),
            ..request()
        });
        assert_eq!(
            found,
            (Kind::InvalidArgument, "KEY_INVALID"),
            "{} bytes",
            key.len()
        );
    }
    let longest = v1::StartSagaRequest {
        key: Some("k".repeat(KEY_BYTES_MAX)),
        ..request()
    };
    assert!(start_request(longest, TraceContext::default()).is_ok());
}

#[test]
fn b8_input_that_is_not_acceptable_json_is_an_invalid_argument() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let inputs: [&[u8]; 10] = [
        deep.as_bytes(),
        b"1e400",
        b"NaN",
        b"{\"a\":1,\"a\":2}",
        b"\"\\ud800\"",
        b"\"\\u0000\"",
        b"{",
        b"{} {}",
        b"\xff\xfe",
        b" ",
    ];
    for input in inputs {
        let found = refused(v1::StartSagaRequest {
            input: Bytes::copy_from_slice(input),
            ..request()
        });
        assert_eq!(
            found,
            (Kind::InvalidArgument, "PAYLOAD_INVALID"),
            "{:?}",
            String::from_utf8_lossy(&input[..input.len().min(20)])
        );
    }
}

#[test]
fn b9_input_over_1_mib_is_resource_exhausted() {
    let input = Bytes::from(format!("\"{}\"", "x".repeat(1024 * 1024)));
    let found = refused(v1::StartSagaRequest { input, ..request() });
    assert_eq!(
        found,
        (
            Kind::ResourceExhausted { retry_after: None },
            "PAYLOAD_TOO_LARGE"
        )
    );
}

#[test]
fn b18_a_definition_of_another_namespace_than_the_parent_is_an_invalid_argument() {
    let definition = "namespaces/other/definitions/place-order".into();
    let found = refused(v1::StartSagaRequest {
        definition,
        ..request()
    });
    assert_eq!(found, (Kind::InvalidArgument, "NAMESPACE_MISMATCH"));
}
