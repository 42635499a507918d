//! What the memory store adds to a store: faults on demand, and a clock of the test's.

use std::sync::atomic::{AtomicI64, Ordering};

use amends_core::SagaId;
use amends_core::fact::Fact;
use amends_core::journal::{JournalRow, SagaInsert, SagaState, ShardBatch};

use super::*;
use crate::{Batch, DefinitionHash, ExpiryPage, Sagas as _};

const SHARD: ShardId = ShardId(0);

fn batch(position: u64) -> Batch {
    let saga = SagaId::new(FIRST_NOW, SHARD, 1);
    let facts = vec![Fact::CancelDropped];
    let at = FIRST_NOW;
    let row = JournalRow {
        position,
        saga,
        at,
        facts,
    };
    let of_shard = ShardBatch {
        shard: SHARD,
        epoch: 0,
        rows: vec![row],
        inserts: vec![],
        updates: vec![],
        keys: vec![],
        incidents_opened: vec![],
        incidents_closed: vec![],
    };
    Batch {
        id: Uuid::from_u128(u128::from(position)),
        shards: vec![of_shard],
    }
}

fn lost() -> AppendError {
    AppendError::Unknown {
        source: "the line is dead".into(),
    }
}

#[tokio::test]
async fn a_fault_strikes_once_and_leaves_nothing() {
    let store = MemoryStore::new(4);
    let mut lane = store.open_lane().await.unwrap();
    store.fail_next(AppendError::KeyTaken, false);
    assert!(matches!(
        lane.append(&batch(1)).await,
        Err(AppendError::KeyTaken)
    ));
    assert_eq!(store.journal_rows(), 0);
    lane.append(&batch(1)).await.unwrap();
    assert_eq!(store.journal_rows(), 1);
}

#[tokio::test]
async fn an_unknown_outcome_lands_or_not_as_asked() {
    let store = MemoryStore::new(4);
    let mut lane = store.open_lane().await.unwrap();
    store.fail_next(lost(), true);
    store.fail_next(lost(), false);
    assert!(matches!(
        lane.append(&batch(1)).await,
        Err(AppendError::Unknown { .. })
    ));
    assert_eq!(lane.tails(&[SHARD]).await.unwrap(), [1]);
    assert!(matches!(
        lane.append(&batch(2)).await,
        Err(AppendError::Unknown { .. })
    ));
    assert_eq!(lane.tails(&[SHARD]).await.unwrap(), [1]);
}

#[tokio::test]
async fn a_fault_that_should_land_tells_why_it_cannot() {
    let store = MemoryStore::new(4);
    let mut lane = store.open_lane().await.unwrap();
    lane.append(&batch(1)).await.unwrap();
    store.fail_next(lost(), true);
    assert!(matches!(
        lane.append(&batch(1)).await,
        Err(AppendError::PositionTaken(_))
    ));
}

#[tokio::test]
async fn retention_fails_on_demand_done_or_not() {
    let store = MemoryStore::new(4);
    let (saga, expires_at) = (SagaId::new(FIRST_NOW, SHARD, 1), Some(FIRST_NOW));
    let mut batch = batch(1);
    batch.shards[0].inserts.push(SagaInsert {
        id: saga,
        namespace: "default".into(),
        definition: "place-order".into(),
        revision: 1,
        hash: DefinitionHash([1; 32]),
        key: None,
        turn: None,
        parent: None,
        state: SagaState::Completed,
        wake_at: None,
        started_at: FIRST_NOW,
        updated_at: FIRST_NOW,
        ended_at: Some(FIRST_NOW),
        expires_at,
    });
    (store.open_lane().await.unwrap().append(&batch).await).unwrap();
    let page = ExpiryPage {
        shard: SHARD,
        after: None,
        begun_before: Time::INFINITY,
        now: FIRST_NOW,
        limit: 10,
    };
    for (landed, left) in [(false, 1), (true, 0)] {
        store.fail_next_expire(landed);
        let failed = store.expire(&page).await;
        assert!(matches!(failed, Err(Error::Unavailable { .. })));
        assert_eq!(store.histories(&[saga]).await.unwrap().len(), left);
    }
    assert_eq!(store.expire(&page).await.unwrap().gone, 0);
}

#[tokio::test]
async fn the_clock_is_the_tests() {
    let store = MemoryStore::new(4);
    let later = FIRST_NOW + std::time::Duration::from_secs(60);
    assert_eq!(store.identity().await.unwrap().now, FIRST_NOW);
    store.set_now(later);
    assert_eq!(store.identity().await.unwrap().now, later);
    let ticks = AtomicI64::new(0);
    let store = MemoryStore::with_clock(4, move || {
        Time::from_micros(ticks.fetch_add(1, Ordering::Relaxed))
    });
    let (one, two) = (
        store.identity().await.unwrap().now,
        store.identity().await.unwrap().now,
    );
    assert!(one < two);
}
