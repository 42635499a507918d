//! Participants: where a contract lists a participant's actions, only those are called. What a server knows of a participant is
//! for who asks one.

use crate::diagnostic::Report;
use crate::document::draft::{Draft, ParticipantDraft, WorkDraft};
use crate::document::fields::{self, Spanned};
use crate::json::shortened;
use crate::suggestion::nearest;

pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    for step in &draft.steps {
        let mut called: Vec<&Spanned<String>> = Vec::new();
        called.extend(step.call().and_then(|call| call.action.as_ref()));
        if let Some(WorkDraft::Call { query, .. }) = &step.work {
            called.extend(query);
        }
        called.extend(
            step.compensation_call()
                .and_then(|call| call.action.as_ref()),
        );
        for action in called {
            check_action(draft, action, report);
        }
    }
}

/// The contract of the participant that an action is of.
pub(super) fn of_action<'d>(
    draft: &'d Draft<'_>,
    action: Option<&Spanned<String>>,
) -> Option<&'d ParticipantDraft> {
    let (participant, _) = action?.value.split_once('.')?;
    let mut participants = draft.participants.iter();
    participants.find(|known| known.name.value == participant)
}

fn check_action(draft: &Draft<'_>, action: &Spanned<String>, report: &mut Report) {
    let Some((participant, name)) = action.value.split_once('.') else {
        return;
    };
    let contract = of_action(draft, Some(action)).and_then(|known| known.actions.as_ref());
    let Some(listed) = contract else {
        return;
    };
    if listed.iter().any(|listed| listed.value == name) {
        return;
    }
    let listed: Vec<&str> = listed.iter().map(|listed| listed.value.as_str()).collect();
    let help = match nearest(name, listed.iter().copied()) {
        Some(near) => format!("did you mean `{participant}.{near}`?"),
        None if listed.is_empty() => "add it to the participant's `actions`".to_owned(),
        None => format!(
            "add it to its `actions`, which are {}",
            fields::list(&listed)
        ),
    };
    let message = format!(
        "the contract of `{participant}` lists no action `{}`",
        shortened(name)
    );
    report
        .error("UNKNOWN_ACTION", message, action.span.clone())
        .help(help);
}
