//! Times and durations.

use std::time::Duration;

use amends_core::Time;
use amends_orchestrator::Refusal;

use crate::status::invalid;

/// A time; none for infinity.
#[must_use]
pub fn timestamp(time: Time) -> Option<prost_types::Timestamp> {
    let micros = time.as_micros();
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).ok()?;
    (time != Time::INFINITY).then_some(prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos,
    })
}

/// A duration; one beyond the protocol's range becomes its greatest.
#[must_use]
pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// Reads a duration of 0 to `max`.
///
/// # Errors
/// `INVALID_ARGUMENT` about the field.
pub fn checked_duration(
    field: &str,
    value: &prost_types::Duration,
    max: Duration,
) -> Result<Duration, Refusal> {
    let read = u64::try_from(value.seconds)
        .ok()
        .zip(u32::try_from(value.nanos).ok());
    read.filter(|(_, nanos)| *nanos < 1_000_000_000)
        .map(|(seconds, nanos)| Duration::new(seconds, nanos))
        .filter(|duration| *duration <= max)
        .ok_or_else(|| {
            invalid(
                "DURATION_INVALID",
                field,
                format!("it is 0 to {} seconds", max.as_secs()),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after_1970_convert() {
        assert_eq!(
            timestamp(Time::from_micros(1_500_000)),
            Some(prost_types::Timestamp {
                seconds: 1,
                nanos: 500_000_000
            })
        );
        assert_eq!(
            timestamp(Time::from_micros(-1)),
            Some(prost_types::Timestamp {
                seconds: -1,
                nanos: 999_999_000
            })
        );
        assert_eq!(timestamp(Time::INFINITY), None);
    }

    #[test]
    fn b10_negative_and_overflowing_durations_are_invalid_arguments() {
        let max = Duration::from_secs(3_600);
        let check = |seconds, nanos| {
            checked_duration("timeout", &prost_types::Duration { seconds, nanos }, max)
        };
        assert_eq!(check(0, 0), Ok(Duration::ZERO));
        assert_eq!(check(3_600, 0), Ok(max));
        for (seconds, nanos) in [
            (3_600, 1),
            (-1, 0),
            (0, -1),
            (1, -1),
            (0, 1_000_000_000),
            (i64::MAX, 0),
            (i64::MIN, 0),
            (253_402_300_800, 0),
            (0, i32::MIN),
        ] {
            let refusal = check(seconds, nanos).unwrap_err();
            assert_eq!(
                (refusal.reason, refusal.violations[0].0.as_str()),
                ("DURATION_INVALID", "timeout"),
                "{seconds} {nanos}"
            );
        }
    }
}
