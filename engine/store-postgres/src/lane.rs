//! A committer's connection: a batch is one autocommit statement, so its outcome is one answer, or unknown.

use std::time::Duration;

use amends_core::{Incarnation, ShardId};
use amends_store::{AppendError, Author, Batch, Error, Lane, Tail, Takeover, record};
use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgRow};
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use crate::append::append_query;
use crate::failure::{Failure, is_usable_after, unavailable};
use crate::timestamp::Timestamp;
use crate::{ANSWER_TIMEOUT, CONNECT_TIMEOUT, CONNECTING, rows, signed, sql};

pub(crate) struct PostgresLane {
    options: PgConnectOptions,
    /// What the connection has to lead to, also after it was lost.
    incarnation: Incarnation,
    /// For what has to be done while this lane waits.
    readers: PgPool,
    link: Option<Link>,
}

struct Link {
    connection: PgConnection,
    backend: i32,
}

pub(crate) type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

impl PostgresLane {
    pub(crate) async fn open(
        options: PgConnectOptions,
        incarnation: Incarnation,
        readers: PgPool,
    ) -> Result<Self, Error> {
        let mut lane = Self {
            options: options.application_name(LANE_NAME),
            incarnation,
            readers,
            link: None,
        };
        let link = lane.link().await?;
        lane.link = Some(link);
        Ok(lane)
    }

    /// The connection, taken out: whoever is done with it whole puts it back, and a future that is dropped half-way
    /// closes it.
    async fn link(&mut self) -> Result<Link, Error> {
        match self.link.take() {
            Some(link) => Ok(link),
            None => timeout(CONNECT_TIMEOUT, self.connect())
                .await
                .map_err(unavailable(CONNECTING))?,
        }
    }

    async fn connect(&self) -> Result<Link, Error> {
        let mut connection = self
            .options
            .connect()
            .await
            .map_err(unavailable(CONNECTING))?;
        let set = sqlx::raw_sql(sql::LANE_SESSION)
            .execute(&mut connection)
            .await;
        set.map_err(unavailable(CONNECTING))?;
        let greeting = sqlx::query(sql::GREETING).fetch_one(&mut connection).await;
        let greeting = greeting.map_err(unavailable(CONNECTING))?;
        let what = "the URL leads to a replica, and the primary is needed";
        if rows::get(&greeting, 0)? {
            return Err(unavailable(CONNECTING)(what));
        }
        if self.incarnation != Incarnation(rows::get(&greeting, 2)?) {
            return Err(unavailable(CONNECTING)(
                "the URL leads to another database than before",
            ));
        }
        Ok(Link {
            backend: rows::get(&greeting, 1)?,
            connection,
        })
    }

    async fn fetch(&mut self, query: Query<'_>, what: &'static str) -> Result<Vec<PgRow>, Error> {
        let mut link = self.link().await?;
        let fetched = timeout(ANSWER_TIMEOUT, query.fetch_all(&mut link.connection)).await;
        let fetched = fetched.map_err(unavailable(what))?;
        if fetched.as_ref().err().is_none_or(is_usable_after) {
            self.link = Some(link);
        }
        fetched.map_err(unavailable(what))
    }

    /// A batch is gapless, so a shard is lost if its journal reaches the batch's first position.
    async fn whose_is_taken(
        &mut self,
        firsts: &[(ShardId, u64)],
        cause: sqlx::Error,
    ) -> AppendError {
        let (shards, firsts): (Vec<i16>, Vec<i64>) = firsts
            .iter()
            .map(|(shard, first)| (shard_number(*shard), signed(*first)))
            .unzip();
        let query = sqlx::query(sql::TAKEN).bind(shards).bind(firsts);
        let taken = self.fetch(query, "reading the ends of journals").await;
        match taken.and_then(|rows| rows.iter().map(rows::shard).collect::<Result<Vec<_>, _>>()) {
            // Nobody else wrote there: the batch has a position twice.
            Ok(taken) if taken.is_empty() => AppendError::Data {
                source: cause.into(),
            },
            Ok(taken) => AppendError::PositionTaken(taken),
            // Nothing was written, and the same batch will meet the same conflict.
            Err(error) => AppendError::Again {
                source: error.into(),
            },
        }
    }

    /// One try to write takeover records. After a while without an answer, whoever holds the positions is ended.
    async fn try_take_over(&self, link: &mut Link, records: &[Takeover]) -> sqlx::Result<()> {
        sqlx::query(sql::LOCK_TIMEOUT_ON)
            .execute(&mut link.connection)
            .await?;
        let backend = link.backend;
        let outcome = {
            let mut written = std::pin::pin!(takeover_query(records).execute(&mut link.connection));
            match timeout(PATIENCE, &mut written).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    self.end_blockers(backend).await;
                    written.await
                }
            }
        };
        // After an error that ends the connection this fails as well, and the first error is the one to tell.
        let reset = sqlx::query(sql::LOCK_TIMEOUT_OFF)
            .execute(&mut link.connection)
            .await;
        outcome.and(reset).map(|_| ())
    }

    async fn end_blockers(&self, backend: i32) {
        let ended = sqlx::query(sql::END_BLOCKERS)
            .bind(backend)
            .fetch_all(&self.readers)
            .await;
        match ended {
            Ok(ended) => tracing::warn!(
                backends = ended.len(),
                "ended backends that held a journal's position"
            ),
            Err(error) => {
                tracing::warn!(%error, "could not end the backends that hold a journal's position")
            }
        }
    }
}

