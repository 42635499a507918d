//! Operators: they look at what is committed, mostly at what is parked, and say what is to be done about it; sometimes they
//! are wrong about it, or late. Deliberately not here: what an act must lead to (the checker).

use amends_core::OperationKind;
use amends_core::SagaId;
use amends_core::fact::IncidentReason;
use amends_core::journal::SagaState;
use amends_core::shard::{Order, Target, Verb};
use amends_definitions::Payload;

use crate::clients::NAMESPACE;
use crate::history::{Spot, Wish};
use crate::world::World;

/// An output that a person gives.
const BY_HAND: &str = "{\"status\":\"by hand\",\"count\":1}";

impl World {
    /// Somebody looks at the sagas, and does something about one of them.
    pub fn operate(&mut self) {
        let all: Vec<(SagaId, SagaState)> = self
            .store
            .sagas()
            .map(|saga| (saga.id, saga.state))
            .collect();
        let parked: Vec<SagaId> = all
            .iter()
            .filter(|(_, state)| *state == SagaState::Parked)
            .map(|(saga, _)| *saga)
            .collect();
        let parked = self.dice.pick(&parked).copied();
        let any = self.dice.pick(&all).map(|(saga, _)| *saga);
        let saga = match (parked, any) {
            (Some(parked), _) if self.dice.chance(700) => parked,
            (_, Some(any)) => any,
            _ => return,
        };
        let wish = match self.mend(saga) {
            Some(wish) if self.dice.chance(800) => wish,
            _ => self.general(),
        };
        self.order(saga, wish);
    }

    /// What concerns a saga as a whole.
    fn general(&mut self) -> Wish {
        let wishes = [
            Wish::Compensate,
            Wish::AskOnly,
            Wish::Pause,
            Wish::Resume,
            Wish::Resume,
            // Mostly of a saga that has no such question.
            Wish::ResolveSaga(BY_HAND.into()),
        ];
        self.dice.pick(&wishes).expect("there are some").clone()
    }

    /// What concerns a step: one that a person was asked about, or now and then any.
    fn mend(&mut self, saga: SagaId) -> Option<Wish> {
        let folded = self.store.folded(saga)?;
        let without_output = folded.incidents().iter().any(|open| {
            let about = (open.incident.place, open.incident.reason);
            about == (None, IncidentReason::ExpressionFailed)
        });
        if without_output && self.dice.chance(700) {
            return Some(Wish::ResolveSaga(BY_HAND.into()));
        }
        let asked: Vec<(amends_core::id::Place, OperationKind)> = folded
            .incidents()
            .iter()
            .filter_map(|open| {
                let operation = open.incident.operation;
                // Of a leak nobody says which operation: it is what was not undone.
                Some((
                    open.incident.place?,
                    operation.unwrap_or(OperationKind::Compensate),
                ))
            })
            .collect();
        let places: Vec<(amends_core::id::Place, OperationKind)> = folded
            .places()
            .map(|place| (place, OperationKind::Forward))
            .collect();
        let doubt: Vec<bool> = asked
            .iter()
            .map(|(place, _)| {
                let forward = &folded.place(*place).forward;
                !forward.effect && !forward.unclear.is_empty()
            })
            .collect();
        let definition = std::sync::Arc::clone(folded.definition());
        let wrong = asked.is_empty() || self.dice.chance(100);
        let (place, operation) = *self.dice.pick(if wrong { &places } else { &asked })?;
        let at = asked.iter().position(|asked| *asked == (place, operation));
        let doubt = at.is_some_and(|at| doubt[at]);
        let unclear = operation == OperationKind::Compensate
            && !folded.place(place).compensation.unclear.is_empty();
        let spot = Spot {
            step: definition.step(place.step).id().to_owned(),
            item: place.item,
            operation,
        };
        let number = self.dice.below(10);
        let input = format!("{{\"id\":\"by hand\",\"count\":{number}}}");
        let output = format!("{{\"count\":{number},\"status\":\"by hand\"}}");
        if doubt && self.dice.chance(500) {
            return Some(Wish::ResolveAbsent(spot));
        }
        // What it says of it is not always so; and then another input is safe all the same, behind a barrier.
        if unclear && self.dice.chance(400) {
            return Some(Wish::ResolveAbsent(spot));
        }
        Some(match self.dice.below(10) {
            0..3 => Wish::Retry(spot, None),
            3..5 => Wish::Retry(spot, Some(input)),
            5 => Wish::Skip(spot),
            6 | 7 => Wish::Resolve(spot, output),
            _ => Wish::ResolveAbsent(spot),
        })
    }
}

/// An order as the engine takes it.
pub fn order(saga: SagaId, wish: &Wish) -> Order {
    let target = |spot: &Spot| Target {
        step: spot.step.as_str().into(),
        item: spot.item,
        operation: spot.operation,
    };
    let payload = |json: &String| Payload::trusted(json.clone().into_bytes().into());
    Order {
        namespace: NAMESPACE.into(),
        saga,
        by: "bob".into(),
        reason: "it has to be".into(),
        dry_run: *wish == Wish::AskOnly,
        verb: match wish {
            Wish::Compensate | Wish::AskOnly => Verb::Compensate,
            Wish::Pause => Verb::Pause,
            Wish::Resume => Verb::Resume,
            Wish::Terminate => Verb::Terminate,
            Wish::Retry(spot, input) => Verb::Retry {
                target: target(spot),
                input: input.as_ref().map(payload),
            },
            Wish::Skip(spot) => Verb::Skip {
                target: target(spot),
            },
            Wish::Resolve(spot, output) => Verb::Resolve {
                target: target(spot),
                output: payload(output),
            },
            Wish::ResolveSaga(output) => Verb::ResolveSaga {
                output: payload(output),
            },
            Wish::ResolveAbsent(spot) => Verb::ResolveAbsent {
                target: target(spot),
            },
        },
    }
}
