//! How planted bugs change what the pump hands on, and the test that the checker sees each of them.

use std::sync::Arc;
use std::time::Duration;

use amends_core::Time;
use amends_core::fact::Fact;
use amends_core::journal::ShardBatch;
use amends_definitions::{Definition, from_normal_form, to_normal_form};

use crate::plant::Plant;

/// The definition as a shard with this bug sees it.
pub fn definition(definition: &Arc<Definition>, plant: Option<Plant>) -> Arc<Definition> {
    let changed = match plant {
        Some(Plant::CompensateInAnyOrder) => {
            to_normal_form(definition).replace("\"order\":\"reverse\"", "\"order\":\"parallel\"")
        }
        Some(Plant::RetryTooEarly) => to_normal_form(definition)
            .replace("\"initialInterval\":\"1s\"", "\"initialInterval\":\"10ms\"")
            .replace("\"initialInterval\":\"2s\"", "\"initialInterval\":\"10ms\""),
        Some(Plant::SleepShort) => {
            to_normal_form(definition).replace("\"sleep\":\"3m\"", "\"sleep\":\"20s\"")
        }
        Some(Plant::GiveUpEarly) => to_normal_form(definition)
            .replace("\"maxAttempts\":2", "\"maxAttempts\":1")
            .replace("\"maxAttempts\":3", "\"maxAttempts\":2")
            .replace("\"maxAttempts\":4", "\"maxAttempts\":3"),
        _ => return Arc::clone(definition),
    };
    Arc::new(from_normal_form(changed.as_bytes()).expect("it is still a definition"))
}

/// The time as a pump with this bug tells it to a shard.
pub fn time(now: Time, plant: Option<Plant>) -> Time {
    match plant {
        Some(Plant::HurryClock) => now + Duration::from_secs(10),
        _ => now,
    }
}

