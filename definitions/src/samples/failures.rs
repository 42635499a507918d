//! What expressions read of failures: the codes that they compare with, which compensations tell failures apart, and whose
//! steps' state they look at. Deliberately not here: `codes` of `onError`, which is no expression.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use crate::definition::{Compensation, Definition, Step, StepIndex};
use crate::expression::Mapping;
use crate::expression::reference::Reference;
use crate::expression::syntax::{children, parse, path_of};
use crate::limits::CODE_BYTES_MAX;

/// What expressions read of failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureReads {
    /// Of each step in document order.
    pub steps: Vec<StepFailureReads>,
    /// Codes that a compensation compares with `self.reason`: any step's rejection can be the reason.
    pub reasons: BTreeSet<String>,
    /// Where a failure's code or words are used in a way that names no code; in words.
    pub assumed: BTreeSet<String>,
}

/// What expressions read of one step's failure, and what its compensation reads of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepFailureReads {
    /// Codes that its routes and its compensation compare its own failure's with.
    pub codes: BTreeSet<String>,
    /// Its compensation reads why the saga is undone.
    pub reason: bool,
    /// Its compensation reads how its action failed.
    pub error: bool,
    /// Its compensation reads what its action was called with.
    pub input: bool,
    /// Steps whose status or output its compensation reads.
    pub others: Vec<StepIndex>,
}

/// What a definition's expressions read of failures. Within `with_room`.
pub(super) fn collect(definition: &Definition) -> FailureReads {
    let mut reads = FailureReads::default();
    for step in definition.steps() {
        let of_step = of_step(definition, step, &mut reads);
        reads.steps.push(of_step);
    }
    reads
}

fn of_step(definition: &Definition, step: &Step, reads: &mut FailureReads) -> StepFailureReads {
    let mut found = StepFailureReads::default();
    let mut walk = Walk {
        own: &mut found.codes,
        reasons: &mut reads.reasons,
        assumed: &mut reads.assumed,
        source: "",
    };
    for route in step.on_error() {
        if let Some(when) = route.when() {
            walk.source(when.source(), false);
        }
        walk.mapping(route.output());
    }
    let Compensation::Call(undo) = step.compensation() else {
        return found;
    };
    walk.mapping(undo.input());
    let references = undo.input().into_iter().flat_map(Mapping::expressions);
    for reference in references.flat_map(|(expression, _)| expression.references()) {
        let first = reference.fields.first().map(String::as_str);
        match reference.root.as_str() {
            "self" => {
                found.reason |= first.is_none_or(|field| field == "reason");
                found.error |= first.is_none_or(|field| field == "error");
                found.input |= first.is_none_or(|field| field == "input");
            }
            "steps" => found.others.extend(read_of(definition, reference)),
            _ => {}
        }
    }
    found.others.sort_unstable();
    found.others.dedup();
    found
}

/// The step that is read, or all of them.
fn read_of(definition: &Definition, reference: &Reference) -> Vec<StepIndex> {
    match reference.fields.first() {
        Some(id) => definition.step_index(id).into_iter().collect(),
        None => definition.step_indices().collect(),
    }
}

/// Whose code a path is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// Why the saga is undone.
    Reason,
    /// The code of the step's own failure.
    Own,
    /// A failure with its words.
    Words,
}

fn read_by(expr: &IdedExpr) -> Option<Read> {
    let (root, fields) = path_of(expr)?;
    match (root, fields.as_slice()) {
        ("self", ["reason"]) => Some(Read::Reason),
        ("self", ["error", "code"]) | ("error", ["code"]) => Some(Read::Own),
        ("self", [] | ["error", ..]) | ("error", _) => Some(Read::Words),
        _ => None,
    }
}

struct Walk<'a> {
    own: &'a mut BTreeSet<String>,
    reasons: &'a mut BTreeSet<String>,
    assumed: &'a mut BTreeSet<String>,
    source: &'a str,
}

impl<'a> Walk<'a> {
    fn mapping(&mut self, mapping: Option<&'a Mapping>) {
        for (expression, _) in mapping.into_iter().flat_map(Mapping::expressions) {
            self.source(expression.source(), true);
        }
    }

    fn source(&mut self, source: &'a str, passed_on: bool) {
        self.source = source;
        // What is in a definition has been parsed before.
        if let Ok(syntax) = parse(source) {
            self.walk(&syntax.tree, passed_on);
        }
    }

    /// A code that is only passed on is the same to the expression, whichever it is.
    fn walk(&mut self, expr: &IdedExpr, passed_on: bool) {
        if read_by(expr).is_some() {
            if !passed_on {
                let source = self.source;
                self.assumed.insert(format!(
                    "no other code than those that are tried makes a difference to `{source}`"
                ));
            }
            return;
        }
        match &expr.expr {
            Expr::Select(select) if select.test && read_by(&select.operand).is_some() => {}
            Expr::Call(call) => self.walk_call(call, passed_on),
            Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => {
                children(expr).for_each(|child| self.walk(child, passed_on));
            }
            _ => children(expr).for_each(|child| self.walk(child, false)),
        }
    }

