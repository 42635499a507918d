//! `saga signal`, `explain`, and the acts of operators on one saga.

use amends_proto::v1::{self as proto, act::Act};

use super::{INPUT_BYTES_MAX, read_input};
use crate::arguments::{
    ActArguments, Global, Json, OperationChoice, Place, SignalArguments, StepArguments,
};
use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{say, show};
use crate::token::with_token;
use crate::view::explanation::ExplanationView;
use crate::view::operate::{OperatedView, SignalledView};

/// Sends a signal.
///
/// # Errors
/// What the server refuses.
pub async fn signal(
    global: &Global,
    connection: &Connection,
    arguments: &SignalArguments,
) -> Result<(), Failure> {
    let SignalArguments { saga, signal, .. } = arguments;
    let payload = arguments.payload.as_ref().map(payload).transpose()?;
    let name = connection.saga_name(saga);
    let request = proto::SignalSagaRequest {
        name: name.clone(),
        signal: signal.clone(),
        payload: payload.unwrap_or_default().into(),
        dedupe_id: arguments.dedupe_id.clone(),
    };
    let answer = connection.sagas().signal_saga(request).await;
    let answer = answer.map_err(|status| {
        Failure::refused(format!("signal {signal} was not sent to {saga}"), &status)
    })?;
    let accepted = answer.into_inner().accepted;
    show(global.output, &SignalledView::new(name, signal, accepted))
}

/// Says why a saga is where it is.
///
/// # Errors
/// What the server refuses.
pub async fn explain(global: &Global, connection: &Connection, saga: &str) -> Result<(), Failure> {
    let request = proto::ExplainSagaRequest {
        name: connection.saga_name(saga),
    };
    let answer = connection.sagas().explain_saga(request).await;
    let answer = answer
        .map_err(|status| Failure::unread(format!("saga {saga} was not explained"), &status))?;
    show(global.output, &ExplanationView::from(answer.into_inner()))
}

/// Explains a saga over a connection of its own.
///
/// # Errors
/// What the server refuses.
pub async fn run_explain(global: &Global, saga: &str) -> Result<(), Failure> {
    let connection = Connection::open(&global.server, &global.namespace).await?;
    explain(global, &connection, saga).await
}

/// Does something about a saga.
///
/// # Errors
/// What the server refuses.
pub async fn act(
    global: &Global,
    connection: &Connection,
    arguments: &ActArguments,
    act: Act,
) -> Result<(), Failure> {
    let saga = &arguments.saga;
    let done = participle(&act);
    let name = connection.saga_name(saga);
    let request = proto::OperateSagaRequest {
        name: name.clone(),
        act: Some(proto::Act { act: Some(act) }),
        reason: arguments.reason.clone(),
        dry_run: arguments.dry_run,
    };
    let request = with_token(global, request)?;
    let answer = connection.operators().operate_saga(request).await;
    let answer = answer
        .map_err(|status| Failure::refused(format!("saga {saga} was not {done}"), &status))?;
    if arguments.dry_run {
        say("a dry run: nothing was done");
    }
    show(
        global.output,
        &OperatedView::new(name, answer.into_inner(), arguments.dry_run),
    )
}

/// An act on a step.
///
/// # Errors
/// What the server refuses.
pub async fn act_on_step(
    global: &Global,
    connection: &Connection,
    arguments: &StepArguments,
    make: impl FnOnce(proto::Target) -> Act,
) -> Result<(), Failure> {
    let target = target(&arguments.place, OperationChoice::Forward);
    act(global, connection, &arguments.act, make(target)).await
}

/// The operation of a step, as the protocol names it.
#[must_use]
pub fn target(place: &Place, operation: OperationChoice) -> proto::Target {
    let operation = match operation {
        OperationChoice::Forward => "forward",
        OperationChoice::Compensate => "compensate",
    };
    proto::Target {
        step: place.step.clone(),
        item: place.item,
        operation: operation.to_owned(),
    }
}

/// The bytes of a payload. An empty one is none.
///
/// # Errors
/// If its file cannot be read, or has nothing in it.
pub fn payload(json: &Json) -> Result<Vec<u8>, Failure> {
    let bytes = match json {
        Json::Given(text) => text.clone().into_bytes(),
        Json::In(path) => read_input(path, INPUT_BYTES_MAX)?,
    };
    if bytes.is_empty() {
        return Err(Failure::new(Exit::Invalid, "nothing was sent")
            .because("the payload is empty, and JSON never is")
            .advice("leave the option out, or write null"));
    }
    Ok(bytes)
}

fn participle(act: &Act) -> &'static str {
    match act {
        Act::Retry(_) => "retried",
        Act::Skip(_) => "told to skip the step",
        Act::Resolve(_) | Act::ResolveAbsent(_) => "resolved",
        Act::Compensate(_) => "compensated",
        Act::Pause(_) => "paused",
        Act::Resume(_) => "resumed",
        Act::Terminate(_) => "terminated",
    }
}
