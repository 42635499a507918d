//! Open incidents.

use amends_core::journal::IncidentInsert;
use amends_store::{
    Error, IncidentCursor, IncidentFilter, IncidentGroup, IncidentQuery, Incidents,
};
use async_trait::async_trait;
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;

use crate::{SqliteStore, count, rows, sql};

#[async_trait]
impl Incidents for SqliteStore {
    async fn list_incidents(&self, query: &IncidentQuery) -> Result<Vec<IncidentInsert>, Error> {
        // Nothing opened at the beginning of time, and every id is above the empty text.
        let (opened_at, saga, number) = match query.after {
            Some(IncidentCursor { opened_at, name }) => {
                (opened_at.as_micros(), name.saga.to_string(), name.number)
            }
            None => (i64::MIN, String::new(), 0),
        };
        let sql = bind_filter(sqlx::query(sql::INCIDENTS), &query.filter)
            .bind(opened_at)
            .bind(saga)
            .bind(number)
            .bind(count(query.limit));
        self.read(sql, "listing incidents", rows::incident).await
    }

    async fn incident_groups(
        &self,
        filter: &IncidentFilter,
        limit: usize,
    ) -> Result<Vec<IncidentGroup>, Error> {
        let sql = bind_filter(sqlx::query(sql::INCIDENT_GROUPS), filter).bind(count(limit));
        self.read(sql, "grouping incidents", rows::incident_group)
            .await
    }
}

fn bind_filter<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    filter: &'q IncidentFilter,
) -> Query<'q, Sqlite, SqliteArguments> {
    let fingerprint = filter.fingerprint.as_ref();
    query
        .bind(&filter.namespace)
        .bind(&filter.definition)
        .bind(filter.revision)
        .bind(&filter.step)
        .bind(&filter.code)
        .bind(filter.reason.map(|reason| reason.as_str()))
        .bind(fingerprint.map(|it| &*it.definition))
        .bind(fingerprint.map(|it| it.revision))
        .bind(fingerprint.and_then(|it| it.step.as_deref()))
        .bind(fingerprint.map(|it| &*it.cause))
}
