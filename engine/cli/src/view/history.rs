//! The facts of a saga, one line each.

use amends_proto::v1::HistoryEntry;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{non_empty, payload, rfc_3339, timestamp};
use crate::output::{View, plain};

/// One fact.
#[derive(Debug, Serialize)]
pub struct FactView {
    position: u64,
    index: u32,
    time: Option<String>,
    kind: String,
    step: Option<String>,
    operation: Option<String>,
    attempt: Option<u32>,
    outcome: Option<String>,
    verdict: Option<String>,
    code: Option<String>,
    message: Option<String>,
    instance: Option<String>,
    body: Option<Box<RawValue>>,
    #[serde(skip)]
    clock: String,
}

/// Facts in order.
#[derive(Debug, Serialize)]
pub struct HistoryView {
    entries: Vec<FactView>,
}

impl From<HistoryEntry> for FactView {
    fn from(entry: HistoryEntry) -> Self {
        let clock = timestamp(entry.time.as_ref()).map_or("-".to_owned(), |time| {
            let text = format!("{time:.3}");
            text.split_once('T').map_or(text.clone(), |(_, clock)| {
                clock.trim_end_matches('Z').to_owned()
            })
        });
        Self {
            position: entry.position,
            index: entry.index,
            time: rfc_3339(entry.time.as_ref()),
            kind: entry.kind,
            step: non_empty(&entry.step),
            operation: non_empty(&entry.operation),
            attempt: (entry.attempt > 0).then_some(entry.attempt),
            outcome: non_empty(&entry.outcome),
            verdict: non_empty(&entry.verdict),
            code: non_empty(&entry.code),
            message: non_empty(&entry.message),
            instance: non_empty(&entry.instance),
            body: payload(&entry.body),
            clock,
        }
    }
}

impl From<Vec<HistoryEntry>> for HistoryView {
    fn from(entries: Vec<HistoryEntry>) -> Self {
        Self {
            entries: entries.into_iter().map(FactView::from).collect(),
        }
    }
}

impl View for FactView {
    /// Columns of fixed least width, so that a history that is followed stays aligned.
    fn table(&self) -> String {
        let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let attempt = self
            .attempt
            .map_or("-".to_owned(), |attempt| format!("#{attempt}"));
        let mut line = format!(
            "{:<12}  {:<15}  {:<16}  {:<10}  {:<3}  {:<15}  {:<15}",
            self.clock,
            self.kind,
            dash(&self.step),
            dash(&self.operation),
            attempt,
            dash(&self.outcome),
            dash(&self.verdict),
        );
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => line.push_str(&format!("  {code}: {message}")),
            (Some(text), None) | (None, Some(text)) => line.push_str(&format!("  {text}")),
            (None, None) => {}
        }
        format!("{}\n", plain(line.trim_end()).replace('\n', " "))
    }
}

impl View for HistoryView {
    fn table(&self) -> String {
        let mut text = header();
        self.entries
            .iter()
            .for_each(|entry| text.push_str(&entry.table()));
        text
    }
}

/// What stands above the lines of a history.
#[must_use]
pub fn header() -> String {
    format!(
        "{:<12}  {:<15}  {:<16}  {:<10}  {:<3}  {:<15}  {:<15}  CODE\n",
        "TIME", "FACT", "STEP", "OPERATION", "TRY", "OUTCOME", "BARRIER"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_a_line() {
        let entry = HistoryEntry {
            position: 3,
            time: Some(prost_types::Timestamp {
                seconds: 1_763_712_000,
                nanos: 42_000_000,
            }),
            kind: "attempt_ended".to_owned(),
            step: "charge".to_owned(),
            operation: "forward".to_owned(),
            attempt: 2,
            outcome: "rejected".to_owned(),
            verdict: "first".to_owned(),
            code: "CARD_DECLINED".to_owned(),
            message: "no\nmoney".to_owned(),
            body: b"{\"a\": 1}".to_vec().into(),
            ..HistoryEntry::default()
        };
        let start = HistoryEntry {
            kind: "started".to_owned(),
            ..HistoryEntry::default()
        };
        let view = HistoryView::from(vec![start, entry]);
        assert_eq!(
            view.table(),
            "TIME          FACT             STEP              OPERATION   TRY  OUTCOME          BARRIER          CODE\n\
             -             started          -                 -           -    -                -\n\
             08:00:00.042  attempt_ended    charge            forward     #2   rejected         first            CARD_DECLINED: no money\n"
        );
        let json = serde_json::to_value(&view).expect("JSON");
        assert_eq!(json["entries"][1]["body"]["a"], 1);
        assert_eq!(json["entries"][0]["attempt"], serde_json::Value::Null);
    }
}
