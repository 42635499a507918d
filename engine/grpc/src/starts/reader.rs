//! What a client says after `open`: starts. While as many are open as may be, nothing is read.

use std::sync::Arc;

use amends_orchestrator::{Refusal, StartItem, Starter};
use amends_proto::v1;
use amends_proto::v1::start_sagas_request::Message as Said;
use tokio::sync::watch;
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use super::no_open;
use super::numbers::Numbers;
use crate::service::{ended, saga_start};
use crate::status::{invalid, status_of};
use crate::stream::{batch, empty_message, of_decoder};
use crate::trace_context::TraceContext;

/// The reading half of a stream of starts.
pub(super) struct Reader {
    pub(super) said: Streaming<v1::StartSagasRequest>,
    pub(super) starter: Starter,
    pub(super) namespace: Arc<str>,
    pub(super) numbers: Arc<Numbers>,
    pub(super) draining: watch::Receiver<bool>,
    pub(super) context: TraceContext,
}

/// Why nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// The client has said everything.
    Said,
    /// The node is about to leave.
    Leaving,
}

impl Reader {
    /// Reads until the client has said everything, or the node is about to leave.
    pub(super) async fn run(mut self) -> Result<Last, Status> {
        loop {
            let said = tokio::select! {
                said = self.said.message() => said.map_err(of_decoder)?,
                () = ended(&mut self.draining) => return Ok(Last::Leaving),
            };
            let Some(request) = said else {
                return Ok(Last::Said);
            };
            self.take(request)
                .await
                .map_err(|refusal| status_of(&refusal))?;
        }
    }

    async fn take(&self, request: v1::StartSagasRequest) -> Result<(), Refusal> {
        let starts = match request.message.ok_or_else(empty_message)? {
            Said::Open(_) => return Err(no_open("it came again")),
            Said::Starts(starts) => starts.starts,
        };
        batch("starts.starts", starts.len())?;
        self.numbers.open(&starts).await?;
        let span = tracing::info_span!(target: "amends_grpc", "starts", count = starts.len());
        self.order(starts).instrument(span).await;
        Ok(())
    }

    async fn order(&self, starts: Vec<v1::SequencedStart>) {
        let mut items = Vec::with_capacity(starts.len());
        for wire in starts {
            let v1::SequencedStart {
                sequence,
                start,
                tell_settled,
            } = wire;
            let start = start.ok_or_else(|| invalid("START_MISSING", "start", "it has to be set"));
            match start.and_then(|start| saga_start(&self.namespace, start, &self.context)) {
                Ok(request) => items.push(StartItem {
                    sequence,
                    tell_settled,
                    request,
                }),
                Err(refusal) => self.starter.refuse(sequence, refusal),
            }
        }
        self.starter.start(items).await;
    }
}
