//! Customers: so many at once, each places an order, waits for its end, and places the next. They are patient: a start that was
//! not answered is repeated until it is, which its key makes safe.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amends_example_order_fulfilment::{Order, generate_orders};
use amends_sdk::{Client, ClientError, StartOptions};
use tokio::task::JoinSet;
use tonic::Code;

use crate::company::Company;

/// More orders than a run can place: stock and accounts are sized for them.
pub const ORDERS_MAX: usize = 60_000;

/// An order whose start was acknowledged.
#[derive(Debug, Clone)]
pub struct Placed {
    pub order: Order,
    pub saga: String,
}

pub struct Customers {
    shop: Arc<Shop>,
    tasks: JoinSet<()>,
    in_flight: usize,
}

struct Shop {
    client: Client,
    orders: Vec<Order>,
    next: AtomicUsize,
    placed: Mutex<Vec<Placed>>,
    closed: AtomicBool,
}

impl Customers {
    pub async fn arrive(company: &Company<'_>, seed: u64, in_flight: usize) -> Self {
        let shop = Arc::new(Shop {
            client: company.client.clone(),
            orders: orders(seed),
            next: AtomicUsize::new(0),
            placed: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..in_flight {
            tasks.spawn(shop.clone().serve_one_customer());
        }
        Self {
            shop,
            tasks,
            in_flight,
        }
    }

    /// Returns when as many orders were placed as there are customers.
    pub async fn wait_until_busy(&self) {
        while self.shop.placed.lock().unwrap().len() < self.in_flight {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Nobody places another order; returns all that were placed. What is under way goes on.
    pub async fn leave(mut self) -> Vec<Placed> {
        self.shop.closed.store(true, Ordering::Relaxed);
        while let Some(customer) = self.tasks.join_next().await {
            customer.unwrap();
        }
        let placed = self.shop.placed.lock().unwrap();
        assert!(
            placed.len() < ORDERS_MAX,
            "the shop ran out of orders, and with them of load"
        );
        placed.clone()
    }
}

impl Shop {
    async fn serve_one_customer(self: Arc<Self>) {
        while !self.closed.load(Ordering::Relaxed) {
            let Some(order) = self.orders.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let saga = self.place(order).await;
            let placed = Placed {
                order: order.clone(),
                saga: saga.clone(),
            };
            self.placed.lock().unwrap().push(placed);
            self.wait_for(&saga).await;
        }
    }

    /// Starts the order's saga, again and again until that is acknowledged.
    async fn place(&self, order: &Order) -> String {
        let options = StartOptions::keyed_by_definition();
        loop {
            match self.client.start("place-order", order, &options).await {
                Ok(started) => return started.name,
                Err(error) => pause_unless_refused(&error, &order.order_id).await,
            }
        }
    }

    /// Until the saga is settled, or the shop closes: what is then under way is waited for at the end.
    async fn wait_for(&self, saga: &str) {
        while !self.closed.load(Ordering::Relaxed) {
            match self.client.wait(saga, Duration::from_secs(1)).await {
                Ok(waited) if waited.settled => return,
                Ok(_) => {}
                Err(error) => pause_unless_refused(&error, saga).await,
            }
        }
    }
}

/// A server that is away comes back; a refusal is no accident.
async fn pause_unless_refused(error: &ClientError, about: &str) {
    let refusals = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::FailedPrecondition,
        Code::Unimplemented,
    ];
    let refused = error.code().is_none_or(|code| refusals.contains(&code));
    assert!(!refused, "{about}: {error}");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Sound orders for the most part; some that stock or card will not bear, so that there is something to undo.
fn orders(seed: u64) -> Vec<Order> {
    let mut orders = generate_orders(seed, ORDERS_MAX);
    for (number, order) in orders.iter_mut().enumerate() {
        match number % 10 {
            3 => order.customer = format!("nobody-{number}"),
            7 => order
                .items
                .iter_mut()
                .for_each(|item| item.quantity = i64::from(i32::MAX)),
            _ => {}
        }
    }
    orders
}
