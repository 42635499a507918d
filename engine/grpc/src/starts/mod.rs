//! A stream of starts: `reader` takes what the client wants started, `writer` tells what became of it, and `numbers` knows
//! which of the client's numbers are open. A start that is refused is an answer; a message that breaks the protocol ends the
//! stream.

mod numbers;
mod reader;
mod writer;

use std::pin::pin;
use std::sync::Arc;

use amends_orchestrator::{Kind, Orchestrator, Refusal};
use amends_proto::v1;
use amends_proto::v1::start_sagas_request::Message as Said;
use amends_proto::v1::start_sagas_response::Message as Answer;
use tokio::sync::watch;
use tonic::{Status, Streaming};

use crate::limits::{HELLO_TIMEOUT, STARTS_OPEN_MAX};
use crate::name;
use crate::service::ended;
use crate::status::status_of;
use crate::stream::{self, Out, empty_message, of_decoder};
use crate::trace_context::TraceContext;
use numbers::Numbers;
use reader::{Last, Reader};
use writer::Writer;

/// A stream that was asked for.
pub(crate) struct StartStream {
    pub(crate) orchestrator: Orchestrator,
    pub(crate) closed: watch::Receiver<bool>,
    /// The call's: for starts without one of their own.
    pub(crate) context: TraceContext,
}

impl StartStream {
    /// Everything that happens on the stream, until it ends; with why it ended, unless the client has heard everything.
    pub(crate) async fn serve(
        self,
        mut said: Streaming<v1::StartSagasRequest>,
        out: Out<v1::StartSagasResponse>,
    ) -> Result<(), Status> {
        let Self {
            orchestrator,
            mut closed,
            context,
        } = self;
        let first = tokio::select! {
            first = tokio::time::timeout(HELLO_TIMEOUT, said.message()) => first,
            () = ended(&mut closed) => return Err(status_of(&leaving())),
        };
        let first = first
            .map_err(|_| status_of(&no_open("no message came")))?
            .map_err(of_decoder)?;
        let Some(first) = first else { return Ok(()) };
        let namespace = opened(&orchestrator, first).map_err(|refusal| status_of(&refusal))?;
        let answer = Answer::Opened(v1::StartsOpened {
            open_max: u32::try_from(STARTS_OPEN_MAX).unwrap_or(u32::MAX),
        });
        stream::send(&out, message(answer)).await?;
        let (starter, events) = orchestrator.starter();
        let numbers = Arc::new(Numbers::new());
        let (done, half_closed) = watch::channel(false);
        let reader = Reader {
            said,
            starter: starter.clone(),
            namespace: namespace.clone(),
            numbers: numbers.clone(),
            draining: orchestrator.draining(),
            context,
        };
        let writer = Writer::new(out, events, starter, namespace, numbers);
        let mut writing = pin!(writer.run(half_closed, orchestrator.draining()));
        tokio::select! {
            read = reader.run() => {
                done.send_replace(read? == Last::Said);
            }
            written = &mut writing => return written,
            () = ended(&mut closed) => return Err(status_of(&leaving())),
        }
        // Nothing more is read: what is owed is still answered.
        tokio::select! {
            written = writing => written,
            () = ended(&mut closed) => Err(status_of(&leaving())),
        }
    }
}

/// Takes the first message: the namespace.
fn opened(orchestrator: &Orchestrator, first: v1::StartSagasRequest) -> Result<Arc<str>, Refusal> {
    match first.message {
        Some(Said::Open(open)) => {
            let namespace = name::namespace("parent", &open.parent)?;
            orchestrator.admits_starts(&namespace)?;
            Ok(namespace.into())
        }
        Some(Said::Starts(_)) => Err(no_open("another message came first")),
        None => Err(empty_message()),
    }
}

fn message(answer: Answer) -> v1::StartSagasResponse {
    v1::StartSagasResponse {
        message: Some(answer),
    }
}

fn no_open(what: &str) -> Refusal {
    Refusal::new(
        Kind::FailedPrecondition,
        "OPEN_EXPECTED",
        format!("the first message of a stream of starts is open, once; {what}"),
    )
}

fn leaving() -> Refusal {
    Refusal::new(
        Kind::Unavailable,
        "DRAINING",
        "the node is about to leave: what is not answered, start again with its key on another stream",
    )
}
