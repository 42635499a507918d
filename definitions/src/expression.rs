//! Expressions (CEL) and mappings, with the crate behind a wall: bounded in length, nesting, operations, bytes and stack.

mod charge;
#[cfg(feature = "document")]
pub(crate) mod compile;
#[cfg(feature = "document")]
pub(crate) mod hints;
#[cfg(feature = "document")]
pub(crate) mod origin;
#[cfg(feature = "document")]
mod outside;
mod pattern;
pub(crate) mod reference;
#[cfg(feature = "document")]
pub(crate) mod sort;
#[cfg(feature = "document")]
pub(crate) mod syntax;
#[cfg(feature = "document")]
pub(crate) mod template;
mod time;
mod value;

use std::borrow::Cow;

use bytes::Bytes;
use cel::common::value::Val;
use cel::{Context, ExecutionError, IdedExpr};

use crate::json::{self, Reader};
use crate::limits::{
    EXPRESSION_UNITS_MAX, ITEM_KEYS_UNITS_MAX, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX,
};
use crate::payload::Payload;
use pattern::Pattern;
use reference::{Projection, Reference, Wanted};
use value::{NoJson, Scalar};

/// A compiled expression.
pub struct Expression {
    source: String,
    references: Vec<Reference>,
    #[cfg(feature = "document")]
    variables: Vec<reference::Variable>,
    #[cfg(feature = "document")]
    sort: Option<sort::Sort>,
    program: Program,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expression({})", self.source)
    }
}

enum Program {
    /// A path and nothing else: the first of the references.
    Path,
    /// Anything else.
    Cel(Box<Rewritten>),
}

/// An expression as it is evaluated.
struct Rewritten {
    /// The syntax tree, with the calls that charge.
    tree: IdedExpr,
    /// What has to be read of each root.
    roots: Vec<(String, Projection)>,
    /// The patterns of `matches`.
    patterns: Vec<Pattern>,
}

