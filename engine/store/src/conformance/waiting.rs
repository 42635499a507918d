//! What waits: sleepers, turns, and what is read of several sagas at once.

use std::sync::Arc;
use std::time::Duration;

use amends_core::journal::{SagaState, Turn};
use amends_core::key::hash_128;
use amends_core::{SagaId, ShardId, Time};

use super::made::{AT, DEFINITION, NAMESPACE, Writes, batch, key, saga};
use super::{Check, Database, Outcome, ensure, same};
use crate::{SagaHistory, TurnRecord};

pub(super) const CHECKS: &[Check] = &[
    ("sleepers come by the time that they wake, in pages", |d| {
        Box::pin(sleepers_come_in_pages(d))
    }),
    (
        "turns come in the order of starts, and end with their sagas",
        |d| Box::pin(turns_come_in_order(d)),
    ),
    ("a saga that ended as it began holds no turn", |d| {
        Box::pin(an_ended_start_holds_no_turn(d))
    }),
    ("histories come in the order asked, each once", |d| {
        Box::pin(histories_come_in_the_order_asked(d))
    }),
    ("of several histories a damaged row spoils one", |d| {
        Box::pin(a_damaged_row_spoils_one_history(d))
    }),
    ("a found key tells the revision of its saga", |d| {
        Box::pin(a_found_key_tells_the_revision(d))
    }),
    ("a saga's row tells its parent and its expiry", |d| {
        Box::pin(a_row_tells_parent_and_expiry(d))
    }),
];

fn after(seconds: u64) -> Time {
    AT + Duration::from_secs(seconds)
}

