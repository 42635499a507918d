//! A connection that writes, and its turn to. SQLite has one writer at a time: within a process the writers queue for a
//! turn, in order, so that they never wait in SQLite's own sleeping retries; between processes they do.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::sql;

/// A writing connection, opened when it is first needed, and again after a failure.
pub(crate) struct Writer {
    options: SqliteConnectOptions,
    turns: Arc<Mutex<()>>,
    connection: Option<SqliteConnection>,
}

impl Writer {
    pub(crate) fn new(options: SqliteConnectOptions, turns: Arc<Mutex<()>>) -> Self {
        Self {
            options,
            turns,
            connection: None,
        }
    }

    /// The connection, outside a transaction.
    pub(crate) async fn connection(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        let connection = self.take().await?;
        Ok(self.connection.insert(connection))
    }

    /// Waits for a turn and begins to write.
    pub(crate) async fn begin(&mut self) -> sqlx::Result<Writing<'_>> {
        let mut writing = self.turn().await?;
        let begun = sqlx::query(sql::BEGIN).execute(&mut writing.connection);
        match begun.await {
            Ok(_) => Ok(writing),
            Err(error) => {
                writing.ended();
                Err(error)
            }
        }
    }

    /// Waits for a turn. The transaction is begun and ended by what is written.
    pub(crate) async fn turn(&mut self) -> sqlx::Result<Writing<'_>> {
        let turn = Arc::clone(&self.turns).lock_owned().await;
        let connection = self.take().await?;
        Ok(Writing {
            home: &mut self.connection,
            connection,
            _turn: turn,
        })
    }

    async fn take(&mut self) -> sqlx::Result<SqliteConnection> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.options.connect().await,
        }
    }
}

/// A turn to write, and the transaction that is begun in it. Dropped without an end, its connection closes, and SQLite rolls
/// that back.
pub(crate) struct Writing<'a> {
    home: &'a mut Option<SqliteConnection>,
    connection: SqliteConnection,
    _turn: OwnedMutexGuard<()>,
}

impl Writing<'_> {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        match sqlx::query(sql::COMMIT).execute(&mut self.connection).await {
            Ok(_) => {
                self.ended();
                Ok(())
            }
            Err(error) => {
                self.close().await;
                Err(error)
            }
        }
    }

    /// No transaction is open any more: the next turn has the connection.
    pub(crate) fn ended(self) {
        *self.home = Some(self.connection);
    }

    /// Ends the connection, and what is open in it, before the next turn.
    pub(crate) async fn close(self) {
        // A close that fails changes nothing about what led to it.
        drop(self.connection.close().await);
    }

    pub(crate) async fn rollback(mut self) {
        // A connection that cannot even do this is not kept: closing it rolls back as well.
        if sqlx::query(sql::ROLLBACK)
            .execute(&mut self.connection)
            .await
            .is_ok()
        {
            self.ended();
        } else {
            self.close().await;
        }
    }
}
