//! From source to a checked, rewritten syntax tree: bounds, known names, and the calls that charge for what can be expensive.

use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{
    CallExpr, EntryExpr, Expr, IdedEntryExpr, ListExpr, LiteralValue, operators,
};
use cel::common::types::CelInt;

use super::charge::{CHARGE, INDEX, MATCHES, WEIGH};
use super::pattern::{self, Pattern};
use super::reference::{Projection, Reference};
use super::sort;
use super::syntax::{self, Syntax};
use super::{Expression, Program, Rewritten};
use crate::limits::EXPRESSION_BYTES_MAX;

/// Why a text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Where in the text, in bytes.
    pub(crate) at: Range<usize>,
}

/// Runs what compiles expressions on a stack of its own: the parser needs more for a source of a kilobyte than the stack of
/// a worker has. None if there is no thread to be had, or if the parser panicked.
pub(crate) fn with_room<T: Send>(run: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("definition-check".into())
            .stack_size(STACK_BYTES);
        let handle = thread.spawn_scoped(scope, run).ok()?;
        handle.join().ok()
    })
}

thread_local! {
    /// Patterns compiled by this thread: [`with_room`] begins with a new one for each definition.
    static PATTERNS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// An overflow needs several times the longest source: a test runs the deepest ones. Memory that is not touched costs nothing.
const STACK_BYTES: usize = 32 * 1024 * 1024;

impl Expression {
    /// Compiles a source without `${{ }}`, within [`with_room`]. What it may refer to is for the caller to check.
    pub(crate) fn compile(source: &str) -> Result<Self, Fault> {
        let source = source.trim();
        if source.is_empty() {
            return Err(fault("EXPRESSION_SYNTAX", "the expression is empty", 0..0));
        }
        if source.len() > EXPRESSION_BYTES_MAX {
            let message = format!(
                "the expression has {} bytes, and at most {EXPRESSION_BYTES_MAX} are allowed",
                source.len()
            );
            return Err(fault("EXPRESSION_TOO_LONG", message, 0..source.len()));
        }
        if source.contains('\0') {
            return Err(fault("EXPRESSION_SYNTAX", syntax::NUL, 0..source.len()));
        }
        let Syntax {
            mut tree,
            references,
            variables,
            patterns,
        } = syntax::parse(source)?;
        let is_path = matches!(references.as_slice(), [only] if !only.test)
            && syntax::path_of(&tree).is_some();
        let sort = sort::of(&tree);
        let program = if is_path {
            Program::Path
        } else {
            rewrite(&mut tree, &patterns);
            Program::Cel(Box::new(Rewritten {
                roots: projections(&references),
                tree,
                patterns,
            }))
        };
        Ok(Self {
            source: source.to_owned(),
            references,
            variables,
            sort,
            program,
        })
    }
}

pub(super) fn fault(code: &'static str, message: impl Into<String>, at: Range<usize>) -> Fault {
    Fault {
        code,
        message: message.into(),
        help: None,
        at,
    }
}

fn projections(references: &[Reference]) -> Vec<(String, Projection)> {
    let mut roots: Vec<(String, Projection)> = Vec::new();
    for reference in references {
        let known = roots.iter().position(|(root, _)| *root == reference.root);
        let known = known.unwrap_or_else(|| {
            roots.push((reference.root.clone(), Projection::Presence));
            roots.len() - 1
        });
        roots[known].1.add(&reference.fields, reference.test);
    }
    roots
}

/// Rewrites a tree so that its evaluation pays. Nesting was bounded before, so recursion is.
fn rewrite(expr: &mut IdedExpr, patterns: &[Pattern]) {
    match &mut expr.expr {
        Expr::Call(call) => rewrite_call(call, patterns),
        Expr::Select(select) => rewrite(&mut select.operand, patterns),
        Expr::List(ListExpr { elements, .. }) => {
            for element in elements {
                rewrite(element, patterns);
                weigh(element);
            }
        }
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    rewrite(&mut entry.key, patterns);
                    rewrite(&mut entry.value, patterns);
                    weigh(&mut entry.value);
                }
            }
        }
        Expr::Comprehension(comprehension) => {
            rewrite(&mut comprehension.iter_range, patterns);
            for part in [
                &mut comprehension.accu_init,
                &mut comprehension.loop_cond,
                &mut comprehension.loop_step,
                &mut comprehension.result,
            ] {
                rewrite(part, patterns);
            }
            let body = nodes(&comprehension.loop_cond) + nodes(&comprehension.loop_step);
            wrap(&mut comprehension.iter_range, CHARGE, Some(body));
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {}
    }
}

fn rewrite_call(call: &mut CallExpr, patterns: &[Pattern]) {
    for arg in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
        rewrite(arg, patterns);
    }
    match call.func_name.as_str() {
        operators::CONDITIONAL
        | operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::NOT_STRICTLY_FALSE => return,
        operators::INDEX => {
            INDEX.clone_into(&mut call.func_name);
            return;
        }
        "matches" => return rewrite_matches(call, patterns),
        // An accumulator grows by appending, which the interpreter does in place if it sees this very shape.
        operators::ADD if call.args.first().is_some_and(is_internal) => return,
        _ => {}
    }
    for arg in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
        weigh(arg);
    }
}

/// The pattern was compiled, and is found by its number.
fn rewrite_matches(call: &mut CallExpr, patterns: &[Pattern]) {
    let Some(target) = call.target.take() else {
        return;
    };
    for arg in &mut call.args {
        let Expr::Literal(LiteralValue::String(source)) = &arg.expr else {
            continue;
        };
        let source = source.inner();
        let nth = patterns.iter().position(|known| known.source() == source);
        arg.expr = Expr::Ident(pattern::variable(nth.unwrap_or(patterns.len())));
    }
    call.args.insert(0, *target);
    MATCHES.clone_into(&mut call.func_name);
}

/// Makes looking at a whole value cost its weight.
fn weigh(expr: &mut IdedExpr) {
    if !matches!(expr.expr, Expr::Literal(_)) && !is_internal(expr) {
        wrap(expr, WEIGH, None);
    }
}

/// If an expression is a name that macros made, such as a comprehension's accumulator.
fn is_internal(expr: &IdedExpr) -> bool {
    matches!(&expr.expr, Expr::Ident(name) if name.starts_with('@'))
}

fn wrap(expr: &mut IdedExpr, function: &str, units: Option<u32>) {
    let inner = std::mem::take(expr);
    let id = inner.id;
    let units = units.map(|units| IdedExpr {
        id,
        expr: Expr::Literal(LiteralValue::Int(CelInt::from(i64::from(units)))),
    });
    *expr = IdedExpr {
        id,
        expr: Expr::Call(CallExpr {
            func_name: function.to_owned(),
            target: None,
            args: [inner].into_iter().chain(units).collect(),
        }),
    };
}

fn nodes(expr: &IdedExpr) -> u32 {
    1 + syntax::children(expr).map(nodes).sum::<u32>()
}

/// Counts a pattern of the definition that is being checked; no, if it is one too many.
pub(super) fn count_pattern() -> bool {
    PATTERNS.set(PATTERNS.get().saturating_add(1));
    PATTERNS.get() <= crate::limits::DEFINITION_PATTERNS_MAX
}

/// The expressions of an entry of a map.
pub(super) fn entry_parts(entry: &IdedEntryExpr) -> [&IdedExpr; 2] {
    match &entry.expr {
        EntryExpr::MapEntry(entry) => [&entry.key, &entry.value],
        EntryExpr::StructField(field) => [&field.value, &field.value],
    }
}
