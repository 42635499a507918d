//! The barrier: settles duplicates, compensations without an action, and late actions, in the participant's own
//! database.
//!
//! Commands are delivered at least once, and an outcome may get lost after its effect. So a participant sees an
//! action twice, a compensation whose action never arrived, and an action after its compensation. The barrier keeps
//! one row for each operation in the table `amends_barrier`, keyed by the operation's key and written in the *same
//! transaction* as the effect:
//!
//! - A duplicate is answered with the recorded outcome, byte for byte; a concurrent one waits for the first.
//! - A compensation without an effect to undo does not call the handler. It leaves a tombstone under the action's key
//!   and reports *nothing to undo*.
//! - An action behind its compensation is refused as *superseded*.
//! - *Rejected* takes the business effect back and records the rejection: it is final for the action. *Fatal* is
//!   recorded for the attempt and those before it, and so are both for a compensation: a later attempt, which an
//!   operator asked for, runs again.
//! - *Failed* records nothing.
//!
//! What it cannot do: take back an effect outside of the transaction. For those there is the second mode,
//! [`Barrier::intent`] and [`Barrier::intent_compensation`]: the intent is recorded and committed first, then the
//! effect is performed, and from then on the compensation always runs.
//!
//! ```no_run
//! # #[cfg(feature = "sqlite")]
//! # mod example {
//! use amends_sdk::barrier::{Barrier, Tx};
//! use amends_sdk::{Context, Fail, Participant};
//! use sqlx::Sqlite;
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     order_id: String,
//! }
//!
//! async fn reserve(_: Context, mut tx: Tx<Sqlite>, order: Order) -> Result<(), Fail> {
//!     let insert = sqlx::query("INSERT INTO reservations VALUES ($1)").bind(order.order_id);
//!     insert.execute(&mut *tx).await?; // commits together with the barrier's row
//!     Ok(())
//! }
//!
//! async fn release(_: Context, mut tx: Tx<Sqlite>, order: Order) -> Result<(), Fail> {
//!     let delete = sqlx::query("DELETE FROM reservations WHERE order_id = $1").bind(order.order_id);
//!     delete.execute(&mut *tx).await?; // runs only if there is a reservation to undo
//!     Ok(())
//! }
//!
//! async fn run(books: sqlx::SqlitePool) -> Result<(), Box<dyn std::error::Error>> {
//!     let barrier = Barrier::new(books);
//!     barrier.migrate().await?;
//!     let inventory = Participant::new("inventory")
//!         .serve("reserve", barrier.action(reserve))
//!         .serve("release", barrier.compensation(release));
//!     inventory.run("http://127.0.0.1:7707").await?;
//!     Ok(())
//! }
//! # }
//! ```

mod flow;
mod intent;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{Database, Pool, Transaction};
use tokio::sync::{Mutex, oneshot};

pub use crate::barrier::store::BarrierDatabase;

use crate::action::Action;
use crate::context::Context;
use crate::fail::Fail;

/// A barrier over the participant's own database. Cheap to clone.
///
/// Its table is part of that database: call [`Barrier::migrate`] once at the start.
#[derive(Debug)]
pub struct Barrier<DB: BarrierDatabase> {
    pool: Pool<DB>,
    /// Held while writing, for a database that has one writer anyway: a fair queue beats its busy loop.
    gate: Option<Arc<Mutex<()>>>,
}

impl<DB: BarrierDatabase> Clone for Barrier<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            gate: self.gate.clone(),
        }
    }
}

/// The participant's own transaction, lent to a handler. What is written through it commits together with the barrier's
/// row, or not at all. It derefs to the connection: `sqlx::query(…).execute(&mut *tx)`.
///
/// It goes back when it is dropped, so a handler must not keep it beyond its own end, nor commit by hand.
#[derive(Debug)]
pub struct Tx<DB: Database> {
    transaction: Option<Transaction<'static, DB>>,
    home: Option<oneshot::Sender<Transaction<'static, DB>>>,
}

impl<DB: BarrierDatabase> Barrier<DB> {
    /// A barrier in the database behind this pool.
    #[must_use]
    pub fn new(pool: Pool<DB>) -> Self {
        let gate = DB::ONE_WRITER.then(|| Arc::new(Mutex::new(())));
        Self { pool, gate }
    }

