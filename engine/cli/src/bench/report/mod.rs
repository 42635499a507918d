//! What a measurement came to: lines of figures, bounds that hold or do not, and on what machine. For people as columns or
//! as Markdown, for programs as JSON. Deliberately not here: measuring, and drawing.

pub mod figure;
mod machine;
mod plot;

use std::fmt::Write as _;

use serde::Serialize;

use crate::output::View;
use crate::output::grid::{grid, pairs};

pub use figure::{Line, Spread};
pub use machine::Machine;

/// What a measurement came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How it was measured.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// The database's version and settings.
    #[serde(serialize_with = "as_object")]
    pub database: Vec<(String, String)>,
    /// What was measured.
    pub lines: Vec<Line>,
    /// What was wanted of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<Bound>,
    /// What a reader has to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// What is wanted of a figure.
#[derive(Debug, Serialize)]
pub struct Bound {
    /// What it is about.
    pub what: String,
    /// What was measured.
    pub measured: Spread,
    /// Which side of the bound is wanted.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// Whether the median is on that side.
    pub holds: bool,
}

/// Which side of a bound is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Report {
    /// With nothing in it yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            command: command(),
            machine: Machine::read(),
            database: Vec::new(),
            lines: Vec::new(),
            bounds: Vec::new(),
            notes: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Compares the median of some ratios with a bound; without a ratio there is nothing to compare.
    pub fn bound(&mut self, what: impl Into<String>, ratios: Vec<f64>, wanted: Wanted) {
        let Some(measured) = Spread::of(ratios) else {
            return;
        };
        let holds = match wanted {
            Wanted::AtLeast(bound) => measured.median >= bound,
            Wanted::AtMost(bound) => measured.median <= bound,
        };
        self.bounds.push(Bound {
            what: what.into(),
            measured,
            wanted,
            holds,
        });
    }

    /// Something went wrong, or a bound does not hold.
    #[must_use]
    pub fn failed(&self) -> bool {
        !self.errors.is_empty() || self.bounds.iter().any(|bound| !bound.holds)
    }

    /// Ready to be pasted: a table of the lines, one of the bounds, and how it was measured.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // A string takes whatever is written to it.
        let _ = writeln!(text, "`{}`\n", self.command);
        let _ = writeln!(text, "{}\n", self.place());
        for (title, header, rows) in self.tables() {
            let _ = writeln!(text, "**{title}**\n");
            let _ = writeln!(text, "| {} |", header.join(" | "));
            let _ = writeln!(text, "|{}", "---|".repeat(header.len()));
            for row in rows {
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
            text.push('\n');
        }
        for note in self.notes.iter().chain(&self.errors) {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    fn place(&self) -> String {
        let settings = self.database.iter();
        let settings = settings.map(|(name, value)| format!("{name} {value}"));
        let words: Vec<String> = std::iter::once(self.machine.to_string())
            .chain(settings)
            .collect();
        words.join(", ")
    }

    /// One table for each kind of line, then the bounds.
    fn tables(&self) -> Vec<Table<'_>> {
        let mut tables: Vec<(&str, Vec<&Line>)> = Vec::new();
        for line in &self.lines {
            match tables.iter_mut().find(|(title, _)| *title == line.what) {
                Some((_, lines)) => lines.push(line),
                None => tables.push((&line.what, vec![line])),
            }
        }
        let mut tables: Vec<_> = tables
            .into_iter()
            .map(|(title, lines)| {
                let (header, rows) = figure::columns(&lines);
                (title, header, rows)
            })
            .collect();
        if !self.bounds.is_empty() {
            let header = vec!["wanted", "bound", "median", "least", "most", "holds"];
            tables.push((
                "bounds",
                header,
                self.bounds.iter().map(Bound::row).collect(),
            ));
        }
        tables
    }
}

/// A title, a header and rows.
type Table<'a> = (&'a str, Vec<&'a str>, Vec<Vec<String>>);

