//! The facts of a saga, one line each.

use amends_proto::v1::HistoryEntry;
use serde::Serialize;
use serde_json::value::RawValue;

use super::command::place;
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
    item: Option<u32>,
    operation: Option<String>,
    attempt: Option<u32>,
    round: u32,
    outcome: Option<String>,
    verdict: Option<String>,
    code: Option<String>,
    message: Option<String>,
    instance: Option<String>,
    by: Option<String>,
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
        let clock =
            timestamp(entry.time.as_ref()).map_or("-".to_owned(), |time| format!("{time:.3}"));
        Self {
            position: entry.position,
            index: entry.index,
            time: rfc_3339(entry.time.as_ref()),
            kind: entry.kind,
            step: non_empty(&entry.step),
            item: (entry.item > 0).then_some(entry.item),
            operation: non_empty(&entry.operation),
            round: entry.round,
            by: non_empty(&entry.by),
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
        // Rounds are rare; where there are some, an attempt is told from that of the round before.
        let round = match self.round {
            0 => String::new(),
            round => format!("r{round}"),
        };
        let attempt = self
            .attempt
            .map_or("-".to_owned(), |attempt| format!("{round}#{attempt}"));
        let step = self.step.as_deref().unwrap_or("-");
        let mut line = format!(
            "{:<24}  {:<17}  {:<16}  {:<10}  {:<3}  {:<15}  {:<15}",
            self.clock,
            self.kind,
            place(step, self.item.unwrap_or_default()),
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
        if let Some(by) = &self.by {
            line.push_str(&format!("  (by {by})"));
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
        "{:<24}  {:<17}  {:<16}  {:<10}  {:<3}  {:<15}  {:<15}  CODE\n",
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
            item: 3,
            round: 1,
            by: "ann".to_owned(),
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
            "TIME                      FACT               STEP              OPERATION   TRY  OUTCOME          BARRIER          CODE\n\
             -                         started            -                 -           -    -                -\n\
             2025-11-21T08:00:00.042Z  attempt_ended      charge#3          forward     r1#2  rejected         first            CARD_DECLINED: no money  (by ann)\n"
        );
        let json = serde_json::to_value(&view).expect("JSON");
        assert_eq!(json["entries"][1]["body"]["a"], 1);
        assert_eq!(json["entries"][0]["attempt"], serde_json::Value::Null);
    }
}
