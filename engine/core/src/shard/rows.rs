//! What a batch writes beside the journal: the rows of its sagas, and of their incidents.

use std::sync::Arc;

use crate::fact::{Incident, IncidentReason, Started};
use crate::id::SagaId;
use crate::journal::{IncidentInsert, IncidentName, SagaInsert, SagaUpdate, ShardBatch};
use crate::limits::CHILD_KEPT_MIN;
use crate::saga::{OpenIncident, Saga};
use crate::shard::entry::{Entry, InBatch, Row, Slot, Unreadable};
use crate::shard::machine::Shard;
use crate::shard::turns::Held;
use crate::time::Time;

impl Shard {
    /// Makes what the store gets of a batch that is decided and settled.
    pub(super) fn write(&mut self, batch: &mut InBatch) -> ShardBatch {
        let mut written = ShardBatch {
            shard: self.id,
            epoch: self.epoch,
            rows: std::mem::take(&mut batch.rows),
            inserts: Vec::new(),
            updates: Vec::new(),
            keys: std::mem::take(&mut batch.keys),
            incidents_opened: Vec::new(),
            incidents_closed: Vec::new(),
        };
        for (id, before) in &batch.before {
            match self.sagas.get_mut(id) {
                Some(Slot::Present(entry)) => {
                    write_saga(entry, &mut written);
                    write_incidents(before.as_ref(), &entry.saga, &mut written);
                }
                Some(Slot::Unreadable(unreadable)) => {
                    // Whether its turn had come is not to be read; where it stands in its line is known.
                    let granted = self.turns.get(*id).is_none_or(|held| held.turn.granted);
                    write_unreadable((*id, granted), before.as_ref(), unreadable, &mut written);
                }
                Some(Slot::Loading(_) | Slot::Absent) | None => {}
            }
        }
        written
    }
}

/// A saga's row, if it is new or changed.
fn write_saga(entry: &mut Entry, written: &mut ShardBatch) {
    let saga = &entry.saga;
    let row = Row {
        state: saga.state(),
        turn_granted: saga.turn_granted(),
        wake_at: entry.rests_until,
    };
    match entry.row {
        None => written.inserts.push(insert(entry, row)),
        Some(before) if before != row => written.updates.push(SagaUpdate {
            id: saga.id(),
            state: row.state,
            turn_granted: row.turn_granted,
            wake_at: row.wake_at,
            updated_at: saga.updated_at(),
            ended_at: saga.ended_at(),
            expires_at: expires_at(saga),
        }),
        Some(_) => {}
    }
    entry.row = Some(row);
}

fn insert(entry: &Entry, row: Row) -> SagaInsert {
    let saga = &entry.saga;
    let started = saga.started();
    SagaInsert {
        id: saga.id(),
        namespace: started.namespace.clone(),
        definition: started.definition.clone(),
        revision: started.revision,
        hash: started.hash,
        key: started.key.clone(),
        turn: Held::of(started, entry.position, row.turn_granted).map(|held| held.turn),
        parent: started.parent.as_ref().map(|parent| parent.saga),
        state: row.state,
        wake_at: row.wake_at,
        started_at: saga.started_at(),
        updated_at: saga.updated_at(),
        ended_at: saga.ended_at(),
        expires_at: expires_at(saga),
    }
}

fn expires_at(saga: &Saga) -> Option<Time> {
    let ended_at = saga.ended_at()?;
    let retention = saga.definition().retention();
    // For the store, a child's retention counts from its parent's end. When that is gone, nothing tells any more when it was: so
    // a parent is kept for as long as no wish of its own may find that its child is not there.
    let kept = if saga.parent().is_some() || saga.has_asked_for_child() {
        retention.max(CHILD_KEPT_MIN)
    } else {
        retention
    };
    Some(ended_at + kept)
}

