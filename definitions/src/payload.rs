//! Payloads: JSON text that was checked once at the edge and is carried as it came.

use bytes::Bytes;

use crate::json;
use crate::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX};

/// Checked JSON in UTF-8. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// Checks bytes from outside: UTF-8, JSON, size and nesting within the limits, no duplicate keys, no number beyond
    /// a double, no lone surrogate, no `\u0000`.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn check(bytes: Bytes) -> Result<Self, PayloadError> {
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(PayloadError::TooLarge {
                bytes: bytes.len(),
                max: PAYLOAD_BYTES_MAX,
            });
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            PayloadError::Syntax(format!("not UTF-8 at byte {}", error.valid_up_to()))
        })?;
        json::check(text, PAYLOAD_DEPTH_MAX)
            .map_err(|fault| PayloadError::Syntax(fault.to_string()))?;
        // White space around it is not part of the value: what is read back from a journal has none.
        let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let begin = bytes.iter().position(|byte| !space(byte)).unwrap_or(0);
        let end = bytes
            .iter()
            .rposition(|byte| !space(byte))
            .map_or(begin, |last| last + 1);
        Ok(Self(bytes.slice(begin..end)))
    }

    /// Takes bytes that a [`Payload::check`] accepted before, such as those of a journal row.
    #[must_use]
    pub fn trusted(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// `null`.
    #[must_use]
    pub fn null() -> Self {
        Self(Bytes::from_static(b"null"))
    }

    /// `{}`.
    #[must_use]
    pub fn empty_object() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    /// The input of a compensation that declares none: `{"input":…,"output":…,"reason":"…"}`, null where there is nothing.
    ///
    /// # Errors
    /// If it is larger than a payload may be.
    pub fn compensation_default(
        input: Option<&Payload>,
        output: Option<&Payload>,
        reason: &str,
    ) -> Result<Self, crate::EvaluationError> {
        let part = |payload: Option<&Payload>| {
            payload
                .map_or(&b"null"[..], |payload| payload.as_bytes())
                .to_vec()
        };
        let mut text = b"{\"input\":".to_vec();
        text.extend(part(input));
        text.extend_from_slice(b",\"output\":");
        text.extend(part(output));
        text.extend_from_slice(b",\"reason\":");
        text.extend(serde_json::Value::from(reason).to_string().into_bytes());
        text.push(b'}');
        if text.len() > crate::limits::PAYLOAD_BYTES_MAX {
            return Err(crate::EvaluationError {
                code: "PAYLOAD_TOO_LARGE",
                message: format!("the compensation's input has {} bytes", text.len()),
            });
        }
        Ok(Self(Bytes::from(text)))
    }

    /// A JSON list of payloads, null where there is none.
    #[must_use]
    pub fn list<'a>(items: impl Iterator<Item = Option<&'a Payload>>) -> Self {
        let mut text = vec![b'['];
        for (nth, item) in items.enumerate() {
            if nth > 0 {
                text.push(b',');
            }
            text.extend_from_slice(item.map_or(&b"null"[..], Payload::as_bytes));
        }
        text.push(b']');
        Self(Bytes::from(text))
    }

    /// The items of a JSON list, as they stand in its text; none of them is copied.
    ///
    /// # Errors
    /// If it is not a list.
    pub fn items(&self) -> Result<Vec<Payload>, PayloadError> {
        let syntax = |fault: json::Fault| PayloadError::Syntax(fault.to_string());
        let mut reader = json::Reader::new(self.text());
        if reader.peek() != Some(b'[') {
            return Err(PayloadError::Syntax("it is not a list".into()));
        }
        let mut items = Vec::new();
        reader
            .items::<json::Fault>(|reader| {
                let item = reader.skip()?;
                items.push(Self(self.0.slice_ref(item.as_bytes())));
                Ok(())
            })
            .map_err(syntax)?;
        Ok(items)
    }

    /// The text that it is, if it is a string.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        let mut reader = json::Reader::new(self.text());
        if reader.peek() != Some(b'"') {
            return None;
        }
        reader.string().ok().map(std::borrow::Cow::into_owned)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The JSON text, shared.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// The JSON in a canonical form: no white space, keys sorted. Two payloads with equal parsed values have equal forms.
    /// An integer and a double are different values, `1` and `1.0` as well.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        match json::canonical(self.text()) {
            Ok(canonical) => canonical.into_bytes(),
            // Only bytes that no check has seen: they are equal to themselves alone.
            Err(_) => self.0.to_vec(),
        }
    }

    /// The text; empty for bytes that no check has seen and that are not UTF-8.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Why bytes are not a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Larger than the limit.
    #[error("{bytes} bytes, and at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not acceptable JSON.
    #[error("{0}")]
    Syntax(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: impl AsRef<[u8]>) -> String {
        Payload::check(Bytes::copy_from_slice(text.as_ref()))
            .expect_err("this is no payload")
            .to_string()
    }

    fn accepted(text: &str) -> Payload {
        Payload::check(Bytes::copy_from_slice(text.as_bytes())).expect("this is a payload")
    }

    #[test]
    fn what_a_payload_may_not_be_is_refused_with_its_place() {
        let cases: [(&[u8], &str); 26] = [
            (b"", "the text ends where a value is expected at byte 0"),
            (b"\xef\xbb\xbf{}", "not a JSON value at byte 0"),
            (b"{\"a\":\xff}", "not UTF-8 at byte 5"),
            (b"NaN", "not a JSON value at byte 0"),
            (b"[Infinity]", "not a JSON value at byte 1"),
            (b"1e400", "the number is beyond a double at byte 0"),
            (b"-1e400", "the number is beyond a double at byte 0"),
            (b"01", "a number does not begin with 0 at byte 0"),
            (b"-", "a number needs a digit here at byte 1"),
            (b"1.", "a number needs a digit here at byte 2"),
            (b"1e", "a number needs a digit here at byte 2"),
            (b"+1", "not a JSON value at byte 0"),
            (b"'a'", "not a JSON value at byte 0"),
            (b"\"\\ud800\"", "a lone surrogate at byte 7"),
            (b"\"\\udc00\"", "a lone surrogate at byte 7"),
            (b"\"\\ud800\\u0041\"", "a lone surrogate at byte 13"),
            (b"\"\\u0000\"", "`\\u0000` is not allowed at byte 7"),
            (
                b"\"\\u00g0\"",
                "`\\u` needs four hexadecimal digits at byte 2",
            ),
            (b"\"\0\"", "a control character in a string at byte 1"),
            (b"\"\\x\"", "an unknown escape at byte 2"),
            (b"\"abc", "the text ends inside a string at byte 4"),
            (b"{} {}", "something follows the value at byte 3"),
            (b"[1,]", "not a JSON value at byte 3"),
            (b"{\"a\":1,}", "a key in quotes is expected at byte 7"),
            (b"{\"a\" 1}", "`:` is expected at byte 5"),
            (b"[1 2]", "`,` or `]` is expected at byte 3"),
        ];
        for (text, expected) in cases {
            assert_eq!(fault(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_key_twice_is_refused_even_when_it_is_escaped_or_deep() {
        assert_eq!(
            fault(r#"{"b":[{"a":1,"c":2,"\u0061":3}]}"#),
            "the key \"a\" a second time at byte 19"
        );
        accepted(r#"{"a":{"a":1},"b":{"a":1}}"#);
    }

    #[test]
    fn nesting_is_accepted_up_to_the_limit_and_refused_beyond_without_recursion() {
        accepted(&nested(PAYLOAD_DEPTH_MAX));
        assert_eq!(
            fault(nested(PAYLOAD_DEPTH_MAX + 1)),
            "nested deeper than 64 at byte 64"
        );
        assert_eq!(fault(nested(10_000)), "nested deeper than 64 at byte 64");
    }

    #[test]
    fn size_is_accepted_up_to_the_limit_and_refused_beyond() {
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        accepted(&text(PAYLOAD_BYTES_MAX));
        assert_eq!(
            Payload::check(text(PAYLOAD_BYTES_MAX + 1).into()),
            Err(PayloadError::TooLarge {
                bytes: PAYLOAD_BYTES_MAX + 1,
                max: PAYLOAD_BYTES_MAX
            })
        );
    }

    #[test]
    fn the_canonical_form_is_the_same_for_equal_values() {
        let canonical = |text| String::from_utf8(accepted(text).canonical()).expect("UTF-8");
        assert_eq!(
            canonical(" { \"b\" : [ 1 , 2.50 , 1e2 ] , \"\\u0061\" : \"\\u00e9\\n\\/\" } "),
            r#"{"a":"é\n/","b":[1,2.5,100.0]}"#
        );
        assert_eq!(canonical("-0"), canonical("0"));
        assert_ne!(canonical("1.0"), canonical("1"));
        assert_eq!(
            canonical("123456789012345678901234567890"),
            "123456789012345678901234567890"
        );
    }

    #[test]
    fn a_list_hands_out_its_items_and_takes_them_back() {
        let list = accepted(r#" [ 1 , "a, b" ,[2, 3], {"k": null} ] "#);
        let items = list.items().expect("a list");
        let texts: Vec<&str> = items.iter().map(Payload::text).collect();
        assert_eq!(texts, ["1", "\"a, b\"", "[2, 3]", "{\"k\": null}"]);
        let again = Payload::list(items.iter().map(Some).chain([None]));
        assert_eq!(again.text(), r#"[1,"a, b",[2, 3],{"k": null},null]"#);
        assert_eq!(accepted("[]").items(), Ok(Vec::new()));
        assert_eq!(Payload::list(std::iter::empty()).text(), "[]");
        assert!(accepted("{}").items().is_err());
        assert!(accepted("3").items().is_err());
    }

    #[test]
    fn a_string_hands_out_its_text_and_nothing_else_does() {
        assert_eq!(accepted(r#""a\n\u0062""#).to_text(), Some("a\nb".into()));
        assert_eq!(accepted("1").to_text(), None);
        assert_eq!(accepted("null").to_text(), None);
    }

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }
}
