//! Expressions (CEL) and mappings, with the crate behind a wall: bounded in length, nesting, operations, bytes and stack.

use crate::payload::Payload;

/// A compiled expression.
pub struct Expression {
    _private: (),
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Expression")
    }
}

impl Expression {
    /// The value as JSON.
    ///
    /// # Errors
    /// What failed, or which bound was met.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Payload, EvaluationError> {
        let _ = scope;
        Ok(Payload::null())
    }

    /// The value of a condition.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and if the value is not a bool.
    pub fn evaluate_bool(&self, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        let _ = scope;
        Ok(true)
    }

    /// The value of a key: a string as it is, an integer in decimal.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and if the value is neither, or empty, or longer than `KEY_BYTES_MAX`.
    pub fn evaluate_key(&self, scope: &Scope<'_>) -> Result<String, EvaluationError> {
        let _ = scope;
        Ok(String::new())
    }
}

/// A JSON-shaped template whose scalars may be expressions.
pub struct Mapping {
    _private: (),
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mapping")
    }
}

impl Mapping {
    /// The value as JSON.
    ///
    /// # Errors
    /// What failed, or which bound was met.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Payload, EvaluationError> {
        let _ = scope;
        Ok(Payload::null())
    }
}

/// What an expression may see. Only what it refers to is parsed.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// Root `input`.
    pub input: &'a Payload,
    /// Root `saga`: its id.
    pub saga_id: &'a str,
    /// Root `saga`: its key.
    pub saga_key: Option<&'a str>,
    /// Root `saga`: its start, RFC 3339.
    pub saga_started_at: &'a str,
    /// Root `steps`: one entry per step of the definition, in document order. Empty where no step exists yet (`key`).
    pub steps: Vec<StepScope<'a>>,
    /// Root `self`, in a compensation.
    pub itself: Option<SelfScope<'a>>,
}

/// One `steps.<id>`.
#[derive(Clone, Debug)]
pub struct StepScope<'a> {
    /// The step's id.
    pub id: &'a str,
    /// `waiting`, `scheduled`, `succeeded`, `skipped`, `failed`.
    pub status: &'static str,
    /// Its output; absent unless it succeeded.
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
    /// Why the saga compensates: `saga.reason`'s code, as in the abort.
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
