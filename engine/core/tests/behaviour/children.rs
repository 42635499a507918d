//! Children in other shards: whatever is lost, repeated or undone on the way, parent and child end together.

use std::collections::BTreeMap;
use std::time::Duration;

use amends_core::fact::Fact;
use amends_core::journal::SagaState;
use amends_core::limits::{CHILD_ASKED_AGAIN_AFTER, CHILD_ASKED_AT_REST_AFTER};
use amends_core::shard::{ChildAnswer, ChildState, Output};

use crate::family::Family;
use crate::pump::{definition, rejected, succeeded};
use crate::world::Random;

const PARENT: &str = r#"
apiVersion: amends/v1
name: parent
defaults: {retry: {maxAttempts: 1}}
steps:
  - {id: before, call: p.before, compensate: {call: p.undo_before}}
  - {id: child, saga: {name: child, input: {from: "${{ saga.id }}"}}}
  - {id: after, call: p.after, compensate: {call: p.undo_after}}
output: {child: "${{ steps.child.output.done }}"}
"#;

const CHILD: &str = r#"
apiVersion: amends/v1
name: child
defaults: {retry: {maxAttempts: 1}}
steps:
  - {id: c, call: p.c, compensate: {call: p.undo_c}}
output: {done: "yes"}
"#;

fn family() -> Family {
    Family::new(CHILD)
}

/// A parent whose child was asked for.
fn with_child(family: &mut Family) -> amends_core::SagaId {
    let parent = family.parents.start(&definition(PARENT), "{}");
    family.parents.answer("before", succeeded());
    parent
}

#[test]
fn a_child_is_kept_until_no_wish_for_it_can_be_under_way() {
    let minute = Duration::from_secs(60);
    for (retention, kept) in [(59, 60), (60, 60), (61, 61)] {
        let text = CHILD.replace("steps:", &format!("retention: {retention}m\nsteps:"));
        let mut family = Family::new(&text);
        with_child(&mut family);
        family.talk();
        family.children.answer("c", succeeded());
        let row = &family.children.rows[&family.child()];
        assert_eq!(row.expires_at, row.ended_at.map(|at| at + minute * kept));
    }
}

#[test]
fn a_parent_is_there_as_long_as_its_child_counts_from_its_end() {
    let minute = Duration::from_secs(60);
    for (retention, kept) in [(1, 60), (60, 60), (61, 61)] {
        let text = PARENT.replace("steps:", &format!("retention: {retention}m\nsteps:"));
        let mut family = family();
        let parent = family.parents.start(&definition(&text), "{}");
        family.parents.answer("before", succeeded());
        family.talk();
        family.children.answer("c", succeeded());
        family.talk();
        family.parents.answer("after", succeeded());
        assert_eq!(family.parents.state(parent), SagaState::Completed);
        let row = &family.parents.rows[&parent];
        assert_eq!(row.expires_at, row.ended_at.map(|at| at + minute * kept));
    }
}

#[test]
fn a_parent_that_never_asked_for_its_child_is_kept_as_its_definition_says() {
    let text = PARENT.replace("steps:", "retention: 1m\nsteps:");
    let mut family = family();
    let parent = family.parents.start(&definition(&text), "{}");
    family.parents.answer("before", rejected("NO"));
    let row = &family.parents.rows[&parent];
    let minute = Duration::from_secs(60);
    assert_eq!(row.expires_at, row.ended_at.map(|at| at + minute));
}

#[test]
fn a_parent_goes_on_with_what_its_child_came_to() {
    let mut family = family();
    let parent = with_child(&mut family);
    family.talk();
    assert_eq!(family.children.out(), ["c:forward:1"]);
    family.children.answer("c", succeeded());
    family.talk();
    assert_eq!(family.child_state(), SagaState::Completed);
    family.parents.answer("after", succeeded());
    assert_eq!(family.parents.state(parent), SagaState::Completed);
    let row = &family.children.rows[&family.child()];
    assert_eq!(row.parent, Some(parent));
}

#[test]
fn a_child_that_was_undone_fails_its_step() {
    let mut family = family();
    let parent = with_child(&mut family);
    family.talk();
    family.children.answer("c", rejected("NO"));
    family.talk();
    assert_eq!(family.child_state(), SagaState::Compensated);
    assert_eq!(family.parents.out(), ["before:compensate:1"]);
    family.parents.answer("before", succeeded());
    assert_eq!(family.parents.state(parent), SagaState::Compensated);
}

