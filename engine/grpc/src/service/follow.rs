//! SagaService's streams: the state after each change, conflated for a slow reader, and the history as it grows. Nothing
//! runs for them: a stream reads when its client does.

use std::collections::VecDeque;
use std::pin::Pin;

use amends_core::SagaId;
use amends_core::journal::SagaState;
use amends_orchestrator::{Orchestrator, Refusal, SagaView};
use amends_proto::v1;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::Status;

use super::saga::clock;
use crate::convert::{history as history_convert, saga as convert};
use crate::limits::FOLLOW_ROWS;
use crate::status::status_of;

/// A stream of answers.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A saga that somebody follows.
pub(super) struct Following {
    pub(super) orchestrator: Orchestrator,
    pub(super) namespace: String,
    pub(super) id: SagaId,
    /// Subscribed before `first` was read.
    pub(super) changes: watch::Receiver<Option<SagaState>>,
    pub(super) closed: watch::Receiver<bool>,
    /// As it was found.
    pub(super) first: Option<SagaView>,
    pub(super) _room: OwnedSemaphorePermit,
}

/// The saga as it is, then after each change; ends with its end.
pub(super) fn watch(following: Following) -> Answers<v1::WatchSagaResponse> {
    let steps = try_unfold(Some(following), |state| async move {
        let Some(mut following) = state else {
            return Ok(None);
        };
        let view = match following.first.take() {
            Some(first) => first,
            None => following.next().await?,
        };
        let response = v1::WatchSagaResponse {
            saga: Some(convert::view(&view, clock())),
        };
        let rest = (!view.record.state.is_terminal()).then_some(following);
        Ok(Some((response, rest)))
    });
    Box::pin(steps)
}

/// The recorded rows, then each as it is committed; ends with the saga's end.
pub(super) fn history(following: Following) -> Answers<v1::FollowSagaHistoryResponse> {
    let tail = Tail {
        following,
        from: 1,
        ready: VecDeque::new(),
        ended: false,
    };
    let rows = try_unfold(tail, |mut tail| async move {
        while tail.ready.is_empty() {
            if tail.read().await? {
                continue;
            }
            if tail.ended {
                return Ok(None);
            }
            tail.following.changed().await?;
        }
        let response = tail.ready.pop_front();
        Ok(response.map(|response| (response, tail)))
    });
    Box::pin(rows)
}

/// Resolves when the node is about to end its streams.
pub(crate) async fn ended(closed: &mut watch::Receiver<bool>) {
    if closed.wait_for(|closed| *closed).await.is_err() {
        // The server itself is gone, and this stream with it.
        std::future::pending::<()>().await;
    }
}

/// What open streams are told at the node's end.
pub(super) fn leaving() -> Refusal {
    Refusal::unavailable(
        "this node stops following the saga: it shuts down, or the saga moved; ask again",
    )
}

impl Following {
    /// The saga after its next change.
    async fn next(&mut self) -> Result<SagaView, Status> {
        self.changed().await?;
        self.orchestrator
            .saga(&self.namespace, self.id)
            .await
            .map_err(|refusal| status_of(&refusal))
    }

    /// Resolves after a change that was not seen yet. Changes that came while nobody looked count as one.
    async fn changed(&mut self) -> Result<(), Status> {
        tokio::select! {
            changed = self.changes.changed() => changed.map_err(|_| status_of(&leaving())),
            () = ended(&mut self.closed) => Err(status_of(&leaving())),
        }
    }
}

/// A history that is followed.
struct Tail {
    following: Following,
    from: u64,
    ready: VecDeque<v1::FollowSagaHistoryResponse>,
    /// The last read found the saga ended: a read that finds nothing more is the last.
    ended: bool,
}

impl Tail {
    /// Reads the next rows; says whether reading again at once may find more.
    async fn read(&mut self) -> Result<bool, Status> {
        let following = &self.following;
        let page = following
            .orchestrator
            .history(&following.namespace, following.id, self.from, FOLLOW_ROWS)
            .await;
        let page = page.map_err(|refusal| status_of(&refusal))?;
        // The row of the saga and those of its journal may be read one after the other: so rows are looked for once more
        // after the end was seen.
        let seen_before = std::mem::replace(&mut self.ended, page.record.state.is_terminal());
        for (row, bodies) in page.rows.iter().zip(&page.bodies) {
            self.from = row.position.saturating_add(1);
            let entries = history_convert::entries(row, bodies, &page.step_ids);
            self.ready
                .push_back(v1::FollowSagaHistoryResponse { entries });
        }
        Ok(!self.ready.is_empty() || (self.ended && !seen_before))
    }
}
