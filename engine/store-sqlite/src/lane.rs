//! A committer's way to the file: a batch is one transaction of a few statements of many rows each. All of them share one
//! connection, whose cache stays warm; while one batch is written the next can be made, and waits for its turn.

use std::sync::Arc;

use amends_core::ShardId;
use amends_core::journal::ShardBatch;
use amends_store::{AppendError, Author, Batch, Error, Lane, Tail, Takeover};
use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::append::{Refusal, Row, Statement, statements};
use crate::rows::{self, definite, unavailable};
use crate::sql::{self, Standing};
use crate::thread::Thread;
use crate::writer::Writer;

pub(crate) struct SqliteLane {
    /// Of all lanes.
    pub(crate) writer: Arc<Mutex<Writer>>,
    pub(crate) thread: Arc<Thread>,
}

/// What one transaction writes.
struct Work {
    statements: Vec<Statement>,
    /// Where the journal of each shard goes on.
    firsts: Vec<(ShardId, u64)>,
}

#[async_trait]
impl Lane for SqliteLane {
    async fn append(&mut self, batch: &Batch) -> Result<(), AppendError> {
        let rows = batch.shards.iter().flat_map(|b| {
            let row = |row| Row::Transition(b.shard, b.epoch, batch.id, row);
            b.rows.iter().map(row)
        });
        let rows: Vec<Row<'_>> = rows.collect();
        let first = |b: &ShardBatch| Some((b.shard, b.rows.first()?.position));
        self.write(Work {
            statements: statements(&rows, batch)?,
            firsts: batch.shards.iter().filter_map(first).collect(),
        })
        .await
    }

    async fn tails(&mut self, shards: &[ShardId]) -> Result<Vec<u64>, Error> {
        let mut writer = self.writer.lock().await;
        let connection = writer
            .connection()
            .await
            .map_err(unavailable("opening a connection"))?;
        let mut tails = Vec::with_capacity(shards.len());
        for &shard in shards {
            let row = sqlx::query(sql::TAIL)
                .bind(shard.0)
                .fetch_optional(&mut *connection)
                .await;
            let tail = match row.map_err(unavailable("reading the end of a journal"))? {
                None => Tail {
                    shard,
                    last: 0,
                    epoch: 0,
                    rows: 0,
                    expired: 0,
                },
                Some(row) => Tail {
                    shard,
                    last: rows::position(&row, 0)?,
                    epoch: rows::position(&row, 1)?,
                    rows: rows::position(&row, 2)?,
                    expired: rows::position(&row, 3)?,
                },
            };
            tails.push(tail.checked()?);
        }
        Ok(tails)
    }

    async fn take_over(&mut self, records: &[Takeover]) -> Result<(), AppendError> {
        let rows: Vec<Row<'_>> = records.iter().map(Row::Takeover).collect();
        let nothing = Batch {
            id: Uuid::nil(),
            shards: Vec::new(),
        };
        let first = |record: &Takeover| (record.shard, record.position);
        self.write(Work {
            statements: statements(&rows, &nothing)?,
            firsts: records.iter().map(first).collect(),
        })
        .await
    }

    async fn author(&mut self, shard: ShardId, position: u64) -> Result<Option<Author>, Error> {
        let mut writer = self.writer.lock().await;
        let connection = writer
            .connection()
            .await
            .map_err(unavailable("opening a connection"))?;
        let query = sqlx::query(sql::AUTHOR)
            .bind(shard.0)
            .bind(signed(position));
        let row = query
            .fetch_optional(connection)
            .await
            .map_err(unavailable("reading who wrote a row"))?;
        let author = |row| {
            let batch = Uuid::from_bytes(rows::bytes(&row, 1)?);
            Ok(Author {
                epoch: rows::position(&row, 0)?,
                batch,
            })
        };
        row.map(author).transpose()
    }
}

impl SqliteLane {
    /// Writes on a thread of its own: from one statement to the next nobody waits for what else this process is at. If
    /// nobody waits for the outcome any more, what has not begun does not begin.
    async fn write(&self, work: Work) -> Result<(), AppendError> {
        let writer = Arc::clone(&self.writer);
        let written = self
            .thread
            .spawn(async move { work.write(&mut *writer.lock().await).await });
        match AbortOnDropHandle::new(written).await {
            Ok(outcome) => outcome,
            Err(error) => Err(AppendError::Unknown {
                source: error.into(),
            }),
        }
    }
}

impl Work {
    async fn write(self, writer: &mut Writer) -> Result<(), AppendError> {
        let mut writing = writer.turn().await.map_err(definite)?;
        let count = self.statements.len();
        for (statement, nth) in self.statements.into_iter().zip(1..) {
            let standing = Standing {
                first: nth == 1,
                last: nth == count,
            };
            match statement.run(standing, writing.connection()).await {
                Ok(()) => {}
                Err(Refusal::Other(error @ AppendError::Unknown { .. })) => {
                    writing.close().await;
                    return Err(error);
                }
                Err(Refusal::Other(error)) => {
                    writing.rollback().await;
                    return Err(error);
                }
                Err(Refusal::PositionTaken(error)) => {
                    writing.rollback().await;
                    return Err(whose_is_taken(writer, &self.firsts, error).await);
                }
            }
        }
        writing.ended();
        Ok(())
    }
}

/// A batch is gapless, so a shard is lost if its journal reaches the batch's first position.
async fn whose_is_taken(
    writer: &mut Writer,
    firsts: &[(ShardId, u64)],
    cause: sqlx::Error,
) -> AppendError {
    let connection = match writer.connection().await {
        Ok(connection) => connection,
        Err(error) => return definite(error),
    };
    let mut taken = Vec::new();
    for &(shard, first) in firsts {
        let query = sqlx::query(sql::TAKEN).bind(shard.0).bind(signed(first));
        match query.fetch_optional(&mut *connection).await {
            Ok(Some(_)) => taken.push(shard),
            Ok(None) => {}
            Err(error) => return definite(error),
        }
    }
    if taken.is_empty() {
        // Nobody else wrote there: the batch has a position twice.
        return AppendError::Data {
            source: cause.into(),
        };
    }
    AppendError::PositionTaken(taken)
}

/// SQLite's integers have a sign; a journal does not reach 2^63.
pub(crate) fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
