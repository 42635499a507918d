//! Why a saga is where it is: sentences for people, the whole of it as data.

use amends_proto::v1::{self as proto, StepState};
use serde::Serialize;

use super::command::place;
use super::saga::SagaView;
use super::{non_empty, rfc_3339, word};
use crate::output::grid::{grid, or_dash};
use crate::output::{View, plain};

/// An explanation.
#[derive(Debug, Serialize)]
pub struct ExplanationView {
    saga: Option<SagaView>,
    sentences: Vec<SentenceView>,
    attempts: Vec<AttemptView>,
    owed: Vec<OwedView>,
    waits_for: Vec<WaitsForView>,
}

#[derive(Debug, Serialize)]
struct SentenceView {
    topic: String,
    step: Option<String>,
    item: Option<u32>,
    text: String,
}

#[derive(Debug, Serialize)]
struct AttemptView {
    step: String,
    item: Option<u32>,
    operation: String,
    round: u32,
    attempt: u32,
    action: Option<String>,
    instance: Option<String>,
    send_time: Option<String>,
    end_time: Option<String>,
    outcome: Option<String>,
    code: Option<String>,
    message: Option<String>,
    retry_time: Option<String>,
}

#[derive(Debug, Serialize)]
struct OwedView {
    step: String,
    item: Option<u32>,
    action: Option<String>,
    state: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct WaitsForView {
    kind: String,
    step: Option<String>,
    item: Option<u32>,
    subject: Option<String>,
    since_time: Option<String>,
    until_time: Option<String>,
    text: String,
}

impl From<proto::ExplainSagaResponse> for ExplanationView {
    fn from(explained: proto::ExplainSagaResponse) -> Self {
        Self {
            saga: explained.saga.map(SagaView::from),
            sentences: explained.sentences.into_iter().map(sentence).collect(),
            attempts: explained.attempts.into_iter().map(attempt).collect(),
            owed: explained.owed.into_iter().map(owed).collect(),
            waits_for: explained.waits_for.into_iter().map(waits_for).collect(),
        }
    }
}

fn sentence(sentence: proto::Sentence) -> SentenceView {
    SentenceView {
        step: non_empty(&sentence.step),
        item: numbered(sentence.item),
        topic: sentence.topic,
        text: sentence.text,
    }
}

/// What is said of an attempt that nobody has taken yet; whether an earlier process had sent it is not known here.
const UNSENT: &str = "waits to be sent";

fn attempt(attempt: proto::Attempt) -> AttemptView {
    let unsent = attempt.send_time.is_none() && attempt.end_time.is_none();
    AttemptView {
        item: numbered(attempt.item),
        action: non_empty(&attempt.action),
        instance: non_empty(&attempt.instance),
        send_time: rfc_3339(attempt.send_time.as_ref()),
        end_time: rfc_3339(attempt.end_time.as_ref()),
        outcome: non_empty(&attempt.outcome).or(unsent.then(|| UNSENT.to_owned())),
        code: non_empty(&attempt.code),
        message: non_empty(&attempt.message),
        retry_time: rfc_3339(attempt.retry_time.as_ref()),
        step: attempt.step,
        operation: attempt.operation,
        round: attempt.round,
        attempt: attempt.attempt,
    }
}

fn owed(owed: proto::Owed) -> OwedView {
    let name = StepState::try_from(owed.state).ok();
    let name = name.map(|state| state.as_str_name());
    OwedView {
        item: numbered(owed.item),
        action: non_empty(&owed.action),
        state: word(name, "STEP_STATE_", owed.state),
        step: owed.step,
        why: owed.why,
    }
}

fn waits_for(awaited: proto::WaitsFor) -> WaitsForView {
    WaitsForView {
        step: non_empty(&awaited.step),
        item: numbered(awaited.item),
        subject: non_empty(&awaited.subject),
        since_time: rfc_3339(awaited.since_time.as_ref()),
        until_time: rfc_3339(awaited.until_time.as_ref()),
        kind: awaited.kind,
        text: awaited.text,
    }
}

fn numbered(item: u32) -> Option<u32> {
    (item > 0).then_some(item)
}

impl View for ExplanationView {
    /// Sentences, then what ran where and when, then commands to copy.
    fn table(&self) -> String {
        let mut text = String::new();
        if let Some(saga) = &self.saga {
            text.push_str(&format!("{}\n\n", saga.title()));
        }
        for sentence in &self.sentences {
            text.push_str(&format!("{}\n", sentence.text));
        }
        if !self.attempts.is_empty() {
            let header = [
                "STEP",
                "OPERATION",
                "TRY",
                "RAN BY",
                "SENT",
                "ENDED",
                "OUTCOME",
                "CODE",
            ];
            let rows = self.attempts.iter().map(AttemptView::row);
            text.push_str(&format!("\n{}", grid(&header, rows)));
        }
        let commands = self.saga.as_ref().map(SagaView::commands);
        let commands = commands.unwrap_or_default();
        if !commands.is_empty() {
            text.push_str("\nWhat can be typed:\n");
            for command in commands {
                text.push_str(&format!("  {command}\n"));
            }
        }
        plain(&text)
    }
}

impl AttemptView {
    /// `ledger/951cf296-…`: also without the instance it says in whose books to look.
    fn ran_by(&self) -> String {
        let action = self.action.as_deref().unwrap_or_default();
        let participant = action.split_once('.').map(|(participant, _)| participant);
        let instance = self.instance.as_deref();
        match (participant, instance) {
            (Some(participant), instance) => {
                format!("{participant}/{}", or_dash(instance.unwrap_or_default()))
            }
            (None, instance) => or_dash(instance.unwrap_or_default()),
        }
    }

