//! Incidents: opened and closed with what they are about, listed, filtered and grouped.

use std::sync::Arc;

use amends_core::OperationKind;
use amends_core::fact::IncidentReason;
use amends_core::journal::{IncidentInsert, IncidentName, SagaState};

use super::made::{NAMESPACE, Writes, batch, incident, lost, saga, unexpected};
use super::{Check, Database, Outcome, ensure, same};
use crate::{
    AppendError, Fingerprint, IncidentCursor, IncidentFilter, IncidentGroup, IncidentQuery, Store,
};

pub(super) const CHECKS: &[Check] = &[
    ("incidents open and close with their batches", |d| {
        Box::pin(incidents_open_and_close(d))
    }),
    ("a refused batch opens and closes no incident", |d| {
        Box::pin(a_refused_batch_opens_nothing(d))
    }),
    ("incidents are listed the oldest first, in pages", |d| {
        Box::pin(incidents_come_in_pages(d))
    }),
    ("incidents are filtered", |d| {
        Box::pin(incidents_are_filtered(d))
    }),
    ("incidents are grouped by what they have in common", |d| {
        Box::pin(incidents_are_grouped(d))
    }),
];

fn everything() -> IncidentQuery {
    IncidentQuery {
        filter: IncidentFilter::of(NAMESPACE),
        after: None,
        limit: 100,
    }
}

fn names(incidents: &[IncidentInsert]) -> Vec<IncidentName> {
    incidents.iter().map(|incident| incident.name).collect()
}

fn name(shard: u16, n: u32, number: u32) -> IncidentName {
    IncidentName {
        saga: saga(shard, n),
        number,
    }
}

async fn incidents_open_and_close(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let full = IncidentInsert {
        item: 12,
        operation: Some(OperationKind::Compensate),
        ..incident(saga(0, 1), 1, 5)
    };
    let bare = IncidentInsert {
        step: None,
        operation: None,
        code: None,
        reason: IncidentReason::Paused,
        message: String::new(),
        ..incident(saga(0, 1), 2, 6)
    };
    let begin = Writes::at(0, 0)
        .start(1, saga(0, 1))
        .open(full.clone())
        .open(bare.clone());
    lane.append(&batch(1, [begin])).await?;
    let listed = store.list_incidents(&everything()).await?;
    same(&listed, &vec![full, bare.clone()], "the open incidents")?;
    // One closes, and one that never opened: that is no matter.
    let third = incident(saga(0, 1), 3, 7);
    let change = Writes::at(0, 0)
        .step(2, saga(0, 1))
        .close(saga(0, 1), 1)
        .close(saga(0, 1), 9)
        .open(third.clone());
    lane.append(&batch(2, [change])).await?;
    let listed = store.list_incidents(&everything()).await?;
    same(&listed, &vec![bare, third], "the incidents that are left")?;
    let end = Writes::at(0, 0)
        .step(3, saga(0, 1))
        .update(saga(0, 1), SagaState::Terminated, None)
        .close(saga(0, 1), 2)
        .close(saga(0, 1), 3);
    lane.append(&batch(3, [end])).await?;
    ensure(
        store.list_incidents(&everything()).await?.is_empty(),
        "an end closes them",
    )
}

async fn a_refused_batch_opens_nothing(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut lane = store.open_lane().await?;
    let begin = Writes::at(0, 0)
        .start(1, saga(0, 1))
        .open(incident(saga(0, 1), 1, 5));
    lane.append(&batch(1, [begin])).await?;
    let stale = Writes::at(0, 0)
        .step(1, saga(0, 1))
        .close(saga(0, 1), 1)
        .open(incident(saga(0, 1), 2, 6));
    lost(lane.append(&batch(2, [stale])).await, &[0])?;
    let twice = Writes::at(0, 0)
        .step(2, saga(0, 1))
        .open(incident(saga(0, 1), 1, 6));
    match lane.append(&batch(3, [twice])).await {
        Err(AppendError::Data { .. }) => {}
        other => return Err(unexpected("Data", &other)),
    }
    same(
        &store.list_incidents(&everything()).await?,
        &vec![incident(saga(0, 1), 1, 5)],
        "the open incidents",
    )
}

