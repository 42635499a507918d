//! Definitions and diagnostics.

use amends_definitions::{Diagnostic, Severity};
use amends_orchestrator::{DefinitionRecord, Impact};
use amends_proto::v1;
use serde::Deserialize;

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
    let outline = match serde_json::from_str(&record.normal_form) {
        Ok(NormalForm { v: 1, definition }) => definition,
        _ => Outline::default(),
    };
    v1::Definition {
        name: name::of_definition(&record.namespace, &record.name),
        revision: record.revision,
        hash: record.hash.to_string(),
        version: outline.version,
        description: outline.description,
        apply_time: timestamp(record.applied_at),
        source: String::new(),
        step_ids: outline.steps.into_iter().map(|step| step.id).collect(),
    }
}

#[derive(Debug, Deserialize)]
struct NormalForm {
    v: u32,
    definition: Outline,
}

/// What a list shows of a normal form. To read more is to compile expressions and schemas.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outline {
    version: String,
    description: String,
    steps: Vec<OutlineStep>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OutlineStep {
    id: String,
}

/// What a new revision means for sagas in flight.
#[must_use]
pub fn impact(impact: &Impact) -> v1::Impact {
    let in_flight = impact.in_flight.iter();
    let changed = impact.changed.iter();
    v1::Impact {
        in_flight: in_flight
            .map(|&(revision, sagas)| v1::RevisionInFlight { revision, sagas })
            .collect(),
        changed: changed
            .map(|changed| v1::ChangedIncidents {
                fingerprint: changed.fingerprint.to_string(),
                incidents: changed.incidents,
                changes: changed.changes.clone(),
            })
            .collect(),
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

#[cfg(test)]
mod tests {
    use amends_core::Time;
    use amends_definitions::{check, to_normal_form};

    use super::*;

    #[test]
    fn a_list_shows_what_the_document_says_without_compiling_it() {
        let source = "apiVersion: amends/v1
name: order
version: '1.10'
description: Sells \"things\".
steps:
  - {id: reserve, call: shop.reserve, compensate: {call: shop.release}}
  - {id: charge, kind: pivot, call: shop.charge}
";
        let definition = check(source.as_bytes()).definition.unwrap();
        let record = DefinitionRecord {
            namespace: "default".into(),
            name: "order".into(),
            revision: 3,
            hash: definition.hash(),
            source: source.into(),
            normal_form: to_normal_form(&definition),
            applied_at: Time::EPOCH,
        };
        let shown = listed(&record);
        assert_eq!(shown.version, definition.version().unwrap());
        assert_eq!(shown.description, definition.description().unwrap());
        let ids: Vec<_> = definition.steps().iter().map(|step| step.id()).collect();
        assert_eq!(shown.step_ids, ids);
        let unreadable = DefinitionRecord {
            normal_form: "{".into(),
            ..record
        };
        assert_eq!(listed(&unreadable).step_ids, Vec::<String>::new());
    }
}