#[async_trait]
impl Lane for PostgresLane {
    async fn append(&mut self, batch: &Batch) -> Result<(), AppendError> {
        let mut link = self.link().await.map_err(not_connected)?;
        let written = timeout(
            ANSWER_TIMEOUT,
            append_query(batch).execute(&mut link.connection),
        )
        .await;
        let error = match written {
            Ok(Ok(_)) => {
                self.link = Some(link);
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(elapsed) => {
                return Err(AppendError::Unknown {
                    source: elapsed.into(),
                });
            }
        };
        if is_usable_after(&error) {
            self.link = Some(link);
        }
        match Failure::of(error) {
            Failure::PositionTaken(cause) => {
                let firsts = batch
                    .shards
                    .iter()
                    .filter_map(|b| Some((b.shard, b.rows.first()?.position)));
                Err(self
                    .whose_is_taken(&firsts.collect::<Vec<_>>(), cause)
                    .await)
            }
            Failure::LockTimeout(error) => Err(AppendError::Again {
                source: error.into(),
            }),
            Failure::Other(error) => Err(error),
        }
    }

    async fn tails(&mut self, shards: &[ShardId]) -> Result<Vec<u64>, Error> {
        let numbers: Vec<i16> = shards.iter().map(|shard| shard_number(*shard)).collect();
        let found = self
            .fetch(
                sqlx::query(sql::TAILS).bind(numbers),
                "reading the ends of journals",
            )
            .await?;
        let tail = |(shard, row): (&ShardId, &PgRow)| {
            let (last, epoch) = (rows::position(row, 0)?, rows::position(row, 1)?);
            Tail {
                shard: *shard,
                last,
                epoch,
                rows: rows::position(row, 2)?,
                expired: rows::position(row, 3)?,
            }
            .checked()
        };
        shards.iter().zip(&found).map(tail).collect()
    }

    async fn take_over(&mut self, records: &[Takeover]) -> Result<(), AppendError> {
        let mut last = None;
        for _ in 0..TAKEOVER_TRIES {
            let mut link = self.link().await.map_err(not_connected)?;
            let tried = timeout(ANSWER_TIMEOUT, self.try_take_over(&mut link, records)).await;
            let error = match tried {
                Ok(Ok(())) => {
                    self.link = Some(link);
                    return Ok(());
                }
                Ok(Err(error)) => error,
                Err(elapsed) => {
                    return Err(AppendError::Unknown {
                        source: elapsed.into(),
                    });
                }
            };
            if is_usable_after(&error) {
                self.link = Some(link);
            }
            match Failure::of(error) {
                Failure::PositionTaken(cause) => {
                    let firsts: Vec<_> = records
                        .iter()
                        .map(|record| (record.shard, record.position))
                        .collect();
                    return Err(self.whose_is_taken(&firsts, cause).await);
                }
                Failure::LockTimeout(error) => last = Some(error),
                Failure::Other(error) => return Err(error),
            }
        }
        Err(match last {
            Some(error) => AppendError::Again {
                source: error.into(),
            },
            None => AppendError::Again {
                source: "the positions stayed locked".into(),
            },
        })
    }

    async fn author(&mut self, shard: ShardId, position: u64) -> Result<Option<Author>, Error> {
        let query = sqlx::query(sql::AUTHOR)
            .bind(shard_number(shard))
            .bind(signed(position));
        let found = self.fetch(query, "reading who wrote a row").await?;
        found.first().map(rows::author).transpose()
    }
}

fn not_connected(error: Error) -> AppendError {
    AppendError::Unavailable {
        source: error.into(),
    }
}

fn takeover_query(records: &[Takeover]) -> Query<'static> {
    sqlx::query(sql::TAKE_OVER)
        .bind(
            records
                .iter()
                .map(|record| shard_number(record.shard))
                .collect::<Vec<i16>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| signed(record.position))
                .collect::<Vec<i64>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| record.batch)
                .collect::<Vec<Uuid>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| Timestamp(record.at))
                .collect::<Vec<Timestamp>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| record::encode_takeover(&record.node))
                .collect::<Vec<Vec<u8>>>(),
        )
}

pub(crate) fn shard_number(shard: ShardId) -> i16 {
    i16::try_from(shard.0).unwrap_or(i16::MAX)
}

const LANE_NAME: &str = "amends-lane";
/// How long a takeover waits for whoever holds its position, before it ends them.
const PATIENCE: Duration = Duration::from_millis(500);
const TAKEOVER_TRIES: u32 = 5;
