//! Checks: from a draft to a definition. One rule a file; each rule reports all that it finds, and only a draft without any
//! error becomes a [`Definition`].

mod assembly;
mod children;
mod compensations;
mod expressions;
mod foreach;
mod kinds;
mod names;
mod needs;
mod participants;
mod reach;
mod references;
mod retries;
mod routes;
mod schemas;
mod shapes;
mod timeouts;
mod works;

use sha2::{Digest, Sha256};

use crate::definition::{Definition, DefinitionHash};
use crate::diagnostic::{Diagnostic, Report};
use crate::document::draft;
use crate::document::node::Node;
use crate::document::yaml;
use crate::expression::compile::with_room;
use crate::limits::NORMAL_FORM_BYTES_MAX;
use crate::normal;

/// What checking a document leads to.
#[derive(Debug)]
pub struct Checked {
    /// The definition, if there was no error.
    pub definition: Option<Definition>,
    /// All findings in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads and checks a document in YAML.
///
/// ```
/// let source = b"apiVersion: amends/v1\nname: greet\nsteps: [{id: hello, call: mail.send}]\n";
/// let checked = amends_definitions::check(source);
/// assert!(checked.definition.is_none());
/// assert_eq!(checked.diagnostics[0].code, "COMPENSATION_MISSING");
/// print!("{}", amends_definitions::render("greet.saga.yaml", source, &checked.diagnostics));
/// ```
#[must_use]
pub fn check(source: &[u8]) -> Checked {
    let mut report = Report::new(source);
    let definition = yaml::read(source, &mut report)
        .filter(|_| !report.failed())
        .and_then(|node| definition(&node, &mut report));
    Checked {
        definition,
        diagnostics: report.into_diagnostics(),
    }
}

/// Checks a document's tree.
pub(crate) fn definition(node: &Node, report: &mut Report) -> Option<Definition> {
    let checked = with_room(|| definition_here(node, report));
    checked.unwrap_or_else(|| {
        let message =
            "the definition was not checked: there was no thread to be had, or the checker failed";
        report
            .error("OUT_OF_RESOURCES", message, 0..0)
            .help("try again; if it happens each time, report it with the document");
        None
    })
}

fn definition_here(node: &Node, report: &mut Report) -> Option<Definition> {
    let draft = draft::read(node, report)?;
    names::check(&draft, report);
    participants::check(&draft, report);
    works::check(&draft, report);
    compensations::check(&draft, report);
    foreach::check(&draft, report);
    routes::check(&draft, report);
    retries::check(&draft, report);
    let graph = needs::graph(&draft, report);
    if let Some(graph) = &graph {
        kinds::check(&draft, graph, report);
        reach::check(&draft, graph, report);
    }
    let (schemas, shapes) = schemas::compile(&draft, report);
    let mut definition = assembly::assemble(&draft, graph, schemas, &shapes, report)?;
    children::check(&draft, &definition, report);
    let normal_form = normal::to_normal_form(&definition);
    if normal_form.len() > NORMAL_FORM_BYTES_MAX {
        let message = format!(
            "with its defaults filled in the definition has {} bytes, and at most {NORMAL_FORM_BYTES_MAX} are allowed",
            normal_form.len()
        );
        report
            .error(
                "DOCUMENT_TOO_LARGE",
                message,
                node.span.start..node.span.start,
            )
            .help("shorten what `defaults` and `retryPolicies` repeat in each step");
        return None;
    }
    definition.hash = DefinitionHash(Sha256::digest(normal_form.as_bytes()).into());
    Some(definition)
}
