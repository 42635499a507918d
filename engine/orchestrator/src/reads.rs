//! Reads, answered from what is committed.

use std::sync::Arc;

use amends_core::SagaId;
use amends_core::saga::Saga;
use amends_store::{DefinitionRecord, ListQuery, SagaHistory, SagaRecord, record};

use crate::api::{HistoryPage, SagaView};
use crate::definitions::Revision;
use crate::loading::{has_expired, whole_history};
use crate::node::Node;
use crate::refusal::{Kind, Refusal};
use crate::telemetry;

/// A revision of a definition; the newest if no number is given.
pub(crate) async fn revision(
    node: &Node,
    namespace: &str,
    name: &str,
    number: Option<u32>,
) -> Result<Arc<Revision>, Refusal> {
    node.namespace(namespace)?;
    stored_revision(node, namespace, name, number).await
}

/// The newest revision of a definition, whether its namespace is declared or not.
pub(crate) async fn newest_revision(
    node: &Node,
    namespace: &str,
    name: &str,
) -> Result<Arc<Revision>, Refusal> {
    stored_revision(node, namespace, name, None).await
}

async fn stored_revision(
    node: &Node,
    namespace: &str,
    name: &str,
    number: Option<u32>,
) -> Result<Arc<Revision>, Refusal> {
    let found = node
        .definitions
        .revision(&*node.store, namespace, name, number)
        .await;
    found
        .map_err(|error| not_answered("read a definition", &error))?
        .ok_or_else(|| {
            let revision = number
                .map(|number| format!(" revision {number}"))
                .unwrap_or_default();
            let message =
                format!("there is no definition {name:?}{revision} in namespace {namespace:?}");
            Refusal::new(Kind::NotFound, "DEFINITION_NOT_FOUND", message)
        })
}

/// A page of newest revisions.
pub(crate) async fn list_definitions(
    node: &Node,
    namespace: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<DefinitionRecord>, Refusal> {
    node.namespace(namespace)?;
    let page = node.store.list_definitions(namespace, after, limit).await;
    page.map_err(|error| not_answered("list definitions", &error))
}

/// A saga, folded from what is committed.
pub(crate) async fn saga(node: &Node, namespace: &str, id: SagaId) -> Result<SagaView, Refusal> {
    node.namespace(namespace)?;
    let history = whole_history(&*node.store, id).await;
    let history = history.map_err(|error| not_answered("read a saga", &error))?;
    let SagaHistory { saga: record, rows } = in_namespace(history, namespace, id)?;
    let definition = node.definitions.pinned(&*node.store, record.hash).await;
    let definition = definition.map_err(|error| not_answered("read a definition", &error))?;
    let saga = match (definition, rows) {
        (Err(why), _) => Err(why),
        (_, Err(why)) => Err(why.to_string()),
        (Ok(definition), Ok(rows)) => {
            Saga::replay(id, definition, &rows).map_err(|why| why.to_string())
        }
    };
    Ok(SagaView { record, saga })
}

/// A page of sagas.
pub(crate) async fn list(node: &Node, query: &ListQuery) -> Result<Vec<SagaRecord>, Refusal> {
    node.namespace(&query.namespace)?;
    node.store
        .list(query)
        .await
        .map_err(|error| not_answered("list sagas", &error))
}

/// A saga's row, without its history; none if there is no such saga in the namespace.
pub(crate) async fn record(
    node: &Node,
    namespace: &str,
    id: SagaId,
) -> Result<Option<SagaRecord>, Refusal> {
    node.namespace(namespace)?;
    // No row of its history is behind the last position.
    let found = node.store.history(id, u64::MAX, 1).await;
    let found = found.map_err(|error| not_answered("read a saga", &error))?;
    let record = found.map(|history| history.saga);
    Ok(record.filter(|record| *record.namespace == *namespace))
}

/// A page of a saga's rows.
pub(crate) async fn history(
    node: &Node,
    namespace: &str,
    id: SagaId,
    from: u64,
    limit: usize,
) -> Result<HistoryPage, Refusal> {
    node.namespace(namespace)?;
    let history = node.store.history(id, from.max(1), limit).await;
    let history = history.map_err(|error| not_answered("read a history", &error))?;
    let history = history.filter(|history| from > 1 || !has_expired(history));
    let SagaHistory { saga: record, rows } = in_namespace(history, namespace, id)?;
    let rows = rows.map_err(|error| {
        let message = format!("the history cannot be read by this version: {error}");
        Refusal::new(Kind::FailedPrecondition, "RECORD_UNREADABLE", message)
    })?;
    let definition = node.definitions.pinned(&*node.store, record.hash).await;
    let definition = definition.map_err(|error| not_answered("read a definition", &error))?;
    // Without the definition the facts are still worth showing: their steps go by number.
    let step_ids = definition.map_or_else(
        |_| Vec::new(),
        |definition| {
            definition
                .steps()
                .iter()
                .map(|step| step.id().to_owned())
                .collect()
        },
    );
    let bodies = rows
        .iter()
        .map(|row| row.facts.iter().map(record::fact_to_json).collect())
        .collect();
    Ok(HistoryPage {
        record,
        rows,
        step_ids,
        bodies,
    })
}

/// The store did not answer.
pub(crate) fn not_answered(doing: &'static str, error: &amends_store::Error) -> Refusal {
    telemetry::store_failed(doing, error);
    Refusal::unavailable(format!("the database did not answer ({doing}): try again"))
}

pub(crate) fn in_namespace(
    history: Option<SagaHistory>,
    namespace: &str,
    id: SagaId,
) -> Result<SagaHistory, Refusal> {
    // A saga of another namespace is as good as none: no answer tells that it exists.
    history
        .filter(|history| *history.saga.namespace == *namespace)
        .ok_or_else(|| no_saga(namespace, id))
}

pub(crate) fn no_saga(namespace: &str, id: SagaId) -> Refusal {
    Refusal::new(
        Kind::NotFound,
        "SAGA_NOT_FOUND",
        format!("there is no saga {id} in namespace {namespace:?}"),
    )
}