async fn sleepers_come_in_pages(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let mut begins = Writes::at(0, 0);
    for (n, position) in (1..=8).zip(1..) {
        begins = begins.start(position, saga(0, n));
    }
    let elsewhere = Writes::at(1, 0).start(1, saga(1, 1));
    lane.append(&batch(1, [begins, elsewhere])).await?;
    let sleep =
        |writes: Writes, n, until| writes.update(saga(0, n), SagaState::Running, Some(until));
    let mut sleeps = Writes::at(0, 0).step(9, saga(0, 1));
    for (n, seconds) in [(1, 50), (2, 20), (3, 30), (4, 20), (5, 20)] {
        sleeps = sleep(sleeps, n, after(seconds));
    }
    sleeps = sleep(sleeps, 6, Time::INFINITY);
    sleeps = sleeps.update(saga(0, 7), SagaState::Parked, Some(after(40)));
    let elsewhere =
        Writes::at(1, 0)
            .step(2, saga(1, 1))
            .update(saga(1, 1), SagaState::Running, Some(after(1)));
    lane.append(&batch(2, [sleeps, elsewhere])).await?;
    let mut seen: Vec<(SagaId, Time)> = Vec::new();
    loop {
        let behind = seen.last().map(|(saga, until)| (*until, *saga));
        let page = store.sleepers(ShardId(0), behind, 2).await?;
        ensure(page.len() <= 2, "a page is as long as asked at most")?;
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    let expected = [(2, 20), (4, 20), (5, 20), (3, 30), (7, 40), (1, 50)];
    let expected = expected.map(|(n, seconds)| (saga(0, n), after(seconds)));
    same(&seen, &expected.to_vec(), "who sleeps until when")?;
    // One is woken, one ends, one turns over.
    let changes = Writes::at(0, 0)
        .step(10, saga(0, 2))
        .update(saga(0, 2), SagaState::Running, None)
        .update(saga(0, 4), SagaState::Terminated, None)
        .update(saga(0, 5), SagaState::Running, Some(after(60)));
    lane.append(&batch(3, [changes])).await?;
    let left = store.sleepers(ShardId(0), None, 100).await?;
    let expected = [(3, 30), (7, 40), (1, 50), (5, 60)];
    let expected = expected.map(|(n, seconds)| (saga(0, n), after(seconds)));
    same(&left, &expected.to_vec(), "who sleeps on")?;
    let behind = Some((after(45), saga(0, 1)));
    let late = store.sleepers(ShardId(0), behind, 1).await?;
    same(&late, &vec![(saga(0, 1), after(50))], "those behind a time")
}

fn turn(position: u64, key: Option<&str>, max: Option<u32>, granted: bool) -> Turn {
    Turn {
        ordering_hash: key.map(|key| hash_128(key.as_bytes())),
        concurrency_max: max,
        position,
        granted,
    }
}

fn record(n: u32, turn: Turn) -> TurnRecord {
    TurnRecord {
        saga: saga(0, n),
        namespace: NAMESPACE.into(),
        definition: DEFINITION.into(),
        turn,
    }
}

async fn turns_come_in_order(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let held = turn(1, Some("A"), None, true);
    let queued = turn(2, Some("A"), Some(u32::MAX), false);
    let slot = turn(4, None, Some(1), true);
    // The ids are in another order than the starts; saga 7 needs no turn.
    let begins = Writes::at(0, 0)
        .start_in_turn(saga(0, 9), held)
        .start_in_turn(saga(0, 5), queued)
        .start(3, saga(0, 7))
        .start_in_turn(saga(0, 6), slot);
    let elsewhere = Writes::at(1, 0).start_in_turn(saga(1, 1), turn(1, None, Some(2), true));
    lane.append(&batch(1, [begins, elsewhere])).await?;
    same(
        &store.turns(ShardId(0)).await?,
        &vec![record(9, held), record(5, queued), record(6, slot)],
        "the turns",
    )?;
    // A sleeper keeps its turn, and a parked saga; who still waits for one is told so by every update.
    let changes = Writes::at(0, 0)
        .step(5, saga(0, 9))
        .update(saga(0, 9), SagaState::Parked, Some(Time::INFINITY))
        .update(saga(0, 5), SagaState::Running, Some(Time::INFINITY))
        .without_turn();
    lane.append(&batch(2, [changes])).await?;
    same(
        &store.turns(ShardId(0)).await?,
        &vec![record(9, held), record(5, queued), record(6, slot)],
        "the turns of sleepers",
    )?;
    // An end gives its turn to the next, in one batch; and an end that is undone later does not take it back.
    let end = Writes::at(0, 0)
        .end(6, saga(0, 9), AT, Duration::ZERO)
        .step(7, saga(0, 5))
        .update(saga(0, 5), SagaState::Running, None);
    lane.append(&batch(3, [end])).await?;
    let granted = Turn {
        granted: true,
        ..queued
    };
    same(
        &store.turns(ShardId(0)).await?,
        &vec![record(5, granted), record(6, slot)],
        "the turns after an end",
    )?;
    let undo =
        Writes::at(0, 0)
            .step(8, saga(0, 9))
            .update(saga(0, 9), SagaState::Compensating, None);
    lane.append(&batch(4, [undo])).await?;
    same(
        &store.turns(ShardId(0)).await?,
        &vec![record(5, granted), record(6, slot)],
        "the turns after an end was undone",
    )?;
    ensure(
        store.turns(ShardId(5)).await?.is_empty(),
        "an empty shard has no turns",
    )
}

async fn an_ended_start_holds_no_turn(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut batch = batch(
        1,
        [Writes::at(0, 0).start_in_turn(saga(0, 1), turn(1, Some("A"), None, true))],
    );
    for insert in batch.shards.iter_mut().flat_map(|b| &mut b.inserts) {
        insert.state = SagaState::Completed;
        (insert.ended_at, insert.expires_at) = (Some(AT), Some(after(1)));
    }
    store.open_lane().await?.append(&batch).await?;
    ensure(
        store.turns(ShardId(0)).await?.is_empty(),
        "it has given its turn back",
    )?;
    same(
        &super::expiry::expire(&*store, 0, 1).await?,
        &1,
        "how many sagas expired",
    )
}

fn ids(histories: &[SagaHistory]) -> Vec<SagaId> {
    histories.iter().map(|history| history.saga.id).collect()
}

async fn histories_come_in_the_order_asked(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let here = Writes::at(0, 0)
        .start(1, saga(0, 1))
        .start(2, saga(0, 2))
        .step(3, saga(0, 1))
        .step(4, saga(0, 2))
        .step(5, saga(0, 1));
    let there = Writes::at(3, 0).start(1, saga(3, 1));
    let batch = batch(1, [here, there]);
    store.open_lane().await?.append(&batch).await?;
    let asked = [
        saga(0, 2),
        saga(7, 1),
        saga(3, 1),
        saga(0, 2),
        saga(0, 99),
        saga(0, 1),
    ];
    let found = store.histories(&asked).await?;
    same(
        &ids(&found),
        &vec![saga(0, 2), saga(3, 1), saga(0, 1)],
        "the sagas",
    )?;
    for history in found {
        let alone = store.history(history.saga.id, 1, 100).await?;
        let alone = alone.ok_or("a saga is gone")?;
        same(&history.saga, &alone.saga, "the row of a saga")?;
        same(&history.rows?, &alone.rows?, "the rows of a saga")?;
    }
    ensure(
        store.histories(&[]).await?.is_empty(),
        "no question, no answer",
    )
}

async fn a_damaged_row_spoils_one_history(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let writes = Writes::at(0, 0)
        .start(1, saga(0, 1))
        .start(2, saga(0, 2))
        .start(3, saga(0, 3));
    store.open_lane().await?.append(&batch(1, [writes])).await?;
    database.overwrite_body(ShardId(0), 2, b"\xff{").await?;
    let asked = [saga(0, 3), saga(0, 2), saga(0, 1)];
    let found = store.histories(&asked).await?;
    same(&ids(&found), &asked.to_vec(), "the sagas")?;
    for history in found {
        let damaged = history.saga.id == saga(0, 2);
        let position = history.rows.err().map(|error| error.position);
        same(&position, &damaged.then_some(2), "the damaged row")?;
    }
    Ok(())
}

async fn a_found_key_tells_the_revision(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let here = Writes::at(0, 0)
        .start_keyed(1, saga(0, 1), "K")
        .start_keyed(2, saga(0, 2), "L");
    let there = Writes::at(5, 0).start_keyed(1, saga(5, 1), "M").revision(7);
    let batch = batch(1, [here, there]);
    store.open_lane().await?.append(&batch).await?;
    let asked = ["M", "N", "L", "M", "K"].map(|text| key(NAMESPACE, DEFINITION, text));
    let found = store.lookup_keys(&asked).await?;
    let found: Vec<Option<(SagaId, u32)>> = found
        .into_iter()
        .map(|found| found.map(|found| (found.saga, found.revision)))
        .collect();
    let m = Some((saga(5, 1), 7));
    same(
        &found,
        &vec![m, None, Some((saga(0, 2), 3)), m, Some((saga(0, 1), 3))],
        "the sagas and revisions of the keys",
    )
}

async fn a_row_tells_parent_and_expiry(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let (parent, child) = (saga(2, 1), saga(0, 1));
    let begin = Writes::at(0, 0).start_child(1, child, parent);
    lane.append(&batch(1, [begin])).await?;
    let row = |history: Option<SagaHistory>| history.map(|history| history.saga);
    let begun = row(store.history(child, 1, 1).await?).ok_or("the child is gone")?;
    same(
        &(begun.parent, begun.expires_at),
        &(Some(parent), None),
        "parent and expiry of a child that runs",
    )?;
    let end = Writes::at(0, 0).end(2, child, after(1), Duration::from_secs(9));
    lane.append(&batch(2, [end])).await?;
    let ended = row(store.history(child, 1, 1).await?).ok_or("the child is gone")?;
    same(
        &(ended.parent, ended.ended_at, ended.expires_at),
        &(Some(parent), Some(after(1)), Some(after(10))),
        "parent, end and expiry of a child that ended",
    )?;
    let undone = Writes::at(0, 0)
        .step(3, child)
        .update(child, SagaState::Compensating, None);
    lane.append(&batch(3, [undone])).await?;
    let undone = row(store.history(child, 1, 1).await?).ok_or("the child is gone")?;
    same(
        &(undone.parent, undone.ended_at, undone.expires_at),
        &(Some(parent), None, None),
        "parent, end and expiry of a child that is undone",
    )
}
