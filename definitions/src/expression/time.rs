//! RFC 3339 times, read by hand: `2026-11-21T08:00:00Z`, `2026-11-21T09:00:00.5+01:00`. A leap second counts as the second
//! after it. Of a fraction, microseconds are kept.

/// Microseconds since the Unix epoch.
pub(super) fn parse(text: &str) -> Result<i64, &'static str> {
    let mut reader = Reader(text.as_bytes());
    let year = reader.digits(4)?;
    reader.take(b"-")?;
    let month = reader.digits(2)?;
    reader.take(b"-")?;
    let day = reader.digits(2)?;
    reader.take(b"Tt ")?;
    let hour = reader.digits(2)?;
    reader.take(b":")?;
    let minute = reader.digits(2)?;
    reader.take(b":")?;
    let second = reader.digits(2)?;
    let micros = reader.fraction()?;
    let offset = reader.offset()?;
    if !reader.0.is_empty() {
        return Err("something follows the offset");
    }
    if !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
        return Err("there is no such day");
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Err("there is no such time of day");
    }
    let of_day = hour * 3_600 + minute * 60 + second - offset;
    Ok((days_from_civil(year, month, day) * 86_400 + of_day) * 1_000_000 + micros)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn digits(&mut self, count: usize) -> Result<i64, &'static str> {
        let (digits, rest) = self.0.split_at_checked(count).ok_or("it is too short")?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err("a digit is missing");
        }
        self.0 = rest;
        Ok(digits
            .iter()
            .fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn take(&mut self, one_of: &[u8]) -> Result<u8, &'static str> {
        match self.0.split_first() {
            Some((first, rest)) if one_of.contains(first) => {
                self.0 = rest;
                Ok(*first)
            }
            _ => Err("a separator is missing"),
        }
    }

    /// Microseconds.
    fn fraction(&mut self) -> Result<i64, &'static str> {
        if self.take(b".").is_err() {
            return Ok(0);
        }
        let count = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count == 0 {
            return Err("a digit is missing");
        }
        let kept = count.min(6);
        let mut micros = self.digits(kept)?;
        for _ in kept..6 {
            micros *= 10;
        }
        self.0 = &self.0[count - kept..];
        Ok(micros)
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Result<i64, &'static str> {
        let sign = match self
            .take(b"Zz+-")
            .map_err(|_| "it has no offset, such as Z")?
        {
            b'Z' | b'z' => return Ok(0),
            b'-' => -1,
            _ => 1,
        };
        let hours = self.digits(2)?;
        self.take(b":")?;
        let minutes = self.digits(2)?;
        if hours > 23 || minutes > 59 {
            return Err("there is no such offset");
        }
        Ok(sign * (hours * 3_600 + minutes * 60))
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the Unix epoch: the algorithm of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_shifted = (month + 9) % 12;
    let day_of_year = (153 * month_shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_whatever_their_offset() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31t19:00:00-05:00", 0),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2000-02-29T00:00:00.000001z", 951_782_400_000_001),
            ("2025-11-21 08:00:00.5Z", 1_763_712_000_500_000),
            ("2025-11-21T08:00:00.1234567899Z", 1_763_712_000_123_456),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000_000),
        ];
        for (text, micros) in cases {
            assert_eq!(parse(text), Ok(micros), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2025-11-21",
            "2025-11-21T08:00:00",
            "2025-11-21T08:00Z",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-04-31T00:00:00Z",
            "2025-01-00T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:60:00Z",
            "2025-01-01T00:00:61Z",
            "2025-01-01T00:00:00.Z",
            "2025-01-01T00:00:00+1:00",
            "2025-01-01T00:00:00+24:00",
            "2025-01-01T00:00:00Z ",
            "+025-01-01T00:00:00Z",
            "2025-01-01T00:00:00\u{661}Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
