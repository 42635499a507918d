//! What the user reads when something failed: what happened, why, and what to do, with the exit code that goes with it.
//! Deliberately not here: deciding whether to try again.

use std::fmt::Write as _;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::exit::Exit;
use crate::output::plain;

/// A command that did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    what: String,
    why: Option<String>,
    details: Vec<String>,
    advice: Option<String>,
}

impl Failure {
    /// A failure: what happened, and the code the process ends with.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            why: None,
            details: Vec::new(),
            advice: None,
        }
    }

    /// A command line, or a file it names, that cannot be used.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Everything without a code of its own.
    pub fn wrong(what: impl Into<String>) -> Self {
        Self::new(Exit::Wrong, what)
    }

    /// Says why.
    pub fn because(mut self, why: impl std::fmt::Display) -> Self {
        self.why = Some(why.to_string());
        self
    }

    /// Says what to do.
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Adds a line of detail.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// From an answer of the server; `what` says what was tried, such as `saga A-1 was not started`.
    pub fn refused(what: impl Into<String>, status: &Status) -> Self {
        let what = what.into();
        if let Some(failure) = Self::unreachable(&what, status) {
            return failure;
        }
        let details = status.get_error_details();
        let reason = details
            .error_info()
            .map(|info| info.reason.clone())
            .filter(|reason| !reason.is_empty());
        let mut why = status.message().to_owned();
        if why.is_empty() {
            why = status.code().description().to_owned();
        }
        let tag = reason.unwrap_or_else(|| code_name(status.code()).to_owned());
        let mut failure = Self::new(exit_of(status.code()), what).because(format!("{why} [{tag}]"));
        if let Some(bad) = details.bad_request() {
            for violation in &bad.field_violations {
                let place = if violation.field.is_empty() {
                    String::new()
                } else {
                    format!("{}: ", violation.field)
                };
                let detail = format!("{place}{}", violation.description);
                // With one violation, the message is often the violation.
                if detail != status.message() {
                    failure = failure.detail(detail);
                }
            }
        }
        if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
            failure = failure.detail(format!("the server asks to come back after {delay:?}"));
        }
        match advice_for(status.code()) {
            Some(advice) => failure.advice(advice),
            None => failure,
        }
    }

    /// From an answer of the server to a question: nothing was to be done, so the advice is about reading.
    pub fn unread(what: impl Into<String>, status: &Status) -> Self {
        let failure = Self::refused(what, status);
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange => failure.advice("mend the request"),
            Code::FailedPrecondition | Code::Aborted => {
                failure.advice("run a version that can read it; nothing is lost")
            }
            Code::ResourceExhausted => failure.advice("come back later, or ask for less"),
            Code::Unavailable | Code::DeadlineExceeded => failure.advice("try again"),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => failure,
        }
    }

    /// Names the file where the server speaks of the request's field: `source:3:5` becomes `a.saga.yaml:3:5`.
    pub fn in_file(mut self, field: &str, file: &str) -> Self {
        for detail in &mut self.details {
            if let Some(place) = detail
                .strip_prefix(field)
                .filter(|rest| rest.starts_with(':'))
            {
                *detail = format!("{file}{place}");
            }
        }
        self
    }

    /// The code to end with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The text for standard error, with its final newline.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("error: {}\n", plain(&self.what));
        if let Some(why) = &self.why {
            let _ = writeln!(text, "  why: {}", plain(why));
        }
        for detail in &self.details {
            let _ = writeln!(text, "    - {}", plain(detail));
        }
        if let Some(advice) = &self.advice {
            let _ = writeln!(text, "  do:  {advice}");
        }
        text
    }

    /// A status that tonic made because no server answered.
    fn unreachable(what: &str, status: &Status) -> Option<Self> {
        let source = std::error::Error::source(status)?;
        if status.code() != Code::Unavailable && status.code() != Code::Unknown {
            return None;
        }
        Some(
            Self::new(Exit::Unavailable, what)
                .because(format!("the connection to the server failed: {}", chain(source)))
                .advice("try again; what was accepted is safe. A start is safe to repeat if it has a key"),
        )
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::wrong("output could not be written").because(error)
    }
}

/// An error and its sources, most general first, without the repetition that transports like.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
        source = error.source();
    }
    parts.join(": ")
}

