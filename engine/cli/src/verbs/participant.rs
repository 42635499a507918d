//! `participant list`.

use amends_proto::v1 as proto;

use crate::arguments::{Global, ParticipantCommand};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::show;
use crate::view::participant::ParticipantListView;

/// Runs a command about participants.
///
/// # Errors
/// What the server refuses.
pub async fn run(global: &Global, command: ParticipantCommand) -> Result<(), Failure> {
    let connection = Connection::open(&global.server, &global.namespace).await?;
    match command {
        ParticipantCommand::List => show(
            global.output,
            &ParticipantListView::from(attached(&connection).await?),
        ),
    }
}

/// The participants that are attached.
///
/// # Errors
/// What the server refuses.
pub async fn attached(connection: &Connection) -> Result<Vec<proto::Participant>, Failure> {
    let request = proto::ListParticipantsRequest {
        parent: connection.parent(),
    };
    let answer = connection.operators().list_participants(request).await;
    let answer =
        answer.map_err(|status| Failure::unread("the participants were not listed", &status))?;
    Ok(answer.into_inner().participants)
}
