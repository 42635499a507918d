//! Retries: policies within their bounds, every named one known and used, holes filled from `defaults` and the language.

use std::time::Duration;

use super::participants;
use crate::definition::{Kind, RetryPolicy, Timeouts};
use crate::diagnostic::Report;
use crate::document::draft::{CallDraft, Draft, StepDraft};
use crate::document::fields::Spanned;
use crate::document::policy::{RetryDraft, RetryFields};
use crate::json::shortened;
use crate::limits::{ATTEMPTS_MAX, BACKOFF_MAX};
use crate::suggestion::nearest;

/// Checks every policy's bounds by itself, and that each named one exists and is used.
pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    for (_, policy) in &draft.policies {
        bounds(policy, report);
    }
    let participants = draft.participants.iter();
    let layers = participants.map(|participant| &participant.defaults);
    let layers = layers.chain([&draft.defaults, &draft.compensation_defaults]);
    let mut used: Vec<&str> = Vec::new();
    let of_layers = layers.filter_map(|layer| layer.retry.as_ref());
    for retry in of_layers.chain(draft.steps.iter().flat_map(retries)) {
        match retry {
            RetryDraft::Inline(fields, _) => bounds(fields, report),
            RetryDraft::Named(name) => {
                used.push(&name.value);
                check_known(draft, name, report);
            }
        }
    }
    for (name, _) in &draft.policies {
        if !used.contains(&name.value.as_str()) {
            let message = format!("no step uses the policy `{}`", shortened(&name.value));
            report.warning("UNUSED_POLICY", message, name.span.clone());
        }
    }
}

/// A step's whole policy: its own fields, then its participant's, then `defaults`, then the language.
pub(super) fn of_step(draft: &Draft<'_>, step: &StepDraft<'_>, report: &mut Report) -> RetryPolicy {
    // A step that the saga can only wait for is bounded by its own policy alone.
    let bounding = step.kind.value != Kind::Retriable;
    let mut layers = Vec::new();
    if let Some(call) = step.call() {
        let participant = participants::of_action(draft, call.action.as_ref());
        let participant = participant.and_then(|known| known.defaults.retry.as_ref());
        layers.extend(layer(draft, call.retry.as_ref(), true));
        layers.extend(layer(draft, participant, bounding));
        layers.extend(layer(draft, draft.defaults.retry.as_ref(), bounding));
    }
    let attempts = if bounding { 10 } else { 0 };
    resolve(&layers, attempts, Duration::from_secs(60), report)
}

/// The whole policy of a compensation: its own fields, then those of `compensation`, then its participant's, then the language.
/// What bounds the calls of a participant does not bound a compensation.
pub(super) fn of_compensation(
    draft: &Draft<'_>,
    call: &CallDraft<'_>,
    report: &mut Report,
) -> RetryPolicy {
    let participant = participants::of_action(draft, call.action.as_ref());
    let participant = participant.and_then(|known| known.defaults.retry.as_ref());
    let mut layers = Vec::new();
    layers.extend(layer(draft, call.retry.as_ref(), true));
    layers.extend(layer(
        draft,
        draft.compensation_defaults.retry.as_ref(),
        true,
    ));
    layers.extend(layer(draft, participant, false));
    resolve(&layers, 0, Duration::from_secs(300), report)
}

/// Fields that fill holes, and if their bounds count.
type LayerFields<'a> = (&'a RetryFields, bool);

fn layer<'a>(
    draft: &'a Draft<'_>,
    retry: Option<&'a RetryDraft>,
    bounding: bool,
) -> Option<LayerFields<'a>> {
    let fields = match retry? {
        RetryDraft::Inline(fields, _) => fields,
        RetryDraft::Named(name) => {
            let mut policies = draft.policies.iter();
            policies
                .find(|(known, _)| known.value == name.value)
                .map(|(_, policy)| policy)?
        }
    };
    Some((fields, bounding))
}

