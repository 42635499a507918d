//! Retries: policies within their bounds, every named one known and used, holes filled from `defaults` and the language.

use std::time::Duration;

use crate::definition::{Kind, RetryPolicy, Timeouts};
use crate::diagnostic::Report;
use crate::document::draft::{CompensateBody, Draft, StepDraft};
use crate::document::fields::Spanned;
use crate::document::policy::{RetryDraft, RetryFields};
use crate::json::shortened;
use crate::limits::{ATTEMPTS_MAX, BACKOFF_MAX};
use crate::suggestion::nearest;

/// Whose policy it is.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Step(Kind),
    /// `defaults` are for steps: what they bound must not bound a compensation.
    Compensation,
}

/// Checks every policy's bounds by itself, and that each named one is used.
pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    bounds(&draft.default_retry, report);
    for (_, policy) in &draft.policies {
        bounds(policy, report);
    }
    let mut used: Vec<&str> = Vec::new();
    for retry in draft.steps.iter().flat_map(retries) {
        match retry {
            RetryDraft::Inline(fields, _) => bounds(fields, report),
            RetryDraft::Named(name) => used.push(&name.value),
        }
    }
    for (name, _) in &draft.policies {
        if !used.contains(&name.value.as_str()) {
            let message = format!("no step uses the policy `{}`", shortened(&name.value));
            report.warning("UNUSED_POLICY", message, name.span.clone());
        }
    }
}

/// A whole policy: the step's own fields, then `defaults`, then the language.
pub(super) fn resolve(
    draft: &Draft<'_>,
    retry: Option<&RetryDraft>,
    of: Of,
    report: &mut Report,
) -> RetryPolicy {
    let none = RetryFields::default();
    let own = match retry {
        None => &none,
        Some(RetryDraft::Inline(fields, _)) => fields,
        Some(RetryDraft::Named(name)) => named(draft, name, report).unwrap_or(&none),
    };
    let default = match of {
        Of::Step(_) => &draft.default_retry,
        Of::Compensation => &none,
    };
    let (attempts, max_interval) = match of {
        Of::Step(Kind::Retriable) => (0.0, Duration::from_secs(60)),
        Of::Step(_) => (10.0, Duration::from_secs(60)),
        Of::Compensation => (0.0, Duration::from_secs(300)),
    };
    // A step that the saga can only wait for is bounded by its own policy alone.
    let bounding = match of {
        Of::Step(Kind::Retriable) => &none,
        Of::Step(Kind::Compensatable | Kind::Pivot) | Of::Compensation => default,
    };
    let initial = own
        .initial_interval
        .as_ref()
        .or(default.initial_interval.as_ref());
    let max = own.max_interval.as_ref().or(default.max_interval.as_ref());
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
    let number = |own: &Option<Spanned<f64>>, default: &Option<Spanned<f64>>, language: f64| {
        let number = own.as_ref().or(default.as_ref());
        number.map_or(language, |number| number.value)
    };
    RetryPolicy {
        initial_interval,
        backoff: number(&own.backoff, &default.backoff, 2.0),
        // Who waits long at first means to wait at least as long later.
        max_interval: max.map_or(max_interval.max(initial_interval), |max| max.value),
        jitter: number(&own.jitter, &default.jitter, 0.2),
        max_attempts: whole(number(&own.max_attempts, &bounding.max_attempts, attempts)),
        max_elapsed: own
            .max_elapsed
            .as_ref()
            .or(bounding.max_elapsed.as_ref())
            .map(|elapsed| elapsed.value),
        non_retryable: own
            .non_retryable
            .clone()
            .or_else(|| default.non_retryable.clone())
            .unwrap_or_default(),
    }
}

/// Warns of a step that could hold up a saga that can still abort, without end.
pub(super) fn check_bound(
    step: &StepDraft<'_>,
    retry: &RetryPolicy,
    timeouts: &Timeouts,
    report: &mut Report,
) {
    let bounded = retry.max_attempts > 0 || retry.max_elapsed.is_some() || timeouts.total.is_some();
    if step.kind.value == Kind::Retriable || bounded {
        return;
    }
    let span = match &step.call.retry {
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

fn named<'a>(
    draft: &'a Draft<'_>,
    name: &Spanned<String>,
    report: &mut Report,
) -> Option<&'a RetryFields> {
    let mut policies = draft.policies.iter();
    if let Some((_, policy)) = policies.find(|(known, _)| known.value == name.value) {
        return Some(policy);
    }
    let known = draft.policies.iter().map(|(known, _)| known.value.as_str());
    let help = match nearest(&name.value, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`retry` names a policy of `retryPolicies`, or is one".to_owned(),
    };
    let message = format!("there is no retry policy `{}`", shortened(&name.value));
    report
        .error("UNKNOWN_POLICY", message, name.span.clone())
        .help(help);
    None
}

fn retries<'a>(step: &'a StepDraft<'_>) -> impl Iterator<Item = &'a RetryDraft> {
    let compensation = match step.compensate.as_ref().map(|compensate| &compensate.body) {
        Some(CompensateBody::Call(call)) => call.retry.as_ref(),
        _ => None,
    };
    step.call.retry.iter().chain(compensation)
}

fn bounds(fields: &RetryFields, report: &mut Report) {
    let mut check = |number: &Option<Spanned<f64>>, holds: &dyn Fn(f64) -> bool, rule: &str| {
        if let Some(number) = number
            && !holds(number.value)
        {
            let message = format!("{rule}, and it is {:?}", number.value);
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

/// The number of attempts; what is out of bounds has its diagnostic already.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and the bounds are checked"
)]
fn whole(attempts: f64) -> u32 {
    attempts as u32
}
