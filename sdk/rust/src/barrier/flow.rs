//! The barrier's first mode: the row and the effect in one transaction.

use std::future::Future;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Transaction;

use crate::barrier::store::{BarrierDatabase, Row, State};
use crate::barrier::{Barrier, Tx};
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
    F: Fn(Context, Tx<DB>, I) -> R,
    R: Future<Output = Result<O, Fail>>,
    I: DeserializeOwned,
    O: Serialize,
{
    if context.operation() != Operation::Forward {
        return wrong_operation(
            "an action behind a barrier performs; it neither compensates nor answers queries",
        );
    }
    let attempt = async {
        let _turn = barrier.turn().await;
        let mut transaction = DB::begin(&barrier.pool).await?;
        if let Some(answer) = claim_forward(&mut transaction, &context).await? {
            transaction.rollback().await?;
            return Ok(answer);
        }
        perform(transaction, handler, &context, input, None).await
    };
    attempt.await.unwrap_or_else(unavailable)
}

pub(super) async fn compensate<DB, F, R, I, O>(
    barrier: &Barrier<DB>,
    handler: &F,
    context: Context,
    input: &Bytes,
) -> Answer
where
    DB: BarrierDatabase,
    F: Fn(Context, Tx<DB>, I) -> R,
    R: Future<Output = Result<O, Fail>>,
    I: DeserializeOwned,
    O: Serialize,
{
    let Some(forward_key) = forward_key(&context) else {
        return wrong_operation(
            "a compensation behind a barrier needs the key of the action that it undoes",
        );
    };
    let attempt = async {
        let _turn = barrier.turn().await;
        let mut transaction = DB::begin(&barrier.pool).await?;
        if let Some(answer) = claim_compensation(&mut transaction, &context).await? {
            transaction.rollback().await?;
            return Ok(answer);
        }
        match effect_of_forward(&mut transaction, &context, &forward_key).await? {
            Effect::None => record_nothing_to_undo(transaction, &context).await,
            Effect::There(row) => {
                let undone = Row {
                    state: State::Undone,
                    ..row
                };
                let undone = Some((forward_key.as_str(), undone));
                perform(transaction, handler, &context, input, undone).await
            }
        }
    };
    attempt.await.unwrap_or_else(unavailable)
}

/// Whether the action that a compensation is about had an effect, as far as its row tells.
pub(super) enum Effect {
    /// None, and it never will have: the row says so from now on.
    None,
    /// There may be one.
    There(Row),
}

/// Looks at the action's row, and leaves a tombstone where there is nothing to undo.
pub(super) async fn effect_of_forward<DB: BarrierDatabase>(
    transaction: &mut Transaction<'static, DB>,
    context: &Context,
    forward_key: &str,
) -> Result<Effect, sqlx::Error> {
    let tombstone = Row::new(State::Tombstone, context.attempt(), context.action());
    if DB::insert(transaction, forward_key, &tombstone).await? {
        return Ok(Effect::None);
    }
    let Some(row) = DB::load(transaction, forward_key).await? else {
        return Err(pruned_meanwhile());
    };
    match row.state {
        State::Succeeded | State::Intent | State::Claimed => Ok(Effect::There(row)),
        // A rejection is final as it is; a later attempt of what was fatal has to find the way closed.
        State::Fatal => {
            DB::update(transaction, forward_key, &tombstone).await?;
            Ok(Effect::None)
        }
        State::Rejected | State::Tombstone | State::Undone | State::NothingToUndo => {
            Ok(Effect::None)
        }
    }
}

pub(super) async fn record_nothing_to_undo<DB: BarrierDatabase>(
    mut transaction: Transaction<'static, DB>,
    context: &Context,
) -> Result<Answer, sqlx::Error> {
    let row = Row::new(State::NothingToUndo, context.attempt(), context.action());
    DB::update(&mut transaction, context.operation_key(), &row).await?;
    transaction.commit().await?;
    Ok(Answer::new(Outcome::NothingToUndo, Verdict::NothingToUndo))
}

/// The key of the action that a compensation undoes.
pub(super) fn forward_key(context: &Context) -> Option<String> {
    (context.operation() == Operation::Compensate).then_some(())?;
    context.forward_operation_key().map(ToOwned::to_owned)
}

pub(super) fn wrong_operation(text: &str) -> Answer {
    Answer::fail(Fail::fatal("WRONG_OPERATION").message(text))
}

/// Nothing is recorded, so trying again settles it.
pub(super) fn unavailable(error: sqlx::Error) -> Answer {
    let mut fail = Fail::from(error);
    fail.code = "BARRIER_UNAVAILABLE".to_owned();
    Answer::fail(fail)
}

