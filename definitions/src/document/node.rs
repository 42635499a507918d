//! A document as a tree of nodes with their places: what YAML and the normal form have in common. Scalars keep how they were
//! written, because `no` and `"no"` are not the same.

use std::borrow::Cow;
use std::ops::Range;

use super::fields::Spanned;
use crate::json::{self, Reader};

/// A value and its place in the source, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) value: NodeValue,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum NodeValue {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

/// A scalar as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) style: Style,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes in YAML.
    Plain,
    /// With quotes or as a block: a string.
    Quoted,
    /// A number, bool or null of JSON.
    Json,
}

/// What a scalar stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data<'a> {
    Null,
    Bool(bool),
    /// A number of JSON, in one form for equal numbers.
    Number(Cow<'a, str>),
    Text(&'a str),
}

impl Entry {
    /// The key with its place.
    pub(crate) fn name(&self) -> Spanned<String> {
        Spanned {
            value: self.key.clone(),
            span: self.key_span.clone(),
        }
    }
}

impl Node {
    /// What it is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            NodeValue::List(_) => "a list",
            NodeValue::Map(_) => "a mapping",
            NodeValue::Scalar(scalar) => match scalar.data() {
                Ok(Data::Null) => "empty",
                Ok(Data::Bool(_)) => "a bool",
                Ok(Data::Number(_)) => "a number",
                Ok(Data::Text(_)) => "a string",
                Err(_) => "ambiguous",
            },
        }
    }

    /// Writes it as JSON, keys sorted. Ambiguous scalars go to `ambiguous` and come out as null.
    pub(crate) fn write_json<'n>(&'n self, out: &mut String, ambiguous: &mut Vec<&'n Node>) {
        match &self.value {
            NodeValue::Scalar(scalar) => match scalar.data() {
                Ok(data) => data.write_json(out),
                Err(_) => {
                    ambiguous.push(self);
                    out.push_str("null");
                }
            },
            NodeValue::List(items) => {
                out.push('[');
                for (nth, item) in items.iter().enumerate() {
                    if nth > 0 {
                        out.push(',');
                    }
                    item.write_json(out, ambiguous);
                }
                out.push(']');
            }
            NodeValue::Map(entries) => {
                out.push('{');
                for (nth, entry) in sorted(entries).into_iter().enumerate() {
                    if nth > 0 {
                        out.push(',');
                    }
                    json::write_string(out, &entry.key);
                    out.push(':');
                    entry.value.write_json(out, ambiguous);
                }
                out.push('}');
            }
        }
    }
}

/// The entries of a mapping by their keys.
pub(crate) fn sorted(entries: &[Entry]) -> Vec<&Entry> {
    let mut entries: Vec<&Entry> = entries.iter().collect();
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    entries
}

impl Scalar {
    /// What it stands for. What YAML readers disagree on is an error: the hint says how to write it.
    pub(crate) fn data(&self) -> Result<Data<'_>, String> {
        let text = self.text.as_str();
        match (self.style, text) {
            (Style::Quoted, text) => return Ok(Data::Text(text)),
            (_, "" | "~" | "null") => return Ok(Data::Null),
            (_, "true") => return Ok(Data::Bool(true)),
            (_, "false") => return Ok(Data::Bool(false)),
            _ => {}
        }
        let mut reader = Reader::new(text);
        if let Ok(number) = reader.number()
            && number.text.len() == text.len()
            && (self.style == Style::Json || !text.contains(['e', 'E']))
        {
            return Ok(Data::Number(normal_number(text, number.integer)));
        }
        if is_ambiguous(text) {
            return Err(format!(
                "write \"{text}\" in quotes if it is text, else as a plain number or as true or false"
            ));
        }
        Ok(Data::Text(text))
    }
}

impl Data<'_> {
    fn write_json(&self, out: &mut String) {
        match self {
            Data::Null => out.push_str("null"),
            Data::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
            Data::Number(number) => out.push_str(number),
            Data::Text(text) => json::write_string(out, text),
        }
    }
}

fn normal_number(text: &str, integer: bool) -> Cow<'_, str> {
    match text.parse::<f64>() {
        _ if text == "-0" => Cow::Borrowed("0"),
        Ok(double) if !integer => {
            let mut out = String::new();
            json::write_double(&mut out, double);
            Cow::Owned(out)
        }
        _ => Cow::Borrowed(text),
    }
}

/// If some reader of YAML takes an unquoted text for a number or a bool.
fn is_ambiguous(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    if matches!(
        lower.as_str(),
        "yes" | "no" | "on" | "off" | "y" | "n" | "true" | "false" | "null"
    ) {
        return true;
    }
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    if matches!(unsigned, ".nan" | ".inf") {
        return true;
    }
    if let Some(digits) = unsigned.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_');
    }
    if let Some(digits) = unsigned.strip_prefix("0o").or(unsigned.strip_prefix("0b")) {
        return !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    }
    // 1_000, 012, +1, 1., .5, 1e3, and 12:30, which is a number to base 60 for some.
    let parts: Vec<&str> = unsigned.split(':').collect();
    if parts.len() > 1 {
        return parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    }
    let without = unsigned.replace('_', "");
    unsigned.starts_with(|char: char| char.is_ascii_digit() || char == '.')
        && without.bytes().any(|byte| byte.is_ascii_digit())
        && without.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar {
            text: text.to_owned(),
            style: Style::Plain,
        }
    }

    #[test]
    fn what_readers_of_yaml_disagree_on_is_ambiguous() {
        for text in [
            "no", "NO", "Yes", "on", "off", "y", "N", "True", "NULL", "012", "+1", "0x1F", "0o7",
            "1_000", "1e3", ".5", "1.", ".nan", "-.inf", "12:30", "0b1",
        ] {
            assert!(plain(text).data().is_err(), "{text}");
        }
    }

    #[test]
    fn plain_scalars_that_all_readers_agree_on_are_taken() {
        assert_eq!(plain("").data(), Ok(Data::Null));
        assert_eq!(plain("true").data(), Ok(Data::Bool(true)));
        assert_eq!(plain("-5").data(), Ok(Data::Number("-5".into())));
        assert_eq!(plain("1.50").data(), Ok(Data::Number("1.5".into())));
        for text in [
            "note", "1.2.3", "10s", "a:1", "order-1", "-", ".", "nan", "e3",
        ] {
            assert_eq!(plain(text).data(), Ok(Data::Text(text)), "{text}");
        }
    }
}
