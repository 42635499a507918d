//! Payloads: JSON text that was checked once at the edge and is carried as it came.

use bytes::Bytes;

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
        let _ = &bytes;
        Err(PayloadError::Syntax("not built".into()))
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
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        Vec::new()
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
