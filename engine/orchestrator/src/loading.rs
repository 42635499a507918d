//! Histories from the store, in the form in which shards take them: after a takeover whole pages, and before them who waits
//! for a turn and who sleeps until when; then single sagas, on demand.
//!
//! On demand is twofold. What something arrived for is read at once; what sleeps and whose time has come is read as fast as
//! leaves room for everybody else: a million sagas that wake at one time are neither a million statements nor a burst.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use amends_core::shard::{History, LoadedSaga, TurnRecovered};
use amends_core::{SagaId, ShardId, Time};
use amends_store::{Error, SagaHistory, Store, TurnRecord};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::backoff::Backoff;
use crate::lane::Message;
use crate::limits::{
    HISTORY_PAGE_ROWS, LOADS_AT_ONCE_MAX, LOADS_DUE_PER_SECOND, LOADS_PER_READ,
    RECOVERY_PAGE_SAGAS, RECOVERY_PAGE_SLEEPERS, RECOVERY_SHARDS_AT_ONCE,
};
use crate::node::Node;
use crate::telemetry;

/// What shards asked for and was not read yet.
#[derive(Debug)]
pub(crate) struct Loads {
    urgent: mpsc::UnboundedSender<SagaId>,
    due: mpsc::UnboundedSender<SagaId>,
}

/// The other end of [`Loads`], for [`serve`].
#[derive(Debug)]
pub(crate) struct Wanted {
    urgent: mpsc::UnboundedReceiver<SagaId>,
    due: mpsc::UnboundedReceiver<SagaId>,
}

impl Loads {
    pub(crate) fn new() -> (Self, Wanted) {
        let (urgent, urgent_wanted) = mpsc::unbounded_channel();
        let (due, due_wanted) = mpsc::unbounded_channel();
        let wanted = Wanted {
            urgent: urgent_wanted,
            due: due_wanted,
        };
        (Self { urgent, due }, wanted)
    }

    /// A shard asks for a saga. Shards bound how many they ask for at once. It is urgent if something arrived for it.
    pub(crate) fn ask(&self, saga: SagaId, urgent: bool) {
        let queue = if urgent { &self.urgent } else { &self.due };
        // Nobody reads any more once the node has stopped.
        let _ = queue.send(saga);
    }
}

/// Reads what shards ask for, until the node stops.
pub(crate) fn serve(node: &Arc<Node>, wanted: Wanted) {
    let Wanted { urgent, due } = wanted;
    for (queue, per_second) in [(urgent, None), (due, Some(LOADS_DUE_PER_SECOND))] {
        let task = node.clone();
        node.tasks.spawn(async move {
            let reading = read_in_turn(&task, queue, per_second);
            task.stop.run_until_cancelled(reading).await;
        });
    }
}

/// A few reads at once, each of as many sagas as have gathered, a few at most.
async fn read_in_turn(
    node: &Arc<Node>,
    mut queue: mpsc::UnboundedReceiver<SagaId>,
    per_second: Option<u32>,
) {
    let room = Arc::new(Semaphore::new(LOADS_AT_ONCE_MAX));
    let mut sagas = Vec::with_capacity(LOADS_PER_READ);
    while queue.recv_many(&mut sagas, LOADS_PER_READ).await > 0 {
        let pause = per_second.map(|rate| {
            let count = u32::try_from(sagas.len()).unwrap_or(u32::MAX);
            tokio::time::sleep(Duration::from_secs(1) * count / rate)
        });
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        let (task, sagas) = (node.clone(), std::mem::take(&mut sagas));
        node.tasks.spawn(async move {
            task.stop.run_until_cancelled(load(&task, sagas)).await;
            drop(permit);
        });
        if let Some(pause) = pause {
            pause.await;
        }
    }
}

/// Reads sagas that shards asked for, and answers each.
async fn load(node: &Node, sagas: Vec<SagaId>) {
    let mut found = match find(node, &sagas).await {
        Ok(found) => Some(found),
        Err(error) => {
            telemetry::store_failed("load sagas", &error);
            None
        }
    };
    for saga in sagas {
        let loaded = match &mut found {
            None => LoadedSaga::Unavailable,
            Some(found) => match found.remove(&saga) {
                Some(history) => LoadedSaga::Found(history),
                None => LoadedSaga::Absent,
            },
        };
        node.lanes
            .send(saga.shard(), Message::Loaded { saga, loaded });
    }
}