impl Bound {
    fn row(&self) -> Vec<String> {
        let Spread {
            median,
            least,
            most,
            ..
        } = self.measured;
        let bound = match self.wanted {
            Wanted::AtLeast(bound) => format!("≥ {bound}"),
            Wanted::AtMost(bound) => format!("≤ {bound}"),
        };
        let number = |value: f64| figure::number(value, 2);
        let holds = if self.holds { "yes" } else { "NO" };
        vec![
            self.what.clone(),
            bound,
            number(median),
            number(least),
            number(most),
            holds.to_owned(),
        ]
    }
}

impl View for Report {
    fn table(&self) -> String {
        let mut text = pairs([("command", self.command.clone()), ("on", self.place())]);
        for (title, header, rows) in self.tables() {
            let _ = writeln!(text, "\n{title}");
            text.push_str(&grid(&header, rows));
        }
        if !self.notes.is_empty() || !self.errors.is_empty() {
            text.push('\n');
        }
        for note in self.notes.iter().chain(&self.errors) {
            let _ = writeln!(text, "{note}");
        }
        text
    }
}

/// The command line as it was, but for the path of the binary and what a URL may hold of a password.
fn command() -> String {
    let mut words = vec!["amends".to_owned()];
    let mut hidden = false;
    for word in std::env::args().skip(1) {
        if hidden || word.contains("://") {
            words.push("URL".to_owned());
        } else {
            words.push(word.clone());
        }
        hidden = word == "--database-url";
    }
    words.join(" ")
}

fn as_object<S: serde::Serializer>(
    pairs: &[(String, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

/// So many in a second.
#[expect(
    clippy::cast_precision_loss,
    reason = "a count of sagas is far below 2^53"
)]
pub(super) fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

/// To three digits: more is noise.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new();
        report.command = "amends bench happy".to_owned();
        report.machine = Machine::unknown();
        report.database = vec![("fsync".to_owned(), "on".to_owned())];
        let mut line = Line::new("happy", "sqlite, 8 in flight", Some(8.0));
        line.add(figure::SAGAS_PER_SECOND, 100.0);
        line.add(figure::SAGAS_PER_SECOND, 300.0);
        line.add(figure::SAGAS_PER_SECOND, 200.0);
        line.add(figure::P50_MS, 1.25);
        report.lines.push(line);
        report
    }

    #[test]
    fn a_report_has_three_forms() {
        let mut report = report();
        report.bound("of the floor", vec![0.5, 0.9, 0.7], Wanted::AtLeast(0.6));
        assert_eq!(
            report.table(),
            "command  amends bench happy\non       an unknown machine, fsync on\n\nhappy\n                     sagas/s        p50 ms\n\
             sqlite, 8 in flight  200 (100–300)  1.25\n\nbounds\nwanted        bound  median  least  most  holds\n\
             of the floor  ≥ 0.6  0.70    0.50   0.90  yes\n"
        );
        assert!(
            report
                .markdown()
                .contains("| sqlite, 8 in flight | 200 (100–300) | 1.25 |"),
            "{}",
            report.markdown()
        );
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(
            json["lines"][0]["figures"]["sagas_per_second"]["median"],
            200.0
        );
        assert_eq!(json["bounds"][0]["at_least"], 0.6);
        assert_eq!(json["database"]["fsync"], "on");
        assert!(!report.failed());
    }

    #[test]
    fn a_bound_is_on_the_side_that_is_wanted() {
        let mut report = report();
        report.bound("fast", vec![0.5], Wanted::AtLeast(0.5));
        report.bound("small", vec![0.5], Wanted::AtMost(0.5));
        report.bound("not measured", vec![], Wanted::AtMost(0.5));
        assert_eq!(report.bounds.len(), 2);
        assert!(!report.failed());
        report.bound("slow", vec![0.5], Wanted::AtMost(0.4));
        assert!(report.failed());
    }
}
