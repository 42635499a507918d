//! Parsing, and what can be said about an expression without running it: its nesting, the functions it calls, what it refers to.

use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SourceInfo, operators};

use super::charge::ENV;
use super::compile::{self, Fault, fault};
use super::outside::Outside;
use super::pattern::{Pattern, repeats};
use super::reference::{ROOTS, Reference, Variable};
use crate::limits::{
    EXPRESSION_COMPREHENSIONS_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_PATTERN_BYTES_MAX,
    EXPRESSION_PATTERN_REPEATS_MAX,
};

/// A parsed and checked expression.
pub(crate) struct Syntax {
    pub(crate) tree: IdedExpr,
    pub(super) references: Vec<Reference>,
    pub(super) variables: Vec<Variable>,
    /// The patterns of `matches`, each once.
    pub(super) patterns: Vec<Pattern>,
}

/// Parses a source within the limits. The parser recurses once per operator of a chain, and through many rules per bracket:
/// call it within [`compile::with_room`].
pub(crate) fn parse(source: &str) -> Result<Syntax, Fault> {
    check_brackets(source)?;
    let (tree, info) = parse_here(source)?;
    let mut scan = Scan {
        source,
        info: &info,
        variables: Vec::new(),
        references: Vec::new(),
        named: Vec::new(),
        patterns: Vec::new(),
    };
    check_nodes(&tree, source)?;
    scan.visit(&tree)?;
    let (references, variables, patterns) = (scan.references, scan.named, scan.patterns);
    Ok(Syntax {
        tree,
        references,
        variables,
        patterns,
    })
}

/// A name and fields of it: `a.b.c`, `a["b"].c`.
pub(crate) fn path_of(expr: &IdedExpr) -> Option<(&str, Vec<&str>)> {
    match &expr.expr {
        Expr::Ident(name) => Some((name, Vec::new())),
        Expr::Select(select) if !select.test => {
            let (root, mut fields) = path_of(&select.operand)?;
            fields.push(&select.field);
            Some((root, fields))
        }
        Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
            let [container, index] = call.args.as_slice() else {
                return None;
            };
            let Expr::Literal(LiteralValue::String(field)) = &index.expr else {
                return None;
            };
            let (root, mut fields) = path_of(container)?;
            fields.push(field.inner());
            Some((root, fields))
        }
        _ => None,
    }
}

