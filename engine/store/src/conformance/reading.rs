//! Reading: what has to be in memory, histories, lists; and damage that stays where it is.

use std::sync::Arc;

use amends_core::journal::SagaState;
use amends_core::{SagaId, ShardId, Time};

use super::made::{AT, DEFINITION, NAMESPACE, Writes, batch, saga};
use super::{Check, Database, Outcome, ensure, same};
use crate::{Cause, ListQuery, SagaHistory, Store};

pub(super) const CHECKS: &[Check] = &[
    ("active sagas come in pages by id", |d| {
        Box::pin(active_sagas_come_in_pages(d))
    }),
    ("ended and sleeping sagas stay on disk", |d| {
        Box::pin(ended_and_sleeping_sagas_stay_on_disk(d))
    }),
    ("a damaged row hides no other saga", |d| {
        Box::pin(a_damaged_row_hides_no_other_saga(d))
    }),
    ("a history comes in pages", |d| {
        Box::pin(a_history_comes_in_pages(d))
    }),
    ("a list is the newest first, in pages", |d| {
        Box::pin(a_list_comes_in_pages(d))
    }),
    ("a list filters", |d| Box::pin(a_list_filters(d))),
];

const LATE: Time = Time::from_micros(AT.as_micros() + 3_600_000_000);

fn ids(histories: &[SagaHistory]) -> Vec<SagaId> {
    histories.iter().map(|history| history.saga.id).collect()
}

async fn active_sagas_come_in_pages(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut writes = Writes::at(0, 0);
    // Written in no order of ids, with rows that interleave.
    for (position, n) in (1..).zip([4, 1, 5, 2, 3]) {
        writes = writes.start(position, saga(0, n));
    }
    for (position, n) in (6..).zip([3, 1]) {
        writes = writes.step(position, saga(0, n));
    }
    let elsewhere = Writes::at(1, 0).start(1, saga(1, 1));
    store
        .open_lane()
        .await?
        .append(&batch(1, [writes, elsewhere]))
        .await?;
    let first = store.load_active(ShardId(0), None, AT, 2).await?;
    same(
        &ids(&first),
        &vec![saga(0, 1), saga(0, 2)],
        "the first page",
    )?;
    let second = store
        .load_active(ShardId(0), Some(saga(0, 2)), AT, 2)
        .await?;
    same(
        &ids(&second),
        &vec![saga(0, 3), saga(0, 4)],
        "the second page",
    )?;
    let third = store
        .load_active(ShardId(0), Some(saga(0, 4)), AT, 2)
        .await?;
    same(&ids(&third), &vec![saga(0, 5)], "the third page")?;
    let positions = |history: &SagaHistory| -> Result<Vec<u64>, Cause> {
        Ok(history
            .rows
            .clone()?
            .iter()
            .map(|row| row.position)
            .collect())
    };
    same(&positions(&first[0])?, &vec![2, 7], "the rows of saga 1")?;
    same(&positions(&second[0])?, &vec![5, 6], "the rows of saga 3")?;
    let none = store.load_active(ShardId(5), None, AT, 2).await?;
    ensure(none.is_empty(), "an empty shard has no active sagas")
}

