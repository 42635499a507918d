//! Who owns which shard.

use amends_core::{ShardId, Time};
use amends_store::{Error, Leases, NodeLease};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::rows::{get, unavailable};
use crate::{SqliteStore, json_list, micros, sql};

#[async_trait]
impl Leases for SqliteStore {
    async fn claim(&self, node: &NodeLease, shards: &[ShardId]) -> Result<Vec<ShardId>, Error> {
        let shards = json_list(shards);
        let mut writer = self.writer.lock().await;
        let mut writing = writer.begin().await.map_err(unavailable(CLAIMING))?;
        let rows = claim_in(writing.connection(), node, &shards)
            .await
            .map_err(unavailable(CLAIMING))?;
        writing.commit().await.map_err(unavailable(CLAIMING))?;
        rows.iter().map(|row| get(row, 0).map(ShardId)).collect()
    }

    async fn renew(&self, node: &NodeLease, clock: Time) -> Result<Time, Error> {
        let mut writer = self.writer.lock().await;
        let mut writing = writer.begin().await.map_err(unavailable(RENEWING))?;
        let query = sqlx::query(sql::RENEW)
            .bind(&node.name)
            .bind(node.process.as_bytes().to_vec());
        let query = query.bind(micros(node.lease)).bind(clock.as_micros());
        let row = query
            .fetch_optional(writing.connection())
            .await
            .map_err(unavailable(RENEWING))?;
        writing.commit().await.map_err(unavailable(RENEWING))?;
        let row = row.ok_or_else(|| Error::LeaseLost {
            node: node.name.clone(),
        })?;
        Ok(Time::from_micros(get(&row, 0)?))
    }

    async fn clocks_until(&self, node: &NodeLease) -> Result<Time, Error> {
        let query = sqlx::query(sql::CLOCKS_UNTIL).bind(&node.name);
        let row = query
            .fetch_one(&self.readers)
            .await
            .map_err(unavailable("reading clocks"))?;
        Ok(Time::from_micros(get(&row, 0)?))
    }

    async fn release(&self, node: &NodeLease) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        let mut writing = writer.begin().await.map_err(unavailable(RELEASING))?;
        for sql in [sql::RELEASE_SHARDS, sql::RELEASE_NODE] {
            let query = sqlx::query(sql)
                .bind(&node.name)
                .bind(node.process.as_bytes().to_vec());
            query
                .execute(writing.connection())
                .await
                .map_err(unavailable(RELEASING))?;
        }
        writing.commit().await.map_err(unavailable(RELEASING))
    }
}

async fn claim_in(
    connection: &mut SqliteConnection,
    node: &NodeLease,
    shards: &str,
) -> sqlx::Result<Vec<SqliteRow>> {
    let query = sqlx::query(sql::CLAIM_NODE)
        .bind(&node.name)
        .bind(node.process.as_bytes().to_vec());
    query
        .bind(&node.address)
        .bind(micros(node.lease))
        .execute(&mut *connection)
        .await?;
    for sql in [sql::CLAIM_DEPOSE, sql::CLAIM_SHARDS] {
        sqlx::query(sql)
            .bind(&node.name)
            .bind(shards)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(sql::CLAIMED)
        .bind(&node.name)
        .bind(shards)
        .fetch_all(connection)
        .await
}

const CLAIMING: &str = "claiming shards";
const RENEWING: &str = "renewing a lease";
const RELEASING: &str = "releasing a lease";
