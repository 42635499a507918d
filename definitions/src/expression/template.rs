//! `${{ }}` in text: splitting a scalar into its parts, and compiling a whole template.

use std::ops::Range;

use super::compile::{Fault, fault};
use super::outside::Outside;
use super::reference::{Reference, Variable};
use super::sort::Sort;
use super::{Expression, Mapping, Piece, TextPart};
use crate::document::node::{Node, NodeValue, Scalar, Style, sorted};
use crate::json;

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// A part of a text, by its place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Source(Range<usize>),
}

/// Splits a text at its `${{ }}`. `$${{` stands for `${{`.
pub(crate) fn split(text: &str) -> Result<Vec<Part>, Fault> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(OPEN).map(|found| at + found) {
        if text[at..found].ends_with('$') {
            literal.push_str(&text[at..found - 1]);
            literal.push_str(OPEN);
            at = found + OPEN.len();
            continue;
        }
        literal.push_str(&text[at..found]);
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        let from = found + OPEN.len();
        let Some(to) = end_of_source(text, from) else {
            let message = "`${{` without its `}}`";
            return Err(fault("EXPRESSION_SYNTAX", message, found..text.len()));
        };
        parts.push(Part::Source(from..to));
        at = to + CLOSE.len();
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

/// The source in a field that takes one whole expression: bare, or as one `${{ }}`.
pub(crate) fn whole(text: &str) -> Result<Range<usize>, Fault> {
    let start = text.len() - text.trim_start().len();
    let end = text.trim_end().len().max(start);
    if !text.contains(OPEN) {
        return Ok(start..end);
    }
    let parts = split(&text[start..end])?;
    if let [Part::Source(source)] = parts.as_slice() {
        return Ok(start + source.start..start + source.end);
    }
    Err(Fault {
        help: Some("write the whole expression bare, or all of it inside one `${{ }}`".into()),
        ..fault(
            "HALF_WRAPPED_EXPRESSION",
            "a part of the expression is inside `${{ }}` and a part is not: this would be text, not a value",
            start..end,
        )
    })
}

/// Refuses an expression that would be another one inside `${{ }}`, where the normal form has it: a quote or a brace in a
/// comment hides the end.
pub(crate) fn stays_whole(text: &str, range: &Range<usize>) -> Result<(), Fault> {
    let wrapped = format!("{OPEN} {} {CLOSE}", &text[range.clone()]);
    let inside = OPEN.len()..wrapped.len() - CLOSE.len();
    if split(&wrapped).is_ok_and(|parts| parts == [Part::Source(inside)]) {
        return Ok(());
    }
    let message = "a comment of the expression has a quote or a brace that is not closed";
    Err(Fault {
        help: Some("leave the comment out, or close in it what it opens".into()),
        ..fault("EXPRESSION_SYNTAX", message, range.clone())
    })
}

/// Where a source ends: at the first `}}` that is in no string and closes no brace.
fn end_of_source(text: &str, from: usize) -> Option<usize> {
    let mut braces = 0_usize;
    for (at, byte) in Outside::of(text, from) {
        match byte {
            b'{' => braces += 1,
            b'}' if braces > 0 => braces -= 1,
            b'}' if text[at..].starts_with(CLOSE) => return Some(at),
            _ => {}
        }
    }
    None
}

/// What compiling a template comes across.
pub(crate) enum Found<'n> {
    /// A reference, placed in the text of a scalar, and the source that it is part of.
    Reference(&'n Node, Reference, String),
    /// A variable, placed in the text of a scalar.
    Variable(&'n Node, Variable),
    /// A list or a map, placed in the text of a scalar: it has no form that a text could take.
    Unprintable(&'n Node, Sort, Range<usize>),
    /// A fault in the text of a scalar.
    Fault(&'n Node, Fault),
    /// A scalar that readers of YAML disagree on.
    Ambiguous(&'n Node),
    /// An expression in a key.
    Key(Range<usize>),
}

impl Mapping {
    /// Compiles a template. With a fault among what was found, the mapping is of no use.
    pub(crate) fn compile<'n>(node: &'n Node, found: &mut Vec<Found<'n>>) -> Self {
        let mut source = String::new();
        node.write_json(&mut source, &mut Vec::new());
        let mut pieces = Pieces::default();
        pieces.add(node, found);
        pieces.flush();
        Self {
            source,
            pieces: pieces.pieces,
        }
    }
}

#[derive(Default)]
struct Pieces {
    pieces: Vec<Piece>,
    json: String,
}

impl Pieces {
    fn flush(&mut self) {
        if !self.json.is_empty() {
            self.pieces
                .push(Piece::Json(std::mem::take(&mut self.json)));
        }
    }

    fn add<'n>(&mut self, node: &'n Node, found: &mut Vec<Found<'n>>) {
        match &node.value {
            NodeValue::Scalar(scalar) => self.add_scalar(node, scalar, found),
            NodeValue::List(items) => {
                self.json.push('[');
                for (nth, item) in items.iter().enumerate() {
                    if nth > 0 {
                        self.json.push(',');
                    }
                    self.add(item, found);
                }
                self.json.push(']');
            }
            NodeValue::Map(entries) => {
                self.json.push('{');
                for (nth, entry) in sorted(entries).into_iter().enumerate() {
                    if nth > 0 {
                        self.json.push(',');
                    }
                    if entry.key.contains(OPEN) {
                        found.push(Found::Key(entry.key_span.clone()));
                    }
                    json::write_string(&mut self.json, &entry.key);
                    self.json.push(':');
                    self.add(&entry.value, found);
                }
                self.json.push('}');
            }
        }
    }

    fn add_scalar<'n>(&mut self, node: &'n Node, scalar: &Scalar, found: &mut Vec<Found<'n>>) {
        let text = &scalar.text;
        if scalar.style == Style::Json || !text.contains(OPEN) {
            let mut ambiguous = Vec::new();
            node.write_json(&mut self.json, &mut ambiguous);
            found.extend(ambiguous.into_iter().map(Found::Ambiguous));
            return;
        }
        let parts = match split(text) {
            Ok(parts) => parts,
            Err(fault) => return found.push(Found::Fault(node, fault)),
        };
        let mut compiled = Vec::new();
        let among_others = parts.len() > 1;
        for part in parts {
            match part {
                Part::Literal(literal) => compiled.push(TextPart::Literal(literal)),
                Part::Source(at) => match Expression::compile(&text[at.clone()]) {
                    Ok(expression) => {
                        for reference in &expression.references {
                            let at = moved_range(&reference.at, text, &at);
                            let reference = Reference {
                                at,
                                ..reference.clone()
                            };
                            found.push(Found::Reference(
                                node,
                                reference,
                                expression.source.clone(),
                            ));
                        }
                        for variable in &expression.variables {
                            let at = moved_range(&variable.at, text, &at);
                            let name = variable.name.clone();
                            found.push(Found::Variable(node, Variable { name, at }));
                        }
                        if let Some(sort @ (Sort::List | Sort::Map)) = expression.sort()
                            && among_others
                        {
                            found.push(Found::Unprintable(node, sort, at));
                        }
                        compiled.push(TextPart::Value(expression));
                    }
                    Err(fault) => found.push(Found::Fault(node, moved(fault, text, at))),
                },
            }
        }
        match compiled.as_slice() {
            [TextPart::Literal(literal)] => json::write_string(&mut self.json, literal),
            [TextPart::Value(_)] => {
                self.flush();
                if let Some(TextPart::Value(expression)) = compiled.pop() {
                    self.pieces.push(Piece::Value(expression));
                }
            }
            _ => {
                self.flush();
                self.pieces.push(Piece::Text(compiled));
            }
        }
    }
}

/// A fault of a source as one of the text that it stands in.
pub(crate) fn moved(mut fault: Fault, text: &str, source: Range<usize>) -> Fault {
    fault.at = moved_range(&fault.at, text, &source);
    fault
}

/// A place in a source as one in the text that it stands in.
pub(crate) fn moved_range(at: &Range<usize>, text: &str, source: &Range<usize>) -> Range<usize> {
    let untrimmed = &text[source.clone()];
    let from = source.start + untrimmed.len() - untrimmed.trim_start().len();
    from + at.start..from + at.end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        split(text)
            .expect("well formed")
            .into_iter()
            .map(|part| match part {
                Part::Literal(literal) => format!("'{literal}'"),
                Part::Source(at) => text[at].trim().to_owned(),
            })
            .collect()
    }

    #[test]
    fn a_text_is_split_at_its_expressions() {
        assert_eq!(parts("${{ a }}"), ["a"]);
        assert_eq!(parts("x ${{ a }} y ${{b}}"), ["'x '", "a", "' y '", "b"]);
        assert_eq!(parts("${{ {'a': {'b': 1}} }}!"), ["{'a': {'b': 1}}", "'!'"]);
        assert_eq!(parts("${{ '}}' + \"\\\"}}\" }}"), ["'}}' + \"\\\"}}\""]);
        assert_eq!(parts(r"${{ r'\' }}!"), [r"r'\'", "'!'"]);
        assert_eq!(parts("$${{ a }} costs $5"), ["'${{ a }} costs $5'"]);
        assert_eq!(parts("$$${{ a }}"), ["'$${{ a }}'"]);
        assert!(split("a ${{ b }").is_err());
    }

    #[test]
    fn a_whole_expression_is_bare_or_wrapped_but_not_half() {
        assert_eq!(whole(" a == b "), Ok(1..7));
        assert_eq!(whole("${{ a }}"), Ok(3..6));
        let stays = |text: &str| stays_whole(text, &(0..text.len())).map_err(|fault| fault.code);
        assert_eq!(stays("a // its end {}"), Ok(()));
        for hidden in ["a // it's", "a // {", "a // }}", "a // \""] {
            assert_eq!(stays(hidden), Err("EXPRESSION_SYNTAX"), "{hidden}");
        }
        for half in [
            "${{ a }} == 'b'",
            "!${{ a }}",
            "${{ a }}${{ b }}",
            "$${{ a }}",
        ] {
            assert_eq!(
                whole(half).map_err(|fault| fault.code),
                Err("HALF_WRAPPED_EXPRESSION"),
                "{half}"
            );
        }
    }
}