/// The exit code that stands for a gRPC code.
#[must_use]
pub fn exit_of(code: Code) -> Exit {
    match code {
        Code::Ok => Exit::Ok,
        Code::InvalidArgument | Code::OutOfRange => Exit::Invalid,
        Code::NotFound => Exit::NotFound,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Exit::Conflict,
        Code::Unavailable | Code::DeadlineExceeded => Exit::Unavailable,
        Code::ResourceExhausted => Exit::Exhausted,
        Code::Cancelled
        | Code::Unknown
        | Code::PermissionDenied
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => Exit::Wrong,
    }
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn advice_for(code: Code) -> Option<&'static str> {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Some("mend the request; nothing was done"),
        Code::NotFound => Some(
            "check the name and --namespace; `amends saga list` and `amends definition list` show what there is",
        ),
        Code::AlreadyExists => {
            Some("use another key, or the same input to get the saga that has it")
        }
        Code::FailedPrecondition | Code::Aborted => {
            Some("`amends explain` says where the saga is and why; nothing was changed")
        }
        Code::ResourceExhausted => {
            Some("come back later, or ask for less; what was accepted before goes on")
        }
        Code::Unavailable | Code::DeadlineExceeded => Some("try again; what was accepted is safe"),
        Code::Unimplemented => {
            Some("this server does not know the call: compare the versions of server and client")
        }
        Code::Internal | Code::Unknown | Code::DataLoss => {
            Some("this is a fault of the server: its log says more")
        }
        Code::Ok | Code::Cancelled | Code::PermissionDenied | Code::Unauthenticated => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn every_code_of_grpc_has_its_exit_code() {
        let exits: Vec<u8> = (0..=16)
            .map(|code| exit_of(Code::from(code)).code())
            .collect();
        assert_eq!(exits, [0, 1, 1, 3, 6, 4, 5, 1, 7, 5, 5, 3, 1, 1, 6, 1, 1]);
    }

    #[test]
    fn a_refusal_says_what_happened_why_and_what_to_do() {
        let mut details = ErrorDetails::with_error_info(
            "KEY_REUSED",
            "amends.v1",
            [("a".to_owned(), "b".to_owned())],
        );
        details.add_bad_request_violation("input", "differs at /total_minor");
        details.set_retry_info(Some(std::time::Duration::from_millis(250)));
        let status = Status::with_error_details(
            Code::AlreadyExists,
            "the key A-1 has another saga",
            details,
        );
        let failure = Failure::refused("the saga was not started", &status);
        assert_eq!(failure.exit(), Exit::Conflict);
        assert_eq!(
            failure.render(),
            "error: the saga was not started\n\
             \x20 why: the key A-1 has another saga [KEY_REUSED]\n\
             \x20   - input: differs at /total_minor\n\
             \x20   - the server asks to come back after 250ms\n\
             \x20 do:  use another key, or the same input to get the saga that has it\n"
        );
    }

    #[test]
    fn a_question_that_was_refused_is_not_told_that_nothing_was_changed() {
        let hint = |status: Status| {
            let text = Failure::unread("it was not read", &status).render();
            text.lines().last().expect("a line").to_owned()
        };
        assert_eq!(
            hint(Status::invalid_argument("x")),
            "  do:  mend the request"
        );
        assert_eq!(hint(Status::unavailable("x")), "  do:  try again");
        let unreadable = hint(Status::failed_precondition("x"));
        assert!(unreadable.contains("run a version"), "{unreadable}");
        assert!(hint(Status::not_found("x")).contains("saga list"));
    }

    #[test]
    fn a_place_in_the_request_becomes_a_place_in_the_file() {
        let status = Status::with_error_details(
            Code::InvalidArgument,
            "no definition",
            ErrorDetails::with_bad_request_violation("source:3:5", "no such kind"),
        );
        let text = Failure::refused("x", &status)
            .in_file("source", "a.yaml")
            .render();
        assert!(text.contains("    - a.yaml:3:5: no such kind\n"), "{text}");
    }

    #[test]
    fn a_refusal_without_details_still_has_its_code() {
        let failure = Failure::refused("the saga was not read", &Status::not_found(""));
        assert_eq!(failure.exit(), Exit::NotFound);
        assert!(
            failure.render().contains("[NOT_FOUND]"),
            "{}",
            failure.render()
        );
    }

    #[test]
    fn control_characters_of_a_server_never_reach_the_terminal() {
        let failure = Failure::refused("x", &Status::invalid_argument("a\u{1b}[2Jb"));
        assert!(!failure.render().contains('\u{1b}'));
    }
}
