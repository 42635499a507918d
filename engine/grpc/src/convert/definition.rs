//! Definitions and diagnostics.

use amends_definitions::{Definition, Diagnostic, Severity};
use amends_orchestrator::DefinitionRecord;
use amends_proto::v1;

use super::time::timestamp;
use crate::name;

/// A revision with its source.
#[must_use]
pub fn full(record: &DefinitionRecord) -> v1::Definition {
    v1::Definition {
        source: record.source.clone(),
        ..listed(record)
    }
}

/// A revision as lists show it. A normal form that this binary cannot read leaves what it says empty.
#[must_use]
pub fn listed(record: &DefinitionRecord) -> v1::Definition {
    let definition = amends_definitions::from_normal_form(record.normal_form.as_bytes()).ok();
    let text = |of: fn(&Definition) -> Option<&str>| {
        definition
            .as_ref()
            .and_then(of)
            .unwrap_or_default()
            .to_owned()
    };
    let steps = definition
        .as_ref()
        .map(Definition::steps)
        .unwrap_or_default();
    v1::Definition {
        name: name::of_definition(&record.namespace, &record.name),
        revision: record.revision,
        hash: record.hash.to_string(),
        version: text(Definition::version),
        description: text(Definition::description),
        apply_time: timestamp(record.applied_at),
        source: String::new(),
        step_ids: steps.iter().map(|step| step.id().to_owned()).collect(),
    }
}

/// What a check found.
#[must_use]
pub fn diagnostic(diagnostic: &Diagnostic) -> v1::Diagnostic {
    let severity = match diagnostic.severity {
        Severity::Error => v1::diagnostic::Severity::Error,
        Severity::Warning => v1::diagnostic::Severity::Warning,
    };
    v1::Diagnostic {
        severity: severity.into(),
        code: diagnostic.code.to_owned(),
        message: diagnostic.message.clone(),
        help: diagnostic.help.clone().unwrap_or_default(),
        line: diagnostic.line,
        column: diagnostic.column,
    }
}
