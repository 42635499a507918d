//! What persons do about a saga: retry, skip, resolve, compensate, pause, resume, terminate. Each act is recorded before
//! what follows from it, and refused with a reason where it would break what a saga promises.

use std::sync::Arc;

use amends_definitions::{Kind, Payload, Work};

use crate::fact::{AbortReason, Act, Fact, IncidentReason, Operated};
use crate::id::Place;
use crate::journal::SagaState;
use crate::outcome::OperationKind;
use crate::saga::decide::Decision;
use crate::saga::place::{Failure, Phase};
use crate::shard::io::{Order, OrderRefusal, Target, Verb};

type Verdict = Result<(), OrderRefusal>;

impl Decision<'_> {
    /// An operator wants something done. A dry run decides on a copy of the saga.
    ///
    /// # Errors
    /// Why it is refused; nothing is recorded then.
    pub fn order(&mut self, order: &Order) -> Result<SagaState, OrderRefusal> {
        if self.saga.end.is_some() {
            self.tidy_up(order)?;
            return Ok(self.saga.state());
        }
        match &order.verb {
            Verb::Retry { target, input } => {
                let place = self.find(target)?;
                match target.operation {
                    OperationKind::Forward => self.retry_forward(order, place, input.as_ref()),
                    OperationKind::Compensate => {
                        self.retry_compensation(order, place, input.as_ref())
                    }
                    OperationKind::Query => Err(not_parked()),
                }
            }
            Verb::Skip { target } => {
                let place = self.find_step_or_item(target)?;
                self.skip(order, place)
            }
            Verb::Resolve { target, output } => {
                let place = self.find(target)?;
                match target.operation {
                    OperationKind::Forward => self.resolve_forward(order, place, output),
                    OperationKind::Compensate => self.resolve_compensation(order, place, output),
                    OperationKind::Query => Err(not_parked()),
                }
            }
            Verb::ResolveSaga { output } => self.resolve_saga(order, output),
            Verb::ResolveAbsent { target } => {
                let place = self.find(target)?;
                match target.operation {
                    OperationKind::Forward => self.resolve_absent(order, place),
                    OperationKind::Compensate => self.resolve_not_undone(order, place),
                    OperationKind::Query => Err(not_parked()),
                }
            }
            Verb::Compensate => self.compensate(order),
            Verb::Pause => self.pause(order),
            Verb::Resume => self.resume(order),
            Verb::Terminate => self.terminate(order),
        }?;
        Ok(self.saga.state())
    }

    /// Of a saga that has ended, nothing changes but what it left behind for a person to look at.
    fn tidy_up(&mut self, order: &Order) -> Verdict {
        match &order.verb {
            Verb::Resume
                if self
                    .saga
                    .incidents
                    .iter()
                    .any(|open| open.is_about(None, None)) =>
            {
                self.operated(order, Act::Resume);
                self.close_incidents(None, None);
                Ok(())
            }
            Verb::Resolve { target, output } if target.operation == OperationKind::Compensate => {
                let place = self.find(target)?;
                if self.leak_is_known(place) {
                    self.resolve_compensation(order, place, output)
                } else {
                    Err(not_parked())
                }
            }
            Verb::Retry { .. }
            | Verb::Skip { .. }
            | Verb::Resolve { .. }
            | Verb::ResolveSaga { .. }
            | Verb::ResolveAbsent { .. }
            | Verb::Compensate
            | Verb::Pause
            | Verb::Resume
            | Verb::Terminate => {
                let state = self.saga.state().as_str();
                Err(refused("ENDED", format!("the saga is {state}")))
            }
        }
    }

    fn operated(&mut self, order: &Order, act: Act) {
        self.record(Fact::Operated(Operated {
            by: order.by.clone(),
            reason: order.reason.clone(),
            act,
        }));
    }

    fn find_step_or_item(&self, target: &Target) -> Result<Place, OrderRefusal> {
        let step = self.saga.definition.step_index(&target.step);
        let place = step.map(|step| Place::item(step, target.item));
        place
            .filter(|place| self.saga.has_place(*place))
            .ok_or(OrderRefusal::UnknownStep)
    }

    /// A place that does work of its own: of a step whose items are listed, one of them.
    fn find(&self, target: &Target) -> Result<Place, OrderRefusal> {
        let place = self.find_step_or_item(target)?;
        if place.item == 0 && self.saga.steps[place.step.index()].items.is_some() {
            let message = "the step is done item by item: say which item";
            return Err(refused("ITEM_NEEDED", message));
        }
        Ok(place)
    }

    fn going_forward(&self) -> Verdict {
        if self.saga.abort.is_some() {
            let message = "the saga is being undone: nothing goes forward any more";
            return Err(refused("COMPENSATING", message));
        }
        Ok(())
    }

    /// The action failed, and a person was asked.
    fn parked_forward(&self, place: Place) -> Verdict {
        let forward = &self.saga.place(place).forward;
        let asked = self.saga.incident_about(place, OperationKind::Forward);
        if forward.is_failed() && asked.is_some() {
            Ok(())
        } else {
            Err(not_parked())
        }
    }

    fn parked_compensation(&self, place: Place) -> Verdict {
        let compensation = &self.saga.place(place).compensation;
        let asked = self.saga.incident_about(place, OperationKind::Compensate);
        if compensation.phase == Phase::Parked && asked.is_some() {
            Ok(())
        } else {
            Err(not_parked())
        }
    }

    fn retry_forward(&mut self, order: &Order, place: Place, input: Option<&Payload>) -> Verdict {
        self.going_forward()?;
        self.parked_forward(place)?;
        if self.history_is_full() {
            let message = "the history is at its cap: resolve or skip the step, or compensate";
            return Err(refused("HISTORY_FULL", message));
        }
        // A barrier answers a refused operation with its recorded "no" for ever: asked anew, it is another operation.
        let recorded = self.refused_input(place);
        let input = input.or(recorded.as_ref());
        let status = self.saga.place(place);
        let again = input.is_none() && status.child.is_none();
        if !again && status.may_have_effect() {
            let message = "an attempt may have had its effect, and a new round could have it again: \
                           resolve it as done or as absent first, or retry with the same input";
            return Err(refused("EFFECT_UNCLEAR", message));
        }
        let definition = Arc::clone(&self.saga.definition);
        let work = definition.step(place.step).work();
        let takes_input = matches!(work, Work::Call(_) | Work::Saga(_));
        if input.is_some() && (!takes_input || self.lists_items(place)) {
            return Err(refused("NO_INPUT", "this step takes no input of its own"));
        }
        let operation = OperationKind::Forward;
        self.operated(
            order,
            Act::Retry {
                place,
                operation,
                input: input.cloned(),
            },
        );
        self.close_incidents(Some(place), Some(operation));
        match (input, work) {
            (Some(input), Work::Saga(child)) => {
                if let Err(error) = self.request_child(place, child, input.clone()) {
                    self.fail_unsent(place, error.code, &error.message);
                }
            }
            (Some(input), _) => self.schedule_round(place, operation, input),
            (None, _) => self.begin_again(place),
        }
        Ok(())
    }

    /// The recorded input of a call that a participant refused, if none of its attempts can have had an effect.
    fn refused_input(&self, place: Place) -> Option<Payload> {
        let status = self.saga.place(place);
        let calls = self.saga.definition.step(place.step).call().is_some();
        let refused =
            status.forward.failure == Some(Failure::Refused) && status.forward.attempt > 0;
        (calls && refused && !status.may_have_effect())
            .then(|| status.forward.input.clone())
            .flatten()
    }

    /// The place is a step under `foreach` whose items are not listed.
    fn lists_items(&self, place: Place) -> bool {
        place.item == 0 && self.saga.definition.step(place.step).foreach().is_some()
    }

    /// With another input it is another operation: a new round, if one attempt of this was made.
    fn schedule_round(&mut self, place: Place, operation: OperationKind, input: &Payload) {
        let target = self.saga.operation(place, operation);
        let round = target.round + u32::from(target.attempt > 0);
        self.record(Fact::Scheduled {
            place,
            operation,
            round,
            input: input.clone(),
        });
    }

    /// What never began, or has no attempts, begins once more.
    fn begin_again(&mut self, place: Place) {
        if self.saga.place(place).forward.phase == Phase::Waiting {
            self.advance([place.step]);
        }
    }

    fn retry_compensation(
        &mut self,
        order: &Order,
        place: Place,
        input: Option<&Payload>,
    ) -> Verdict {
        self.parked_compensation(place)?;
        let status = self.saga.place(place);
        if input.is_some() && status.child.is_some() {
            return Err(refused("NO_INPUT", "undoing a child takes no input"));
        }
        if input.is_some() && !status.compensation.unclear.is_empty() {
            let message = "an attempt may have undone it, and a new round could undo it again: \
                           resolve it as done or as absent first, or retry with the same input";
            return Err(refused("EFFECT_UNCLEAR", message));
        }
        let operation = OperationKind::Compensate;
        self.operated(
            order,
            Act::Retry {
                place,
                operation,
                input: input.cloned(),
            },
        );
        self.close_incidents(Some(place), Some(operation));
        match input {
            Some(input) => self.schedule_round(place, operation, input),
            None => self.advance_backward(),
        }
        Ok(())
    }

    fn skip(&mut self, order: &Order, place: Place) -> Verdict {
        self.going_forward()?;
        if self.saga.definition.step(place.step).kind() == Kind::Pivot {
            let message = "a pivot decides whether the saga can be undone: it cannot be skipped";
            return Err(refused("PIVOT", message));
        }
        let held_back = self.saga.held_since().is_some();
        let listed = place.item == 0 && self.saga.steps[place.step.index()].items.is_some();
        let places: Vec<Place> = if listed {
            self.saga
                .places_of(place.step)
                .filter(|place| !self.saga.place(*place).forward.lets_go_on())
                .collect()
        } else {
            vec![place]
        };
        // A step that is skipped before its turn would let begin what it does not know of: what comes behind the pivot.
        if !self.needs_are_done(place.step) {
            let message = "what the step needs is not done: it can be skipped when it is its turn";
            return Err(refused("NOT_READY", message));
        }
        let can_be_skipped = |place: &Place| {
            let waits = self.saga.place(*place).forward.phase == Phase::Waiting;
            (waits && (held_back || listed)) || self.parked_forward(*place).is_ok()
        };
        let parked_or_held = held_back
            || places
                .iter()
                .any(|place| self.parked_forward(*place).is_ok());
        if places.is_empty() || !parked_or_held || !places.iter().all(can_be_skipped) {
            return Err(not_parked());
        }
        self.operated(order, Act::Skip { place });
        for place in places {
            self.close_incidents(Some(place), Some(OperationKind::Forward));
        }
        self.goes_on(place);
        Ok(())
    }

    fn resolve_forward(&mut self, order: &Order, place: Place, output: &Payload) -> Verdict {
        self.going_forward()?;
        self.parked_forward(place)?;
        if self.lists_items(place) {
            let message = "the step has no items: skip it, or retry it";
            return Err(refused("NO_ITEMS", message));
        }
        self.check_output(place.step, output)
            .map_err(|message| refused("OUTPUT_INVALID", message))?;
        self.check_signal(place.step, output)
            .map_err(|message| refused("SIGNAL_INVALID", message))?;
        let operation = OperationKind::Forward;
        self.operated(
            order,
            Act::Resolve {
                place,
                operation,
                output: output.clone(),
            },
        );
        self.close_incidents(Some(place), Some(operation));
        self.goes_on(place);
        Ok(())
    }

    /// Every step is done, and the output alone has no value: what stands for it is the person's.
    fn resolve_saga(&mut self, order: &Order, output: &Payload) -> Verdict {
        self.going_forward()?;
        let asked = self.saga.incidents.iter().any(|open| {
            open.is_about(None, None) && open.incident.reason == IncidentReason::ExpressionFailed
        });
        if !asked || !self.all_let_go_on() {
            let message = "no incident about the saga's output is open: name the step";
            return Err(refused("NOT_PARKED", message));
        }
        self.operated(order, Act::ResolveSaga);
        self.close_incidents(None, None);
        self.say_unconsumed();
        self.record(Fact::Completed {
            output: output.clone(),
        });
        Ok(())
    }

    /// Also what leaked: a person has undone it by hand.
    fn resolve_compensation(&mut self, order: &Order, place: Place, output: &Payload) -> Verdict {
        if !self.leak_is_known(place) {
            self.parked_compensation(place)?;
        }
        let operation = OperationKind::Compensate;
        self.operated(
            order,
            Act::Resolve {
                place,
                operation,
                output: output.clone(),
            },
        );
        self.close_incidents(Some(place), Some(operation));
        self.close_incidents(Some(place), None);
        self.advance_backward();
        Ok(())
    }

    fn resolve_absent(&mut self, order: &Order, place: Place) -> Verdict {
        let forward = &self.saga.place(place).forward;
        let (effect, unclear) = (forward.effect, !forward.unclear.is_empty());
        let undoing = self.saga.abort.is_some();
        if undoing {
            self.parked_compensation(place)?;
        } else {
            self.parked_forward(place)?;
        }
        if effect {
            let message = "the action is known to have had its effect";
            return Err(refused("EFFECT_KNOWN", message));
        }
        if !unclear {
            let message = "the action is known to have had no effect already";
            return Err(refused("EFFECT_KNOWN", message));
        }
        self.operated(order, Act::ResolveAbsent { place });
        if undoing {
            self.close_incidents(Some(place), Some(OperationKind::Compensate));
            self.advance_backward();
        } else {
            self.close_incidents(Some(place), Some(OperationKind::Forward));
            self.forward_ended(place);
        }
        Ok(())
    }

    /// No attempt of the compensation undid anything, or ever will: it stays owed and its incident open, and it may be
    /// retried with another input.
    fn resolve_not_undone(&mut self, order: &Order, place: Place) -> Verdict {
        self.parked_compensation(place)?;
        let status = self.saga.place(place);
        if status.child.is_some() {
            let message = "what is left of a child is in its own history: resolve it, or retry it";
            return Err(refused("CHILD", message));
        }
        if status.compensation.unclear.is_empty() {
            let message = "the compensation is known to have undone nothing already";
            return Err(refused("EFFECT_KNOWN", message));
        }
        self.operated(order, Act::ResolveNotUndone { place });
        Ok(())
    }

    fn compensate(&mut self, order: &Order) -> Verdict {
        self.going_forward()?;
        if self.saga.past_point_of_no_return() {
            let message = "the saga has passed its point of no return: it can only go forward";
            return Err(refused("BEHIND_POINT_OF_NO_RETURN", message));
        }
        if self.saga.pivot_in_doubt() {
            let message = "nobody knows whether the pivot had its effect: resolve it first";
            return Err(refused("PIVOT_IN_DOUBT", message));
        }
        self.operated(order, Act::Compensate);
        self.abort(AbortReason::Operator {
            by: order.by.clone(),
            reason: order.reason.clone(),
        });
        Ok(())
    }

    fn pause(&mut self, order: &Order) -> Verdict {
        self.going_forward()?;
        let reason = IncidentReason::Paused;
        let mut incidents = self.saga.incidents.iter();
        if incidents.any(|open| open.incident.reason == reason) {
            return Err(refused("PAUSED", "it is paused already"));
        }
        self.operated(order, Act::Pause);
        let message = format!("{} paused it: {}", order.by, order.reason);
        self.open_incident(None, reason, None, &message);
        Ok(())
    }

    /// What an incident about the saga held back goes on; one whose reason is still there opens again.
    fn resume(&mut self, order: &Order) -> Verdict {
        if !self
            .saga
            .incidents
            .iter()
            .any(|open| open.is_about(None, None))
        {
            let message = "nothing holds the saga back as a whole; a parked step is retried, skipped or resolved";
            return Err(refused("NOT_PARKED", message));
        }
        self.operated(order, Act::Resume);
        self.close_incidents(None, None);
        self.wake();
        self.advance_all();
        Ok(())
    }

    fn terminate(&mut self, order: &Order) -> Verdict {
        let child = self
            .saga
            .places()
            .find(|place| self.saga.has_child_under_way(*place));
        if let Some(place) = child {
            let step = self.saga.definition.step(place.step).id();
            let message =
                format!("the child of `{step}` is under way: cancel or terminate it first");
            return Err(refused("CHILD_UNDER_WAY", message));
        }
        self.operated(order, Act::Terminate);
        self.say_unconsumed();
        Ok(())
    }
}

fn refused(code: &'static str, message: impl Into<String>) -> OrderRefusal {
    OrderRefusal::Refused {
        code,
        message: message.into(),
    }
}

fn not_parked() -> OrderRefusal {
    refused(
        "NOT_PARKED",
        "no incident about this operation is open, and nothing holds it back",
    )
}
