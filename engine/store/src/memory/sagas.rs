//! Sagas in memory: reading them.

use std::collections::{BTreeMap, BTreeSet};

use amends_core::{SagaId, ShardId, Time};
use async_trait::async_trait;

use super::MemoryStore;
use super::state::{Saga, is_needed};
use crate::{
    Error, ExpiryPage, KeyFound, KeyLookup, ListQuery, SagaHistory, SagaRecord, Sagas, Swept,
    TurnRecord, distinct, histories,
};

#[async_trait]
impl Sagas for MemoryStore {
    async fn load_active(
        &self,
        shard: ShardId,
        after: Option<SagaId>,
        awake_before: Time,
        limit: usize,
    ) -> Result<Vec<SagaHistory>, Error> {
        let state = self.state();
        let sagas: Vec<SagaRecord> = (state.of_shard(shard))
            .filter(|saga| !saga.state.is_terminal())
            .filter(|saga| after.is_none_or(|after| saga.id > after))
            .filter(|saga| saga.wake_at.is_none_or(|wake_at| wake_at <= awake_before))
            .take(limit)
            .cloned()
            .collect();
        let wanted: BTreeSet<SagaId> = sagas.iter().map(|saga| saga.id).collect();
        let rows = state.rows(shard, |saga| wanted.contains(&saga), 1, usize::MAX);
        Ok(histories(sagas, rows))
    }

    async fn sleepers(
        &self,
        shard: ShardId,
        after: Option<(Time, SagaId)>,
        limit: usize,
    ) -> Result<Vec<(SagaId, Time)>, Error> {
        let state = self.state();
        let until_when = |saga: &SagaRecord| {
            let until = saga.wake_at.filter(|until| *until != Time::INFINITY)?;
            Some((until, saga.id))
        };
        let sleepers: BTreeSet<(Time, SagaId)> = (state.of_shard(shard))
            .filter_map(until_when)
            .filter(|place| after.is_none_or(|after| *place > after))
            .collect();
        let page = sleepers.into_iter().take(limit);
        Ok(page.map(|(until, saga)| (saga, until)).collect())
    }

    async fn turns(&self, shard: ShardId) -> Result<Vec<TurnRecord>, Error> {
        let state = self.state();
        let turn = |saga: &Saga| {
            Some(TurnRecord {
                saga: saga.record.id,
                namespace: saga.record.namespace.clone(),
                definition: saga.record.definition.clone(),
                turn: saga.turn?,
            })
        };
        let mut turns: Vec<TurnRecord> = (state.sagas.values())
            .filter(|saga| saga.record.id.shard() == shard)
            .filter_map(turn)
            .collect();
        turns.sort_by_key(|record| (record.turn.position, record.saga));
        Ok(turns)
    }

    async fn history(
        &self,
        saga: SagaId,
        from: u64,
        limit: usize,
    ) -> Result<Option<SagaHistory>, Error> {
        let state = self.state();
        let Some(record) = state.sagas.get(&saga).map(|saga| saga.record.clone()) else {
            return Ok(None);
        };
        let rows = state.rows(saga.shard(), |other| other == saga, from, limit);
        Ok(histories(vec![record], rows).pop())
    }

    async fn histories(&self, sagas: &[SagaId]) -> Result<Vec<SagaHistory>, Error> {
        let state = self.state();
        let mut found = Vec::with_capacity(sagas.len());
        for saga in distinct(sagas) {
            let Some(record) = state.sagas.get(&saga).map(|saga| saga.record.clone()) else {
                continue;
            };
            let rows = state.rows(saga.shard(), |other| other == saga, 1, usize::MAX);
            found.extend(histories(vec![record], rows));
        }
        Ok(found)
    }

    async fn lookup_keys(&self, keys: &[KeyLookup]) -> Result<Vec<Option<KeyFound>>, Error> {
        let state = self.state();
        let find = |key: &KeyLookup| {
            let key = (
                key.namespace.to_string(),
                key.definition.to_string(),
                key.key_hash,
            );
            state.keys.get(&key).copied()
        };
        Ok(keys.iter().map(find).collect())
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<SagaRecord>, Error> {
        let state = self.state();
        let wanted = |saga: &&SagaRecord| {
            *saga.namespace == *query.namespace
                && (query.states.is_empty() || query.states.contains(&saga.state))
                && query
                    .definition
                    .as_deref()
                    .is_none_or(|name| *saga.definition == *name)
                && query
                    .key
                    .as_deref()
                    .is_none_or(|key| saga.key.as_deref() == Some(key))
                && query.before.is_none_or(|before| saga.id < before)
        };
        let newest_first = state.sagas.values().rev().map(|saga| &saga.record);
        let page = newest_first.filter(wanted).take(query.limit);
        Ok(page.cloned().collect())
    }

    async fn count_active(
        &self,
        namespace: &str,
        definition: &str,
    ) -> Result<Vec<(u32, u64)>, Error> {
        let state = self.state();
        let mut counts = BTreeMap::new();
        for Saga { record, .. } in state.sagas.values() {
            let asked = *record.namespace == *namespace && *record.definition == *definition;
            if asked && is_needed(record, &state.sagas) {
                *counts.entry(record.revision).or_insert(0) += 1;
            }
        }
        Ok(counts.into_iter().collect())
    }

    async fn shards_in_use(&self) -> Result<Vec<ShardId>, Error> {
        let shards: BTreeSet<ShardId> =
            self.state().sagas.keys().map(|saga| saga.shard()).collect();
        Ok(shards.into_iter().collect())
    }

    async fn expire(&self, page: &ExpiryPage) -> Result<Swept, Error> {
        let mut state = self.state();
        match state.expire_faults.pop_front() {
            None => return Ok(state.expire(page)),
            Some(landed) => {
                if landed {
                    state.expire(page);
                }
            }
        }
        Err(Error::Unavailable {
            what: "deleting expired sagas",
            source: "a fault that was asked for".into(),
        })
    }
}
