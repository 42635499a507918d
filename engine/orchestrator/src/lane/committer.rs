//! A committer of a lane: one connection, one batch at a time, and a definite answer for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use amends_core::ShardId;
use amends_store::{AppendError, Batch, Lane, Takeover};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Message;
use crate::backoff::Backoff;
use crate::node::Node;
use crate::telemetry;

/// What became of a batch: always definite.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// All of it is durable.
    Committed,
    /// None of it was written: a business key was taken.
    KeyTaken,
    /// None of it was written: the store refuses the data.
    Data(String),
    /// None of it was written: these shards have another owner.
    Taken(Vec<ShardId>),
    /// The connection was lost, and this is what was found out.
    Resolved(Vec<(ShardId, Resolution)>),
}

/// What became of a shard's part of a lost batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// It is durable.
    Committed,
    /// It was not written and never will be: a takeover record stands in its place, at this position.
    Retaken(u64),
    /// Another node owns the shard.
    Lost,
}

/// Owns one of a lane's connections.
pub(crate) struct Committer {
    pub(crate) lane: usize,
    /// Which of the lane's.
    pub(crate) way: usize,
    pub(crate) node: Arc<Node>,
    pub(crate) connection: Box<dyn Lane>,
    pub(crate) batches: mpsc::UnboundedReceiver<Batch>,
}

impl Committer {
    /// Until the node stops.
    pub(crate) async fn run(mut self) {
        let (way, stop) = (self.way, self.node.stop.clone());
        while let Some(Some(batch)) = stop.run_until_cancelled(self.batches.recv()).await {
            // An append is dropped with the node: its outcome is for the successor to find out.
            let Some(verdict) = stop.run_until_cancelled(self.write(&batch)).await else {
                return;
            };
            self.node.expiries.note(&batch);
            self.node
                .lanes
                .send_to(self.lane, Message::Written { way, verdict });
        }
    }

    async fn write(&mut self, batch: &Batch) -> Verdict {
        let mut backoff = Backoff::new();
        let mut down = false;
        let verdict = loop {
            match self.connection.append(batch).await {
                Ok(()) => break Verdict::Committed,
                Err(AppendError::KeyTaken) => break Verdict::KeyTaken,
                Err(AppendError::PositionTaken(shards)) => {
                    break Verdict::Taken(self.taken(batch, shards).await);
                }
                Err(error @ AppendError::Data { .. }) => {
                    break Verdict::Data(telemetry::chain(&error));
                }
                Err(AppendError::Again { .. }) => {}
                Err(error @ AppendError::Unavailable { .. }) => self.down(&mut down, &error),
                Err(error @ AppendError::Unknown { .. }) => {
                    telemetry::batch_unknown(self.lane, &error);
                    self.down(&mut down, &error);
                    break Verdict::Resolved(self.resolve(batch).await);
                }
            }
            backoff.wait().await;
        };
        if down {
            telemetry::store_back(self.lane);
            self.node.status.lane_down(self.number(), false);
        }
        verdict
    }

    /// Its number among all committers of the node.
    fn number(&self) -> usize {
        self.way * self.node.lanes.count() + self.lane
    }

    fn down(&self, down: &mut bool, error: &AppendError) {
        if !std::mem::replace(down, true) {
            telemetry::store_down(self.lane, error);
            self.node.status.lane_down(self.number(), true);
        }
    }

    /// Which shards were taken; a store that does not name them is asked for their tails.
    async fn taken(&mut self, batch: &Batch, named: Vec<ShardId>) -> Vec<ShardId> {
        if !named.is_empty() {
            return named;
        }
        let shards: Vec<ShardId> = batch.shards.iter().map(|shard| shard.shard).collect();
        let mut backoff = Backoff::new();
        loop {
            match self.connection.tails(&shards).await {
                Ok(tails) => {
                    let expected = batch.shards.iter().map(|shard| first_position(shard) - 1);
                    let mine = tails
                        .into_iter()
                        .zip(expected)
                        .map(|(tail, expected)| tail == expected);
                    return shards
                        .into_iter()
                        .zip(mine)
                        .filter(|(_, mine)| !mine)
                        .map(|(shard, _)| shard)
                        .collect();
                }
                Err(error) => telemetry::store_failed("read tails", &error),
            }
            backoff.wait().await;
        }
    }

    /// Nobody knows whether the batch was written. Takeover records at its first positions decide it: where they go in,
    /// the batch can never land; where they do not, the row that stands there tells whose it is.
    async fn resolve(&mut self, batch: &Batch) -> Vec<(ShardId, Resolution)> {
        let id = Uuid::new_v4();
        let record = |shard: &amends_core::journal::ShardBatch| {
            let position = first_position(shard);
            let (node, at) = (self.node.lease.name.clone(), self.node.clock.now());
            (
                shard.shard,
                (
                    shard.epoch,
                    Takeover {
                        shard: shard.shard,
                        position,
                        batch: id,
                        node,
                        at,
                    },
                ),
            )
        };
        let mut open: BTreeMap<ShardId, (u64, Takeover)> =
            batch.shards.iter().map(record).collect();
        let mut resolved = Vec::with_capacity(open.len());
        let mut backoff = Backoff::new();
        while !open.is_empty() {
            let records: Vec<Takeover> = open.values().map(|(_, record)| record.clone()).collect();
            match self.connection.take_over(&records).await {
                Ok(()) => {
                    resolved.extend(
                        records
                            .iter()
                            .map(|record| (record.shard, Resolution::Retaken(record.position))),
                    );
                    break;
                }
                Err(AppendError::PositionTaken(named)) => {
                    let named = if named.is_empty() {
                        open.keys().copied().collect()
                    } else {
                        named
                    };
                    for shard in named {
                        let Some((epoch, record)) = open.get(&shard) else {
                            continue;
                        };
                        if let Some(resolution) = self.who_wrote(batch.id, *epoch, record).await {
                            resolved.push((shard, resolution));
                            open.remove(&shard);
                        }
                    }
                }
                Err(error) => telemetry::batch_unknown(self.lane, &error),
            }
            if !open.is_empty() {
                backoff.wait().await;
            }
        }
        resolved
    }

    /// Whose row stands where the lost batch would begin; none if that cannot be said yet.
    async fn who_wrote(
        &mut self,
        batch: Uuid,
        epoch: u64,
        record: &Takeover,
    ) -> Option<Resolution> {
        match self.connection.author(record.shard, record.position).await {
            Ok(Some(author)) if author.batch == batch && author.epoch == epoch => {
                Some(Resolution::Committed)
            }
            // An earlier try to resolve, whose own answer was lost.
            Ok(Some(author)) if author.batch == record.batch => {
                Some(Resolution::Retaken(record.position))
            }
            Ok(Some(_)) => Some(Resolution::Lost),
            Ok(None) => None,
            Err(error) => {
                telemetry::store_failed("read who wrote a row", &error);
                None
            }
        }
    }
}

fn first_position(batch: &amends_core::journal::ShardBatch) -> u64 {
    batch.rows.first().map_or(1, |row| row.position)
}
