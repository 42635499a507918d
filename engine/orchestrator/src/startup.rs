//! How a node comes to own its shards: lease, tails, takeover records; then lanes, and the active sagas in the background.

use std::collections::BTreeSet;
use std::sync::Arc;

use amends_core::shard::Shard;
use amends_core::{ShardId, Time};
use amends_store::{AppendError, Error as StoreError, Identity, Lane, NodeLease, Store, Takeover};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::definitions::Definitions;
use crate::dispatch::Registry;
use crate::error::Error;
use crate::lane::{Committer, LaneTask, Lanes, Way};
use crate::limits::{ERRANDS_AT_ONCE_MAX, RECOVERY_SHARDS_AT_ONCE, TAKEOVER_TRIES_MAX};
use crate::loading::Loads;
use crate::node::{Node, OpenShards};
use crate::options::Options;
use crate::retention::Expiries;
use crate::status::{Load, Status};
use crate::subscriptions::Subscriptions;
use crate::{lease, loading, retention, telemetry};

/// Starts a node; returns when it has taken over its shards, with the guard that stops it.
pub(crate) async fn start(
    store: Arc<dyn Store>,
    options: Options,
) -> Result<(Arc<Node>, DropGuard), Error> {
    options.check()?;
    let identity = store.identity().await.map_err(Error::Store)?;
    let shards: Vec<ShardId> = (0..identity.shard_count).map(ShardId).collect();
    let node_lease = NodeLease {
        name: options.node.clone(),
        process: Uuid::new_v4(),
        address: options.address.clone(),
        lease: options.lease,
    };
    lease::claim_all(&*store, &node_lease, &shards)
        .await
        .map_err(Error::Store)?;
    let sent_until = store
        .clocks_until(&node_lease)
        .await
        .map_err(Error::Store)?;
    let renewed_at = Instant::now();
    let renewed = store.renew(&node_lease, Time::EPOCH).await;
    let clock = Clock::new(renewed.map_err(Error::Store)?);
    let (lanes, inboxes) = Lanes::new(options.lanes.min(shards.len()), identity.shard_count);
    let outcomes_max = options.queue_max.saturating_mul(lanes.count());
    let (registry, left) = Registry::new(lanes.clone(), identity.incarnation, outcomes_max);
    let (loads, wanted) = Loads::new();
    let parts = Parts {
        lease: node_lease,
        clock,
        lanes,
        registry,
        loads,
    };
    let node = Arc::new(assemble(store, &options, identity, parts));
    // Whoever gives up waiting for the start stops what has begun.
    let guard = node.stop.clone().drop_guard();
    // From here on the lease is kept: a takeover may have to wait for an old backend.
    node.tasks.spawn(lease::keep(node.clone(), renewed_at));
    node.tasks.spawn(
        node.registry
            .clone()
            .expire(left, options.session_lease, node.stop.clone()),
    );
    start_lanes(&node, inboxes, sent_until)
        .await
        .map_err(Error::Store)?;
    loading::serve(&node, wanted);
    node.tasks
        .spawn(retention::sweep(node.clone(), options.retention));
    telemetry::node_started(&node.lease.name, shards.len(), node.lanes.count());
    Ok((node, guard))
}

/// What a node is made of beside its options.
struct Parts {
    lease: NodeLease,
    clock: Clock,
    lanes: Lanes,
    registry: Arc<Registry>,
    loads: Loads,
}

fn assemble(store: Arc<dyn Store>, options: &Options, identity: Identity, parts: Parts) -> Node {
    let Parts {
        lease,
        clock,
        lanes,
        registry,
        loads,
    } = parts;
    let mut namespaces: BTreeSet<Arc<str>> = options
        .namespaces
        .iter()
        .map(|name| name.as_str().into())
        .collect();
    namespaces.insert("default".into());
    Node {
        store,
        incarnation: identity.incarnation,
        lease,
        clock,
        namespaces,
        definitions: Definitions::default(),
        registry,
        subscriptions: Subscriptions::default(),
        status: Status::new(),
        load: Load::new(lanes.count(), options.active_max, options.queue_max),
        lanes,
        open_shards: OpenShards::new(identity.shard_count),
        expiries: Expiries::new(),
        loads,
        recoveries: Semaphore::new(RECOVERY_SHARDS_AT_ONCE),
        errands: Semaphore::new(ERRANDS_AT_ONCE_MAX),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    }
}

