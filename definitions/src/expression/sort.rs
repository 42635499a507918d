//! The sort of value that an expression yields, as far as its syntax tells: enough to refuse a condition that is never a bool and
//! a list that is never one. What only a payload tells stays open.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

/// A sort of JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Bool,
    Number,
    Text,
    List,
    Map,
    Null,
}

impl Sort {
    /// What it is, for a message.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Sort::Bool => "a bool",
            Sort::Number => "a number",
            Sort::Text => "a string",
            Sort::List => "a list",
            Sort::Map => "a map",
            Sort::Null => "null",
        }
    }

    /// What a JSON Schema's `type` stands for.
    pub(crate) fn of_schema_type(name: &str) -> Option<Self> {
        Some(match name {
            "boolean" => Sort::Bool,
            "integer" | "number" => Sort::Number,
            "string" => Sort::Text,
            "array" => Sort::List,
            "object" => Sort::Map,
            "null" => Sort::Null,
            _ => return None,
        })
    }
}

/// The sort of an expression's value; none if its syntax does not tell. Nesting was bounded before, so recursion is.
pub(super) fn of(expr: &IdedExpr) -> Option<Sort> {
    match &expr.expr {
        Expr::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => Some(Sort::Bool),
            LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => {
                Some(Sort::Number)
            }
            LiteralValue::String(_) => Some(Sort::Text),
            LiteralValue::Null => Some(Sort::Null),
            LiteralValue::Bytes(_) => None,
        },
        Expr::List(_) => Some(Sort::List),
        Expr::Map(_) => Some(Sort::Map),
        Expr::Select(select) if select.test => Some(Sort::Bool),
        Expr::Call(call) => of_call(call),
        Expr::Comprehension(comprehension) => match &comprehension.result.expr {
            // The accumulator as it is.
            Expr::Ident(_) => of(&comprehension.accu_init),
            _ => of(&comprehension.result),
        },
        Expr::Unspecified | Expr::Ident(_) | Expr::Select(_) | Expr::Struct(_) => None,
    }
}

fn of_call(call: &CallExpr) -> Option<Sort> {
    match call.func_name.as_str() {
        operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::NOT_STRICTLY_FALSE
        | operators::EQUALS
        | operators::NOT_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::IN
        | "bool"
        | "contains"
        | "startsWith"
        | "endsWith"
        | "matches" => Some(Sort::Bool),
        "size" | "int" | "uint" | "double" => Some(Sort::Number),
        "string" => Some(Sort::Text),
        operators::CONDITIONAL => match call.args.as_slice() {
            [_, yes, no] if of(yes) == of(no) => of(yes),
            _ => None,
        },
        // Both operands are of one sort, or it fails. Times and durations, which are of none, do the same among themselves.
        operators::ADD
        | operators::SUBSTRACT
        | operators::MULTIPLY
        | operators::DIVIDE
        | operators::MODULO
        | operators::NEGATE => call.args.iter().find_map(of),
        _ => None,
    }
}
