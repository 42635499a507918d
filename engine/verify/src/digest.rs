//! Which worlds are the same: those from which the same can happen. Texts, counts of attempts, orders of scheduling and
//! absolute times do not matter to that; which of two times comes first does.

use std::collections::BTreeSet;

use amends_core::fact::IncidentReason;
use amends_core::key::{Hash128, hash_64, hash_128};
use amends_core::saga::{Failure, Operation, Phase, PlaceStatus};
use amends_core::{OperationKind, Place, Time};
use amends_definitions::{Payload, StepIndex};

use crate::world::{Stage, World};

/// Two worlds with the same digest are taken for the same.
pub(crate) fn digest(stage: &Stage, world: &World) -> Hash128 {
    let mut out = Encoder {
        bytes: Vec::with_capacity(512),
        future: future(world),
    };
    let saga = &world.saga;
    out.byte(u8::from(saga.terminal()) | u8::from(saga.abort().is_some()) << 1);
    out.byte(u8::from(saga.cancel_pending().is_some()) | u8::from(saga.deadline_passed()) << 1);
    // Behind an abort a cancel means nothing any more.
    out.byte(u8::from(world.cancelled && saga.abort().is_none()));
    // What expressions still to come may see of it; of a saga that has ended there are none.
    if !saga.terminal() {
        out.byte(u8::from(world.lacks));
        out.payload(Some(&saga.started().input));
    }
    for (step, status) in saga.definition().step_indices().zip(saga.steps().iter()) {
        out.byte(u8::try_from(step.index() % 251).unwrap_or(0));
        if status.items.is_none() {
            out.place_status(world, Place::from(step), &status.itself);
        } else {
            for place in saga.places_of(step) {
                out.place_status(world, place, saga.place(place));
            }
        }
    }
    for place in &world.slow {
        if matches!(
            saga.place(*place).compensation.phase,
            Phase::Scheduled { .. }
        ) {
            out.place(Some(*place));
        }
    }
    out.byte(0xff);
    // That a compensation is parked stands with its place; that an effect may be left behind changes nothing any more.
    let of_saga = saga.incidents().iter().filter(|open| {
        open.incident.operation != Some(OperationKind::Compensate)
            && open.incident.reason != IncidentReason::PossibleLeakedEffect
    });
    for open in of_saga {
        out.text(open.incident.reason.as_str());
        out.place(open.incident.place);
    }
    out.byte(0xfe);
    books(&mut out, world);
    surroundings(&mut out, world);
    failures(&mut out, stage, world);
    hash_128(&out.bytes)
}

/// What the participants know of places whose undoing is not decided, or that was undone and should not have been.
fn books(out: &mut Encoder, world: &World) {
    let saga = &world.saga;
    for (place, book) in &world.books {
        let undone = saga.place(*place).compensation.phase;
        let decided = matches!(
            undone,
            Phase::Succeeded | Phase::NothingToUndo | Phase::Parked
        );
        if !decided || (undone != Phase::Parked && book.done != book.undone) {
            out.place(Some(*place));
            out.byte(u8::from(book.done) | u8::from(book.undone) << 1);
        }
    }
    out.byte(0xfd);
}

/// What expressions that can still be evaluated read of failures: why the saga is undone, how an action failed, what became
/// of other steps.
fn failures(out: &mut Encoder, stage: &Stage, world: &World) {
    let saga = &world.saga;
    if saga.terminal() {
        return;
    }
    let reads = &stage.samples.failures;
    let tells_reasons = reads.steps.iter().any(|step| step.reason);
    let mut reason = false;
    let mut others: BTreeSet<StepIndex> = BTreeSet::new();
    for (step, reads) in saga.definition().step_indices().zip(&reads.steps) {
        let has_routes = !saga.definition().step(step).on_error().is_empty();
        for place in saga.places_of(step) {
            let status = saga.place(place);
            let undecided = status.compensation_is_undecided();
            if undecided {
                reason |= reads.reason;
                others.extend(&reads.others);
            }
            if undecided && reads.input {
                out.payload(status.forward.input.as_ref());
            }
            // Its failure may be looked at once more, when a doubt about it is settled.
            let again = saga.abort().is_none()
                && status.forward.is_failed()
                && (has_routes || tells_reasons);
            if again || (undecided && reads.error) {
                out.place(Some(place));
                out.failure(&status.forward);
            }
        }
    }
    out.byte(0xf8);
    if let Some(abort) = saga.abort().filter(|_| reason) {
        out.text(abort.reason.code());
    }
    for step in others {
        let forward = &saga.place(Place::from(step)).forward;
        out.byte(tag(forward.phase).0);
        out.payload(forward.output.as_ref());
    }
}

/// Lost results, signals, and how far off the deadline is.
fn surroundings(out: &mut Encoder, world: &World) {
    let saga = &world.saga;
    // Once a place is being undone, a lost result can do no more than raise an alarm.
    let undecided = world
        .late
        .iter()
        .filter(|((place, _, _), _)| saga.place(*place).compensation_is_undecided());
    for ((place, round, _), effect) in undecided {
        out.place(Some(*place));
        out.byte(u8::try_from(*round % 251).unwrap_or(0));
        out.byte(u8::from(*effect));
    }
    out.byte(0xfc);
    for signal in &world.signalled {
        out.text(signal);
    }
    if let Some(signals) = saga.signals() {
        for pending in signals.pending() {
            out.text(&pending.signal);
            out.payload(Some(&pending.payload));
        }
    }
    if let Some(deadline) = saga.deadline_at() {
        out.time(deadline);
    }
}

