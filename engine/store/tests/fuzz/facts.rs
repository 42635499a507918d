//! Facts out of choices: every kind, every field. A new kind does not compile in [`kind_of`] until it has a number, and the
//! test beside the target fails until [`fact`] makes it; a new field does not compile in [`fact`].

use std::time::Duration;

use amends_core::fact::{
    AbortReason, Act, AttemptEnded, ChildOutcome, ChildRequested, Incident, IncidentReason,
    Operated, Parent, SignalReceived, Started,
};
use amends_core::{Fact, OperationKind, Outcome, Place, SagaId, ShardId, Time, Verdict};
use amends_definitions::{DefinitionHash, Payload, StepIndex};
use amends_tests::fuzz::Choices;

/// How many kinds there are.
pub const KINDS: usize = 30;

/// A kind's number.
pub fn kind_of(fact: &Fact) -> usize {
    match fact {
        Fact::Started(_) => 0,
        Fact::TurnGranted => 1,
        Fact::Skipped { .. } => 2,
        Fact::ItemsListed { .. } => 3,
        Fact::Scheduled { .. } => 4,
        Fact::StepFailed { .. } => 5,
        Fact::AttemptEnded(_) => 6,
        Fact::Withdrawn { .. } => 7,
        Fact::SignalAwaited { .. } => 8,
        Fact::SignalReceived(_) => 9,
        Fact::SignalConsumed { .. } => 10,
        Fact::SignalUnconsumed { .. } => 11,
        Fact::Sleeping { .. } => 12,
        Fact::Slept { .. } => 13,
        Fact::ChildRequested(_) => 14,
        Fact::ChildPinned { .. } => 15,
        Fact::ChildEnded { .. } => 16,
        Fact::Emitted { .. } => 17,
        Fact::Continued { .. } => 18,
        Fact::DeadlinePassed => 19,
        Fact::AbortDecided(_) => 20,
        Fact::Settling { .. } => 21,
        Fact::CancelPending { .. } => 22,
        Fact::CancelDropped => 23,
        Fact::LateResult { .. } => 24,
        Fact::IncidentOpened(_) => 25,
        Fact::IncidentClosed { .. } => 26,
        Fact::Operated(_) => 27,
        Fact::Completed { .. } => 28,
        Fact::Compensated => 29,
    }
}

/// A fact of a kind.
///
/// # Panics
/// If there is no such kind.
pub fn fact(kind: usize, choices: &mut Choices<'_>) -> Fact {
    let c = choices;
    match kind {
        0 => Fact::Started(started(c)),
        1 => Fact::TurnGranted,
        2 => Fact::Skipped { step: step(c) },
        3 => Fact::ItemsListed {
            step: step(c),
            items: payload(c),
            keys: (0..c.below(4)).map(|_| c.text()).collect(),
        },
        4 => Fact::Scheduled {
            place: place(c),
            operation: operation(c),
            round: small(c),
            input: payload(c),
        },
        5 => Fact::StepFailed {
            place: place(c),
            operation: operation(c),
            code: c.text(),
            message: c.text(),
        },
        6 => Fact::AttemptEnded(ended(c)),
        7 => Fact::Withdrawn {
            place: place(c),
            operation: operation(c),
            round: small(c),
            attempt: small(c),
            code: c.text(),
        },
        8..=19 => of_a_step_without_a_participant(kind, c),
        20 => Fact::AbortDecided(abort(c)),
        21 => Fact::Settling {
            place: place(c),
            until: time(c),
        },
        22 => Fact::CancelPending {
            by: c.text(),
            reason: c.text(),
        },
        23 => Fact::CancelDropped,
        24 => Fact::LateResult {
            ended: ended(c),
            leak: c.rarely(2),
        },
        25 => Fact::IncidentOpened(Incident {
            place: maybe(c, place),
            operation: maybe(c, operation),
            reason: c.pick(&IncidentReason::ALL),
            code: maybe(c, text),
            message: c.text(),
        }),
        26 => Fact::IncidentClosed {
            place: maybe(c, place),
            operation: maybe(c, operation),
        },
        27 => Fact::Operated(Operated {
            by: c.text(),
            reason: c.text(),
            act: act(c),
        }),
        28 => Fact::Completed { output: payload(c) },
        29 => Fact::Compensated,
        _ => panic!("there is no kind {kind}"),
    }
}

fn of_a_step_without_a_participant(kind: usize, c: &mut Choices<'_>) -> Fact {
    match kind {
        8 => Fact::SignalAwaited {
            place: place(c),
            until: maybe(c, time),
        },
        9 => Fact::SignalReceived(SignalReceived {
            number: small(c),
            signal: c.text(),
            payload: payload(c),
            by: c.text(),
            dedupe_id: maybe(c, text),
        }),
        10 => Fact::SignalConsumed {
            place: place(c),
            number: small(c),
        },
        11 => Fact::SignalUnconsumed { number: small(c) },
        12 => Fact::Sleeping {
            place: place(c),
            until: time(c),
        },
        13 => Fact::Slept { place: place(c) },
        14 => Fact::ChildRequested(ChildRequested {
            place: place(c),
            round: small(c),
            name: c.text(),
            key: maybe(c, text),
            input: payload(c),
        }),
        15 => Fact::ChildPinned {
            place: place(c),
            round: small(c),
            child: saga(c),
            revision: small(c),
            hash: hash(c),
        },
        16 => Fact::ChildEnded {
            place: place(c),
            round: small(c),
            operation: operation(c),
            outcome: child_outcome(c),
        },
        17 => Fact::Emitted {
            place: place(c),
            event_type: c.text(),
            subject: maybe(c, text),
            data: payload(c),
        },
        18 => Fact::Continued {
            place: place(c),
            output: maybe(c, payload),
        },
        _ => Fact::DeadlinePassed,
    }
}