#[test]
fn a_child_that_completed_is_undone_with_its_parent() {
    let mut family = family();
    let parent = with_child(&mut family);
    family.talk();
    family.children.answer("c", succeeded());
    family.talk();
    assert_eq!(family.children.shard.active(), 0, "it left memory");
    family.parents.answer("after", rejected("NO"));
    family.talk();
    assert_eq!(family.child_state(), SagaState::Compensating);
    let row = &family.children.rows[&family.child()];
    assert_eq!((row.ended_at, row.expires_at), (None, None));
    family.children.answer("c", succeeded());
    family.talk();
    assert_eq!(family.child_state(), SagaState::Compensated);
    family.parents.answer("before", succeeded());
    assert_eq!(family.parents.state(parent), SagaState::Compensated);
}

#[test]
fn a_wish_to_run_that_was_overtaken_by_its_opposite_begins_nothing() {
    let mut family = family();
    let parent = with_child(&mut family);
    family.run();
    let resolve = family.mail();
    for output in resolve {
        family.deliver(output);
    }
    family.run();
    let run = family.mail();
    assert!(matches!(run[..], [Output::AskChild(_)]));
    family.parents.cancel(parent).expect("it can be cancelled");
    family.talk();
    assert_eq!(family.child_state(), SagaState::Compensated);
    for output in run {
        family.deliver(output);
    }
    family.talk();
    assert!(family.children.out().is_empty(), "it never runs");
    let child = family.child();
    assert!(
        !family
            .children
            .facts(child)
            .iter()
            .any(|fact| fact.starts_with("scheduled")),
        "{:?}",
        family.children.facts(child)
    );
    family.parents.answer("before", succeeded());
    assert_eq!(family.parents.state(parent), SagaState::Compensated);
}

#[test]
fn a_question_that_was_asked_twice_and_refused_once_leaves_a_child_alone() {
    let mut family = family();
    let parent = with_child(&mut family);
    family.run();
    let first = family.mail();
    family.parents.pass(CHILD_ASKED_AGAIN_AFTER);
    let second = family.mail();
    for output in first {
        family.deliver(output);
    }
    family.talk();
    assert_eq!(family.children.out(), ["c:forward:1"]);
    // A newer revision, which the input does not fit, is found the second time.
    let [Output::ResolveChild(request)] = &second[..] else {
        panic!("{second:?}");
    };
    family.deliver(Output::AnswerParent(Box::new(ChildAnswer {
        parent: request.parent.clone(),
        state: ChildState::Refused {
            code: "INPUT_INVALID".into(),
            message: "it does not fit".into(),
        },
    })));
    family.talk();
    family.children.answer("c", succeeded());
    family.talk();
    family.parents.answer("after", succeeded());
    assert_eq!(family.parents.state(parent), SagaState::Completed);
}

#[test]
fn a_wish_that_is_lost_is_repeated_and_a_parent_rests_meanwhile() {
    let mut family = family();
    let parent = with_child(&mut family);
    family.run();
    assert!(matches!(family.mail()[..], [Output::ResolveChild(_)]));
    family
        .parents
        .pass(CHILD_ASKED_AGAIN_AFTER - Duration::from_micros(1));
    assert!(family.mail().is_empty());
    family.parents.pass(Duration::from_micros(1));
    assert!(matches!(family.mail()[..], [Output::ResolveChild(_)]));
    // Another's batch lets it rest.
    let other = family.parents.start(&definition(CHILD), "{}");
    family.parents.cancel(other).expect("it can be cancelled");
    assert!(family.parents.shard.saga(parent).is_none());
    assert!(family.parents.rows[&parent].wake_at.is_some());
    family.set_now(family.parents.now);
    family.pass(CHILD_ASKED_AT_REST_AFTER);
    assert_eq!(family.children.out(), ["c:forward:1"]);
}

#[test]
fn an_answer_wakes_a_parent_that_rests() {
    let mut family = family();
    let parent = with_child(&mut family);
    family.talk();
    family.pass(CHILD_ASKED_AGAIN_AFTER);
    family.children.send("c");
    family.parents.start(&definition(CHILD), "{}");
    assert!(family.parents.shard.saga(parent).is_none());
    family.children.answer("c", succeeded());
    family.talk();
    assert!(family.parents.out().contains(&"after:forward:1".to_owned()));
}

#[test]
fn a_child_whose_key_is_taken_is_on_record_and_its_step_has_failed() {
    let parent_yaml = PARENT.replace(
        "name: child, input",
        "name: child, key: \"${{ 'k' }}\", input",
    );
    let mut family = family();
    let child = definition(CHILD);
    family.children.start_keyed(&child, "{}", Some("k"), None);
    let parent = family.parents.start(&definition(&parent_yaml), "{}");
    family.parents.answer("before", succeeded());
    family.talk();
    assert_eq!(family.parents.out(), ["before:compensate:1"]);
    assert!(
        family
            .parents
            .facts(parent)
            .contains(&"abort STEP_FAILED KEY_TAKEN".to_owned()),
        "{:?}",
        family.parents.facts(parent)
    );
    assert_eq!(family.children.states.len(), 2, "the child is on record");
}

