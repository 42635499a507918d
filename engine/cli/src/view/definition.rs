//! Definitions: one with its source, lists of them, and what an application did.

use amends_proto::v1 as proto;
use serde::Serialize;

use super::{non_empty, rfc_3339, word};
use crate::connection::id_of;
use crate::output::View;
use crate::output::grid::{grid, or_dash};

/// A revision of a definition.
#[derive(Debug, Serialize)]
pub struct DefinitionView {
    name: String,
    id: String,
    revision: u32,
    hash: String,
    version: Option<String>,
    description: Option<String>,
    apply_time: Option<String>,
    step_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

impl From<proto::Definition> for DefinitionView {
    fn from(definition: proto::Definition) -> Self {
        Self {
            id: id_of(&definition.name).to_owned(),
            name: definition.name,
            revision: definition.revision,
            hash: definition.hash,
            version: non_empty(&definition.version),
            description: non_empty(&definition.description),
            apply_time: rfc_3339(definition.apply_time.as_ref()),
            step_ids: definition.step_ids,
            source: non_empty(&definition.source),
        }
    }
}

impl View for DefinitionView {
    /// The YAML itself, as it was applied: what a person wants to read, and can apply again.
    fn table(&self) -> String {
        let mut source = self.source.clone().unwrap_or_default();
        if !source.ends_with('\n') {
            source.push('\n');
        }
        source
    }
}

/// Definitions by name.
#[derive(Debug, Serialize)]
pub struct DefinitionListView {
    definitions: Vec<DefinitionView>,
}

impl From<Vec<proto::Definition>> for DefinitionListView {
    fn from(definitions: Vec<proto::Definition>) -> Self {
        Self {
            definitions: definitions.into_iter().map(DefinitionView::from).collect(),
        }
    }
}

impl View for DefinitionListView {
    fn table(&self) -> String {
        let rows = self.definitions.iter().map(|definition| {
            vec![
                definition.id.clone(),
                definition.revision.to_string(),
                or_dash(definition.version.as_deref().unwrap_or("")),
                or_dash(definition.apply_time.as_deref().unwrap_or("")),
                definition.hash.chars().take(12).collect(),
                definition.step_ids.join(", "),
            ]
        });
        grid(
            &[
                "DEFINITION",
                "REVISION",
                "VERSION",
                "APPLIED",
                "HASH",
                "STEPS",
            ],
            rows,
        )
    }
}

/// What applications did.
#[derive(Debug, Serialize)]
pub struct AppliedView {
    /// One for each file.
    pub applied: Vec<AppliedFileView>,
}

/// What the application of one file did.
#[derive(Debug, Serialize)]
pub struct AppliedFileView {
    file: String,
    created: bool,
    definition: Option<DefinitionView>,
    diagnostics: Vec<DiagnosticView>,
    impact: Option<ImpactView>,
}

/// What a new revision means for sagas in flight.
#[derive(Debug, Serialize)]
struct ImpactView {
    in_flight: Vec<RevisionView>,
    changed: Vec<ChangedView>,
}

#[derive(Debug, Serialize)]
struct RevisionView {
    revision: u32,
    sagas: u64,
}

#[derive(Debug, Serialize)]
struct ChangedView {
    fingerprint: String,
    incidents: u64,
    changes: Vec<String>,
}

impl From<proto::Impact> for ImpactView {
    fn from(impact: proto::Impact) -> Self {
        let in_flight = impact.in_flight.into_iter();
        let changed = impact.changed.into_iter();
        Self {
            in_flight: in_flight
                .map(|one| RevisionView {
                    revision: one.revision,
                    sagas: one.sagas,
                })
                .collect(),
            changed: changed
                .map(|one| ChangedView {
                    fingerprint: one.fingerprint,
                    incidents: one.incidents,
                    changes: one.changes,
                })
                .collect(),
        }
    }
}

impl AppliedFileView {
    /// From the server's answer about a file; the source is left out.
    #[must_use]
    pub fn new(file: &str, answer: proto::ApplyDefinitionResponse) -> Self {
        Self {
            file: file.to_owned(),
            created: answer.created,
            impact: answer.impact.map(ImpactView::from),
            definition: answer.definition.map(|definition| DefinitionView {
                source: None,
                ..DefinitionView::from(definition)
            }),
            diagnostics: answer
                .diagnostics
                .into_iter()
                .map(DiagnosticView::from)
                .collect(),
        }
    }

