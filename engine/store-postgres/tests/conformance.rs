//! The PostgreSQL store against the suite of all stores.

use std::sync::Arc;

use amends_core::ShardId;
use amends_store::conformance::{Database, Subject, run};
use amends_store::{Cause, Store};
use amends_store_postgres::{PostgresOptions, PostgresStore, migrations};
use amends_tests::postgres::Cluster;
use async_trait::async_trait;
use sqlx::Connection as _;

struct Postgres;

#[async_trait]
impl Subject for Postgres {
    async fn create(&self, shard_count: u16) -> Result<Arc<dyn Database>, Cause> {
        let url = Cluster::shared().create_database()?;
        migrations::migrate(&url, shard_count).await?;
        Ok(Arc::new(OnCluster { url }))
    }
}

struct OnCluster {
    url: String,
}

#[async_trait]
impl Database for OnCluster {
    async fn open(&self) -> Result<Arc<dyn Store>, Cause> {
        Ok(Arc::new(
            PostgresStore::open(PostgresOptions::new(&self.url)).await?,
        ))
    }

    async fn overwrite_body(
        &self,
        shard: ShardId,
        position: u64,
        body: &[u8],
    ) -> Result<(), Cause> {
        let mut connection = sqlx::PgConnection::connect(&self.url).await?;
        let query =
            sqlx::query("UPDATE amends.journal SET body = $3 WHERE shard = $1 AND position = $2");
        let query = query
            .bind(i16::try_from(shard.0)?)
            .bind(i64::try_from(position)?)
            .bind(body);
        query.execute(&mut connection).await?;
        Ok(())
    }

    async fn lose_row(&self, shard: ShardId, position: u64) -> Result<(), Cause> {
        let mut connection = sqlx::PgConnection::connect(&self.url).await?;
        let query = sqlx::query("DELETE FROM amends.journal WHERE shard = $1 AND position = $2")
            .bind(i16::try_from(shard.0)?)
            .bind(i64::try_from(position)?);
        query.execute(&mut connection).await?;
        Ok(())
    }
}

#[tokio::test]
async fn the_postgresql_store_keeps_every_promise() {
    run(&Postgres).await;
}
