//! What is no request at all: calls that do not exist, bytes that are no message, frames that break off.

use amends_proto::v1;
use tonic::codegen::http::{Request, Response, Uri};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{healthy, refused, stage};

/// Sends this body to a method, on this connection, and returns what the server says of it.
async fn post(channel: &Channel, method: &str, body: String) -> Result<(), Status> {
    use tonic::codegen::Service as _;
    let uri: Uri = format!("http://localhost/{method}").parse().unwrap();
    let request = Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(body))
        .unwrap();
    let mut channel = channel.clone();
    std::future::poll_fn(|context| channel.poll_ready(context))
        .await
        .unwrap();
    let response: Response<_> = channel.call(request).await.unwrap();
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

/// A frame of gRPC: its length as announced, then these bytes.
fn frame(announced: u32, bytes: &str) -> String {
    let length = announced.to_be_bytes();
    assert!(length.iter().all(u8::is_ascii), "a text can hold it");
    let mut body: String = std::iter::once(0).chain(length).map(char::from).collect();
    body.push_str(bytes);
    body
}

const START: &str = "amends.v1.SagaService/StartSaga";

#[tokio::test(flavor = "multi_thread")]
async fn b19_a_call_that_does_not_exist_is_unimplemented() {
    let stage = stage().await;
    let channel = stage.channel().await;
    for method in [
        "amends.v1.SagaService/DeleteEverything",
        "amends.v1.NoSuchService/StartSaga",
        "amends.v9.SagaService/StartSaga",
        "",
        "../StartSaga",
    ] {
        let status = post(&channel, method, frame(0, "")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{method}: {status:?}");
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b19_fields_that_nobody_knows_are_passed_over_and_a_message_without_one_is_refused() {
    let stage = stage().await;
    let channel = stage.channel().await;
    // Field 1, the parent; then field 15, which nobody knows, as a varint.
    let parent = "namespaces/default";
    let body = format!("\n{}{parent}x\u{1}", char::from(18));
    assert_eq!(parent.len(), 18);
    let method = "amends.v1.SagaService/ListSagas";
    post(&channel, method, frame(22, &body)).await.unwrap();
    let mut stream = stage.bare_stream().await;
    stream.say_any(None).await;
    refused(
        stream.hear().await,
        Code::InvalidArgument,
        "MESSAGE_MISSING",
        "nothing",
    );
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b21_garbage_is_an_invalid_argument_and_the_connection_survives() {
    let stage = stage().await;
    let channel = stage.channel().await;
    for garbage in [
        "\u{7f}\u{7f}\u{7f}",
        "this is no message",
        "\n\u{7f}",
        "\n\u{3}abc\"",
        "\u{8}\u{1}",
    ] {
        let length = u32::try_from(garbage.len()).unwrap();
        let answer = post(&channel, START, frame(length, garbage)).await;
        refused(answer, Code::InvalidArgument, "MALFORMED_REQUEST", garbage);
    }
    let well = v1::ListSagasRequest {
        parent: "namespaces/default".to_owned(),
        ..v1::ListSagasRequest::default()
    };
    let mut same = v1::saga_service_client::SagaServiceClient::new(channel);
    same.list_sagas(well)
        .await
        .expect("the same connection serves on");
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b21_a_frame_that_breaks_off_and_one_that_announces_too_much_are_refused() {
    let stage = stage().await;
    let channel = stage.channel().await;
    let status = post(&channel, START, frame(100, "short"))
        .await
        .unwrap_err();
    assert!(
        [Code::InvalidArgument, Code::Internal].contains(&status.code()),
        "the decoder's own answer is the only one that may be INTERNAL: {status:?}"
    );
    let answer = post(&channel, START, frame(0x7f7f_7f7f, "short")).await;
    refused(
        answer,
        Code::ResourceExhausted,
        "PAYLOAD_TOO_LARGE",
        "2 GiB announced",
    );
    for nothing in ["", "\0", "\0\0\0"] {
        let status = post(&channel, START, nothing.to_owned()).await.unwrap_err();
        assert!(
            [Code::InvalidArgument, Code::Internal].contains(&status.code()),
            "{nothing:?}: {status:?}"
        );
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_key_that_is_no_utf_8_is_an_invalid_argument() {
    let stage = stage().await;
    let mut sagas = tonic::client::Grpc::new(stage.channel().await);
    sagas.ready().await.unwrap();
    let path =
        tonic::codegen::http::uri::PathAndQuery::from_static("/amends.v1.SagaService/StartSaga");
    let request = Bytewise {
        parent: b"namespaces/default".to_vec(),
        definition: b"namespaces/default/definitions/shop".to_vec(),
        key: vec![0xff, 0xfe],
    };
    let codec = tonic_prost::ProstCodec::<Bytewise, v1::StartSagaResponse>::default();
    let answer = sagas.unary(tonic::Request::new(request), path, codec).await;
    refused(answer, Code::InvalidArgument, "MALFORMED_REQUEST", "ff fe");
    healthy(&stage).await;
}

/// A start whose texts need not be texts: on the wire both are the same.
#[derive(Clone, PartialEq, prost::Message)]
struct Bytewise {
    #[prost(bytes = "vec", tag = "1")]
    parent: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    definition: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    key: Vec<u8>,
}
