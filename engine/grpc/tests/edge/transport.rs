//! Below the services: unknown calls, bytes that are no message, headers without end, health and reflection.

use amends_proto::v1;
use bytes::{Buf, BufMut, Bytes};
use http_body_util::Full;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tower::{Service as _, ServiceExt as _};

use crate::node::{Node, nobody, refusal};

/// Bytes as they are.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

async fn call(node: &Node, path: &'static str, message: &'static [u8]) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(node.channel.clone());
    client.ready().await.expect("the node is there");
    let path = http::uri::PathAndQuery::from_static(path);
    client
        .unary(Request::new(Bytes::from_static(message)), path, Raw)
        .await
        .map(tonic::Response::into_inner)
}

async fn alive(node: &Node) {
    let found = node
        .sagas()
        .get_saga(v1::GetSagaRequest {
            name: nobody("default"),
        })
        .await;
    assert_eq!(refusal(found).0, Code::NotFound);
}

#[tokio::test]
async fn b19_an_unknown_call_is_unimplemented() {
    let node = Node::start().await;
    for path in [
        "/amends.v1.SagaService/DeleteEverything",
        "/amends.v2.SagaService/StartSaga",
        "/x/y",
    ] {
        assert_eq!(
            call(&node, path, b"").await.unwrap_err().code(),
            Code::Unimplemented,
            "{path}"
        );
    }
    alive(&node).await;
}

#[tokio::test]
async fn b21_bytes_that_are_no_message_are_an_invalid_argument_and_the_connection_survives() {
    let node = Node::start().await;
    let garbage: [&[u8]; 4] = [
        b"\xff\xff\xff\xff",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0a\x02\xff\xfe",
        b"\x0a\x05ab",
    ];
    for message in garbage {
        let found = refusal(call(&node, "/amends.v1.SagaService/StartSaga", message).await);
        assert_eq!(
            found,
            (Code::InvalidArgument, "MALFORMED_REQUEST".into()),
            "{message:?}"
        );
    }
    alive(&node).await;
}

#[tokio::test]
async fn b21_a_truncated_frame_and_a_length_beyond_the_body_are_invalid_arguments() {
    let node = Node::start().await;
    let frames: [&[u8]; 4] = [b"\0\0", b"\0\0\0\0\x64abc", b"\x07\0\0\0\0", b""];
    for frame in frames {
        let request = http::Request::post("http://node/amends.v1.SagaService/StartSaga")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(tonic::body::Body::new(Full::new(Bytes::from_static(frame))))
            .unwrap();
        let mut channel = node.channel.clone();
        let response = channel.ready().await.unwrap().call(request).await.unwrap();
        let status = Status::from_header_map(response.headers()).expect("it is refused at once");
        assert_eq!(
            status.code(),
            Code::InvalidArgument,
            "{frame:?}: {status:?}"
        );
    }
    alive(&node).await;
}

#[tokio::test]
async fn b22_headers_over_16_kib_are_refused_and_others_are_served() {
    let node = Node::start().await;
    let mut request = Request::new(v1::GetSagaRequest {
        name: nobody("default"),
    });
    for index in 0..40 {
        let name = tonic::metadata::MetadataKey::from_bytes(format!("x-filler-{index}").as_bytes())
            .unwrap();
        request
            .metadata_mut()
            .insert(name, MetadataValue::try_from("x".repeat(1_000)).unwrap());
    }
    let code = node.sagas().get_saga(request).await.unwrap_err().code();
    assert_ne!(code, Code::NotFound, "the request reached the service");
    alive(&node).await;
}

#[tokio::test]
async fn health_follows_the_node() {
    let node = Node::start().await;
    let mut health = HealthClient::new(node.channel.clone());
    for service in [
        "",
        "amends.v1.SagaService",
        "amends.v1.OperatorService",
        "amends.v1.DefinitionService",
        "amends.v1.ParticipantService",
    ] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let mut states = health.watch(request).await.unwrap().into_inner();
        // The first report may be older than the node's first word.
        loop {
            let state = states.message().await.unwrap().unwrap();
            if state.status() == ServingStatus::Serving {
                break;
            }
        }
    }
    let unknown = HealthCheckRequest {
        service: "amends.v1.Nothing".into(),
    };
    assert_eq!(
        health.check(unknown).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn reflection_names_the_services() {
    let node = Node::start().await;
    let mut reflection = ServerReflectionClient::new(node.channel.clone());
    let question = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let mut answers = reflection
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer = answers
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let MessageResponse::ListServicesResponse(services) = answer else {
        panic!("{answer:?}")
    };
    let names: Vec<&str> = services
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    for expected in [
        "amends.v1.DefinitionService",
        "amends.v1.SagaService",
        "amends.v1.OperatorService",
        "amends.v1.ParticipantService",
    ] {
        assert!(names.contains(&expected), "{names:?}");
    }
}