/// The expressions directly within another.
pub(crate) fn children(expr: &IdedExpr) -> impl Iterator<Item = &IdedExpr> {
    let mut children: Vec<&IdedExpr> = Vec::new();
    match &expr.expr {
        Expr::Call(call) => children.extend(call.target.as_deref().into_iter().chain(&call.args)),
        Expr::Comprehension(comprehension) => children.extend([
            &comprehension.iter_range,
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ]),
        Expr::List(list) => children.extend(&list.elements),
        Expr::Map(map) => children.extend(map.entries.iter().flat_map(compile::entry_parts)),
        Expr::Select(select) => children.push(&select.operand),
        Expr::Struct(message) => {
            children.extend(message.entries.iter().flat_map(compile::entry_parts));
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
    children.into_iter()
}

/// Bounds brackets within each other, before the parser recurses into them.
fn check_brackets(source: &str) -> Result<(), Fault> {
    let mut depth = 0_usize;
    for (at, byte) in Outside::of(source, 0).without_comments() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > EXPRESSION_DEPTH_MAX {
            return Err(too_deep(at..at + 1));
        }
    }
    Ok(())
}

fn too_deep(at: Range<usize>) -> Fault {
    Fault {
        help: Some("a chain of operators nests as well: group it with parentheses".into()),
        ..fault(
            "EXPRESSION_TOO_DEEP",
            format!("the expression is nested deeper than {EXPRESSION_DEPTH_MAX}"),
            at,
        )
    }
}

fn parse_here(source: &str) -> Result<(IdedExpr, SourceInfo), Fault> {
    ENV.parser()
        .parse_with_source_info(source)
        .map_err(|errors| match errors.errors.first() {
            Some(first) => explain(source, &first.msg, first.pos),
            None => syntax_fault("the expression cannot be parsed", 0..source.len()),
        })
}

/// A message of the parser in our words, with its place.
fn explain(source: &str, message: &str, (line, column): (isize, isize)) -> Fault {
    if message.contains("ecursion") {
        return too_deep(0..source.len());
    }
    let message = message.lines().next().unwrap_or_default();
    let message = message.trim_start_matches("Syntax error: ");
    let unexpected = message
        .split_once("input '")
        .or_else(|| message.split_once("error at: '"))
        .map(|(_, rest)| rest.split(" expecting").next().unwrap_or(rest))
        .and_then(|rest| rest.rsplit_once('\''))
        .map(|(unexpected, _)| unexpected)
        .filter(|unexpected| !unexpected.is_empty());
    if unexpected == Some("<EOF>") {
        let end = source.len();
        return syntax_fault("the expression ends where a value is expected", end..end);
    }
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let column = usize::try_from(column).unwrap_or(1).max(1);
    let lines = source.split_inclusive('\n').take(line - 1);
    let start = lines.map(str::len).sum::<usize>();
    let column = source[start..].char_indices().nth(column - 1);
    let start = start + column.map_or(0, |(offset, _)| offset);
    let Some(unexpected) = unexpected else {
        // What the parser says of its own insides helps nobody.
        let said = match message.split_once(": ") {
            Some((said, inside)) if inside.contains('{') => said,
            _ => message,
        };
        let said = if said.is_empty() || said.contains(['`', '{']) {
            "the expression cannot be parsed"
        } else {
            said
        };
        return syntax_fault(crate::json::shortened_to(said, 160), start..start);
    };
    // The parser counts places from 0 for some of its messages and from 1 for others.
    let from = [start, start.saturating_sub(1), start + 1]
        .into_iter()
        .find(|at| {
            let here = source.get(*at..);
            here.is_some_and(|here| here.starts_with(unexpected))
        });
    let at = from.map_or(start..start, |from| from..from + unexpected.len());
    let unexpected = crate::json::shortened(unexpected);
    syntax_fault(format!("`{unexpected}` is not expected here"), at)
}

fn syntax_fault(message: impl Into<String>, at: Range<usize>) -> Fault {
    fault("EXPRESSION_SYNTAX", message, at)
}

/// No value holds U+0000: databases refuse it in text, and payloads do as well.
pub(super) const NUL: &str = "a text holds no character U+0000";

/// Without recursion: the tree may be as deep as the source is long.
fn check_nodes(tree: &IdedExpr, source: &str) -> Result<(), Fault> {
    let mut open = vec![(tree, 1_usize)];
    while let Some((expr, depth)) = open.pop() {
        if depth > EXPRESSION_DEPTH_MAX {
            return Err(too_deep(0..source.len()));
        }
        let nul = match &expr.expr {
            Expr::Literal(LiteralValue::String(text)) => text.inner().contains('\0'),
            Expr::Literal(LiteralValue::Bytes(bytes)) => bytes.inner().contains(&0),
            _ => false,
        };
        if nul {
            return Err(syntax_fault(NUL, 0..source.len()));
        }
        open.extend(children(expr).map(|child| (child, depth + 1)));
    }
    Ok(())
}

struct Scan<'a> {
    source: &'a str,
    info: &'a SourceInfo,
    /// The variables of the comprehensions around.
    variables: Vec<&'a str>,
    references: Vec<Reference>,
    /// The variables of all comprehensions.
    named: Vec<Variable>,
    patterns: Vec<Pattern>,
}

impl<'a> Scan<'a> {
    fn visit(&mut self, expr: &'a IdedExpr) -> Result<(), Fault> {
        let (path, test) = match &expr.expr {
            Expr::Select(select) if select.test => {
                let path = path_of(&select.operand).map(|(root, mut fields)| {
                    fields.push(&select.field);
                    (root, fields)
                });
                (path, true)
            }
            _ => (path_of(expr), false),
        };
        if let Some((root, fields)) = path {
            if !self.is_variable(root) {
                let at = self.place_of_path(expr, root, &fields);
                self.references.push(Reference {
                    root: root.to_owned(),
                    fields: fields.into_iter().map(str::to_owned).collect(),
                    test,
                    beside_double: false,
                    beside_int: false,
                    at,
                });
            }
            return Ok(());
        }
        match &expr.expr {
            Expr::Call(call) => {
                self.check_call(expr, call)?;
                return self.visit_arguments(expr, call);
            }
            Expr::Comprehension(comprehension) => {
                self.visit(&comprehension.iter_range)?;
                return self.visit_body(expr, comprehension);
            }
            Expr::Struct(message) => {
                let message = format!("there is no type `{}`", message.type_name);
                return Err(fault("UNKNOWN_FUNCTION", message, self.place(expr, "")));
            }
            _ => {}
        }
        children(expr).try_for_each(|child| self.visit(child))
    }

