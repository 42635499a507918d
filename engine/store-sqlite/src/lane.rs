//! A committer's connection: a batch is one transaction of a few statements of many rows each.

use amends_core::journal::{JournalRow, KeyInsert, SagaInsert, SagaUpdate};
use amends_core::{ShardId, Time};
use amends_store::{AppendError, Author, Batch, Error, Lane, Tail, Takeover, record};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use uuid::Uuid;

use crate::rows::{self, definite, is_duplicate, of_commit, unavailable};
use crate::sql::{self, Many};
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
                },
                Some(row) => Tail {
                    shard,
                    last: rows::position(&row, 0)?,
                    epoch: rows::position(&row, 1)?,
                    rows: rows::position(&row, 2)?,
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

enum Refusal {
    PositionTaken(sqlx::Error),
    Other(AppendError),
}

/// A journal row to be written.
#[derive(Clone, Copy)]
enum Row<'a> {
    Transition(ShardId, u64, Uuid, &'a JournalRow),
    Takeover(&'a Takeover),
}

async fn write_rows(
    connection: &mut SqliteConnection,
    rows: &[Row<'_>],
    batch: &Batch,
) -> Result<(), Refusal> {
    insert(connection, &sql::INSERT_JOURNAL, rows, bind_row)
        .await
        .map_err(|error| {
            if is_duplicate(&error) {
                Refusal::PositionTaken(error)
            } else {
                Refusal::Other(definite(error))
            }
        })?;
    let keys: Vec<&KeyInsert> = batch.shards.iter().flat_map(|b| &b.keys).collect();
    insert(connection, &sql::INSERT_KEYS, &keys, bind_key)
        .await
        .map_err(|error| {
            Refusal::Other(if is_duplicate(&error) {
                AppendError::KeyTaken
            } else {
                definite(error)
            })
        })?;
    let inserts: Vec<&SagaInsert> = batch.shards.iter().flat_map(|b| &b.inserts).collect();
    let inserted = insert(connection, &sql::INSERT_SAGAS, &inserts, bind_insert).await;
    inserted.map_err(|error| Refusal::Other(definite(error)))?;
    let updates: Vec<&SagaUpdate> = batch.shards.iter().flat_map(|b| &b.updates).collect();
    let updated = insert(connection, &sql::UPDATE_SAGAS, &updates, bind_update).await;
    updated.map_err(|error| Refusal::Other(definite(error)))
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

async fn insert<T: Copy>(
    connection: &mut SqliteConnection,
    statement: &'static Many,
    mut items: &[T],
    bind: impl for<'q> Fn(Query<'q>, T) -> Query<'q>,
) -> sqlx::Result<()> {
    while !items.is_empty() {
        let sized = statement.fit(items.len());
        let (now, later) = items.split_at(sized.rows);
        let query = now
            .iter()
            .fold(sqlx::query(sized.sql.as_str()), |query, item| {
                bind(query, *item)
            });
        query.execute(&mut *connection).await?;
        items = later;
    }
    Ok(())
}

fn bind_row<'q>(query: Query<'q>, row: Row<'_>) -> Query<'q> {
    match row {
        Row::Transition(shard, epoch, batch, row) => query
            .bind(shard.0)
            .bind(signed(row.position))
            .bind(signed(epoch))
            .bind(batch.as_bytes().to_vec())
            .bind(Some(row.saga.to_string()))
            .bind(KIND_TRANSITION)
            .bind(row.at.as_micros())
            .bind(record::encode(&row.facts)),
        Row::Takeover(takeover) => query
            .bind(takeover.shard.0)
            .bind(signed(takeover.position))
            .bind(signed(takeover.position))
            .bind(takeover.batch.as_bytes().to_vec())
            .bind(None::<String>)
            .bind(KIND_TAKEOVER)
            .bind(takeover.at.as_micros())
            .bind(record::encode_takeover(&takeover.node)),
    }
}

fn bind_insert<'q>(query: Query<'q>, saga: &SagaInsert) -> Query<'q> {
    query
        .bind(saga.id.shard().0)
        .bind(saga.id.to_string())
        .bind(saga.namespace.to_string())
        .bind(saga.definition.to_string())
        .bind(saga.revision)
        .bind(saga.hash.0.to_vec())
        .bind(saga.key.clone())
        .bind(saga.state.code())
        .bind(saga.wake_at.map(Time::as_micros))
        .bind(saga.started_at.as_micros())
        .bind(saga.updated_at.as_micros())
        .bind(saga.ended_at.map(Time::as_micros))
}

fn bind_update<'q>(query: Query<'q>, saga: &SagaUpdate) -> Query<'q> {
    query
        .bind(saga.id.shard().0)
        .bind(saga.id.to_string())
        .bind(saga.state.code())
        .bind(saga.wake_at.map(Time::as_micros))
        .bind(saga.updated_at.as_micros())
        .bind(saga.ended_at.map(Time::as_micros))
}

fn bind_key<'q>(query: Query<'q>, key: &KeyInsert) -> Query<'q> {
    query
        .bind(key.namespace.to_string())
        .bind(key.definition.to_string())
        .bind(key.key_hash.0.to_vec())
        .bind(key.saga.to_string())
        .bind(key.input_hash.0.to_vec())
}

/// SQLite's integers have a sign; a journal does not reach 2^63.
pub(crate) fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

const KIND_TRANSITION: i16 = 1;
const KIND_TAKEOVER: i16 = 2;