#[test]
fn a_wish_that_is_undone_with_its_batch_is_decided_again_the_same() {
    let mut family = family();
    with_child(&mut family);
    family.run();
    for output in family.mail() {
        family.deliver(output);
    }
    family.run();
    for output in family.mail() {
        family.deliver(output.clone());
        family.deliver(output);
    }
    let pump = &mut family.children;
    assert!(
        pump.shard
            .prepare(pump.now, pump.limits, &pump.barrier)
            .is_none(),
        "the store is asked whether there is such a child"
    );
    pump.let_out();
    let first = pump.shard.prepare(pump.now, pump.limits, &pump.barrier);
    pump.let_out();
    assert!(
        pump.mail.is_empty(),
        "no answer leaves before it is durable"
    );
    pump.shard.rolled_back(None);
    pump.look_up();
    let second = pump.shard.prepare(pump.now, pump.limits, &pump.barrier);
    assert_eq!(first, second);
    pump.shard.rolled_back(None);
    pump.run();
    assert!(matches!(
        &pump.mail[..],
        [Output::AnswerParent(answer)] if answer.state == ChildState::UnderWay
    ));
    family.talk();
    assert_eq!(family.child_state(), SagaState::Running);
}

/// I28, and "nothing forgets a wish": messages are lost, repeated and reordered, nodes die, batches are lost.
#[test]
fn parent_and_child_end_together_whatever_happens_on_the_way() {
    let mut met = BTreeMap::new();
    let mut undone_after_completion = 0;
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut family = family();
        let parent = family.parents.start(&definition(PARENT), "{}");
        let mut held = Vec::new();
        for _ in 0..60 {
            family.run();
            held.append(&mut family.mail());
            act(&mut family, &mut random, &mut held, parent);
        }
        for _ in 0..10 {
            family.talk();
            for pump in [&mut family.parents, &mut family.children] {
                while let Some(command) = pump.commands.first().cloned() {
                    let step = command.key.step.to_string();
                    pump.send(&step);
                    pump.reply(&command, succeeded(), None);
                }
            }
            family.pass(Duration::from_secs(3_600));
        }
        let state = family.parents.state(parent);
        let child = family.children.states.values().next();
        let facts = family.parents.facts(parent).join("\n");
        *met.entry((state, child.copied())).or_insert(0) += 1;
        let gone = family.children.journal.iter().flat_map(|row| &row.facts);
        let mut completed = false;
        for fact in gone {
            completed |= matches!(fact, Fact::Completed { .. });
            if completed && matches!(fact, Fact::AbortDecided(_)) {
                undone_after_completion += 1;
            }
        }
        match (state, child) {
            (SagaState::Completed, Some(SagaState::Completed))
            | (SagaState::Compensated, None | Some(SagaState::Compensated)) => {}
            other => panic!("seed {seed}: {other:?}\n{facts}"),
        }
        assert!(family.children.states.len() <= 1, "I28: one child");
    }
    assert!(
        met.len() == 3 && undone_after_completion > 0,
        "each end was met: {met:?}"
    );
}

fn act(
    family: &mut Family,
    random: &mut Random,
    held: &mut Vec<Output>,
    parent: amends_core::SagaId,
) {
    let pick = |random: &mut Random, count: usize| {
        let count = u64::try_from(count).expect("few");
        (count > 0).then(|| usize::try_from(random.below(count)).expect("few"))
    };
    match random.below(20) {
        0..8 => {
            if let Some(at) = pick(random, held.len()) {
                let output = if random.chance(30) {
                    held[at].clone()
                } else {
                    held.swap_remove(at)
                };
                family.deliver(output);
            }
        }
        8 => {
            if let Some(at) = pick(random, held.len()) {
                held.swap_remove(at);
            }
        }
        9..14 => {
            let pump = if random.chance(50) {
                &mut family.parents
            } else {
                &mut family.children
            };
            if let Some(at) = pick(random, pump.commands.len()) {
                let command = pump.commands.remove(at);
                let forward = command.forward_key.is_none();
                let outcome = if forward && random.chance(20) {
                    rejected("NO")
                } else {
                    succeeded()
                };
                pump.offer_reply(&command, outcome, None);
            }
        }
        14 => {
            let time = Duration::from_secs(random.below(40));
            let now = family.parents.now + time;
            family.set_now(now);
        }
        15 => {
            let pump = if random.chance(50) {
                &mut family.parents
            } else {
                &mut family.children
            };
            pump.now = pump.now + Duration::from_millis(1);
            let now = pump.now;
            pump.crash();
            family.set_now(now.max(family.parents.now));
        }
        16 if random.chance(40) => {
            family.parents.offer_cancel(parent);
        }
        17 => {
            for pump in [&mut family.parents, &mut family.children] {
                pump.decide_twice();
            }
        }
        _ => {}
    }
}
