//! Participants that are attached.

use amends_proto::v1 as proto;
use serde::Serialize;

use super::rfc_3339;
use crate::output::View;
use crate::output::grid::{grid, or_dash};

/// The instances, by participant and instance.
#[derive(Debug, Serialize)]
pub struct ParticipantListView {
    participants: Vec<ParticipantView>,
}

#[derive(Debug, Serialize)]
struct ParticipantView {
    participant: String,
    instance: String,
    sdk: String,
    actions: Vec<String>,
    barrier_actions: Vec<String>,
    credit: u32,
    in_hand: u32,
    attach_time: Option<String>,
}

impl From<Vec<proto::Participant>> for ParticipantListView {
    fn from(participants: Vec<proto::Participant>) -> Self {
        let view = |one: proto::Participant| ParticipantView {
            attach_time: rfc_3339(one.attach_time.as_ref()),
            participant: one.participant,
            instance: one.instance,
            sdk: one.sdk,
            actions: one.actions,
            barrier_actions: one.barrier_actions,
            credit: one.credit,
            in_hand: one.in_hand,
        };
        Self {
            participants: participants.into_iter().map(view).collect(),
        }
    }
}

impl View for ParticipantListView {
    fn table(&self) -> String {
        let header = [
            "PARTICIPANT",
            "INSTANCE",
            "ATTACHED",
            "IN HAND",
            "ROOM FOR",
            "SDK",
            "ACTIONS (* BEHIND A BARRIER)",
        ];
        let rows = self.participants.iter().map(|one| {
            let mark = |action: &String| {
                let name = action.rsplit('.').next().unwrap_or(action);
                let star = if one.barrier_actions.contains(action) {
                    "*"
                } else {
                    ""
                };
                format!("{name}{star}")
            };
            vec![
                one.participant.clone(),
                one.instance.clone(),
                or_dash(one.attach_time.as_deref().unwrap_or_default()),
                one.in_hand.to_string(),
                one.credit.to_string(),
                or_dash(&one.sdk),
                one.actions.iter().map(mark).collect::<Vec<_>>().join(", "),
            ]
        });
        grid(&header, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_barrier_has_a_star() {
        let shop = proto::Participant {
            participant: "shop".to_owned(),
            instance: "shop-1".to_owned(),
            actions: vec!["shop.hold".to_owned(), "shop.pay".to_owned()],
            barrier_actions: vec!["shop.hold".to_owned()],
            credit: 15,
            in_hand: 1,
            ..proto::Participant::default()
        };
        assert_eq!(
            ParticipantListView::from(vec![shop]).table(),
            "PARTICIPANT  INSTANCE  ATTACHED  IN HAND  ROOM FOR  SDK  ACTIONS (* BEHIND A BARRIER)\n\
             shop         shop-1    -         1        15        -    hold*, pay\n"
        );
    }
}
