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

use crate::lane::shard_number;
use crate::timestamp::Timestamp;
use crate::{PostgresStore, count, expiry, rows, signed, sql};

#[async_trait]
impl Sagas for PostgresStore {
    async fn load_active(
        &self,
        shard: ShardId,
        after: Option<SagaId>,
        awake_before: Time,
        limit: usize,
    ) -> Result<Vec<SagaHistory>, Error> {
        // Every id is above the nil UUID.
        let after = after.map_or(Uuid::nil(), SagaId::as_uuid);
        let query = sqlx::query(sql::ACTIVE)
            .bind(shard_number(shard))
            .bind(after)
            .bind(Timestamp(awake_before));
        let sagas = self
            .read_at_length(query.bind(count(limit)), "reading active sagas", rows::saga)
            .await?;
        let ids: Vec<Uuid> = sagas
            .iter()
            .map(|saga: &SagaRecord| saga.id.as_uuid())
            .collect();
        let query = sqlx::query(sql::ACTIVE_ROWS)
            .bind(shard_number(shard))
            .bind(ids);
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
        // Nobody sleeps until the beginning of time, and no id is below the nil UUID.
        let (time, id) = after.map_or((BEGINNING, Uuid::nil()), |(time, id)| (time, id.as_uuid()));
        let query = sqlx::query(sql::SLEEPERS)
            .bind(shard_number(shard))
            .bind(Timestamp(time))
            .bind(id)
            .bind(count(limit));
        self.read(query, "reading sleeping sagas", rows::sleeper)
            .await
    }

    async fn turns(&self, shard: ShardId) -> Result<Vec<TurnRecord>, Error> {
        let query = sqlx::query(sql::TURNS).bind(shard_number(shard));
        self.read(query, "reading turns", rows::turn).await
    }

    async fn history(
        &self,
        saga: SagaId,
        from: u64,
        limit: usize,
    ) -> Result<Option<SagaHistory>, Error> {
        let shard = shard_number(saga.shard());
        let query = sqlx::query(sql::SAGA).bind(shard).bind(saga.as_uuid());
        let sagas = self.read(query, "reading a saga", rows::saga).await?;
        if sagas.is_empty() {
            return Ok(None);
        }
        let query = sqlx::query(sql::HISTORY).bind(shard).bind(saga.as_uuid());
        let query = query.bind(signed(from)).bind(count(limit));
        let rows = self
            .read(query, "reading a saga's history", rows::stored_row)
            .await?;
        Ok(histories(sagas, rows).pop())
    }

    async fn histories(&self, sagas: &[SagaId]) -> Result<Vec<SagaHistory>, Error> {
        let sagas = distinct(sagas);
        let (shards, ids) = columns(&sagas);
        let query = sqlx::query(sql::SAGAS).bind(&shards).bind(&ids);
        let sagas = self.read(query, "reading sagas", rows::saga).await?;
        let query = sqlx::query(sql::HISTORIES).bind(shards).bind(ids);
        let rows = self
            .read(query, "reading histories of sagas", rows::stored_row)
            .await?;
        Ok(histories(sagas, rows))
    }

    async fn lookup_keys(&self, keys: &[KeyLookup]) -> Result<Vec<Option<KeyFound>>, Error> {
        let query = sqlx::query(sql::LOOKUP_KEYS)
            .bind(
                keys.iter()
                    .map(|key| &*key.namespace)
                    .collect::<Vec<&str>>(),
            )
            .bind(
                keys.iter()
                    .map(|key| &*key.definition)
                    .collect::<Vec<&str>>(),
            )
            .bind(
                keys.iter()
                    .map(|key| &key.key_hash.0[..])
                    .collect::<Vec<&[u8]>>(),
            );
        let mut found = vec![None; keys.len()];
        for (place, key) in self.read(query, "looking keys up", rows::key_found).await? {
            if let Some(slot) = at(&mut found, place) {
                *slot = Some(key);
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
        let sql = sqlx::query(statement)
            .bind(&query.namespace)
            .bind(states)
            .bind(&query.definition)
            .bind(query.before.map_or(Uuid::max(), SagaId::as_uuid))
            .bind(count(query.limit));
        let sql = match &query.key {
            Some(key) => sql.bind(hash_128(key.as_bytes()).0.to_vec()).bind(key),
            None => sql.bind(count(query.limit.div_ceil(LISTED_FIRST))),
        };
        self.read_at_length(sql, "listing sagas", rows::saga).await
    }

    async fn count_active(
        &self,
        namespace: &str,
        definition: &str,
    ) -> Result<Vec<(u32, u64)>, Error> {
        let query = sqlx::query(sql::COUNT_ACTIVE)
            .bind(namespace)
            .bind(definition);
        self.read_at_length(query, "counting sagas", rows::count)
            .await
    }

    async fn shards_in_use(&self) -> Result<Vec<ShardId>, Error> {
        let query = sqlx::query(sql::SHARDS_IN_USE);
        self.read(query, "looking for shards in use", rows::shard)
            .await
    }

    async fn expire(&self, page: &ExpiryPage) -> Result<Swept, Error> {
        let query = sqlx::query(sql::SWEEP)
            .bind(shard_number(page.shard))
            .bind(page.above())
            .bind(page.below())
            .bind(count(page.limit));
        let looked = self.read(query, "looking for expired sagas", rows::looked);
        let looked = looked.await?;
        let expired = page.expired(&looked);
        if expired.is_empty() {
            return Ok(page.swept(&looked, &[]));
        }
        let gone = expiry::expire(&self.readers, page.shard, page.now, &expired).await?;
        Ok(page.swept(&looked, &gone))
    }
}

impl PostgresStore {
    /// A key whose saga is gone in the meantime is gone with it.
    async fn add_revisions(&self, found: &mut [Option<KeyFound>]) -> Result<(), Error> {
        let sagas: Vec<SagaId> = found.iter().flatten().map(|found| found.saga).collect();
        let sagas = distinct(&sagas);
        if sagas.is_empty() {
            return Ok(());
        }
        let (shards, ids) = columns(&sagas);
        let query = sqlx::query(sql::REVISIONS).bind(shards).bind(ids);
        let mut revisions = vec![None; sagas.len()];
        let what = "reading the revisions of sagas";
        for (place, revision) in self.read(query, what, rows::revision_found).await? {
            if let Some(slot) = at(&mut revisions, place) {
                *slot = Some(revision);
            }
        }
        let revisions: BTreeMap<SagaId, Option<u32>> = sagas.into_iter().zip(revisions).collect();
        for slot in found {
            let Some(key) = *slot else { continue };
            let revision = revisions.get(&key.saga).copied().flatten();
            *slot = revision.map(|revision| KeyFound { revision, ..key });
        }
        Ok(())
    }
}

/// What stands at a place that PostgreSQL counts from 1.
fn at<T>(items: &mut [T], place: u64) -> Option<&mut T> {
    let index = usize::try_from(place).ok()?.checked_sub(1)?;
    items.get_mut(index)
}

fn columns(sagas: &[SagaId]) -> (Vec<i16>, Vec<Uuid>) {
    (sagas.iter())
        .map(|saga| (shard_number(saga.shard()), saga.as_uuid()))
        .unzip()
}

/// Earlier than every real time: PostgreSQL's `-infinity`.
const BEGINNING: Time = Time::from_micros(i64::MIN);
/// A list looks at this part of its page in each shard, before it knows where the page ends.
const LISTED_FIRST: usize = 16;
