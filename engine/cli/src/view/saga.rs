//! A saga with its steps, and lists of sagas.

use amends_proto::v1::{self as proto, SagaState};
use serde::Serialize;
use serde_json::value::RawValue;

use super::command::reference;
use super::incident::IncidentView;
use super::step::{HEADER, StepView};
use super::{non_empty, payload, rfc_3339, timestamp, word};
use crate::connection::id_of;
use crate::output::grid::{grid, or_dash, pairs};
use crate::output::{View, plain};

/// Lines that a table has about what steps wait for.
const WAITS_SHOWN_MAX: usize = 25;

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
    parent: Option<String>,
    ordering_key: Option<String>,
    waits_for_turn: bool,
    pending_signals: Vec<PendingSignalView>,
    deadline_time: Option<String>,
    expire_time: Option<String>,
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
struct PendingSignalView {
    signal: String,
    number: u32,
    sender: Option<String>,
    accept_time: Option<String>,
}

impl From<proto::Saga> for SagaView {
    fn from(saga: proto::Saga) -> Self {
        let took = timestamp(saga.start_time.as_ref())
            .zip(timestamp(saga.end_time.as_ref()))
            .map(|(start, end)| end.duration_since(start).as_secs_f64());
        let steps: Vec<_> = saga.steps.into_iter().map(StepView::from).collect();
        let incident = |incident: proto::Incident| {
            let signal = steps.iter().find_map(|step| step.signal_of(&incident.step));
            let signal = signal.unwrap_or_default().to_owned();
            IncidentView::new(incident, &saga.name, &signal)
        };
        let incidents = saga.incidents.into_iter().map(incident).collect();
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
            incidents,
            parent: non_empty(&saga.parent),
            ordering_key: non_empty(&saga.ordering_key),
            waits_for_turn: saga.waits_for_turn,
            pending_signals: (saga.pending_signals.into_iter())
                .map(PendingSignalView::from)
                .collect(),
            deadline_time: rfc_3339(saga.deadline_time.as_ref()),
            expire_time: rfc_3339(saga.expire_time.as_ref()),
            cancel_pending: saga.cancel_pending,
            traceparent: non_empty(&saga.traceparent),
            input: payload(&saga.input),
            output: payload(&saga.output),
            steps,
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

impl From<proto::PendingSignal> for PendingSignalView {
    fn from(signal: proto::PendingSignal) -> Self {
        Self {
            number: signal.number,
            sender: non_empty(&signal.sender),
            accept_time: rfc_3339(signal.accept_time.as_ref()),
            signal: signal.signal,
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
            // A saga that is undone or has ended goes forward no more.
            let is_over = self.abort.is_some() || self.end_time.is_some();
            let rows = self.steps.iter().flat_map(|step| step.rows(is_over));
            text.push_str(&grid(&HEADER, rows));
            let waits = self.steps.iter();
            let waits = waits.flat_map(|step| step.waits(reference(&self.name)));
            let waits: Vec<_> = waits.collect();
            if !waits.is_empty() {
                text.push_str("\nit waits\n");
            }
            for wait in waits.iter().take(WAITS_SHOWN_MAX) {
                text.push_str(&format!("  {}\n", plain(wait)));
            }
            if let Some(more) = waits.len().checked_sub(WAITS_SHOWN_MAX + 1) {
                text.push_str(&format!("  and for {} more: -o json shows all\n", more + 1));
            }
        }
        text
    }
}

impl SagaView {
    /// One line about it.
    #[must_use]
    pub fn title(&self) -> String {
        let key = self.key.as_ref();
        let key = key.map_or(String::new(), |key| format!(", with the key {key}"));
        let Self {
            id,
            definition,
            revision,
            state,
            ..
        } = self;
        format!("saga {id} of {definition}, revision {revision}{key}: {state}")
    }

    /// What a person can type about its incidents and waits.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let of_incidents = self.incidents.iter().flat_map(IncidentView::commands);
        let waits = self.steps.iter();
        let waits = waits.flat_map(|step| step.waits(reference(&self.name)));
        let of_waits = waits.filter_map(|wait| {
            let (_, command) = wait.split_once('\n')?;
            Some(command.trim().to_owned())
        });
        of_incidents.cloned().chain(of_waits).collect()
    }

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
        add(
            "parent",
            self.parent.as_ref().map(|name| id_of(name).to_owned()),
        );
        add("ordering", self.ordering_key.clone());
        let pending = if self.cancel_pending {
            " (a cancel waits until it is known whether the pivot happened)"
        } else if self.waits_for_turn {
            " (it waits for its turn)"
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
        // Of a saga that goes forward no more, nothing has to be done in time.
        let deadline = self.deadline_time.clone();
        add(
            "deadline",
            deadline.filter(|_| self.end_time.is_none() && self.abort.is_none()),
        );
        add("abort", self.abort.as_ref().map(AbortView::text));
        let signals = self.pending_signals.iter().map(PendingSignalView::text);
        let signals: Vec<_> = signals.collect();
        add(
            "signals",
            (!signals.is_empty()).then(|| format!("{}, not taken yet", signals.join(", "))),
        );
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

impl PendingSignalView {
    fn text(&self) -> String {
        match &self.sender {
            Some(sender) => format!("{} from {sender}", self.signal),
            None => self.signal.clone(),
        }
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
        let text = match self.disposition.as_str() {
            "already_aborted" => "already aborted: it is being undone, or was",
            "pending" => {
                "pending: nobody knows yet whether the pivot happened; if it did not, the saga is undone, and if it did, the cancel is dropped"
            }
            other => other,
        };
        format!("{text}\n")
    }
}

#[cfg(test)]
#[path = "saga_tests.rs"]
mod tests;
