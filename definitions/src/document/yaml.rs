//! From bytes to nodes. The parser beneath yields events without recursion; here they are counted, and everything of YAML
//! that surprises is refused: anchors, aliases, tags, merge keys, several documents, duplicate keys.

use std::collections::BTreeSet;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::node::{Entry, Node, NodeValue, Scalar, Style};
use crate::diagnostic::Report;
use crate::json::shortened;
use crate::limits::{DOCUMENT_BYTES_MAX, DOCUMENT_DEPTH_MAX, DOCUMENT_NODES_MAX};

/// Reads a document; none if it cannot be read at all, and then the report says why.
pub(crate) fn read(source: &[u8], report: &mut Report) -> Option<Node> {
    let text = text(source, report)?;
    if let Some(tab) = tab_in_indentation(text) {
        report
            .error("TAB", "a tab in the indentation", tab)
            .help("YAML is indented with spaces");
        return None;
    }
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        flow_nesting_limit: 2 * DOCUMENT_DEPTH_MAX,
        block_nesting_limit: 2 * DOCUMENT_DEPTH_MAX,
    };
    let mut tree = Tree {
        report,
        open: Vec::new(),
        root: None,
        nodes: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => tree.take(event, &span)?,
            Err(error) => {
                scan_error(text, &error, tree.report);
                return None;
            }
        }
    }
    if tree.root.is_none() {
        let help = "a definition begins with `apiVersion: amends/v1`";
        tree.report
            .error("EMPTY", "the document is empty", 0..0)
            .help(help);
    }
    tree.root
}

fn text<'s>(source: &'s [u8], report: &mut Report) -> Option<&'s str> {
    if source.len() > DOCUMENT_BYTES_MAX {
        let message = format!(
            "the document has {} bytes, and at most {DOCUMENT_BYTES_MAX} are allowed",
            source.len()
        );
        report.error("DOCUMENT_TOO_LARGE", message, 0..0);
        return None;
    }
    let utf_16 = source.starts_with(b"\xff\xfe") || source.starts_with(b"\xfe\xff");
    if utf_16 || source.iter().take(4).any(|byte| *byte == 0) {
        report
            .error("ENCODING", "the document is UTF-16 or UTF-32", 0..0)
            .help("save it as UTF-8 without a byte order mark");
        return None;
    }
    if source.starts_with(b"\xef\xbb\xbf") {
        report
            .error(
                "ENCODING",
                "the document begins with a byte order mark",
                0..3,
            )
            .help("save it as UTF-8 without a byte order mark");
        return None;
    }
    match std::str::from_utf8(source) {
        Ok(text) => Some(text),
        Err(error) => {
            let at = error.valid_up_to();
            report
                .error("ENCODING", "the document is not UTF-8", at..at + 1)
                .help("save it as UTF-8");
            None
        }
    }
}

fn tab_in_indentation(text: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let indentation = line.len() - line.trim_start_matches([' ', '\t']).len();
        let blank = line.trim().is_empty();
        if let Some(tab) = line[..indentation].find('\t')
            && !blank
        {
            return Some(start + tab..start + tab + 1);
        }
        start += line.len();
    }
    None
}

fn scan_error(text: &str, error: &ScanError, report: &mut Report) {
    let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
    let line_start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or("");
    let deep = matches!(
        error.kind(),
        granit_parser::ErrorKind::RecursionLimitExceeded
    );
    if deep {
        too_deep(report, at..at);
    } else if line.contains(" ? ") && line.contains(" : ") {
        report
            .error(
                "UNQUOTED_TERNARY",
                "`: ` inside an unquoted value begins a mapping",
                at..at,
            )
            .help("write the expression in quotes: \"${{ a ? b : c }}\"");
    } else if line.contains("${{") {
        report
            .error(
                "UNQUOTED_EXPRESSION",
                "`{`, `}`, `,` and `: ` of an unquoted expression are read as YAML here",
                at..at,
            )
            .help("write the value in quotes: \"${{ … }}\"");
    } else {
        report.error("SYNTAX", error.info().to_string(), at..at);
    }
}

fn too_deep(report: &mut Report, at: Range<usize>) {
    let message = format!("the document is nested deeper than {DOCUMENT_DEPTH_MAX}");
    report.error("DOCUMENT_TOO_DEEP", message, at);
}

struct Tree<'r> {
    report: &'r mut Report,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

/// A collection whose end was not seen yet.
struct Open {
    start: usize,
    collection: Collection,
}

enum Collection {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        keys: BTreeSet<String>,
        key: Option<(String, Range<usize>)>,
    },
}

