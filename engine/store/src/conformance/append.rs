//! Appends: all of a batch or nothing of it, and the reason exactly.

use std::sync::Arc;

use amends_core::journal::SagaState;
use amends_core::{SagaId, ShardId};

use super::made::{
    DEFINITION, NAMESPACE, Writes, batch, input_hash, insert, key, lost, payload_of, saga, tails,
    unexpected,
};
use super::{Check, Database, Outcome, ensure, same};
use crate::{AppendError, KeyFound, SagaRecord, Store};

pub(super) const CHECKS: &[Check] = &[
    ("a batch of several shards reads back whole", |d| {
        Box::pin(a_batch_reads_back_whole(d))
    }),
    ("a taken position refuses the whole batch", |d| {
        Box::pin(a_taken_position_refuses_the_whole_batch(d))
    }),
    ("every lost shard is named", |d| {
        Box::pin(every_lost_shard_is_named(d))
    }),
    ("a taken key refuses the whole batch", |d| {
        Box::pin(a_taken_key_refuses_the_whole_batch(d))
    }),
    ("a key belongs to its namespace and definition", |d| {
        Box::pin(a_key_has_a_scope(d))
    }),
    ("data that cannot be is refused as data", |d| {
        Box::pin(impossible_data_is_refused(d))
    }),
    ("an update changes its saga alone", |d| {
        Box::pin(an_update_changes_its_saga_alone(d))
    }),
    ("ten thousand rows land at once", |d| {
        Box::pin(ten_thousand_rows_land_at_once(d))
    }),
    ("a payload of a mebibyte reads back", |d| {
        Box::pin(a_large_payload_reads_back(d))
    }),
    ("two lanes interleave", |d| {
        Box::pin(two_lanes_interleave(d))
    }),
    ("another process reads what was written", |d| {
        Box::pin(another_process_reads(d))
    }),
    ("many keys are found in the order asked", |d| {
        Box::pin(many_keys_are_found(d))
    }),
];

/// Nothing of this saga is there.
async fn absent(store: &dyn Store, saga: SagaId) -> Outcome {
    ensure(
        store.history(saga, 1, 10).await?.is_none(),
        format!("{saga} is there"),
    )
}

async fn rows_of(store: &dyn Store, saga: SagaId) -> Result<Vec<u64>, crate::Cause> {
    let history = store
        .history(saga, 1, 100_000)
        .await?
        .ok_or("the saga is not there")?;
    Ok(history.rows?.iter().map(|row| row.position).collect())
}

async fn a_batch_reads_back_whole(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let (a, b) = (saga(0, 1), saga(3, 1));
    let of_a =
        Writes::at(0, 0)
            .start_keyed(1, a, "A")
            .step(2, a)
            .update(a, SagaState::Parked, None);
    // A saga is inserted as it is at the end of the batch: the update is another batch's.
    let first = batch(
        1,
        [
            Writes::at(0, 0).start_keyed(1, a, "A").step(2, a),
            Writes::at(3, 0).start(1, b),
        ],
    );
    lane.append(&first).await?;
    same(
        &tails(&mut *lane, &[3, 0, 5]).await?,
        &vec![1, 2, 0],
        "the tails, in the order asked",
    )?;
    let history = store
        .history(a, 1, 10)
        .await?
        .ok_or("saga A is not there")?;
    same(
        &history.saga,
        &SagaRecord::from(&insert(a, Some("A"))),
        "its row",
    )?;
    same(&history.rows?, &of_a.shard_batch().rows, "its journal rows")?;
    same(&rows_of(&*store, b).await?, &vec![1], "the rows of saga B")?;
    let found = store
        .lookup_keys(&[key(NAMESPACE, DEFINITION, "A")])
        .await?;
    same(
        &found,
        &vec![Some(KeyFound {
            saga: a,
            input_hash: input_hash(),
            revision: 3,
        })],
        "the key",
    )
}