/// The batch as a pump with this bug hands it to the store.
pub fn rewrite(batch: &mut ShardBatch, plant: Plant) {
    for row in &mut batch.rows {
        match plant {
            Plant::AcceptLateResult => {
                for fact in &mut row.facts {
                    if let Fact::LateResult { ended, .. } = fact {
                        *fact = Fact::AttemptEnded(ended.clone());
                    }
                }
            }
            Plant::SwallowIncident if row.facts.len() > 1 => {
                row.facts
                    .retain(|fact| !matches!(fact, Fact::IncidentOpened(_)));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::campaign::live;

    /// Worlds that a planted bug may hide in before it has to be seen.
    const WORLDS: u64 = 200;

    /// Lives through worlds with a bug until the checker says one of these numbers. A world that does not survive its bug -
    /// the core's own assertions see some - says nothing about the checker, and is passed over.
    fn seen(plant: Plant, numbers: &[&str]) {
        seen_from(0, plant, numbers);
    }

    fn seen_from(from: u64, plant: Plant, numbers: &[&str]) {
        said(from, plant, numbers, "");
    }

    /// The same, and by a check that says these words: others of its number may see the bug too.
    fn said(from: u64, plant: Plant, numbers: &[&str], words: &str) {
        let mut others = std::collections::BTreeMap::new();
        for seed in from..from + WORLDS {
            let Ok(lived) = catch_unwind(AssertUnwindSafe(|| live(seed, Some(plant)))) else {
                *others.entry("panic".to_owned()).or_insert(0) += 1;
                continue;
            };
            for violation in &lived.violations {
                if numbers.contains(&violation.number) && violation.text.contains(words) {
                    println!(
                        "{plant:?}: seed {seed}: {}: {}",
                        violation.number, violation.text
                    );
                    return;
                }
                *others.entry(violation.number.to_owned()).or_insert(0) += 1;
            }
        }
        panic!(
            "{plant:?} went unseen in {WORLDS} worlds by {numbers:?} {words:?}; others: {others:?}"
        );
    }

    #[test]
    fn compensations_in_any_order_are_seen() {
        seen(Plant::CompensateInAnyOrder, &["I20", "I21"]);
    }

    #[test]
    fn what_leaves_before_its_commit_is_seen() {
        seen(Plant::ReleaseBeforeCommit, &["I7", "I4"]);
    }

    #[test]
    fn an_acknowledgement_before_the_commit_is_seen() {
        seen(Plant::AcknowledgeBeforeCommit, &["I13"]);
    }

    #[test]
    fn forgotten_timers_are_seen() {
        seen(Plant::ForgetTimers, &["I37", "I47"]);
    }

    #[test]
    fn a_lost_row_is_seen() {
        seen(Plant::DropRow, &["I43", "I35"]);
    }

    #[test]
    fn half_a_batch_is_seen() {
        seen(Plant::TearBatch, &["I43"]);
    }

    #[test]
    fn an_accepted_late_result_is_seen() {
        seen(Plant::AcceptLateResult, &["I12", "I1"]);
    }

    #[test]
    fn a_command_that_leaves_after_the_abort_is_seen() {
        seen(Plant::DeliverAfterAbort, &["I9"]);
    }

    #[test]
    fn an_owner_without_a_takeover_record_is_seen() {
        seen(Plant::SkipTakeoverRecord, &["I36"]);
    }

    #[test]
    fn a_store_without_its_fence_is_seen() {
        seen(Plant::ForgetFence, &["I35"]);
    }

    #[test]
    fn a_dispatcher_that_forgets_what_has_left_is_seen() {
        seen(Plant::ForgetSent, &["I17"]);
    }

    #[test]
    fn a_dispatcher_that_does_not_ask_for_room_is_seen() {
        seen(Plant::ForgetCredit, &["I16"]);
    }

    #[test]
    fn a_clock_that_is_behind_its_predecessors_is_seen() {
        // It takes a jump back, a death soon after, and a retry in flight: few worlds have it.
        seen_from(600, Plant::ForgetClocks, &["I13", "I17"]);
    }

    #[test]
    fn a_settle_time_that_goes_on_where_another_clock_began_it_is_seen() {
        let words = "after a takeover, before it has settled";
        said(0, Plant::ForgetTakeoverTime, &["I19"], words);
    }

    #[test]
    fn a_stopped_node_that_renews_its_lease_is_seen() {
        seen(Plant::KeepLease, &["I19"]);
    }

    #[test]
    fn two_batches_of_a_shard_at_once_are_seen() {
        seen(Plant::SplitShard, &["I35"]);
    }

    #[test]
    fn what_leaves_with_the_batch_beside_its_own_is_seen() {
        seen(Plant::ReleaseBeside, &["I7", "I4"]);
    }

    #[test]
    fn a_batch_that_is_written_twice_is_seen() {
        seen(Plant::ReinsertBlindly, &["I1", "I10"]);
    }

    #[test]
    fn a_key_with_two_sagas_is_seen() {
        seen(Plant::ForgetKeys, &["I6"]);
    }

    #[test]
    fn a_saga_that_expires_early_is_seen() {
        seen(Plant::ExpireEarly, &["I50"]);
    }

    #[test]
    fn a_saga_that_expires_before_its_end_is_seen() {
        seen(Plant::ExpireActive, &["I50"]);
    }

    #[test]
    fn a_child_that_expires_before_its_parent_has_ended_is_seen() {
        seen(Plant::ExpireProvisional, &["I50"]);
    }

    #[test]
    fn a_parent_that_expires_while_its_child_counts_from_its_end_is_seen() {
        // Few worlds have a child whose own time is over while it counts from the end of a parent that is gone.
        let words = "after its parent's end";
        said(2_200, Plant::ExpireParent, &["I50"], words);
    }

    #[test]
    fn retention_that_takes_the_fence_is_seen() {
        seen(Plant::ExpireFence, &["I35", "I36"]);
    }

    #[test]
    fn a_key_that_is_free_too_early_is_seen() {
        seen(Plant::FreeKeyAtEnd, &["I6"]);
    }

    #[test]
    fn a_key_of_a_saga_that_is_gone_is_seen() {
        seen(Plant::KeepKey, &["I6"]);
    }

    #[test]
    fn what_is_never_swept_is_seen() {
        seen(Plant::ForgetRetention, &["I50", "I47"]);
    }

    #[test]
    fn a_retry_that_does_not_wait_is_seen() {
        seen(Plant::RetryTooEarly, &["I10"]);
    }

    #[test]
    fn an_incident_that_is_not_recorded_is_seen() {
        seen(Plant::SwallowIncident, &["I23", "I3"]);
    }

    #[test]
    fn a_barrier_without_tombstones_is_seen() {
        seen(Plant::ForgetTombstone, &["I31", "I34"]);
    }

    #[test]
    fn a_participant_that_obeys_a_deposed_owner_is_seen() {
        seen(Plant::ForgetEpochs, &["I32"]);
    }

    #[test]
    fn a_result_that_a_deposed_owner_refuses_is_seen() {
        // It takes an owner that lost its shard unawares, and a result of its successor's command: few worlds have it.
        seen_from(600, Plant::WithholdEpochs, &["I13"]);
    }

    #[test]
    fn a_row_that_does_not_follow_its_saga_is_seen() {
        seen(Plant::ForgetSagaRow, &["I3"]);
    }

    #[test]
    fn a_sleep_that_is_over_early_is_seen() {
        seen(Plant::SleepShort, &["I37"]);
    }

    #[test]
    fn a_clock_that_is_ahead_of_the_time_is_seen() {
        seen(Plant::HurryClock, &["I37"]);
    }

    #[test]
    fn a_budget_that_is_not_spent_is_seen() {
        seen(Plant::GiveUpEarly, &["I11"]);
    }

    #[test]
    fn compensations_that_wait_for_a_person_are_seen() {
        seen(Plant::HoldCompensations, &["I24"]);
    }

    #[test]
    fn a_shed_result_is_seen() {
        seen(Plant::ShedResults, &["I13"]);
    }
}