impl Expression {
    /// The source, without `${{ }}`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// What failed, or which bound was met.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Payload, EvaluationError> {
        charge::begin();
        let mut out = String::new();
        self.write_json(scope, &mut out)?;
        finish(out)
    }

    /// The value of a condition.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and if the value is not a bool.
    pub fn evaluate_bool(&self, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        charge::begin();
        match self.scalar(scope)?.as_deref() {
            Ok("true") => Ok(true),
            Ok("false") => Ok(false),
            _ => Err(self.failed("the value is not a bool")),
        }
    }

    /// The value of a key: a string as it is, an integer in decimal.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and if the value is neither, or empty, or longer than `KEY_BYTES_MAX`.
    pub fn evaluate_key(&self, scope: &Scope<'_>) -> Result<String, EvaluationError> {
        charge::begin();
        self.key(scope)
    }

    /// The key of each item of a list, which the scope shows under this name.
    ///
    /// # Errors
    /// As [`Expression::evaluate_key`], and `COST_EXCEEDED` if all of them together cost more than `ITEM_KEYS_UNITS_MAX`.
    pub fn evaluate_keys<'a>(
        &self,
        scope: &Scope<'a>,
        name: &'a str,
        items: &'a [Payload],
    ) -> Result<Vec<String>, EvaluationError> {
        let mut scope = scope.clone();
        let mut shared = ITEM_KEYS_UNITS_MAX;
        let mut keys = Vec::with_capacity(items.len());
        for item in items {
            scope.item = Some((name, item));
            let units = shared.min(EXPRESSION_UNITS_MAX);
            charge::begin_with(units);
            let key = self.key(&scope);
            if charge::exhausted() && units < EXPRESSION_UNITS_MAX {
                return Err(self.keys_cost_exceeded());
            }
            keys.push(key?);
            shared -= units - charge::left();
        }
        Ok(keys)
    }

    fn key(&self, scope: &Scope<'_>) -> Result<String, EvaluationError> {
        let key = match self.scalar(scope)? {
            Err(text) => text,
            Ok(other)
                if other
                    .bytes()
                    .all(|byte| byte == b'-' || byte.is_ascii_digit()) =>
            {
                other
            }
            Ok(_) => return Err(self.failed("a key is a string or an integer")),
        };
        if key.is_empty() {
            return Err(self.failed("the key is empty"));
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(self.failed(&format!(
                "the key has {} bytes, and at most {KEY_BYTES_MAX} are allowed",
                key.len()
            )));
        }
        Ok(key)
    }

    /// The value of a time: a string in RFC 3339, as microseconds since the Unix epoch.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and if the value is not such a string.
    pub fn evaluate_time(&self, scope: &Scope<'_>) -> Result<i64, EvaluationError> {
        charge::begin();
        match self.scalar(scope)? {
            Err(text) => time::parse(&text)
                .map_err(|what| self.failed(&format!("the value is no RFC 3339 time: {what}"))),
            Ok(_) => Err(self.failed("a time is a string in RFC 3339")),
        }
    }

    /// What it refers to.
    #[cfg(feature = "document")]
    pub(crate) fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The sort of value that it yields, if its syntax tells.
    #[cfg(feature = "document")]
    pub(crate) fn sort(&self) -> Option<sort::Sort> {
        self.sort
    }

    /// The path that it is, if it is a path and nothing else.
    #[cfg(feature = "document")]
    pub(crate) fn path(&self) -> Option<&Reference> {
        match self.program {
            Program::Path => self.references.first(),
            Program::Cel(..) => None,
        }
    }

    /// What its comprehensions call their items.
    #[cfg(feature = "document")]
    pub(crate) fn variables(&self) -> &[reference::Variable] {
        &self.variables
    }

    fn write_json(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), EvaluationError> {
        match &self.program {
            Program::Path => out.push_str(&self.look_up(scope)?),
            Program::Cel(rewritten) => {
                self.resolve(rewritten, scope, |value| value::write_json(value, out, 0))?
            }
        }
        if out.len() > PAYLOAD_BYTES_MAX {
            return Err(too_large());
        }
        Ok(())
    }

    /// Appends the value to a text.
    fn write_text(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), EvaluationError> {
        match self.scalar(scope)? {
            Ok(other) if other == "null" => {
                return Err(self.failed("null cannot stand inside text"));
            }
            Ok(text) | Err(text) => {
                charge::debit_copy(text.len()).map_err(|_| self.cost_exceeded())?;
                out.push_str(&text);
            }
        }
        if out.len() > PAYLOAD_BYTES_MAX {
            return Err(too_large());
        }
        Ok(())
    }

    /// The value without parts: a string is the error, all others come as JSON.
    fn scalar(&self, scope: &Scope<'_>) -> Result<Result<String, String>, EvaluationError> {
        let rewritten = match &self.program {
            Program::Cel(rewritten) => rewritten,
            Program::Path => {
                let text = self.look_up(scope)?;
                let mut reader = Reader::new(&text);
                return match reader.peek() {
                    Some(b'"') => match reader.string() {
                        Ok(text) => Ok(Err(text.into_owned())),
                        Err(fault) => Err(self.failed(&fault.to_string())),
                    },
                    Some(b'{' | b'[') => {
                        Err(self.failed("the value is not a string, a number or a bool"))
                    }
                    _ => Ok(Ok(text.trim().to_owned())),
                };
            }
        };
        let mut scalar = Ok(String::new());
        self.resolve(rewritten, scope, |value| {
            scalar = match value::scalar(value)? {
                Scalar::Text(text) => Err(text.into_owned()),
                Scalar::Other(text) => Ok(text.into_owned()),
            };
            Ok(())
        })?;
        Ok(scalar)
    }

    fn look_up<'s>(&self, scope: &Scope<'s>) -> Result<Cow<'s, str>, EvaluationError> {
        let Some(reference) = self.references.first() else {
            return Err(self.failed("nothing is referred to"));
        };
        let first = reference.fields.first().map(String::as_str);
        let bytes = reference::bytes_of(scope, &reference.root, Wanted::First(first));
        charge::debit_scan(bytes).map_err(|_| self.cost_exceeded())?;
        reference
            .look_up(scope)
            .map_err(|error| self.failed(&error))
    }

    /// Evaluates the tree and hands the value to `take`.
    fn resolve(
        &self,
        rewritten: &Rewritten,
        scope: &Scope<'_>,
        take: impl FnOnce(&dyn Val) -> Result<(), NoJson>,
    ) -> Result<(), EvaluationError> {
        let mut context = Context::with_env(charge::ENV.clone());
        for (root, wanted) in &rewritten.roots {
            let bytes = reference::bytes_of(scope, root, Wanted::Parts(wanted));
            charge::debit_scan(bytes).map_err(|_| self.cost_exceeded())?;
            let value = reference::root_value(scope, root, wanted).map_err(|error| {
                if charge::exhausted() {
                    return self.cost_exceeded();
                }
                self.failed(&error)
            })?;
            context.add_variable_as_val(root.as_str(), value);
        }
        for (nth, pattern) in rewritten.patterns.iter().enumerate() {
            context.add_variable_as_val(pattern::variable(nth), Box::new(pattern.clone()));
        }
        let value = cel::Value::resolve_val(&rewritten.tree, &context);
        if charge::exhausted() {
            return Err(self.cost_exceeded());
        }
        let value = value.map_err(|error| self.failed(&explain(&error, &self.source)))?;
        match take(value.as_ref()) {
            Ok(()) => Ok(()),
            Err(NoJson::Kind(error)) => Err(self.failed(&error)),
            Err(NoJson::TooLarge) => Err(too_large()),
        }
    }

    fn failed(&self, what: &str) -> EvaluationError {
        EvaluationError {
            code: "EXPRESSION_FAILED",
            message: format!("`{}`: {what}", self.source),
        }
    }

    fn cost_exceeded(&self) -> EvaluationError {
        EvaluationError {
            code: "COST_EXCEEDED",
            message: format!(
                "`{}`: costs more than {EXPRESSION_UNITS_MAX} units",
                self.source
            ),
        }
    }

    fn keys_cost_exceeded(&self) -> EvaluationError {
        EvaluationError {
            code: "COST_EXCEEDED",
            message: format!(
                "`{}`: costs more than {ITEM_KEYS_UNITS_MAX} units for all items together",
                self.source
            ),
        }
    }
}

