//! Sagas: what has to be in memory, what sleeps, histories, keys and lists.

use std::collections::BTreeMap;

use amends_core::key::hash_128;
use amends_core::{SagaId, ShardId, Time};
use amends_store::{
    Error, ExpiryPage, KeyFound, KeyLookup, ListQuery, SagaHistory, SagaRecord, Sagas, Swept,
    TurnRecord, distinct, histories,
};
use async_trait::async_trait;
use uuid::Uuid;

use crate::append::{Values, filled};
use crate::lane::signed;
use crate::rows::unavailable;
use crate::{SqliteStore, count, expiry, json_list, json_sagas, rows, sql};

#[async_trait]
impl Sagas for SqliteStore {
    async fn load_active(
        &self,
        shard: ShardId,
        after: Option<SagaId>,
        awake_before: Time,
        limit: usize,
    ) -> Result<Vec<SagaHistory>, Error> {
        // Every id is above the empty text.
        let after = after.map(|after| after.to_string()).unwrap_or_default();
        let query = sqlx::query(sql::ACTIVE)
            .bind(shard.0)
            .bind(after)
            .bind(awake_before.as_micros());
        let sagas = self
            .read(query.bind(count(limit)), "reading active sagas", rows::saga)
            .await?;
        let ids: Vec<String> = sagas
            .iter()
            .map(|saga: &SagaRecord| format!("\"{}\"", saga.id))
            .collect();
        let query = sqlx::query(sql::ACTIVE_ROWS)
            .bind(shard.0)
            .bind(json_list(&ids));
        let rows = self
            .read(
                query,
                "reading the histories of active sagas",
                rows::stored_row,
            )
            .await?;
        Ok(histories(sagas, rows))
    }

    async fn sleepers(
        &self,
        shard: ShardId,
        after: Option<(Time, SagaId)>,
        limit: usize,
    ) -> Result<Vec<(SagaId, Time)>, Error> {
        // Nobody sleeps until the beginning of time, and every id is above the empty text.
        let (time, id) = after.map_or((i64::MIN, String::new()), |(time, id)| {
            (time.as_micros(), id.to_string())
        });
        let query = sqlx::query(sql::SLEEPERS)
            .bind(shard.0)
            .bind(time)
            .bind(id)
            .bind(count(limit));
        self.read(query, "reading sleeping sagas", rows::sleeper)
            .await
    }

    async fn turns(&self, shard: ShardId) -> Result<Vec<TurnRecord>, Error> {
        let query = sqlx::query(sql::TURNS).bind(shard.0);
        self.read(query, "reading turns", rows::turn).await
    }

    async fn history(
        &self,
        saga: SagaId,
        from: u64,
        limit: usize,
    ) -> Result<Option<SagaHistory>, Error> {
        let query = sqlx::query(sql::SAGA)
            .bind(saga.shard().0)
            .bind(saga.to_string());
        let sagas = self.read(query, "reading a saga", rows::saga).await?;
        if sagas.is_empty() {
            return Ok(None);
        }
        let query = sqlx::query(sql::HISTORY)
            .bind(saga.shard().0)
            .bind(saga.to_string());
        let query = query.bind(signed(from)).bind(count(limit));
        let rows = self
            .read(query, "reading a saga's history", rows::stored_row)
            .await?;
        Ok(histories(sagas, rows).pop())
    }

    async fn histories(&self, sagas: &[SagaId]) -> Result<Vec<SagaHistory>, Error> {
        let asked = json_sagas(&distinct(sagas));
        let query = sqlx::query(sql::SAGAS).bind(asked.clone());
        let sagas = self.read(query, "reading sagas", rows::saga).await?;
        let query = sqlx::query(sql::HISTORIES).bind(asked);
        let rows = self
            .read(query, "reading histories of sagas", rows::stored_row)
            .await?;
        Ok(histories(sagas, rows))
    }