async fn ended_and_sleeping_sagas_stay_on_disk(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let mut begins = Writes::at(0, 0);
    for (n, position) in (1..=8).zip(1..) {
        begins = begins.start(position, saga(0, n));
    }
    lane.append(&batch(1, [begins])).await?;
    let changes = Writes::at(0, 0)
        .step(9, saga(0, 1))
        .update(saga(0, 1), SagaState::Completed, None)
        .update(saga(0, 2), SagaState::Compensated, None)
        .update(saga(0, 3), SagaState::Terminated, None)
        .update(saga(0, 4), SagaState::Parked, None)
        .update(saga(0, 5), SagaState::Compensating, Some(AT))
        .update(saga(0, 6), SagaState::Running, Some(LATE))
        .update(saga(0, 7), SagaState::Running, Some(Time::INFINITY));
    lane.append(&batch(2, [changes])).await?;
    let active = store.load_active(ShardId(0), None, AT, 100).await?;
    same(
        &ids(&active),
        &vec![saga(0, 4), saga(0, 5), saga(0, 8)],
        "awake at the time",
    )?;
    let active = store.load_active(ShardId(0), None, LATE, 100).await?;
    same(
        &ids(&active),
        &vec![saga(0, 4), saga(0, 5), saga(0, 6), saga(0, 8)],
        "awake later",
    )?;
    let sleeper = store
        .history(saga(0, 7), 1, 1)
        .await?
        .ok_or("the sleeper is gone")?;
    same(
        &sleeper.saga.wake_at,
        &Some(Time::INFINITY),
        "when the sleeper wakes",
    )?;
    // It is woken by another update.
    lane.append(&batch(
        3,
        [Writes::at(0, 0)
            .step(10, saga(0, 7))
            .update(saga(0, 7), SagaState::Running, None)],
    ))
    .await?;
    let active = store
        .load_active(ShardId(0), Some(saga(0, 6)), AT, 100)
        .await?;
    same(
        &ids(&active),
        &vec![saga(0, 7), saga(0, 8)],
        "awake after all",
    )
}

async fn a_damaged_row_hides_no_other_saga(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut writes = Writes::at(0, 0);
    for (n, position) in (1..=3).zip(1..) {
        writes = writes.start(position, saga(0, n));
    }
    let writes = writes.step(4, saga(0, 2));
    store.open_lane().await?.append(&batch(1, [writes])).await?;
    for damage in [
        &b"\xff\x00{"[..],
        b"",
        b"{\"v\":3,\"facts\":[]}",
        b"{\"v\":1,\"facts\":[{\"kind\":\"moved\"}]}",
    ] {
        database.overwrite_body(ShardId(0), 2, damage).await?;
        let active = store.load_active(ShardId(0), None, AT, 100).await?;
        same(
            &ids(&active),
            &vec![saga(0, 1), saga(0, 2), saga(0, 3)],
            "the active sagas",
        )?;
        for history in active {
            let damaged = history.saga.id == saga(0, 2);
            same(
                &history.rows.is_err(),
                &damaged,
                "whether it cannot be read",
            )?;
            let position = history.rows.err().map(|error| error.position);
            same(&position, &damaged.then_some(2), "the damaged row")?;
        }
        let history = store
            .history(saga(0, 2), 1, 10)
            .await?
            .ok_or("the damaged saga is gone")?;
        ensure(history.rows.is_err(), "its history says so too")?;
        // What lies behind the damage can still be looked at.
        let behind = store
            .history(saga(0, 2), 3, 10)
            .await?
            .ok_or("the damaged saga is gone")?;
        same(&behind.rows?.len(), &1, "the rows behind the damage")?;
    }
    Ok(())
}

async fn a_history_comes_in_pages(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut writes = Writes::at(0, 0).start(1, saga(0, 1)).start(2, saga(0, 2));
    for position in 3..=10 {
        writes = writes.step(position, saga(0, 1 + u32::from(position % 2 == 0)));
    }
    store.open_lane().await?.append(&batch(1, [writes])).await?;
    let mut seen = Vec::new();
    let mut from = 1;
    loop {
        let page = store
            .history(saga(0, 1), from, 2)
            .await?
            .ok_or("the saga is gone")?
            .rows?;
        let Some(last) = page.last() else { break };
        ensure(page.len() <= 2, "a page is as long as asked at most")?;
        from = last.position + 1;
        seen.extend(page.iter().map(|row| row.position));
    }
    same(&seen, &vec![1, 3, 5, 7, 9], "the rows of the one saga")?;
    ensure(
        store.history(saga(0, 99), 1, 10).await?.is_none(),
        "an unknown saga has no history",
    )
}

