//! What a saga knows of itself. Changed by `evolve` alone. What it knows of one place is in `place`; what follows from both
//! without being recorded is in `standing`.

use std::sync::Arc;

use amends_definitions::{Definition, Payload, StepIndex};

use crate::fact::{AbortReason, ChildOutcome, Incident, IncidentReason, Parent, Started};
use crate::id::{Place, SagaId};
use crate::journal::SagaState;
use crate::outcome::OperationKind;
use crate::saga::mark::Mark;
use crate::saga::marked::Marked;
use crate::saga::place::{NEVER_BEGUN, Operation, PlaceStatus, StepStatus};
use crate::saga::signals::Signals;
use crate::shard::io::ChildState;
use crate::time::Time;

/// A saga's state: the fold of its facts.
#[derive(Clone, Debug)]
pub struct Saga {
    pub(crate) id: SagaId,
    pub(crate) definition: Arc<Definition>,
    pub(crate) started: Arc<Started>,
    pub(crate) started_at: Time,
    pub(crate) updated_at: Time,
    pub(crate) ended_at: Option<Time>,
    pub(crate) end: Option<End>,
    pub(crate) abort: Option<Abort>,
    pub(crate) cancel_pending: Option<CancelRequest>,
    pub(crate) incidents: Vec<OpenIncident>,
    /// How many incidents it has ever had.
    pub(crate) incidents_opened: u32,
    pub(crate) steps: Marked<StepStatus>,
    /// The last place in the order of scheduling that was given away.
    pub(crate) last_order: u32,
    pub(crate) turn_granted: bool,
    pub(crate) deadline_passed: bool,
    /// None until the first signal.
    pub(crate) signals: Option<Arc<Signals>>,
    pub(crate) facts: u32,
    pub(crate) payload_bytes: u64,
}

/// A place that was found by its mark.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub place: Place,
    /// The place of its action in the order of scheduling.
    pub order: u32,
    pub status: &'a PlaceStatus,
}

/// How a saga ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this output.
    Completed(Payload),
    /// Undone.
    Compensated,
    /// Given up, for this reason.
    Terminated(String),
}

/// The recorded decision to compensate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Why.
    pub reason: AbortReason,
    /// When.
    pub at: Time,
}

/// A cancel that waits for a pivot in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelRequest {
    /// Who asked.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// An incident that nobody closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIncident {
    /// Its number within the saga, from 1 in the order of opening.
    pub number: u32,
    /// What. Shared with copies of the saga.
    pub incident: Arc<Incident>,
    /// Since when.
    pub opened_at: Time,
}

impl OpenIncident {
    /// It is about this operation of this place.
    #[must_use]
    pub fn is_about(&self, place: Option<Place>, operation: Option<OperationKind>) -> bool {
        self.incident.place == place && self.incident.operation == operation
    }

    /// It holds forward work back until somebody resumes the saga.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(
            self.incident.reason,
            IncidentReason::Paused | IncidentReason::DeadlineExceeded
        )
    }
}

impl Saga {
    /// The saga's id.
    #[must_use]
    pub fn id(&self) -> SagaId {
        self.id
    }

    /// The revision that it runs.
    #[must_use]
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// How it began: namespace, revision, key, input, trace.
    #[must_use]
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// When it began.
    #[must_use]
    pub fn started_at(&self) -> Time {
        self.started_at
    }

    /// When its last fact was decided.
    #[must_use]
    pub fn updated_at(&self) -> Time {
        self.updated_at
    }

    /// When it ended.
    #[must_use]
    pub fn ended_at(&self) -> Option<Time> {
        self.ended_at
    }

    /// Where it is, as lists and filters know it.
    #[must_use]
    pub fn state(&self) -> SagaState {
        match (&self.end, self.incidents.is_empty(), &self.abort) {
            (Some(End::Completed(_)), _, _) => SagaState::Completed,
            (Some(End::Compensated), _, _) => SagaState::Compensated,
            (Some(End::Terminated(_)), _, _) => SagaState::Terminated,
            (None, false, _) => SagaState::Parked,
            (None, true, Some(_)) => SagaState::Compensating,
            (None, true, None) => SagaState::Running,
        }
    }

    /// It has ended. A child that completed may still be undone by its parent.
    #[must_use]
    pub fn terminal(&self) -> bool {
        self.end.is_some()
    }

    /// What `output` made of it, once it completed.
    #[must_use]
    pub fn output(&self) -> Option<&Payload> {
        match &self.end {
            Some(End::Completed(output)) => Some(output),
            Some(End::Compensated | End::Terminated(_)) | None => None,
        }
    }

    /// Why it compensates.
    #[must_use]
    pub fn abort(&self) -> Option<&Abort> {
        self.abort.as_ref()
    }

    /// A cancel that waits for a pivot in doubt.
    #[must_use]
    pub fn cancel_pending(&self) -> Option<&CancelRequest> {
        self.cancel_pending.as_ref()
    }

    /// Its open incidents, oldest first.
    #[must_use]
    pub fn incidents(&self) -> &[OpenIncident] {
        &self.incidents
    }

    /// Its steps, in the definition's order.
    #[must_use]
    pub fn steps(&self) -> &Marked<StepStatus> {
        &self.steps
    }

    /// How many bytes of payloads it holds, about.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// How many facts it has.
    #[must_use]
    pub fn facts(&self) -> u32 {
        self.facts
    }

