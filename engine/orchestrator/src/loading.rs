//! Histories from the store, in the form in which shards take them: whole pages after a takeover, single sagas on demand.

use std::sync::Arc;

use amends_core::shard::{History, LoadedSaga};
use amends_core::{SagaId, ShardId, Time};
use amends_store::{Error, SagaHistory, Store};
use tokio::sync::oneshot;

use crate::backoff::Backoff;
use crate::lane::Message;
use crate::limits::{HISTORY_PAGE_ROWS, RECOVERY_PAGE_SAGAS};
use crate::node::Node;
use crate::telemetry;

/// Reads a saga that a shard asked for, and answers it.
pub(crate) fn load(node: &Arc<Node>, saga: SagaId) {
    let task = node.clone();
    node.tasks.spawn(async move {
        // Closed by nobody: an error cannot happen, and would only lift the bound.
        let _room = task.loads.acquire().await;
        let loaded = match find(&task, saga).await {
            Ok(Some(history)) => LoadedSaga::Found(history),
            Ok(None) => LoadedSaga::Absent,
            Err(error) => {
                telemetry::store_failed("load a saga", &error);
                LoadedSaga::Unavailable
            }
        };
        task.lanes
            .send(saga.shard(), Message::Loaded { saga, loaded });
    });
}

/// Brings the active sagas of a lane's shards back, page by page; a page is read when the one before is in memory.
pub(crate) async fn recover(node: Arc<Node>, shards: Vec<ShardId>) {
    for shard in shards {
        let mut after = None;
        loop {
            let Some(page) = node
                .stop
                .run_until_cancelled(page(&node, shard, after))
                .await
            else {
                return;
            };
            let last = page.last().map(|history| history.saga);
            let full = page.len() >= RECOVERY_PAGE_SAGAS;
            let (more, taken) = oneshot::channel();
            node.lanes.send(
                shard,
                Message::Recovered {
                    shard,
                    histories: page,
                    more: full.then_some(more),
                },
            );
            if !full {
                break;
            }
            if taken.await.is_err() {
                return;
            }
            after = last;
            tokio::task::yield_now().await;
        }
    }
}

/// A whole history; none if there is no such saga.
pub(crate) async fn whole_history(
    store: &dyn Store,
    saga: SagaId,
) -> Result<Option<SagaHistory>, Error> {
    let Some(mut whole) = store.history(saga, 1, HISTORY_PAGE_ROWS).await? else {
        return Ok(None);
    };
    while let Ok(rows) = &mut whole.rows
        && rows.len() % HISTORY_PAGE_ROWS == 0
        && let Some(last) = rows.last()
    {
        let Some(next) = store
            .history(saga, last.position + 1, HISTORY_PAGE_ROWS)
            .await?
        else {
            break;
        };
        whole.saga = next.saga;
        match next.rows {
            Ok(more) if more.is_empty() => break,
            Ok(more) => rows.extend(more),
            Err(error) => whole.rows = Err(error),
        }
    }
    Ok(Some(whole))
}

/// A page of active sagas, asked for until the store answers.
async fn page(node: &Node, shard: ShardId, after: Option<SagaId>) -> Vec<History> {
    let mut backoff = Backoff::new();
    loop {
        match try_page(node, shard, after).await {
            Ok(page) => return page,
            Err(error) => telemetry::store_failed("bring sagas back", &error),
        }
        backoff.wait().await;
    }
}

async fn try_page(
    node: &Node,
    shard: ShardId,
    after: Option<SagaId>,
) -> Result<Vec<History>, Error> {
    // Every saga that is not over is awake: sleeping ones leave memory when timers of the language are served.
    let awake_before = Time::INFINITY;
    let histories = node
        .store
        .load_active(shard, after, awake_before, RECOVERY_PAGE_SAGAS)
        .await?;
    let mut page = Vec::with_capacity(histories.len());
    for history in histories {
        page.push(for_shard(node, history).await?);
    }
    Ok(page)
}

async fn find(node: &Node, saga: SagaId) -> Result<Option<History>, Error> {
    match whole_history(&*node.store, saga).await? {
        Some(history) => Ok(Some(for_shard(node, history).await?)),
        None => Ok(None),
    }
}

async fn for_shard(node: &Node, history: SagaHistory) -> Result<History, Error> {
    let SagaHistory { saga, rows } = history;
    Ok(History {
        saga: saga.id,
        state: saga.state,
        definition: node.definitions.pinned(&*node.store, saga.hash).await?,
        rows: rows.map_err(|error| error.to_string()),
    })
}
