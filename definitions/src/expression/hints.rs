//! What an expression expects of the values that it refers to, read off its syntax tree: a number where it adds, a bool
//! where it branches, a neighbour of the constant that it compares with. Only guesses, for samples: nothing that runs
//! depends on them.

use std::collections::{BTreeMap, BTreeSet};

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, operators};

use super::syntax::{children, parse, path_of};

/// An element of a list, in a path.
pub(crate) const ELEMENT: &str = "[]";

/// What a value is expected to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hint {
    /// It may be absent.
    Optional,
    Bool,
    Int,
    Double,
    List,
    Text,
    /// A time.
    Time,
    /// This text, or another.
    Equals(String),
    /// Around this number.
    Near(i64),
}

/// What is expected at each path; a path begins with its root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hints {
    pub(crate) paths: BTreeMap<Vec<String>, BTreeSet<Hint>>,
    /// Fields that are read of values without a path.
    pub(crate) of_computed: BTreeSet<String>,
}

/// Names that stand for paths: the variables of comprehensions, the item of a step, `self`.
pub(crate) type Names = Vec<(String, Vec<String>)>;

impl Hints {
    /// Adds what an expression expects; `wanted` is what its own value has to be. Within `with_room`.
    pub(crate) fn collect(&mut self, source: &str, wanted: Option<Hint>, names: &Names) {
        // What is in a definition has been parsed before.
        if let Ok(syntax) = parse(source) {
            self.walk(&syntax.tree, wanted, &mut names.clone());
        }
    }

    /// Adds what is expected at a path.
    pub(crate) fn add(&mut self, path: Vec<String>, hints: impl IntoIterator<Item = Hint>) {
        self.paths.entry(path).or_default().extend(hints);
    }

    /// The value at this path may be absent.
    pub(crate) fn may_be_absent(&self, path: &[String]) -> bool {
        let hints = self.paths.get(path);
        hints.is_some_and(|hints| hints.contains(&Hint::Optional))
    }

    /// Every path that goes on from this one, by its next field.
    pub(crate) fn fields<'h>(&'h self, path: &'h [String]) -> BTreeSet<&'h str> {
        self.paths
            .range(path.to_vec()..)
            .take_while(|(known, _)| known.starts_with(path))
            .filter_map(|(known, _)| known.get(path.len()))
            .map(String::as_str)
            .collect()
    }

    fn walk(&mut self, expr: &IdedExpr, wanted: Option<Hint>, names: &mut Names) {
        if let Some(path) = resolve(expr, names) {
            self.add(path, wanted);
            return self.walk_filters(expr, names);
        }
        match &expr.expr {
            Expr::Select(select) if select.test => match resolve(&select.operand, names) {
                Some(mut path) => {
                    path.push(select.field.clone());
                    self.add(path, Some(Hint::Optional));
                    self.walk_filters(&select.operand, names);
                }
                None => self.walk(&select.operand, None, names),
            },
            Expr::Select(select) => {
                self.of_computed.insert(select.field.clone());
                self.walk(&select.operand, None, names);
            }
            Expr::Call(call) => self.walk_call(call, wanted, names),
            Expr::Comprehension(comprehension) => {
                self.walk(&comprehension.iter_range, Some(Hint::List), names);
                let element = element_of(&comprehension.iter_range, names);
                let known = names.len();
                if let Some(element) = element {
                    names.push((comprehension.iter_var.clone(), element));
                }
                self.walk(&comprehension.loop_cond, None, names);
                self.walk(&comprehension.loop_step, None, names);
                self.walk(&comprehension.result, None, names);
                names.truncate(known);
            }
            _ => children(expr).for_each(|child| self.walk(child, None, names)),
        }
    }

    /// The path of `list.filter(…)[0].field` leads through a filter, which expects something itself.
    fn walk_filters(&mut self, expr: &IdedExpr, names: &mut Names) {
        match &expr.expr {
            Expr::Comprehension(_) => self.walk(expr, None, names),
            Expr::Select(select) => self.walk_filters(&select.operand, names),
            Expr::Call(call) => {
                for argument in &call.args {
                    self.walk_filters(argument, names);
                }
            }
            _ => {}
        }
    }

