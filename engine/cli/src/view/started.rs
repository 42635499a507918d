//! What became of starts: of one, and of each line of many.

use amends_proto::v1 as proto;
use amends_sdk::RpcError;
use serde::Serialize;
use serde_json::value::RawValue;

use super::saga::state_word;
use super::{non_empty, payload};
use crate::connection::id_of;
use crate::output::{View, plain};

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

/// What became of the start of one line.
#[derive(Debug, Serialize)]
pub struct LineView {
    line: u64,
    id: Option<String>,
    name: Option<String>,
    revision: Option<u32>,
    /// `started`, `found`, `refused`, or with a wait the saga's state.
    outcome: String,
    /// A refusal's reason, an abort's code, an incident's reason.
    reason: Option<String>,
    message: Option<String>,
    output: Option<Box<RawValue>>,
}

impl LineView {
    /// A saga that was started, or found by its key.
    #[must_use]
    pub fn started(line: u64, started: &proto::StartedSaga) -> Self {
        let word = if started.created { "started" } else { "found" };
        Self {
            line,
            id: Some(id_of(&started.name).to_owned()),
            name: Some(started.name.clone()),
            revision: Some(started.revision),
            outcome: word.to_owned(),
            reason: None,
            message: None,
            output: None,
        }
    }

    /// The same saga, once it ended or parked.
    #[must_use]
    pub fn settled(self, settled: proto::SettledSaga) -> Self {
        let (mut reason, mut message) = (None, None);
        if let Some(abort) = settled.abort {
            reason = non_empty(&abort.code).or_else(|| non_empty(&abort.kind));
            message = non_empty(&abort.message);
        }
        if let Some(incident) = settled.incident {
            reason = non_empty(&incident.reason);
            message = non_empty(&incident.message);
        }
        Self {
            outcome: state_word(settled.state),
            reason,
            message,
            output: payload(&settled.output),
            ..self
        }
    }

    /// The same saga, of which is not known how it ends: time is over, or the stream was lost.
    #[must_use]
    pub fn unsettled(self, why: &str) -> Self {
        Self {
            outcome: "unsettled".to_owned(),
            message: Some(why.to_owned()),
            ..self
        }
    }

    /// A start that did nothing.
    #[must_use]
    pub fn refused(line: u64, error: &RpcError) -> Self {
        let violations = error.violations.iter();
        let violations = violations.map(|one| format!("{}: {}", one.field, one.description));
        let words = std::iter::once(error.message.clone()).chain(violations);
        let words: Vec<String> = words.collect();
        Self {
            line,
            id: None,
            name: None,
            revision: None,
            outcome: "refused".to_owned(),
            reason: (error.reason.clone()).or_else(|| Some(format!("{:?}", error.code))),
            message: Some(words.join("; ")),
            output: None,
        }
    }
}

impl View for LineView {
    /// Line, id, outcome, and why.
    fn table(&self) -> String {
        let line = self.line.to_string();
        let id = self.id.as_deref().unwrap_or("-");
        let mut fields = vec![line.as_str(), id, &self.outcome];
        fields.extend(self.reason.as_deref());
        fields.extend(self.message.as_deref());
        let fields: Vec<String> = fields
            .iter()
            .map(|field| plain(&field.replace('\n', " ")))
            .collect();
        format!("{}\n", fields.join("\t"))
    }
}

#[cfg(test)]
mod tests {
    use amends_sdk::ClientError;

    use super::*;
    use crate::output::{Format, render};

    fn started() -> proto::StartedSaga {
        proto::StartedSaga {
            name: "namespaces/default/sagas/1".to_owned(),
            created: true,
            revision: 2,
        }
    }

    #[test]
    fn a_line_has_the_id_and_what_became_of_it() {
        let view = LineView::started(7, &started());
        assert_eq!(view.table(), "7\t1\tstarted\n");
        let settled = view.settled(proto::SettledSaga {
            state: proto::SagaState::Compensated.into(),
            abort: Some(proto::AbortReason {
                kind: "STEP_FAILED".to_owned(),
                code: "OUT_OF_STOCK".to_owned(),
                message: "no\nmore".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        });
        let table = render(Format::Table, &settled).expect("a form");
        assert_eq!(table, "7\t1\tcompensated\tOUT_OF_STOCK\tno more\n");
    }

    #[test]
    fn a_refusal_is_a_line_too() {
        let status = tonic::Status::invalid_argument("the input is no JSON");
        let error = ClientError::from(status);
        let view = LineView::refused(3, error.rpc().expect("it is one"));
        let table = "3\t-\trefused\tInvalidArgument\tthe input is no JSON\n";
        assert_eq!(view.table(), table);
    }
}