/// The times that are still to come, in their order.
fn future(world: &World) -> Vec<Time> {
    let mut times = BTreeSet::new();
    let mut add = |operation: &Operation| {
        let time = match operation.phase {
            Phase::Settling { until }
            | Phase::Sleeping { until }
            | Phase::Awaiting { until: Some(until) } => Some(until),
            Phase::Scheduled { due_at } => Some(due_at),
            _ => None,
        };
        times.extend(time.filter(|time| *time > world.now));
    };
    for status in world.saga.steps().iter() {
        let items = status.items.iter().flat_map(|items| items.places.iter());
        for place in std::iter::once(&status.itself).chain(items) {
            add(&place.forward);
            add(&place.compensation);
        }
    }
    times.extend(world.saga.deadline_at().filter(|at| *at > world.now));
    times.into_iter().collect()
}

struct Encoder {
    bytes: Vec<u8>,
    future: Vec<Time>,
}

impl Encoder {
    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.byte(0);
    }

    fn failure(&mut self, operation: &Operation) {
        if let Some((code, message)) = &operation.error {
            self.text(code);
            self.text(message);
        }
        self.byte(match operation.failure {
            None => 0,
            Some(Failure::Refused) => 1,
            Some(Failure::Fatal) => 2,
            Some(Failure::Exhausted) => 3,
            Some(Failure::NotSent) => 4,
            Some(Failure::TimedOut) => 5,
            Some(Failure::Overtaken) => 6,
        });
    }

    fn payload(&mut self, payload: Option<&Payload>) {
        let hash = payload.map_or(0, |payload| hash_64(payload.as_bytes()));
        self.bytes.extend_from_slice(&hash.to_le_bytes());
    }

    fn place(&mut self, place: Option<Place>) {
        if let Some(place) = place {
            self.bytes.extend_from_slice(&place.step.0.to_le_bytes());
            self.bytes.extend_from_slice(&place.item.to_le_bytes());
        }
        self.byte(0xff);
    }

    /// A time by its place among those to come; 0 for one that has passed.
    fn time(&mut self, time: Time) {
        let rank = self.future.iter().position(|known| *known == time);
        self.byte(rank.map_or(0, |rank| u8::try_from(rank % 250 + 1).unwrap_or(0)));
    }

    fn place_status(&mut self, world: &World, place: Place, status: &PlaceStatus) {
        let lost = status.compensation_is_undecided()
            && world.late.keys().any(|(lost, _, _)| *lost == place);
        let undone = matches!(
            status.compensation.phase,
            Phase::Succeeded | Phase::NothingToUndo | Phase::Unusable
        );
        let never = world.saga.abort().is_some()
            && !status.forward.is_open()
            && status.forward.phase != Phase::Succeeded
            && !status.may_have_effect();
        if undone || (never && !lost) {
            // How it came to that does not matter any more.
            return self.byte(0xfb);
        }
        if status.compensation.phase == Phase::Parked {
            return self.byte(0xf9);
        }
        self.operation(&status.forward);
        self.payload(status.forward.output.as_ref());
        self.operation(&status.compensation);
        if let Some(query) = &status.query {
            self.operation(query);
        }
        if let Some(child) = &status.child {
            self.byte(u8::from(child.pinned.is_some()) | u8::from(child.outcome.is_some()) << 1);
        }
        self.byte(0xfa);
    }

    fn operation(&mut self, operation: &Operation) {
        let (tag, time) = tag(operation.phase);
        self.byte(tag);
        if let Some(time) = time {
            self.time(time);
        }
        self.byte(u8::try_from(operation.round % 251).unwrap_or(0));
        // One attempt in doubt can be settled by its own late result; of several, none by that alone. Beside a success none
        // is in doubt.
        let unclear = match operation.phase {
            Phase::Succeeded => 0,
            _ => u8::try_from(operation.unclear.len().min(2)).unwrap_or(2),
        };
        self.byte(u8::from(operation.effect) | u8::from(operation.barrier) << 1 | unclear << 2);
    }
}

/// A phase as a number, and the time that belongs to it.
fn tag(phase: Phase) -> (u8, Option<Time>) {
    match phase {
        Phase::Waiting => (0, None),
        Phase::Listed => (1, None),
        Phase::Settling { until } => (2, Some(until)),
        Phase::Scheduled { due_at } => (3, Some(due_at)),
        Phase::Awaiting { until } => (4, until),
        Phase::Sleeping { until } => (5, Some(until)),
        Phase::ChildRequested => (6, None),
        Phase::ChildUnderWay => (7, None),
        Phase::Succeeded => (8, None),
        Phase::Continued => (9, None),
        Phase::Unusable => (10, None),
        Phase::Skipped => (11, None),
        Phase::Refused => (12, None),
        Phase::Unresolved => (13, None),
        Phase::NothingToUndo => (14, None),
        Phase::Parked => (15, None),
    }
}
