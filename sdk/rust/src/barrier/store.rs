//! What the barrier needs of a database, and the row that it keeps. The statements are in one file for each database.

use std::future::Future;
use std::time::SystemTime;

use bytes::Bytes;
use sqlx::{Database, Pool, Transaction};

use crate::fail::{Fail, FailKind};
use crate::outcome::Outcome;

/// A database that can hold a barrier: PostgreSQL and SQLite. Sealed, because its methods are the barrier's own affair.
pub trait BarrierDatabase: Database + Sealed {
    /// One transaction writes at a time, whoever asks.
    #[doc(hidden)]
    const ONE_WRITER: bool;

    #[doc(hidden)]
    fn migrate(pool: &Pool<Self>) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    #[doc(hidden)]
    fn prune(
        pool: &Pool<Self>,
        before_us: i64,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

    /// Begins a transaction that is about to write.
    #[doc(hidden)]
    fn begin(
        pool: &Pool<Self>,
    ) -> impl Future<Output = Result<Transaction<'static, Self>, sqlx::Error>> + Send;

    /// Runs a statement without parameters.
    #[doc(hidden)]
    fn execute(
        connection: &mut Self::Connection,
        statement: &'static str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Inserts a row unless the key has one; waits for a transaction that is inserting the same key. Whether it was
    /// inserted.
    #[doc(hidden)]
    fn insert(
        connection: &mut Self::Connection,
        key: &str,
        row: &Row,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Reads a row and keeps it locked until the transaction ends.
    #[doc(hidden)]
    fn load(
        connection: &mut Self::Connection,
        key: &str,
    ) -> impl Future<Output = Result<Option<Row>, sqlx::Error>> + Send;

    /// Overwrites a row, all but its time.
    #[doc(hidden)]
    fn update(
        connection: &mut Self::Connection,
        key: &str,
        row: &Row,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// Keeps [`BarrierDatabase`] to the databases of this crate.
pub trait Sealed {}

/// One row of `amends_barrier`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub(super) state: State,
    /// The attempt that recorded it.
    pub(super) attempt: u32,
    /// `participant.action`, for people who look at the table.
    pub(super) action: String,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) output: Bytes,
}

/// What a row says about its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Taken by the transaction that writes the row; never seen by another.
    Claimed,
    /// In the second mode: about to be performed, or performed with an outcome that got lost.
    Intent,
    /// It had its effect.
    Succeeded,
    /// A business "no".
    Rejected,
    /// It can never work.
    Fatal,
    /// A compensation that found nothing to undo.
    NothingToUndo,
    /// An action whose compensation came first, or came when there was nothing to undo.
    Tombstone,
    /// An action whose effect was undone, or in the second mode is being undone.
    Undone,
}

impl State {
    const ALL: [Self; 8] = [
        Self::Claimed,
        Self::Intent,
        Self::Succeeded,
        Self::Rejected,
        Self::Fatal,
        Self::NothingToUndo,
        Self::Tombstone,
        Self::Undone,
    ];

    /// As the table has it.
    pub(super) fn as_text(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Intent => "intent",
            Self::Succeeded => "succeeded",
            Self::Rejected => "rejected",
            Self::Fatal => "fatal",
            Self::NothingToUndo => "nothing_to_undo",
            Self::Tombstone => "tombstone",
            Self::Undone => "undone",
        }
    }
}

impl Row {
    pub(super) fn new(state: State, attempt: u32, action: &str) -> Self {
        Self {
            state,
            attempt,
            action: action.to_owned(),
            code: String::new(),
            message: String::new(),
            output: Bytes::new(),
        }
    }

    /// The row that records this outcome. None for *failed*, which records nothing.
    pub(super) fn of_outcome(outcome: &Outcome, attempt: u32, action: &str) -> Option<Self> {
        let state = match outcome {
            Outcome::Succeeded(_) => State::Succeeded,
            Outcome::NothingToUndo => State::NothingToUndo,
            Outcome::Superseded => State::Tombstone,
            Outcome::NotSucceeded(fail) => match fail.kind {
                FailKind::Rejected => State::Rejected,
                FailKind::Fatal => State::Fatal,
                FailKind::Failed => return None,
            },
            // An answer to a question is nothing to record.
            Outcome::Absent => return None,
        };
        let mut row = Self::new(state, attempt, action);
        match outcome {
            Outcome::Succeeded(output) => row.output = output.clone(),
            Outcome::NotSucceeded(fail) => {
                row.code.clone_from(&fail.code);
                row.message.clone_from(&fail.message);
            }
            Outcome::NothingToUndo | Outcome::Superseded | Outcome::Absent => {}
        }
        Some(row)
    }

    /// The outcome that was recorded, where one was.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        let fail = |fail: Fail| {
            // Codes and messages went through their bounds when they were recorded.
            Some(Outcome::NotSucceeded(Fail {
                code: self.code.clone(),
                message: self.message.clone(),
                ..fail
            }))
        };
        match self.state {
            State::Succeeded => Some(Outcome::Succeeded(self.output.clone())),
            State::Rejected => fail(Fail::rejected("")),
            State::Fatal => fail(Fail::fatal("")),
            State::NothingToUndo => Some(Outcome::NothingToUndo),
            State::Tombstone | State::Undone => Some(Outcome::Superseded),
            State::Claimed | State::Intent => None,
        }
    }

    /// Reads what a database answered.
    pub(super) fn from_columns(
        state: &str,
        attempt: i64,
        action: String,
        code: String,
        message: String,
        output: Vec<u8>,
    ) -> Result<Self, sqlx::Error> {
        let known = State::ALL
            .into_iter()
            .find(|known| known.as_text() == state);
        let state = known.ok_or_else(|| {
            sqlx::Error::Decode(format!("amends_barrier has the unknown state `{state}`").into())
        })?;
        let attempt = u32::try_from(attempt).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Self {
            state,
            attempt,
            action,
            code,
            message,
            output: output.into(),
        })
    }
}

pub(super) fn now_us() -> i64 {
    unix_us(SystemTime::now())
}

pub(super) fn unix_us(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}
