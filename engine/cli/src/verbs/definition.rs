//! `apply`, `definition list`, `get` and `delete`.

use amends_proto::v1 as proto;
use tonic::Status;

use super::{DEFINITION_BYTES_MAX, read_text};
use crate::arguments::{ApplyArguments, DefinitionCommand, Global};
use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{say, show};
use crate::view::definition::{
    AppliedFileView, AppliedView, DefinitionListView, DefinitionView, DiagnosticView,
};

/// Applies documents. Several are checked first, all of them: one that is wrong leaves the others unapplied.
///
/// # Errors
/// If a file cannot be read, or the server refuses one.
pub async fn apply(global: &Global, arguments: &ApplyArguments) -> Result<(), Failure> {
    let mut sources = Vec::new();
    for path in &arguments.files {
        sources.push((
            path.display().to_string(),
            read_text(path, DEFINITION_BYTES_MAX)?,
        ));
    }
    let connection = Connection::open(&global.server, &global.namespace).await?;
    if sources.len() > 1 {
        check_all(&connection, &sources).await?;
    }
    let mut view = AppliedView {
        applied: Vec::new(),
    };
    for (file, source) in sources {
        let request = proto::ApplyDefinitionRequest {
            parent: connection.parent(),
            source,
            definition_id: String::new(),
        };
        let answer = connection.definitions().apply_definition(request).await;
        match answer {
            Ok(answer) => {
                let applied = AppliedFileView::new(&file, answer.into_inner());
                applied.findings().for_each(say);
                applied.impact().for_each(say);
                view.applied.push(applied);
            }
            Err(status) => {
                if !view.applied.is_empty() {
                    show(global.output, &view)?;
                }
                let refused = Failure::refused(format!("{file} was not applied"), &status);
                return Err(refused.in_file("source", &file));
            }
        }
    }
    show(global.output, &view)
}

async fn check_all(connection: &Connection, sources: &[(String, String)]) -> Result<(), Failure> {
    let mut findings = Vec::new();
    for (file, source) in sources {
        let request = proto::LintDefinitionRequest {
            parent: connection.parent(),
            source: source.clone(),
        };
        let answer = connection.definitions().lint_definition(request).await;
        let answer = answer
            .map_err(|status| Failure::refused(format!("{file} was not checked"), &status))?;
        let diagnostics = answer
            .into_inner()
            .diagnostics
            .into_iter()
            .map(DiagnosticView::from);
        findings.extend(
            diagnostics
                .filter(DiagnosticView::is_error)
                .map(|found| found.line_in(file)),
        );
    }
    if findings.is_empty() {
        return Ok(());
    }
    let failure =
        Failure::new(Exit::Invalid, "nothing was applied").because("a document has errors");
    let failure = findings.into_iter().fold(failure, Failure::detail);
    Err(failure.advice("mend the document; `amends lint` shows the lines"))
}

/// Reads and deletes definitions.
///
/// # Errors
/// What the server refuses.
pub async fn run(global: &Global, command: &DefinitionCommand) -> Result<(), Failure> {
    let connection = Connection::open(&global.server, &global.namespace).await?;
    match command {
        DefinitionCommand::List => list(global, &connection).await,
        DefinitionCommand::Get { name, revision } => {
            let request = proto::GetDefinitionRequest {
                name: connection.definition_name(name),
                revision: *revision,
            };
            let what = format!("definition {name} was not read");
            let answer = connection.definitions().get_definition(request).await;
            let answer = answer.map_err(|status| Failure::unread(&what, &status))?;
            let definition = answer.into_inner().definition;
            let definition = definition
                .ok_or_else(|| Failure::refused(&what, &Status::internal("the answer is empty")))?;
            show(global.output, &DefinitionView::from(definition))
        }
        DefinitionCommand::Delete { name, revision } => {
            let request = proto::DeleteDefinitionRequest {
                name: connection.definition_name(name),
                revision: *revision,
            };
            let answer = connection.definitions().delete_definition(request).await;
            answer.map_err(|status| {
                Failure::refused(
                    format!("revision {revision} of {name} was not deleted"),
                    &status,
                )
            })?;
            say(format!("revision {revision} of {name} is deleted"));
            Ok(())
        }
    }
}

async fn list(global: &Global, connection: &Connection) -> Result<(), Failure> {
    let mut definitions = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = proto::ListDefinitionsRequest {
            parent: connection.parent(),
            page_size: 1_000,
            page_token,
        };
        let answer = connection.definitions().list_definitions(request).await;
        let answer =
            answer.map_err(|status| Failure::unread("the definitions were not listed", &status))?;
        let answer = answer.into_inner();
        definitions.extend(answer.definitions);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return show(global.output, &DefinitionListView::from(definitions));
        }
    }
}
