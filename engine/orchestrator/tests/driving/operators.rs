//! What operators see and do: acts, incidents, whole groups, explanations, participants, revisions, retention.

use std::time::Duration;

use amends_core::OperationKind;
use amends_core::journal::SagaState;
use amends_core::shard::{Acknowledged, Target, Verb};
use amends_core::{Outcome, SagaId};
use amends_definitions::ActionName;
use amends_orchestrator::{
    ActRequest, Fingerprint, GroupRequest, GroupVerb, IncidentFilter, IncidentQuery, Kind, Options,
    Orchestrator, Retention, StartRequest, Topic,
};
use tokio::time::Instant;

use crate::language::apply;
use crate::world::{
    Participant, World, attachment, ended, failed, payload, rejected, request, start, succeeded,
};

fn act(saga: SagaId, verb: Verb) -> ActRequest {
    ActRequest {
        namespace: "default".into(),
        saga,
        by: "ann".into(),
        reason: "the bank is back".into(),
        dry_run: false,
        verb,
    }
}

fn target(step: &str) -> Target {
    Target {
        step: step.into(),
        item: 0,
        operation: OperationKind::Forward,
    }
}

/// Starts orders whose shipping is refused: they park.
async fn parked(node: &Orchestrator, shop: &mut Participant, count: usize) -> Vec<SagaId> {
    let mut sagas = Vec::new();
    for _ in 0..count {
        let saga = start(node, "order", "{}").await;
        for outcome in [succeeded(), succeeded(), rejected()] {
            let command = shop.command().await;
            shop.answer(&command, outcome).await;
        }
        assert_eq!(ended(node, saga).await, SagaState::Parked);
        sagas.push(saga);
        // Each incident has a time of its own.
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    sagas
}

fn all_incidents() -> IncidentQuery {
    IncidentQuery {
        filter: IncidentFilter::of("default"),
        after: None,
        limit: 100,
    }
}

#[tokio::test(start_paused = true)]
async fn b15_acts_that_do_not_fit_are_refused_and_a_dry_run_does_nothing() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let saga = parked(&node, &mut shop, 1).await[0];
    let facts = world.facts(saga).await;
    let refusals = [
        (Verb::Resume, "NOT_PARKED"),
        (
            Verb::Skip {
                target: target("charge"),
            },
            "PIVOT",
        ),
        (Verb::Compensate, "BEHIND_POINT_OF_NO_RETURN"),
    ];
    for (verb, reason) in refusals {
        let refusal = node.order(act(saga, verb)).await.unwrap_err();
        assert_eq!(
            (refusal.kind, refusal.reason),
            (Kind::FailedPrecondition, reason)
        );
    }
    let nowhere = Verb::Retry {
        target: target("nowhere"),
        input: None,
    };
    let refusal = node.order(act(saga, nowhere)).await.unwrap_err();
    assert_eq!(
        (refusal.kind, refusal.reason),
        (Kind::InvalidArgument, "STEP_UNKNOWN")
    );
    let unknown = SagaId::new(amends_core::Time::EPOCH, saga.shard(), 1);
    let refusal = node.order(act(unknown, Verb::Pause)).await.unwrap_err();
    assert_eq!(refusal.kind, Kind::NotFound);

    let retry = Verb::Retry {
        target: target("ship"),
        input: Some(payload(r#"{"to":"the neighbour"}"#)),
    };
    let dry = ActRequest {
        dry_run: true,
        ..act(saga, retry.clone())
    };
    assert_eq!(node.order(dry).await.unwrap().state, SagaState::Running);
    assert_eq!(world.facts(saga).await, facts, "a dry run records nothing");

    assert_eq!(
        node.order(act(saga, retry)).await.unwrap().state,
        SagaState::Running
    );
    let command = shop.command().await;
    assert_eq!((command.key.round, command.attempt), (1, 1));
    assert_eq!(command.input, payload(r#"{"to":"the neighbour"}"#));
    shop.answer(&command, succeeded()).await;
    assert_eq!(ended(&node, saga).await, SagaState::Completed);
    let refusal = node.order(act(saga, Verb::Pause)).await.unwrap_err();
    assert_eq!(
        (refusal.kind, refusal.reason),
        (Kind::FailedPrecondition, "SAGA_ENDED")
    );
}

#[tokio::test(start_paused = true)]
async fn an_act_on_a_group_reaches_each_saga_once_at_its_rate() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let sagas = parked(&node, &mut shop, 5).await;
    let groups = node
        .incident_groups(IncidentFilter::of("default"), 10)
        .await;
    let groups = groups.unwrap();
    assert_eq!((groups.len(), groups[0].count), (1, 5));
    let fingerprint = groups[0].fingerprint();
    assert_eq!(fingerprint.to_string(), "order@1/ship/NO");
    let request = GroupRequest {
        namespace: "default".into(),
        fingerprint,
        by: "ann".into(),
        reason: "shipping is mended".into(),
        dry_run: true,
        verb: GroupVerb::Retry { input: None },
        per_second: 2,
        limit: Some(3),
    };
    let mut dry = node.act_on_group(request.clone()).unwrap();
    let mut reached = Vec::new();
    while let Some(acted) = dry.next().await.unwrap() {
        assert_eq!(acted.result.unwrap().state, SagaState::Running);
        reached.push(acted.incident.name.saga);
    }
    assert_eq!(
        reached,
        sagas[..3],
        "the oldest first, and no more than the limit"
    );
    assert_eq!(node.list_incidents(all_incidents()).await.unwrap().len(), 5);

    // They are refused again at once: what that opens is not reached by the same act.
    tokio::spawn(async move {
        loop {
            let command = shop.command().await;
            shop.report(&command, rejected()).await;
        }
    });
    let began = Instant::now();
    let real = GroupRequest {
        dry_run: false,
        limit: None,
        ..request.clone()
    };
    let mut acts = node.act_on_group(real).unwrap();
    let mut reached = Vec::new();
    while let Some(acted) = acts.next().await.unwrap() {
        assert!(acted.result.is_ok());
        reached.push(acted.incident.name.saga);
    }
    assert_eq!(reached, sagas);
    assert!(began.elapsed() >= Duration::from_secs(2), "two in a second");

    let refused = GroupRequest {
        per_second: 0,
        ..request.clone()
    };
    assert_eq!(
        node.act_on_group(refused).unwrap_err().reason,
        "RATE_INVALID"
    );
    let nothing: Fingerprint = "order@1/ship/OTHER".parse().unwrap();
    let nothing = GroupRequest {
        fingerprint: nothing,
        ..request
    };
    let mut none = node.act_on_group(nothing).unwrap();
    assert!(none.next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_explanation_says_who_is_missing_who_is_busy_and_who_has_it() {
    let world = World::new(4);
    let node = world.node("one").await;
    let saga = start(&node, "order", "{}").await;
    let waits = async || {
        let why = node.explain("default", saga).await.unwrap();
        let wait = why.waits_for.into_iter().next().unwrap();
        (wait.what.kind(), wait.what.subject(), wait.text)
    };
    let (kind, subject, text) = waits().await;
    assert_eq!((kind, subject.as_str()), ("PARTICIPANT", "shop.reserve"));
    assert!(
        text.starts_with("no participant serves shop.reserve since 20"),
        "{text}"
    );

    let mut shop = Participant::attach(&node, "shop-1", 1);
    let command = shop.command().await;
    let (kind, _, text) = waits().await;
    assert_eq!(kind, "OUTCOME");
    assert!(text.contains("is with instance shop-1 since"), "{text}");

    let other = start(&node, "order", "{}").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let why = node.explain("default", other).await.unwrap();
    let text = &why.waits_for[0].text;
    assert!(
        text.contains("(shop.reserve) waits since 20")
            && text.ends_with(": 1 instance serves it, and takes no more commands"),
        "{text}"
    );

    shop.answer(&command, failed()).await;
    let (kind, subject, text) = waits().await;
    assert_eq!((kind, subject.as_str()), ("RETRY", "shop.reserve"));
    assert!(text.contains(", after OOPS: oops"), "{text}");
    let why = node.explain("default", saga).await.unwrap();
    let attempt = &why.attempts[0];
    assert_eq!((attempt.attempt, attempt.outcome), (1, Some("failed")));
    assert_eq!(attempt.instance.as_deref(), Some("shop-1"));
    assert!(attempt.sent_at.is_some() && attempt.retry_at > attempt.ended_at);

    drop(shop);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refusal = node.explain(
        "default",
        SagaId::new(amends_core::Time::EPOCH, saga.shard(), 1),
    );
    assert_eq!(refusal.await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn an_explanation_says_why_a_saga_is_undone_and_what_is_owed() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let saga = start(&node, "order", "{}").await;
    for outcome in [succeeded(), rejected()] {
        let command = shop.command().await;
        shop.answer(&command, outcome).await;
    }
    let release = shop.command().await;
    let why = node.explain("default", saga).await.unwrap();
    let texts: Vec<&str> = why.sentences.iter().map(|one| one.text.as_str()).collect();
    assert!(texts[0].ends_with("1 compensation is owed."), "{texts:?}");
    assert!(
        texts[1].ends_with("because step charge ended with NO: no."),
        "{texts:?}"
    );
    assert_eq!(why.sentences[1].topic, Topic::Abort);
    assert!(texts[2].contains("the compensation of step reserve (shop.release) is with instance"));
    assert_eq!(why.owed.len(), 1);
    assert_eq!(why.owed[0].action, Some(ActionName::new("shop.release")));
    assert_eq!(why.owed[0].why, "it is under way");
    let no = Outcome::Rejected {
        code: "HELD".into(),
        message: "somebody holds it".into(),
    };
    shop.answer(&release, no).await;
    let why = node.explain("default", saga).await.unwrap();
    assert!(why.sentences[0].text.starts_with("It is parked since"));
    let incident = why
        .sentences
        .iter()
        .find(|one| one.topic == Topic::Incident);
    let text = &incident.unwrap().text;
    assert!(
        text.starts_with("Incident 1, COMPENSATION_REFUSED at step reserve, compensate, since")
    );
    assert!(text.contains("What can be done: "), "{text}");
    assert_eq!(why.owed[0].why, "it is parked: incident 1 is open");
    assert_eq!(why.waits_for[0].what.subject(), "COMPENSATION_REFUSED");
}

#[tokio::test(start_paused = true)]
async fn attached_participants_are_listed_with_what_they_serve_and_have() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut second = attachment("shop-2", 3);
    second.actions = vec![(ActionName::new("shop.note"), false)];
    let second = Participant::attach_as(&node, second);
    let mut first = Participant::attach(&node, "shop-1", 5);
    start(&node, "order", "{}").await;
    first.command().await;
    tokio::time::advance(Duration::from_secs(7)).await;
    let list = node.participants("default").unwrap();
    let names: Vec<&str> = list.iter().map(|one| one.instance.as_str()).collect();
    assert_eq!(names, ["shop-1", "shop-2"]);
    assert_eq!((list[0].credit, list[0].in_hand, list[1].credit), (4, 1, 3));
    assert_eq!(list[1].actions, [(ActionName::new("shop.note"), false)]);
    assert_eq!(
        (list[0].sdk.as_str(), list[0].actions.len()),
        ("tests/1", 5)
    );
    assert!(list[0].actions.iter().all(|(_, barrier)| *barrier));
    second.session.handle.drain();
    assert!(node.participants("default").unwrap()[1].draining);
    drop(second);
    assert_eq!(node.participants("default").unwrap().len(), 1);
    assert_eq!(
        node.participants("nowhere").unwrap_err().kind,
        Kind::NotFound
    );
}

#[tokio::test(start_paused = true)]
async fn b37_a_revision_says_what_it_means_for_sagas_in_flight_and_goes_only_without_them() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let sagas = parked(&node, &mut shop, 2).await;
    start(&node, "order", "{}").await;
    let changed = crate::world::ORDER.replace(
        "{id: ship, kind: retriable, call: shop.ship}",
        "{id: ship, kind: retriable, call: shop.ship, timeout: 1h, onError: [{codes: [\"NO\"], then: continue}]}",
    );
    let applied = node.apply_definition("default", &changed, None).await;
    let applied = applied.unwrap();
    assert_eq!(applied.record.revision, 2);
    let impact = applied.impact.unwrap();
    assert_eq!(impact.in_flight, [(1, 3)]);
    assert_eq!(impact.changed.len(), 1);
    let incidents = &impact.changed[0];
    assert_eq!(incidents.fingerprint.to_string(), "order@1/ship/NO");
    assert_eq!(
        (incidents.incidents, incidents.changes.as_slice()),
        (2, &["onError".to_owned(), "timeout".to_owned()][..])
    );
    let same = node.apply_definition("default", &changed, None).await;
    assert!(same.unwrap().impact.is_none());

    let refusal = node.delete_definition("default", "order", 1).await;
    let refusal = refusal.unwrap_err();
    assert_eq!(
        (refusal.kind, refusal.reason),
        (Kind::FailedPrecondition, "DEFINITION_IN_USE")
    );
    assert_eq!(refusal.metadata["sagas"], "3");
    let refusal = node.delete_definition("default", "order", 9).await;
    assert_eq!(refusal.unwrap_err().kind, Kind::NotFound);
    node.delete_definition("default", "order", 2).await.unwrap();
    let newest = node.definition("default", "order", None).await.unwrap();
    assert_eq!(newest.revision, 1);
    let gone = node.definition("default", "order", Some(2)).await;
    assert_eq!(gone.unwrap_err().kind, Kind::NotFound);
    assert_eq!(
        node.saga("default", sagas[0])
            .await
            .unwrap()
            .record
            .revision,
        1
    );
}

const TRACKED: &str = r#"
apiVersion: amends/v1
name: tracked
steps:
  - {id: reserve, call: shop.reserve, compensate: {call: shop.release}}
  - {id: charge, kind: pivot, call: shop.charge}
output: {tracking: "${{ steps.charge.output.tracking }}"}
"#;

const LATE: &str = r#"
apiVersion: amends/v1
name: late
timeout: 30m
onTimeout: park
steps:
  - {id: reserve, call: shop.reserve, compensate: {call: shop.release}}
  - {id: charge, kind: pivot, call: shop.other}
"#;

#[tokio::test(start_paused = true)]
async fn a_revision_says_which_parked_sagas_it_would_have_changed_without_a_step() {
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[TRACKED, LATE]).await;
    Participant::attach(&node, "shop-1", 10).succeed_always();
    let tracked = start(&node, "tracked", "{}").await;
    let late = start(&node, "late", "{}").await;
    assert_eq!(ended(&node, tracked).await, SagaState::Parked);
    assert_eq!(ended(&node, late).await, SagaState::Parked);
    let changed = async |source: &str, from: &str, to: &str| {
        let newer = source.replace(from, to);
        assert_ne!(newer, source);
        let applied = node
            .apply_definition("default", &newer, None)
            .await
            .unwrap();
        let changed = applied.impact.unwrap().changed.into_iter();
        let told = changed.map(|one| (one.fingerprint.to_string(), one.changes.join(",")));
        told.collect::<Vec<_>>()
    };
    let told =
        |fingerprint: &str, changes: &str| vec![(fingerprint.to_owned(), changes.to_owned())];
    assert_eq!(
        changed(TRACKED, "output.tracking", "output").await,
        told("tracked@1/-/EXPRESSION_FAILED", "output")
    );
    assert_eq!(
        changed(
            LATE,
            "timeout: 30m\nonTimeout: park",
            "timeout: 2h\nonTimeout: compensate"
        )
        .await,
        told("late@1/-/DEADLINE_EXCEEDED", "onTimeout,timeout")
    );
    assert_eq!(
        changed(LATE, "shop.release", "shop.free").await,
        [],
        "a step says nothing of a deadline"
    );
}

#[tokio::test(start_paused = true)]
async fn sagas_that_lack_their_output_alone_are_resolved_as_a_group() {
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[TRACKED]).await;
    Participant::attach(&node, "shop-1", 10).succeed_always();
    let mut sagas = Vec::new();
    for _ in 0..3 {
        let saga = start(&node, "tracked", "{}").await;
        assert_eq!(ended(&node, saga).await, SagaState::Parked);
        sagas.push(saga);
    }
    let request = GroupRequest {
        namespace: "default".into(),
        fingerprint: "tracked@1/-/EXPRESSION_FAILED".parse().unwrap(),
        by: "ann".into(),
        reason: "the tracking number is in the other system".into(),
        dry_run: false,
        verb: GroupVerb::Resolve {
            output: payload(r#"{"tracking":null}"#),
        },
        per_second: 100,
        limit: None,
    };
    let mut acts = node.act_on_group(request).unwrap();
    while let Some(acted) = acts.next().await.unwrap() {
        assert_eq!(acted.result.unwrap().state, SagaState::Completed);
    }
    for saga in sagas {
        let view = node.saga("default", saga).await.unwrap();
        assert_eq!(view.record.state, SagaState::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_explanation_of_what_was_given_up_says_what_it_left() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let saga = start(&node, "order", "{}").await;
    let reserve = shop.command().await;
    shop.answer(&reserve, succeeded()).await;
    shop.command().await;
    node.order(act(saga, Verb::Terminate)).await.unwrap();
    let why = node.explain("default", saga).await.unwrap();
    let left: Vec<_> = (why.sentences.iter())
        .filter(|one| one.topic == Topic::Left)
        .map(|one| (one.at.as_ref().unwrap().step.as_str(), one.text.as_str()))
        .collect();
    assert_eq!(
        left,
        [
            (
                "reserve",
                "Left as it is: step reserve has had its effect, and nothing undid it."
            ),
            (
                "charge",
                "Left as it is: step charge had an attempt under way, which may have its effect still, and nothing undid it."
            ),
        ]
    );
    assert!(why.owed.is_empty());
    let other = start(&node, "order", "{}").await;
    let why = node.explain("default", other).await.unwrap();
    assert!(why.sentences.iter().all(|one| one.topic != Topic::Left));
}

const BRIEF: &str = r#"
apiVersion: amends/v1
name: brief
key: input.id
retention: 1h
steps:
  - {id: note, kind: retriable, call: shop.note}
"#;

#[tokio::test(start_paused = true)]
async fn what_has_expired_goes_in_small_batches_and_takes_its_key_with_it() {
    let world = World::new(4);
    let node = world
        .node_with(Options {
            retention: Retention {
                interval: Duration::from_secs(60),
                batch: 2,
            },
            ..Options::default()
        })
        .await;
    apply(&node, &[BRIEF]).await;
    Participant::attach(&node, "shop-1", 10).succeed_always();
    let mut last = None;
    for id in 0..10 {
        let saga = start(&node, "brief", &format!(r#"{{"id":"{id}"}}"#)).await;
        assert_eq!(ended(&node, saga).await, SagaState::Completed);
        last = Some(saga);
    }
    tokio::time::sleep(Duration::from_secs(3_500)).await;
    assert_eq!(world.sagas().await.len(), 10, "none before its time");
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert!(world.sagas().await.is_empty());
    let sweeps = world.sweeps();
    assert!(sweeps.iter().all(|(_, _, limit)| *limit == 2));
    let again = start(&node, "brief", r#"{"id":"9"}"#).await;
    assert_ne!(Some(again), last, "its key is free");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_expires_while_it_is_looked_up_answers_with_the_revision_that_it_had() {
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[BRIEF]).await;
    Participant::attach(&node, "shop-1", 10).succeed_always();
    let saga = start(&node, "brief", r#"{"id":"1"}"#).await;
    assert_eq!(ended(&node, saga).await, SagaState::Completed);
    world.expire_after_lookup();
    let again = node.start_saga(request("brief", r#"{"id":"1"}"#)).await;
    let again = again.unwrap();
    assert!(world.sagas().await.is_empty());
    assert_eq!(
        (again.saga, again.created, again.revision),
        (saga, false, 1)
    );
    let anew = node.start_saga(request("brief", r#"{"id":"1"}"#)).await;
    let anew = anew.unwrap();
    assert!(anew.created && anew.saga != saga, "its key is free");
}

#[tokio::test(start_paused = true)]
async fn what_expires_while_it_is_read_is_not_found() {
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[BRIEF]).await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let saga = start(&node, "brief", r#"{"id":"1"}"#).await;
    let note = shop.command().await;
    shop.answer(&note, succeeded()).await;
    assert_eq!(ended(&node, saga).await, SagaState::Completed);
    world.expire_while_read();
    let late = shop.answer(&note, succeeded()).await;
    assert_eq!(late, Acknowledged::UnknownOperation);
    let cancel = node.cancel("default", saga, "ann", "late").await;
    assert_eq!(cancel.unwrap_err().kind, Kind::NotFound);
    let read = node.saga("default", saga).await.map(|_| ());
    assert_eq!(read.unwrap_err().kind, Kind::NotFound);
    let read = node.explain("default", saga).await.map(|_| ());
    assert_eq!(read.unwrap_err().kind, Kind::NotFound);
    let read = node.history("default", saga, 1, 10).await.map(|_| ());
    assert_eq!(read.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_deleted_while_it_is_read_begins_nothing_afterwards() {
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[BRIEF]).await;
    let old = StartRequest {
        revision: Some(1),
        ..request("brief", r#"{"id":"1"}"#)
    };
    world.hold_definitions(true);
    let (reading, asked) = (node.clone(), old.clone());
    let racing = tokio::spawn(async move { reading.start_saga(asked).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    node.delete_definition("default", "brief", 1).await.unwrap();
    world.hold_definitions(false);
    // Which of the two came first is anybody's guess; what comes after both is not.
    let _ = racing.await.unwrap();
    let refusal = node.start_saga(StartRequest {
        input: payload(r#"{"id":"2"}"#),
        ..old
    });
    assert_eq!(refusal.await.unwrap_err().reason, "DEFINITION_NOT_FOUND");
}

#[tokio::test(start_paused = true)]
async fn retention_can_be_turned_off() {
    let world = World::new(4);
    let retention = Retention {
        interval: Duration::ZERO,
        ..Retention::default()
    };
    let options = Options {
        retention,
        ..Options::default()
    };
    let _node = world.node_with(options).await;
    tokio::time::sleep(Duration::from_secs(100_000)).await;
    assert!(world.sweeps().is_empty());
}