/// A JSON-shaped template whose scalars may be expressions.
pub struct Mapping {
    source: String,
    pieces: Vec<Piece>,
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mapping({})", self.source)
    }
}

/// What a mapping's value is put together from, in order.
enum Piece {
    /// JSON that never changes.
    Json(String),
    /// A value.
    Value(Expression),
    /// A string.
    Text(Vec<TextPart>),
}

/// What a text is put together from, in order.
enum TextPart {
    Literal(String),
    Value(Expression),
}

impl Mapping {
    /// The template as JSON, keys sorted, with the `${{ }}` as they were written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its expressions; true for those inside a text.
    #[cfg(feature = "document")]
    pub(crate) fn expressions(&self) -> impl Iterator<Item = (&Expression, bool)> {
        self.pieces.iter().flat_map(|piece| match piece {
            Piece::Json(_) => Vec::new(),
            Piece::Value(expression) => vec![(expression, false)],
            Piece::Text(parts) => parts
                .iter()
                .filter_map(|part| match part {
                    TextPart::Literal(_) => None,
                    TextPart::Value(expression) => Some((expression, true)),
                })
                .collect(),
        })
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// What failed, or which bound was met.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Payload, EvaluationError> {
        charge::begin();
        let mut out = String::with_capacity(self.source.len() + VALUES_BYTES);
        for piece in &self.pieces {
            match piece {
                Piece::Json(json) => out.push_str(json),
                Piece::Value(expression) => expression.write_json(scope, &mut out)?,
                Piece::Text(parts) => {
                    let mut text = String::new();
                    for part in parts {
                        match part {
                            TextPart::Literal(literal) => text.push_str(literal),
                            TextPart::Value(expression) => {
                                expression.write_text(scope, &mut text)?;
                            }
                        }
                    }
                    json::write_string(&mut out, &text);
                    if out.len() > PAYLOAD_BYTES_MAX {
                        return Err(too_large());
                    }
                }
            }
        }
        finish(out)
    }
}

/// What an expression may see. Only what it refers to is looked up, written out and parsed.
#[derive(Clone)]
pub struct Scope<'a> {
    /// Root `input`.
    pub input: &'a Payload,
    /// Root `saga`: its id.
    pub saga_id: &'a dyn std::fmt::Display,
    /// Root `saga`: its key.
    pub saga_key: Option<&'a str>,
    /// Root `saga`: its start, RFC 3339.
    pub saga_started_at: &'a dyn std::fmt::Display,
    /// Root `steps`. Empty where no step exists yet (`key`).
    pub steps: &'a dyn Steps,
    /// Root `self`, in a compensation.
    pub itself: Option<SelfScope<'a>>,
    /// Root `signals`: of each declared signal the latest payload, if one came. Sorted by id.
    pub signals: Vec<(&'a str, Option<&'a Payload>)>,
    /// The item under `foreach`: its root's name and its value.
    pub item: Option<(&'a str, &'a Payload)>,
    /// Root `error`, in `onError`: the failure's code and message.
    pub error: Option<(&'a str, &'a str)>,
}

impl<'a> Scope<'a> {
    /// Before there is a saga: of the roots, `input` alone.
    #[must_use]
    pub fn of_input(input: &'a Payload) -> Self {
        Self {
            input,
            saga_id: &"",
            saga_key: None,
            saga_started_at: &"",
            steps: &[],
            itself: None,
            signals: Vec::new(),
            item: None,
            error: None,
        }
    }
}

/// The steps that expressions may see, looked at when one is referred to: a saga may have many.
pub trait Steps {
    /// How many there are.
    fn count(&self) -> usize;
    /// Where one stands in document order, from 0; none if there is no such step.
    fn find(&self, id: &str) -> Option<usize>;
    /// The one that stands there; below [`Steps::count`].
    fn at(&self, nth: usize) -> StepScope<'_>;
}

