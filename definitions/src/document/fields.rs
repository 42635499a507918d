//! Reading typed fields out of nodes: each mismatch is a diagnostic with its place, the cause and the fix.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use super::duration;
use super::node::{Data, Entry, Node, NodeValue, Scalar, Style};
use crate::diagnostic::Report;
use crate::json::shortened;
use crate::limits::ID_BYTES_MAX;
use crate::suggestion::nearest;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// The fields of a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'n> {
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// Reads a mapping whose keys are among the known ones. A key of the language that is `later` served is refused as such.
    pub(crate) fn read(
        node: &'n Node,
        what: &str,
        known: &[&str],
        later: &[&str],
        report: &mut Report,
    ) -> Option<Self> {
        let NodeValue::Map(entries) = &node.value else {
            report.error(
                "WRONG_TYPE",
                format!("{what} has to be a mapping, and it is {}", node.kind()),
                node.span.clone(),
            );
            return None;
        };
        for entry in entries {
            let key = entry.key.as_str();
            if known.contains(&key) {
                continue;
            }
            let span = entry.key_span.clone();
            if later.contains(&key) {
                report
                    .error(
                        "NOT_SERVED_YET",
                        format!("`{key}` is part of the language, but this version does not serve it yet: events from brokers come later"),
                        span,
                    )
                    .help(format!("remove `{key}`: it would not take effect"));
                continue;
            }
            let help = match nearest(key, known.iter().chain(later).copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("{what} knows {}", list(known)),
            };
            report
                .error(
                    "UNKNOWN_KEY",
                    format!("{what} has no key `{}`", shortened(key)),
                    span,
                )
                .help(help);
        }
        Some(Self { entries })
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        let mut entries = self.entries.iter();
        entries
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    /// The place of a key, if it is there.
    pub(crate) fn key_span(&self, key: &str) -> Option<Range<usize>> {
        let mut entries = self.entries.iter();
        entries
            .find(|entry| entry.key == key)
            .map(|entry| entry.key_span.clone())
    }

    /// The value of a key that has to be there.
    pub(crate) fn require(
        &self,
        key: &str,
        what: &str,
        at: &Range<usize>,
        report: &mut Report,
    ) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() {
            report
                .error("MISSING_KEY", format!("{what} needs `{key}`"), at.clone())
                .help(format!("add `{key}:`"));
        }
        found
    }
}

/// Words in a row, for a message.
pub(crate) fn list(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// Reads a text that is not empty and not longer than `bytes_max`.
pub(crate) fn text(
    node: &Node,
    what: &str,
    bytes_max: usize,
    report: &mut Report,
) -> Option<Spanned<String>> {
    let span = node.span.clone();
    let NodeValue::Scalar(scalar) = &node.value else {
        wrong_type(node, what, "text", report);
        return None;
    };
    match scalar.data() {
        Ok(Data::Text("")) => {
            report.error("EMPTY_TEXT", format!("{what} is empty"), span);
            None
        }
        Ok(Data::Text(text)) if text.len() > bytes_max => {
            let message = format!(
                "{what} has {} bytes, and at most {bytes_max} are allowed",
                text.len()
            );
            report.error("TOO_LONG", message, span);
            None
        }
        Ok(Data::Text(text)) => Some(Spanned {
            value: text.to_owned(),
            span,
        }),
        _ => {
            let raw = shortened(&scalar.text);
            let message = format!(
                "{what} has to be text, and `{raw}` without quotes is {}",
                node.kind()
            );
            report
                .error("NOT_TEXT", message, span)
                .help(format!("write \"{raw}\" in quotes"));
            None
        }
    }
}

/// Reads a text in which an expression would be taken for what it is not.
pub(crate) fn constant(
    node: &Node,
    what: &str,
    bytes_max: usize,
    report: &mut Report,
) -> Option<Spanned<String>> {
    let text = text(node, what, bytes_max, report)?;
    if text.value.contains("${{") {
        let message = format!("{what} is a constant, and no expression can stand in it");
        report.error("WRONG_VALUE", message, text.span);
        return None;
    }
    Some(text)
}

/// Reads one of a few words.
pub(crate) fn choice<T: Copy>(
    node: &Node,
    what: &str,
    choices: &[(&str, T)],
    report: &mut Report,
) -> Option<Spanned<T>> {
    let word = text(node, what, ID_BYTES_MAX, report)?;
    if let Some((_, value)) = choices.iter().find(|(known, _)| *known == word.value) {
        return Some(Spanned {
            value: *value,
            span: word.span,
        });
    }
    let known: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
    let help = match nearest(&word.value, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it is one of {}", list(&known)),
    };
    let message = format!("{what} cannot be `{}`", shortened(&word.value));
    report.error("WRONG_VALUE", message, word.span).help(help);
    None
}

/// The source of an expression in a field that takes one. A constant counts as one.
pub(crate) fn expression<'n>(
    node: &'n Node,
    what: &str,
    report: &mut Report,
) -> Option<&'n Scalar> {
    match &node.value {
        NodeValue::Scalar(scalar) if scalar.style == Style::Quoted || !scalar.text.is_empty() => {
            Some(scalar)
        }
        _ => {
            wrong_type(node, what, "an expression", report);
            None
        }
    }
}

