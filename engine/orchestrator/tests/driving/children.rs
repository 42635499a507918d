//! Children: begun for a parent in whatever shard, undone with it, refused with a reason, delayed by a store that is down.

use std::time::Duration;

use amends_core::journal::SagaState;
use amends_orchestrator::StartRequest;

use crate::language::apply;
use crate::world::{Participant, World, ended, payload, rejected, request, start, succeeded};

const PARENT: &str = r#"
apiVersion: amends/v1
name: parent
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 3}, timeout: 30s}
steps:
  - {id: child, saga: {name: child, key: input.id, input: {id: "${{ input.id }}"}}}
  - {id: charge, kind: pivot, call: shop.charge}
output: {told: "${{ steps.child.output.told }}"}
"#;

const CHILD: &str = r#"
apiVersion: amends/v1
name: child
inputSchema: {type: object, required: [id], properties: {id: {type: string}}}
steps:
  - {id: hold, call: shop.reserve, compensate: {call: shop.release}}
output: {told: "${{ input.id }}"}
"#;

#[tokio::test(start_paused = true)]
async fn a_child_runs_for_its_parent_and_is_undone_with_it() {
    let world = World::new(16);
    let node = world.node("one").await;
    apply(&node, &[CHILD, PARENT]).await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    for abort in [false, true] {
        let id = format!("id-{abort}");
        let parent = start(&node, "parent", &format!(r#"{{"id":"{id}"}}"#)).await;
        let hold = shop.command().await;
        let child = hold.key.saga;
        assert_eq!(hold.action.as_str(), "shop.reserve");
        let why = node.explain("default", parent).await.unwrap();
        assert_eq!(why.waits_for[0].what.subject(), child.to_string());
        shop.answer(&hold, succeeded()).await;
        let charge = shop.command().await;
        assert_eq!((charge.key.saga, &*charge.key.step), (parent, "charge"));
        if !abort {
            shop.answer(&charge, succeeded()).await;
            assert_eq!(ended(&node, parent).await, SagaState::Completed);
            let view = node.saga("default", parent).await.unwrap().saga.unwrap();
            let told = format!(r#"{{"told":"{id}"}}"#);
            assert_eq!(view.output(), Some(&payload(&told)));
            continue;
        }
        let child_record = node.saga("default", child).await.unwrap().record;
        assert_eq!(child_record.state, SagaState::Completed);
        assert_eq!(child_record.parent, Some(parent));
        assert_eq!(child_record.key, Some(id));
        shop.answer(&charge, rejected()).await;
        let undo = shop.command().await;
        assert_eq!(
            (undo.key.saga, undo.action.as_str()),
            (child, "shop.release")
        );
        shop.answer(&undo, succeeded()).await;
        assert_eq!(ended(&node, parent).await, SagaState::Compensated);
        assert_eq!(ended(&node, child).await, SagaState::Compensated);
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_cannot_begin_is_a_refusal_with_its_reason() {
    let pivot = CHILD.replace("compensate: {call: shop.release}", "kind: pivot");
    let narrow = CHILD.replace("type: string", "type: integer");
    for (child, code) in [
        (None, "DEFINITION_NOT_FOUND"),
        (Some(pivot.as_str()), "CHILD_HAS_PIVOT"),
        (Some(narrow.as_str()), "INPUT_INVALID"),
    ] {
        let world = World::new(4);
        let node = world.node("one").await;
        apply(&node, &[PARENT]).await;
        apply(&node, child.as_slice()).await;
        let parent = start(&node, "parent", r#"{"id":"a"}"#).await;
        assert_eq!(ended(&node, parent).await, SagaState::Compensated);
        let view = node.saga("default", parent).await.unwrap().saga.unwrap();
        assert_eq!(view.abort().unwrap().reason.code(), code);
        assert_eq!(world.sagas().await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_refuses_the_child() {
    let world = World::new(16);
    let node = world.node("one").await;
    apply(&node, &[CHILD, PARENT]).await;
    let taken = StartRequest {
        key: Some("a".into()),
        ..request("child", r#"{"id":"a"}"#)
    };
    node.start_saga(taken).await.unwrap();
    let parent = start(&node, "parent", r#"{"id":"a"}"#).await;
    assert_eq!(ended(&node, parent).await, SagaState::Compensated);
    let view = node.saga("default", parent).await.unwrap().saga.unwrap();
    assert_eq!(view.abort().unwrap().reason.code(), "KEY_TAKEN");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_delays_a_child_and_refuses_none() {
    let world = World::new(16);
    let node = world.node("one").await;
    apply(&node, &[CHILD, PARENT]).await;
    // What is remembered of the newest revision is too old by then.
    tokio::time::advance(Duration::from_secs(5)).await;
    let parent = request("parent", r#"{"id":"a"}"#);
    let parent = node.start_saga(parent).await.unwrap().saga;
    world.hide_definitions(true);
    let mut shop = Participant::attach(&node, "shop-1", 10);
    tokio::time::advance(Duration::from_secs(3)).await;
    let running = node.saga("default", parent).await.unwrap().record.state;
    assert_eq!(running, SagaState::Running);
    world.hide_definitions(false);
    let hold = shop.command().await;
    assert_eq!(hold.action.as_str(), "shop.reserve");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_looked_up_delays_a_child_and_refuses_none() {
    let world = World::new(16);
    let node = world.node("one").await;
    apply(&node, &[CHILD, PARENT]).await;
    world.hide_keys(true);
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let parent = start(&node, "parent", r#"{"id":"a"}"#).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let running = node.saga("default", parent).await.unwrap().record.state;
    assert_eq!(running, SagaState::Running);
    assert_eq!(world.sagas().await.len(), 1);
    world.hide_keys(false);
    let back = tokio::time::Instant::now();
    let hold = shop.command().await;
    assert_eq!(hold.action.as_str(), "shop.reserve");
    assert!(
        back.elapsed() < Duration::from_secs(5),
        "it does not wait for the parent to ask again"
    );
}

#[tokio::test(start_paused = true)]
async fn children_whose_revision_is_lost_hold_up_no_others() {
    const LOST: usize = 100;
    let world = World::new(16);
    let node = world.node("one").await;
    apply(&node, &[CHILD, PARENT]).await;
    world.hide_keys(true);
    for id in 0..LOST {
        start(&node, "parent", &format!(r#"{{"id":"{id}"}}"#)).await;
    }
    // They are pinned, and none has begun.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.sagas().await.len(), LOST);
    let lost = node.definition("default", "child", None).await.unwrap();
    drop(node);
    world.hide_keys(false);
    world.lose_revision(lost.hash);
    let node = world.node("one").await;
    apply(&node, &[&CHILD.replace("{told:", "{or: 1, told:")]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    start(&node, "parent", r#"{"id":"sound"}"#).await;
    let hold = shop.command_soon().await.expect("its child begins");
    assert_eq!(hold.action.as_str(), "shop.reserve");
}
