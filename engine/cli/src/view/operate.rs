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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    readers: Vec<ReaderView>,
}

impl OperatedView {
    /// What became of this saga.
    #[must_use]
    pub fn new(name: String, answer: proto::OperateSagaResponse, dry_run: bool) -> Self {
        Self {
            id: id_of(&name).to_owned(),
            state: state_word(answer.state),
            name,
            dry_run,
            readers: answer.readers.into_iter().map(ReaderView::from).collect(),
        }
    }
}

impl View for OperatedView {
    fn table(&self) -> String {
        let mut out = format!("{}\n", self.state);
        for reader in &self.readers {
            out.push_str(&format!("{}\n", plain(&reader.words())));
        }
        out
    }
}

/// Who reads the output of a step that is skipped.
#[derive(Debug, Serialize)]
struct ReaderView {
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    field: String,
    sees: Sees,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Sees {
    Unknown,
    Nothing,
    Absence,
    NullInList,
}

impl From<proto::OutputReader> for ReaderView {
    fn from(reader: proto::OutputReader) -> Self {
        let sees = match reader.sees() {
            proto::output_reader::Sees::Unspecified => Sees::Unknown,
            proto::output_reader::Sees::Nothing => Sees::Nothing,
            proto::output_reader::Sees::Absence => Sees::Absence,
            proto::output_reader::Sees::NullInList => Sees::NullInList,
        };
        Self {
            step: non_empty(&reader.step),
            field: reader.field,
            sees,
        }
    }
}

impl ReaderView {
    fn words(&self) -> String {
        let who = match &self.step {
            Some(step) => format!("`{}` of step {step}", self.field),
            None => "the saga's `output`".to_owned(),
        };
        let sees = match self.sees {
            Sees::Nothing => {
                "there is none; where it comes to that it has no value (EXPRESSION_FAILED)"
            }
            Sees::Absence => {
                "there is none, as it hears if it asks with `has`; a read beside that has no value"
            }
            Sees::NullInList => {
                "null stands in the list for what is skipped, and a field of that has no value; there is no list if nothing was listed"
            }
            Sees::Unknown => "there may be none",
        };
        format!("{who} reads its output: {sees}")
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    readers: Vec<ReaderView>,
}

impl From<proto::OperateIncidentsResponse> for GroupActedView {
    fn from(told: proto::OperateIncidentsResponse) -> Self {
        let state = told.reason.is_empty().then(|| state_word(told.state));
        Self {
            state,
            saga: told.saga,
            reason: non_empty(&told.reason),
            message: non_empty(&told.message),
            readers: told.readers.into_iter().map(ReaderView::from).collect(),
        }
    }
}

impl GroupActedView {
    /// Who reads the output of the step that was skipped, in words: the same for each saga of a group.
    #[must_use]
    pub fn readers(&self) -> Vec<String> {
        self.readers.iter().map(ReaderView::words).collect()
    }

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
    fn what_reads_a_skipped_output_is_told_with_what_it_will_see() {
        use proto::output_reader::Sees;
        let reader = |step: &str, field: &str, sees: Sees| proto::OutputReader {
            step: step.to_owned(),
            field: field.to_owned(),
            sees: sees.into(),
        };
        let answer = proto::OperateSagaResponse {
            state: proto::SagaState::Running.into(),
            readers: vec![
                reader("tell", "input", Sees::Nothing),
                reader("tell", "when", Sees::Absence),
                reader("", "output", Sees::NullInList),
            ],
        };
        let told = OperatedView::new("namespaces/default/sagas/1".to_owned(), answer, true);
        assert_eq!(
            told.table(),
            "running\n\
             `input` of step tell reads its output: there is none; where it comes to that it has no value (EXPRESSION_FAILED)\n\
             `when` of step tell reads its output: there is none, as it hears if it asks with `has`; a read beside that has no value\n\
             the saga's `output` reads its output: null stands in the list for what is skipped, and a field of that has no value; there is no list if nothing was listed\n"
        );
    }

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
