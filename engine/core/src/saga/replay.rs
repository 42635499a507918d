//! The fold of a saga's journal rows: one function for recovery, reads and tests.

use std::sync::Arc;

use amends_definitions::Definition;

use crate::fact::Fact;
use crate::id::{Place, SagaId};
use crate::journal::JournalRow;
use crate::outcome::OperationKind;
use crate::saga::evolve::{begin, evolve};
use crate::saga::place::{Operation, Phase};
use crate::saga::state::Saga;

/// Why rows are not the history of a saga.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the row at position {position} does not follow from those before it: {message}")]
pub struct ReplayError {
    /// Where.
    pub position: u64,
    /// Why.
    pub message: String,
}

impl Saga {
    /// Folds a saga's rows.
    ///
    /// # Errors
    /// If the rows are not the history of one saga of this definition.
    pub fn replay(
        id: SagaId,
        definition: Arc<Definition>,
        rows: &[JournalRow],
    ) -> Result<Self, ReplayError> {
        let steps = definition.steps().len();
        let mut definition = Some(definition);
        let mut saga: Option<Saga> = None;
        for row in rows {
            let fail = |message: &str| ReplayError {
                position: row.position,
                message: message.to_owned(),
            };
            for fact in &row.facts {
                if fact
                    .place()
                    .is_some_and(|place| place.step.index() >= steps)
                {
                    return Err(fail("it is about a step that the definition does not have"));
                }
                match (&mut saga, fact) {
                    (None, Fact::Started(started)) => {
                        let definition = definition
                            .take()
                            .ok_or_else(|| fail("the saga starts twice"))?;
                        saga = Some(begin(id, definition, started.clone(), row.at));
                    }
                    (Some(_), Fact::Started(_)) => return Err(fail("the saga starts twice")),
                    (None, _) => return Err(fail("the saga has not started")),
                    (Some(saga), fact) => evolve(saga, fact, row.at),
                }
            }
        }
        let saga = saga.ok_or(ReplayError {
            position: 0,
            message: "there are no facts".into(),
        })?;
        match saga.calls_nobody() {
            Some(step) => Err(ReplayError {
                position: rows.last().map_or(0, |row| row.position),
                message: format!("an attempt of `{step}` is under way, and it calls nobody"),
            }),
            None => Ok(saga),
        }
    }

    /// A step with an attempt under way that nobody can make: no saga ever recorded that.
    fn calls_nobody(&self) -> Option<&str> {
        let scheduled = |operation: &Operation| matches!(operation.phase, Phase::Scheduled { .. });
        let impossible = |place: &Place| {
            let status = self.place(*place);
            let can = |operation| self.action(place.step, operation).is_some();
            let child = || {
                let child = status.child.as_ref();
                child.is_some_and(|child| child.pinned.is_some())
            };
            let query = status.query.as_ref();
            scheduled(&status.forward) && !can(OperationKind::Forward)
                || scheduled(&status.compensation) && !can(OperationKind::Compensate) && !child()
                || query.is_some_and(|query| scheduled(query)) && !can(OperationKind::Query)
        };
        let place = self.places().find(impossible)?;
        Some(self.definition.step(place.step).id())
    }
}
