//! How a handler says that it did not succeed. An error that nobody expected needs no words at all: `?` turns it into
//! *failed*, which the server retries. What the server makes of an outcome is not decided here.

use std::fmt;
use std::time::Duration;

use crate::limits::{CODE_BYTES_MAX, MESSAGE_BYTES_MAX, RETRY_AFTER_MAX};

/// Why an attempt did not succeed.
///
/// Every [`std::error::Error`] converts into a *failed* with the code `INTERNAL_ERROR` and the whole chain of causes as
/// its message. That is why `Fail` is not an error itself.
///
/// ```
/// use amends_sdk::Fail;
///
/// fn quantity(text: &str) -> Result<u32, Fail> {
///     let quantity: u32 = text.parse()?; // not a number: failed, and retried
///     if quantity > 100 {
///         return Err(Fail::rejected("OUT_OF_STOCK").message("only 100 are left"));
///     }
///     Ok(quantity)
/// }
/// assert!(quantity("101").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fail {
    pub(crate) kind: FailKind,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
}

/// What a [`Fail`] tells the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailKind {
    /// A business "no": definitely without effect. Not retried.
    Rejected,
    /// An error that was not expected; whether there was an effect is not known. Retried.
    Failed,
    /// It can never work, and had no effect. Not retried.
    Fatal,
}

impl Fail {
    /// A business "no": the operation definitely had no effect. The code is upper snake case, such as `OUT_OF_STOCK`.
    #[must_use]
    pub fn rejected(code: impl AsRef<str>) -> Self {
        Self::new(FailKind::Rejected, code.as_ref())
    }

    /// An error that may pass: the server tries again. The code is upper snake case, such as `CARRIER_UNREACHABLE`.
    #[must_use]
    pub fn failed(code: impl AsRef<str>) -> Self {
        Self::new(FailKind::Failed, code.as_ref())
    }

    /// It can never work, and had no effect: the server does not try again.
    #[must_use]
    pub fn fatal(code: impl AsRef<str>) -> Self {
        Self::new(FailKind::Fatal, code.as_ref())
    }

    /// Says it in words, for people. Cut at 4 KiB.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = truncated(message.into(), MESSAGE_BYTES_MAX);
        self
    }

    /// Asks for the next attempt no earlier than after this long, 30 days at most. Only *failed* is tried again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay.min(RETRY_AFTER_MAX));
        self
    }

    /// What it tells the server.
    #[must_use]
    pub fn kind(&self) -> FailKind {
        self.kind
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    fn new(kind: FailKind, code: &str) -> Self {
        Self {
            kind,
            code: upper_snake(code),
            message: String::new(),
            retry_after: None,
        }
    }
}

impl<E: std::error::Error> From<E> for Fail {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            let said = next.to_string();
            // Some errors repeat their source in their own text.
            if !message.ends_with(&said) {
                message = format!("{message}: {said}");
            }
            cause = next.source();
        }
        Self::failed("INTERNAL_ERROR").message(message)
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FailKind::Rejected => "rejected",
            FailKind::Failed => "failed",
            FailKind::Fatal => "fatal",
        };
        write!(f, "{kind} {}", self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// The wire takes upper snake case alone: a server would refuse the whole outcome for a code such as `out-of-stock`,
/// and the attempt would end as unknown. What can be mended is mended here.
fn upper_snake(code: &str) -> String {
    let mended: String = code
        .chars()
        .map(|c| match c {
            'a'..='z' => c.to_ascii_uppercase(),
            'A'..='Z' | '0'..='9' => c,
            _ => '_',
        })
        .take(CODE_BYTES_MAX)
        .collect();
    match mended.chars().next() {
        Some('A'..='Z') => mended,
        Some(_) => format!("E{mended}").chars().take(CODE_BYTES_MAX).collect(),
        None => "UNNAMED".to_owned(),
    }
}

fn truncated(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the books are closed")]
    struct Closed(#[source] std::num::ParseIntError);

    #[test]
    fn a_foreign_error_becomes_failed_with_its_chain_of_causes() {
        let cause = "x".parse::<u32>().unwrap_err();
        let fail = Fail::from(Closed(cause));
        assert_eq!(fail.kind(), FailKind::Failed);
        let shown = "failed INTERNAL_ERROR: the books are closed: invalid digit found in string";
        assert_eq!(fail.to_string(), shown);
    }

    #[test]
    fn codes_are_mended_to_what_the_wire_takes() {
        assert_eq!(Fail::rejected("out-of stock").code(), "OUT_OF_STOCK");
        assert_eq!(Fail::rejected("").code(), "UNNAMED");
        assert_eq!(Fail::rejected("404").code(), "E404");
        let long = "Ä".repeat(CODE_BYTES_MAX + 1);
        assert_eq!(Fail::fatal(&long).code().len(), CODE_BYTES_MAX);
    }

    #[test]
    fn a_message_is_cut_at_its_bound_between_characters() {
        let at_bound = "x".repeat(MESSAGE_BYTES_MAX);
        assert_eq!(Fail::failed("A").message(&at_bound).message, at_bound);
        let above = format!("{}é", "x".repeat(MESSAGE_BYTES_MAX - 1));
        let cut = Fail::failed("A").message(above).message;
        assert_eq!(cut.len(), MESSAGE_BYTES_MAX - 1);
    }

    #[test]
    fn a_delay_is_cut_at_thirty_days() {
        let fail = Fail::failed("A").retry_after(RETRY_AFTER_MAX + Duration::from_secs(1));
        assert_eq!(fail.retry_after, Some(RETRY_AFTER_MAX));
    }
}
