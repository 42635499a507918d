//! Starting the orders at a steady pace. A start that meets a dead server is repeated until it is answered: the key makes
//! that safe.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amends_proto::v1::StartSagaRequest;
use tokio::task::{JoinHandle, JoinSet};
use tonic::{Code, Status};

use super::story::{DEFINITION_NAME, Order};
use crate::connection::{Connection, is_away};
use crate::failure::Failure;

/// How soon a start is repeated.
const AGAIN_AFTER: Duration = Duration::from_millis(150);

/// An order whose start was acknowledged.
#[derive(Clone, Debug)]
pub struct Started {
    /// The order's id, which is the saga's key.
    pub order: String,
    /// The saga's resource name.
    pub saga: String,
}

/// The starts under way.
#[derive(Debug)]
pub struct Starts {
    counts: Arc<Counts>,
    total: u64,
    task: JoinHandle<Vec<Started>>,
}

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    acknowledged: AtomicU64,
    refused: Mutex<Option<Status>>,
}

impl Starts {
    /// Begins; so much time passes between two starts.
    #[must_use]
    pub fn begin(connection: &Connection, orders: Vec<Order>, pace: Duration) -> Self {
        let counts = Arc::new(Counts::default());
        let total = orders.len() as u64;
        let task = tokio::spawn(start_all(
            connection.clone(),
            orders,
            pace,
            Arc::clone(&counts),
        ));
        Self {
            counts,
            total,
            task,
        }
    }

    /// How many orders there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many starts were sent.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.counts.begun.load(Ordering::Relaxed)
    }

    /// How many starts were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.counts.acknowledged.load(Ordering::Relaxed)
    }

    /// Why a start was refused, if one was: the demo's orders are all sound.
    #[must_use]
    pub fn refused(&self) -> Option<Failure> {
        let refused = self.counts.refused.lock().ok()?;
        refused
            .as_ref()
            .map(|status| Failure::refused("an order was not started", status))
    }

    /// Waits for the last and returns all that were acknowledged.
    ///
    /// # Errors
    /// If the task that starts them is broken.
    pub async fn finish(self) -> Result<Vec<Started>, Failure> {
        self.task
            .await
            .map_err(|error| Failure::wrong("the orders were not all started").because(error))
    }
}

async fn start_all(
    connection: Connection,
    orders: Vec<Order>,
    pace: Duration,
    counts: Arc<Counts>,
) -> Vec<Started> {
    let mut tick = tokio::time::interval(pace.max(Duration::from_micros(1)));
    let mut under_way = JoinSet::new();
    for order in orders {
        tick.tick().await;
        counts.begun.fetch_add(1, Ordering::Relaxed);
        under_way.spawn(start(connection.clone(), order, Arc::clone(&counts)));
    }
    let mut started: Vec<Started> = under_way.join_all().await.into_iter().flatten().collect();
    started.sort_by(|a, b| a.order.cmp(&b.order));
    started
}

async fn start(connection: Connection, order: Order, counts: Arc<Counts>) -> Option<Started> {
    let Ok(input) = serde_json::to_vec(&order) else {
        return None;
    };
    let request = StartSagaRequest {
        parent: connection.parent(),
        definition: connection.definition_name(DEFINITION_NAME),
        revision: None,
        key: Some(order.order_id.clone()),
        input: input.into(),
        wait: None,
    };
    loop {
        match connection.sagas().start_saga(request.clone()).await {
            Ok(answer) => {
                counts.acknowledged.fetch_add(1, Ordering::Relaxed);
                return Some(Started {
                    order: order.order_id,
                    saga: answer.into_inner().name,
                });
            }
            Err(status) if is_away(&status) || status.code() == Code::ResourceExhausted => {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            Err(status) => {
                if let Ok(mut refused) = counts.refused.lock() {
                    refused.get_or_insert(status);
                }
                return None;
            }
        }
    }
}
