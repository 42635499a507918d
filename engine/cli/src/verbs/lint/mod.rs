//! `lint`: checks definitions offline, with the same code as a server; on request it compares them with who is attached. Deliberately not here: the checks themselves
//! (`amends-definitions`).

mod attached;
mod github;
mod sarif;
mod sources;

use amends_definitions::{Diagnostic, Severity, check, render};
use amends_proto::v1::Participant;
use serde::Serialize;

use crate::arguments::{Global, LintArguments, LintFormat};
use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, View, plain, say, show, write_out};

/// Checks documents; the exit is [`Exit::Invalid`] if one has errors.
///
/// # Errors
/// If a file cannot be read, or a server that was named does not answer.
pub async fn run(global: &Global, arguments: &LintArguments) -> Result<Exit, Failure> {
    let sources = sources::read(&arguments.files)?;
    let participants = match &arguments.compare_with {
        Some(server) => {
            let connection = Connection::open(server, &global.namespace).await?;
            Some(super::participant::attached(&connection).await?)
        }
        None => None,
    };
    let files = sources
        .iter()
        .map(|source| lint(&source.name, &source.bytes, participants.as_deref()))
        .collect();
    let view = LintView { files };
    match arguments.format {
        LintFormat::Text => write_out(&view.table())?,
        LintFormat::Json => show(Format::Json, &view)?,
        LintFormat::Github => write_out(&github::render(&view.files))?,
        LintFormat::Sarif => {
            let log = sarif::render(&view.files).map_err(|error| {
                Failure::wrong("what was found has no text form").because(error)
            })?;
            write_out(&log)?;
        }
    }
    let (errors, warnings) = count(&view.files);
    say(format!(
        "{} checked: {}, {}",
        plural(view.files.len(), "document"),
        plural(errors, "error"),
        plural(warnings, "warning")
    ));
    Ok(if errors > 0 { Exit::Invalid } else { Exit::Ok })
}

/// What was found in all files.
#[derive(Debug, Serialize)]
struct LintView {
    files: Vec<FileView>,
}

#[derive(Debug, Serialize)]
struct FileView {
    file: String,
    definition: Option<String>,
    hash: Option<String>,
    diagnostics: Vec<FindingView>,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Serialize)]
struct FindingView {
    severity: &'static str,
    code: &'static str,
    line: u32,
    column: u32,
    end_line: u32,
    end_column: u32,
    message: String,
    help: Option<String>,
}

impl View for LintView {
    /// The source lines with carets; nothing for a document without findings.
    fn table(&self) -> String {
        self.files.iter().map(|file| plain(&file.text)).collect()
    }
}

impl FindingView {
    fn new(diagnostic: &Diagnostic, source: &[u8]) -> Self {
        let (end_line, end_column) = diagnostic.end_in(source);
        Self {
            severity: diagnostic.severity.as_str(),
            code: diagnostic.code,
            line: diagnostic.line,
            column: diagnostic.column,
            end_line,
            end_column,
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
        }
    }
}

fn lint(file: &str, source: &[u8], participants: Option<&[Participant]>) -> FileView {
    let mut checked = check(source);
    if let (Some(definition), Some(participants)) = (&checked.definition, participants) {
        // A document with a definition is UTF-8.
        let text = String::from_utf8_lossy(source);
        let found = attached::unserved(definition, &text, participants);
        checked.diagnostics.extend(found);
        checked.diagnostics.sort_by_key(|found| found.span.start);
    }
    let definition = checked.definition.as_ref();
    FileView {
        file: file.to_owned(),
        definition: definition.map(|definition| definition.name().to_owned()),
        hash: definition.map(|definition| definition.hash().to_string()),
        diagnostics: (checked.diagnostics.iter())
            .map(|diagnostic| FindingView::new(diagnostic, source))
            .collect(),
        text: render(file, source, &checked.diagnostics),
    }
}

fn count(files: &[FileView]) -> (usize, usize) {
    let findings = || files.iter().flat_map(|file| &file.diagnostics);
    let errors = findings()
        .filter(|found| found.severity == Severity::Error.as_str())
        .count();
    (errors, findings().count() - errors)
}

fn plural(count: usize, word: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {word}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::render as write;

    const SOUND: &str =
        "apiVersion: amends/v1\nname: a\nsteps:\n  - {id: s, call: p.a, compensate: {call: p.b}}\n";

    #[test]
    fn a_sound_document_has_a_name_and_no_errors() {
        let file = lint("a.yaml", SOUND.as_bytes(), None);
        assert_eq!(file.definition.as_deref(), Some("a"));
        assert_eq!(count(&[file]).0, 0);
    }

    #[test]
    fn a_finding_has_its_line_and_a_caret() {
        let source = SOUND.replace("compensate: {call: p.b}", "compensat: {call: p.b}");
        let file = lint("a.yaml", source.as_bytes(), None);
        assert_eq!(file.definition, None);
        assert!(count(std::slice::from_ref(&file)).0 > 0);
        let view = LintView { files: vec![file] };
        let text = view.table();
        assert!(text.contains("a.yaml:4:") && text.contains('^'), "{text}");
        let json: serde_json::Value =
            serde_json::from_str(&write(Format::Json, &view).expect("a form")).expect("JSON");
        assert_eq!(json["files"][0]["diagnostics"][0]["line"], 4);
        assert_eq!(json["files"][0]["diagnostics"][0]["severity"], "error");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            [0, 1, 2].map(|count| plural(count, "error")),
            ["0 errors", "1 error", "2 errors"]
        );
    }
}