async fn incidents_come_in_pages(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let mut shards = Vec::new();
    // Opened in no order, in several shards, several at once; one saga has two at one time.
    for (shard, opened) in [(0, [(1, 1, 30), (2, 1, 10)]), (4, [(1, 1, 20), (1, 2, 20)])] {
        let mut writes = Writes::at(shard, 0)
            .start(1, saga(shard, 1))
            .start(2, saga(shard, 2));
        for (n, number, seconds) in opened {
            writes = writes.open(incident(saga(shard, n), number, seconds));
        }
        shards.push(writes.open(incident(saga(shard, 2), 9, 20)));
    }
    store.open_lane().await?.append(&batch(1, shards)).await?;
    let mut seen: Vec<IncidentInsert> = Vec::new();
    loop {
        let query = IncidentQuery {
            after: seen.last().map(IncidentCursor::of),
            limit: 2,
            ..everything()
        };
        let page = store.list_incidents(&query).await?;
        ensure(page.len() <= 2, "a page is as long as asked at most")?;
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    let expected = [
        (0, 2, 1),
        (4, 1, 1),
        (4, 1, 2),
        (0, 2, 9),
        (4, 2, 9),
        (0, 1, 1),
    ];
    let expected = expected.map(|(shard, n, number)| name(shard, n, number));
    same(&names(&seen), &expected.to_vec(), "every incident")
}

/// Five incidents of five kinds, one of them another tenant's.
async fn assorted(store: &dyn Store) -> Outcome {
    let of = |n, change: fn(&mut IncidentInsert)| {
        let mut incident = incident(saga(0, n), 1, u64::from(n));
        change(&mut incident);
        incident
    };
    let incidents = [
        of(1, |_| {}),
        of(2, |it| it.definition = "book-trip".into()),
        of(3, |it| it.revision = 4),
        of(4, |it| {
            it.step = None;
            it.code = None;
            it.reason = IncidentReason::Paused;
        }),
        of(5, |it| it.code = Some("' OR 1=1 --".into())),
        of(6, |it| it.namespace = "foreign".into()),
        of(7, |_| {}),
        of(8, |it| it.reason = IncidentReason::RoutedToPark),
        of(9, |it| it.code = None),
    ];
    let mut writes = Writes::at(0, 0);
    for (position, incident) in (1..).zip(incidents) {
        writes = writes.start(position, incident.name.saga).open(incident);
    }
    store.open_lane().await?.append(&batch(1, [writes])).await?;
    Ok(())
}

async fn incidents_are_filtered(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    assorted(&*store).await?;
    let all = || IncidentFilter::of(NAMESPACE);
    let text = |text: &str| Some(text.to_owned());
    let fingerprint = |text: &str| -> Result<IncidentFilter, crate::Cause> {
        Ok(IncidentFilter {
            fingerprint: Some(text.parse::<Fingerprint>()?),
            ..all()
        })
    };
    let definition = |name| IncidentFilter {
        definition: text(name),
        ..all()
    };
    let code = |code| IncidentFilter {
        code: text(code),
        ..all()
    };
    let step = |step| IncidentFilter {
        step: text(step),
        ..all()
    };
    let revision = IncidentFilter {
        revision: Some(4),
        ..all()
    };
    let reason = IncidentFilter {
        reason: Some(IncidentReason::Paused),
        ..all()
    };
    let both = IncidentFilter {
        reason: Some(IncidentReason::RoutedToPark),
        ..fingerprint("place-order@3/charge/CARD_DECLINED")?
    };
    let foreign = IncidentFilter::of("foreign");
    for (filter, expected) in [
        (all(), vec![1, 2, 3, 4, 5, 7, 8, 9]),
        (definition("book-trip"), vec![2]),
        (revision, vec![3]),
        (step("charge"), vec![1, 2, 3, 5, 7, 8, 9]),
        (step("-"), vec![]),
        (code("' OR 1=1 --"), vec![5]),
        (code("CARD_DECLINED"), vec![1, 2, 3, 7, 8]),
        (reason, vec![4]),
        (fingerprint("place-order@3/-/PAUSED")?, vec![4]),
        (
            fingerprint("place-order@3/charge/CARD_DECLINED")?,
            vec![1, 7, 8],
        ),
        (fingerprint("place-order@3/charge/STEP_REFUSED")?, vec![9]),
        (fingerprint("place-order@5/charge/CARD_DECLINED")?, vec![]),
        (both, vec![8]),
        (foreign, vec![6]),
        (IncidentFilter::of("nobody"), vec![]),
    ] {
        let query = IncidentQuery {
            filter,
            ..everything()
        };
        let expected: Vec<IncidentName> = expected.into_iter().map(|n| name(0, n, 1)).collect();
        let found = store.list_incidents(&query).await?;
        same(&names(&found), &expected, &format!("{query:?}"))?;
    }
    Ok(())
}

async fn incidents_are_grouped(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    assorted(&*store).await?;
    let shown = |groups: Vec<IncidentGroup>| -> Vec<String> {
        let shown = |it: &IncidentGroup| {
            let (reason, count) = (it.reason.as_str(), it.count);
            let apart = it.newest.since(it.oldest).as_secs();
            format!("{count} {} {reason} {apart}", it.fingerprint())
        };
        groups.iter().map(shown).collect()
    };
    let all = IncidentFilter::of(NAMESPACE);
    let groups = shown(store.incident_groups(&all, 100).await?);
    let expected = [
        "2 place-order@3/charge/CARD_DECLINED STEP_REFUSED 6",
        "1 book-trip@3/charge/CARD_DECLINED STEP_REFUSED 0",
        "1 place-order@3/-/PAUSED PAUSED 0",
        "1 place-order@3/charge/STEP_REFUSED STEP_REFUSED 0",
        "1 place-order@3/charge/' OR 1=1 -- STEP_REFUSED 0",
        "1 place-order@3/charge/CARD_DECLINED ROUTED_TO_PARK 0",
        "1 place-order@4/charge/CARD_DECLINED STEP_REFUSED 0",
    ];
    same(&groups, &expected.map(String::from).to_vec(), "the groups")?;
    let first = shown(store.incident_groups(&all, 2).await?);
    same(&first, &groups[..2].to_vec(), "the most numerous")?;
    let filtered = IncidentFilter {
        definition: Some("book-trip".into()),
        ..all
    };
    let filtered = shown(store.incident_groups(&filtered, 100).await?);
    same(
        &filtered,
        &groups[1..2].to_vec(),
        "the groups of a definition",
    )
}
