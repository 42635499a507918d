//! The SQLite store against the suite of all stores.

use std::sync::Arc;

use amends_core::ShardId;
use amends_store::conformance::{Database, Subject, run};
use amends_store::{Cause, Store};
use amends_store_sqlite::SqliteStore;
use async_trait::async_trait;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

struct Sqlite;

#[async_trait]
impl Subject for Sqlite {
    async fn create(&self, shard_count: u16) -> Result<Arc<dyn Database>, Cause> {
        Ok(Arc::new(File {
            directory: tempfile::tempdir()?,
            shard_count,
        }))
    }
}

struct File {
    directory: TempDir,
    shard_count: u16,
}

#[async_trait]
impl Database for File {
    async fn open(&self) -> Result<Arc<dyn Store>, Cause> {
        Ok(Arc::new(
            SqliteStore::open(
                self.directory.path().join("amends.db"),
                Some(self.shard_count),
            )
            .await?,
        ))
    }

    async fn overwrite_body(
        &self,
        shard: ShardId,
        position: u64,
        body: &[u8],
    ) -> Result<(), Cause> {
        let options = SqliteConnectOptions::new().filename(self.directory.path().join("amends.db"));
        let mut connection = options.connect().await?;
        let query = sqlx::query("UPDATE journal SET body = ?3 WHERE shard = ?1 AND position = ?2");
        let query = query
            .bind(shard.0)
            .bind(i64::try_from(position)?)
            .bind(body);
        query.execute(&mut connection).await?;
        Ok(())
    }

    async fn lose_row(&self, shard: ShardId, position: u64) -> Result<(), Cause> {
        let options = SqliteConnectOptions::new().filename(self.directory.path().join("amends.db"));
        let mut connection = options.connect().await?;
        let query = sqlx::query("DELETE FROM journal WHERE shard = ?1 AND position = ?2")
            .bind(shard.0)
            .bind(i64::try_from(position)?);
        query.execute(&mut connection).await?;
        Ok(())
    }
}

#[tokio::test]
async fn the_sqlite_store_keeps_every_promise() {
    run(&Sqlite).await;
}
