//! The steps of a saga: a row for each, one for each of its items, and what they wait for. Deliberately not here: the saga
//! around them (`saga`).

use amends_proto::v1::{self as proto, StepState};
use serde::Serialize;
use serde_json::value::RawValue;

use super::command::{place, signal};
use super::{non_empty, payload, rfc_3339, word};
use crate::connection::id_of;
use crate::output::grid::or_dash;

/// Items that a table shows of a step with more than that: those that are not simply done.
const ITEMS_SHOWN_MAX: usize = 25;

/// The columns of a table of steps.
pub const HEADER: [&str; 9] = [
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

/// A step.
#[derive(Debug, Serialize)]
pub struct StepView {
    id: String,
    action: String,
    kind: String,
    work: Option<String>,
    forward: Option<OperationView>,
    compensation: Option<OperationView>,
    query: Option<OperationView>,
    child: Option<String>,
    signal: Option<String>,
    items: Vec<ItemView>,
}

#[derive(Debug, Serialize)]
struct ItemView {
    number: u32,
    key: String,
    forward: Option<OperationView>,
    compensation: Option<OperationView>,
    query: Option<OperationView>,
    child: Option<String>,
}

#[derive(Debug, Serialize)]
struct OperationView {
    state: String,
    action: String,
    attempts: u32,
    round: u32,
    input: Option<Box<RawValue>>,
    output: Option<Box<RawValue>>,
    code: Option<String>,
    message: Option<String>,
    retry_time: Option<String>,
    until_time: Option<String>,
}

impl From<proto::Step> for StepView {
    fn from(step: proto::Step) -> Self {
        Self {
            id: step.id,
            action: step.action,
            kind: step.kind,
            work: non_empty(&step.work),
            forward: step.forward.map(OperationView::from),
            compensation: step.compensation.map(OperationView::from),
            query: step.query.map(OperationView::from),
            child: non_empty(&step.child),
            signal: non_empty(&step.signal),
            items: step.items.into_iter().map(ItemView::from).collect(),
        }
    }
}

impl From<proto::Item> for ItemView {
    fn from(item: proto::Item) -> Self {
        Self {
            number: item.number,
            key: item.key,
            forward: item.forward.map(OperationView::from),
            compensation: item.compensation.map(OperationView::from),
            query: item.query.map(OperationView::from),
            child: non_empty(&item.child),
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
            round: operation.round,
            input: payload(&operation.input),
            output: payload(&operation.output),
            code: non_empty(&operation.code),
            message: non_empty(&operation.message),
            retry_time: rfc_3339(operation.retry_time.as_ref()),
            until_time: rfc_3339(operation.until_time.as_ref()),
        }
    }
}

impl StepView {
    /// The signal that it waits for, if it waits for one.
    pub fn signal_of(&self, step: &str) -> Option<&str> {
        (self.id == step).then_some(self.signal.as_deref()?)
    }

    /// Its row, and its items'. In a saga that goes forward no more, what waits never begins.
    pub fn rows(&self, is_over: bool) -> Vec<Vec<String>> {
        let what = match (self.work.as_deref(), &self.signal, &self.child) {
            (Some("wait"), Some(signal), _) => format!("wait for {signal}"),
            (Some("saga"), _, Some(child)) => format!("saga {}", id_of(child)),
            (Some(work), _, _) if self.action.is_empty() => work.to_owned(),
            _ => self.action.clone(),
        };
        let mut rows = vec![row(
            [self.id.clone(), self.kind.clone(), or_dash(&what)],
            self.forward.as_ref(),
            self.compensation.as_ref(),
            is_over,
        )];
        let all = self.items.len() <= ITEMS_SHOWN_MAX;
        let shown = self.items.iter().filter(|item| all || !item.is_plain());
        let shown = shown.take(ITEMS_SHOWN_MAX);
        rows.extend(shown.map(|item| item.row(&self.id, is_over)));
        let hidden = (self.items.len() + 1).saturating_sub(rows.len());
        if hidden > 0 {
            let more = format!("and {hidden} more items: -o json shows all");
            let first = [format!("{}#…", self.id), "-".to_owned(), more];
            rows.push(row(first, None, None, is_over));
        }
        rows
    }

    /// What it waits for, in words, with commands to copy.
    pub fn waits(&self, saga: &str) -> Vec<String> {
        let itself = Waiting {
            saga,
            place: self.id.clone(),
            signal: self.signal.as_deref(),
            child: self.child.as_deref(),
        };
        let mut waits = itself.of(
            self.forward.as_ref(),
            self.compensation.as_ref(),
            self.query.as_ref(),
        );
        for item in &self.items {
            let of_item = Waiting {
                saga,
                place: place(&self.id, item.number),
                signal: self.signal.as_deref(),
                child: item.child.as_deref(),
            };
            waits.extend(of_item.of(
                item.forward.as_ref(),
                item.compensation.as_ref(),
                item.query.as_ref(),
            ));
        }
        waits
    }
}

impl ItemView {
    fn row(&self, step: &str, is_over: bool) -> Vec<String> {
        let what = match &self.child {
            Some(child) => format!("item {}, saga {}", self.key, id_of(child)),
            None => format!("item {}", self.key),
        };
        row(
            [place(step, self.number), "-".to_owned(), what],
            self.forward.as_ref(),
            self.compensation.as_ref(),
            is_over,
        )
    }

    /// Done, or not begun, and nothing else about it.
    fn is_plain(&self) -> bool {
        let is = |operation: &Option<OperationView>, states: &[&str]| {
            operation
                .as_ref()
                .is_none_or(|it| it.code.is_none() && states.contains(&it.state.as_str()))
        };
        is(&self.forward, &["succeeded", "waiting", "skipped"])
            && is(&self.compensation, &["waiting", "succeeded"])
    }
}

fn row(
    first: [String; 3],
    forward: Option<&OperationView>,
    compensation: Option<&OperationView>,
    is_over: bool,
) -> Vec<String> {
    let mut row = first.to_vec();
    // A compensation that is not owed is nothing to show.
    let compensation = compensation.filter(|operation| operation.state != "waiting");
    for operation in [forward, compensation] {
        match operation {
            Some(operation) => row.extend([
                operation.word(is_over),
                operation.attempts.to_string(),
                or_dash(operation.code.as_deref().unwrap_or("")),
            ]),
            None => row.extend(["-".to_owned(), "-".to_owned(), "-".to_owned()]),
        }
    }
    row
}

impl OperationView {
    fn word(&self, is_over: bool) -> String {
        if is_over && self.state == "waiting" {
            "not begun".to_owned()
        } else {
            self.state.replace('_', " ")
        }
    }
}

/// A place that waits for something.
struct Waiting<'a> {
    saga: &'a str,
    place: String,
    signal: Option<&'a str>,
    child: Option<&'a str>,
}

