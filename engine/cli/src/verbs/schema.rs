//! `schema`: prints the language's JSON Schema. Deliberately not here: the schema itself (`amends-definitions`).

use amends_definitions::language_schema;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::write_out;

/// Prints the schema.
///
/// # Errors
/// If standard output takes nothing.
pub fn run() -> Result<Exit, Failure> {
    write_out(&language_schema())?;
    Ok(Exit::Ok)
}
