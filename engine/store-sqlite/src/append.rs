//! What a batch writes: a few statements of many rows each, within the lane's transaction.

use amends_core::journal::{
    IncidentInsert, IncidentName, JournalRow, KeyInsert, SagaInsert, SagaUpdate,
};
use amends_core::{OperationKind, ShardId, Time};
use amends_store::{AppendError, Batch, Takeover, record};
use futures_util::TryStreamExt as _;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments as _, Executor as _};
use uuid::Uuid;

use crate::lane::signed;
use crate::rows::{definite, is_duplicate, of_last};
use crate::sql::{self, Many, Sized, Standing};

/// A journal row to be written.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    Transition(ShardId, u64, Uuid, &'a JournalRow),
    Takeover(&'a Takeover),
}

/// A statement with all that it needs: made by whoever has the rows, run by whoever has the connection.
pub(crate) struct Statement {
    sized: &'static Sized,
    arguments: SqliteArguments,
    unique: Unique,
}

/// What a unique violation in a statement means.
#[derive(Clone, Copy)]
enum Unique {
    Position,
    Key,
    Nothing,
}

pub(crate) enum Refusal {
    PositionTaken(sqlx::Error),
    Other(AppendError),
}

impl Statement {
    /// Runs it where it stands in its transaction: begins that, or ends it, with it.
    pub(crate) async fn run(
        self,
        standing: Standing,
        connection: &mut SqliteConnection,
    ) -> Result<(), Refusal> {
        let query = sqlx::query_with(self.sized.standing(standing), self.arguments);
        // A thread that ends in the midst of a text ends its results as well, and that is no error of the stream's.
        let parts = 1 + usize::from(standing.first) + usize::from(standing.last);
        let results = connection.execute_many(query).try_collect::<Vec<_>>();
        let error = match results.await {
            Ok(results) if results.len() == parts => return Ok(()),
            Ok(_) => sqlx::Error::WorkerCrashed,
            Err(error) => error,
        };
        Err(match self.unique {
            Unique::Position if is_duplicate(&error) => Refusal::PositionTaken(error),
            Unique::Key if is_duplicate(&error) => Refusal::Other(AppendError::KeyTaken),
            _ if standing.last => Refusal::Other(of_last(error)),
            _ => Refusal::Other(definite(error)),
        })
    }
}

/// The statements that write a batch, and these rows of the journal before all else of it.
pub(crate) fn statements(rows: &[Row<'_>], batch: &Batch) -> Result<Vec<Statement>, AppendError> {
    let mut all = Statements::default();
    all.add(&sql::INSERT_JOURNAL, Unique::Position, rows, bind_row);
    let keys: Vec<&KeyInsert> = batch.shards.iter().flat_map(|b| &b.keys).collect();
    all.add(&sql::INSERT_KEYS, Unique::Key, &keys, bind_key);
    let inserts: Vec<&SagaInsert> = batch.shards.iter().flat_map(|b| &b.inserts).collect();
    let plain = inserts.iter().all(|insert| {
        insert.turn.is_none() && insert.parent.is_none() && insert.expires_at.is_none()
    });
    if plain {
        all.add(&sql::INSERT_SAGAS, Unique::Nothing, &inserts, bind_insert);
    } else {
        all.add(
            &sql::INSERT_SAGAS_ALL,
            Unique::Nothing,
            &inserts,
            bind_insert_all,
        );
    }
    let updates: Vec<&SagaUpdate> = batch.shards.iter().flat_map(|b| &b.updates).collect();
    all.add(&sql::UPDATE_SAGAS, Unique::Nothing, &updates, bind_update);
    let opened: Vec<_> = (batch.shards.iter().flat_map(|b| &b.incidents_opened)).collect();
    all.add(
        &sql::INSERT_INCIDENTS,
        Unique::Nothing,
        &opened,
        bind_opened,
    );
    let closed: Vec<_> = (batch.shards.iter().flat_map(|b| &b.incidents_closed)).collect();
    all.add(&sql::CLOSE_INCIDENTS, Unique::Nothing, &closed, bind_closed);
    all.finish()
}

#[derive(Default)]
struct Statements {
    made: Vec<Statement>,
    failed: Option<sqlx::Error>,
}

impl Statements {
    fn add<T: Copy>(
        &mut self,
        many: &'static Many,
        unique: Unique,
        items: &[T],
        bind: impl Fn(&mut Values, T),
    ) {
        for (sized, values) in filled(many, items, bind) {
            match values.into_arguments() {
                Ok(arguments) => self.made.push(Statement {
                    sized,
                    arguments,
                    unique,
                }),
                Err(error) => self.failed = Some(error),
            }
        }
    }

    fn finish(self) -> Result<Vec<Statement>, AppendError> {
        match self.failed {
            Some(error) => Err(AppendError::Data {
                source: error.into(),
            }),
            None => Ok(self.made),
        }
    }
}

/// The statements for so many rows, each with its values, and filled up with rows that are none.
pub(crate) fn filled<T: Copy>(
    many: &'static Many,
    mut items: &[T],
    bind: impl Fn(&mut Values, T),
) -> impl Iterator<Item = (&'static Sized, Values)> {
    std::iter::from_fn(move || {
        if items.is_empty() {
            return None;
        }
        let sized = many.fit(items.len());
        let (now, later) = items.split_at(sized.rows.min(items.len()));
        let mut values = Values::new(sized.rows * many.columns);
        for item in now {
            bind(&mut values, *item);
        }
        values.fill();
        items = later;
        Some((sized, values))
    })
}

/// The values of a statement's parameters, in order.
pub(crate) struct Values {
    arguments: SqliteArguments,
    parameters: usize,
    failed: Option<BoxDynError>,
}

impl Values {
    fn new(parameters: usize) -> Self {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(parameters, 0);
        Self {
            arguments,
            parameters,
            failed: None,
        }
    }

    pub(crate) fn bind<'v>(
        &mut self,
        value: impl sqlx::Encode<'v, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    ) -> &mut Self {
        if let Err(error) = self.arguments.add(value) {
            self.failed = Some(error);
        }
        self
    }

    /// All of them.
    ///
    /// # Errors
    /// If one of them could not be encoded.
    pub(crate) fn into_arguments(self) -> sqlx::Result<SqliteArguments> {
        match self.failed {
            Some(error) => Err(sqlx::Error::Encode(error)),
            None => Ok(self.arguments),
        }
    }

    /// Rows that are not there: all of their columns are null.
    fn fill(&mut self) {
        for _ in self.arguments.len()..self.parameters {
            self.bind(None::<i64>);
        }
    }
}

