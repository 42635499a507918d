//! A saga with its steps, and lists of sagas.

use amends_proto::v1::{self as proto, SagaState, StepState};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{non_empty, payload, rfc_3339, timestamp, word};
use crate::connection::id_of;
use crate::output::View;
use crate::output::grid::{grid, or_dash, pairs};

/// A saga.
#[derive(Debug, Serialize)]
pub struct SagaView {
    name: String,
    id: String,
    definition: String,
    revision: u32,
    key: Option<String>,
    state: String,
    start_time: Option<String>,
    end_time: Option<String>,
    update_time: Option<String>,
    abort: Option<AbortView>,
    incidents: Vec<IncidentView>,
    cancel_pending: bool,
    traceparent: Option<String>,
    input: Option<Box<RawValue>>,
    output: Option<Box<RawValue>>,
    steps: Vec<StepView>,
    #[serde(skip)]
    took: Option<f64>,
}

#[derive(Debug, Serialize)]
struct AbortView {
    kind: String,
    step: Option<String>,
    code: Option<String>,
    message: Option<String>,
    time: Option<String>,
}

#[derive(Debug, Serialize)]
struct IncidentView {
    reason: String,
    step: Option<String>,
    message: String,
    open_time: Option<String>,
    suggested_actions: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StepView {
    id: String,
    action: String,
    kind: String,
    forward: Option<OperationView>,
    compensation: Option<OperationView>,
}

#[derive(Debug, Serialize)]
struct OperationView {
    state: String,
    action: String,
    attempts: u32,
    input: Option<Box<RawValue>>,
    output: Option<Box<RawValue>>,
    code: Option<String>,
    message: Option<String>,
    retry_time: Option<String>,
}

impl From<proto::Saga> for SagaView {
    fn from(saga: proto::Saga) -> Self {
        let took = timestamp(saga.start_time.as_ref())
            .zip(timestamp(saga.end_time.as_ref()))
            .map(|(start, end)| end.duration_since(start).as_secs_f64());
        Self {
            id: id_of(&saga.name).to_owned(),
            definition: id_of(&saga.definition).to_owned(),
            revision: saga.revision,
            key: non_empty(&saga.key),
            state: state_word(saga.state),
            start_time: rfc_3339(saga.start_time.as_ref()),
            end_time: rfc_3339(saga.end_time.as_ref()),
            update_time: rfc_3339(saga.update_time.as_ref()),
            abort: saga.abort.map(AbortView::from),
            incidents: saga.incidents.into_iter().map(IncidentView::from).collect(),
            cancel_pending: saga.cancel_pending,
            traceparent: non_empty(&saga.traceparent),
            input: payload(&saga.input),
            output: payload(&saga.output),
            steps: saga.steps.into_iter().map(StepView::from).collect(),
            name: saga.name,
            took,
        }
    }
}

impl From<proto::AbortReason> for AbortView {
    fn from(abort: proto::AbortReason) -> Self {
        Self {
            kind: abort.kind,
            step: non_empty(&abort.step),
            code: non_empty(&abort.code),
            message: non_empty(&abort.message),
            time: rfc_3339(abort.time.as_ref()),
        }
    }
}

impl From<proto::Incident> for IncidentView {
    fn from(incident: proto::Incident) -> Self {
        Self {
            reason: incident.reason,
            step: non_empty(&incident.step),
            message: incident.message,
            open_time: rfc_3339(incident.open_time.as_ref()),
            suggested_actions: incident.suggested_actions,
        }
    }
}

impl From<proto::Step> for StepView {
    fn from(step: proto::Step) -> Self {
        Self {
            id: step.id,
            action: step.action,
            kind: step.kind,
            forward: step.forward.map(OperationView::from),
            compensation: step.compensation.map(OperationView::from),
        }
    }
}

impl From<proto::Operation> for OperationView {
    fn from(operation: proto::Operation) -> Self {
        let name = StepState::try_from(operation.state)
            .ok()
            .map(|state| state.as_str_name());
        Self {
            state: word(name, "STEP_STATE_", operation.state),
            action: operation.action,
            attempts: operation.attempts,
            input: payload(&operation.input),
            output: payload(&operation.output),
            code: non_empty(&operation.code),
            message: non_empty(&operation.message),
            retry_time: rfc_3339(operation.retry_time.as_ref()),
        }
    }
}

impl View for SagaView {
    fn table(&self) -> String {
        let mut text = pairs(self.header());
        for incident in &self.incidents {
            text.push_str(&incident.text());
        }
        if !self.steps.is_empty() {
            text.push('\n');
            let header = [
                "STEP",
                "KIND",
                "ACTION",
                "FORWARD",
                "TRIES",
                "CODE",
                "COMPENSATION",
                "TRIES",
                "CODE",
            ];
            text.push_str(&grid(&header, self.steps.iter().map(StepView::row)));
        }
        text
    }
}

impl SagaView {
    fn header(&self) -> Vec<(&'static str, String)> {
        let mut header = vec![
            ("saga", self.id.clone()),
            (
                "definition",
                format!("{}, revision {}", self.definition, self.revision),
            ),
        ];
        let mut add = |name, value: Option<String>| header.extend(value.map(|value| (name, value)));
        add("key", self.key.clone());
        let pending = if self.cancel_pending {
            " (a cancel waits for the pivot)"
        } else {
            ""
        };
        add("state", Some(format!("{}{pending}", self.state)));
        add("started", self.start_time.clone());
        let ended = self.end_time.clone().map(|end| match self.took {
            Some(seconds) => format!("{end} ({seconds:.3} s)"),
            None => end,
        });
        add("ended", ended);
        add("abort", self.abort.as_ref().map(AbortView::text));
        add(
            "input",
            self.input.as_ref().map(|input| input.get().to_owned()),
        );
        add(
            "output",
            self.output.as_ref().map(|output| output.get().to_owned()),
        );
        header
    }
}

impl AbortView {
    fn text(&self) -> String {
        let mut text = self.kind.clone();
        if let Some(step) = &self.step {
            text.push_str(&format!(" at {step}"));
        }
        for part in [&self.code, &self.message].into_iter().flatten() {
            text.push_str(&format!(": {part}"));
        }
        text
    }
}

impl IncidentView {
    fn text(&self) -> String {
        let step = self
            .step
            .as_ref()
            .map_or(String::new(), |step| format!(" at {step}"));
        let since = self
            .open_time
            .as_ref()
            .map_or(String::new(), |time| format!(" since {time}"));
        let mut text = format!(
            "\nincident {}{step}{since}: {}\n",
            self.reason, self.message
        );
        for action in &self.suggested_actions {
            text.push_str(&format!("  do: {action}\n"));
        }
        crate::output::plain(&text)
    }
}

impl StepView {
    fn row(&self) -> Vec<String> {
        let mut row = vec![self.id.clone(), self.kind.clone(), self.action.clone()];
        // A compensation that is not owed is nothing to show.
        let compensation = self
            .compensation
            .as_ref()
            .filter(|operation| operation.state != "waiting");
        for operation in [self.forward.as_ref(), compensation] {
            match operation {
                Some(operation) => row.extend([
                    operation.state.clone(),
                    operation.attempts.to_string(),
                    or_dash(operation.code.as_deref().unwrap_or("")),
                ]),
                None => row.extend(["-".to_owned(), "-".to_owned(), "-".to_owned()]),
            }
        }
        row
    }
}

/// The state of a saga in a word.
#[must_use]
pub fn state_word(state: i32) -> String {
    word(
        SagaState::try_from(state)
            .ok()
            .map(|state| state.as_str_name()),
        "SAGA_STATE_",
        state,
    )
}

/// A saga as a list knows it: what takes its history to know is not there, rather than empty.
#[derive(Debug, Serialize)]
struct SagaRowView {
    name: String,
    id: String,
    definition: String,
    revision: u32,
    key: Option<String>,
    state: String,
    start_time: Option<String>,
    end_time: Option<String>,
    update_time: Option<String>,
    #[serde(skip)]
    took: Option<f64>,
}

impl From<proto::Saga> for SagaRowView {
    fn from(saga: proto::Saga) -> Self {
        let saga = SagaView::from(saga);
        Self {
            name: saga.name,
            id: saga.id,
            definition: saga.definition,
            revision: saga.revision,
            key: saga.key,
            state: saga.state,
            start_time: saga.start_time,
            end_time: saga.end_time,
            update_time: saga.update_time,
            took: saga.took,
        }
    }
}

/// A page of sagas.
#[derive(Debug, Serialize)]
pub struct SagaListView {
    sagas: Vec<SagaRowView>,
    next_page_token: Option<String>,
}

impl SagaListView {
    /// From the sagas of one or more pages and the token of the next.
    #[must_use]
    pub fn new(sagas: Vec<proto::Saga>, next_page_token: &str) -> Self {
        Self {
            sagas: sagas.into_iter().map(SagaRowView::from).collect(),
            next_page_token: non_empty(next_page_token),
        }
    }
}

impl View for SagaListView {
    fn table(&self) -> String {
        let rows = self.sagas.iter().map(|saga| {
            vec![
                saga.id.clone(),
                format!("{} r{}", saga.definition, saga.revision),
                or_dash(saga.key.as_deref().unwrap_or("")),
                saga.state.clone(),
                or_dash(saga.start_time.as_deref().unwrap_or("")),
                saga.took
                    .map_or("-".to_owned(), |seconds| format!("{seconds:.3} s")),
            ]
        });
        grid(
            &["SAGA", "DEFINITION", "KEY", "STATE", "STARTED", "TOOK"],
            rows,
        )
    }
}

/// The answer to a start.
#[derive(Debug, Serialize)]
pub struct StartedView {
    name: String,
    id: String,
    revision: u32,
    created: bool,
}

impl From<proto::StartSagaResponse> for StartedView {
    fn from(answer: proto::StartSagaResponse) -> Self {
        Self {
            id: id_of(&answer.name).to_owned(),
            name: answer.name,
            revision: answer.revision,
            created: answer.created,
        }
    }
}

impl View for StartedView {
    /// The id alone, for a shell's variable.
    fn table(&self) -> String {
        format!("{}\n", self.id)
    }
}

/// The answer to a cancel.
#[derive(Debug, Serialize)]
pub struct CancelledView {
    name: String,
    disposition: String,
}

impl CancelledView {
    /// What became of the request about this saga.
    #[must_use]
    pub fn new(name: String, answer: &proto::CancelSagaResponse) -> Self {
        let value = proto::cancel_saga_response::Disposition::try_from(answer.disposition).ok();
        Self {
            name,
            disposition: word(
                value.map(|value| value.as_str_name()),
                "DISPOSITION_",
                answer.disposition,
            ),
        }
    }
}

impl View for CancelledView {
    fn table(&self) -> String {
        format!("{}\n", self.disposition)
    }
}

#[cfg(test)]
#[path = "saga_tests.rs"]
mod tests;