    fn walk_call(&mut self, call: &CallExpr, wanted: Option<Hint>, names: &mut Names) {
        let arguments: Vec<&IdedExpr> = call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect();
        let name = call.func_name.as_str();
        let beside = |index: usize| arguments.iter().enumerate().find(|(at, _)| *at != index);
        for (index, argument) in arguments.iter().enumerate() {
            let other = beside(index).map(|(_, other)| &other.expr);
            let hint = match name {
                operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT => {
                    Some(Hint::Bool)
                }
                operators::CONDITIONAL if index == 0 => Some(Hint::Bool),
                operators::CONDITIONAL => wanted.clone(),
                operators::EQUALS
                | operators::NOT_EQUALS
                | operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS => other.and_then(compared_with),
                operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO => Some(summed_with(other)),
                operators::IN if index == 1 => Some(Hint::List),
                operators::INDEX if index == 0 => Some(Hint::List),
                operators::NEGATE => Some(Hint::Int),
                "size" => Some(Hint::List),
                "contains" | "startsWith" | "endsWith" | "matches" => Some(Hint::Text),
                "timestamp" => Some(Hint::Time),
                "string" => Some(Hint::Int),
                _ => None,
            };
            self.walk(argument, hint, names);
        }
    }
}

/// The path of an element of the list that a source stands for, its names replaced; none if the list is computed. Within
/// `with_room`.
pub(crate) fn element_path(source: &str, names: &Names) -> Option<Vec<String>> {
    element_of(&parse(source).ok()?.tree, names)
}

/// The path that a source is, its names replaced; none if its value is computed. Within `with_room`.
pub(crate) fn value_path(source: &str, names: &Names) -> Option<Vec<String>> {
    resolve(&parse(source).ok()?.tree, names)
}

/// The path that an expression is, its names replaced.
fn resolve(expr: &IdedExpr, names: &Names) -> Option<Vec<String>> {
    if let Some((root, fields)) = path_of(expr) {
        if root.starts_with('@') {
            return None;
        }
        let known = names.iter().rev().find(|(name, _)| name == root);
        let mut path = known.map_or_else(|| vec![root.to_owned()], |(_, path)| path.clone());
        path.extend(fields.into_iter().map(str::to_owned));
        return Some(path);
    }
    match &expr.expr {
        Expr::Select(select) if !select.test => {
            let mut path = resolve(&select.operand, names)?;
            path.push(select.field.clone());
            Some(path)
        }
        Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
            match call.args.as_slice() {
                [list, index] if matches!(index.expr, Expr::Literal(LiteralValue::Int(_))) => {
                    element_of(list, names)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The path of an element of a list. What a filter lets through are elements of what it filters.
fn element_of(list: &IdedExpr, names: &Names) -> Option<Vec<String>> {
    if let Expr::Comprehension(comprehension) = &list.expr {
        return lets_through(comprehension)
            .then(|| element_of(&comprehension.iter_range, names))
            .flatten();
    }
    let mut path = resolve(list, names)?;
    path.push(ELEMENT.to_owned());
    Some(path)
}

/// It is a filter: what it adds to its result is the element as it is.
fn lets_through(comprehension: &ComprehensionExpr) -> bool {
    let Expr::Call(choice) = &comprehension.loop_step.expr else {
        return false;
    };
    let [_, taken, _] = choice.args.as_slice() else {
        return false;
    };
    let (Expr::Call(sum), operators::CONDITIONAL) = (&taken.expr, choice.func_name.as_str()) else {
        return false;
    };
    let [_, added] = sum.args.as_slice() else {
        return false;
    };
    let Expr::List(added) = &added.expr else {
        return false;
    };
    let is_element = |expr: &IdedExpr| matches!(&expr.expr, Expr::Ident(name) if *name == comprehension.iter_var);
    sum.func_name == operators::ADD
        && matches!(added.elements.as_slice(), [only] if is_element(only))
}

fn compared_with(other: &Expr) -> Option<Hint> {
    let Expr::Literal(literal) = other else {
        return None;
    };
    match literal {
        LiteralValue::Int(number) => Some(Hint::Near(*number.inner())),
        LiteralValue::UInt(number) => i64::try_from(*number.inner()).ok().map(Hint::Near),
        LiteralValue::Double(_) => Some(Hint::Double),
        LiteralValue::String(text) => Some(Hint::Equals(text.inner().to_owned())),
        LiteralValue::Boolean(_) => Some(Hint::Bool),
        _ => None,
    }
}

fn summed_with(other: Option<&Expr>) -> Hint {
    match other {
        Some(Expr::Literal(LiteralValue::Double(_))) => Hint::Double,
        Some(Expr::Literal(LiteralValue::String(_))) => Hint::Text,
        _ => Hint::Int,
    }
}
