//! Incidents: within their saga, in lists, and in groups.

use amends_proto::v1 as proto;
use jiff::Timestamp;
use serde::Serialize;

use super::command::{About, commands, place, reference};
use super::{age, non_empty, rfc_3339, timestamp};
use crate::connection::id_of;
use crate::output::View;
use crate::output::grid::{grid, or_dash};

/// An incident.
#[derive(Debug, Serialize)]
pub struct IncidentView {
    #[serde(skip_serializing_if = "Option::is_none")]
    saga: Option<String>,
    number: u32,
    reason: String,
    step: Option<String>,
    item: Option<u32>,
    operation: Option<String>,
    code: Option<String>,
    fingerprint: Option<String>,
    message: String,
    open_time: Option<String>,
    suggested_actions: Vec<String>,
    commands: Vec<String>,
    #[serde(skip)]
    age: String,
}

impl IncidentView {
    /// An incident of this saga; `signal` is what its step waits for, empty without one.
    #[must_use]
    pub fn new(incident: proto::Incident, saga: &str, signal: &str) -> Self {
        let about = About {
            reason: &incident.reason,
            step: &incident.step,
            item: incident.item,
            operation: &incident.operation,
            signal,
        };
        Self {
            commands: commands(reference(saga), &about),
            age: age(timestamp(incident.open_time.as_ref()), Timestamp::now()),
            saga: non_empty(&incident.saga),
            number: incident.number,
            step: non_empty(&incident.step),
            item: (incident.item > 0).then_some(incident.item),
            operation: non_empty(&incident.operation),
            code: non_empty(&incident.code),
            fingerprint: non_empty(&incident.fingerprint),
            open_time: rfc_3339(incident.open_time.as_ref()),
            reason: incident.reason,
            message: incident.message,
            suggested_actions: incident.suggested_actions,
        }
    }

    /// Commands to copy, most likely first.
    pub fn commands(&self) -> impl Iterator<Item = &String> {
        self.commands.iter()
    }

    /// A paragraph of it, with commands to copy.
    #[must_use]
    pub fn text(&self) -> String {
        let place = self.place();
        let at = if place.is_empty() {
            String::new()
        } else {
            format!(" at {place}")
        };
        let undoing = match self.operation.as_deref() {
            Some("compensate") => ", undoing it",
            _ => "",
        };
        let since = self
            .open_time
            .as_ref()
            .map_or(String::new(), |time| format!(" since {time}"));
        let mut text = format!(
            "\nincident {}{at}{undoing}{since}: {}\n",
            self.reason, self.message
        );
        if let Some(fingerprint) = &self.fingerprint {
            text.push_str(&format!("  fingerprint: {fingerprint}\n"));
        }
        for action in &self.suggested_actions {
            text.push_str(&format!("  do: {action}\n"));
        }
        for command in &self.commands {
            text.push_str(&format!("    {command}\n"));
        }
        crate::output::plain(&text)
    }

    fn place(&self) -> String {
        let step = self.step.as_deref().unwrap_or_default();
        place(step, self.item.unwrap_or_default())
    }
}

/// A page of incidents.
#[derive(Debug, Serialize)]
pub struct IncidentListView {
    incidents: Vec<IncidentView>,
    next_page_token: Option<String>,
}

impl IncidentListView {
    /// From the incidents of one or more pages and the token of the next.
    #[must_use]
    pub fn new(incidents: Vec<proto::Incident>, next_page_token: &str) -> Self {
        let view = |incident: proto::Incident| {
            let saga = incident.saga.clone();
            IncidentView::new(incident, &saga, "")
        };
        Self {
            incidents: incidents.into_iter().map(view).collect(),
            next_page_token: non_empty(next_page_token),
        }
    }
}

impl View for IncidentListView {
    fn table(&self) -> String {
        let rows = self.incidents.iter().map(|incident| {
            vec![
                id_of(incident.saga.as_deref().unwrap_or("-")).to_owned(),
                or_dash(&incident.place()),
                incident.reason.clone(),
                incident.age.clone(),
                or_dash(incident.fingerprint.as_deref().unwrap_or_default()),
            ]
        });
        grid(&["SAGA", "STEP", "REASON", "OPEN FOR", "FINGERPRINT"], rows)
    }
}

/// Incidents by what they have in common.
#[derive(Debug, Serialize)]
pub struct IncidentGroupsView {
    groups: Vec<GroupView>,
}

#[derive(Debug, Serialize)]
struct GroupView {
    fingerprint: String,
    reason: String,
    incidents: u64,
    oldest_time: Option<String>,
    newest_time: Option<String>,
}

impl From<Vec<proto::IncidentGroup>> for IncidentGroupsView {
    fn from(groups: Vec<proto::IncidentGroup>) -> Self {
        let view = |group: proto::IncidentGroup| GroupView {
            fingerprint: group.fingerprint,
            reason: group.reason,
            incidents: group.incidents,
            oldest_time: rfc_3339(group.oldest_time.as_ref()),
            newest_time: rfc_3339(group.newest_time.as_ref()),
        };
        Self {
            groups: groups.into_iter().map(view).collect(),
        }
    }
}

impl View for IncidentGroupsView {
    fn table(&self) -> String {
        let dash = |time: &Option<String>| or_dash(time.as_deref().unwrap_or_default());
        let rows = self.groups.iter().map(|group| {
            vec![
                group.fingerprint.clone(),
                group.reason.clone(),
                group.incidents.to_string(),
                dash(&group.oldest_time),
                dash(&group.newest_time),
            ]
        });
        grid(
            &["FINGERPRINT", "REASON", "INCIDENTS", "OLDEST", "NEWEST"],
            rows,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_and_their_groups_are_lines() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let incident = proto::Incident {
            saga: "namespaces/default/sagas/019aa578-c07b-8abc-bfff-ffffffffffff".to_owned(),
            reason: "STEP_EXHAUSTED".to_owned(),
            step: "ship".to_owned(),
            item: 2,
            fingerprint: "place-order@1/ship/TRUCK_BROKEN".to_owned(),
            ..proto::Incident::default()
        };
        assert_eq!(
            IncidentListView::new(vec![incident], "").table(),
            "SAGA                                  STEP    REASON          OPEN FOR  FINGERPRINT\n\
             019aa578-c07b-8abc-bfff-ffffffffffff  ship#2  STEP_EXHAUSTED  -         place-order@1/ship/TRUCK_BROKEN\n"
        );
        let group = proto::IncidentGroup {
            fingerprint: "a@1/-/PAUSED".to_owned(),
            reason: "PAUSED".to_owned(),
            incidents: 12,
            oldest_time: at(1_763_712_000),
            newest_time: at(1_763_712_002),
        };
        assert_eq!(
            IncidentGroupsView::from(vec![group]).table(),
            "FINGERPRINT   REASON  INCIDENTS  OLDEST                       NEWEST\n\
             a@1/-/PAUSED  PAUSED  12         2025-11-21T08:00:00.000000Z  2025-11-21T08:00:02.000000Z\n"
        );
    }
}
