//! Takeovers: whoever comes second at a position commits nothing.

use std::sync::Arc;

use amends_core::ShardId;
use uuid::Uuid;

use super::made::{Draw, Writes, batch, lost, saga, tails, takeover, unexpected};
use super::{Check, Database, Outcome, ensure, same};
use crate::{AppendError, Author, Error, Lane};

pub(super) const CHECKS: &[Check] = &[
    ("a takeover takes the next position", |d| {
        Box::pin(a_takeover_takes_the_next_position(d))
    }),
    ("a deposed owner writes nothing", |d| {
        Box::pin(a_deposed_owner_writes_nothing(d))
    }),
    ("a takeover at a taken position takes nothing", |d| {
        Box::pin(a_late_takeover_takes_nothing(d))
    }),
    ("a lost batch that landed has its author", |d| {
        Box::pin(a_batch_that_landed_has_its_author(d))
    }),
    ("a lost batch that did not land never lands", |d| {
        Box::pin(a_fenced_batch_never_lands(d))
    }),
    ("a journal with a gap is not read past it", |d| {
        Box::pin(a_gap_is_an_error(d))
    }),
    ("two takeovers in a row count from the later", |d| {
        Box::pin(takeovers_follow_each_other(d))
    }),
    ("of two owners one gets each position", |d| {
        Box::pin(of_two_owners_one_gets_each_position(d))
    }),
    ("two owners at once never both write", |d| {
        Box::pin(two_owners_at_once_never_both_write(d))
    }),
];

async fn author(lane: &mut dyn Lane, shard: u16, position: u64) -> Result<Option<Author>, Error> {
    lane.author(ShardId(shard), position).await
}

fn by(epoch: u64, id: u128) -> Option<Author> {
    Some(Author {
        epoch,
        batch: Uuid::from_u128(id),
    })
}

async fn a_takeover_takes_the_next_position(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    lane.append(&batch(1, [Writes::at(2, 0).start(1, saga(2, 1))]))
        .await?;
    lane.take_over(&[takeover(2, 2, 9), takeover(0, 1, 9)])
        .await?;
    same(&tails(&mut *lane, &[0, 2]).await?, &vec![1, 2], "the tails")?;
    same(
        &author(&mut *lane, 2, 1).await?,
        &by(0, 1),
        "who wrote the first row",
    )?;
    same(
        &author(&mut *lane, 2, 2).await?,
        &by(2, 9),
        "who wrote the takeover record",
    )?;
    same(
        &author(&mut *lane, 2, 3).await?,
        &None,
        "who wrote the row that is not there",
    )?;
    lane.append(&batch(3, [Writes::at(2, 2).step(3, saga(2, 1))]))
        .await?;
    same(&tails(&mut *lane, &[2]).await?, &vec![3], "the tail")?;
    let history = store
        .history(saga(2, 1), 1, 10)
        .await?
        .ok_or("the saga is gone")?;
    let positions: Vec<u64> = history.rows?.iter().map(|row| row.position).collect();
    same(
        &positions,
        &vec![1, 3],
        "the saga's rows, without the takeover record",
    )
}

async fn a_deposed_owner_writes_nothing(database: Arc<dyn Database>) -> Outcome {
    let (old, new) = (database.open().await?, database.open().await?);
    let (mut deposed, mut owner) = (old.open_lane().await?, new.open_lane().await?);
    deposed
        .append(&batch(
            1,
            [
                Writes::at(0, 0).start(1, saga(0, 1)),
                Writes::at(1, 0).start(1, saga(1, 1)),
            ],
        ))
        .await?;
    owner.take_over(&[takeover(0, 2, 9)]).await?;
    let stale = [
        Writes::at(0, 0).start(2, saga(0, 2)),
        Writes::at(1, 0).start(2, saga(1, 2)),
    ];
    lost(deposed.append(&batch(2, stale)).await, &[0])?;
    ensure(
        new.history(saga(1, 2), 1, 1).await?.is_none(),
        "the neighbour's shard was written to",
    )?;
    // The rest decides again and goes on; so does the new owner.
    deposed
        .append(&batch(3, [Writes::at(1, 0).start(2, saga(1, 2))]))
        .await?;
    owner
        .append(&batch(4, [Writes::at(0, 2).start(3, saga(0, 2))]))
        .await?;
    same(
        &tails(&mut *owner, &[0, 1]).await?,
        &vec![3, 2],
        "the tails",
    )
}

async fn a_late_takeover_takes_nothing(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    lane.append(&batch(1, [Writes::at(1, 0).start(1, saga(1, 1))]))
        .await?;
    lost(
        lane.take_over(&[takeover(0, 1, 8), takeover(1, 1, 8)])
            .await,
        &[1],
    )?;
    same(&tails(&mut *lane, &[0, 1]).await?, &vec![0, 1], "the tails")
}

async fn a_batch_that_landed_has_its_author(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    lane.take_over(&[takeover(0, 1, 7), takeover(1, 1, 7)])
        .await?;
    lane.append(&batch(
        8,
        [
            Writes::at(0, 1).start(2, saga(0, 1)),
            Writes::at(1, 1).start(2, saga(1, 1)),
        ],
    ))
    .await?;
    // The answer was lost: the same owner asks in another connection.
    let mut again = store.open_lane().await?;
    lost(
        again
            .take_over(&[takeover(0, 2, 9), takeover(1, 2, 9)])
            .await,
        &[0, 1],
    )?;
    same(
        &author(&mut *again, 0, 2).await?,
        &by(1, 8),
        "who wrote in shard 0",
    )?;
    same(
        &author(&mut *again, 1, 2).await?,
        &by(1, 8),
        "who wrote in shard 1",
    )
}