impl Tree<'_> {
    /// Takes an event; none ends the reading.
    fn take(&mut self, event: Event<'_>, span: &Span) -> Option<()> {
        let tag = span.tag_span();
        let tag = tag.map(|tag| range(&tag));
        let span = range(span);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                self.report
                    .error("SEVERAL_DOCUMENTS", "a second document begins here", span)
                    .help("one file holds one definition");
                return None;
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => return self.alias(span),
            Event::Scalar(text, style, anchor, tagged) => {
                self.begin(&span, anchor, tagged.is_some().then_some(tag))?;
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    _ => Style::Quoted,
                };
                return self.scalar(text.into_owned(), style, span);
            }
            Event::SequenceStart(_, anchor, tagged) => {
                self.begin(&span, anchor, tagged.is_some().then_some(tag))?;
                return self.open(Collection::List(Vec::new()), &span);
            }
            Event::MappingStart(_, anchor, tagged) => {
                self.begin(&span, anchor, tagged.is_some().then_some(tag))?;
                let map = Collection::Map {
                    entries: Vec::new(),
                    keys: BTreeSet::new(),
                    key: None,
                };
                return self.open(map, &span);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span.end),
            _ => {}
        }
        Some(())
    }

    fn alias(&mut self, span: Range<usize>) -> Option<()> {
        self.report
            .error(
                "ALIASES_FORBIDDEN",
                "anchors, aliases and merge keys are not part of the language",
                span,
            )
            .help("write the value out, or use `defaults` and `retryPolicies`");
        None
    }

    /// Counts a node. `tag` is there if it has a tag, with the tag's place if that is known.
    fn begin(
        &mut self,
        span: &Range<usize>,
        anchor: usize,
        tag: Option<Option<Range<usize>>>,
    ) -> Option<()> {
        if anchor > 0 {
            return self.alias(span.clone());
        }
        if let Some(tag) = tag {
            let at = tag.unwrap_or_else(|| span.clone());
            self.report
                .error(
                    "TAG_FORBIDDEN",
                    "a tag (`!…`) is not part of the language",
                    at,
                )
                .help("an expression that begins with `!` goes in quotes");
            return None;
        }
        self.nodes += 1;
        if self.nodes > DOCUMENT_NODES_MAX {
            let message = format!("the document has more than {DOCUMENT_NODES_MAX} values");
            self.report
                .error("DOCUMENT_TOO_LARGE", message, span.clone());
            return None;
        }
        Some(())
    }

    fn open(&mut self, collection: Collection, span: &Range<usize>) -> Option<()> {
        if let Some(Open {
            collection: Collection::Map { key: None, .. },
            ..
        }) = self.open.last()
        {
            self.report
                .error("KEY_NOT_TEXT", "a key has to be text", span.clone());
            return None;
        }
        if self.open.len() >= DOCUMENT_DEPTH_MAX {
            too_deep(self.report, span.clone());
            return None;
        }
        self.open.push(Open {
            start: span.start,
            collection,
        });
        Some(())
    }

    fn scalar(&mut self, text: String, style: Style, span: Range<usize>) -> Option<()> {
        if text.contains('\0') {
            self.report
                .error("ENCODING", "a text holds the character U+0000", span)
                .help("neither payloads nor databases can hold it: leave it out");
            return None;
        }
        if let Some(Open {
            collection: Collection::Map { keys, key, .. },
            ..
        }) = self.open.last_mut()
            && key.is_none()
        {
            if text == "<<" && style == Style::Plain {
                return self.alias(span);
            }
            if !keys.insert(text.clone()) {
                let message = format!("the key `{}` a second time", shortened(&text));
                self.report
                    .error("DUPLICATE_KEY", message, span.clone())
                    .help("remove one of them");
            }
            *key = Some((text, span));
            return Some(());
        }
        self.add(Node {
            span,
            value: NodeValue::Scalar(Scalar { text, style }),
        });
        Some(())
    }

    fn close(&mut self, end: usize) {
        let Some(Open { start, collection }) = self.open.pop() else {
            return;
        };
        let value = match collection {
            Collection::List(items) => NodeValue::List(items),
            Collection::Map { entries, .. } => NodeValue::Map(entries),
        };
        // A block ends where the next thing begins: the span reaches to the end of its last part.
        let last = match &value {
            NodeValue::List(items) => items.last().map(|item| item.span.end),
            NodeValue::Map(entries) => entries.last().map(|entry| entry.value.span.end),
            NodeValue::Scalar(_) => None,
        };
        let end = last.map_or(end, |last| last.max(start));
        let span = start..end.max(start);
        self.add(Node { span, value });
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.collection) {
            None => self.root = Some(node),
            Some(Collection::List(items)) => items.push(node),
            Some(Collection::Map { entries, key, .. }) => {
                if let Some((key, key_span)) = key.take() {
                    entries.push(Entry {
                        key,
                        key_span,
                        value: node,
                    });
                }
            }
        }
    }
}

fn range(span: &Span) -> Range<usize> {
    let start = span.start.byte_offset().unwrap_or(0);
    start..span.end.byte_offset().unwrap_or(start).max(start)
}
