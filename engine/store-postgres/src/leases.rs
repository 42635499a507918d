//! Who owns which shard.

use amends_core::{ShardId, Time};
use amends_store::{Error, Leases, NodeLease};
use async_trait::async_trait;
use sqlx::postgres::{PgPool, PgRow};

use crate::failure::unavailable;
use crate::lane::shard_number;
use crate::timestamp::Timestamp;
use crate::{ANSWER_TIMEOUT, PostgresStore, fetch, rows, sql};

#[async_trait]
impl Leases for PostgresStore {
    async fn claim(&self, node: &NodeLease, shards: &[ShardId]) -> Result<Vec<ShardId>, Error> {
        let shards: Vec<i16> = shards.iter().map(|shard| shard_number(*shard)).collect();
        let rows = claim(&self.leases, node, &shards)
            .await
            .map_err(unavailable("claiming shards"))?;
        rows.iter().map(rows::shard).collect()
    }

    async fn renew(&self, node: &NodeLease, clock: Time) -> Result<Time, Error> {
        let query = sqlx::query(sql::RENEW)
            .bind(&node.name)
            .bind(node.process)
            .bind(node.lease.as_secs_f64())
            .bind(Timestamp(clock));
        let renewed = fetch(&self.leases, query, "renewing a lease", ANSWER_TIMEOUT).await?;
        let Some(row) = renewed.first() else {
            return Err(Error::LeaseLost {
                node: node.name.clone(),
            });
        };
        rows::time(row, 0)
    }

    async fn clocks_until(&self, node: &NodeLease) -> Result<Time, Error> {
        let query = sqlx::query(sql::CLOCKS_UNTIL).bind(&node.name);
        let told = fetch(&self.leases, query, "reading clocks", ANSWER_TIMEOUT).await?;
        told.first()
            .map_or(Ok(Time::EPOCH), |row| rows::time(row, 0))
    }

    async fn release(&self, node: &NodeLease) -> Result<(), Error> {
        let query = sqlx::query(sql::RELEASE)
            .bind(&node.name)
            .bind(node.process);
        let released = fetch(&self.leases, query, "releasing a lease", ANSWER_TIMEOUT).await;
        released.map(|_| ())
    }
}

async fn claim(leases: &PgPool, node: &NodeLease, shards: &[i16]) -> sqlx::Result<Vec<PgRow>> {
    let mut transaction = leases.begin().await?;
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
    for sql in [sql::CLAIM_DEPOSE, sql::CLAIM_SHARDS] {
        sqlx::query(sql)
            .bind(&node.name)
            .bind(shards)
            .execute(&mut *transaction)
            .await?;
    }
    let claimed = sqlx::query(sql::CLAIMED)
        .bind(&node.name)
        .bind(shards)
        .fetch_all(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(claimed)
}
