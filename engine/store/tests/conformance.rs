//! The memory store against the suite of all stores.

use std::sync::Arc;

use amends_core::ShardId;
use amends_store::conformance::{Database, Subject, run};
use amends_store::memory::MemoryStore;
use amends_store::{Cause, Store};
use async_trait::async_trait;

struct Memory;

#[async_trait]
impl Subject for Memory {
    async fn create(&self, shard_count: u16) -> Result<Arc<dyn Database>, Cause> {
        Ok(Arc::new(InMemory(MemoryStore::new(shard_count))))
    }
}

struct InMemory(MemoryStore);

#[async_trait]
impl Database for InMemory {
    async fn open(&self) -> Result<Arc<dyn Store>, Cause> {
        Ok(Arc::new(self.0.clone()))
    }

    async fn overwrite_body(
        &self,
        shard: ShardId,
        position: u64,
        body: &[u8],
    ) -> Result<(), Cause> {
        self.0.overwrite_body(shard, position, body);
        Ok(())
    }

    async fn lose_row(&self, shard: ShardId, position: u64) -> Result<(), Cause> {
        self.0.lose_row(shard, position);
        Ok(())
    }
}

#[tokio::test]
async fn the_memory_store_keeps_every_promise() {
    run(&Memory).await;
}
