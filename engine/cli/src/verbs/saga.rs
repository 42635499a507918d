//! `saga get`, `list`, `history`, `wait` and `cancel`. Starts are in `starting`, what operators do in `operate`.

use std::time::Duration;

use amends_proto::v1::{self as proto, SagaState, act::Act};
use tonic::Status;

use super::operate::{act, act_on_step, explain, payload, signal, target};
use super::{PAGE_SIZE_MAX, starting};
use crate::arguments::{Global, ListArguments, OperationChoice, SagaCommand, StateFilter};
use crate::connection::{Connection, id_of};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, say, show, show_item, write_out};
use crate::view::history::{FactView, HistoryView, header};
use crate::view::saga::{CancelledView, SagaListView, SagaView, state_word};

/// Runs a command about sagas; the exit is [`Exit::Wrong`] where a saga that was waited for did not complete.
///
/// # Errors
/// What the server refuses.
pub async fn run(global: &Global, command: &SagaCommand) -> Result<Exit, Failure> {
    if let SagaCommand::Start(arguments) = command {
        return starting::run(global, arguments).await;
    }
    let connection = Connection::open(&global.server, &global.namespace).await?;
    match command {
        // Answered above, before the connection: its input is read first.
        SagaCommand::Start(_) => {}
        SagaCommand::Get { saga } => show(
            global.output,
            &SagaView::from(get(&connection, saga).await?),
        )?,
        SagaCommand::List(arguments) => list(global, &connection, arguments).await?,
        SagaCommand::History {
            saga,
            follow: false,
        } => history(global, &connection, saga).await?,
        SagaCommand::History { saga, follow: true } => follow(global, &connection, saga).await?,
        SagaCommand::Wait { saga, timeout } => {
            return wait(global, &connection, saga, *timeout).await;
        }
        SagaCommand::Cancel { saga, reason } => cancel(global, &connection, saga, reason).await?,
        SagaCommand::Signal(arguments) => signal(global, &connection, arguments).await?,
        SagaCommand::Explain { saga } => explain(global, &connection, saga).await?,
        command => operate(global, &connection, command).await?,
    }
    Ok(Exit::Ok)
}

/// The acts of operators.
async fn operate(
    global: &Global,
    connection: &Connection,
    command: &SagaCommand,
) -> Result<(), Failure> {
    match command {
        SagaCommand::Retry(arguments) => {
            let target = Some(target(&arguments.at.place, arguments.operation));
            let input = arguments.input.as_ref().map(payload).transpose()?;
            let input = input.map(Into::into);
            let retry = Act::Retry(proto::Retry { target, input });
            act(global, connection, &arguments.at.act, retry).await
        }
        SagaCommand::Resolve(arguments) => {
            let operation = arguments.operation.unwrap_or(OperationChoice::Forward);
            let target = (arguments.place.as_ref()).map(|place| target(place, operation));
            let output = arguments.result.as_ref().map(payload).transpose()?;
            let output = output.unwrap_or_default().into();
            let resolve = Act::Resolve(proto::Resolve { target, output });
            act(global, connection, &arguments.act, resolve).await
        }
        SagaCommand::Skip(arguments) => {
            let skip = |target| {
                let target = Some(target);
                Act::Skip(proto::Skip { target })
            };
            act_on_step(global, connection, arguments, skip).await
        }
        SagaCommand::ResolveAbsent(arguments) => {
            let target = Some(target(&arguments.at.place, arguments.operation));
            let absent = Act::ResolveAbsent(proto::ResolveAbsent { target });
            act(global, connection, &arguments.at.act, absent).await
        }
        SagaCommand::Compensate(arguments) => {
            let compensate = Act::Compensate(proto::Compensate {});
            act(global, connection, arguments, compensate).await
        }
        SagaCommand::Pause(arguments) => {
            act(global, connection, arguments, Act::Pause(proto::Pause {})).await
        }
        SagaCommand::Resume(arguments) => {
            act(global, connection, arguments, Act::Resume(proto::Resume {})).await
        }
        SagaCommand::Terminate(arguments) => {
            let terminate = Act::Terminate(proto::Terminate {});
            act(global, connection, arguments, terminate).await
        }
        // Read by `run`.
        SagaCommand::Start(_)
        | SagaCommand::Get { .. }
        | SagaCommand::List(_)
        | SagaCommand::History { .. }
        | SagaCommand::Wait { .. }
        | SagaCommand::Cancel { .. }
        | SagaCommand::Signal(_)
        | SagaCommand::Explain { .. } => Ok(()),
    }
}

/// Reads one saga with its steps.
///
/// # Errors
/// What the server refuses.
pub async fn get(connection: &Connection, saga: &str) -> Result<proto::Saga, Failure> {
    let what = format!("saga {saga} was not read");
    let request = proto::GetSagaRequest {
        name: connection.saga_name(saga),
    };
    let answer = connection.sagas().get_saga(request).await;
    let answer = answer.map_err(|status| Failure::unread(&what, &status))?;
    let saga = answer.into_inner().saga;
    saga.ok_or_else(|| Failure::refused(&what, &Status::internal("the answer is empty")))
}

