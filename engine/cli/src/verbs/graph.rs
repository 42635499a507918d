//! `graph`: draws a definition. Deliberately not here: how (`drawing`).

use std::path::Path;

use amends_definitions::{Severity, check, render};

use super::{DEFINITION_BYTES_MAX, read_input};
use crate::arguments::{GraphArguments, GraphFormat};
use crate::drawing::{Picture, dot, mermaid, svg};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{plain, say, write_out};

/// Draws a definition to standard output, or into a file.
///
/// # Errors
/// If the document cannot be read or is no definition, or the picture cannot be written.
pub fn run(arguments: &GraphArguments) -> Result<Exit, Failure> {
    let name = arguments.file.display().to_string();
    let source = read_input(&arguments.file, DEFINITION_BYTES_MAX)?;
    let mut checked = check(&source);
    let Some(definition) = checked.definition else {
        let diagnostics = &mut checked.diagnostics;
        diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
        say(plain(render(&name, &source, diagnostics).trim_end()));
        return Err(Failure::new(Exit::Invalid, format!("{name} was not drawn"))
            .because("it is no definition")
            .advice("mend it; `amends lint` says the same"));
    };
    let picture = Picture::new(&definition);
    let drawn = match arguments.format {
        GraphFormat::Svg => svg::render(&picture),
        GraphFormat::Mermaid => mermaid::render(&picture),
        GraphFormat::Dot => dot::render(&picture),
    };
    match &arguments.to {
        None => write_out(&drawn)?,
        Some(path) => write_file(path, &drawn)?,
    }
    Ok(Exit::Ok)
}

fn write_file(path: &Path, drawn: &str) -> Result<(), Failure> {
    std::fs::write(path, drawn).map_err(|error| {
        Failure::usage(format!("{} cannot be written", path.display()))
            .because(error)
            .advice("name a file in a directory that exists and can be written")
    })
}
