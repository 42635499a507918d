//! The graceful end of a node.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::lane::Message;
use crate::node::Node;
use crate::status::Failure;
use crate::telemetry;

/// The part of the grace that is kept for writing what has arrived, when participants use up the rest.
const FLUSH_SHARE: u32 = 4;

/// Stops admission, says goodbye, waits for what is in flight (`grace` at most), gives up the lease, stops.
pub(crate) async fn drain(node: &Arc<Node>, grace: Duration) {
    let until = Instant::now() + grace;
    telemetry::draining();
    node.status.draining();
    node.registry.goodbye("the node is draining");
    // Whether they come in time shows in what is left.
    let _ = tokio::time::timeout_at(until - grace / FLUSH_SHARE, node.registry.idle()).await;
    let _ = tokio::time::timeout_at(until, flush(node)).await;
    let unanswered = node.registry.in_flight();
    node.registry.hang_up();
    node.stop.cancel();
    node.status.fail(Failure::Stopped);
    node.tasks.close();
    node.tasks.wait().await;
    // Only after the lanes have stopped: nobody may take the shards over while a batch is on its way.
    if let Err(error) = node.store.release(&node.lease).await {
        telemetry::store_failed("release the lease", &error);
    }
    telemetry::drained(unanswered);
}

async fn flush(node: &Node) {
    for lane in 0..node.lanes.count() {
        let (reply, flushed) = oneshot::channel();
        node.lanes.send_to(lane, Message::Flush(reply));
        // A lane that is gone has nothing to write.
        let _ = flushed.await;
    }
}
