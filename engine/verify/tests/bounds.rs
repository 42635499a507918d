//! How long a saga takes at worst, against what the engine does.

use std::time::Duration;

use amends_definitions::check;
use amends_verify::{Bound, WorstCase, worst_case};

fn worst(source: &str) -> WorstCase {
    let checked = check(source.as_bytes());
    let diagnostics = format!("{:?}", checked.diagnostics);
    worst_case(
        &checked
            .definition
            .unwrap_or_else(|| panic!("{diagnostics}")),
    )
}

fn within(seconds: u64) -> Bound {
    Bound::Within(Duration::from_secs(seconds))
}

const NAP: &str = "apiVersion: amends/v1
name: nap
timeout: 1m
onTimeout: compensate
steps:
  - {id: nap, needs: [], sleep: 50s}
  - {id: pay, kind: pivot, call: p.pay, timeout: 40s, retry: {maxAttempts: 1}}
";

/// The pivot begins before the deadline, and holds the abort back until its own time is over.
#[test]
fn a_pivot_under_way_holds_the_deadline_back() {
    assert_eq!(worst(NAP).until_decided, within(90));
    let longer = NAP.replace("  - {id: pay", "  - {id: again, sleep: 50s}\n  - {id: pay");
    assert_eq!(worst(&longer).until_decided, within(100));
    let asks = longer.replace("call: p.pay", "call: p.pay, query: p.find");
    assert_eq!(worst(&asks).until_decided, within(140));
}

#[test]
fn a_deadline_that_parks_waits_for_no_pivot() {
    let parks = NAP.replace("onTimeout: compensate", "onTimeout: park");
    assert_eq!(worst(&parks).until_decided, within(60));
}

#[test]
fn items_are_undone_so_many_at_a_time() {
    let source = |parallel: u32| {
        format!(
            "apiVersion: amends/v1
name: itemized
compensation: {{parkAfter: 1m}}
steps:
  - {{id: a, needs: [], foreach: {{in: input.list, maxParallel: {parallel}, maxItems: 5}}, call: p.a, timeout: 10s, retry: {{maxAttempts: 1}}, compensate: {{call: p.undo_a, timeout: 50s}}}}
  - {{id: pay, kind: pivot, call: p.pay, timeout: 10s, retry: {{maxAttempts: 1}}}}
"
        )
    };
    for (parallel, turns) in [(1, 5), (2, 3), (5, 1)] {
        let worst = worst(&source(parallel));
        assert_eq!(worst.forward, within(10 * turns + 10), "{parallel}");
        // What is in flight is awaited; then each turn settles and is undone until it parks.
        let backward = 10 + (10 + 60) * turns;
        assert_eq!(worst.backward, within(backward), "{parallel}");
    }
}

#[test]
fn queries_take_their_time() {
    let source = |park_after: &str, query: &str| {
        format!(
            "apiVersion: amends/v1
name: asks
compensation: {{parkAfter: {park_after}}}
steps:
  - {{id: a, call: p.a, {query}timeout: 20s, retry: {{maxAttempts: 1}}, compensate: {{call: p.undo_a, timeout: {{attempt: 10s, total: 30s}}}}}}
  - {{id: pay, kind: pivot, call: p.pay, {query}timeout: 20s, retry: {{maxAttempts: 1}}}}
"
        )
    };
    let bare = worst(&source("1m", ""));
    assert_eq!(bare.forward, within(40));
    assert_eq!(bare.backward, within(20 + 20 + 30));
    let asks = worst(&source("1m", "query: p.find, "));
    assert_eq!(asks.forward, within(40 + 20));
    assert_eq!(asks.until_decided, within(40 + 20));
    assert_eq!(asks.backward, within(20 + 20 + 20 + 30));
    // A query that nobody answers is given up then.
    let given_up = worst(&source("5s", "query: p.find, "));
    assert_eq!(given_up.forward, within(40 + 5));
    assert_eq!(given_up.backward, within(20 + 20 + 5 + 5));
}

/// Its action may be tried without end, and what asks about it may not.
#[test]
fn a_query_has_a_budget_of_its_own() {
    let source = "apiVersion: amends/v1
name: asks
compensation: {parkAfter: 1h}
steps:
  - {id: a, call: p.a, query: p.find, timeout: 20s, retry: {maxAttempts: 0, initialInterval: 1s, backoff: 1, jitter: 0}, compensate: {call: p.undo_a, timeout: {attempt: 10s, total: 30s}}}
  - {id: pay, kind: pivot, call: p.pay, timeout: 20s, retry: {maxAttempts: 1}}
";
    let worst = worst(source);
    assert!(matches!(worst.forward, Bound::Unbounded(_)));
    assert_eq!(worst.backward, within(20 + 20 + (10 * 20 + 9) + 30));
}
