//! Retention: what goes, what stays, and that a journal from which rows were deleted fences and shows gaps as before.

use std::sync::Arc;
use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::{SagaId, ShardId, Time};
use uuid::Uuid;

use super::made::{
    AT, DEFINITION, Draw, NAMESPACE, Writes, batch, incident, key, lost, saga, tails, takeover,
    unexpected,
};
use super::{Check, Database, Outcome, ensure, same};
use crate::{
    Cause, Error, ExpiryPage, IncidentFilter, IncidentQuery, Lane, ListQuery, Store, Swept,
};

pub(super) const CHECKS: &[Check] = &[
    ("what has expired goes with all that is its own", |d| {
        Box::pin(what_has_expired_goes(d))
    }),
    ("retention looks at a bounded number at once", |d| {
        Box::pin(retention_is_bounded(d))
    }),
    ("a sweep takes what is due among what is not", |d| {
        Box::pin(a_sweep_takes_what_is_due(d))
    }),
    ("a sweep says when the next is worth while", |d| {
        Box::pin(a_sweep_says_when_to_come_back(d))
    }),
    ("retention takes nothing that lives or has no expiry", |d| {
        Box::pin(what_lives_stays(d))
    }),
    ("shards that have a saga are told", |d| {
        Box::pin(shards_in_use_are_told(d))
    }),
    ("a key is free when its saga has expired", |d| {
        Box::pin(a_key_is_free_again(d))
    }),
    ("a tail with expired rows has no gap", |d| {
        Box::pin(expired_rows_are_no_gap(d))
    }),
    ("a lost row is a gap among expired ones too", |d| {
        Box::pin(a_lost_row_is_still_a_gap(d))
    }),
    ("an expired batch that was lost has its author", |d| {
        Box::pin(an_expired_batch_has_its_author(d))
    }),
    ("an expired journal fences as before", |d| {
        Box::pin(an_expired_journal_fences(d))
    }),
    ("a child stays while its parent lives", |d| {
        Box::pin(a_child_stays_while_its_parent_lives(d))
    }),
    (
        "a child stays while an end above its parent is provisional",
        |d| Box::pin(a_grandchild_stays(d)),
    ),
    ("two that expire at once take each saga once", |d| {
        Box::pin(two_at_once_take_each_once(d))
    }),
    ("whatever expires when, tails and fences hold", |d| {
        Box::pin(whatever_expires_tails_hold(d))
    }),
    ("what needs a revision is counted", |d| {
        Box::pin(what_needs_a_revision_is_counted(d))
    }),
];

