//! How facts are written as bytes: UTF-8 JSON `{"v":2,"facts":[…]}`, versioned, and frozen by files that are read for
//! ever (`golden/`). Payloads are embedded as they came.
//!
//! The rule: the newest version is written, and every version is read. Every change of the form, a new field included,
//! is a new `v` with a golden file of its own; the older files are never written again. A reader refuses what it does
//! not know, a kind or a field of a later version in a row of an earlier one included, and the saga parks, because a
//! fact half understood is a wrong state. A new word in a field whose words are few (an `act`, a `reason`) is no change of
//! the form: a reader that does not know it refuses it.
//!
//! | `v` | what it has |
//! |---|---|
//! | 1 | calls: the kinds of `golden/v1.jsonl` |
//! | 2 | the whole language: items (`item`) and rounds (`round`), both left out when 0, and the kinds of `golden/v2.jsonl` |
//!
//! A step is written by its index; its id is in the normal form of the saga's revision, at `steps[index].id`.
//! Deliberately not here: columns and tables (the stores).

use amends_core::Fact;

mod read;
mod write;

/// Why a row cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {position} of the journal of this saga cannot be read: {message}")]
pub struct RecordError {
    /// Which row.
    pub position: u64,
    /// Why.
    pub message: String,
}

/// The version of the form that is written.
pub const VERSION: u32 = 2;

/// The body of a journal row.
#[must_use]
pub fn encode(facts: &[Fact]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded_bytes(facts));
    encode_into(&mut out, facts);
    out
}

/// As [`encode`], behind what stands there already.
pub fn encode_into(out: &mut Vec<u8>, facts: &[Fact]) {
    write::body(out, facts);
}

/// How long the body of a journal row is, about: room to ask for at once.
#[must_use]
pub fn encoded_bytes(facts: &[Fact]) -> usize {
    write::body_bytes(facts)
}

/// The body of a takeover record.
#[must_use]
pub fn encode_takeover(node: &str) -> Vec<u8> {
    write::takeover(node)
}

/// One fact as it stands in a body: what the history shows.
#[must_use]
pub fn fact_to_json(fact: &Fact) -> String {
    let mut out = Vec::new();
    write::fact(&mut out, fact);
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Reads the body of a journal row; `position` names the row in the error.
///
/// # Errors
/// If the body is not what a version known here wrote.
pub fn decode(position: u64, body: &[u8]) -> Result<Vec<Fact>, RecordError> {
    read::body(body).map_err(|message| RecordError { position, message })
}

/// What a child can come to, as it is written.
const COMPLETED: &str = "completed";
const COMPENSATED: &str = "compensated";
const REFUSED: &str = "refused";
const TERMINATED: &str = "terminated";

#[cfg(test)]
mod tests;