fn resolve(
    layers: &[LayerFields<'_>],
    attempts: u32,
    max_interval: Duration,
    report: &mut Report,
) -> RetryPolicy {
    let initial = layers
        .iter()
        .find_map(|(fields, _)| fields.initial_interval.as_ref());
    let max = layers
        .iter()
        .find_map(|(fields, _)| fields.max_interval.as_ref());
    if let (Some(initial), Some(max)) = (initial, max)
        && max.value < initial.value
    {
        report
            .error(
                "RETRY_BOUNDS",
                "`maxInterval` is shorter than `initialInterval`",
                max.span.clone(),
            )
            .help("make it at least as long");
    }
    let initial_interval = initial.map_or(Duration::from_secs(1), |initial| initial.value);
    let number = |of: fn(&RetryFields) -> &Option<Spanned<f64>>| {
        let found = layers.iter().find_map(|(fields, _)| of(fields).as_ref());
        found.map(|number| number.value)
    };
    let bounding = || layers.iter().filter(|(_, bounding)| *bounding);
    let max_attempts = bounding().find_map(|(fields, _)| fields.max_attempts.as_ref());
    let max_elapsed = bounding().find_map(|(fields, _)| fields.max_elapsed.as_ref());
    RetryPolicy {
        initial_interval,
        backoff: number(|fields| &fields.backoff).unwrap_or(2.0),
        // Who waits long at first means to wait at least as long later.
        max_interval: max.map_or(max_interval.max(initial_interval), |max| max.value),
        jitter: number(|fields| &fields.jitter).unwrap_or(0.2),
        max_attempts: max_attempts.map_or(attempts, |attempts| whole(attempts.value)),
        max_elapsed: max_elapsed.map(|elapsed| elapsed.value),
        non_retryable: layers
            .iter()
            .find_map(|(fields, _)| fields.non_retryable.clone())
            .unwrap_or_default(),
    }
}

/// Warns of a step that could hold up a saga that can still abort, without end.
pub(super) fn check_bound(
    draft: &Draft<'_>,
    step: &StepDraft<'_>,
    retry: &RetryPolicy,
    timeouts: &Timeouts,
    report: &mut Report,
) {
    let Some(call) = step.call() else {
        return;
    };
    // The deadline waits for a pivot of which nobody knows whether it happened.
    let bounded = match step.kind.value {
        Kind::Retriable => true,
        Kind::Compensatable => draft.deadline.is_some(),
        Kind::Pivot => false,
    };
    let tries = retry.max_attempts > 0 || retry.max_elapsed.is_some();
    if bounded || tries || timeouts.total.is_some() {
        return;
    }
    let span = match &call.retry {
        Some(RetryDraft::Named(name)) => name.span.clone(),
        Some(RetryDraft::Inline(_, span)) => span.clone(),
        None => step.id.span.clone(),
    };
    let message = format!(
        "step `{}` is retried without bound, and holds up the saga",
        step.id.value
    );
    report
        .warning("RETRY_WITHOUT_BOUND", message, span)
        .help("set `maxAttempts`, `maxElapsed` or `timeout.total`");
}

fn check_known(draft: &Draft<'_>, name: &Spanned<String>, report: &mut Report) {
    let mut known = draft.policies.iter().map(|(known, _)| known.value.as_str());
    if known.clone().any(|known| known == name.value) {
        return;
    }
    let help = match nearest(&name.value, known.by_ref()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`retry` names a policy of `retryPolicies`, or is one".to_owned(),
    };
    let message = format!("there is no retry policy `{}`", shortened(&name.value));
    report
        .error("UNKNOWN_POLICY", message, name.span.clone())
        .help(help);
}

fn retries<'a>(step: &'a StepDraft<'_>) -> impl Iterator<Item = &'a RetryDraft> {
    let calls = step.call().into_iter().chain(step.compensation_call());
    calls.filter_map(|call| call.retry.as_ref())
}

fn bounds(fields: &RetryFields, report: &mut Report) {
    let mut check = |number: &Option<Spanned<f64>>, holds: &dyn Fn(f64) -> bool, rule: &str| {
        if let Some(number) = number
            && !holds(number.value)
        {
            let message = format!("{rule}, and it is {}", as_written(number.value));
            report.error("RETRY_BOUNDS", message, number.span.clone());
        }
    };
    check(
        &fields.backoff,
        &|backoff| (1.0..=BACKOFF_MAX).contains(&backoff),
        &format!("`backoff` is from 1 to {BACKOFF_MAX}"),
    );
    check(
        &fields.jitter,
        &|jitter| (0.0..=1.0).contains(&jitter),
        "`jitter` is from 0 to 1",
    );
    check(
        &fields.max_attempts,
        &|attempts| (0.0..=f64::from(ATTEMPTS_MAX)).contains(&attempts) && attempts.fract() == 0.0,
        &format!("`maxAttempts` is a whole number from 0 (no bound) to {ATTEMPTS_MAX}"),
    );
}

/// A number without the `.0` that nobody wrote.
fn as_written(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        format!("{number:.0}")
    } else {
        format!("{number:?}")
    }
}

/// The number of attempts. What is out of bounds has its diagnostic already, and stands for a bound: it was meant to be one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and the bounds are checked"
)]
fn whole(attempts: f64) -> u32 {
    if attempts == 0.0 {
        return 0;
    }
    (attempts as u32).max(1)
}