    /// What the checks found, one line each, with the file's name.
    pub fn findings(&self) -> impl Iterator<Item = String> {
        self.diagnostics
            .iter()
            .map(|diagnostic| diagnostic.line_in(&self.file))
    }
}

impl AppliedFileView {
    /// What it means for sagas in flight, one line each; nothing if none is.
    pub fn impact(&self) -> impl Iterator<Item = String> {
        let impact = self.impact.iter();
        let name = self.definition.as_ref().map_or("", |it| it.id.as_str());
        let in_flight = impact.clone().flat_map(|impact| &impact.in_flight);
        let in_flight = in_flight.map(move |RevisionView { revision, sagas }| {
            let (word, stay) = if *sagas == 1 {
                ("saga", "stays")
            } else {
                ("sagas", "stay")
            };
            format!("{sagas} {word} in flight {stay} on revision {revision} of {name}")
        });
        let changed = impact.flat_map(|impact| &impact.changed);
        let changed = changed.map(|ChangedView { fingerprint, incidents, changes }| {
            let (word, they) = if *incidents == 1 {
                ("incident", "it")
            } else {
                ("incidents", "they")
            };
            let change = if changes.iter().any(|change| change == "removed") {
                "removes that step".to_owned()
            } else if fingerprint.contains("/-/") {
                format!("changes {} of the saga", changes.join(", "))
            } else {
                format!("changes {} of that step", changes.join(", "))
            };
            format!(
                "{incidents} open {word} at {fingerprint}: the new revision {change}, and {they} would have gone another way; \
                 `amends incident list --fingerprint {fingerprint}`"
            )
        });
        in_flight.chain(changed)
    }
}

impl View for AppliedView {
    fn table(&self) -> String {
        let rows = self.applied.iter().map(|file| {
            let definition = file.definition.as_ref();
            vec![
                definition.map_or("-".to_owned(), |definition| definition.id.clone()),
                definition.map_or("-".to_owned(), |definition| definition.revision.to_string()),
                if file.created { "applied" } else { "unchanged" }.to_owned(),
                file.file.clone(),
            ]
        });
        grid(&["DEFINITION", "REVISION", "RESULT", "FILE"], rows)
    }
}

/// What a check found.
#[derive(Debug, Serialize)]
pub struct DiagnosticView {
    severity: String,
    code: String,
    line: u32,
    column: u32,
    message: String,
    help: Option<String>,
}

impl From<proto::Diagnostic> for DiagnosticView {
    fn from(diagnostic: proto::Diagnostic) -> Self {
        let severity = proto::diagnostic::Severity::try_from(diagnostic.severity).ok();
        Self {
            severity: word(
                severity.map(|severity| severity.as_str_name()),
                "SEVERITY_",
                diagnostic.severity,
            ),
            code: diagnostic.code,
            line: diagnostic.line,
            column: diagnostic.column,
            message: diagnostic.message,
            help: non_empty(&diagnostic.help),
        }
    }
}

impl DiagnosticView {
    /// It prevents the application.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == "error"
    }

    /// `file:line:column: severity[CODE]: message; help`.
    #[must_use]
    pub fn line_in(&self, file: &str) -> String {
        let help = self
            .help
            .as_ref()
            .map_or(String::new(), |help| format!("; {help}"));
        format!(
            "{file}:{}:{}: {}[{}]: {}{help}",
            self.line, self.column, self.severity, self.code, self.message
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> proto::Definition {
        proto::Definition {
            name: "namespaces/default/definitions/place-order".to_owned(),
            revision: 2,
            hash: "0123456789abcdef".to_owned(),
            step_ids: vec!["a".to_owned(), "b".to_owned()],
            source: "name: place-order".to_owned(),
            ..proto::Definition::default()
        }
    }

    #[test]
    fn a_definition_prints_as_its_source() {
        assert_eq!(
            DefinitionView::from(definition()).table(),
            "name: place-order\n"
        );
    }

    #[test]
    fn a_list_has_a_line_for_each() {
        assert_eq!(
            DefinitionListView::from(vec![definition()]).table(),
            "DEFINITION   REVISION  VERSION  APPLIED  HASH          STEPS\n\
             place-order  2         -        -        0123456789ab  a, b\n"
        );
    }

    #[test]
    fn an_application_says_what_it_did_and_what_it_found() {
        let answer = proto::ApplyDefinitionResponse {
            definition: Some(definition()),
            created: true,
            diagnostics: vec![proto::Diagnostic {
                severity: proto::diagnostic::Severity::Warning.into(),
                code: "UNBOUNDED_RETRY".to_owned(),
                message: "it never ends".to_owned(),
                help: "set maxAttempts".to_owned(),
                line: 3,
                column: 5,
            }],
            impact: Some(proto::Impact {
                in_flight: vec![proto::RevisionInFlight {
                    revision: 1,
                    sagas: 2,
                }],
                changed: [
                    ("charge/TIMEOUT", &["retry", "input"][..]),
                    ("-/EXPRESSION_FAILED", &["output"]),
                    ("ship/NO", &["removed"]),
                ]
                .map(|(at, changes)| proto::ChangedIncidents {
                    fingerprint: format!("place-order@1/{at}"),
                    incidents: 1,
                    changes: changes.iter().map(|&change| change.to_owned()).collect(),
                })
                .into(),
            }),
        };
        let file = AppliedFileView::new("a.saga.yaml", answer);
        let findings: Vec<String> = file.findings().collect();
        assert_eq!(
            findings,
            ["a.saga.yaml:3:5: warning[UNBOUNDED_RETRY]: it never ends; set maxAttempts"]
        );
        let impact: Vec<String> = file.impact().collect();
        assert_eq!(
            impact[0],
            "2 sagas in flight stay on revision 1 of place-order"
        );
        assert_eq!(
            impact[1],
            "1 open incident at place-order@1/charge/TIMEOUT: the new revision changes retry, input of that step, and it would \
             have gone another way; `amends incident list --fingerprint place-order@1/charge/TIMEOUT`"
        );
        for (of, says) in [
            (2, "changes output of the saga,"),
            (3, "removes that step,"),
        ] {
            assert!(impact[of].contains(says), "{}", impact[of]);
        }
        assert_eq!(
            AppliedView {
                applied: vec![file]
            }
            .table(),
            "DEFINITION   REVISION  RESULT   FILE\nplace-order  2         applied  a.saga.yaml\n"
        );
    }
}
