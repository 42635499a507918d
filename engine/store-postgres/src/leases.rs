//! Who owns which shard.

use amends_core::{ShardId, Time};
use amends_store::{Error, Leases, NodeLease};
use async_trait::async_trait;
use sqlx::postgres::{PgPool, PgRow};

use crate::failure::unavailable;
use crate::lane::shard_number;
use crate::{PostgresStore, rows, sql};

#[async_trait]
impl Leases for PostgresStore {
    async fn claim(&self, node: &NodeLease, shards: &[ShardId]) -> Result<Vec<ShardId>, Error> {
        let shards: Vec<i16> = shards.iter().map(|shard| shard_number(*shard)).collect();
        let rows = claim(&self.readers, node, &shards)
            .await
            .map_err(unavailable("claiming shards"))?;
        rows.iter().map(rows::shard).collect()
    }

    async fn renew(&self, node: &NodeLease) -> Result<Time, Error> {
        let query = sqlx::query(sql::RENEW)
            .bind(&node.name)
            .bind(node.process)
            .bind(node.lease.as_secs_f64());
        let renewed = self
            .read(query, "renewing a lease", |row| rows::time(row, 0))
            .await?
            .pop();
        renewed.ok_or_else(|| Error::LeaseLost {
            node: node.name.clone(),
        })
    }

    async fn release(&self, node: &NodeLease) -> Result<(), Error> {
        let query = sqlx::query(sql::RELEASE)
            .bind(&node.name)
            .bind(node.process);
        query
            .execute(&self.readers)
            .await
            .map_err(unavailable("releasing a lease"))?;
        Ok(())
    }
}

async fn claim(readers: &PgPool, node: &NodeLease, shards: &[i16]) -> sqlx::Result<Vec<PgRow>> {
    let mut transaction = readers.begin().await?;
    sqlx::query(sql::CLAIM_LOCK)
        .bind(shards)
        .execute(&mut *transaction)
        .await?;
    let query = sqlx::query(sql::CLAIM_NODE)
        .bind(&node.name)
        .bind(node.process)
        .bind(&node.address);
    query
        .bind(node.lease.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(sql::CLAIM_SHARDS)
        .bind(&node.name)
        .bind(shards)
        .execute(&mut *transaction)
        .await?;
    let claimed = sqlx::query(sql::CLAIMED)
        .bind(&node.name)
        .bind(shards)
        .fetch_all(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(claimed)
}
