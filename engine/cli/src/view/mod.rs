//! What the server's answers look like: stable field names, payloads embedded as JSON, times in RFC 3339, enums as the
//! words of the documentation. Deliberately not here: asking (`verbs`) and writing (`output`).

mod command;
pub mod definition;
pub mod explanation;
pub mod exploring;
pub mod history;
pub mod incident;
pub mod operate;
pub mod participant;
pub mod saga;
pub mod started;
mod step;

use serde_json::value::RawValue;

/// A payload as JSON: as it came, or as text if it is none after all; none if there is no payload.
fn payload(bytes: &[u8]) -> Option<Box<RawValue>> {
    if bytes.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(bytes);
    let raw = RawValue::from_string(text.clone().into_owned());
    raw.ok()
        .or_else(|| RawValue::from_string(serde_json::Value::from(text.as_ref()).to_string()).ok())
}

/// RFC 3339 in UTC with microseconds.
fn rfc_3339(time: Option<&prost_types::Timestamp>) -> Option<String> {
    timestamp(time).map(|time| format!("{time:.6}"))
}

fn timestamp(time: Option<&prost_types::Timestamp>) -> Option<jiff::Timestamp> {
    time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok())
}

/// How long ago something was, in two units at most.
fn age(since: Option<jiff::Timestamp>, now: jiff::Timestamp) -> String {
    let Some(since) = since else {
        return "-".to_owned();
    };
    let seconds = now.duration_since(since).as_secs().max(0);
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, minutes) => format!("{minutes}m {rest}s"),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

/// The name of an enum's value without its prefix, in lower case; a value that this version does not know keeps its number.
fn word(name: Option<&str>, prefix: &str, number: i32) -> String {
    match name {
        Some(name) => name
            .strip_prefix(prefix)
            .unwrap_or(name)
            .to_ascii_lowercase(),
        None => format!("unknown_{number}"),
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_embedded_as_they_came() {
        let raw = |bytes: &[u8]| payload(bytes).map(|raw| raw.get().to_owned());
        assert_eq!(raw(b""), None);
        assert_eq!(
            raw(b"{\"n\": 123456789012345678901}"),
            Some("{\"n\": 123456789012345678901}".to_owned())
        );
        assert_eq!(raw(b"not json"), Some("\"not json\"".to_owned()));
    }

    #[test]
    fn times_are_rfc_3339() {
        let time = prost_types::Timestamp {
            seconds: 1_763_712_000,
            nanos: 1_500_000,
        };
        assert_eq!(
            rfc_3339(Some(&time)).as_deref(),
            Some("2025-11-21T08:00:00.001500Z")
        );
        assert_eq!(rfc_3339(None), None);
    }

    #[test]
    fn ages_have_two_units_at_most() {
        let now = jiff::Timestamp::new(1_000_000, 0).expect("a time");
        let ago = |seconds: i64| age(jiff::Timestamp::new(1_000_000 - seconds, 0).ok(), now);
        let ages = [-5_i64, 0, 59, 60, 3_599, 3_600, 90_000].map(ago);
        assert_eq!(
            ages,
            ["0s", "0s", "59s", "1m 0s", "59m 59s", "1h 0m", "1d 1h"]
        );
        assert_eq!(age(None, now), "-");
    }

    #[test]
    fn enums_are_words() {
        assert_eq!(
            word(Some("SAGA_STATE_RUNNING"), "SAGA_STATE_", 1),
            "running"
        );
        assert_eq!(word(None, "SAGA_STATE_", 99), "unknown_99");
    }
}
