//! From a document to what is stored, and back: the only user of the language's reader here.

use std::sync::Arc;

use amends_definitions::{
    Definition, DefinitionHash, Diagnostic, Severity, check, from_normal_form, to_normal_form,
};
use amends_store::{DefinitionRecord, NewDefinition, Store};

use crate::api::Applied;
use crate::node::Node;
use crate::reads::not_answered;
use crate::refusal::{Kind, Refusal};
use crate::{impact, telemetry};

/// Reads a stored normal form.
pub(crate) fn read(normal_form: &str, hash: DefinitionHash) -> Result<Arc<Definition>, String> {
    let definition = from_normal_form(normal_form.as_bytes()).map_err(|error| error.to_string())?;
    if definition.hash() == hash {
        Ok(Arc::new(definition))
    } else {
        Err(format!(
            "the definition with the hash {hash} is stored with other content"
        ))
    }
}

/// Checks a document and stores it as the newest revision.
pub(crate) async fn apply(
    node: &Node,
    namespace: &str,
    source: &str,
    definition_id: Option<&str>,
) -> Result<Applied, Refusal> {
    node.namespace(namespace)?;
    node.status.admit()?;
    let checked = check(source.as_bytes());
    let Some(definition) = checked.definition else {
        return Err(refused(&checked.diagnostics));
    };
    if let Some(id) = definition_id
        && id != definition.name()
    {
        let message = format!(
            "the document names its definition {:?}, the request {id:?}",
            definition.name()
        );
        let refusal = Refusal::new(Kind::InvalidArgument, "NAME_MISMATCH", message);
        return Err(refusal.with_violation("definition_id", "must be the document's name"));
    }
    let new = NewDefinition {
        namespace: namespace.to_owned(),
        name: definition.name().to_owned(),
        hash: definition.hash(),
        source: source.to_owned(),
        normal_form: to_normal_form(&definition),
    };
    let (record, created) = put(&*node.store, &new).await?;
    telemetry::definition_applied(namespace, &record.name, record.revision, created);
    node.definitions.applied(record.clone());
    let impact = if created {
        impact::of_applied(node, &record).await
    } else {
        None
    };
    Ok(Applied {
        record,
        created,
        diagnostics: checked.diagnostics,
        impact,
    })
}

async fn put(store: &dyn Store, new: &NewDefinition) -> Result<(DefinitionRecord, bool), Refusal> {
    store
        .put_definition(new)
        .await
        .map_err(|error| not_answered("store a definition", &error))
}

/// A violation for each error, at `source:line:column`.
fn refused(diagnostics: &[Diagnostic]) -> Refusal {
    let errors = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error);
    let count = errors.clone().count();
    let message = format!("the document is not a definition: {count} errors");
    let refusal = Refusal::new(Kind::InvalidArgument, "DEFINITION_INVALID", message);
    errors.fold(refusal, |refusal, diagnostic| {
        let Diagnostic {
            code,
            message,
            help,
            line,
            column,
            ..
        } = diagnostic;
        let help = help
            .as_ref()
            .map(|help| format!(" ({help})"))
            .unwrap_or_default();
        refusal.with_violation(
            format!("source:{line}:{column}"),
            format!("{code}: {message}{help}"),
        )
    })
}
