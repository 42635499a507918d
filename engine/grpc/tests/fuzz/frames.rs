//! Requests of every method, as bytes and as structure, and streams of participants of several such messages. Whatever
//! comes: an answer in time, never INTERNAL or UNKNOWN, a reason of ours with each refusal, and a node that serves on.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use amends_proto::v1;
use amends_proto::v1::start_event::Event;
use amends_proto::v1::start_result::Result as Became;
use amends_proto::v1::start_sagas_request::Message as Say;
use amends_proto::v1::start_sagas_response::Message as Heard;
use amends_tests::fuzz::{self, Choices, Target};
use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;
use tokio::time::timeout;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::node::{Node, nobody};
use crate::wire::Wire;

/// How long an answer may take in a debug build on a busy machine.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// A stream that stays open has not failed.
const STREAM_TIME: Duration = Duration::from_millis(20);

/// A method of a service of ours.
struct Method {
    path: PathAndQuery,
    request: String,
    client_streams: bool,
    server_streams: bool,
}

pub fn run() {
    let set = prost_types::FileDescriptorSet::decode(amends_proto::FILE_DESCRIPTOR_SET);
    let set = set.expect("it is one");
    let methods = methods(&set);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let node = runtime.block_on(Node::with_order());
    let started = runtime.block_on(node.start_order("fuzzed"));
    let wire = Wire::new(&set, started.expect("it starts").name);
    let target = Target {
        package: env!("CARGO_PKG_NAME"),
        test: "frames",
        directory: env!("CARGO_TARGET_TMPDIR"),
        corpus: corpus(&methods),
        words: &[
            "namespaces/default",
            "\x0a",
            "\x12",
            "\x1a",
            "\u{0}",
            "\x08\x01",
            "{}",
            "/",
        ],
        bytes_max: 4 * 1024,
    };
    let met = Met::default();
    fuzz::run(&target, |input| {
        runtime.block_on(async {
            request(&node, &methods, &wire, input, &met).await;
            if met.cases().is_multiple_of(32) {
                alive(&node).await;
            }
        });
    });
    runtime.block_on(async {
        alive(&node).await;
        node.stop().await;
    });
    met.enough();
}

/// What was answered, how often: a run that only meets the decoder has attacked nothing.
#[derive(Default)]
struct Met(Mutex<BTreeMap<String, u64>>);

impl Met {
    fn note(&self, answer: &str) {
        let mut met = self.0.lock().expect("nobody panics in here");
        *met.entry(answer.to_owned()).or_default() += 1;
    }

    fn cases(&self) -> u64 {
        self.0.lock().expect("nobody panics in here").values().sum()
    }

    fn enough(&self) {
        println!(
            "answers: {:?}",
            self.0.lock().expect("nobody panics in here")
        );
        let kinds = self.0.lock().expect("nobody panics in here").len();
        assert!(
            self.cases() < 1_000 || kinds > 10,
            "only {kinds} kinds of answers"
        );
    }
}

fn methods(set: &prost_types::FileDescriptorSet) -> Vec<Method> {
    let mut methods = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let path = |method: &str| format!("/{}.{}/{method}", file.package(), service.name());
            methods.extend(service.method.iter().map(|method| Method {
                path: path(method.name()).parse().expect("a path"),
                request: method.input_type().to_owned(),
                client_streams: method.client_streaming(),
                server_streams: method.server_streaming(),
            }));
        }
    }
    assert!(methods.len() > 10, "these are not our services");
    methods
}

/// Each method as bytes (what is sound, bad input B19 and B21) and as choices.
fn corpus(methods: &[Method]) -> Vec<Vec<u8>> {
    let start = v1::StartSagaRequest {
        parent: "namespaces/default".into(),
        definition: "namespaces/default/definitions/order".into(),
        input: r#"{"order_id": "A-1"}"#.into(),
        ..Default::default()
    };
    let list = v1::ListSagasRequest {
        parent: "namespaces/default".into(),
        page_size: 3,
        ..Default::default()
    };
    let hello = v1::AttachRequest {
        message: Some(v1::attach_request::Message::Hello(v1::Hello {
            protocol_version: 1,
            namespace: "namespaces/default".into(),
            participant: "shop".into(),
            instance: "host-1".into(),
            actions: vec![v1::ActionOffer {
                action: "shop.reserve".into(),
                barrier: true,
            }],
            credit: 4,
            ..Default::default()
        })),
    };
    let batch = v1::BatchStartSagasRequest {
        parent: "namespaces/default".into(),
        starts: vec![v1::SagaStart {
            definition: start.definition.clone(),
            input: start.input.clone(),
            ..Default::default()
        }],
    };
    let open = v1::StartSagasRequest {
        message: Some(Say::Open(v1::StartsOpen {
            parent: "namespaces/default".into(),
        })),
    };
    let known = [
        start.encode_to_vec(),
        batch.encode_to_vec(),
        open.encode_to_vec(),
        list.encode_to_vec(),
        hello.encode_to_vec(),
    ];
    let mut corpus = Vec::new();
    for nth in 0..methods.len() {
        let nth = u8::try_from(nth).expect("few methods");
        for bytes in &known {
            corpus.push([&[nth, 0], bytes.as_slice()].concat());
        }
        corpus.push(vec![nth, 0, 0xff, 0xff, 0xff, 0xff]);
        // More of choices than of bytes: behind the decoder is where most refusals are.
        for factor in [29_u8, 83, 151, 211] {
            let choices = (0..160_u8).map(|byte| nth.wrapping_add(byte).wrapping_mul(factor));
            corpus.push([nth, 1].into_iter().chain(choices).collect());
        }
    }
    corpus
}

