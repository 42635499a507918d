//! What was found, as workflow commands: a line each, which GitHub shows beside the line of the file. Deliberately not
//! here: anything of GitHub but this text.

use std::fmt::Write as _;

use super::{FileView, FindingView};
use crate::output::plain;

/// A line for each finding, with its final newline.
#[must_use]
pub fn render(files: &[FileView]) -> String {
    let mut out = String::new();
    for file in files {
        for finding in &file.diagnostics {
            out.push_str(&command(&file.file, finding));
            out.push('\n');
        }
    }
    out
}

fn command(file: &str, finding: &FindingView) -> String {
    let mut line = format!("::{} ", finding.severity);
    // Standard input has no file that a line could be shown beside.
    if file != "-" {
        let _ = write!(line, "file={},", property(file));
    }
    let _ = write!(line, "line={},col={},", finding.line, finding.column);
    // Columns of an end on another line are refused.
    if finding.end_line == finding.line {
        let _ = write!(line, "endColumn={},", finding.end_column);
    }
    let _ = write!(line, "title={}::", property(finding.code));
    line.push_str(&data(&finding.message));
    if let Some(help) = &finding.help {
        line.push_str(&data(&format!("\nhelp: {help}")));
    }
    line
}

/// The text of a command: what would end it is written in hexadecimal.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .split('\n')
        .map(plain)
        .collect::<Vec<_>>()
        .join("%0A")
}

/// The value of a property: what would end that as well.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> FindingView {
        FindingView {
            severity: "error",
            code: "UNKNOWN_KEY",
            line: 4,
            column: 12,
            end_line: 4,
            end_column: 19,
            message: "no key `retires`".to_owned(),
            help: None,
        }
    }

    #[test]
    fn a_finding_is_one_command() {
        assert_eq!(
            command("a/b.saga.yaml", &finding()),
            "::error file=a/b.saga.yaml,line=4,col=12,endColumn=19,title=UNKNOWN_KEY::no key `retires`"
        );
    }

    #[test]
    fn the_fix_is_a_second_line_of_the_same_command() {
        let helped = FindingView {
            help: Some("did you mean `retry`?".to_owned()),
            end_line: 5,
            ..finding()
        };
        assert_eq!(
            command("-", &helped),
            "::error line=4,col=12,title=UNKNOWN_KEY::no key `retires`%0Ahelp: did you mean `retry`?"
        );
    }

    #[test]
    fn nothing_that_an_author_wrote_ends_a_command_or_begins_one() {
        let hostile = FindingView {
            message: "100%\r\n::set-env name=A::b\u{1b}[0m".to_owned(),
            ..finding()
        };
        let line = command("a:b,c%.yaml\n::error", &hostile);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_eq!(
            line,
            "::error file=a%3Ab%2Cc%25.yaml%0A%3A%3Aerror,line=4,col=12,endColumn=19,title=UNKNOWN_KEY::\
             100%25\\r%0A::set-env name=A::b\\u{1b}[0m"
        );
    }
}
