//! Takes away what nobody needs any more: sagas that ended and whose retention has passed, in bounded batches, one shard
//! after the other. It works a tenth of the time at most, so that it is never what others wait for.

use std::sync::Arc;
use std::time::Duration;

use amends_core::ShardId;
use tokio::time::Instant;
use uuid::Uuid;

use crate::limits::{RETENTION_PAUSE_FACTOR, RETENTION_PAUSE_MIN};
use crate::node::Node;
use crate::options::Retention;
use crate::telemetry;

/// Sweeps all shards again and again, until the node stops.
pub(crate) async fn sweep(node: Arc<Node>, retention: Retention) {
    if retention.interval.is_zero() {
        return;
    }
    let stop = node.stop.clone();
    let sweeping = async {
        loop {
            // Nodes that started at once do not sweep at once.
            tokio::time::sleep(jittered(retention.interval)).await;
            sweep_all(&node, retention.batch).await;
        }
    };
    stop.run_until_cancelled(sweeping).await;
}

async fn sweep_all(node: &Node, batch: usize) {
    let mut gone = 0;
    for shard in (0..node.lanes.shard_count()).map(ShardId) {
        loop {
            let began = Instant::now();
            let count = match node.store.expire(shard, node.clock.now(), batch).await {
                Ok(count) => count,
                Err(error) => {
                    telemetry::store_failed("delete what has expired", &error);
                    break;
                }
            };
            gone += count;
            // Whoever deletes nothing reads next to nothing: only work earns a rest.
            if count > 0 {
                let pause = (began.elapsed() * RETENTION_PAUSE_FACTOR).max(RETENTION_PAUSE_MIN);
                tokio::time::sleep(jittered(pause)).await;
            }
            if count < u64::try_from(batch).unwrap_or(u64::MAX) {
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    if gone > 0 {
        telemetry::expired(gone);
    }
}

/// Three quarters of it to five quarters.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.75 + amends_core::key::fraction(Uuid::new_v4().as_bytes()) / 2.0)
}
