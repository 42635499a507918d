//! The node's lease: claimed before anything else, renewed every third of its length. It matters for liveness alone: what
//! keeps two owners apart is the journal's fence.

use std::sync::Arc;
use std::time::Duration;

use amends_core::ShardId;
use amends_store::{Error, NodeLease, Store};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::node::Node;
use crate::status::Failure;
use crate::telemetry;

/// Waits until this node holds every shard. A node that got some while another got the rest gives them back, so that
/// one of the two gets all.
pub(crate) async fn claim_all(
    store: &dyn Store,
    node: &NodeLease,
    shards: &[ShardId],
) -> Result<(), Error> {
    let mut told = false;
    loop {
        let claimed = store.claim(node, shards).await?;
        if claimed.len() == shards.len() {
            return Ok(());
        }
        if !std::mem::replace(&mut told, true) {
            telemetry::waiting_for_shards(shards.len(), claimed.len());
        }
        store.release(node).await?;
        let spread = amends_core::key::fraction(uuid::Uuid::new_v4().as_bytes());
        tokio::time::sleep(node.lease.mul_f64(0.1 + spread / 10.0)).await;
    }
}

/// Renews the lease until the node stops. `renewed_at` is when it was last renewed.
pub(crate) async fn keep(node: Arc<Node>, renewed_at: Instant) {
    let lease = node.lease.lease;
    let mut renewed_at = renewed_at;
    node.registry.leave_until(renewed_at + dispatch_time(lease));
    let mut next = renewed_at + lease / 3;
    let mut backoff = Backoff::new();
    loop {
        if node
            .stop
            .run_until_cancelled(tokio::time::sleep_until(next))
            .await
            .is_none()
        {
            return;
        }
        let asked = Instant::now();
        let Some(answer) = node
            .stop
            .run_until_cancelled(renew(&node, renewed_at + dispatch_time(lease)))
            .await
        else {
            return;
        };
        match answer {
            Ok(time) => {
                node.clock.sample(time);
                renewed_at = asked;
                next = asked + lease / 3;
                backoff = Backoff::new();
                node.registry.leave_until(renewed_at + dispatch_time(lease));
                set_late(&node, false);
            }
            Err(Error::LeaseLost { node: name }) => {
                set_late(&node, true);
                node.status.fail(Failure::LeaseLost(name));
                return;
            }
            Err(error) => {
                telemetry::store_failed("renew the lease", &error);
                if renewed_at.elapsed() >= dispatch_time(lease) {
                    set_late(&node, true);
                }
                if node
                    .stop
                    .run_until_cancelled(backoff.wait())
                    .await
                    .is_none()
                {
                    return;
                }
                next = Instant::now();
            }
        }
    }
}

/// How long after a renewal commands may still leave: the lease without a margin for clocks that run apart.
fn dispatch_time(lease: Duration) -> Duration {
    lease - lease / 5
}

/// Renews once. A renewal is never cut short; if it has not answered by the deadline, commands stop leaving meanwhile.
async fn renew(node: &Node, deadline: Instant) -> Result<amends_core::Time, Error> {
    let renewal = node.store.renew(&node.lease, node.clock.now());
    tokio::pin!(renewal);
    tokio::select! {
        biased;
        answer = &mut renewal => return answer,
        () = tokio::time::sleep_until(deadline) => set_late(node, true),
    }
    renewal.await
}

fn set_late(node: &Node, late: bool) {
    if node.status.lease_late(late) {
        if late {
            telemetry::lease_late();
        } else {
            telemetry::lease_renewed_again();
        }
        node.registry.pause(late);
    }
}
