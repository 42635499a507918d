//! Leases: who may own which shard. For liveness alone; the journal fences without them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use amends_core::{ShardId, Time};
use uuid::Uuid;

use super::made::unexpected;
use super::{Check, Database, Outcome, SHARD_COUNT, ensure, same};
use crate::{Error, NodeLease, Store};

pub(super) const CHECKS: &[Check] = &[
    ("a live lease is not taken", |d| {
        Box::pin(a_live_lease_is_not_taken(d))
    }),
    ("an expired lease is taken", |d| {
        Box::pin(an_expired_lease_is_taken(d))
    }),
    ("a late lease that nobody took is renewed", |d| {
        Box::pin(a_late_lease_that_nobody_took_is_renewed(d))
    }),
    ("a process takes over from its namesake at once", |d| {
        Box::pin(a_namesake_takes_over_at_once(d))
    }),
    ("a released lease is free", |d| {
        Box::pin(a_released_lease_is_free(d))
    }),
    ("a lease that was never claimed is lost", |d| {
        Box::pin(a_lease_never_claimed_is_lost(d))
    }),
    ("how far a clock went outlives its node", |d| {
        Box::pin(how_far_a_clock_went_outlives_its_node(d))
    }),
    ("a clock goes at least as far as the database's", |d| {
        Box::pin(a_clock_goes_as_far_as_the_databases(d))
    }),
    ("claims at once share no shard", |d| {
        Box::pin(claims_at_once_share_no_shard(d))
    }),
];

fn node(name: &str, process: u128) -> NodeLease {
    NodeLease {
        name: name.into(),
        process: Uuid::from_u128(process),
        address: "127.0.0.1:7600".into(),
        lease: Duration::from_secs(60),
    }
}

fn expired(node: NodeLease) -> NodeLease {
    NodeLease {
        lease: Duration::ZERO,
        ..node
    }
}

async fn claim(store: &dyn Store, node: &NodeLease, shards: &[u16]) -> Result<Vec<u16>, Error> {
    let shards: Vec<ShardId> = shards.iter().map(|shard| ShardId(*shard)).collect();
    Ok(store
        .claim(node, &shards)
        .await?
        .iter()
        .map(|shard| shard.0)
        .collect())
}

async fn lost(store: &dyn Store, node: &NodeLease) -> Outcome {
    match store.renew(node, Time::EPOCH).await {
        Err(Error::LeaseLost { node: name }) if name == node.name => Ok(()),
        other => Err(unexpected("a lost lease", &other)),
    }
}

async fn a_live_lease_is_not_taken(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let (one, two) = (node("one", 1), node("two", 2));
    same(
        &claim(&*store, &one, &[3, 1]).await?,
        &vec![1, 3],
        "what the first gets",
    )?;
    same(
        &claim(&*store, &two, &[0, 1, 2, 3]).await?,
        &vec![0, 2],
        "what the second gets",
    )?;
    same(
        &claim(&*store, &one, &[0, 1, 2, 3]).await?,
        &vec![1, 3],
        "what the first holds still",
    )?;
    let now = store.identity().await?.now;
    let renewed = store.renew(&one, Time::EPOCH).await?;
    ensure(
        renewed + Duration::from_millis(1) >= now,
        "a renewal tells the database's time",
    )?;
    same(
        &claim(&*store, &one, &[]).await?,
        &Vec::new(),
        "of none, none",
    )?;
    same(
        &claim(&*store, &one, &[SHARD_COUNT, 5]).await?,
        &vec![5],
        "a shard that is none is not got",
    )
}

async fn an_expired_lease_is_taken(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let (one, two) = (node("one", 1), node("two", 2));
    claim(&*store, &expired(one.clone()), &[0, 1]).await?;
    same(
        &claim(&*store, &two, &[1, 2]).await?,
        &vec![1, 2],
        "what the second gets",
    )?;
    // Whoever was late has lost its lease with the first shard, and gets by a new one only what nobody has taken.
    lost(&*store, &one).await?;
    same(
        &claim(&*store, &one, &[0, 1, 2]).await?,
        &vec![0],
        "what the first has left",
    )?;
    store.renew(&expired(two), Time::EPOCH).await?;
    same(
        &claim(&*store, &one, &[0, 1, 2]).await?,
        &vec![0, 1, 2],
        "what the first gets back",
    )
}

async fn a_late_lease_that_nobody_took_is_renewed(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let (one, two) = (node("one", 1), node("two", 2));
    claim(&*store, &expired(one.clone()), &[0, 1]).await?;
    same(
        &claim(&*store, &two, &[2]).await?,
        &vec![2],
        "what the second wants",
    )?;
    store.renew(&one, Time::EPOCH).await?;
    same(
        &claim(&*store, &two, &[0, 1, 2]).await?,
        &vec![2],
        "what the second gets of what was renewed",
    )
}