fn bind_row(values: &mut Values, row: Row<'_>) {
    match row {
        Row::Transition(shard, epoch, batch, row) => values
            .bind(shard.0)
            .bind(signed(row.position))
            .bind(signed(epoch))
            .bind(batch.as_bytes().to_vec())
            .bind(Some(row.saga.to_string()))
            .bind(KIND_TRANSITION)
            .bind(row.at.as_micros())
            .bind(record::encode(&row.facts)),
        Row::Takeover(takeover) => values
            .bind(takeover.shard.0)
            .bind(signed(takeover.position))
            .bind(signed(takeover.position))
            .bind(takeover.batch.as_bytes().to_vec())
            .bind(None::<String>)
            .bind(KIND_TAKEOVER)
            .bind(takeover.at.as_micros())
            .bind(record::encode_takeover(&takeover.node)),
    };
}

fn bind_insert(values: &mut Values, saga: &SagaInsert) {
    values
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
        .bind(saga.ended_at.map(Time::as_micros));
}

fn bind_insert_all(values: &mut Values, saga: &SagaInsert) {
    let turn = saga.turn.filter(|_| !saga.state.is_terminal());
    bind_insert(values, saga);
    values
        .bind(turn.map(|turn| signed(turn.position)))
        .bind(turn.and_then(|turn| turn.concurrency_max))
        .bind(
            turn.and_then(|turn| turn.ordering_hash)
                .map(|hash| hash.0.to_vec()),
        )
        .bind(turn.is_none_or(|turn| turn.granted))
        .bind(saga.parent.map(|parent| parent.to_string()))
        .bind(saga.expires_at.map(Time::as_micros));
}

fn bind_update(values: &mut Values, saga: &SagaUpdate) {
    values
        .bind(saga.id.shard().0)
        .bind(saga.id.to_string())
        .bind(saga.state.code())
        .bind(saga.wake_at.map(Time::as_micros))
        .bind(saga.updated_at.as_micros())
        .bind(saga.ended_at.map(Time::as_micros))
        .bind(saga.expires_at.map(Time::as_micros))
        .bind(saga.turn_granted);
}

fn bind_opened(values: &mut Values, incident: &IncidentInsert) {
    values
        .bind(incident.name.saga.shard().0)
        .bind(incident.name.saga.to_string())
        .bind(incident.name.number)
        .bind(incident.namespace.to_string())
        .bind(incident.definition.to_string())
        .bind(incident.revision)
        .bind(incident.step.clone())
        .bind(incident.item)
        .bind(incident.operation.map(OperationKind::as_str))
        .bind(incident.reason.as_str())
        .bind(incident.code.clone())
        .bind(incident.message.clone())
        .bind(incident.opened_at.as_micros());
}

fn bind_closed(values: &mut Values, name: &IncidentName) {
    values
        .bind(name.saga.shard().0)
        .bind(name.saga.to_string())
        .bind(name.number);
}

fn bind_key(values: &mut Values, key: &KeyInsert) {
    values
        .bind(key.namespace.to_string())
        .bind(key.definition.to_string())
        .bind(key.key_hash.0.to_vec())
        .bind(key.saga.to_string())
        .bind(key.input_hash.0.to_vec());
}

const KIND_TRANSITION: i16 = 1;
const KIND_TAKEOVER: i16 = 2;
