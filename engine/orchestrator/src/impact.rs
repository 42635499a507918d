//! What a new revision means for sagas in flight, and what a revision has to be free of before it can be deleted. Sagas stay
//! pinned to theirs: this is for whoever applied it to know, and changes nothing.

use amends_core::fact::IncidentReason;
use amends_definitions::{Definition, definition_changes, step_changes};
use amends_store::{DefinitionRecord, IncidentFilter};

use crate::api::{ChangedIncidents, Impact};
use crate::limits::{IMPACT_GROUPS_MAX, IMPACT_TIME_MAX};
use crate::node::Node;
use crate::reads::not_answered;
use crate::refusal::{Kind, Refusal};
use crate::telemetry;

/// What a revision that was just applied means. None if the store does not say, or not soon: it is applied all the same.
pub(crate) async fn of_applied(node: &Node, record: &DefinitionRecord) -> Option<Impact> {
    let doing = "find out what a revision means for sagas in flight";
    match tokio::time::timeout(IMPACT_TIME_MAX, measure(node, record)).await {
        Ok(Ok(impact)) => Some(impact),
        Ok(Err(error)) => {
            telemetry::store_failed(doing, &error);
            None
        }
        Err(elapsed) => {
            telemetry::store_failed(doing, &elapsed);
            None
        }
    }
}

/// Takes a revision out of sight, unless a saga in flight is pinned to it.
pub(crate) async fn delete(
    node: &Node,
    namespace: &str,
    name: &str,
    revision: u32,
) -> Result<(), Refusal> {
    node.status.admit()?;
    node.namespace(namespace)?;
    let counts = node.store.count_active(namespace, name).await;
    let counts = counts.map_err(|error| not_answered("count sagas", &error))?;
    let in_flight = counts.iter().find(|(other, _)| *other == revision);
    if let Some((_, sagas)) = in_flight {
        let message = format!(
            "{sagas} sagas in flight are pinned to revision {revision} of {name:?}: wait for their ends, or end them"
        );
        let refusal = Refusal::new(Kind::FailedPrecondition, "DEFINITION_IN_USE", message);
        return Err(refusal.with_metadata("sagas", sagas.to_string()));
    }
    let deleted = node
        .store
        .delete_definition(namespace, name, revision)
        .await;
    // Whatever came of it: what is remembered may be wrong.
    node.definitions.forget(namespace, name, revision);
    if deleted.map_err(|error| not_answered("delete a definition", &error))? {
        telemetry::definition_deleted(namespace, name, revision);
        return Ok(());
    }
    let message =
        format!("there is no definition {name:?} revision {revision} in namespace {namespace:?}");
    Err(Refusal::new(
        Kind::NotFound,
        "DEFINITION_NOT_FOUND",
        message,
    ))
}

async fn measure(node: &Node, record: &DefinitionRecord) -> Result<Impact, amends_store::Error> {
    let (namespace, name) = (&record.namespace, &record.name);
    let mut in_flight = node.store.count_active(namespace, name).await?;
    in_flight.retain(|(revision, _)| *revision != record.revision);
    let newer = node.definitions.pinned(&*node.store, record.hash).await?;
    let Ok(newer) = newer else {
        let changed = Vec::new();
        return Ok(Impact { in_flight, changed });
    };
    let filter = IncidentFilter {
        definition: Some(name.clone()),
        ..IncidentFilter::of(namespace)
    };
    let groups = node
        .store
        .incident_groups(&filter, IMPACT_GROUPS_MAX)
        .await?;
    let mut changed = Vec::new();
    for group in groups {
        if group.revision == record.revision {
            continue;
        }
        let older = node
            .definitions
            .revision(&*node.store, namespace, name, Some(group.revision))
            .await?;
        let older = older.and_then(|older| older.definition.clone().ok());
        let changes = older.map(|older| match &group.step {
            Some(step) => step_changes(&older, &newer, step),
            None => own_changes(&older, &newer, group.reason),
        });
        if let Some(changes) = changes.filter(|changes| !changes.is_empty()) {
            changed.push(ChangedIncidents {
                fingerprint: group.fingerprint(),
                incidents: group.count,
                changes,
            });
        }
    }
    Ok(Impact { in_flight, changed })
}

/// What of a definition itself is other, as far as it can have led to an incident about a saga as a whole.
fn own_changes(older: &Definition, newer: &Definition, reason: IncidentReason) -> Vec<String> {
    let leads: &[&str] = match reason {
        IncidentReason::DeadlineExceeded => &["timeout", "onTimeout"],
        IncidentReason::ExpressionFailed => &["output"],
        _ => &[],
    };
    let changed = definition_changes(older, newer).into_iter();
    let led = changed.filter(|key| leads.contains(key));
    led.map(str::to_owned).collect()
}
