//! `incident list`, `groups` and `act`.

use amends_proto::v1::{self as proto, act::Act};

use super::PAGE_SIZE_MAX;
use super::operate::payload;
use crate::arguments::{
    ActChoice, Global, IncidentActArguments, IncidentCommand, IncidentListArguments,
};
use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, plain, say, show, show_item, write_out};
use crate::token::with_token;
use crate::view::incident::{IncidentGroupsView, IncidentListView};
use crate::view::operate::{GroupActedView, group_header};

/// Runs a command about incidents; the exit is [`Exit::Wrong`] where a saga refused an act on its group.
///
/// # Errors
/// What the server refuses.
pub async fn run(global: &Global, command: &IncidentCommand) -> Result<Exit, Failure> {
    if let IncidentCommand::Act(arguments) = command {
        return act(global, arguments).await;
    }
    let connection = Connection::open(&global.server, &global.namespace).await?;
    match command {
        IncidentCommand::List(arguments) => list(global, &connection, arguments).await?,
        IncidentCommand::Groups { definition } => {
            groups(global, &connection, definition.as_deref()).await?;
        }
        // Answered above, before the connection: its payload is read first.
        IncidentCommand::Act(_) => {}
    }
    Ok(Exit::Ok)
}

async fn list(
    global: &Global,
    connection: &Connection,
    arguments: &IncidentListArguments,
) -> Result<(), Failure> {
    let mut incidents = Vec::new();
    let mut page_token = arguments.page_token.clone().unwrap_or_default();
    let mut left = arguments.limit;
    while left > 0 {
        let request = proto::ListIncidentsRequest {
            parent: connection.parent(),
            page_size: left.min(PAGE_SIZE_MAX),
            page_token,
            fingerprint: arguments.fingerprint.clone().unwrap_or_default(),
            definition_id: arguments.definition.clone().unwrap_or_default(),
            reason: arguments.reason.clone().unwrap_or_default(),
        };
        let answer = connection.operators().list_incidents(request).await;
        let answer = answer
            .map_err(|status| Failure::unread("the incidents were not listed", &status))?
            .into_inner();
        left = left.saturating_sub(u32::try_from(answer.incidents.len()).unwrap_or(u32::MAX));
        incidents.extend(answer.incidents);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    show(
        global.output,
        &IncidentListView::new(incidents, &page_token),
    )?;
    if global.output == Format::Table && !page_token.is_empty() {
        say(format!("there are more: --page-token {page_token}"));
    }
    Ok(())
}

async fn groups(
    global: &Global,
    connection: &Connection,
    definition: Option<&str>,
) -> Result<(), Failure> {
    let request = proto::ListIncidentGroupsRequest {
        parent: connection.parent(),
        definition_id: definition.unwrap_or_default().to_owned(),
    };
    let answer = connection.operators().list_incident_groups(request).await;
    let answer =
        answer.map_err(|status| Failure::unread("the incidents were not counted", &status))?;
    show(
        global.output,
        &IncidentGroupsView::from(answer.into_inner().groups),
    )
}

async fn act(global: &Global, arguments: &IncidentActArguments) -> Result<Exit, Failure> {
    let act = chosen(arguments)?;
    let connection = Connection::open(&global.server, &global.namespace).await?;
    let refused = |status: tonic::Status| {
        let what = format!("not every incident {} was acted on", arguments.fingerprint);
        Failure::refused(what, &status).advice(
            "what was told of above is done; ask again for the rest: an act on an incident that is closed does nothing",
        )
    };
    let request = proto::OperateIncidentsRequest {
        parent: connection.parent(),
        fingerprint: arguments.fingerprint.clone(),
        act: Some(proto::Act { act: Some(act) }),
        reason: arguments.reason.clone(),
        dry_run: arguments.dry_run,
        rate: arguments.rate,
        limit: arguments.limit.unwrap_or_default(),
    };
    let request = with_token(global, request)?;
    let answer = connection.operators().operate_incidents(request).await;
    let mut stream = answer
        .map_err(|status| {
            let what = format!("nothing was done about {}", arguments.fingerprint);
            Failure::refused(what, &status)
        })?
        .into_inner();
    if global.output == Format::Table {
        write_out(&group_header())?;
    }
    let (mut done, mut against) = (0_u64, 0_u64);
    let mut readers = Vec::new();
    while let Some(told) = stream.message().await.map_err(refused)? {
        let view = GroupActedView::from(told);
        if view.is_refused() {
            against += 1;
        } else {
            done += 1;
            readers = view.readers();
        }
        show_item(global.output, &view)?;
    }
    let would = if arguments.dry_run {
        "a dry run: nothing was done; "
    } else {
        ""
    };
    for reader in readers {
        say(plain(&reader));
    }
    if done + against == 0 {
        say(format!(
            "no open incident has the fingerprint {}: amends incident groups lists those that there are",
            arguments.fingerprint
        ));
    }
    say(format!("{would}{done} accepted, {against} refused"));
    Ok(if against > 0 { Exit::Wrong } else { Exit::Ok })
}

/// The act; an option of another act is a usage error.
fn chosen(arguments: &IncidentActArguments) -> Result<Act, Failure> {
    let (choice, input, result) = (arguments.act, &arguments.input, &arguments.result);
    let misplaced = |option: &str, act: &str| {
        Failure::usage(format!("{option} goes with {act} alone"))
            .because("the other acts take nothing of the kind")
            .advice("leave it out; nothing was done")
    };
    if input.is_some() && choice != ActChoice::Retry {
        return Err(misplaced("--input", "retry"));
    }
    if result.is_some() && choice != ActChoice::Resolve {
        return Err(misplaced("--result", "resolve"));
    }
    let read = |json: &Option<_>| json.as_ref().map(payload).transpose();
    Ok(match choice {
        ActChoice::Retry => Act::Retry(proto::Retry {
            target: None,
            input: read(input)?.map(Into::into),
        }),
        ActChoice::Skip => Act::Skip(proto::Skip { target: None }),
        ActChoice::Resolve => Act::Resolve(proto::Resolve {
            target: None,
            output: read(result)?.unwrap_or_default().into(),
        }),
        ActChoice::ResolveAbsent => Act::ResolveAbsent(proto::ResolveAbsent { target: None }),
        ActChoice::Compensate => Act::Compensate(proto::Compensate {}),
        ActChoice::Pause => Act::Pause(proto::Pause {}),
        ActChoice::Resume => Act::Resume(proto::Resume {}),
        ActChoice::Terminate => Act::Terminate(proto::Terminate {}),
    })
}