async fn a_fenced_batch_never_lands(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let late = batch(
        8,
        [
            Writes::at(0, 0).start(1, saga(0, 1)),
            Writes::at(1, 0).start(1, saga(1, 1)),
        ],
    );
    let mut again = store.open_lane().await?;
    again
        .take_over(&[takeover(0, 1, 9), takeover(1, 1, 9)])
        .await?;
    lost(lane.append(&late).await, &[0, 1])?;
    same(
        &author(&mut *again, 0, 1).await?,
        &by(1, 9),
        "who wrote there",
    )?;
    same(
        &tails(&mut *again, &[0, 1]).await?,
        &vec![1, 1],
        "the tails",
    )
}

async fn a_gap_is_an_error(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let writes = [
        Writes::at(0, 0).start(1, saga(0, 1)).step(3, saga(0, 1)),
        Writes::at(1, 0).start(1, saga(1, 1)),
    ];
    lane.append(&batch(1, writes)).await?;
    match tails(&mut *lane, &[1, 0]).await {
        Err(Error::Gap {
            shard: ShardId(0), ..
        }) => {}
        other => return Err(unexpected("a gap in shard 0", &other)),
    }
    same(
        &tails(&mut *lane, &[1]).await?,
        &vec![1],
        "the whole journal's tail",
    )?;
    lane.take_over(&[takeover(2, 1, 9)]).await?;
    lane.append(&batch(2, [Writes::at(2, 1).start(3, saga(2, 1))]))
        .await?;
    match tails(&mut *lane, &[2]).await {
        Err(Error::Gap {
            shard: ShardId(2), ..
        }) => Ok(()),
        other => Err(unexpected("a gap in shard 2", &other)),
    }
}

async fn takeovers_follow_each_other(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    lane.take_over(&[takeover(0, 1, 1)]).await?;
    lane.take_over(&[takeover(0, 2, 2)]).await?;
    lane.append(&batch(3, [Writes::at(0, 2).start(3, saga(0, 1))]))
        .await?;
    same(&tails(&mut *lane, &[0]).await?, &vec![3], "the tail")?;
    same(
        &author(&mut *lane, 0, 1).await?,
        &by(1, 1),
        "who took over first",
    )
}

/// An owner that believes what it last saw.
struct Owner {
    lane: Box<dyn Lane>,
    epoch: u64,
    next: u64,
}

async fn of_two_owners_one_gets_each_position(database: Arc<dyn Database>) -> Outcome {
    for seed in 1..=8_u64 {
        let shard = u16::try_from(seed % 8)?;
        let mut draw = Draw(0x9e37_79b9_7f4a_7c15 ^ seed);
        let mut owners = Vec::new();
        for _ in 0..2 {
            let lane = database.open().await?.open_lane().await?;
            owners.push(Owner {
                lane,
                epoch: 0,
                next: 1,
            });
        }
        // What must be there: position by position, the batch that was told to be written.
        let mut written: Vec<u128> = Vec::new();
        for id in 1..=60_u128 {
            let owner = &mut owners[usize::try_from(draw.below(2))?];
            let rows = 1 + draw.below(3);
            match draw.below(4) {
                0 => {
                    let at = tails(&mut *owner.lane, &[shard]).await?[0] + 1;
                    owner.lane.take_over(&[takeover(shard, at, id)]).await?;
                    (owner.epoch, owner.next) = (at, at + 1);
                    written.push(id);
                }
                _ => {
                    let mut writes = Writes::at(shard, owner.epoch);
                    for position in owner.next..owner.next + rows {
                        writes = writes.step(position, saga(shard, u32::try_from(id)?));
                    }
                    match owner.lane.append(&batch(id, [writes])).await {
                        Ok(()) => {
                            ensure(
                                owner.next == written.len() as u64 + 1,
                                format!("seed {seed}: {id} left a gap"),
                            )?;
                            owner.next += rows;
                            written.extend((0..rows).map(|_| id));
                        }
                        refused => {
                            lost(refused, &[shard])?;
                            ensure(
                                owner.next <= written.len() as u64,
                                format!("seed {seed}: {id} was refused"),
                            )?;
                        }
                    }
                }
            }
        }
        let lane = &mut owners[0].lane;
        same(
            &tails(&mut **lane, &[shard]).await?,
            &vec![written.len() as u64],
            "the tail",
        )?;
        for (position, id) in (1_u64..).zip(&written) {
            let author = author(&mut **lane, shard, position)
                .await?
                .map(|author| author.batch);
            same(
                &author,
                &Some(Uuid::from_u128(*id)),
                &format!("seed {seed}, position {position}"),
            )?;
        }
    }
    Ok(())
}

async fn two_owners_at_once_never_both_write(database: Arc<dyn Database>) -> Outcome {
    let (one, other) = (database.open().await?, database.open().await?);
    let (mut one, mut other) = (one.open_lane().await?, other.open_lane().await?);
    let mut next = 1;
    for round in 1..=30_u32 {
        let of = |owner: u32| Writes::at(0, 0).start(next, saga(0, 2 * round + owner));
        let (a, b) = (batch(1, [of(0)]), batch(2, [of(1)]));
        match futures_util::future::join(one.append(&a), other.append(&b)).await {
            (Ok(()), Err(AppendError::PositionTaken(_)))
            | (Err(AppendError::PositionTaken(_)), Ok(())) => next += 1,
            outcomes => return Err(unexpected("one winner", &outcomes)),
        }
    }
    same(&tails(&mut *one, &[0]).await?, &vec![30], "the tail")
}
