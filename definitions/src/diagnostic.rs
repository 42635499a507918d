//! Diagnostics: what is wrong with a document, where, why, and what to do. As data, as text with the source line, as JSON.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::json;
use crate::limits::DIAGNOSTICS_MAX;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The document is no definition.
    Error,
    /// The document is a definition that may not do what its author meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name for this kind of finding.
    pub code: &'static str,
    /// What is wrong, and why.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1, in characters.
    pub column: u32,
    /// In bytes.
    pub span: Range<usize>,
}

impl Diagnostic {
    /// Where it ends in its source: the line and the column behind the last character, both counted as in
    /// [`Diagnostic::line`] and [`Diagnostic::column`].
    #[must_use]
    pub fn end_in(&self, source: &[u8]) -> (u32, u32) {
        place(source, self.span.end.max(self.span.start))
    }

    /// As a JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::from("{\"severity\":");
        json::write_string(&mut out, self.severity.as_str());
        out.push_str(",\"code\":");
        json::write_string(&mut out, self.code);
        out.push_str(",\"message\":");
        json::write_string(&mut out, &self.message);
        if let Some(help) = &self.help {
            out.push_str(",\"help\":");
            json::write_string(&mut out, help);
        }
        out.push_str(&format!(
            ",\"line\":{},\"column\":{},\"span\":{{\"start\":{},\"end\":{}}}}}",
            self.line, self.column, self.span.start, self.span.end
        ));
        out
    }
}

/// Diagnostics as text, each with its source line and a caret. Without colours.
#[must_use]
pub fn render(file_name: &str, source: &[u8], diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    let text = std::str::from_utf8(source).ok();
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level
            .primary_title(diagnostic.message.as_str())
            .id(diagnostic.code);
        let mut group = match text {
            // Where the encoding is wrong, the source is not fit to print.
            Some(text) if !text.is_empty() && diagnostic.code != "ENCODING" => {
                let span = visible(text, &diagnostic.span);
                group_with_source(title, file_name, text, span)
            }
            _ => Group::with_title(title).element(Level::NOTE.message(format!(
                "{file_name}:{}:{}",
                diagnostic.line, diagnostic.column
            ))),
        };
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        out.push_str(&Renderer::plain().render(&[group]));
        out.push_str("\n\n");
    }
    out
}

fn group_with_source<'a>(
    title: annotate_snippets::Title<'a>,
    file_name: &'a str,
    text: &'a str,
    span: Range<usize>,
) -> Group<'a> {
    title.element(
        Snippet::source(text)
            .path(file_name)
            .annotation(AnnotationKind::Primary.span(span)),
    )
}

/// The part of a span on its first line, at least one character where there is one.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = floor(text, span.start);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let end = floor(text, span.end.clamp(start, line_end));
    if end > start {
        return start..end;
    }
    let next = text[start..line_end].chars().next();
    start..next.map_or(start, |next| start + next.len_utf8())
}

/// The place, or the nearest before it, where a character begins.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Line and column of a place in bytes, both from 1, the column in characters.
fn place(source: &[u8], at: usize) -> (u32, u32) {
    let before = &source[..at.min(source.len())];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + String::from_utf8_lossy(&before[line_start..])
        .chars()
        .count();
    let counted = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    (counted(line), counted(column))
}

/// Collects diagnostics on one source.
#[derive(Debug)]
pub(crate) struct Report {
    /// The source, lossily as text: for places only.
    source: Vec<u8>,
    diagnostics: Vec<Diagnostic>,
    failed: bool,
}

impl Report {
    pub(crate) fn new(source: &[u8]) -> Self {
        // What is larger than a document gets one diagnostic, at its beginning.
        let source = &source[..source.len().min(crate::limits::DOCUMENT_BYTES_MAX)];
        Self {
            source: source.to_vec(),
            diagnostics: Vec::new(),
            failed: false,
        }
    }

    /// Adds an error.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Range<usize>,
    ) -> Added<'_> {
        self.failed = true;
        self.add(Severity::Error, code, message.into(), span)
    }

    /// Adds a warning.
    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Range<usize>,
    ) -> Added<'_> {
        self.add(Severity::Warning, code, message.into(), span)
    }

    /// If there was an error.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// The text at a span.
    pub(crate) fn text(&self, span: Range<usize>) -> Option<&str> {
        std::str::from_utf8(self.source.get(span)?).ok()
    }

    /// The diagnostics by their place.
    pub(crate) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by(|a, b| {
            let key = |d: &Diagnostic| (d.span.start, d.severity, d.code);
            key(a).cmp(&key(b))
        });
        self.diagnostics.dedup();
        self.diagnostics
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        message: String,
        span: Range<usize>,
    ) -> Added<'_> {
        if self.diagnostics.len() >= DIAGNOSTICS_MAX {
            return Added { diagnostic: None };
        }
        let (line, column) = place(&self.source, span.start);
        self.diagnostics.push(Diagnostic {
            severity,
            code,
            message,
            help: None,
            line,
            column,
            span,
        });
        Added {
            diagnostic: self.diagnostics.last_mut(),
        }
    }
}

/// A diagnostic that was just added.
pub(crate) struct Added<'r> {
    diagnostic: Option<&'r mut Diagnostic>,
}

impl Added<'_> {
    /// Says what to do.
    pub(crate) fn help(self, help: impl Into<String>) {
        if let Some(diagnostic) = self.diagnostic {
            diagnostic.help = Some(help.into());
        }
    }
}
