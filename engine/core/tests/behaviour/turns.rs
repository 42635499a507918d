//! Ordering keys and the limits of definitions: who runs when, told from the journal alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amends_core::fact::{Act, Fact};
use amends_core::journal::SagaState;
use amends_core::shard::{BatchLimits, StartRefusal, Verb};
use amends_core::{Outcome, SagaId};

use crate::pump::{Pump, definition, failed, rejected, succeeded};
use crate::world::Random;

const ONE: &str = r"
apiVersion: amends/v1
name: one
steps:
  - {id: a, call: p.a, retry: {maxAttempts: 1}, compensate: {call: p.undo_a}}
";

fn limited(max: u32, on_limit: &str) -> String {
    format!("{ONE}concurrency: {{max: {max}, onLimit: {on_limit}}}\n")
}

/// Starts a saga with an ordering key.
fn start(pump: &mut Pump, yaml: &str, key: Option<&str>) -> SagaId {
    let (_, saga) = pump.offer_start_in_line(&definition(yaml), "{}", None, None, key);
    pump.run();
    saga
}

fn answer(pump: &mut Pump, saga: SagaId, outcome: Outcome) {
    let command = pump.commands.iter().find(|out| out.key.saga == saga);
    let command = command.expect("it has begun").clone();
    pump.reply(&command, outcome, None);
}

fn begun(pump: &Pump) -> Vec<SagaId> {
    pump.commands.iter().map(|out| out.key.saga).collect()
}

/// I15 and I16: at every prefix of the journal one saga of a key runs at most, begun in the order of starts, and no more of
/// a definition than it says.
fn check(pump: &Pump) {
    let mut running = BTreeSet::new();
    let mut waiting: BTreeMap<String, Vec<SagaId>> = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for row in &pump.journal {
        for fact in &row.facts {
            let ends = matches!(fact, Fact::Completed { .. } | Fact::Compensated)
                || matches!(fact, Fact::Operated(operated) if operated.act == Act::Terminate);
            if let Fact::Started(started) = fact
                && let Some(key) = &started.ordering_key
            {
                waiting.entry(key.clone()).or_default().push(row.saga);
                keys.insert(row.saga, key.clone());
            } else if *fact == Fact::TurnGranted {
                assert!(running.insert(row.saga), "granted twice");
                if let Some(key) = keys.get(&row.saga) {
                    let first = waiting[key].first();
                    assert_eq!(first, Some(&row.saga), "first come, first served (I15)");
                }
            } else if ends {
                running.remove(&row.saga);
                if let Some(line) = keys.get(&row.saga).and_then(|key| waiting.get_mut(key)) {
                    line.retain(|saga| *saga != row.saga);
                }
            }
        }
        let max = pump.definitions[&row.saga]
            .concurrency()
            .map(|limit| limit.max);
        if let Some(max) = max {
            let max = usize::try_from(max).expect("small");
            assert!(running.len() <= max, "more than {max} run (I16)");
        }
    }
}

#[test]
fn sagas_with_the_same_ordering_key_run_one_at_a_time_in_the_order_of_their_starts() {
    let mut pump = Pump::new();
    let first = start(&mut pump, ONE, Some("k"));
    let second = start(&mut pump, ONE, Some("k"));
    let other = start(&mut pump, ONE, Some("other"));
    let third = start(&mut pump, ONE, Some("k"));
    assert_eq!(begun(&pump), [first, other]);
    answer(&mut pump, first, succeeded());
    assert_eq!(begun(&pump), [other, second]);
    answer(&mut pump, second, rejected("NO"));
    assert_eq!(begun(&pump), [other, third]);
    check(&pump);
    assert_eq!(pump.rows[&third].turn.map(|turn| turn.granted), Some(true));
}

#[test]
fn a_line_survives_a_crash_at_any_time() {
    for crash_at in 0..8 {
        let mut pump = Pump::new();
        let sagas: Vec<_> = (0..4).map(|_| start(&mut pump, ONE, Some("k"))).collect();
        for (turn, saga) in sagas.iter().enumerate() {
            if crash_at == 2 * turn {
                pump.crash();
            }
            assert_eq!(begun(&pump), [*saga], "crash at {crash_at}");
            pump.commands[0].key.saga = *saga;
            answer(&mut pump, *saga, succeeded());
            if crash_at == 2 * turn + 1 {
                pump.pass(Duration::from_secs(1));
                pump.crash();
            }
        }
        check(&pump);
    }
}

#[test]
fn a_turn_that_was_freed_and_not_given_before_the_node_died_is_given_by_the_next() {
    let mut pump = Pump::new();
    let first = start(&mut pump, ONE, Some("k"));
    let second = start(&mut pump, ONE, Some("k"));
    let command = pump.send("a");
    pump.offer_reply(&command, succeeded(), None);
    let limits = BatchLimits {
        inputs: 1,
        ..BatchLimits::default()
    };
    let batch = pump.shard.prepare(pump.now, limits, &pump.barrier);
    pump.store(&batch.expect("the end of the first"));
    assert_eq!(pump.state(first), SagaState::Completed);
    assert!(!pump.facts(second).contains(&"turn_granted".to_owned()));
    pump.crash();
    assert_eq!(begun(&pump), [second]);
    check(&pump);
}

#[test]
fn a_parked_saga_keeps_its_turn_until_it_has_ended() {
    let yaml = format!("{ONE}  - {{id: b, kind: pivot, call: p.b, retry: {{maxAttempts: 1}}}}\n");
    let mut pump = Pump::new();
    let first = start(&mut pump, &yaml, Some("k"));
    let second = start(&mut pump, &yaml, Some("k"));
    answer(&mut pump, first, succeeded());
    answer(&mut pump, first, failed());
    assert_eq!(pump.state(first), SagaState::Parked);
    pump.pass(Duration::from_secs(3_600));
    pump.crash();
    assert!(pump.out().is_empty(), "its turn did not come");
    assert_eq!(
        pump.order(first, Verb::Terminate, false),
        Ok(SagaState::Terminated)
    );
    assert_eq!(begun(&pump), [second]);
    check(&pump);
}