async fn request(node: &Node, methods: &[Method], wire: &Wire, input: &[u8], met: &Met) {
    let mut choices = Choices::new(input);
    let method = &methods[choices.below(methods.len())];
    let as_bytes = choices.byte() == 0;
    let mut message = || {
        if as_bytes {
            Bytes::copy_from_slice(choices.rest())
        } else {
            Bytes::from(wire.message(&mut choices, &method.request, 4))
        }
    };
    let path = method.path.clone();
    let mut client = tonic::client::Grpc::new(node.channel.clone());
    client.ready().await.expect("the node is there");
    if method.client_streams {
        let messages: Vec<Bytes> = (0..3).map(|_| message()).collect();
        let said = tokio_stream::iter(messages);
        let answer = client.streaming(Request::new(said), path, Raw);
        let answer = timeout(ANSWER_TIME_MAX, answer)
            .await
            .expect("an answer in time");
        heard(method, answer.map(tonic::Response::into_inner), met).await;
    } else if method.server_streams {
        let answer = client.server_streaming(Request::new(message()), path, Raw);
        let answer = timeout(ANSWER_TIME_MAX, answer)
            .await
            .expect("an answer in time");
        heard(method, answer.map(tonic::Response::into_inner), met).await;
    } else {
        let said = message();
        let waits = path.path().ends_with("/WaitSaga") || starts_and_waits(method, &said);
        let patience = if waits { STREAM_TIME } else { ANSWER_TIME_MAX };
        let answer = client.unary(Request::new(said), path, Raw);
        let Ok(answer) = timeout(patience, answer).await else {
            assert!(waits, "{}: no answer in time", method.path);
            return met.note("WAITS");
        };
        match answer {
            Ok(answer) => answered(method, answer.into_inner(), met),
            Err(status) => sound(method, &status, met),
        }
    }
}

fn starts_and_waits(method: &Method, said: &Bytes) -> bool {
    method.path.path().ends_with("/StartSaga")
        && v1::StartSagaRequest::decode(said.clone()).is_ok_and(|start| start.wait.is_some())
}

/// An answer may hold refusals of its parts: they are as sound as others.
fn answered(method: &Method, answer: Bytes, met: &Met) {
    let refused = match method.path.path() {
        path if path.ends_with("/BatchStartSagas") => {
            let answer = v1::BatchStartSagasResponse::decode(answer).expect("an answer");
            let results = answer
                .results
                .into_iter()
                .map(|result| match result.result {
                    Some(Became::Refused(status)) => Some(status),
                    Some(Became::Started(_)) => None,
                    None => panic!("{path}: a start without a result"),
                });
            results.flatten().collect()
        }
        path if path.ends_with("/StartSagas") => {
            let answer = v1::StartSagasResponse::decode(answer).expect("an answer");
            match answer.message {
                Some(Heard::Events(events)) => {
                    let refused = events.events.into_iter().map(|event| match event.event {
                        Some(Event::Refused(status)) => Some(status),
                        Some(Event::Started(_) | Event::Settled(_)) => None,
                        None => panic!("{path}: an event without anything in it"),
                    });
                    refused.flatten().collect()
                }
                Some(Heard::Opened(_)) => Vec::new(),
                None => panic!("{path}: an answer without anything in it"),
            }
        }
        _ => Vec::new(),
    };
    for refused in refused {
        let details = refused.encode_to_vec().into();
        let code = Code::from_i32(refused.code);
        sound(
            method,
            &Status::with_details(code, refused.message, details),
            met,
        );
    }
    met.note("OK");
}

/// What a stream says, until it ends or has nothing more to say.
async fn heard(method: &Method, answer: Result<Streaming<Bytes>, Status>, met: &Met) {
    let mut stream = match answer {
        Ok(stream) => stream,
        Err(status) => return sound(method, &status, met),
    };
    while let Ok(said) = timeout(STREAM_TIME, stream.message()).await {
        match said {
            Ok(Some(said)) => answered(method, said, met),
            Ok(None) => return,
            Err(status) => return sound(method, &status, met),
        }
    }
}

fn sound(method: &Method, status: &Status, met: &Met) {
    let fault = [
        Code::Internal,
        Code::Unknown,
        Code::DataLoss,
        Code::Cancelled,
    ];
    assert!(
        !fault.contains(&status.code()),
        "{}: {status:?}",
        method.path
    );
    let details = status.get_error_details();
    match details.error_info() {
        Some(info) => met.note(&info.reason),
        None => panic!("{}: no reason in {status:?}", method.path),
    }
}

async fn alive(node: &Node) {
    let request = v1::GetSagaRequest {
        name: nobody("default"),
    };
    let answer = node.sagas().get_saga(request).await;
    assert_eq!(answer.expect_err("nobody has it").code(), Code::NotFound);
}

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