    fn visit_arguments(&mut self, expr: &'a IdedExpr, call: &'a CallExpr) -> Result<(), Fault> {
        let arithmetic = matches!(
            call.func_name.as_str(),
            operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
        );
        let constant = |wanted: fn(&LiteralValue) -> bool| {
            arithmetic
                && call.args.iter().any(|arg| match &arg.expr {
                    Expr::Literal(literal) => wanted(literal),
                    _ => false,
                })
        };
        let double = constant(|literal| matches!(literal, LiteralValue::Double(_)));
        let int = constant(|literal| matches!(literal, LiteralValue::Int(_)));
        if double && int {
            return Err(Fault {
                help: Some("write both as doubles, such as `2.0`, or both as integers".into()),
                ..fault(
                    "MIXED_NUMBERS",
                    "arithmetic does not mix int and double",
                    self.place(expr, ""),
                )
            });
        }
        for child in children(expr) {
            let known = self.references.len();
            self.visit(child)?;
            if path_of(child).is_some()
                && let Some(reference) = self.references.get_mut(known)
            {
                reference.beside_double = double;
                reference.beside_int = int;
            }
        }
        Ok(())
    }

    fn visit_body(
        &mut self,
        expr: &'a IdedExpr,
        comprehension: &'a cel::common::ast::ComprehensionExpr,
    ) -> Result<(), Fault> {
        let variable = comprehension.iter_var.as_str();
        if ROOTS.contains(&variable) {
            let message = format!("the variable `{variable}` hides the root `{variable}`");
            return Err(fault("VARIABLE_HIDES_ROOT", message, self.place(expr, "")));
        }
        if !variable.starts_with('@') {
            self.named.push(Variable {
                name: variable.to_owned(),
                at: self.place(expr, ""),
            });
        }
        self.variables.push(variable);
        if self.variables.len() > EXPRESSION_COMPREHENSIONS_MAX {
            let message = format!(
                "more than {EXPRESSION_COMPREHENSIONS_MAX} of all, exists, exists_one, map, filter within each other"
            );
            return Err(fault("EXPRESSION_TOO_DEEP", message, self.place(expr, "")));
        }
        for part in [
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ] {
            self.visit(part)?;
        }
        self.variables.pop();
        Ok(())
    }

    fn is_variable(&self, name: &str) -> bool {
        name.starts_with('@') || self.variables.contains(&name)
    }

    fn check_call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Result<(), Fault> {
        let name = call.func_name.as_str();
        let known = if call.target.is_some() {
            MEMBERS.iter().find(|(known, _)| *known == name)
        } else {
            FUNCTIONS.iter().find(|(known, _)| *known == name)
        };
        let at = || self.place(expr, name);
        let Some((_, arities)) = known else {
            if name.starts_with(['_', '-', '!', '@']) {
                return Ok(());
            }
            let message = format!("there is no function `{}`", crate::json::shortened(name));
            let names = FUNCTIONS.iter().chain(&MEMBERS).map(|(known, _)| *known);
            return Err(Fault {
                help: crate::suggestion::nearest(name, names.chain(MACROS))
                    .map(|near| format!("did you mean `{near}`?")),
                ..fault("UNKNOWN_FUNCTION", message, at())
            });
        };
        if !arities.contains(&call.args.len()) {
            let message = format!(
                "`{name}` takes {arities:?} arguments, not {}",
                call.args.len()
            );
            return Err(fault("EXPRESSION_SYNTAX", message, at()));
        }
        if name == "matches" {
            self.check_pattern(expr, call)?;
        }
        Ok(())
    }

