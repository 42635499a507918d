//! For tests of participants: calls without a server, and the checks that everyone owes whose commands are delivered at
//! least once. A check runs the participant's own handlers against its own database, and compares the effect before and
//! after, as a function of yours reads it.
//!
//! ```no_run
//! # use amends_sdk::{testing, Participant};
//! # use serde_json::json;
//! # async fn books() -> i64 { 0 }
//! # async fn example(inventory: Participant) -> Result<(), testing::Violation> {
//! let pair = testing::Pair::new(&inventory, "reserve", "release")
//!     .action_input(&json!({"order_id": "o1", "sku": "tea", "quantity": 2}))
//!     .compensation_input(&json!({"order_id": "o1"}));
//! pair.check_action_twice(books).await?;
//! pair.check_compensation_twice(books).await?;
//! pair.check_compensation_without_action(books).await?;
//! pair.check_late_action(books).await?;
//! # Ok(())
//! # }
//! ```

use std::fmt::Debug;
use std::time::Duration;

use amends_proto::v1;
use bytes::Bytes;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::outcome::{Answer, Outcome, duration_into_wire};
use crate::participant::Participant;

/// A command as a server would send it, for a direct call of a handler.
#[derive(Debug, Clone)]
pub struct Call {
    command: v1::Command,
}

impl Call {
    /// An action's first attempt, with `null` as its input.
    #[must_use]
    pub fn forward(operation_key: impl Into<String>) -> Self {
        Self {
            command: v1::Command {
                operation_key: operation_key.into(),
                attempt: 1,
                operation: v1::OperationKind::Forward.into(),
                saga: "namespaces/default/sagas/00000000-0000-8000-8000-000000000000".to_owned(),
                step: "step".to_owned(),
                definition: "definition".to_owned(),
                revision: 1,
                timeout: Some(duration_into_wire(Duration::from_secs(30))),
                ..Default::default()
            },
        }
    }

    /// The first attempt of the compensation of that action.
    #[must_use]
    pub fn compensate(
        operation_key: impl Into<String>,
        forward_operation_key: impl Into<String>,
    ) -> Self {
        let mut call = Self::forward(operation_key);
        call.command.operation = v1::OperationKind::Compensate.into();
        call.command.forward_operation_key = forward_operation_key.into();
        call
    }

    /// The first attempt of a query about that action.
    #[must_use]
    pub fn query(
        operation_key: impl Into<String>,
        forward_operation_key: impl Into<String>,
    ) -> Self {
        let mut call = Self::compensate(operation_key, forward_operation_key);
        call.command.operation = v1::OperationKind::Query.into();
        call
    }

    /// Another attempt.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.command.attempt = attempt;
        self
    }

    /// With this input.
    ///
    /// # Panics
    /// If it cannot be written as JSON.
    #[must_use]
    pub fn input(mut self, input: &impl Serialize) -> Self {
        let input = serde_json::to_vec(input);
        self.command.input = input.expect("a test's input is JSON").into();
        self
    }

    /// Calls one of a participant's actions.
    ///
    /// # Panics
    /// If the participant does not serve it.
    pub async fn run(&self, participant: &Participant, action: &str) -> Answer {
        let served = participant.get(action);
        let served = served.expect("the participant serves the action that its test calls");
        let (context, input) = self.prepare(&format!("{}.{action}", participant.name()));
        served.invoke(context, input).await
    }

    /// The context and the input, for [`crate::Action::invoke`].
    ///
    /// # Panics
    /// Never: a call always says which operation it asks for.
    #[must_use]
    pub fn prepare(&self, action: &str) -> (Context, Bytes) {
        let mut command = self.command.clone();
        action.clone_into(&mut command.action);
        let input = command.input.clone();
        let context = Context::from_command(command, CancellationToken::new(), None);
        (
            context.expect("a call says which operation it asks for"),
            input,
        )
    }
}

/// What a participant does that it must not.
#[derive(Debug, thiserror::Error)]
#[error("{check}: {problem}")]
pub struct Violation {
    /// Which check.
    pub check: &'static str,
    /// What was seen.
    pub problem: String,
}

/// An action with its compensation, under check. Each check uses operation keys of its own, so that all of them can run
/// one after another on the same database.
#[derive(Debug)]
pub struct Pair<'a> {
    participant: &'a Participant,
    action: &'a str,
    compensation: &'a str,
    action_input: serde_json::Value,
    compensation_input: serde_json::Value,
}

impl<'a> Pair<'a> {
    /// A pair with `null` as its inputs.
    #[must_use]
    pub fn new(participant: &'a Participant, action: &'a str, compensation: &'a str) -> Self {
        Self {
            participant,
            action,
            compensation,
            action_input: serde_json::Value::Null,
            compensation_input: serde_json::Value::Null,
        }
    }

    /// An input with which the action succeeds.
    ///
    /// # Panics
    /// If it cannot be written as JSON.
    #[must_use]
    pub fn action_input(mut self, input: &impl Serialize) -> Self {
        self.action_input = serde_json::to_value(input).expect("a test's input is JSON");
        self
    }