    async fn lookup_keys(&self, keys: &[KeyLookup]) -> Result<Vec<Option<KeyFound>>, Error> {
        let mut found = vec![None; keys.len()];
        let keys: Vec<(usize, &KeyLookup)> = keys.iter().enumerate().collect();
        for (sized, values) in filled(&sql::LOOKUP_KEYS, &keys, bind_lookup) {
            let what = "looking keys up";
            let arguments = values.into_arguments().map_err(unavailable(what))?;
            let query = sqlx::query_with(sized.sql.as_str(), arguments);
            for (index, key) in self.read(query, what, rows::key_found).await? {
                found[index] = Some(key);
            }
        }
        self.add_revisions(&mut found).await?;
        Ok(found)
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<SagaRecord>, Error> {
        let statement = match &query.key {
            Some(_) => sql::LIST_KEYED,
            None if query.is_of_few() => sql::LIST_STATES,
            None => sql::LIST,
        };
        let states: Vec<i16> = query.states.iter().map(|state| state.code()).collect();
        let before = query.before.map_or(Uuid::max(), SagaId::as_uuid);
        let sql = sqlx::query(statement)
            .bind(&query.namespace)
            .bind(json_list(&states))
            .bind(&query.definition)
            .bind(before.to_string())
            .bind(count(query.limit));
        let sql = match &query.key {
            Some(key) => sql.bind(hash_128(key.as_bytes()).0.to_vec()).bind(key),
            None if query.is_of_few() => sql,
            None => sql.bind(count(query.limit.div_ceil(LISTED_FIRST))),
        };
        self.read(sql, "listing sagas", rows::saga).await
    }

    async fn count_active(
        &self,
        namespace: &str,
        definition: &str,
    ) -> Result<Vec<(u32, u64)>, Error> {
        let query = sqlx::query(sql::COUNT_ACTIVE)
            .bind(namespace)
            .bind(definition);
        self.read(query, "counting sagas", rows::count).await
    }

    async fn shards_in_use(&self) -> Result<Vec<ShardId>, Error> {
        let query = sqlx::query(sql::SHARDS_IN_USE);
        self.read(query, "looking for shards in use", rows::shard)
            .await
    }

    async fn expire(&self, page: &ExpiryPage) -> Result<Swept, Error> {
        let query = sqlx::query(sql::SWEEP)
            .bind(page.shard.0)
            .bind(page.above().to_string())
            .bind(page.below().to_string())
            .bind(count(page.limit));
        let looked = self.read(query, "looking for expired sagas", rows::looked);
        let looked = looked.await?;
        let expired = page.expired(&looked);
        if expired.is_empty() {
            return Ok(page.swept(&looked, &[]));
        }
        let mut writer = self.writer.lock().await;
        let gone = expiry::expire(&mut writer, page.shard, page.now, &expired).await?;
        Ok(page.swept(&looked, &gone))
    }
}

impl SqliteStore {
    /// A key whose saga is gone in the meantime is gone with it.
    async fn add_revisions(&self, found: &mut [Option<KeyFound>]) -> Result<(), Error> {
        let sagas: Vec<SagaId> = found.iter().flatten().map(|found| found.saga).collect();
        if sagas.is_empty() {
            return Ok(());
        }
        let query = sqlx::query(sql::REVISIONS).bind(json_sagas(&distinct(&sagas)));
        let what = "reading the revisions of sagas";
        let revisions = self.read(query, what, rows::revision_found).await?;
        let revisions: BTreeMap<SagaId, u32> = revisions.into_iter().collect();
        for slot in found {
            let Some(key) = *slot else { continue };
            let revision = revisions.get(&key.saga).copied();
            *slot = revision.map(|revision| KeyFound { revision, ..key });
        }
        Ok(())
    }
}

/// A list looks at this part of its page in each shard, before it knows where the page ends.
const LISTED_FIRST: usize = 16;

/// A key, and which of those that are asked for it is.
fn bind_lookup(values: &mut Values, (index, key): (usize, &KeyLookup)) {
    values
        .bind(count(index))
        .bind(&*key.namespace)
        .bind(&*key.definition)
        .bind(key.key_hash.0.to_vec());
}
