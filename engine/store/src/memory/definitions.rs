//! Revisions of definitions in memory.

use async_trait::async_trait;

use super::MemoryStore;
use super::state::Stored;
use crate::{DefinitionQuery, DefinitionRecord, Definitions, Error, NewDefinition};

#[async_trait]
impl Definitions for MemoryStore {
    async fn put_definition(
        &self,
        definition: &NewDefinition,
    ) -> Result<(DefinitionRecord, bool), Error> {
        let mut state = self.state();
        let applied_at = self.now(&state);
        let name = (definition.namespace.clone(), definition.name.clone());
        let revisions = state.definitions.entry(name).or_default();
        let newest = revisions.iter().rev().find(|stored| !stored.deleted);
        if let Some(newest) = newest.filter(|newest| newest.record.hash == definition.hash) {
            return Ok((newest.record.clone(), false));
        }
        let revision = revisions.last().map_or(1, |last| last.record.revision + 1);
        let record = definition.at_revision(revision, applied_at);
        revisions.push(Stored {
            record: record.clone(),
            deleted: false,
        });
        Ok((record, true))
    }

    async fn definition(&self, query: &DefinitionQuery) -> Result<Option<DefinitionRecord>, Error> {
        let state = self.state();
        let visible = |namespace: &String, name: &String| {
            let name = (namespace.clone(), name.clone());
            let revisions = state.definitions.get(&name).into_iter().flatten();
            revisions.filter(|stored| !stored.deleted)
        };
        let found = match query {
            DefinitionQuery::Newest { namespace, name } => visible(namespace, name).next_back(),
            DefinitionQuery::Revision {
                namespace,
                name,
                revision,
            } => visible(namespace, name).find(|stored| stored.record.revision == *revision),
            DefinitionQuery::Hash(hash) => {
                (state.definitions.values().flatten()).find(|stored| stored.record.hash == *hash)
            }
        };
        Ok(found.map(|stored| stored.record.clone()))
    }

    async fn list_definitions(
        &self,
        namespace: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DefinitionRecord>, Error> {
        let state = self.state();
        let of_names = state.definitions.iter().filter(|((ns, name), _)| {
            ns == namespace && after.is_none_or(|after| name.as_str() > after)
        });
        let newest = of_names
            .filter_map(|(_, revisions)| revisions.iter().rev().find(|stored| !stored.deleted));
        let newest = newest.map(|stored| stored.record.clone());
        Ok(newest.take(limit).collect())
    }

    async fn delete_definition(
        &self,
        namespace: &str,
        name: &str,
        revision: u32,
    ) -> Result<bool, Error> {
        let mut state = self.state();
        let name = (namespace.to_owned(), name.to_owned());
        let mut revisions = state.definitions.get_mut(&name).into_iter().flatten();
        let found = revisions.find(|it| it.record.revision == revision && !it.deleted);
        let Some(stored) = found else {
            return Ok(false);
        };
        stored.deleted = true;
        Ok(true)
    }
}
