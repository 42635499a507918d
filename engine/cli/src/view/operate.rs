//! What acts and signals came to.

use amends_proto::v1 as proto;
use serde::Serialize;

use super::non_empty;
use super::saga::state_word;
use crate::connection::id_of;
use crate::output::{View, plain};

/// Where a saga is after an act.
#[derive(Debug, Serialize)]
pub struct OperatedView {
    name: String,
    id: String,
    state: String,
    dry_run: bool,
}

impl OperatedView {
    /// What became of this saga.
    #[must_use]
    pub fn new(name: String, state: i32, dry_run: bool) -> Self {
        Self {
            id: id_of(&name).to_owned(),
            state: state_word(state),
            name,
            dry_run,
        }
    }
}

impl View for OperatedView {
    fn table(&self) -> String {
        format!("{}\n", self.state)
    }
}

/// What became of a signal.
#[derive(Debug, Serialize)]
pub struct SignalledView {
    name: String,
    signal: String,
    accepted: bool,
}

impl SignalledView {
    /// What became of this signal.
    #[must_use]
    pub fn new(name: String, signal: &str, accepted: bool) -> Self {
        Self {
            name,
            signal: signal.to_owned(),
            accepted,
        }
    }
}

impl View for SignalledView {
    fn table(&self) -> String {
        let text = if self.accepted {
            "accepted"
        } else {
            "a duplicate: a signal with this dedupe id had been accepted before"
        };
        format!("{text}\n")
    }
}

/// What became of one saga of a group.
#[derive(Debug, Serialize)]
pub struct GroupActedView {
    saga: String,
    state: Option<String>,
    reason: Option<String>,
    message: Option<String>,
}

impl From<proto::OperateIncidentsResponse> for GroupActedView {
    fn from(told: proto::OperateIncidentsResponse) -> Self {
        let state = told.reason.is_empty().then(|| state_word(told.state));
        Self {
            state,
            saga: told.saga,
            reason: non_empty(&told.reason),
            message: non_empty(&told.message),
        }
    }
}

impl GroupActedView {
    /// Nothing was done about it.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.reason.is_some()
    }
}

impl View for GroupActedView {
    fn table(&self) -> String {
        let state = self.state.as_deref().unwrap_or("refused");
        let mut line = format!("{:<36}  {state:<12}", id_of(&self.saga));
        if let Some(reason) = &self.reason {
            let message = self.message.as_deref().unwrap_or_default();
            line.push_str(&format!("  {reason}: {message}"));
        }
        format!("{}\n", plain(line.trim_end()).replace('\n', " "))
    }
}

/// What stands above the sagas of a group.
#[must_use]
pub fn group_header() -> String {
    format!("{:<36}  {:<12}  WHY NOT\n", "SAGA", "STATE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saga_of_a_group_is_a_line() {
        let saga = "namespaces/default/sagas/019aa578-c07b-8abc-bfff-ffffffffffff".to_owned();
        let done = proto::OperateIncidentsResponse {
            saga: saga.clone(),
            state: proto::SagaState::Running.into(),
            ..proto::OperateIncidentsResponse::default()
        };
        let refused = proto::OperateIncidentsResponse {
            saga,
            reason: "PIVOT".to_owned(),
            message: "a pivot is\nnever skipped".to_owned(),
            ..proto::OperateIncidentsResponse::default()
        };
        let lines: String = [done, refused]
            .map(|told| GroupActedView::from(told).table())
            .concat();
        assert_eq!(
            lines,
            "019aa578-c07b-8abc-bfff-ffffffffffff  running\n\
             019aa578-c07b-8abc-bfff-ffffffffffff  refused       PIVOT: a pivot is never skipped\n"
        );
    }
}
