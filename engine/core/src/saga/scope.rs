//! What a saga's expressions may see.

use amends_definitions::{Payload, Scope, SelfScope, StepIndex, StepScope, Steps};

use crate::id::Place;
use crate::saga::place::Phase;
use crate::saga::state::Saga;

/// Whose expression is evaluated, beside the saga's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View<'a> {
    /// Under `foreach` it sees the place's item.
    pub place: Option<Place>,
    /// In a compensation it sees the place's action as `self`.
    pub itself: bool,
    /// In `onError` it sees the failure's code and words.
    pub error: Option<(&'a str, &'a str)>,
}

impl View<'_> {
    /// An expression of a place.
    pub fn of(place: Place) -> Self {
        Self {
            place: Some(place),
            ..Self::default()
        }
    }
}

/// Runs `with` on what an expression may see.
pub(super) fn with_scope<T>(saga: &Saga, view: View<'_>, with: impl FnOnce(&Scope<'_>) -> T) -> T {
    let signals = saga.definition.signals().keys();
    let null = Payload::null();
    with(&Scope {
        input: &saga.started.input,
        saga_id: &saga.id,
        saga_key: saga.started.key.as_deref(),
        saga_started_at: &saga.started_at,
        steps: &StepsOf(saga),
        itself: view
            .place
            .filter(|_| view.itself)
            .map(|place| self_scope(saga, place, &null)),
        signals: signals
            .map(|id| {
                let latest = saga.signals().and_then(|signals| signals.latest(id));
                (id.as_str(), latest)
            })
            .collect(),
        item: view.place.and_then(|place| {
            let foreach = saga.definition.step(place.step).foreach()?;
            Some((foreach.name(), saga.item(place)?))
        }),
        error: view.error,
    })
}

struct StepsOf<'a>(&'a Saga);

impl Steps for StepsOf<'_> {
    fn count(&self) -> usize {
        self.0.steps.len()
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.0.definition.step_index(id).map(StepIndex::index)
    }

    fn at(&self, nth: usize) -> StepScope<'_> {
        let forward = &self.0.steps[nth].itself.forward;
        StepScope {
            id: self.0.definition.steps()[nth].id(),
            status: status_word(forward.phase),
            output: forward.output.as_ref(),
        }
    }
}

/// The action's output, as its compensation sees it: what a route put in its place is none.
pub(super) fn own_output(saga: &Saga, place: Place) -> Option<&Payload> {
    let forward = &saga.place(place).forward;
    forward
        .output
        .as_ref()
        .filter(|_| forward.phase == Phase::Succeeded)
}

fn self_scope<'a>(saga: &'a Saga, place: Place, null: &'a Payload) -> SelfScope<'a> {
    let forward = &saga.place(place).forward;
    SelfScope {
        input: forward.input.as_ref().unwrap_or(null),
        output: own_output(saga, place),
        error: forward
            .error
            .as_ref()
            .map(|(code, message)| (code.as_str(), message.as_str())),
        reason: saga.abort.as_ref().map_or("", |abort| abort.reason.code()),
    }
}

/// `steps.<id>.status`, as expressions see it.
fn status_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Listed
        | Phase::Settling { .. }
        | Phase::Scheduled { .. }
        | Phase::Awaiting { .. }
        | Phase::Sleeping { .. }
        | Phase::ChildRequested
        | Phase::ChildUnderWay => "scheduled",
        Phase::Succeeded | Phase::NothingToUndo => "succeeded",
        Phase::Continued => "continued",
        Phase::Skipped => "skipped",
        Phase::Unusable | Phase::Refused | Phase::Unresolved | Phase::Parked => "failed",
    }
}