/// What became of a saga's incidents in this batch. The end of a saga closes them, but not what it leaves behind.
fn write_incidents(before: Option<&Slot>, saga: &Arc<Saga>, written: &mut ShardBatch) {
    let before = match before {
        Some(Slot::Present(before)) => Some(&before.saga),
        Some(Slot::Loading(_) | Slot::Absent | Slot::Unreadable(_)) | None => None,
    };
    let open_before = before.map_or(&[][..], |before| before.incidents());
    if open_before.is_empty() && saga.incidents().is_empty() {
        return;
    }
    let was_open = |open: &OpenIncident| {
        before.is_some_and(|before| stays_open(before, open) && has_incident(before, open.number))
    };
    for open in saga.incidents() {
        if stays_open(saga, open) && !was_open(open) {
            let step = open.incident.place.map(|place| place.step);
            let step = step.map(|step| saga.definition().step(step).id().to_owned());
            written.incidents_opened.push(IncidentInsert {
                opened_at: open.opened_at,
                ..incident(saga.id(), saga.started(), open.number, &open.incident, step)
            });
        }
    }
    for open in open_before {
        let still = stays_open(saga, open) && has_incident(saga, open.number);
        if was_open(open) && !still {
            written.incidents_closed.push(IncidentName {
                saga: saga.id(),
                number: open.number,
            });
        }
    }
}

/// The incident of this number is open. They stand in the order of their numbers.
fn has_incident(saga: &Saga, number: u32) -> bool {
    let incidents = saga.incidents();
    incidents
        .binary_search_by_key(&number, |known| known.number)
        .is_ok()
}

/// It is still for somebody to look at: the saga has not ended, or this is what it left behind.
fn stays_open(saga: &Saga, open: &OpenIncident) -> bool {
    let Some(ended_at) = saga.ended_at() else {
        return true;
    };
    let leak = match open.incident.reason {
        IncidentReason::PossibleLeakedEffect | IncidentReason::ChildNotUndone => true,
        IncidentReason::PivotInDoubt
        | IncidentReason::StepRefused
        | IncidentReason::StepExhausted
        | IncidentReason::CompensationRefused
        | IncidentReason::CompensationExhausted
        | IncidentReason::OutputUnusable
        | IncidentReason::ExpressionFailed
        | IncidentReason::HistoryFull
        | IncidentReason::RecordUnreadable
        | IncidentReason::DefinitionMissing
        | IncidentReason::RecordRefused
        | IncidentReason::Paused
        | IncidentReason::DeadlineExceeded
        | IncidentReason::RoutedToPark
        | IncidentReason::SignalTimeout => false,
    };
    open.opened_at > ended_at || leak && open.opened_at == ended_at
}

fn incident(
    saga: SagaId,
    started: &Started,
    number: u32,
    incident: &Incident,
    step: Option<String>,
) -> IncidentInsert {
    IncidentInsert {
        name: IncidentName { saga, number },
        namespace: started.namespace.clone(),
        definition: started.definition.clone(),
        revision: started.revision,
        step,
        item: incident.place.map_or(0, |place| place.item),
        operation: incident.operation,
        reason: incident.reason,
        code: incident.code.clone(),
        message: incident.message.clone(),
        opened_at: Time::default(),
    }
}

/// A saga that cannot be read, once that is recorded.
fn write_unreadable(
    (id, turn_granted): (SagaId, bool),
    before: Option<&Slot>,
    unreadable: &Unreadable,
    written: &mut ShardBatch,
) {
    let known = match before {
        Some(Slot::Unreadable(before)) => before.state,
        Some(Slot::Present(_) | Slot::Loading(_) | Slot::Absent) | None => return,
    };
    let Some(row) = written.rows.iter().rfind(|row| row.saga == id) else {
        return;
    };
    if known == unreadable.state {
        return;
    }
    let at = row.at;
    written.updates.push(SagaUpdate {
        id,
        state: unreadable.state,
        turn_granted,
        wake_at: None,
        updated_at: at,
        ended_at: None,
        expires_at: None,
    });
    // Without its first row nobody knows whose incident it would be; its state is listed all the same.
    if let Some((started, count)) = unreadable.known.as_deref() {
        written.incidents_opened.push(IncidentInsert {
            opened_at: at,
            ..incident(id, started, count + 1, &unreadable.incident(), None)
        });
    }
}