async fn start_lanes(
    node: &Arc<Node>,
    inboxes: Vec<mpsc::UnboundedReceiver<crate::lane::Message>>,
    sent_until: Time,
) -> Result<(), StoreError> {
    let mut ready = Vec::new();
    for lane in 0..inboxes.len() {
        let mut connections = Vec::new();
        for _ in 0..(node.store.batches_at_once() / inboxes.len()).max(1) {
            connections.push(node.store.open_lane().await?);
        }
        let taken = take_over(node, &mut *connections[0], node.lanes.shards_of(lane)).await?;
        ready.push((connections, taken));
    }
    for (lane, (inbox, (connections, taken))) in inboxes.into_iter().zip(ready).enumerate() {
        let shards: Vec<ShardId> = taken.iter().map(|(shard, _)| *shard).collect();
        let machines = taken
            .into_iter()
            .map(|(shard, epoch)| {
                let mut machine = Shard::new(shard, node.incarnation, epoch);
                machine.count_as_sent(sent_until);
                machine
            })
            .collect();
        let mut ways = Vec::new();
        for (way, connection) in connections.into_iter().enumerate() {
            let (batches, queue) = mpsc::unbounded_channel();
            let committer = Committer {
                lane,
                way,
                node: node.clone(),
                connection,
                batches: queue,
            };
            node.tasks.spawn(committer.run());
            ways.push(Way::new(batches));
        }
        let task = LaneTask::new(lane, node.clone(), inbox, ways, machines);
        node.tasks.spawn(task.run());
        node.tasks.spawn(loading::recover(node.clone(), shards));
    }
    Ok(())
}

/// Writes a takeover record behind the tail of each shard, and says where: the epochs. A shard whose journal has a gap is
/// left alone.
async fn take_over(
    node: &Node,
    connection: &mut dyn Lane,
    mut shards: Vec<ShardId>,
) -> Result<Vec<(ShardId, u64)>, StoreError> {
    let mut backoff = Backoff::new();
    for _ in 0..TAKEOVER_TRIES_MAX {
        let tails = readable_tails(connection, &mut shards).await?;
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        let batch = Uuid::new_v4();
        let at = node.clock.now();
        let record = |(shard, tail): (&ShardId, &u64)| {
            let (shard, position) = (*shard, tail + 1);
            Takeover {
                shard,
                position,
                batch,
                node: node.lease.name.clone(),
                at,
            }
        };
        let records: Vec<Takeover> = shards.iter().zip(&tails).map(record).collect();
        match connection.take_over(&records).await {
            Ok(()) => {
                return Ok(records
                    .into_iter()
                    .map(|record| (record.shard, record.position))
                    .collect());
            }
            // A former owner was faster, once more; or nobody knows: the tails will tell, and one more record does no harm.
            Err(
                error @ (AppendError::PositionTaken(_)
                | AppendError::Again { .. }
                | AppendError::Unknown { .. }),
            ) => {
                telemetry::store_failed("take over shards", &error);
            }
            Err(error) => {
                return Err(StoreError::Unavailable {
                    what: "take over shards",
                    source: Box::new(error),
                });
            }
        }
        backoff.wait().await;
    }
    Err(StoreError::Corrupt(
        "the journals went on under a takeover, again and again".into(),
    ))
}

/// The tails of those shards whose journals have no gap; the others are taken out.
async fn readable_tails(
    connection: &mut dyn Lane,
    shards: &mut Vec<ShardId>,
) -> Result<Vec<u64>, StoreError> {
    loop {
        match connection.tails(shards).await {
            Ok(tails) => return Ok(tails),
            Err(StoreError::Gap { shard, detail }) if shards.contains(&shard) => {
                telemetry::shard_stopped(shard, &detail);
                shards.retain(|other| *other != shard);
            }
            Err(error) => return Err(error),
        }
    }
}
