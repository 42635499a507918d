//! A committer's connection: a batch is one transaction of a few statements of many rows each.

use amends_core::ShardId;
use amends_store::{AppendError, Author, Batch, Error, Lane, Tail, Takeover};
use async_trait::async_trait;
use uuid::Uuid;

use crate::append::{Refusal, Row, write_rows};
use crate::rows::{self, definite, of_commit, unavailable};
use crate::sql;
use crate::writer::Writer;

pub(crate) struct SqliteLane {
    pub(crate) writer: Writer,
}

#[async_trait]
impl Lane for SqliteLane {
    async fn append(&mut self, batch: &Batch) -> Result<(), AppendError> {
        let rows: Vec<Row<'_>> = batch
            .shards
            .iter()
            .flat_map(|b| {
                b.rows
                    .iter()
                    .map(|row| Row::Transition(b.shard, b.epoch, batch.id, row))
            })
            .collect();
        let firsts = batch
            .shards
            .iter()
            .filter_map(|b| Some((b.shard, b.rows.first()?.position)));
        let firsts: Vec<_> = firsts.collect();
        self.write(&rows, &firsts, batch).await
    }

    async fn tails(&mut self, shards: &[ShardId]) -> Result<Vec<u64>, Error> {
        let connection = self
            .writer
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
        let firsts: Vec<_> = records
            .iter()
            .map(|record| (record.shard, record.position))
            .collect();
        let nothing = Batch {
            id: Uuid::nil(),
            shards: Vec::new(),
        };
        self.write(&rows, &firsts, &nothing).await
    }

    async fn author(&mut self, shard: ShardId, position: u64) -> Result<Option<Author>, Error> {
        let connection = self
            .writer
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
    async fn write(
        &mut self,
        rows: &[Row<'_>],
        firsts: &[(ShardId, u64)],
        batch: &Batch,
    ) -> Result<(), AppendError> {
        let mut writing = self.writer.begin().await.map_err(definite)?;
        match write_rows(writing.connection(), rows, batch).await {
            Ok(()) => writing.commit().await.map_err(of_commit),
            Err(Refusal::Other(error)) => {
                writing.rollback().await;
                Err(error)
            }
            Err(Refusal::PositionTaken(error)) => {
                writing.rollback().await;
                Err(self.whose_is_taken(firsts, error).await)
            }
        }
    }

    /// A batch is gapless, so a shard is lost if its journal reaches the batch's first position.
    async fn whose_is_taken(
        &mut self,
        firsts: &[(ShardId, u64)],
        cause: sqlx::Error,
    ) -> AppendError {
        let connection = match self.writer.connection().await {
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
}

/// SQLite's integers have a sign; a journal does not reach 2^63.
pub(crate) fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