    /// Its deadline has passed.
    #[must_use]
    pub fn deadline_passed(&self) -> bool {
        self.deadline_passed
    }

    /// When its forward part has to be done; none without a deadline.
    #[must_use]
    pub fn deadline_at(&self) -> Option<Time> {
        let deadline = self.definition.deadline()?;
        Some(self.started_at + deadline.after)
    }

    /// Accepted signals; none until the first.
    #[must_use]
    pub fn signals(&self) -> Option<&Signals> {
        self.signals.as_deref()
    }

    /// It has to wait for its ordering key, or for the limit of its definition, before it begins a step.
    #[must_use]
    pub fn needs_turn(&self) -> bool {
        self.started.ordering_key.is_some() || self.started.concurrency_max.is_some()
    }

    /// Its turn has come; true also if it needs none.
    #[must_use]
    pub fn turn_granted(&self) -> bool {
        self.turn_granted
    }

    /// The saga that asked for it, if one did.
    #[must_use]
    pub fn parent(&self) -> Option<&Parent> {
        self.started.parent.as_ref()
    }

    /// What its parent is told of it.
    #[must_use]
    pub fn child_state(&self) -> ChildState {
        let (code, message) = self.abort.as_ref().map_or(("", ""), |abort| {
            (abort.reason.code(), abort.reason.message())
        });
        match &self.end {
            None => ChildState::UnderWay,
            Some(End::Completed(output)) => ChildState::Ended(ChildOutcome::Completed {
                output: output.clone(),
            }),
            Some(End::Compensated) => ChildState::Ended(ChildOutcome::Compensated {
                code: code.to_owned(),
                message: message.to_owned(),
            }),
            Some(End::Terminated(reason)) => ChildState::Ended(ChildOutcome::Terminated {
                message: reason.clone(),
            }),
        }
    }

    /// What is known of a place; of one that does not exist, that nothing was begun there.
    #[must_use]
    pub fn place(&self, place: impl Into<Place>) -> &PlaceStatus {
        let place = place.into();
        self.steps
            .get(place.step.index())
            .and_then(|status| status.place(place.item))
            .unwrap_or(&NEVER_BEGUN)
    }

    /// The place exists: its step does, and its item once the items are listed.
    #[must_use]
    pub fn has_place(&self, place: Place) -> bool {
        self.steps
            .get(place.step.index())
            .is_some_and(|status| status.place(place.item).is_some())
    }

    /// An operation of a place.
    #[must_use]
    pub fn operation(&self, place: impl Into<Place>, operation: OperationKind) -> &Operation {
        let status = self.place(place);
        match operation {
            OperationKind::Forward => &status.forward,
            OperationKind::Compensate => &status.compensation,
            OperationKind::Query => status.query.as_deref().unwrap_or(&NEVER_BEGUN.forward),
        }
    }

    /// The places at which a step's work is done: itself, or under `foreach` its items, once they are listed.
    pub fn places_of(&self, step: StepIndex) -> impl DoubleEndedIterator<Item = Place> + use<> {
        let (first, last) = match self.steps.get(step.index()) {
            Some(status) if self.definition.step(step).foreach().is_some() => (1, status.count()),
            Some(_) | None => (0, 0),
        };
        (first..=last).map(move |item| Place { step, item })
    }

    /// The places at which work is done, in the definition's order.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.definition
            .step_indices()
            .flat_map(|step| self.places_of(step))
    }

    /// The places that may have one of these marks, in the definition's order. Whether they have what is looked for is for
    /// the caller to see.
    pub(crate) fn marked(&self, mark: Mark) -> impl Iterator<Item = Found<'_>> {
        self.steps_marked(mark)
            .flat_map(move |step| self.marked_of(step, mark))
    }

    /// The steps that may have one of these marks, or of whose items one may, in the definition's order.
    pub(crate) fn steps_marked(&self, mark: Mark) -> impl Iterator<Item = StepIndex> + '_ {
        let steps = self.steps.with(mark);
        steps.filter_map(|(at, ..)| Some(StepIndex(u16::try_from(at).ok()?)))
    }

    /// As [`Saga::marked`], of one step.
    pub(crate) fn marked_of(&self, step: StepIndex, mark: Mark) -> impl Iterator<Item = Found<'_>> {
        let foreach = self.definition.step(step).foreach().is_some();
        let status = self.steps.get(step.index());
        let status = status.filter(|_| self.steps.mark(step.index()).has(mark));
        let itself = status.filter(|_| !foreach).map(|status| Found {
            place: step.into(),
            order: status.itself.forward.order,
            status: &status.itself,
        });
        let items = status.and_then(|status| status.items.as_ref());
        let items = items.filter(|_| foreach).into_iter();
        let items = items.flat_map(move |items| items.places.with(mark));
        let items = items.filter_map(move |(at, order, status)| {
            let item = u32::try_from(at + 1).ok()?;
            let place = Place { step, item };
            Some(Found {
                place,
                order,
                status,
            })
        });
        itself.into_iter().chain(items)
    }

    /// The item that expressions of a place see; none outside `foreach`.
    #[must_use]
    pub fn item(&self, place: Place) -> Option<&Payload> {
        let status = self.steps.get(place.step.index())?;
        let at = usize::try_from(place.item.checked_sub(1)?).ok()?;
        status.items.as_ref()?.values.get(at)
    }
}
