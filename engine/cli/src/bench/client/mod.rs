//! The process that starts sagas and waits for their ends, as fast as a closed loop lets it, or at a rate. Deliberately
//! not here: how a saga is started (`unary`, `streamed`), and what else is measured meanwhile.

mod streamed;
mod unary;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::companion::{read_plan, tell, told_to_go};
use super::plan::{ClientPlan, Measured, Pace, Said};
use crate::arguments::Global;
use crate::arguments::bench::Starts;
use crate::children::stdin_closed;
use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;

/// Runs a client, until it is done or its parent is gone.
///
/// # Errors
/// If nobody listens to it.
pub async fn run(global: &Global, plan: &str) -> Result<Exit, Failure> {
    let plan: ClientPlan = read_plan(plan)?;
    if let Err(failure) = measured(global, &plan).await {
        tell(&Said::Failed(failure.render()))?;
        return Ok(Exit::Wrong);
    }
    Ok(Exit::Ok)
}

async fn measured(global: &Global, plan: &ClientPlan) -> Result<(), Failure> {
    let client = Client::open(global, plan).await?;
    // It waits for the participant to attach.
    client.warm(plan).await?;
    tell(&Said::Ready)?;
    if !told_to_go().await {
        return Ok(());
    }
    tokio::select! {
        () = stdin_closed() => Ok(()),
        measured = client.load(plan.sagas, plan.length) => tell(&Said::Measured(measured?)),
    }
}

/// One way or the other.
enum Starter {
    Unary(unary::Starter),
    Streamed(streamed::Starter),
}

/// Starts sagas.
struct Client {
    starter: Starter,
    pace: Pace,
}

impl Client {
    async fn open(global: &Global, plan: &ClientPlan) -> Result<Self, Failure> {
        let connection = Connection::open(&global.server, &global.namespace).await?;
        let request = super::apply_request(&connection, &plan.workload);
        let applied = connection.definitions().apply_definition(request).await;
        applied.map_err(|status| {
            Failure::refused("the benchmark's definition was not applied", &status)
        })?;
        let starter = match plan.starts {
            Starts::Unary => {
                Starter::Unary(unary::Starter::open(global, &plan.workload, plan.pace).await?)
            }
            Starts::Streamed => {
                Starter::Streamed(streamed::Starter::open(global, &plan.workload).await?)
            }
        };
        Ok(Self {
            starter,
            pace: plan.pace,
        })
    }

    async fn warm(&self, plan: &ClientPlan) -> Result<(), Failure> {
        let first = self.load(Some(1), Duration::MAX).await?;
        let error = match first.first_error {
            None => self.load(plan.sagas, plan.warm_up).await?.first_error,
            error => error,
        };
        match error {
            None => Ok(()),
            Some(error) => {
                Err(Failure::wrong("a saga of the warm-up did not end as it had to").because(error))
            }
        }
    }

    async fn load(&self, sagas: Option<u64>, length: Duration) -> Result<Measured, Failure> {
        let budget = Budget::new(sagas, length);
        match &self.starter {
            Starter::Unary(starter) => Ok(starter.load(self.pace, budget).await),
            Starter::Streamed(starter) => starter.load(self.pace, budget).await,
        }
    }
}

/// How many sagas may still be started, and until when.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicU64>,
    /// When it began.
    pub began: Instant,
    deadline: Option<Instant>,
}

impl Budget {
    /// From now on.
    #[must_use]
    pub fn new(sagas: Option<u64>, length: Duration) -> Self {
        let began = Instant::now();
        Self {
            left: Arc::new(AtomicU64::new(sagas.unwrap_or(u64::MAX))),
            began,
            deadline: began.checked_add(length),
        }
    }

    /// Takes one, if there is one left and time for it.
    #[must_use]
    pub fn take(&self) -> bool {
        self.deadline
            .is_none_or(|deadline| Instant::now() < deadline)
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
    }
}

/// When each saga of an open loop is to start, whatever became of those before it.
#[must_use]
pub fn due(began: Instant, per_second: u32, number: u64) -> Instant {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(per_second.max(1));
    began + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_with_its_sagas_or_its_time() {
        let of_two = Budget::new(Some(2), Duration::MAX);
        assert_eq!([(); 3].map(|()| of_two.take()), [true, true, false]);
        assert!(!Budget::new(None, Duration::ZERO).take());
        assert!(Budget::new(None, Duration::from_secs(60)).take());
    }

    #[test]
    fn an_open_loop_keeps_its_pace() {
        let began = Instant::now();
        assert_eq!(due(began, 1_000, 0), began);
        assert_eq!(
            due(began, 1_000, 1_500),
            began + Duration::from_millis(1_500)
        );
        assert_eq!(
            due(began, 3, 30_000_000_000)
                .duration_since(began)
                .as_secs(),
            10_000_000_000
        );
    }
}