impl Waiting<'_> {
    fn of(
        &self,
        forward: Option<&OperationView>,
        compensation: Option<&OperationView>,
        query: Option<&OperationView>,
    ) -> Vec<String> {
        let asked = query
            .filter(|query| query.state == "querying")
            .map(|query| {
                format!(
                    "{}: {} is asked whether it had its effect",
                    self.place, query.action
                )
            });
        let forward = forward.and_then(|forward| self.line(forward, ""));
        let undone = compensation.and_then(|undone| self.line(undone, ", undoing it"));
        [forward, asked, undone].into_iter().flatten().collect()
    }

    fn line(&self, operation: &OperationView, undoing: &str) -> Option<String> {
        let until = operation.until_time.as_ref();
        let until = until.map_or(String::new(), |time| format!(" until {time}"));
        let what = match operation.state.as_str() {
            "awaiting_signal" => {
                let name = self.signal.unwrap_or("SIGNAL");
                format!(
                    "for the signal {name}{until}\n    {}",
                    signal(self.saga, name)
                )
            }
            "sleeping" => format!("sleeps{until}"),
            "settling" => format!("waits{until}, for what a late execution may still show"),
            "child_under_way" => match self.child {
                Some(child) => format!(
                    "for its child saga\n    amends explain {}",
                    super::command::reference(child)
                ),
                None => "for its child saga, which is about to begin".to_owned(),
            },
            "retrying" => {
                let time = operation.retry_time.as_deref().unwrap_or("its time");
                let code = operation.code.as_deref().unwrap_or("a failure");
                format!("tried again at {time}, after {code}")
            }
            _ => return None,
        };
        Some(format!("{}{undoing}: {what}", self.place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(state: StepState) -> proto::Operation {
        proto::Operation {
            state: state.into(),
            ..proto::Operation::default()
        }
    }

    fn step(work: &str, state: StepState) -> proto::Step {
        proto::Step {
            id: "s".to_owned(),
            kind: "compensatable".to_owned(),
            work: work.to_owned(),
            forward: Some(operation(state)),
            ..proto::Step::default()
        }
    }

    fn first(row: &[String]) -> [&str; 4] {
        [&row[0], &row[1], &row[2], &row[3]]
    }

    #[test]
    fn every_kind_of_work_says_what_it_waits_for() {
        let until = Some(prost_types::Timestamp {
            seconds: 1_763_712_000,
            nanos: 0,
        });
        let mut wait = step("wait", StepState::AwaitingSignal);
        wait.signal = "decided".to_owned();
        let view = StepView::from(wait);
        assert_eq!(
            first(&view.rows(false)[0]),
            ["s", "compensatable", "wait for decided", "awaiting signal"]
        );
        assert_eq!(
            view.waits("X"),
            ["s: for the signal decided\n    amends saga signal X decided --payload JSON"]
        );
        let mut sleep = step("sleep", StepState::Sleeping);
        sleep.forward.as_mut().expect("it has one").until_time = until;
        assert_eq!(
            StepView::from(sleep).waits("X"),
            ["s: sleeps until 2025-11-21T08:00:00.000000Z"]
        );
        let mut child = step("saga", StepState::ChildUnderWay);
        child.child = "namespaces/default/sagas/7".to_owned();
        let view = StepView::from(child);
        assert_eq!(view.rows(false)[0][2], "saga 7");
        assert_eq!(
            view.waits("X"),
            ["s: for its child saga\n    amends explain 7"]
        );
        let mut settles = step("call", StepState::Unspecified);
        settles.compensation = Some(proto::Operation {
            until_time: until,
            ..operation(StepState::Settling)
        });
        assert!(
            StepView::from(settles).waits("X")[0].starts_with("s, undoing it: waits until 2025")
        );
    }

    #[test]
    fn in_a_saga_that_is_over_what_waits_never_begins() {
        let view = StepView::from(step("call", StepState::Waiting));
        assert_eq!(view.rows(false)[0][3], "waiting");
        assert_eq!(view.rows(true)[0][3], "not begun");
    }

    #[test]
    fn of_many_items_those_are_shown_that_are_not_simply_done() {
        let item = |number| proto::Item {
            number,
            key: format!("k{number}"),
            forward: Some(operation(if number == 40 {
                StepState::Failed
            } else {
                StepState::Succeeded
            })),
            ..proto::Item::default()
        };
        let mut many = step("call", StepState::ItemsUnderWay);
        many.items = (1..=100).map(item).collect();
        let rows = StepView::from(many.clone()).rows(false);
        assert_eq!(rows.len(), 3);
        assert_eq!(first(&rows[1]), ["s#40", "-", "item k40", "failed"]);
        assert!(rows[2][2].starts_with("and 99 more items"), "{rows:?}");
        many.items.truncate(2);
        let rows = StepView::from(many).rows(false);
        assert_eq!(first(&rows[2]), ["s#2", "-", "item k2", "succeeded"]);
        assert_eq!(rows.len(), 3);
    }
}
