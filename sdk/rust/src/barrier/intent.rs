//! The barrier's second mode, for effects outside of the database: the intent is committed first, then the effect is
//! performed, then its outcome is recorded. Between the last two the process may end; then the handler runs again.

use std::future::Future;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::barrier::Barrier;
use crate::barrier::flow::{
    Effect, claim_compensation, duplicate, effect_of_forward, forward_key, pruned_meanwhile,
    record_nothing_to_undo, unavailable, wrong_operation,
};
use crate::barrier::store::{BarrierDatabase, Row, State};
use crate::context::{Context, Operation};
use crate::fail::Fail;
use crate::outcome::{Answer, Outcome, Verdict, parse_input, write_output};

pub(super) async fn forward<DB, F, R, I, O>(
    barrier: &Barrier<DB>,
    handler: &F,
    context: Context,
    input: &Bytes,
) -> Answer
where
    DB: BarrierDatabase,
    F: Fn(Context, I) -> R,
    R: Future<Output = Result<O, Fail>>,
    I: DeserializeOwned,
    O: Serialize,
{
    if context.operation() != Operation::Forward {
        return wrong_operation(
            "an action behind a barrier performs; it neither compensates nor answers queries",
        );
    }
    let input = match parse_input(input) {
        Ok(input) => input,
        Err(fail) => return Answer::fail(fail),
    };
    match record_intent(barrier, &context).await {
        Ok(None) => {}
        Ok(Some(answer)) => return answer,
        Err(error) => return unavailable(error),
    }
    let outcome = match handler(context.clone(), input).await {
        Ok(output) => succeeded(&output),
        // Whatever it says, an earlier attempt may have had the effect: the intent stays, and is compensated.
        Err(fail) => return Answer::fail(fail),
    };
    match record_success(barrier, &context, &outcome).await {
        Ok(verdict) => Answer::new(outcome, verdict),
        Err(error) => unavailable(error),
    }
}

pub(super) async fn compensate<DB, F, R, I, O>(
    barrier: &Barrier<DB>,
    handler: &F,
    context: Context,
    input: &Bytes,
) -> Answer
where
    DB: BarrierDatabase,
    F: Fn(Context, I) -> R,
    R: Future<Output = Result<O, Fail>>,
    I: DeserializeOwned,
    O: Serialize,
{
    let Some(forward_key) = forward_key(&context) else {
        return wrong_operation(
            "a compensation behind a barrier needs the key of the action that it undoes",
        );
    };
    let input = match parse_input(input) {
        Ok(input) => input,
        Err(fail) => return Answer::fail(fail),
    };
    match record_undoing(barrier, &context, &forward_key).await {
        Ok(None) => {}
        Ok(Some(answer)) => return answer,
        Err(error) => return unavailable(error),
    }
    let outcome = match handler(context.clone(), input).await {
        Ok(output) => succeeded(&output),
        Err(fail) => return Answer::fail(fail),
    };
    match record_success(barrier, &context, &outcome).await {
        Ok(verdict) => Answer::new(outcome, verdict),
        Err(error) => unavailable(error),
    }
}

/// Commits the intent. An answer if the operation had been decided.
async fn record_intent<DB: BarrierDatabase>(
    barrier: &Barrier<DB>,
    context: &Context,
) -> Result<Option<Answer>, sqlx::Error> {
    let _turn = barrier.turn().await;
    let key = context.operation_key();
    let mut transaction = DB::begin(&barrier.pool).await?;
    let intent = Row::new(State::Intent, context.attempt(), context.action());
    if DB::insert(&mut transaction, key, &intent).await? {
        transaction.commit().await?;
        return Ok(None);
    }
    let row = DB::load(&mut transaction, key).await?;
    let row = row.ok_or_else(pruned_meanwhile)?;
    Ok(match row.state {
        State::Tombstone | State::Undone => {
            Some(Answer::new(Outcome::Superseded, Verdict::Superseded))
        }
        _ => duplicate(&row),
    })
}

/// Commits that the action is being undone, so that none of its attempts begins any more. An answer if there is
/// nothing to undo, or it had been undone.
async fn record_undoing<DB: BarrierDatabase>(
    barrier: &Barrier<DB>,
    context: &Context,
    forward_key: &str,
) -> Result<Option<Answer>, sqlx::Error> {
    let _turn = barrier.turn().await;
    let key = context.operation_key();
    let mut transaction = DB::begin(&barrier.pool).await?;
    // An intent that is there was committed by an earlier attempt, which found something to undo.
    let known = DB::load(&mut transaction, key).await?;
    if known.is_some_and(|row| row.state == State::Intent) {
        return Ok(None);
    }
    if let Some(answer) = claim_compensation(&mut transaction, context).await? {
        return Ok(Some(answer));
    }
    match effect_of_forward(&mut transaction, context, forward_key).await? {
        Effect::None => record_nothing_to_undo(transaction, context).await.map(Some),
        Effect::There(row) => {
            let undone = Row {
                state: State::Undone,
                ..row
            };
            DB::update(&mut transaction, forward_key, &undone).await?;
            let intent = Row::new(State::Intent, context.attempt(), context.action());
            DB::update(&mut transaction, key, &intent).await?;
            transaction.commit().await?;
            Ok(None)
        }
    }
}

/// Records a success, unless the operation was undone while it was performed: then its effect may be a leaked one, and
/// the bare success that travels makes the server look.
async fn record_success<DB: BarrierDatabase>(
    barrier: &Barrier<DB>,
    context: &Context,
    outcome: &Outcome,
) -> Result<Verdict, sqlx::Error> {
    let _turn = barrier.turn().await;
    let key = context.operation_key();
    let mut transaction = DB::begin(&barrier.pool).await?;
    let known = DB::load(&mut transaction, key).await?;
    if known.is_some_and(|row| row.state != State::Intent) {
        return Ok(Verdict::None);
    }
    if let Some(row) = Row::of_outcome(outcome, context.attempt(), context.action()) {
        DB::update(&mut transaction, key, &row).await?;
        transaction.commit().await?;
    }
    Ok(Verdict::First)
}

fn succeeded<O: Serialize>(output: &O) -> Outcome {
    match write_output(output) {
        Ok(bytes) => Outcome::Succeeded(bytes),
        // The effect is there, and its output is refused by the server: see `Action::new`.
        Err(unusable) => {
            tracing::error!(code = unusable.code, "{}", unusable.message);
            Outcome::Succeeded(unusable.sent)
        }
    }
}
