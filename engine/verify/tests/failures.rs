//! What expressions read of failures, and what an exploration makes of it: worlds that they tell apart, codes that they name.

use std::sync::Arc;

use amends_definitions::{Definition, check};
use amends_verify::{Exploration, Options, explore};

fn definition(source: &str) -> Arc<Definition> {
    let checked = check(source.as_bytes());
    let diagnostics = format!("{:?}", checked.diagnostics);
    Arc::new(
        checked
            .definition
            .unwrap_or_else(|| panic!("{diagnostics}")),
    )
}

/// Steps whose first one's compensation is called with `input`; the pivot says no with one of two codes.
fn told_apart(input: &str) -> Exploration {
    let source = format!(
        "apiVersion: amends/v1
name: told-apart
steps:
  - {{id: first, call: p.first, compensate: {{call: p.undo_first, input: {{x: \"${{{{ {input} }}}}\"}}}}}}
  - {{id: second, call: p.second, compensate: {{call: p.undo_second}}}}
  - {{id: pay, kind: pivot, call: p.pay, onError: [{{codes: [DECLINED_A, DECLINED_B], then: compensate}}]}}
"
    );
    explore(&definition(&source), &Options::default())
}

#[test]
fn why_a_saga_is_undone_is_told_apart_where_a_compensation_reads_it() {
    for code in ["DECLINED_A", "DECLINED_B"] {
        let found = told_apart(&format!(
            "self.reason == '{code}' ? 1 / (0 * size(self.reason)) : 1"
        ));
        assert_eq!(found.violations.len(), 1, "{code}: {:?}", found.violations);
        let trace = found.violations[0].trace.join("; ");
        let said = format!("is rejected with {code}");
        assert!(trace.contains(&said), "{trace}");
    }
    let read = told_apart("size(self.reason)").states;
    assert!(told_apart("size(self.input)").states < read, "{read}");
}

#[test]
fn what_became_of_others_is_told_apart_where_a_compensation_reads_it() {
    for status in ["skipped", "continued"] {
        let source = format!(
            "apiVersion: amends/v1
name: told-apart
steps:
  - {{id: other, when: input.other, call: p.other, onError: [{{then: continue}}], compensate: {{none: nothing stays}}}}
  - {{id: first, call: p.first, compensate: {{call: p.undo_first, input: {{x: \"${{{{ steps.other.status == '{status}' ? 1 / (0 * size(self.reason)) : 1 }}}}\"}}}}}}
  - {{id: pay, kind: pivot, call: p.pay}}
"
        );
        let found = explore(&definition(&source), &Options::default());
        assert!(
            !found.violations.is_empty(),
            "{status} was merged with another"
        );
    }
}

#[test]
fn codes_that_expressions_compare_with_are_tried() {
    let source = "apiVersion: amends/v1
name: routed
steps:
  - {id: hold, call: p.hold, onError: [{when: \"error.code == 'LATER'\", then: park}], compensate: {call: p.release}}
  - {id: pay, kind: pivot, call: p.pay, onError: [{when: \"error.code.startsWith('CARD_')\", then: park}]}
";
    let found = explore(&definition(source), &Options::default());
    for (step, code) in [("hold", "LATER"), ("pay", "CARD_HERE")] {
        let end = format!("parked going forward: ROUTED_TO_PARK at {step}");
        let end = found.ends.get(&end);
        let trace = end.unwrap_or_else(|| panic!("{:?}", found.ends.keys()));
        let said = format!("{step} is rejected with {code}");
        assert_eq!(trace.trace.last(), Some(&said));
    }
    assert!(found.assumed.is_empty(), "{:?}", found.assumed);
}

#[test]
fn a_reason_that_a_compensation_compares_with_is_tried_at_every_step() {
    let source = "apiVersion: amends/v1
name: reasons
steps:
  - {id: first, call: p.first, compensate: {call: p.undo_first, input: {x: \"${{ self.reason == 'NO' ? 1 / (0 * size(self.reason)) : 1 }}\"}}}
  - {id: second, call: p.second, compensate: {call: p.undo_second}}
  - {id: pay, kind: pivot, call: p.pay}
";
    let found = explore(&definition(source), &Options::default());
    let trace = found.violations[0].trace.join("; ");
    assert!(trace.contains("is rejected with NO"), "{trace}");
    let read = "self.reason == 'NO' ? 1 / (0 * size(self.reason)) : 1";
    assert_eq!(
        found.assumed,
        [format!(
            "no other code than those that are tried makes a difference to `{read}`"
        )]
    );
}

/// The first attempt takes the last one and is lost; the second is rejected by what the first did.
#[test]
fn an_attempt_may_be_lost_and_the_next_one_rejected() {
    let source = "apiVersion: amends/v1
name: lost-once
steps:
  - {id: hold, call: p.hold, onError: [{codes: [NO_STOCK], then: continue}], retry: {maxAttempts: 2}, compensate: {call: p.release, input: {x: \"${{ self.error != null && self.error.code == 'NO_STOCK' ? 1 / (0 * size(self.reason)) : 1 }}\"}}}
  - {id: pay, kind: pivot, call: p.pay}
";
    let found = explore(&definition(source), &Options::default());
    assert_eq!(found.violations.len(), 1, "{:?}", found.violations);
    let trace = found.violations[0].trace.join("; ");
    assert!(
        trace.contains("of one attempt of hold nothing is heard, and it is tried again"),
        "{trace}"
    );
    assert!(trace.contains("hold is rejected with NO_STOCK"), "{trace}");
    let once = source.replace("maxAttempts: 2", "maxAttempts: 1");
    let found = explore(&definition(&once), &Options::default());
    assert!(found.violations.is_empty(), "{:?}", found.violations);
}

/// What had its effect answers as it did then: no second attempt is rejected by the first.
#[test]
fn behind_a_barrier_no_attempt_is_rejected_by_an_earlier_one() {
    let source = "apiVersion: amends/v1
name: lost-once
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release}}
  - {id: pay, kind: pivot, call: p.pay}
  - {id: ship, kind: retriable, call: p.ship, onError: [{codes: [TWICE], then: continue}]}
";
    for barrier in [false, true] {
        let options = Options {
            barrier,
            ..Options::default()
        };
        let found = explore(&definition(source), &options);
        assert!(found.violations.is_empty(), "{:?}", found.violations);
        assert!(found.alarms.is_empty() == barrier, "{:?}", found.alarms);
    }
}