/// Reads the whole history of a saga.
///
/// # Errors
/// What the server refuses.
pub async fn facts(
    connection: &Connection,
    saga: &str,
) -> Result<Vec<proto::HistoryEntry>, Failure> {
    let mut entries = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = proto::ListSagaHistoryRequest {
            name: connection.saga_name(saga),
            page_size: PAGE_SIZE_MAX,
            page_token,
        };
        let answer = connection.sagas().list_saga_history(request).await;
        let answer = answer.map_err(|status| {
            Failure::unread(format!("the history of {saga} was not read"), &status)
        })?;
        let answer = answer.into_inner();
        entries.extend(answer.entries);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(entries);
        }
    }
}

/// Waits for a saga, and shows it.
///
/// # Errors
/// What the server refuses.
pub async fn wait(
    global: &Global,
    connection: &Connection,
    saga: &str,
    timeout: Option<Duration>,
) -> Result<Exit, Failure> {
    let name = connection.saga_name(saga);
    let waited = connection.wait(&name, timeout).await;
    let (_, settled) = waited.map_err(|status| {
        Failure::unread(format!("the wait for {saga} was broken off"), &status)
    })?;
    show_settled(global, connection, &name, settled).await
}

/// Shows a saga that was waited for; the exit is [`Exit::Wrong`] if it did not complete.
///
/// # Errors
/// What the server refuses.
pub async fn show_settled(
    global: &Global,
    connection: &Connection,
    name: &str,
    settled: bool,
) -> Result<Exit, Failure> {
    let saga = get(connection, name).await?;
    let state = saga.state;
    show(global.output, &SagaView::from(saga))?;
    if SagaState::try_from(state) == Ok(SagaState::Completed) {
        return Ok(Exit::Ok);
    }
    let word = state_word(state);
    say(if settled {
        format!(
            "the saga did not complete: it is {word}; `amends explain {}` says why",
            id_of(name)
        )
    } else {
        format!("the saga is still {word} after the timeout; it goes on by itself")
    });
    Ok(Exit::Wrong)
}

async fn list(
    global: &Global,
    connection: &Connection,
    arguments: &ListArguments,
) -> Result<(), Failure> {
    let mut sagas = Vec::new();
    let mut page_token = arguments.page_token.clone().unwrap_or_default();
    let mut left = arguments.limit;
    while left > 0 {
        let request = proto::ListSagasRequest {
            parent: connection.parent(),
            page_size: left.min(PAGE_SIZE_MAX),
            page_token,
            states: arguments
                .states
                .iter()
                .map(|state| proto_state(*state).into())
                .collect(),
            definition_id: arguments.definition.clone().unwrap_or_default(),
            key: arguments.key.clone().unwrap_or_default(),
            revision: arguments.revision.unwrap_or_default(),
            fingerprint: arguments.fingerprint.clone().unwrap_or_default(),
        };
        let answer = connection.sagas().list_sagas(request).await;
        let answer =
            answer.map_err(|status| Failure::unread("the sagas were not listed", &status))?;
        let answer = answer.into_inner();
        left = left.saturating_sub(u32::try_from(answer.sagas.len()).unwrap_or(u32::MAX));
        sagas.extend(answer.sagas);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    show(global.output, &SagaListView::new(sagas, &page_token))?;
    if global.output == Format::Table && !page_token.is_empty() {
        say(format!("there are more: --page-token {page_token}"));
    }
    Ok(())
}

async fn history(global: &Global, connection: &Connection, saga: &str) -> Result<(), Failure> {
    show(
        global.output,
        &HistoryView::from(facts(connection, saga).await?),
    )
}

async fn follow(global: &Global, connection: &Connection, saga: &str) -> Result<(), Failure> {
    let refused = |status: Status| {
        Failure::unread(
            format!("the history of {saga} was not followed to its end"),
            &status,
        )
    };
    let request = proto::FollowSagaHistoryRequest {
        name: connection.saga_name(saga),
    };
    let mut stream = connection
        .sagas()
        .follow_saga_history(request)
        .await
        .map_err(refused)?
        .into_inner();
    if global.output == Format::Table {
        write_out(&header())?;
    }
    while let Some(row) = stream.message().await.map_err(refused)? {
        for entry in row.entries {
            show_item(global.output, &FactView::from(entry))?;
        }
    }
    Ok(())
}

async fn cancel(
    global: &Global,
    connection: &Connection,
    saga: &str,
    reason: &str,
) -> Result<(), Failure> {
    let name = connection.saga_name(saga);
    let request = proto::CancelSagaRequest {
        name: name.clone(),
        reason: reason.to_owned(),
    };
    let answer = connection.sagas().cancel_saga(request).await;
    let answer = answer
        .map_err(|status| Failure::refused(format!("saga {saga} was not cancelled"), &status))?;
    show(
        global.output,
        &CancelledView::new(name, &answer.into_inner()),
    )
}

fn proto_state(state: StateFilter) -> SagaState {
    match state {
        StateFilter::Running => SagaState::Running,
        StateFilter::Completed => SagaState::Completed,
        StateFilter::Compensating => SagaState::Compensating,
        StateFilter::Compensated => SagaState::Compensated,
        StateFilter::Parked => SagaState::Parked,
        StateFilter::Terminated => SagaState::Terminated,
    }
}
