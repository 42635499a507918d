//! What a call can come to besides its answer, with everything that the server said: the code, the stable reason, the
//! violations field by field.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address cannot be one.
    #[error("`{address}` is not an address: expected something like http://127.0.0.1:7707")]
    Address {
        /// As it was given.
        address: String,
        /// What the parser said.
        #[source]
        source: tonic::transport::Error,
    },
    /// Nobody answers there.
    #[error("no server answers at {address}: is it running, and is the address right?")]
    Connect {
        /// As it was given.
        address: String,
        /// What the transport said.
        #[source]
        source: tonic::transport::Error,
    },
    /// The input cannot be written as JSON.
    #[error("the input cannot be written as JSON")]
    Input(#[source] serde_json::Error),
    /// The `traceparent` has characters that a header cannot carry.
    #[error("the traceparent has characters that a header cannot carry")]
    Traceparent,
    /// The admin token is none that a header can carry; it is not shown.
    #[error("the admin token has to be one line of visible ASCII characters")]
    Token,
    /// The server's answer lacks what it promises.
    #[error("the server's answer is incomplete: it may speak another version of the protocol")]
    Incomplete,
    /// The server refused, or could not be reached in time.
    #[error(transparent)]
    Rpc(Box<RpcError>),
}

/// A call that the server refused, or that did not reach it.
#[derive(Debug, Clone)]
pub struct RpcError {
    /// The gRPC code.
    pub code: Code,
    /// In words.
    pub message: String,
    /// Stable, upper snake case, such as `KEY_REUSED`; from `google.rpc.ErrorInfo`.
    pub reason: Option<String>,
    /// What belongs to the reason.
    pub metadata: BTreeMap<String, String>,
    /// What is wrong with which field of the request; for a definition its diagnostics.
    pub violations: Vec<FieldViolation>,
    /// When to come back, if the server said so.
    pub retry_after: Option<Duration>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's path.
    pub field: String,
    /// In words.
    pub description: String,
}

impl ClientError {
    /// The refusal, if it is one.
    #[must_use]
    pub fn rpc(&self) -> Option<&RpcError> {
        match self {
            Self::Rpc(error) => Some(error),
            _ => None,
        }
    }

    /// The refusal's stable reason, if it has one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.rpc()?.reason.as_deref()
    }

    /// The refusal's gRPC code, if it is one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        Some(self.rpc()?.code)
    }

    pub(super) fn address(address: &str, source: tonic::transport::Error) -> Self {
        Self::Address {
            address: address.to_owned(),
            source,
        }
    }

    pub(super) fn connect(address: &str, source: tonic::transport::Error) -> Self {
        Self::Connect {
            address: address.to_owned(),
            source,
        }
    }
}

impl From<RpcError> for ClientError {
    fn from(error: RpcError) -> Self {
        Self::Rpc(Box::new(error))
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        RpcError::from(status).into()
    }
}

/// One that stands within an answer, such as for one start of many.
impl From<tonic_types::Status> for RpcError {
    fn from(status: tonic_types::Status) -> Self {
        let details = status.encode_to_vec().into();
        Status::with_details(Code::from_i32(status.code), status.message, details).into()
    }
}

impl From<Status> for RpcError {
    fn from(status: Status) -> Self {
        if let Some(lost) = lost_connection(&status) {
            return lost;
        }
        let details = status.get_error_details();
        let info = details.error_info();
        let violations = details.bad_request().map(|bad| &bad.field_violations);
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: info.map(|info| info.reason.clone()),
            metadata: info
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            violations: violations
                .into_iter()
                .flatten()
                .map(|violation| FieldViolation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                })
                .collect(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }
    }
}

/// A status that a transport made on this side has a cause, unlike one that a server sent. Whatever code it carries, it
/// says that the connection broke before the answer was here.
fn lost_connection(status: &Status) -> Option<RpcError> {
    let codes = [
        Code::Unavailable,
        Code::Unknown,
        Code::Internal,
        Code::Cancelled,
    ];
    let mut cause = status.source().filter(|_| codes.contains(&status.code()))?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(RpcError {
        code: Code::Unavailable,
        message: format!("the server cannot be reached, or was lost before it answered: {cause}"),
        reason: None,
        metadata: BTreeMap::new(),
        violations: Vec::new(),
        retry_after: None,
    })
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{} ({reason})", self.message)?,
            None => write!(f, "{} ({:?})", self.message, self.code)?,
        }
        for FieldViolation { field, description } in &self.violations {
            write!(f, "\n  {field}: {description}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RpcError {}