async fn a_taken_position_refuses_the_whole_batch(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let (old, a, b) = (saga(1, 1), saga(0, 2), saga(1, 2));
    lane.append(&batch(1, [Writes::at(1, 0).start(1, old)]))
        .await?;
    let writes = [
        Writes::at(0, 0).start_keyed(1, a, "K"),
        Writes::at(1, 0)
            .start(1, b)
            .update(old, SagaState::Completed, None),
    ];
    lost(lane.append(&batch(2, writes)).await, &[1])?;
    absent(&*store, a).await?;
    absent(&*store, b).await?;
    same(
        &store
            .lookup_keys(&[key(NAMESPACE, DEFINITION, "K")])
            .await?,
        &vec![None],
        "the key",
    )?;
    same(&tails(&mut *lane, &[0, 1]).await?, &vec![0, 1], "the tails")?;
    let old = store
        .history(old, 1, 1)
        .await?
        .ok_or("the old saga is gone")?;
    same(
        &old.saga.state,
        &SagaState::Running,
        "the state of the old saga",
    )?;
    // The lane serves on.
    lane.append(&batch(3, [Writes::at(0, 0).start_keyed(1, a, "K")]))
        .await?;
    Ok(())
}

async fn every_lost_shard_is_named(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let both = [
        Writes::at(2, 0).start(1, saga(2, 1)),
        Writes::at(6, 0).start(1, saga(6, 1)).step(2, saga(6, 1)),
    ];
    lane.append(&batch(1, both)).await?;
    // Shard 6 conflicts at its second row alone, which its journal reaches.
    let writes = [
        Writes::at(2, 0).start(1, saga(2, 2)),
        Writes::at(4, 0).start(1, saga(4, 2)),
        Writes::at(6, 0).start(2, saga(6, 2)).step(3, saga(6, 2)),
    ];
    lost(lane.append(&batch(2, writes)).await, &[2, 6])?;
    absent(&*store, saga(4, 2)).await
}

async fn a_taken_key_refuses_the_whole_batch(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    lane.append(&batch(
        1,
        [Writes::at(0, 0).start_keyed(1, saga(0, 1), "K")],
    ))
    .await?;
    let writes = |k| {
        [
            Writes::at(1, 0).start(1, saga(1, 1)),
            Writes::at(0, 0).start_keyed(2, saga(0, 2), k),
        ]
    };
    match lane.append(&batch(2, writes("K"))).await {
        Err(AppendError::KeyTaken) => {}
        other => return Err(unexpected("KeyTaken", &other)),
    }
    absent(&*store, saga(1, 1)).await?;
    absent(&*store, saga(0, 2)).await?;
    same(&tails(&mut *lane, &[0, 1]).await?, &vec![1, 0], "the tails")?;
    lane.append(&batch(3, writes("L"))).await?;
    Ok(())
}

async fn a_key_has_a_scope(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    for (position, (namespace, definition)) in (1..).zip([("n", "d"), ("n", "e"), ("m", "d")]) {
        let id = saga(0, u32::try_from(position)?);
        let writes = Writes::at(0, 0)
            .start_keyed(position, id, "K")
            .of(namespace, definition);
        lane.append(&batch(1, [writes])).await?;
    }
    let asked = [
        key("m", "d", "K"),
        key("m", "e", "K"),
        key("n", "d", "K"),
        key("m", "d", "K"),
    ];
    let found = store.lookup_keys(&asked).await?;
    let found: Vec<Option<SagaId>> = found
        .into_iter()
        .map(|found| found.map(|found| found.saga))
        .collect();
    same(
        &found,
        &vec![Some(saga(0, 3)), None, Some(saga(0, 1)), Some(saga(0, 3))],
        "the sagas of the keys",
    )
}

async fn impossible_data_is_refused(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    lane.append(&batch(1, [Writes::at(0, 0).start(1, saga(0, 1))]))
        .await?;
    let twice_a_saga = Writes::at(0, 0).start(2, saga(0, 1));
    let twice_a_position = Writes::at(0, 0).start(2, saga(0, 2)).step(2, saga(0, 2));
    for writes in [twice_a_saga, twice_a_position] {
        match lane
            .append(&batch(2, [writes, Writes::at(1, 0).start(1, saga(1, 1))]))
            .await
        {
            Err(AppendError::Data { .. }) => {}
            other => return Err(unexpected("Data", &other)),
        }
        absent(&*store, saga(1, 1)).await?;
        same(&tails(&mut *lane, &[0, 1]).await?, &vec![1, 0], "the tails")?;
    }
    Ok(())
}