    /// A pattern is compiled once: it has to be a small constant.
    fn check_pattern(&mut self, expr: &IdedExpr, call: &CallExpr) -> Result<(), Fault> {
        let at = self.place(expr, "matches");
        let refuse = |message: String| Err(fault("EXPRESSION_PATTERN", message, at.clone()));
        let Some(Expr::Literal(LiteralValue::String(pattern))) =
            call.args.first().map(|pattern| &pattern.expr)
        else {
            return refuse("the pattern of `matches` has to be a constant string".into());
        };
        let pattern = pattern.inner();
        if pattern.len() > EXPRESSION_PATTERN_BYTES_MAX {
            return refuse(format!(
                "the pattern has {} bytes, and at most {EXPRESSION_PATTERN_BYTES_MAX} are allowed",
                pattern.len()
            ));
        }
        if repeats(pattern) > EXPRESSION_PATTERN_REPEATS_MAX {
            return refuse(format!(
                "the counts `{{n}}` of the pattern multiply to more than {EXPRESSION_PATTERN_REPEATS_MAX}"
            ));
        }
        if !compile::count_pattern() {
            return refuse(format!(
                "the definition uses `matches` more than {} times",
                crate::limits::DEFINITION_PATTERNS_MAX
            ));
        }
        if self.patterns.iter().any(|known| known.source() == pattern) {
            return Ok(());
        }
        match Pattern::compile(pattern) {
            Ok(compiled) => self.patterns.push(compiled),
            Err(message) => return refuse(message),
        }
        Ok(())
    }

    /// Where a node stands in the source, in bytes.
    fn place(&self, expr: &IdedExpr, name: &str) -> Range<usize> {
        let Some((start, end)) = self.info.offset_for(expr.id) else {
            return self.named(name);
        };
        let byte = |char: u32| {
            let mut chars = self.source.char_indices();
            let found = usize::try_from(char).ok().and_then(|char| chars.nth(char));
            found.map_or(self.source.len(), |(at, _)| at)
        };
        let (start, end) = (byte(start), byte(end.saturating_add(1)));
        let text = &self.source[start..end.max(start)];
        if name.is_empty() || text.starts_with(name) {
            return start..start + text.len();
        }
        self.named(name)
    }

    /// Where a path stands, if it is written with dots, else from its root on.
    fn place_of_path(&self, expr: &IdedExpr, root: &str, fields: &[&str]) -> Range<usize> {
        let mut path = root.to_owned();
        for field in fields {
            path.push('.');
            path.push_str(field);
        }
        let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '.';
        let mut places = self.source.match_indices(&path).map(|(at, _)| at);
        let found = places.find(|at| {
            let (before, behind) = (&self.source[..*at], &self.source[at + path.len()..]);
            !before.ends_with(is_part) && !behind.starts_with(is_part)
        });
        match found {
            Some(at) => at..at + path.len(),
            None => self.whole_path(self.place(expr, root)),
        }
    }

    /// From the place of a root to the end of the path.
    fn whole_path(&self, root: Range<usize>) -> Range<usize> {
        let rest = &self.source[root.end..];
        let path =
            rest.find(|char: char| !(char.is_ascii_alphanumeric() || char == '_' || char == '.'));
        root.start..root.end + path.unwrap_or(rest.len())
    }

    fn named(&self, name: &str) -> Range<usize> {
        match self.source.find(name) {
            Some(at) if !name.is_empty() => at..at + name.len(),
            _ => 0..self.source.len(),
        }
    }
}

/// Functions by name and number of arguments.
const FUNCTIONS: [(&str, &[usize]); 8] = [
    ("size", &[1]),
    ("string", &[1]),
    ("int", &[1]),
    ("uint", &[1]),
    ("double", &[1]),
    ("bool", &[1]),
    ("timestamp", &[1]),
    ("duration", &[1]),
];

/// Functions called on a value.
const MEMBERS: [(&str, &[usize]); 15] = [
    ("size", &[0]),
    ("contains", &[1]),
    ("startsWith", &[1]),
    ("endsWith", &[1]),
    ("matches", &[1]),
    ("getFullYear", &[0, 1]),
    ("getMonth", &[0, 1]),
    ("getDate", &[0, 1]),
    ("getDayOfMonth", &[0, 1]),
    ("getDayOfWeek", &[0, 1]),
    ("getDayOfYear", &[0, 1]),
    ("getHours", &[0, 1]),
    ("getMinutes", &[0, 1]),
    ("getSeconds", &[0, 1]),
    ("getMilliseconds", &[0, 1]),
];

const MACROS: [&str; 6] = ["has", "all", "exists", "exists_one", "map", "filter"];