fn after(seconds: u64) -> Time {
    AT + secs(seconds)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn page(shard: u16, now: Time, limit: usize) -> ExpiryPage {
    ExpiryPage {
        shard: ShardId(shard),
        after: None,
        begun_before: Time::INFINITY,
        now,
        limit,
    }
}

/// Sweeps a shard in pages of a few, and says how many sagas that were.
pub(super) async fn expire(store: &dyn Store, shard: u16, seconds: u64) -> Result<u64, Error> {
    let mut page = page(shard, after(seconds), 3);
    let mut gone = 0;
    loop {
        let swept = store.expire(&page).await?;
        gone += swept.gone;
        if swept.last.is_none() {
            return Ok(gone);
        }
        page.after = swept.last;
    }
}

async fn is_there(store: &dyn Store, saga: SagaId) -> Result<bool, Error> {
    Ok(store.history(saga, 1, 1).await?.is_some())
}

async fn ids(store: &dyn Store) -> Result<Vec<SagaId>, Error> {
    let query = ListQuery {
        namespace: NAMESPACE.into(),
        states: Vec::new(),
        definition: None,
        key: None,
        before: None,
        limit: 1_000,
    };
    let mut ids: Vec<SagaId> = (store.list(&query).await?.iter())
        .map(|saga| saga.id)
        .collect();
    ids.sort_unstable();
    Ok(ids)
}

async fn what_has_expired_goes(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let (gone, stays) = (saga(0, 1), saga(0, 2));
    let begin = Writes::at(0, 0)
        .start_keyed(1, gone, "A")
        .start_keyed(2, stays, "B")
        .open(incident(gone, 1, 0))
        .open(incident(stays, 1, 0));
    lane.append(&batch(1, [begin])).await?;
    let ends = Writes::at(0, 0)
        .end(3, gone, AT, secs(10))
        .end(4, stays, AT, secs(20));
    lane.append(&batch(2, [ends])).await?;
    let more = Writes::at(0, 0).start(5, saga(0, 3));
    lane.append(&batch(3, [more])).await?;
    same(&expire(&*store, 0, 9).await?, &0, "how many, too early")?;
    same(&expire(&*store, 0, 10).await?, &1, "how many, in time")?;
    same(&expire(&*store, 0, 10).await?, &0, "how many, again")?;
    same(
        &ids(&*store).await?,
        &vec![stays, saga(0, 3)],
        "the sagas that stay",
    )?;
    ensure(!is_there(&*store, gone).await?, "its history is gone")?;
    let keys = ["A", "B"].map(|text| key(NAMESPACE, DEFINITION, text));
    let found = store.lookup_keys(&keys).await?;
    let found: Vec<Option<SagaId>> = (found.into_iter()).map(|it| it.map(|it| it.saga)).collect();
    same(&found, &vec![None, Some(stays)], "the keys")?;
    let query = IncidentQuery {
        filter: IncidentFilter::of(NAMESPACE),
        after: None,
        limit: 10,
    };
    let listed = store.list_incidents(&query).await?;
    same(&listed, &vec![incident(stays, 1, 0)], "the incidents")?;
    let rows = store
        .history(stays, 1, 10)
        .await?
        .ok_or("it is gone")?
        .rows?;
    let positions: Vec<u64> = rows.iter().map(|row| row.position).collect();
    same(&positions, &vec![2, 4], "the rows of what stays")
}

async fn retention_is_bounded(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let mut writes = Writes::at(0, 0);
    for (n, position) in (1..=5).zip(1..) {
        writes = writes.start(position, saga(0, n));
    }
    lane.append(&batch(1, [writes])).await?;
    let mut ends = Writes::at(0, 0);
    for (n, position) in (1..=5_u32).zip(6..) {
        ends = ends.end(position, saga(0, n), AT, secs(u64::from(10 - n)));
    }
    lane.append(&batch(2, [ends])).await?;
    let of = |ns: &[u32]| -> Vec<SagaId> { ns.iter().map(|n| saga(0, *n)).collect() };
    let mut next = page(0, after(60), 2);
    for (taken, last, left) in [
        (2, Some(saga(0, 2)), of(&[3, 4, 5])),
        (2, Some(saga(0, 4)), of(&[5])),
        (1, None, of(&[])),
    ] {
        let swept = store.expire(&next).await?;
        same(&(swept.gone, swept.last), &(taken, last), "how many")?;
        same(&ids(&*store).await?, &left, "the sagas that are left")?;
        same(&tails(&mut *lane, &[0]).await?, &vec![10], "the tail")?;
        next.after = swept.last;
    }
    let swept = store.expire(&page(0, after(60), 2)).await?;
    same(&swept, &Swept::default(), "what an empty shard has")
}

async fn a_sweep_takes_what_is_due(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    // An old one that ran long is due last, a young one that was kept briefly is due first; some live.
    let (mut begins, mut ends) = (Writes::at(0, 0), Writes::at(0, 0));
    let mut position = 40;
    for n in 1..=20_u32 {
        begins = begins.start(u64::from(n), saga(0, n));
        if n % 4 != 0 {
            position += 1;
            let kept = if n % 3 == 0 { 1_000 } else { 10 };
            ends = ends.end(position, saga(0, n), after(u64::from(40 - n)), secs(kept));
        }
    }
    lane.append(&batch(1, [begins])).await?;
    // The positions between are another saga's.
    let mut fill = Writes::at(0, 0).start(21, saga(0, 900));
    for position in 22..=40 {
        fill = fill.step(position, saga(0, 900));
    }
    lane.append(&batch(2, [fill])).await?;
    lane.append(&batch(3, [ends])).await?;
    let is_due = |n: u32, now: u64| {
        !n.is_multiple_of(4) && !n.is_multiple_of(3) && u64::from(40 - n) + 10 <= now
    };
    let mut left: Vec<u32> = (1..=20).collect();
    for now in [29, 30, 37, 44, 49, 500] {
        let due = left.iter().filter(|n| is_due(**n, now)).count();
        same(&expire(&*store, 0, now).await?, &(due as u64), "how many")?;
        left.retain(|n| !is_due(*n, now));
        let mut expected: Vec<SagaId> = left.iter().map(|n| saga(0, *n)).collect();
        expected.push(saga(0, 900));
        same(&ids(&*store).await?, &expected, "the sagas that are left")?;
        same(&tails(&mut *lane, &[0]).await?, &vec![position], "the tail")?;
    }
    same(&left.len(), &10, "what lives and what is kept for longer")
}

async fn a_sweep_says_when_to_come_back(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let (parent, child) = (saga(3, 9), saga(0, 4));
    let begin = Writes::at(0, 0)
        .start(1, saga(0, 1))
        .start(2, saga(0, 2_000))
        .start(3, saga(0, 3_000))
        .start_child(4, child, parent);
    let above = Writes::at(3, 0).start(1, parent);
    lane.append(&batch(1, [begin, above])).await?;
    let ends = Writes::at(0, 0)
        .end(5, saga(0, 1), AT, secs(50))
        .end(6, saga(0, 2_000), AT, secs(20))
        .end(7, child, AT, secs(10));
    lane.append(&batch(2, [ends])).await?;
    let swept = store.expire(&page(0, after(5), 10)).await?;
    same(&(swept.gone, swept.seen), &(0, 4), "what was looked at")?;
    same(&swept.due, &Some(after(10)), "when the first is due")?;
    // Ids tell milliseconds.
    let life = swept.life_min.ok_or("nothing has ended")?;
    same(&life.as_secs(), &9, "the shortest life")?;
    // Its parent lives, so it stays, and is due still.
    let swept = store.expire(&page(0, after(15), 10)).await?;
    same(&(swept.gone, swept.due), &(0, Some(after(10))), "the child")?;
    // Whoever began later is not looked at.
    let young = ExpiryPage {
        begun_before: AT + Duration::from_millis(1_500),
        ..page(0, after(100), 10)
    };
    let swept = store.expire(&young).await?;
    same(&(swept.gone, swept.seen), &(1, 2), "what is old enough")?;
    let swept = store.expire(&page(0, after(100), 10)).await?;
    same(&(swept.gone, swept.seen), &(1, 3), "what is there")?;
    same(&swept.due, &Some(after(10)), "the child is due")
}

async fn what_lives_stays(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let mut writes = Writes::at(0, 0);
    for (n, position) in (1..=4).zip(1..) {
        writes = writes.start(position, saga(0, n));
    }
    lane.append(&batch(1, [writes, Writes::at(1, 0).start(1, saga(1, 1))]))
        .await?;
    let changes = Writes::at(0, 0)
        .step(5, saga(0, 1))
        .update(saga(0, 1), SagaState::Parked, Some(Time::INFINITY))
        // It ended without an expiry, as before there was one.
        .update(saga(0, 2), SagaState::Completed, None)
        .end(6, saga(0, 3), AT, secs(10));
    let elsewhere = Writes::at(1, 0).end(2, saga(1, 1), AT, Duration::ZERO);
    lane.append(&batch(2, [changes, elsewhere])).await?;
    // An end that was undone has no expiry any more.
    let undone =
        Writes::at(0, 0)
            .step(7, saga(0, 3))
            .update(saga(0, 3), SagaState::Compensating, None);
    lane.append(&batch(3, [undone])).await?;
    same(&expire(&*store, 0, 1_000_000).await?, &0, "how many")?;
    same(
        &expire(&*store, 5, 1_000_000).await?,
        &0,
        "how many of an empty shard",
    )?;
    same(&ids(&*store).await?.len(), &5, "how many sagas there are")
}

async fn shards_in_use_are_told(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    same(&store.shards_in_use().await?, &vec![], "of an empty store")?;
    let writes = [1, 5].map(|shard| Writes::at(shard, 0).start(1, saga(shard, 1)));
    lane.append(&batch(1, writes)).await?;
    let more = Writes::at(5, 0).start(2, saga(5, 2));
    lane.append(&batch(2, [more])).await?;
    let both = vec![ShardId(1), ShardId(5)];
    same(&store.shards_in_use().await?, &both, "with a saga")?;
    let end = Writes::at(1, 0).end(2, saga(1, 1), AT, Duration::ZERO);
    lane.append(&batch(3, [end])).await?;
    same(&store.shards_in_use().await?, &both, "with an ended one")?;
    same(&expire(&*store, 1, 1).await?, &1, "how many go")?;
    let one = vec![ShardId(5)];
    same(&store.shards_in_use().await?, &one, "once it has expired")
}

async fn a_key_is_free_again(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let begin =
        Writes::at(0, 0)
            .start_keyed(1, saga(0, 1), "K")
            .end(2, saga(0, 1), AT, Duration::ZERO);
    // A saga is inserted as it is at the end of its batch, so the end is another batch's.
    let (mut first, mut second) = (batch(1, [begin.clone()]), batch(2, [begin]));
    for b in &mut first.shards {
        b.rows.truncate(1);
        b.updates.clear();
    }
    for b in &mut second.shards {
        b.rows.remove(0);
        b.inserts.clear();
        b.keys.clear();
    }
    lane.append(&first).await?;
    lane.append(&second).await?;
    same(&expire(&*store, 0, 0).await?, &1, "how many")?;
    let again = Writes::at(0, 0).start_keyed(3, saga(0, 2), "K");
    lane.append(&batch(3, [again])).await?;
    let found = store
        .lookup_keys(&[key(NAMESPACE, DEFINITION, "K")])
        .await?;
    let found = found[0].map(|found| found.saga);
    same(&found, &Some(saga(0, 2)), "the saga of the key")
}

/// Begins and ends saga `n` in two batches behind `tail`, and tells the new tail. It is due at once.
async fn run(lane: &mut dyn Lane, epoch: u64, tail: u64, n: u32) -> Result<u64, Cause> {
    let id = 1_000 * u128::from(tail) + u128::from(n);
    let begin = Writes::at(0, epoch).start(tail + 1, saga(0, n));
    lane.append(&batch(id, [begin])).await?;
    let end = Writes::at(0, epoch).end(tail + 2, saga(0, n), AT, Duration::ZERO);
    lane.append(&batch(id + 500, [end])).await?;
    Ok(tail + 2)
}

async fn expired_rows_are_no_gap(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let mut tail = 0;
    for n in 1..=3 {
        tail = run(&mut *lane, 0, tail, n).await?;
    }
    same(&expire(&*store, 0, 0).await?, &3, "how many")?;
    same(
        &tails(&mut *lane, &[0]).await?,
        &vec![tail],
        "the tail before a takeover",
    )?;
    lane.take_over(&[takeover(0, tail + 1, 9)]).await?;
    let epoch = tail + 1;
    same(
        &tails(&mut *lane, &[0]).await?,
        &vec![epoch],
        "the tail of a takeover",
    )?;
    tail = epoch;
    for n in 4..=6 {
        tail = run(&mut *lane, epoch, tail, n).await?;
        // One by one, so that the count has to add up.
        same(&expire(&*store, 0, 0).await?, &1, "how many")?;
        same(
            &tails(&mut *lane, &[0]).await?,
            &vec![tail],
            "the tail behind a takeover",
        )?;
    }
    // A second takeover begins to count anew.
    lane.take_over(&[takeover(0, tail + 1, 10)]).await?;
    let epoch = tail + 1;
    tail = run(&mut *lane, epoch, epoch, 7).await?;
    same(
        &tails(&mut *lane, &[0]).await?,
        &vec![tail],
        "the tail before it expires",
    )?;
    same(&expire(&*store, 0, 0).await?, &1, "how many")?;
    same(
        &tails(&mut *lane, &[0]).await?,
        &vec![tail],
        "the tail after it expired",
    )?;
    ensure(ids(&*store).await?.is_empty(), "every saga is gone")?;
    run(&mut *lane, epoch, tail, 8).await?;
    Ok(())
}

async fn a_lost_row_is_still_a_gap(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    lane.take_over(&[takeover(0, 1, 9)]).await?;
    let mut tail = 1;
    for n in 1..=4 {
        tail = run(&mut *lane, 1, tail, n).await?;
    }
    let living = Writes::at(0, 1)
        .start(tail + 1, saga(0, 5))
        .step(tail + 2, saga(0, 5));
    lane.append(&batch(7, [living])).await?;
    // A row of a saga that will expire is lost before it does: what is deleted then is one row less.
    database.lose_row(ShardId(0), 4).await?;
    same(&store.expire(&page(0, AT, 3)).await?.gone, &3, "how many")?;
    match tails(&mut *lane, &[0]).await {
        Err(Error::Gap {
            shard: ShardId(0), ..
        }) => {}
        other => return Err(unexpected("a gap", &other)),
    }
    same(&expire(&*store, 0, 0).await?, &1, "how many")?;
    match tails(&mut *lane, &[0]).await {
        Err(Error::Gap { .. }) => Ok(()),
        other => Err(unexpected("a gap", &other)),
    }
}

async fn an_expired_batch_has_its_author(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let (mut deposed, mut owner) = (store.open_lane().await?, store.open_lane().await?);
    deposed.take_over(&[takeover(0, 1, 7)]).await?;
    let begin = Writes::at(0, 1).start(2, saga(0, 1)).start(3, saga(0, 2));
    deposed.append(&batch(8, [begin])).await?;
    // Its answer is lost on the way to the owner; everything that it wrote ends and expires under the next.
    let last = Writes::at(0, 1).end(4, saga(0, 1), AT, Duration::ZERO).end(
        5,
        saga(0, 2),
        AT,
        Duration::ZERO,
    );
    deposed.append(&batch(9, [last])).await?;
    owner.take_over(&[takeover(0, 6, 10)]).await?;
    let tail = run(&mut *owner, 6, 6, 3).await?;
    let tail = run(&mut *owner, 6, tail, 4).await?;
    same(&expire(&*store, 0, 0).await?, &4, "how many")?;
    same(&tails(&mut *owner, &[0]).await?, &vec![tail], "the tail")?;
    lost(deposed.take_over(&[takeover(0, 4, 11)]).await, &[0])?;
    let author = deposed.author(ShardId(0), 4).await?;
    same(
        &author.map(|author| (author.epoch, author.batch)),
        &Some((1, Uuid::from_u128(9))),
        "who wrote the first row of the lost batch",
    )
}

async fn an_expired_journal_fences(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let (mut deposed, mut owner) = (store.open_lane().await?, store.open_lane().await?);
    deposed.take_over(&[takeover(0, 1, 7)]).await?;
    let tail = run(&mut *deposed, 1, 1, 1).await?;
    owner.take_over(&[takeover(0, tail + 1, 8)]).await?;
    let end = run(&mut *owner, tail + 1, tail + 1, 2).await?;
    same(&expire(&*store, 0, 0).await?, &2, "how many")?;
    // The deposed owner believes that it is next behind its own rows.
    let stale = Writes::at(0, 1).start(tail + 1, saga(0, 3));
    lost(deposed.append(&batch(9, [stale])).await, &[0])?;
    // And whoever comes second behind the new owner's is second as well.
    lost(deposed.take_over(&[takeover(0, end, 10)]).await, &[0])?;
    same(&tails(&mut *owner, &[0]).await?, &vec![end], "the tail")
}

async fn a_child_stays_while_its_parent_lives(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let (parent, child, orphan) = (saga(3, 1), saga(0, 1), saga(0, 2));
    let begin = Writes::at(0, 0)
        .start_child(1, child, parent)
        .start_child(2, orphan, saga(7, 9));
    let above = Writes::at(3, 0).start(1, parent);
    lane.append(&batch(1, [begin, above])).await?;
    let end = Writes::at(0, 0)
        .end(3, child, AT, secs(10))
        .end(4, orphan, AT, secs(10));
    lane.append(&batch(2, [end])).await?;
    // A parent that is gone keeps nobody.
    same(
        &expire(&*store, 0, 100).await?,
        &1,
        "how many, while it lives",
    )?;
    ensure(is_there(&*store, child).await?, "the child is there")?;
    let end = Writes::at(3, 0).end(2, parent, after(100), secs(1_000));
    lane.append(&batch(3, [end])).await?;
    // Its retention counts from there.
    same(
        &expire(&*store, 0, 109).await?,
        &0,
        "how many, within its retention",
    )?;
    same(
        &expire(&*store, 0, 110).await?,
        &1,
        "how many, after its retention",
    )?;
    ensure(is_there(&*store, parent).await?, "the parent is there")
}

async fn a_grandchild_stays(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let (root, middle, leaf) = (saga(1, 1), saga(2, 1), saga(3, 1));
    let begin = [
        Writes::at(1, 0).start(1, root),
        Writes::at(2, 0).start_child(1, middle, root),
        Writes::at(3, 0).start_child(1, leaf, middle),
    ];
    lane.append(&batch(1, begin)).await?;
    let ends = [
        Writes::at(2, 0).end(2, middle, AT, secs(10)),
        Writes::at(3, 0).end(2, leaf, AT, secs(10)),
    ];
    lane.append(&batch(2, ends)).await?;
    let all = |seconds| {
        let store = Arc::clone(&store);
        async move {
            let mut taken = Vec::new();
            for shard in [3, 2, 1] {
                taken.push(expire(&*store, shard, seconds).await?);
            }
            Ok::<_, Error>(taken)
        }
    };
    // Both have ended, and may still have to be undone.
    same(
        &all(1_000).await?,
        &vec![0, 0, 0],
        "how many, while the root runs",
    )?;
    let end = Writes::at(1, 0).end(2, root, after(1_000), secs(5));
    lane.append(&batch(3, [end])).await?;
    same(
        &all(1_005).await?,
        &vec![0, 0, 1],
        "how many, when the root has expired",
    )?;
    same(
        &all(1_005).await?,
        &vec![0, 1, 0],
        "how many, when the root is gone",
    )?;
    same(
        &all(1_005).await?,
        &vec![1, 0, 0],
        "how many, when all above are gone",
    )
}

async fn two_at_once_take_each_once(database: Arc<dyn Database>) -> Outcome {
    let (one, other) = (database.open().await?, database.open().await?);
    let mut lane = one.open_lane().await?;
    lane.take_over(&[takeover(0, 1, 9)]).await?;
    let mut tail = 1;
    for round in 0..5_u32 {
        for n in 1..=4 {
            tail = run(&mut *lane, 1, tail, 4 * round + n).await?;
        }
        let page = page(0, AT, 3);
        let (a, b) = futures_util::future::join(one.expire(&page), other.expire(&page)).await;
        let rest = expire(&*one, 0, 0).await?;
        same(&(a?.gone + b?.gone + rest), &4, "how many together")?;
        same(&tails(&mut *lane, &[0]).await?, &vec![tail], "the tail")?;
    }
    Ok(())
}

async fn whatever_expires_tails_hold(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    for seed in 1..=6_u64 {
        let shard = u16::try_from(seed)?;
        let mut draw = Draw(0x9e37_79b9_7f4a_7c15 ^ seed);
        let (mut tail, mut epoch, mut begun) = (0, 0, 0_u32);
        // The first position of the last batch of each epoch: what a deposed owner may aim at.
        let mut aims: Vec<u64> = Vec::new();
        let mut open: Vec<SagaId> = Vec::new();
        for id in 1..=80_u128 {
            match draw.below(6) {
                0 => {
                    lane.take_over(&[takeover(shard, tail + 1, id)]).await?;
                    (tail, epoch) = (tail + 1, tail + 1);
                    aims.push(tail);
                }
                1 => {
                    let limit = usize::try_from(1 + draw.below(4))?;
                    store.expire(&page(shard, AT, limit)).await?;
                }
                _ => {
                    let mut writes = Writes::at(shard, epoch);
                    let first = tail + 1;
                    for _ in 0..1 + draw.below(3) {
                        tail += 1;
                        let ends = !open.is_empty() && draw.below(2) == 0;
                        writes = if ends {
                            writes.end(tail, open.remove(0), AT, Duration::ZERO)
                        } else {
                            begun += 1;
                            writes.start(tail, saga(shard, begun))
                        };
                    }
                    open.extend(writes.shard_batch().inserts.iter().map(|it| it.id));
                    lane.append(&batch(id, [writes])).await?;
                    // A later batch of the same epoch: the one before is not the last any more.
                    aims.retain(|aim| *aim <= epoch);
                    aims.push(first);
                }
            }
            let found = tails(&mut *lane, &[shard]).await?;
            same(&found, &vec![tail], &format!("seed {seed}, {id}: the tail"))?;
        }
        for aim in aims {
            lost(lane.take_over(&[takeover(shard, aim, 999)]).await, &[shard])?;
        }
    }
    Ok(())
}

async fn what_needs_a_revision_is_counted(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let begin = [
        Writes::at(0, 0)
            .start(1, saga(0, 1))
            .start(2, saga(0, 2))
            .start(3, saga(0, 3)),
        Writes::at(1, 0)
            .start(1, saga(1, 1))
            .start(2, saga(1, 2))
            .revision(4),
        Writes::at(2, 0)
            .start_child(1, saga(2, 1), saga(0, 1))
            .revision(5),
        Writes::at(3, 0)
            .start_child(1, saga(3, 1), saga(7, 7))
            .revision(6),
        Writes::at(4, 0)
            .start(1, saga(4, 1))
            .of(NAMESPACE, "book-trip"),
        Writes::at(5, 0)
            .start(1, saga(5, 1))
            .of("foreign", DEFINITION),
    ];
    lane.append(&batch(1, begin)).await?;
    let changes = [
        Writes::at(0, 0)
            .step(4, saga(0, 2))
            .update(saga(0, 2), SagaState::Parked, Some(Time::INFINITY))
            .end(5, saga(0, 3), AT, secs(10)),
        Writes::at(1, 0)
            .end(3, saga(1, 1), AT, secs(10))
            .end(4, saga(1, 2), AT, secs(10)),
        Writes::at(2, 0).end(2, saga(2, 1), AT, secs(10)),
        Writes::at(3, 0).end(2, saga(3, 1), AT, secs(10)),
    ];
    lane.append(&batch(2, changes)).await?;
    // The child of revision 5 has completed, and its parent runs on.
    let counts = store.count_active(NAMESPACE, DEFINITION).await?;
    same(&counts, &vec![(3, 2), (5, 1)], "how many of each revision")?;
    let end = Writes::at(0, 0).end(6, saga(0, 1), AT, secs(10));
    lane.append(&batch(3, [end])).await?;
    let counts = store.count_active(NAMESPACE, DEFINITION).await?;
    same(&counts, &vec![(3, 1)], "how many when the parent has ended")?;
    let counts = store.count_active("nobody", DEFINITION).await?;
    ensure(counts.is_empty(), "nobody has sagas")
}