    fn row(&self) -> Vec<String> {
        let dash = |text: &Option<String>| or_dash(text.as_deref().unwrap_or_default());
        let round = match self.round {
            0 => String::new(),
            round => format!(" of round {round}"),
        };
        vec![
            place(&self.step, self.item.unwrap_or_default()),
            self.operation.clone(),
            format!("#{}{round}", self.attempt),
            self.ran_by(),
            dash(&self.send_time),
            dash(&self.end_time),
            self.outcome.clone().unwrap_or("under way".to_owned()),
            dash(&self.code),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained() -> proto::ExplainSagaResponse {
        proto::ExplainSagaResponse {
            saga: Some(proto::Saga {
                name: "namespaces/default/sagas/1".to_owned(),
                definition: "namespaces/default/definitions/order".to_owned(),
                revision: 2,
                key: "A-1".to_owned(),
                state: proto::SagaState::Parked.into(),
                incidents: vec![proto::Incident {
                    reason: "STEP_EXHAUSTED".to_owned(),
                    step: "ship".to_owned(),
                    operation: "forward".to_owned(),
                    ..proto::Incident::default()
                }],
                ..proto::Saga::default()
            }),
            sentences: vec![proto::Sentence {
                topic: "STATE".to_owned(),
                text: "It is parked.".to_owned(),
                ..proto::Sentence::default()
            }],
            attempts: vec![
                proto::Attempt {
                    step: "ship".to_owned(),
                    item: 2,
                    operation: "forward".to_owned(),
                    round: 1,
                    attempt: 3,
                    action: "shop.ship".to_owned(),
                    instance: "shop-1".to_owned(),
                    outcome: "failed".to_owned(),
                    code: "TRUCK_BROKEN".to_owned(),
                    ..proto::Attempt::default()
                },
                proto::Attempt {
                    step: "ship".to_owned(),
                    operation: "forward".to_owned(),
                    action: "shop.ship".to_owned(),
                    attempt: 4,
                    send_time: Some(prost_types::Timestamp::default()),
                    ..proto::Attempt::default()
                },
                proto::Attempt {
                    step: "bill".to_owned(),
                    operation: "forward".to_owned(),
                    action: "bank.bill".to_owned(),
                    attempt: 1,
                    ..proto::Attempt::default()
                },
            ],
            ..proto::ExplainSagaResponse::default()
        }
    }

    #[test]
    fn an_explanation_is_sentences_attempts_and_commands() {
        let view = ExplanationView::from(explained());
        assert_eq!(
            view.table(),
            "saga 1 of order, revision 2, with the key A-1: parked\n\
             \n\
             It is parked.\n\
             \n\
             STEP    OPERATION  TRY            RAN BY       SENT                         ENDED  OUTCOME           CODE\n\
             ship#2  forward    #3 of round 1  shop/shop-1  -                            -      failed            TRUCK_BROKEN\n\
             ship    forward    #4             shop/-       1970-01-01T00:00:00.000000Z  -      under way         -\n\
             bill    forward    #1             bank/-       -                            -      waits to be sent  -\n\
             \n\
             What can be typed:\n\
             \x20 amends saga retry 1 ship --reason WHY\n\
             \x20 amends saga resolve 1 ship --result JSON --reason WHY\n\
             \x20 amends saga skip 1 ship --reason WHY\n"
        );
        let json = serde_json::to_value(&view).expect("JSON");
        assert_eq!(json["attempts"][0]["item"], 2);
        let outcome = |nth: usize| json["attempts"][nth]["outcome"].as_str();
        assert_eq!(outcome(0), Some("failed"));
        assert_eq!((outcome(1), outcome(2)), (None, Some("waits to be sent")));
        assert_eq!(json["saga"]["state"], "parked");
    }
}
