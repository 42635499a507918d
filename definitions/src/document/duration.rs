//! Durations as the language writes them: `([0-9]+(ms|s|m|h|d))+`.

use std::time::Duration;

use crate::limits::DURATION_MAX;

/// Reads a duration.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{}` is not a duration", crate::json::shortened(text));
    if text.is_empty() {
        return Err(wrong());
    }
    let mut rest = text;
    let mut ms = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit_end = rest[digits..]
            .bytes()
            .take_while(u8::is_ascii_lowercase)
            .count();
        let unit_ms: u64 = match &rest[digits..digits + unit_end] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        if digits == 0 {
            return Err(wrong());
        }
        let part = rest[..digits].parse::<u64>().ok();
        let sum = part
            .and_then(|part| part.checked_mul(unit_ms))
            .and_then(|part| ms.checked_add(part))
            .filter(|sum| Duration::from_millis(*sum) <= DURATION_MAX);
        let Some(sum) = sum else {
            let days = DURATION_MAX.as_secs() / 86_400;
            return Err(format!(
                "`{}` is longer than {days}d",
                crate::json::shortened(text)
            ));
        };
        ms = sum;
        rest = &rest[digits + unit_end..];
    }
    Ok(Duration::from_millis(ms))
}

/// Writes a duration in its largest whole unit.
pub(crate) fn format(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit_ms, unit) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ] {
        if ms > 0 && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_all_units_and_their_sums() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0s", 0),
            ("3650d", 315_360_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "", "10", "s", "10 s", "-1s", "1.5s", "10S", "1y", "1s2", "3651d", "3650d1ms",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("99999999999999999999d").is_err());
    }

    #[test]
    fn a_written_duration_reads_back() {
        for ms in [0, 1, 500, 1000, 60_000, 90_000, 86_400_000, 86_400_001] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }
}
