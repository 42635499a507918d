//! What the campaign runs, and what it has to meet.

pub const MANY: &str = r#"
apiVersion: amends/v1
name: many
orderingKey: input.who
timeout: 2h
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 3}, timeout: {attempt: 10s, schedule: 60s}}
signals: {go: {}, more: {schema: {type: object, required: [count]}}}
steps:
  - id: first
    call: bare.first
    query: bare.ask
    compensate: {call: bare.undo_first}
  - id: each
    foreach: {in: input.items, as: thing, maxParallel: 2}
    call: bare.each
    query: bare.ask
    input: {thing: "${{ thing }}"}
    outputSchema: {type: object, required: [ok]}
    onError:
      - {codes: [SOLD_OUT], then: continue, output: {instead: "${{ thing }}"}}
      - {codes: [ODD], then: park}
      - {codes: [EXHAUSTED], when: "error.code == 'BUSY'", then: continue}
    compensate: {call: bare.undo_each, input: {thing: "${{ thing }}", out: "${{ self.output }}"}}
  - id: kid
    needs: [first]
    saga: {name: child, input: {n: 1}}
    onError: [{codes: [NO_CHILD], then: continue}]
  - {id: nap, needs: [first], sleep: 30s}
  - {id: told, needs: [nap], wait: {signal: go, timeout: 60s, onTimeout: park}}
  - {id: told_more, needs: [nap], wait: {signal: go, timeout: 90s, onTimeout: continue}}
  - {id: heard, needs: [nap], wait: {signal: more, timeout: 10m}}
  - {id: say, needs: [each], emit: {type: com.example.said, data: "${{ steps.each.output }}"}}
  - id: refuse
    needs: [say]
    when: has(input.refuse)
    fail: {code: ON_PURPOSE, message: "on purpose"}
    onError: [{when: "input.refuse == 'softly'", then: continue}]
  - id: pay
    needs: [kid, told, told_more, heard, refuse]
    kind: pivot
    call: bare.pay
    query: bare.ask
    onError: [{codes: [ODD], then: park}, {codes: [SOLD_OUT], then: continue}]
  - {id: ship, kind: retriable, foreach: {in: input.items, maxParallel: 1}, call: bare.ship, onError: [{codes: [ODD], then: continue}]}
  - {id: rest, kind: retriable, sleep: 5s}
  - {id: archive, kind: retriable, saga: {name: archive}}
  - {id: done, kind: retriable, emit: {type: com.example.done}}
output: {n: "${{ size(steps.each.output) }}"}
"#;

pub const SHORT: &str = r#"
apiVersion: amends/v1
name: short
timeout: 3m
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}, timeout: 10s}
signals: {go: {}}
steps:
  - {id: hold, call: p.hold, onError: [{codes: [EXHAUSTED], then: continue}], compensate: {call: p.release}}
  - {id: pay, kind: pivot, call: bare.pay, query: bare.ask, onError: [{codes: [ODD], then: park}, {codes: [SOLD_OUT], then: continue}]}
  - {id: ship, kind: retriable, foreach: {in: input.items, maxParallel: 2}, call: bare.ship, retry: {maxAttempts: 2}}
  - {id: kid, kind: retriable, needs: [pay], saga: {name: child}}
  - {id: hear, kind: retriable, wait: {signal: go, timeout: 60s, onTimeout: park}}
"#;

pub const PARALLEL: &str = r#"
apiVersion: amends/v1
name: parallel
timeout: 90s
onTimeout: park
concurrency: {max: 1}
compensation: {order: parallel, parkAfter: 10m, retry: {initialInterval: 1s, maxAttempts: 2, jitter: 0}}
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}, timeout: 10s}
signals: {go: {}}
steps:
  - {id: a, needs: [], call: p.a, compensate: {call: p.undo_a}}
  - id: b
    needs: []
    foreach: {in: input.items, as: item, key: item, maxParallel: 3, maxItems: 4}
    saga: {name: child, input: {item: "${{ item }}"}}
  - {id: c, needs: [], foreach: {in: input.items, maxParallel: 2}, wait: {signal: go, timeout: 20s, onTimeout: compensate}}
  - {id: d, needs: [a, b], call: bare.d, compensate: {call: bare.undo_d}}
  - {id: e, needs: [c, d], kind: retriable, call: p.e}
output: {d: "${{ steps.d.output.ok }}"}
"#;

/// What the campaign has to meet, lest it prove nothing (I49).
pub const MARKS: [&str; 50] = [
    "turn_granted",
    "skipped",
    "items_listed",
    "step_failed",
    "withdrawn",
    "signal_awaited",
    "signal_received",
    "signal_consumed",
    "signal_unconsumed",
    "sleeping",
    "slept",
    "child_requested",
    "child_pinned",
    "child_ended",
    "emitted",
    "continued",
    "deadline_passed",
    "settling",
    "cancel_pending",
    "cancel_dropped",
    "late_result",
    "completed",
    "compensated",
    "PIVOT_IN_DOUBT",
    "STEP_REFUSED",
    "STEP_EXHAUSTED",
    "COMPENSATION_REFUSED",
    "COMPENSATION_EXHAUSTED",
    "POSSIBLE_LEAKED_EFFECT",
    "OUTPUT_UNUSABLE",
    "EXPRESSION_FAILED",
    "PAUSED",
    "DEADLINE_EXCEEDED",
    "ROUTED_TO_PARK",
    "SIGNAL_TIMEOUT",
    "CHILD_NOT_UNDONE",
    "STEP_FAILED",
    "CANCELLED",
    "OPERATOR",
    "retry",
    "skip",
    "resolve",
    "resolve_absent",
    "compensate",
    "pause",
    "resume",
    "terminate",
    "query 0",
    "forward 1",
    "compensate 1",
];
