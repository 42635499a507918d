//! Payloads from outside: every one passes the same checks, whatever it is for.

use amends_definitions::{Payload, PayloadError};
use amends_orchestrator::{Kind, Refusal};
use bytes::Bytes;

use crate::status::invalid;

/// Reads a payload. What an empty one means is the caller's to say, before.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` for one over 1 MiB, `INVALID_ARGUMENT` for what is no JSON, or none that can be kept.
pub fn payload(field: &str, bytes: Bytes) -> Result<Payload, Refusal> {
    Payload::check(bytes).map_err(|error| match error {
        PayloadError::TooLarge { .. } => {
            let kind = Kind::ResourceExhausted { retry_after: None };
            Refusal::new(kind, "PAYLOAD_TOO_LARGE", format!("{field}: {error}"))
                .with_violation(field, error.to_string())
        }
        PayloadError::Syntax(message) => invalid("PAYLOAD_INVALID", field, message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b8_b9_a_payload_that_is_no_json_and_one_over_its_bound_name_their_field() {
        let refusal = payload("payload", Bytes::from_static(b"NaN")).unwrap_err();
        assert_eq!(
            (refusal.reason, &*refusal.violations[0].0),
            ("PAYLOAD_INVALID", "payload")
        );
        let large = Bytes::from(format!("\"{}\"", "x".repeat(1024 * 1024)));
        let refusal = payload("payload", large).unwrap_err();
        assert_eq!(refusal.reason, "PAYLOAD_TOO_LARGE");
        assert_eq!(refusal.kind, Kind::ResourceExhausted { retry_after: None });
    }
}