fn everything(limit: usize) -> ListQuery {
    ListQuery {
        namespace: NAMESPACE.into(),
        states: Vec::new(),
        definition: None,
        key: None,
        before: None,
        limit,
    }
}

async fn listed(store: &dyn Store, query: &ListQuery) -> Result<Vec<SagaId>, crate::Error> {
    Ok(store
        .list(query)
        .await?
        .iter()
        .map(|saga| saga.id)
        .collect())
}

async fn a_list_comes_in_pages(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let mut all = Vec::new();
    for n in 1..=24_u32 {
        // Every second one is in the same shard: it has most of some pages and none of others.
        let shard = u16::try_from(if n % 2 == 0 { 5 } else { n * 3 % 8 })?;
        let position = tail_of(&mut *lane, shard).await? + 1;
        lane.append(&batch(
            u128::from(n),
            [Writes::at(shard, 0).start(position, saga(shard, n))],
        ))
        .await?;
        all.push(saga(shard, n));
    }
    all.reverse();
    for states in [vec![], vec![SagaState::Running, SagaState::Parked]] {
        for limit in [1, 2, 3, 7, 17, 40] {
            let seen = in_pages(&*store, &states, limit).await?;
            same(&seen, &all, "every saga, the newest first")?;
        }
    }
    Ok(())
}

async fn in_pages(
    store: &dyn Store,
    states: &[SagaState],
    limit: usize,
) -> Result<Vec<SagaId>, Cause> {
    let mut seen: Vec<SagaId> = Vec::new();
    loop {
        let query = ListQuery {
            states: states.to_vec(),
            before: seen.last().copied(),
            ..everything(limit)
        };
        let page = listed(store, &query).await?;
        ensure(page.len() <= limit, "a page is as long as asked at most")?;
        if page.is_empty() {
            return Ok(seen);
        }
        seen.extend(page);
    }
}

async fn tail_of(lane: &mut dyn crate::Lane, shard: u16) -> Result<u64, Cause> {
    Ok(lane.tails(&[ShardId(shard)]).await?[0])
}

async fn a_list_filters(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let other = Writes::at(1, 0)
        .start_keyed(1, saga(1, 2), "K")
        .of(NAMESPACE, "book-trip");
    let foreign = Writes::at(2, 0)
        .start_keyed(1, saga(2, 3), "K")
        .of("foreign", DEFINITION);
    let own = Writes::at(0, 0)
        .start_keyed(1, saga(0, 1), "K")
        .start(2, saga(0, 4));
    lane.append(&batch(1, [own, other, foreign])).await?;
    lane.append(&batch(
        2,
        [Writes::at(0, 0)
            .step(3, saga(0, 4))
            .update(saga(0, 4), SagaState::Parked, None)],
    ))
    .await?;
    let all = || everything(10);
    let key = |key: &str| ListQuery {
        key: Some(key.into()),
        ..all()
    };
    let states = vec![SagaState::Parked, SagaState::Terminated];
    let definition = |name: &str| Some(name.into());
    let of = |definition| ListQuery {
        definition,
        ..all()
    };
    let both = ListQuery {
        definition: definition(DEFINITION),
        ..key("K")
    };
    let nobody = ListQuery {
        namespace: "nobody".into(),
        ..all()
    };
    for (query, expected) in [
        (all(), vec![saga(0, 4), saga(1, 2), saga(0, 1)]),
        (ListQuery { states, ..all() }, vec![saga(0, 4)]),
        (of(definition("book-trip")), vec![saga(1, 2)]),
        (key("K"), vec![saga(1, 2), saga(0, 1)]),
        (both, vec![saga(0, 1)]),
        (key("' OR 1=1 --"), vec![]),
        (nobody, vec![]),
    ] {
        same(
            &listed(&*store, &query).await?,
            &expected,
            &format!("{query:?}"),
        )?;
    }
    Ok(())
}