async fn a_namesake_takes_over_at_once(database: Arc<dyn Database>) -> Outcome {
    let (before, after) = (database.open().await?, database.open().await?);
    let (killed, again) = (node("one", 1), node("one", 2));
    claim(&*before, &killed, &[0, 1, 2]).await?;
    same(
        &claim(&*after, &again, &[0, 1, 2]).await?,
        &vec![0, 1, 2],
        "what its namesake gets",
    )?;
    lost(&*before, &killed).await?;
    after.renew(&again, Time::EPOCH).await?;
    // The deposed process takes nothing from its namesake when it ends, either.
    before.release(&killed).await?;
    after.renew(&again, Time::EPOCH).await?;
    same(
        &claim(&*before, &node("two", 3), &[0, 1, 2]).await?,
        &Vec::new(),
        "what another gets",
    )
}

async fn a_released_lease_is_free(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let (one, two) = (node("one", 1), node("two", 2));
    claim(&*store, &one, &[0, 1]).await?;
    store.release(&one).await?;
    store.release(&one).await?;
    lost(&*store, &one).await?;
    same(
        &claim(&*store, &two, &[0, 1]).await?,
        &vec![0, 1],
        "what the second gets",
    )
}

async fn a_lease_never_claimed_is_lost(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    lost(&*store, &node("one", 1)).await
}

async fn how_far_a_clock_went_outlives_its_node(database: Arc<dyn Database>) -> Outcome {
    let (store, other) = (database.open().await?, database.open().await?);
    let (one, again, two) = (node("one", 1), node("one", 2), node("two", 3));
    same(
        &store.clocks_until(&one).await?,
        &Time::EPOCH,
        "before there was a clock",
    )?;
    claim(&*store, &one, &[0]).await?;
    same(
        &store.clocks_until(&one).await?,
        &Time::EPOCH,
        "a process does not count itself",
    )?;
    // The database's clock has gone back since this node's last sample.
    let ahead = store.identity().await?.now + Duration::from_secs(3_600);
    store.renew(&one, ahead).await?;
    let until = ahead + one.lease;
    same(&other.clocks_until(&two).await?, &until, "another's")?;
    // A smaller word takes nothing back.
    store.renew(&one, Time::EPOCH).await?;
    same(&other.clocks_until(&two).await?, &until, "it stays")?;
    claim(&*other, &again, &[0]).await?;
    same(
        &other.clocks_until(&again).await?,
        &until,
        "its namesake's predecessor",
    )?;
    other.renew(&again, Time::EPOCH).await?;
    other.release(&again).await?;
    same(
        &store.clocks_until(&two).await?,
        &until,
        "after the lease was released",
    )
}

async fn a_clock_goes_as_far_as_the_databases(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let (one, again, two) = (node("one", 1), node("one", 2), node("two", 3));
    let before = store.identity().await?.now;
    claim(&*store, &one, &[0]).await?;
    // Who has claimed and not renewed yet may have begun none the less.
    let claimed = store.clocks_until(&two).await?;
    let slack = Duration::from_millis(1);
    ensure(
        claimed + slack >= before + one.lease,
        "a claim counts for its lease",
    )?;
    let renewed = store.renew(&one, Time::EPOCH).await?;
    claim(&*store, &again, &[0]).await?;
    let until = store.clocks_until(&again).await?;
    ensure(
        until + slack >= renewed + one.lease,
        "a renewal counts for its lease",
    )?;
    ensure(
        until <= renewed + one.lease + Duration::from_secs(60),
        "and not for more",
    )
}

async fn claims_at_once_share_no_shard(database: Arc<dyn Database>) -> Outcome {
    let (a, b) = (database.open().await?, database.open().await?);
    let all: Vec<u16> = (0..SHARD_COUNT).collect();
    for round in 0..10_u128 {
        let (one, two) = (node("one", 2 * round + 1), node("two", 2 * round + 2));
        let (of_one, of_two) =
            futures_util::future::join(claim(&*a, &one, &all), claim(&*b, &two, &all)).await;
        let held: Vec<u16> = of_one?.into_iter().chain(of_two?).collect();
        let distinct: BTreeSet<u16> = held.iter().copied().collect();
        same(&distinct.len(), &held.len(), "no shard has two owners")?;
        same(&held.len(), &all.len(), "every shard has an owner")?;
        a.release(&one).await?;
        b.release(&two).await?;
    }
    Ok(())
}
