//! Revisions of definitions.

use amends_core::Time;
use amends_store::{DefinitionQuery, DefinitionRecord, Definitions, Error, NewDefinition};
use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use crate::rows::{self, get, unavailable};
use crate::{SqliteStore, count, sql};

#[async_trait]
impl Definitions for SqliteStore {
    async fn put_definition(
        &self,
        definition: &NewDefinition,
    ) -> Result<(DefinitionRecord, bool), Error> {
        let mut writer = self.writer.lock().await;
        let mut writing = writer.begin().await.map_err(unavailable(APPLYING))?;
        let done = put_definition_in(writing.connection(), definition).await;
        match done {
            Ok(done) => writing
                .commit()
                .await
                .map_err(unavailable(APPLYING))
                .map(|()| done),
            Err(error) => {
                writing.rollback().await;
                Err(error)
            }
        }
    }

    async fn definition(&self, query: &DefinitionQuery) -> Result<Option<DefinitionRecord>, Error> {
        let query = match query {
            DefinitionQuery::Newest { namespace, name } => sqlx::query(sql::DEFINITION_NEWEST)
                .bind(namespace)
                .bind(name),
            DefinitionQuery::Revision {
                namespace,
                name,
                revision,
            } => sqlx::query(sql::DEFINITION_REVISION)
                .bind(namespace)
                .bind(name)
                .bind(revision),
            DefinitionQuery::Hash(hash) => sqlx::query(sql::DEFINITION_HASH).bind(hash.0.to_vec()),
        };
        Ok(self
            .read(query, "reading a definition", rows::definition)
            .await?
            .pop())
    }

    async fn list_definitions(
        &self,
        namespace: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DefinitionRecord>, Error> {
        let query = sqlx::query(sql::DEFINITIONS)
            .bind(namespace)
            .bind(after)
            .bind(count(limit));
        self.read(query, "listing definitions", rows::definition)
            .await
    }

    async fn delete_definition(
        &self,
        namespace: &str,
        name: &str,
        revision: u32,
    ) -> Result<bool, Error> {
        let mut writer = self.writer.lock().await;
        let mut writing = writer.begin().await.map_err(unavailable(DELETING))?;
        let deleted = sqlx::query(sql::DELETE_DEFINITION)
            .bind(namespace)
            .bind(name)
            .bind(revision)
            .fetch_optional(writing.connection())
            .await
            .map_err(unavailable(DELETING))?;
        writing.commit().await.map_err(unavailable(DELETING))?;
        Ok(deleted.is_some())
    }
}

async fn put_definition_in(
    connection: &mut SqliteConnection,
    definition: &NewDefinition,
) -> Result<(DefinitionRecord, bool), Error> {
    let query = sqlx::query(sql::DEFINITION_NEWEST)
        .bind(&definition.namespace)
        .bind(&definition.name);
    let newest = query
        .fetch_optional(&mut *connection)
        .await
        .map_err(unavailable(APPLYING))?;
    let newest = newest.as_ref().map(rows::definition).transpose()?;
    if let Some(same) = newest
        .as_ref()
        .filter(|newest| newest.hash == definition.hash)
    {
        return Ok((same.clone(), false));
    }
    let last = sqlx::query(sql::DEFINITION_LAST)
        .bind(&definition.namespace)
        .bind(&definition.name)
        .fetch_one(&mut *connection)
        .await
        .map_err(unavailable(APPLYING))?;
    let revision = get::<u32>(&last, 0)? + 1;
    let query = sqlx::query(sql::PUT_DEFINITION)
        .bind(&definition.namespace)
        .bind(&definition.name)
        .bind(revision)
        .bind(definition.hash.0.to_vec())
        .bind(&definition.source)
        .bind(&definition.normal_form);
    let row = query
        .fetch_one(connection)
        .await
        .map_err(unavailable(APPLYING))?;
    Ok((
        definition.at_revision(revision, Time::from_micros(get(&row, 0)?)),
        true,
    ))
}

const APPLYING: &str = "storing a definition";
const DELETING: &str = "deleting a definition";
