//! Where data goes: standard output as a table, JSON or YAML; talk goes to standard error. A pipe that its reader closed
//! ends the command quietly. Deliberately not here: what the data is (`view`).

pub mod grid;
pub mod yaml;

use std::fmt::Write as _;
use std::io::{ErrorKind, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

/// How data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// The protocol's meaning: `snake_case` names, payloads embedded, times in RFC 3339.
    Json,
    /// The same as JSON, as YAML.
    Yaml,
}

/// Data that has a form for people and one for programs.
pub trait View: Serialize {
    /// The form for people, with its final newline.
    fn table(&self) -> String;
}

/// Writes data to standard output.
///
/// # Errors
/// If standard output takes nothing, other than for a closed pipe.
pub fn show(format: Format, data: &impl View) -> Result<(), Failure> {
    write_out(&render(format, data)?)
}

/// The text of data.
///
/// # Errors
/// If the data has no such form.
pub fn render(format: Format, data: &impl View) -> Result<String, Failure> {
    let unwritable =
        |error: serde_json::Error| Failure::wrong("the answer has no text form").because(error);
    Ok(match format {
        Format::Table => data.table(),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(data).map_err(unwritable)?;
            text.push('\n');
            text
        }
        Format::Yaml => yaml::from_json(&serde_json::to_string(data).map_err(unwritable)?)
            .map_err(unwritable)?,
    })
}

/// Writes one item of a stream: a line for people, a line of JSON, or a YAML document.
///
/// # Errors
/// As [`show`].
pub fn show_item(format: Format, data: &impl View) -> Result<(), Failure> {
    match format {
        Format::Table => write_out(&data.table()),
        Format::Json => {
            let line = serde_json::to_string(data)
                .map_err(|error| Failure::wrong("the answer has no text form").because(error))?;
            write_out(&format!("{line}\n"))
        }
        Format::Yaml => write_out(&format!("---\n{}", render(format, data)?)),
    }
}

/// Writes text to standard output. Whoever reads it may go away: that ends the process with success.
///
/// # Errors
/// If standard output takes nothing for another reason.
pub fn write_out(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Writes a line of talk to standard error, as far as anybody listens.
pub fn say(text: impl AsRef<str>) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{}", text.as_ref());
}

/// Text from elsewhere, safe for a terminal: control characters become escapes, except that a newline stays one.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            let _ = write!(safe, "{}", character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Thing {
        name: &'static str,
    }

    impl View for Thing {
        fn table(&self) -> String {
            format!("thing {}\n", self.name)
        }
    }

    #[test]
    fn one_thing_has_three_forms() {
        let thing = Thing { name: "a" };
        let forms = [Format::Table, Format::Json, Format::Yaml]
            .map(|format| render(format, &thing).expect("a form"));
        assert_eq!(
            forms,
            ["thing a\n", "{\n  \"name\": \"a\"\n}\n", "name: a\n"]
        );
    }

    #[test]
    fn terminals_are_spared() {
        assert_eq!(plain("a\u{1b}[0m\nb\u{7}"), "a\\u{1b}[0m\nb\\u{7}");
    }
}