    fn walk_call(&mut self, call: &CallExpr, passed_on: bool) {
        let target = call.target.as_deref();
        let arguments: Vec<&IdedExpr> = target.into_iter().chain(&call.args).collect();
        let name = call.func_name.as_str();
        if let [one, other] = arguments.as_slice()
            && (self.compares(name, one, other)
                || (is_symmetric(name) && self.compares(name, other, one)))
        {
            return;
        }
        for (index, argument) in arguments.iter().enumerate() {
            let passed_on = match name {
                operators::CONDITIONAL => passed_on && index > 0,
                operators::ADD => passed_on,
                _ => false,
            };
            self.walk(argument, passed_on);
        }
    }

    /// Takes note of the codes that a comparison names; false if it is no such comparison.
    fn compares(&mut self, name: &str, read: &IdedExpr, other: &IdedExpr) -> bool {
        let Some(read) = read_by(read) else {
            return false;
        };
        let text = text_of(other);
        let codes = match (name, &other.expr, text) {
            // Whether there is an error at all is told apart by what happens.
            (operators::EQUALS | operators::NOT_EQUALS, Expr::Literal(LiteralValue::Null), _) => {
                return true;
            }
            (operators::EQUALS | operators::NOT_EQUALS, _, Some(text)) => {
                vec![text.to_owned()]
            }
            (operators::IN, Expr::List(list), _) => {
                let texts: Option<Vec<_>> = list.elements.iter().map(text_of).collect();
                match texts {
                    Some(texts) => texts.into_iter().map(str::to_owned).collect(),
                    None => return false,
                }
            }
            ("startsWith", _, Some(text)) => vec![format!("{text}{FILLER}")],
            ("endsWith", _, Some(text)) => vec![format!("{FILLER}{text}")],
            ("contains", _, Some(text)) => vec![format!("{FILLER}{text}{FILLER}")],
            _ => return false,
        };
        let into = match read {
            Read::Reason => &mut *self.reasons,
            Read::Own => &mut *self.own,
            Read::Words => return false,
        };
        // What is no code is never one.
        into.extend(codes.into_iter().filter(|code| is_code(code)));
        true
    }
}

/// Stands for the rest of a code of which an expression names a part.
const FILLER: &str = "HERE";

fn is_symmetric(name: &str) -> bool {
    [operators::EQUALS, operators::NOT_EQUALS].contains(&name)
}

fn text_of(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// 1 to 128 of `A`–`Z`, `0`–`9` and `_`, with a letter first: what a participant may reject with.
#[must_use]
pub fn is_code(code: &str) -> bool {
    code.len() <= CODE_BYTES_MAX
        && code.starts_with(|char: char| char.is_ascii_uppercase())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    fn codes(found: &BTreeSet<String>) -> Vec<&str> {
        found.iter().map(String::as_str).collect()
    }

    #[test]
    fn codes_are_those_that_expressions_compare_a_failure_with() {
        let found = check(
            "apiVersion: amends/v1
name: failing
steps:
  - {id: first, call: p.first, compensate: {none: nothing stays}}
  - id: hold
    call: p.hold
    onError:
      - {when: \"error.code != 'LATER' && error.code.startsWith('CARD_')\", then: park}
      - {when: \"error.code in ['ONE', 'TWO', 'not a code'] || error.code == 'never'\", then: park}
    compensate:
      call: p.release
      input:
        a: \"${{ self.error != null && 'MINE' == self.error.code }}\"
        b: \"${{ self.reason.endsWith('_GONE') || self.reason == 'NO' ? self.reason : steps.first.status }}\"
  - {id: pay, kind: pivot, call: p.pay}
",
        )
        .failures;
        let hold = &found.steps[1];
        assert_eq!(
            codes(&hold.codes),
            ["CARD_HERE", "LATER", "MINE", "ONE", "TWO"]
        );
        assert_eq!(codes(&found.reasons), ["HERE_GONE", "NO"]);
        assert!(hold.reason && hold.error && !hold.input);
        assert_eq!(hold.others, [StepIndex(0)]);
        assert_eq!(found.steps[0], StepFailureReads::default());
        assert!(found.assumed.is_empty(), "{:?}", found.assumed);
    }

    #[test]
    fn a_code_is_in_upper_snake_case_and_so_long_at_most() {
        for (code, expected) in [
            ("NO".to_owned(), true),
            ("NO_2".to_owned(), true),
            ("A".repeat(CODE_BYTES_MAX), true),
            ("A".repeat(CODE_BYTES_MAX + 1), false),
            ("no".to_owned(), false),
            ("_NO".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_code(&code), expected, "{code}");
        }
    }

    #[test]
    fn what_names_no_code_is_assumed() {
        for (read, assumed) in [
            ("self.reason", 0),
            ("'it is ' + self.reason", 0),
            ("[self.reason, self.error]", 0),
            ("size(self.reason)", 1),
            ("self.reason.matches('A.*')", 1),
            ("self.reason == input.code", 1),
            ("self.reason in input.codes", 1),
            ("self.error.message == 'no'", 1),
            ("has(self.error.code)", 0),
        ] {
            let source = format!(
                "apiVersion: amends/v1
name: failing
steps:
  - {{id: hold, call: p.hold, compensate: {{call: p.release, input: {{x: \"${{{{ {read} }}}}\"}}}}}}
"
            );
            let found = check(&source).failures;
            assert_eq!(found.assumed.len(), assumed, "{read}: {:?}", found.assumed);
            assert!(found.reasons.is_empty() && found.steps[0].codes.is_empty());
        }
    }
}