fn started(c: &mut Choices<'_>) -> Started {
    Started {
        namespace: c.text().into(),
        definition: c.text().into(),
        revision: small(c),
        hash: hash(c),
        key: maybe(c, text),
        ordering_key: maybe(c, text),
        concurrency_max: maybe(c, small),
        parent: maybe(c, |c| Parent {
            saga: saga(c),
            step: c.text().into(),
            item: small(c),
            round: small(c),
            depth: small(c),
        }),
        input: payload(c),
        traceparent: maybe(c, text),
        tracestate: maybe(c, text),
    }
}

fn ended(c: &mut Choices<'_>) -> AttemptEnded {
    AttemptEnded {
        place: place(c),
        operation: operation(c),
        round: small(c),
        attempt: small(c),
        outcome: outcome(c),
        verdict: maybe(c, |c| {
            c.pick(&[
                Verdict::First,
                Verdict::Duplicate,
                Verdict::NothingToUndo,
                Verdict::Superseded,
            ])
        }),
        instance: maybe(c, text),
        sent_at: maybe(c, time),
        retry_at: maybe(c, time),
    }
}

fn outcome(c: &mut Choices<'_>) -> Outcome {
    let kind = c.below(9);
    let (code, message) = (c.text(), c.text());
    match kind {
        0 => Outcome::Succeeded { output: payload(c) },
        1 => Outcome::Unusable { code, message },
        2 => Outcome::Rejected { code, message },
        3 => Outcome::Failed {
            code,
            message,
            retry_after: maybe(c, |c| Duration::from_nanos(c.number())),
        },
        4 => Outcome::Fatal { code, message },
        5 => Outcome::Unknown { code, message },
        6 => Outcome::NothingToUndo,
        7 => Outcome::Superseded,
        _ => Outcome::Absent,
    }
}

fn child_outcome(c: &mut Choices<'_>) -> ChildOutcome {
    match c.below(4) {
        0 => ChildOutcome::Completed { output: payload(c) },
        1 => ChildOutcome::Compensated {
            code: c.text(),
            message: c.text(),
        },
        2 => ChildOutcome::Refused {
            code: c.text(),
            message: c.text(),
        },
        _ => ChildOutcome::Terminated { message: c.text() },
    }
}

fn abort(c: &mut Choices<'_>) -> AbortReason {
    match c.below(6) {
        0 => AbortReason::StepFailed {
            place: place(c),
            code: c.text(),
            message: c.text(),
        },
        1 => AbortReason::Cancelled {
            by: c.text(),
            reason: c.text(),
        },
        2 => AbortReason::DeadlineExceeded,
        3 => AbortReason::Operator {
            by: c.text(),
            reason: c.text(),
        },
        4 => AbortReason::ParentAborted {
            code: c.text(),
            message: c.text(),
        },
        _ => AbortReason::OutputInvalid {
            code: c.text(),
            message: c.text(),
        },
    }
}

fn act(c: &mut Choices<'_>) -> Act {
    match c.below(10) {
        0 => Act::Retry {
            place: place(c),
            operation: operation(c),
            input: maybe(c, payload),
        },
        1 => Act::Skip { place: place(c) },
        2 => Act::Resolve {
            place: place(c),
            operation: operation(c),
            output: payload(c),
        },
        3 => Act::ResolveAbsent { place: place(c) },
        4 => Act::Compensate,
        5 => Act::Pause,
        6 => Act::Resume,
        7 => Act::ResolveSaga,
        8 => Act::ResolveNotUndone { place: place(c) },
        _ => Act::Terminate,
    }
}

fn maybe<T>(c: &mut Choices<'_>, make: impl Fn(&mut Choices<'_>) -> T) -> Option<T> {
    (c.below(2) == 1).then(|| make(c))
}

fn step(c: &mut Choices<'_>) -> StepIndex {
    StepIndex(u16::from_le_bytes([c.byte(), c.byte()]))
}

fn place(c: &mut Choices<'_>) -> Place {
    Place::item(step(c), small(c))
}

fn small(c: &mut Choices<'_>) -> u32 {
    let number = c.number();
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn time(c: &mut Choices<'_>) -> Time {
    Time::from_micros(c.number().cast_signed())
}

pub fn saga(c: &mut Choices<'_>) -> SagaId {
    let shard = ShardId(u16::from_le_bytes([c.byte(), c.byte()]));
    SagaId::new(time(c), shard, c.number())
}

pub fn operation(c: &mut Choices<'_>) -> OperationKind {
    c.pick(&[
        OperationKind::Forward,
        OperationKind::Compensate,
        OperationKind::Query,
    ])
}

fn hash(c: &mut Choices<'_>) -> DefinitionHash {
    DefinitionHash(std::array::from_fn(|_| c.byte()))
}

fn payload(c: &mut Choices<'_>) -> Payload {
    let text = match c.below(3) {
        0 => c
            .pick(&[
                "null",
                "{}",
                "[ 1 , 2.50 ]",
                "123456789012345678901234567890",
                "{\"kind\":\"started\",\"v\":1}",
                "\"\\ud83e\\udd80\\/\"",
                "-0.0",
            ])
            .to_owned(),
        1 => serde_json::Value::from(c.text()).to_string(),
        _ => format!(
            "{{\"a\":[{},{}]}}",
            c.number(),
            serde_json::Value::from(c.text())
        ),
    };
    Payload::check(text.into()).expect("a payload")
}

fn text(c: &mut Choices<'_>) -> String {
    c.text()
}