async fn find(node: &Node, sagas: &[SagaId]) -> Result<BTreeMap<SagaId, History>, Error> {
    let distinct: BTreeSet<SagaId> = sagas.iter().copied().collect();
    let distinct: Vec<SagaId> = distinct.into_iter().collect();
    let mut found = BTreeMap::new();
    let histories = node.store.histories(&distinct).await?;
    for history in histories
        .into_iter()
        .filter(|history| !has_expired(history))
    {
        found.insert(history.saga.id, for_shard(node, history).await?);
    }
    Ok(found)
}

/// Brings the sagas of a lane's shards back, a few shards at once: turns and sleepers, then those that are active, page by
/// page; a shard's page is read when the one before is in memory.
pub(crate) async fn recover(node: Arc<Node>, shards: Vec<ShardId>) {
    let each = stream::iter(shards).map(|shard| recover_shard(&node, shard));
    let mut recovering = each.buffer_unordered(RECOVERY_SHARDS_AT_ONCE);
    while let Some(Some(Some(()))) = node.stop.run_until_cancelled(recovering.next()).await {
        tokio::task::yield_now().await;
    }
}

/// None if the lane has gone.
async fn recover_shard(node: &Node, shard: ShardId) -> Option<()> {
    let turns = persist("read turns", || node.store.turns(shard)).await;
    let turns = turns.into_iter().map(|record| {
        let TurnRecord {
            saga,
            namespace,
            definition,
            turn,
        } = record;
        TurnRecovered {
            saga,
            namespace,
            definition,
            turn,
        }
    });
    let turns = turns.collect();
    node.lanes
        .send(shard, Message::RecoveredTurns { shard, turns });
    let mut after = None;
    loop {
        let limit = RECOVERY_PAGE_SLEEPERS;
        let page = persist("read sleepers", || node.store.sleepers(shard, after, limit)).await;
        after = page.last().map(|(saga, until)| (*until, *saga));
        let full = page.len() >= limit;
        let sleepers = page;
        node.lanes
            .send(shard, Message::RecoveredSleepers { shard, sleepers });
        if !full {
            break;
        }
    }
    recover_active(node, shard).await
}

async fn recover_active(node: &Node, shard: ShardId) -> Option<()> {
    let mut after = None;
    loop {
        // A page that cannot be read gives its place to another shard's while it waits.
        let (place, page) = persist("bring sagas back", || async {
            let place = node.recoveries.acquire().await;
            Ok((place, page(node, shard, after).await?))
        })
        .await;
        after = page.last().map(|history| history.saga);
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
            return Some(());
        }
        taken.await.ok()?;
        drop(place);
    }
}

/// Asks until the store answers.
async fn persist<T, F>(doing: &'static str, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, Error>>,
{
    let mut backoff = Backoff::new();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => telemetry::store_failed(doing, &error),
        }
        backoff.wait().await;
    }
}

/// Retention took the saga between the two looks of a read from the beginning: at its row, and at its history. One that
/// has not ended is never taken, so if its history is not there, that is damage.
pub(crate) fn has_expired(history: &SagaHistory) -> bool {
    history.saga.state.is_terminal() && history.rows.as_ref().is_ok_and(Vec::is_empty)
}

/// A whole history; none if there is no such saga, or none any more.
pub(crate) async fn whole_history(
    store: &dyn Store,
    saga: SagaId,
) -> Result<Option<SagaHistory>, Error> {
    let first = store.history(saga, 1, HISTORY_PAGE_ROWS).await?;
    let Some(mut whole) = first.filter(|history| !has_expired(history)) else {
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
            return Ok(None);
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

/// A page of active sagas. Those that sleep are not among them: their shard asks for them when their time has come.
async fn page(node: &Node, shard: ShardId, after: Option<SagaId>) -> Result<Vec<History>, Error> {
    let histories = node
        .store
        .load_active(shard, after, Time::EPOCH, RECOVERY_PAGE_SAGAS)
        .await?;
    let mut page = Vec::with_capacity(histories.len());
    for history in histories {
        page.push(for_shard(node, history).await?);
    }
    Ok(page)
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
