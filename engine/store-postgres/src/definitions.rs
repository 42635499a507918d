//! Revisions of definitions.

use amends_store::{DefinitionQuery, DefinitionRecord, Definitions, Error, NewDefinition};
use async_trait::async_trait;

use crate::{PostgresStore, count, revision_number, rows, sql};

#[async_trait]
impl Definitions for PostgresStore {
    async fn put_definition(
        &self,
        definition: &NewDefinition,
    ) -> Result<(DefinitionRecord, bool), Error> {
        for _ in 0..PUT_TRIES {
            // Before the newest is looked at: whoever stores one in between has this number, or is that newest.
            let revision = self
                .next_revision(&definition.namespace, &definition.name)
                .await?;
            let newest = self
                .newest_definition(&definition.namespace, &definition.name)
                .await?;
            if let Some(same) = newest
                .as_ref()
                .filter(|newest| newest.hash == definition.hash)
            {
                return Ok((same.clone(), false));
            }
            let query = sqlx::query(sql::PUT_DEFINITION)
                .bind(&definition.namespace)
                .bind(&definition.name)
                .bind(revision_number(revision))
                .bind(&definition.hash.0[..])
                .bind(&definition.source)
                .bind(&definition.normal_form);
            let applied = self
                .read(query, "storing a definition", |row| rows::time(row, 0))
                .await?
                .pop();
            // Otherwise another took the number: it is the newest then.
            if let Some(applied_at) = applied {
                return Ok((definition.at_revision(revision, applied_at), true));
            }
        }
        let what = "storing a definition";
        Err(Error::Unavailable {
            what,
            source: "others store revisions of it without end".into(),
        })
    }

    async fn definition(&self, query: &DefinitionQuery) -> Result<Option<DefinitionRecord>, Error> {
        let query = match query {
            DefinitionQuery::Newest { namespace, name } => {
                return self.newest_definition(namespace, name).await;
            }
            DefinitionQuery::Revision {
                namespace,
                name,
                revision,
            } => {
                let query = sqlx::query(sql::DEFINITION_REVISION)
                    .bind(namespace)
                    .bind(name);
                query.bind(revision_number(*revision))
            }
            DefinitionQuery::Hash(hash) => sqlx::query(sql::DEFINITION_HASH).bind(&hash.0[..]),
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
        let query = sqlx::query(sql::DELETE_DEFINITION)
            .bind(namespace)
            .bind(name)
            .bind(revision_number(revision));
        let deleted = self
            .read(query, "deleting a definition", |row| rows::revision(row, 0))
            .await?;
        Ok(!deleted.is_empty())
    }
}

impl PostgresStore {
    async fn newest_definition(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DefinitionRecord>, Error> {
        let query = sqlx::query(sql::DEFINITION_NEWEST)
            .bind(namespace)
            .bind(name);
        Ok(self
            .read(query, "reading a definition", rows::definition)
            .await?
            .pop())
    }

    /// The number behind the last that was given, to a deleted one too.
    async fn next_revision(&self, namespace: &str, name: &str) -> Result<u32, Error> {
        let query = sqlx::query(sql::DEFINITION_LAST).bind(namespace).bind(name);
        let last = self
            .read(query, "reading a definition", |row| rows::revision(row, 0))
            .await?
            .pop();
        Ok(last.unwrap_or(0) + 1)
    }
}

/// Each try fails only because another's succeeded.
const PUT_TRIES: u32 = 100;
