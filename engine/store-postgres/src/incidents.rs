//! Open incidents.

use amends_core::Time;
use amends_core::journal::IncidentInsert;
use amends_store::{
    Error, IncidentCursor, IncidentFilter, IncidentGroup, IncidentQuery, Incidents,
};
use async_trait::async_trait;
use uuid::Uuid;

use crate::lane::Query;
use crate::timestamp::Timestamp;
use crate::{PostgresStore, count, revision_number, rows, sql};

#[async_trait]
impl Incidents for PostgresStore {
    async fn list_incidents(&self, query: &IncidentQuery) -> Result<Vec<IncidentInsert>, Error> {
        let (opened_at, saga, number) = match query.after {
            Some(IncidentCursor { opened_at, name }) => {
                (opened_at, name.saga.as_uuid(), i64::from(name.number))
            }
            None => (BEGINNING, Uuid::nil(), 0),
        };
        let sql = bind_filter(sqlx::query(sql::INCIDENTS), &query.filter)
            .bind(Timestamp(opened_at))
            .bind(saga)
            .bind(number)
            .bind(count(query.limit));
        self.read_at_length(sql, "listing incidents", rows::incident)
            .await
    }

    async fn incident_groups(
        &self,
        filter: &IncidentFilter,
        limit: usize,
    ) -> Result<Vec<IncidentGroup>, Error> {
        let sql = bind_filter(sqlx::query(sql::INCIDENT_GROUPS), filter).bind(count(limit));
        self.read_at_length(sql, "grouping incidents", rows::incident_group)
            .await
    }
}

fn bind_filter<'q>(query: Query<'q>, filter: &'q IncidentFilter) -> Query<'q> {
    let fingerprint = filter.fingerprint.as_ref();
    query
        .bind(&filter.namespace)
        .bind(&filter.definition)
        .bind(filter.revision.map(revision_number))
        .bind(&filter.step)
        .bind(&filter.code)
        .bind(filter.reason.map(|reason| reason.as_str()))
        .bind(fingerprint.map(|it| &*it.definition))
        .bind(fingerprint.map(|it| revision_number(it.revision)))
        .bind(fingerprint.and_then(|it| it.step.as_deref()))
        .bind(fingerprint.map(|it| &*it.cause))
}

/// Earlier than every real time: PostgreSQL's `-infinity`.
const BEGINNING: Time = Time::from_micros(i64::MIN);