impl<const COUNT: usize> Steps for [StepScope<'_>; COUNT] {
    fn count(&self) -> usize {
        COUNT
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.iter().position(|step| step.id == id)
    }

    fn at(&self, nth: usize) -> StepScope<'_> {
        self[nth].clone()
    }
}

/// One `steps.<id>`.
#[derive(Clone, Debug)]
pub struct StepScope<'a> {
    /// The step's id.
    pub id: &'a str,
    /// `waiting`, `scheduled`, `succeeded`, `continued` (by an `onError` route), `skipped`, `failed`.
    pub status: &'static str,
    /// Its output; absent unless it has one.
    pub output: Option<&'a Payload>,
}

/// Root `self`: the step that is compensated.
#[derive(Clone, Debug)]
pub struct SelfScope<'a> {
    /// The action's recorded input.
    pub input: &'a Payload,
    /// The action's output; none when the outcome is not known (then `self.output` is null).
    pub output: Option<&'a Payload>,
    /// The last failure's code and message, if there was one.
    pub error: Option<(&'a str, &'a str)>,
    /// Why the saga compensates: `self.reason`, the abort's code.
    pub reason: &'a str,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct EvaluationError {
    /// `EXPRESSION_FAILED`, `COST_EXCEEDED` or `PAYLOAD_TOO_LARGE`.
    pub code: &'static str,
    /// What failed, with the expression's source.
    pub message: String,
}

/// What a mapping's values take, about: room that is asked for at once.
const VALUES_BYTES: usize = 128;

fn finish(json: String) -> Result<Payload, EvaluationError> {
    if json.len() > PAYLOAD_BYTES_MAX {
        return Err(too_large());
    }
    if json::depth(&json) > PAYLOAD_DEPTH_MAX {
        return Err(EvaluationError {
            code: "PAYLOAD_TOO_LARGE",
            message: format!("the value is nested deeper than {PAYLOAD_DEPTH_MAX}"),
        });
    }
    Ok(Payload::trusted(Bytes::from(json)))
}

fn too_large() -> EvaluationError {
    EvaluationError {
        code: "PAYLOAD_TOO_LARGE",
        message: format!("the value has more than {PAYLOAD_BYTES_MAX} bytes"),
    }
}

/// An error of the crate in our words: without payload data, and the same on each run. A key that is not in the source was
/// computed, and may be payload data.
fn explain(error: &ExecutionError, source: &str) -> String {
    match error {
        ExecutionError::NoSuchKey(key) if source.contains(key.as_str()) => {
            format!("no field `{}`", json::shortened(key))
        }
        ExecutionError::NoSuchKey(_) => "there is no field of the computed name".into(),
        ExecutionError::NoSuchOverload(error) => format!(
            "`{}` does not work on ({})",
            readable(error.function()),
            error.argument_types().join(", ")
        ),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => format!(
            "`{operator}` does not work on ({}, {}); int and double do not mix, use double() or int()",
            left.type_of(),
            right.type_of()
        ),
        ExecutionError::UnexpectedType { got, want } => format!("{got} where {want} is needed"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".into()
        }
        ExecutionError::Overflow(operator, ..) => format!("overflow in `{operator}`"),
        ExecutionError::IndexOutOfBounds(_) => "no such index".into(),
        ExecutionError::DuplicateKey(_) => "a key twice in a map".into(),
        ExecutionError::ValuesNotComparable(left, right) => format!(
            "{} and {} cannot be compared",
            left.type_of(),
            right.type_of()
        ),
        ExecutionError::FunctionError { function, message } => {
            let message = match function.as_str() {
                // The crate quotes what it was given.
                "duration" => "not a duration, such as `1h30m`, or one out of range".into(),
                "timestamp" => {
                    "not a timestamp, such as `2026-01-02T03:04:05Z`, or one out of range".into()
                }
                "timezone" => "not a time zone, such as `Europe/Berlin` or `+01:00`".into(),
                _ => json::shortened(message),
            };
            match readable(function) {
                "" => message.into_owned(),
                function => format!("{function}(): {message}"),
            }
        }
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("{actual} arguments where {expected} are needed")
        }
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}`"),
        _ => "a value of a kind that does not work here".into(),
    }
}

/// A function's name as the author wrote it.
fn readable(function: &str) -> &str {
    match function {
        "_[_]" => "[ ]",
        name if name.starts_with("amends_") => "",
        name => name.trim_matches(['_', '@']),
    }
}

#[cfg(all(test, feature = "document"))]
mod tests;
