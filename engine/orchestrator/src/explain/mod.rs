//! Why a saga is where it is: from its folded state, its history, whose turn it is, and what the dispatcher knows of its
//! commands. What is read together may be a moment apart: an explanation is for people, never for decisions.

mod attempts;
mod left;
mod sentences;
mod waits;

use amends_core::journal::JournalRow;
use amends_core::saga::Saga;
use amends_core::{AttemptName, OperationKind, OperationName, Place, SagaId, Time};
use amends_store::{SagaHistory, TurnRecord};

use crate::api::SagaView;
use crate::dispatch::Whereabouts;
use crate::explanation::{At, Explanation, Sentence, Topic};
use crate::limits::{EXPLAINED_ATTEMPTS_MAX, EXPLAINED_ENTRIES_MAX, EXPLAINED_MESSAGE_BYTES_MAX};
use crate::loading::whole_history;
use crate::node::Node;
use crate::reads::{in_namespace, not_answered};
use crate::refusal::Refusal;

/// Explains a saga.
pub(crate) async fn explain(
    node: &Node,
    namespace: &str,
    id: SagaId,
) -> Result<Explanation, Refusal> {
    node.namespace(namespace)?;
    let history = whole_history(&*node.store, id).await;
    let history = history.map_err(|error| not_answered("read a saga", &error))?;
    let SagaHistory { saga: record, rows } = in_namespace(history, namespace, id)?;
    let definition = node.definitions.pinned(&*node.store, record.hash).await;
    let definition = definition.map_err(|error| not_answered("read a definition", &error))?;
    let rows = rows.map_err(|why| why.to_string());
    let saga = match (definition, &rows) {
        (Err(why), _) => Err(why),
        (_, Err(why)) => Err(why.clone()),
        (Ok(definition), Ok(rows)) => {
            Saga::replay(id, definition, rows).map_err(|why| why.to_string())
        }
    };
    let saga = match saga {
        Ok(saga) => saga,
        Err(why) => return Ok(unreadable(record, why)),
    };
    let now = node.clock.now();
    let turns = if saga.terminal() || saga.turn_granted() {
        Vec::new()
    } else {
        let turns = node.store.turns(id.shard()).await;
        turns.map_err(|error| not_answered("read turns", &error))?
    };
    let known = Known {
        rows: rows.unwrap_or_default(),
        whereabouts: node.registry.whereabouts(id, now),
        turns,
        now,
        saga,
    };
    let (waits_for, owed) = (waits::waits(&known), waits::owed(&known));
    Ok(bounded(Explanation {
        sentences: sentences::sentences(&known, &waits_for, &owed),
        attempts: attempts::attempts(&known),
        owed,
        waits_for,
        view: SagaView {
            record,
            saga: Ok(known.saga),
        },
    }))
}

/// A saga with thousands of items or attempts is explained by a part of them, and says so: an explanation has to fit into
/// an answer, most of all for the sagas that need one.
fn bounded(mut explanation: Explanation) -> Explanation {
    let mut left_out = Vec::new();
    let surplus = explanation
        .attempts
        .len()
        .saturating_sub(EXPLAINED_ATTEMPTS_MAX);
    explanation.attempts.drain(..surplus);
    for attempt in &mut explanation.attempts {
        if let Some(message) = &mut attempt.message {
            let end = message.floor_char_boundary(EXPLAINED_MESSAGE_BYTES_MAX);
            message.truncate(end);
        }
    }
    left_out.push((surplus, "older attempts"));
    let mut cut = |surplus: usize, what: &'static str| left_out.push((surplus, what));
    cut(shorten(&mut explanation.owed), "owed compensations");
    cut(
        shorten(&mut explanation.waits_for),
        "things that it waits for",
    );
    cut(shorten(&mut explanation.sentences), "sentences");
    for (count, what) in left_out.into_iter().filter(|(count, _)| *count > 0) {
        explanation.sentences.push(Sentence {
            topic: Topic::State,
            at: None,
            text: format!(
                "{count} {what} are not shown here: `amends saga history` has everything."
            ),
        });
    }
    explanation
}

/// Cuts a list at its bound, and says how many fell off.
fn shorten<T>(list: &mut Vec<T>) -> usize {
    let surplus = list.len().saturating_sub(EXPLAINED_ENTRIES_MAX);
    list.truncate(EXPLAINED_ENTRIES_MAX);
    surplus
}

/// What an explanation is made of.
struct Known {
    saga: Saga,
    rows: Vec<JournalRow>,
    /// Its commands that are with a participant, or wait for one.
    whereabouts: Vec<(AttemptName, Whereabouts)>,
    /// Who has or waits for a turn in its shard, if it waits for one.
    turns: Vec<TurnRecord>,
    now: Time,
}

impl Known {
    fn at(&self, place: Place) -> At {
        At {
            step: self.saga.definition().step(place.step).id().to_owned(),
            item: place.item,
        }
    }

    /// A place in words.
    fn named(&self, place: Place) -> String {
        named(&self.at(place))
    }

    /// When something last happened there.
    fn last_at(&self, place: Place) -> Option<Time> {
        let about = |row: &&JournalRow| row.facts.iter().any(|fact| fact.place() == Some(place));
        self.rows.iter().rev().find(about).map(|row| row.at)
    }

    /// Where the current attempt of an operation is.
    fn whereabouts(&self, place: Place, operation: OperationKind) -> Option<&Whereabouts> {
        let current = self.saga.operation(place, operation);
        let name = AttemptName {
            saga: self.saga.id(),
            name: OperationName {
                step: self.saga.definition().step(place.step).id().into(),
                item: place.item,
                round: current.round,
                operation,
            },
            attempt: current.attempt,
        };
        let found = self.whereabouts.iter().find(|(other, _)| *other == name);
        found.map(|(_, whereabouts)| whereabouts)
    }
}

fn named(at: &At) -> String {
    match at.item {
        0 => format!("step {}", at.step),
        item => format!("item {item} of step {}", at.step),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Nothing can be told but that it cannot be read.
fn unreadable(record: amends_store::SagaRecord, why: String) -> Explanation {
    Explanation {
        sentences: vec![sentences::unreadable(&why)],
        attempts: Vec::new(),
        owed: Vec::new(),
        waits_for: Vec::new(),
        view: SagaView {
            record,
            saga: Err(why),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_cut_at_its_bound_and_not_before() {
        let mut list = vec![0; EXPLAINED_ENTRIES_MAX];
        assert_eq!((shorten(&mut list), list.len()), (0, EXPLAINED_ENTRIES_MAX));
        list.extend([1, 2]);
        assert_eq!((shorten(&mut list), list.len()), (2, EXPLAINED_ENTRIES_MAX));
    }
}