#[test]
fn no_more_run_than_the_definition_says_and_the_next_comes_when_one_has_ended() {
    let yaml = limited(2, "queue");
    let mut pump = Pump::new();
    let sagas: Vec<_> = (0..5).map(|_| start(&mut pump, &yaml, None)).collect();
    assert_eq!(begun(&pump), sagas[..2]);
    answer(&mut pump, sagas[1], succeeded());
    assert_eq!(begun(&pump), [sagas[0], sagas[2]]);
    pump.crash();
    assert_eq!(begun(&pump), [sagas[0], sagas[2]]);
    pump.cancel(sagas[3]).expect("it can be cancelled");
    assert_eq!(pump.state(sagas[3]), SagaState::Compensated, "it never ran");
    answer(&mut pump, sagas[0], rejected("NO"));
    assert_eq!(begun(&pump), [sagas[2], sagas[4]]);
    check(&pump);
}

#[test]
fn a_start_above_the_limit_is_refused_and_leaves_nothing_if_the_definition_says_so() {
    let yaml = limited(1, "reject");
    let mut pump = Pump::new();
    let first = start(&mut pump, &yaml, None);
    let rows = pump.journal.len();
    let (token, _) = pump.offer_start(&definition(&yaml), "{}", Some("k"), None);
    pump.run();
    assert_eq!(
        pump.started[&token],
        Err(StartRefusal::LimitReached { max: 1 })
    );
    assert_eq!((pump.journal.len(), pump.keys.len()), (rows, 0));
    answer(&mut pump, first, succeeded());
    let (token, _) = pump.offer_start(&definition(&yaml), "{}", Some("k"), None);
    pump.run();
    assert!(pump.started[&token].is_ok());
}

#[test]
fn who_waits_for_long_leaves_memory_and_is_back_when_its_turn_comes() {
    let mut pump = Pump::new();
    let first = start(&mut pump, ONE, Some("k"));
    let second = start(&mut pump, ONE, Some("k"));
    pump.send("a");
    pump.pass(Duration::from_secs(10));
    assert_eq!(pump.shard.active(), 2, "its turn may come any moment");
    pump.pass(Duration::from_secs(15));
    pump.send("a");
    let mut unrelated = None;
    for _ in 0..4 {
        pump.pass(Duration::from_secs(15));
        unrelated = Some(start(
            &mut pump,
            &ONE.replace("name: one", "name: two"),
            None,
        ));
    }
    assert!(pump.shard.saga(second).is_none(), "another's batch said so");
    assert!(pump.rows[&second].wake_at.is_some());
    assert!(unrelated.is_some());
    let command = pump.commands.iter().find(|out| out.key.saga == first);
    let command = command.cloned().or_else(|| {
        pump.pass(Duration::from_secs(1));
        pump.commands
            .iter()
            .find(|out| out.key.saga == first)
            .cloned()
    });
    if let Some(command) = command {
        pump.reply(&command, succeeded(), None);
    }
    if !pump.state(first).is_terminal() {
        pump.cancel(first).expect("it can be cancelled");
        while let Some(at) = pump.commands.iter().position(|out| out.key.saga == first) {
            let command = pump.commands.remove(at);
            pump.reply(&command, succeeded(), None);
        }
    }
    assert!(begun(&pump).contains(&second), "{:?}", pump.facts(second));
    assert_eq!(pump.loads.last(), Some(&second));
    check(&pump);
}

#[test]
fn lines_and_limits_hold_whatever_happens_to_batches_and_nodes() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut pump = Pump::new();
        let yaml = limited(3, "queue");
        for _ in 0..120 {
            match random.below(10) {
                0..3 => {
                    let key = ["x", "y", "z"][usize::try_from(random.below(3)).expect("small")];
                    let key = random.chance(70).then_some(key);
                    pump.offer_start_in_line(&definition(&yaml), "{}", None, None, key);
                }
                3..7 => {
                    let count = u64::try_from(pump.commands.len()).expect("few");
                    if count > 0 {
                        let at = usize::try_from(random.below(count)).expect("few");
                        let command = pump.commands.swap_remove(at);
                        let outcome = match random.below(3) {
                            0 if command.forward_key.is_none() => rejected("NO"),
                            _ => succeeded(),
                        };
                        pump.offer_reply(&command, outcome, None);
                    }
                }
                7 => {
                    let sagas: Vec<_> = pump.rows.keys().copied().collect();
                    let count = u64::try_from(sagas.len()).expect("few");
                    if count > 0 {
                        let at = usize::try_from(random.below(count)).expect("few");
                        pump.offer_cancel(sagas[at]);
                    }
                }
                8 => pump.decide_twice(),
                _ if random.chance(20) => {
                    pump.pass(Duration::from_secs(random.below(100)));
                    pump.crash();
                }
                _ => pump.run(),
            }
        }
        pump.run();
        for _ in 0..30 {
            while let Some(command) = pump.commands.first().cloned() {
                pump.reply(&command, succeeded(), None);
            }
            // What was awaited when the node died is awaited for one more attempt's time.
            pump.pass(Duration::from_secs(60));
        }
        check(&pump);
        let open = pump.rows.values().find(|row| !row.state.is_terminal());
        if let Some(row) = open {
            let story = pump.facts(row.id).join("\n");
            panic!("seed {seed}: {row:?} waits for ever\n{story}");
        }
    }
}