pub(super) fn pruned_meanwhile() -> sqlx::Error {
    sqlx::Error::Protocol("a row of amends_barrier vanished while it was read".to_owned())
}

/// Claims the action's key for this transaction. An answer if the operation had been decided.
async fn claim_forward<DB: BarrierDatabase>(
    transaction: &mut Transaction<'static, DB>,
    context: &Context,
) -> Result<Option<Answer>, sqlx::Error> {
    let key = context.operation_key();
    let claim = Row::new(State::Claimed, context.attempt(), context.action());
    if DB::insert(transaction, key, &claim).await? {
        return Ok(None);
    }
    let row = DB::load(transaction, key)
        .await?
        .ok_or_else(pruned_meanwhile)?;
    Ok(match row.state {
        State::Fatal if row.attempt < context.attempt() => None,
        State::Tombstone | State::Undone => {
            Some(Answer::new(Outcome::Superseded, Verdict::Superseded))
        }
        State::Claimed | State::Intent => None,
        State::Succeeded | State::Rejected | State::Fatal | State::NothingToUndo => duplicate(&row),
    })
}

/// Claims the compensation's own key for this transaction. An answer if it had been decided.
pub(super) async fn claim_compensation<DB: BarrierDatabase>(
    transaction: &mut Transaction<'static, DB>,
    context: &Context,
) -> Result<Option<Answer>, sqlx::Error> {
    let key = context.operation_key();
    let claim = Row::new(State::Claimed, context.attempt(), context.action());
    if DB::insert(transaction, key, &claim).await? {
        return Ok(None);
    }
    let row = DB::load(transaction, key)
        .await?
        .ok_or_else(pruned_meanwhile)?;
    Ok(match row.state {
        State::Rejected | State::Fatal if row.attempt < context.attempt() => None,
        State::Claimed | State::Intent => None,
        State::Succeeded
        | State::Rejected
        | State::Fatal
        | State::NothingToUndo
        | State::Tombstone
        | State::Undone => duplicate(&row),
    })
}

pub(super) fn duplicate(row: &Row) -> Option<Answer> {
    Some(Answer::new(row.outcome()?, Verdict::Duplicate))
}

/// Calls the handler and records its outcome beside its effect. `undone` is what a success writes into another row.
async fn perform<DB, F, R, I, O>(
    mut transaction: Transaction<'static, DB>,
    handler: &F,
    context: &Context,
    input: &Bytes,
    undone: Option<(&str, Row)>,
) -> Result<Answer, sqlx::Error>
where
    DB: BarrierDatabase,
    F: Fn(Context, Tx<DB>, I) -> R,
    R: Future<Output = Result<O, Fail>>,
    I: DeserializeOwned,
    O: Serialize,
{
    // What the handler writes can be taken back without the claim.
    DB::execute(&mut transaction, "SAVEPOINT amends_effect").await?;
    let (outcome, transaction) = match parse_input(input) {
        Err(fail) => (Outcome::NotSucceeded(fail), Some(transaction)),
        Ok(input) => {
            let (lent, mut back) = Tx::lend(transaction);
            let ended = handler(context.clone(), lent, input).await;
            (outcome_of(ended), back.try_recv().ok())
        }
    };
    let Some(mut transaction) = transaction else {
        let text = "the handler kept its transaction beyond its own end: nothing is committed";
        return Ok(Answer::fail(Fail::failed("TRANSACTION_KEPT").message(text)));
    };
    let Some(row) = Row::of_outcome(&outcome, context.attempt(), context.action()) else {
        // It failed: nothing happened, nothing is recorded. A rollback that fails is made by the closing connection.
        drop(transaction.rollback().await);
        return Ok(Answer::plain(outcome));
    };
    match (row.state, undone) {
        (State::Succeeded, Some((key, undone))) => {
            DB::update(&mut transaction, key, &undone).await?;
        }
        (State::Succeeded, None) => {}
        _ => DB::execute(&mut transaction, "ROLLBACK TO SAVEPOINT amends_effect").await?,
    }
    DB::update(&mut transaction, context.operation_key(), &row).await?;
    transaction.commit().await?;
    Ok(Answer::new(outcome, Verdict::First))
}

fn outcome_of<O: Serialize>(ended: Result<O, Fail>) -> Outcome {
    let written = ended.and_then(|output| {
        // The effect is about to be taken back, so "without effect" is true.
        write_output(&output)
            .map_err(|unusable| Fail::fatal(unusable.code).message(unusable.message))
    });
    match written {
        Ok(output) => Outcome::Succeeded(output),
        Err(fail) => Outcome::NotSucceeded(fail),
    }
}
