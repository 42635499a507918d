//! Refusals as gRPC statuses with `google.rpc` details, and tonic's own decode errors as what they are: the caller's fault.

use std::collections::HashMap;

use amends_orchestrator::{Kind, Refusal};
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::limits::{DETAILS_BYTES_MAX, STATUS_MESSAGE_BYTES_MAX};

/// The `domain` of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "amends.dev";

/// The status of a refusal: `ErrorInfo` always, and what else its kind has.
#[must_use]
pub fn status_of(refusal: &Refusal) -> Status {
    let mut room = Room(DETAILS_BYTES_MAX);
    room.take(refusal.reason.len() + ERROR_DOMAIN.len() + 64);
    let mut metadata: HashMap<String, String> = HashMap::new();
    for (name, value) in &refusal.metadata {
        if room.take(name.len() + value.len() + 8) {
            metadata.insert(name.clone(), value.clone());
        }
    }
    let mut details = ErrorDetails::new();
    let omitted = add_violations(&mut details, refusal, &mut room);
    if omitted > 0 {
        metadata.insert("violations_omitted".into(), omitted.to_string());
    }
    match refusal.kind {
        Kind::ResourceExhausted {
            retry_after: Some(after),
        } => {
            details.set_retry_info(Some(after));
        }
        Kind::NotFound => {
            if let Some(name) = metadata.get("resource") {
                details.set_resource_info(
                    "amends.dev/Resource",
                    name.clone(),
                    "",
                    cut(&refusal.message, 256),
                );
            }
        }
        Kind::FailedPrecondition => {
            let subject = metadata.get("resource").cloned().unwrap_or_default();
            details.add_precondition_failure_violation(
                refusal.reason,
                subject,
                cut(&refusal.message, 256),
            );
        }
        Kind::InvalidArgument
        | Kind::AlreadyExists
        | Kind::PermissionDenied
        | Kind::ResourceExhausted { retry_after: None }
        | Kind::Unavailable
        | Kind::Unimplemented => {}
    }
    details.set_error_info(refusal.reason, ERROR_DOMAIN, metadata);
    Status::with_error_details(
        code_of(refusal.kind),
        cut(&refusal.message, STATUS_MESSAGE_BYTES_MAX),
        details,
    )
}

/// The same as a message, for an answer that holds several.
#[must_use]
pub fn rpc_status(refusal: &Refusal) -> tonic_types::Status {
    let status = status_of(refusal);
    // What was just encoded is always one.
    tonic_types::Status::decode(status.details()).unwrap_or_else(|_| tonic_types::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// The gRPC code of a kind of refusal.
#[must_use]
pub fn code_of(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::ResourceExhausted { .. } => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::Unimplemented => Code::Unimplemented,
    }
}

/// `INVALID_ARGUMENT` about one field.
#[must_use]
pub fn invalid(reason: &'static str, field: &str, description: impl Into<String>) -> Refusal {
    let description = description.into();
    Refusal::new(
        Kind::InvalidArgument,
        reason,
        format!("{field}: {description}"),
    )
    .with_violation(field, description)
}

/// What a request that tonic could not decode is answered. The services here never answer `INTERNAL` or `OUT_OF_RANGE`
/// themselves, so those codes can only come from its decoder: a message over the limit, or bytes that are no message.
#[must_use]
pub fn decoder_refusal(status: &Status) -> Option<Refusal> {
    match status.code() {
        Code::OutOfRange => Some(Refusal::new(
            Kind::ResourceExhausted { retry_after: None },
            "PAYLOAD_TOO_LARGE",
            format!("the request is too large: {}", status.message()),
        )),
        Code::Internal => Some(Refusal::new(
            Kind::InvalidArgument,
            "MALFORMED_REQUEST",
            format!("the request cannot be decoded: {}", status.message()),
        )),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unimplemented
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => None,
    }
}

/// `DEADLINE_EXCEEDED`: whether the request had its effect is not known.
#[must_use]
pub fn deadline_exceeded() -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("REQUEST_TIMEOUT", ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(
        Code::DeadlineExceeded,
        "the node did not answer in time; whether the request had its effect is not known: read, or repeat it with the same key",
        details,
    )
}

/// `ABORTED`: a newer stream of the same participant instance took over.
#[must_use]
pub fn replaced() -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("SESSION_REPLACED", ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(
        Code::Aborted,
        "a newer stream of this participant instance replaced this one",
        details,
    )
}

fn add_violations(details: &mut ErrorDetails, refusal: &Refusal, room: &mut Room) -> usize {
    let mut omitted = 0;
    for (field, description) in &refusal.violations {
        let description = cut(description, STATUS_MESSAGE_BYTES_MAX);
        if omitted == 0 && room.take(field.len() + description.len() + 8) {
            details.add_bad_request_violation(field.clone(), description);
        } else {
            omitted += 1;
        }
    }
    omitted
}

/// Cuts a text at a character boundary.
fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Bytes that are left for details.
struct Room(usize);

impl Room {
    fn take(&mut self, bytes: usize) -> bool {
        match self.0.checked_sub(bytes) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_refusal_carries_reason_domain_and_violations() {
        let status =
            status_of(&invalid("NAME_INVALID", "parent", "is empty").with_metadata("line", "3"));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("NAME_INVALID", "amends.dev")
        );
        assert_eq!(info.metadata["line"], "3");
        assert_eq!(
            details.bad_request().unwrap().field_violations[0].field,
            "parent"
        );
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let kind = Kind::ResourceExhausted {
            retry_after: Some(Duration::from_millis(250)),
        };
        let status = status_of(&Refusal::new(kind, "OVERLOADED", "too many sagas"));
        let retry = status.get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(
            (status.code(), retry),
            (Code::ResourceExhausted, Some(Duration::from_millis(250)))
        );
    }

    #[test]
    fn a_missing_resource_and_a_failed_precondition_name_what_they_are_about() {
        let missing = Refusal::new(Kind::NotFound, "SAGA_NOT_FOUND", "no such saga")
            .with_metadata("resource", "x");
        assert_eq!(
            status_of(&missing)
                .get_error_details()
                .resource_info()
                .unwrap()
                .resource_name,
            "x"
        );
        let ended = Refusal::new(Kind::FailedPrecondition, "SAGA_ENDED", "it has ended");
        let status = status_of(&ended);
        let details = status.get_error_details();
        assert_eq!(
            details.precondition_failure().unwrap().violations[0].r#type,
            "SAGA_ENDED"
        );
    }

    #[test]
    fn many_violations_fit_into_a_header_and_the_rest_is_counted() {
        let mut refusal = Refusal::new(
            Kind::InvalidArgument,
            "DEFINITION_INVALID",
            "é".repeat(4_000),
        );
        for index in 0..500 {
            refusal = refusal.with_violation(format!("source:{index}:1"), "x".repeat(200));
        }
        let status = status_of(&refusal);
        assert!(
            status.details().len() < 8 * 1024,
            "{}",
            status.details().len()
        );
        assert!(status.message().len() <= STATUS_MESSAGE_BYTES_MAX);
        let details = status.get_error_details();
        let shown = details.bad_request().unwrap().field_violations.len();
        let omitted: usize = details.error_info().unwrap().metadata["violations_omitted"]
            .parse()
            .unwrap();
        assert_eq!(shown + omitted, 500);
    }
}