    /// The pool that it was made with.
    #[must_use]
    pub fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// Makes the table `amends_barrier` if it is not there. Safe to call from several processes at once.
    ///
    /// # Errors
    /// Where the database refuses.
    pub async fn migrate(&self) -> Result<(), sqlx::Error> {
        let _turn = self.turn().await;
        DB::migrate(&self.pool).await
    }

    /// Deletes rows older than this, and returns how many. Keep them for longer than any command may be under way and
    /// any saga may take: an operation whose row is gone runs again when it is delivered again.
    ///
    /// # Errors
    /// Where the database refuses.
    pub async fn prune(&self, older_than: Duration) -> Result<u64, sqlx::Error> {
        let before = SystemTime::now()
            .checked_sub(older_than)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let _turn = self.turn().await;
        DB::prune(&self.pool, store::unix_us(before)).await
    }

    /// An action behind the barrier. The handler's effect and the barrier's row commit together.
    #[must_use]
    pub fn action<F, R, I, O>(&self, handler: F) -> Action
    where
        F: Fn(Context, Tx<DB>, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Fail>> + Send + 'static,
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
    {
        let (barrier, handler) = (self.clone(), Arc::new(handler));
        Action::erased(true, move |context, input| {
            let (barrier, handler) = (barrier.clone(), handler.clone());
            async move { flow::forward(&barrier, &*handler, context, &input).await }
        })
    }

    /// A compensation behind the barrier. The handler runs only if its action had an effect that is still there.
    #[must_use]
    pub fn compensation<F, R, I, O>(&self, handler: F) -> Action
    where
        F: Fn(Context, Tx<DB>, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Fail>> + Send + 'static,
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
    {
        let (barrier, handler) = (self.clone(), Arc::new(handler));
        Action::erased(true, move |context, input| {
            let (barrier, handler) = (barrier.clone(), handler.clone());
            async move { flow::compensate(&barrier, &*handler, context, &input).await }
        })
    }

    /// An action whose effect is outside of the database, such as a call to a carrier. The intent is committed before
    /// the handler runs; duplicates of a success are answered from the record; but a handler whose outcome got lost
    /// runs again, so hand [`Context::operation_key`] on as the idempotency key. It is offered to the server as an
    /// action without a barrier, because that cannot know what happened outside.
    #[must_use]
    pub fn intent<F, R, I, O>(&self, handler: F) -> Action
    where
        F: Fn(Context, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Fail>> + Send + 'static,
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
    {
        let (barrier, handler) = (self.clone(), Arc::new(handler));
        Action::erased(false, move |context, input| {
            let (barrier, handler) = (barrier.clone(), handler.clone());
            async move { intent::forward(&barrier, &*handler, context, &input).await }
        })
    }

    /// The compensation of an [`Barrier::intent`] action: it runs whenever the intent was recorded, whatever came of
    /// it.
    #[must_use]
    pub fn intent_compensation<F, R, I, O>(&self, handler: F) -> Action
    where
        F: Fn(Context, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Fail>> + Send + 'static,
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
    {
        let (barrier, handler) = (self.clone(), Arc::new(handler));
        Action::erased(false, move |context, input| {
            let (barrier, handler) = (barrier.clone(), handler.clone());
            async move { intent::compensate(&barrier, &*handler, context, &input).await }
        })
    }

    /// Waits for this process's turn to write, where the database has one writer.
    async fn turn(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        match &self.gate {
            Some(gate) => Some(gate.clone().lock_owned().await),
            None => None,
        }
    }
}

impl<DB: Database> Tx<DB> {
    /// Lends a transaction; it comes back through the receiver when the handler drops it.
    fn lend(
        transaction: Transaction<'static, DB>,
    ) -> (Self, oneshot::Receiver<Transaction<'static, DB>>) {
        let (home, back) = oneshot::channel();
        let lent = Self {
            transaction: Some(transaction),
            home: Some(home),
        };
        (lent, back)
    }
}

impl<DB: Database> Deref for Tx<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.transaction.as_ref().expect("only drop takes it out")
    }
}

impl<DB: Database> DerefMut for Tx<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.transaction.as_mut().expect("only drop takes it out")
    }
}

impl<DB: Database> Drop for Tx<DB> {
    fn drop(&mut self) {
        if let (Some(transaction), Some(home)) = (self.transaction.take(), self.home.take()) {
            // Nobody waits for it where the attempt was dropped: then it rolls back.
            let _ = home.send(transaction);
        }
    }
}