async fn an_update_changes_its_saga_alone(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let (a, b) = (saga(0, 1), saga(0, 2));
    lane.append(&batch(1, [Writes::at(0, 0).start(1, a).start(2, b)]))
        .await?;
    lane.append(&batch(
        2,
        [Writes::at(0, 0)
            .step(3, a)
            .update(a, SagaState::Completed, None)],
    ))
    .await?;
    let mut expected = SagaRecord::from(&insert(a, None));
    expected.state = SagaState::Completed;
    expected.ended_at = Some(super::made::AT);
    same(
        &store.history(a, 1, 1).await?.ok_or("A is gone")?.saga,
        &expected,
        "the row of A",
    )?;
    let unchanged = SagaRecord::from(&insert(b, None));
    same(
        &store.history(b, 1, 1).await?.ok_or("B is gone")?.saga,
        &unchanged,
        "the row of B",
    )
}

async fn ten_thousand_rows_land_at_once(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let mut first = Writes::at(0, 0);
    let mut second = Writes::at(0, 0);
    for (n, position) in (1..=5_000_u32).zip(1_u64..) {
        let key = format!("key-{n}");
        first = first
            .start_keyed(2 * position - 1, saga(0, n), &key)
            .step(2 * position, saga(0, n));
        second = second.step(10_000 + position, saga(0, n)).update(
            saga(0, n),
            SagaState::Completed,
            None,
        );
    }
    lane.append(&batch(1, [first])).await?;
    lane.append(&batch(2, [second])).await?;
    same(&tails(&mut *lane, &[0]).await?, &vec![15_000], "the tail")?;
    same(
        &rows_of(&*store, saga(0, 5_000)).await?,
        &vec![9_999, 10_000, 15_000],
        "the rows of the last saga",
    )?;
    let active = store
        .load_active(ShardId(0), None, super::made::AT, 10)
        .await?;
    ensure(active.is_empty(), "every saga is completed")
}

async fn a_large_payload_reads_back(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let large = payload_of(1024 * 1024);
    let writes = Writes::at(0, 0).start_with(1, saga(0, 1), None, large.clone());
    let writes = writes.start_with(2, saga(0, 2), None, large);
    lane.append(&batch(1, [writes.clone()])).await?;
    let active = store
        .load_active(ShardId(0), None, super::made::AT, 10)
        .await?;
    let mut rows = Vec::new();
    for history in active {
        rows.extend(history.rows?);
    }
    ensure(
        rows == writes.shard_batch().rows,
        "the rows came back otherwise",
    )
}

async fn two_lanes_interleave(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let (mut even, mut odd) = (store.open_lane().await?, store.open_lane().await?);
    for (n, position) in (1..=20_u32).zip(1_u64..) {
        let of_even = batch(
            u128::from(n),
            [Writes::at(0, 0).start(position, saga(0, n))],
        );
        let of_odd = batch(
            u128::from(n),
            [Writes::at(1, 0).start(position, saga(1, n))],
        );
        let (of_even, of_odd) =
            futures_util::future::join(even.append(&of_even), odd.append(&of_odd)).await;
        of_even?;
        of_odd?;
    }
    same(
        &tails(&mut *even, &[0, 1]).await?,
        &vec![20, 20],
        "the tails",
    )
}

async fn another_process_reads(database: Arc<dyn Database>) -> Outcome {
    let one = database.open().await?;
    one.open_lane()
        .await?
        .append(&batch(1, [Writes::at(0, 0).start(1, saga(0, 1))]))
        .await?;
    let other = database.open().await?;
    same(&rows_of(&*other, saga(0, 1)).await?, &vec![1], "the rows")?;
    let (one, other) = (one.identity().await?, other.identity().await?);
    same(&one.incarnation, &other.incarnation, "the incarnation")?;
    same(&other.shard_count, &super::SHARD_COUNT, "the shard count")?;
    ensure(other.now >= one.now, "time goes on")
}

async fn many_keys_are_found(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut writes = Writes::at(0, 0);
    for (n, position) in (1..=300_u32).zip(1_u64..) {
        writes = writes.start_keyed(position, saga(0, n), &n.to_string());
    }
    store.open_lane().await?.append(&batch(1, [writes])).await?;
    let asked: Vec<_> = (0..=301_u32)
        .rev()
        .map(|n| key(NAMESPACE, DEFINITION, &n.to_string()))
        .collect();
    let found = store.lookup_keys(&asked).await?;
    let expected: Vec<Option<SagaId>> = (0..=301_u32)
        .rev()
        .map(|n| (1..=300).contains(&n).then(|| saga(0, n)))
        .collect();
    same(
        &found
            .iter()
            .map(|found| found.map(|found| found.saga))
            .collect(),
        &expected,
        "the sagas of the keys",
    )?;
    ensure(
        store.lookup_keys(&[]).await?.is_empty(),
        "no question, no answer",
    )
}