    /// The input of the compensation.
    ///
    /// # Panics
    /// If it cannot be written as JSON.
    #[must_use]
    pub fn compensation_input(mut self, input: &impl Serialize) -> Self {
        self.compensation_input = serde_json::to_value(input).expect("a test's input is JSON");
        self
    }

    /// The action twice, and a third time as a later attempt: one effect, the same answer. The effect is undone after.
    ///
    /// # Errors
    /// What was seen instead.
    pub async fn check_action_twice<E: PartialEq + Debug>(
        &self,
        effect: impl AsyncFn() -> E,
    ) -> Result<(), Violation> {
        let check = "action twice";
        let keys = Keys::new();
        let before = effect().await;
        let first = self.act(&keys, 1).await;
        ensure(
            check,
            matches!(first.outcome, Outcome::Succeeded(_)),
            || format!("the action has to succeed with the given input, and came to {first:?}"),
        )?;
        let once = effect().await;
        ensure(check, once != before, || {
            format!("the action has no effect: {once:?}")
        })?;
        for attempt in [1, 2] {
            let again = self.act(&keys, attempt).await;
            ensure(check, again.outcome == first.outcome, || {
                format!("the duplicate came to {again:?}, the first to {first:?}")
            })?;
        }
        let twice = effect().await;
        ensure(check, twice == once, || {
            format!("the duplicate changed the effect from {once:?} to {twice:?}")
        })?;
        self.undo(check, &keys, before, effect).await
    }

    /// The compensation twice: it undoes once.
    ///
    /// # Errors
    /// What was seen instead.
    pub async fn check_compensation_twice<E: PartialEq + Debug>(
        &self,
        effect: impl AsyncFn() -> E,
    ) -> Result<(), Violation> {
        let check = "compensation twice";
        let keys = Keys::new();
        let before = effect().await;
        self.act(&keys, 1).await;
        let first = self.compensate(&keys, 1).await;
        for attempt in [1, 2] {
            let again = self.compensate(&keys, attempt).await;
            ensure(check, again.outcome == first.outcome, || {
                format!("the duplicate came to {again:?}, the first to {first:?}")
            })?;
        }
        self.undo(check, &keys, before, effect).await
    }

    /// The compensation without its action: nothing to undo, and no effect.
    ///
    /// # Errors
    /// What was seen instead.
    pub async fn check_compensation_without_action<E: PartialEq + Debug>(
        &self,
        effect: impl AsyncFn() -> E,
    ) -> Result<(), Violation> {
        let check = "compensation without action";
        let keys = Keys::new();
        let before = effect().await;
        let answer = self.compensate(&keys, 1).await;
        ensure(check, answer.outcome == Outcome::NothingToUndo, || {
            format!("there was nothing to undo, and it came to {answer:?}")
        })?;
        let after = effect().await;
        ensure(check, after == before, || {
            format!("it changed the effect from {before:?} to {after:?}")
        })
    }

    /// The action after its compensation, which came first, and after one that undid it: superseded, and no effect.
    ///
    /// # Errors
    /// What was seen instead.
    pub async fn check_late_action<E: PartialEq + Debug>(
        &self,
        effect: impl AsyncFn() -> E,
    ) -> Result<(), Violation> {
        let check = "late action";
        for acts_first in [false, true] {
            let keys = Keys::new();
            let before = effect().await;
            if acts_first {
                self.act(&keys, 1).await;
            }
            self.compensate(&keys, 1).await;
            let late = self.act(&keys, 1).await;
            ensure(check, late.outcome == Outcome::Superseded, || {
                format!("it has to be refused as superseded, and came to {late:?}")
            })?;
            let after = effect().await;
            ensure(check, after == before, || {
                format!("it changed the effect from {before:?} to {after:?}")
            })?;
        }
        Ok(())
    }

    async fn undo<E: PartialEq + Debug>(
        &self,
        check: &'static str,
        keys: &Keys,
        before: E,
        effect: impl AsyncFn() -> E,
    ) -> Result<(), Violation> {
        let answer = self.compensate(keys, 1).await;
        ensure(
            check,
            matches!(answer.outcome, Outcome::Succeeded(_)),
            || format!("the compensation came to {answer:?}"),
        )?;
        let after = effect().await;
        ensure(check, after == before, || {
            format!("the compensation left {after:?}, and {before:?} was there before")
        })
    }

    async fn act(&self, keys: &Keys, attempt: u32) -> Answer {
        let call = Call::forward(&keys.forward).attempt(attempt);
        let call = call.input(&self.action_input);
        call.run(self.participant, self.action).await
    }

    async fn compensate(&self, keys: &Keys, attempt: u32) -> Answer {
        let call = Call::compensate(&keys.compensate, &keys.forward).attempt(attempt);
        let call = call.input(&self.compensation_input);
        call.run(self.participant, self.compensation).await
    }
}

struct Keys {
    forward: String,
    compensate: String,
}

impl Keys {
    fn new() -> Self {
        let id = uuid::Uuid::new_v4();
        Self {
            forward: format!("{id}/forward"),
            compensate: format!("{id}/compensate"),
        }
    }
}

fn ensure(
    check: &'static str,
    holds: bool,
    problem: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds {
        return Ok(());
    }
    Err(Violation {
        check,
        problem: problem(),
    })
}