/// Reads a duration of more than 0.
pub(crate) fn duration(node: &Node, what: &str, report: &mut Report) -> Option<Spanned<Duration>> {
    let span = node.span.clone();
    let NodeValue::Scalar(scalar) = &node.value else {
        wrong_type(node, what, "a duration", report);
        return None;
    };
    match duration::parse(&scalar.text) {
        Ok(Duration::ZERO) => {
            report
                .error("DURATION", format!("{what} is 0"), span)
                .help("a duration is more than 0, such as `10s`");
            None
        }
        Ok(value) => Some(Spanned { value, span }),
        Err(error) => {
            let bare = scalar.text.parse::<f64>().is_ok();
            let help = if bare {
                format!(
                    "a bare number is not a duration: write `{}s` or `{}ms`",
                    scalar.text, scalar.text
                )
            } else {
                "write a duration such as `500ms`, `10s`, `1m30s`, `2h`, `7d`".to_owned()
            };
            report
                .error("DURATION", format!("{what}: {error}"), span)
                .help(help);
            None
        }
    }
}

/// Reads a number. Its bounds are for the caller to check.
pub(crate) fn number(node: &Node, what: &str, report: &mut Report) -> Option<Spanned<f64>> {
    let number = match &node.value {
        NodeValue::Scalar(scalar) if scalar.style != Style::Quoted => match scalar.text.as_str() {
            ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
            ".inf" | "+.inf" => Some(f64::INFINITY),
            "-.inf" => Some(f64::NEG_INFINITY),
            text if text.starts_with(|char: char| char.is_ascii_digit() || char == '-') => {
                text.parse::<f64>().ok()
            }
            _ => None,
        },
        _ => None,
    };
    if number.is_none() {
        wrong_type(node, what, "a number", report);
    }
    number.map(|value| Spanned {
        value,
        span: node.span.clone(),
    })
}

/// Reads a whole number within bounds.
pub(crate) fn whole(
    node: &Node,
    what: &str,
    bounds: RangeInclusive<u32>,
    report: &mut Report,
) -> Option<Spanned<u32>> {
    let number = number(node, what, report)?;
    let mut text = String::new();
    node.write_json(&mut text, &mut Vec::new());
    match text.parse::<u32>() {
        Ok(value) if bounds.contains(&value) => Some(Spanned {
            value,
            span: number.span,
        }),
        _ => {
            let (from, to) = (bounds.start(), bounds.end());
            let message = format!("{what} is a whole number from {from} to {to}");
            report.error("OUT_OF_BOUNDS", message, number.span);
            None
        }
    }
}

/// Reads a list.
pub(crate) fn items<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n [Node]> {
    match &node.value {
        NodeValue::List(items) => Some(items),
        _ => {
            wrong_type(node, what, "a list", report);
            None
        }
    }
}

/// Reads a list with at most `max` items.
pub(crate) fn items_up_to<'n>(
    node: &'n Node,
    what: &str,
    max: usize,
    report: &mut Report,
) -> Option<&'n [Node]> {
    let items = items(node, what, report)?;
    if items.len() > max {
        let message = format!(
            "{what} has {} entries, and at most {max} are allowed",
            items.len()
        );
        report.error("TOO_MANY", message, node.span.clone());
        return None;
    }
    Some(items)
}

/// Reads the entries of a mapping with free keys.
pub(crate) fn entries<'n>(
    node: &'n Node,
    what: &str,
    max: usize,
    report: &mut Report,
) -> Option<&'n [Entry]> {
    match &node.value {
        NodeValue::Map(entries) if entries.len() > max => {
            let message = format!(
                "{what} has {} entries, and at most {max} are allowed",
                entries.len()
            );
            report.error("TOO_MANY", message, node.span.clone());
            None
        }
        NodeValue::Map(entries) => Some(entries),
        _ => {
            wrong_type(node, what, "a mapping", report);
            None
        }
    }
}

fn wrong_type(node: &Node, what: &str, wanted: &str, report: &mut Report) {
    let message = format!("{what} has to be {wanted}, and it is {}", node.kind());
    report.error("WRONG_TYPE", message, node.span.clone());
}
