//! The guard of the acts that override what the engine promises: with a token configured, whoever asks for one has to know
//! it. Deliberately not here: where the token comes from (`server`), and who somebody is (nobody is asked for a name yet).

use std::fmt;
use std::sync::Arc;

use amends_orchestrator::{Kind, Refusal};
use amends_proto::v1;
use amends_proto::v1::act::Act;
use subtle::ConstantTimeEq as _;
use tonic::metadata::MetadataMap;

use crate::limits::ADMIN_TOKEN_BYTES_MAX;

/// What an operator knows who may override the engine. It is shown and logged nowhere.
#[derive(Clone)]
pub struct AdminToken(Arc<str>);

/// Why a text is no token. It does not quote the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminTokenError {
    /// Then everybody would know it.
    #[error("it is empty")]
    Empty,
    /// It travels in a header.
    #[error("it has more than {ADMIN_TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// So a header has to take it.
    #[error(
        "it has something else in it than visible ASCII characters, such as a space or a second line"
    )]
    NotVisible,
}

impl AdminToken {
    /// A token, which travels as `authorization: Bearer TOKEN`.
    ///
    /// # Errors
    /// Where no header could carry it, or everybody would.
    pub fn new(text: &str) -> Result<Self, AdminTokenError> {
        if text.is_empty() {
            return Err(AdminTokenError::Empty);
        }
        if text.len() > ADMIN_TOKEN_BYTES_MAX {
            return Err(AdminTokenError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AdminTokenError::NotVisible);
        }
        Ok(Self(text.into()))
    }

    /// The token in the text of a file: the end of its line does not belong to it.
    #[must_use]
    pub fn line(text: &str) -> &str {
        let line = text.strip_suffix('\n').unwrap_or(text);
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// How long that takes tells nothing of how much of it is right.
    fn is(&self, said: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(said).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// Lets everything pass that needs no admin token, and everything else while no token is configured.
#[derive(Clone, Debug)]
pub(crate) struct Guard(Option<AdminToken>);

impl Guard {
    pub(crate) fn new(token: Option<AdminToken>) -> Self {
        Self(token)
    }

    /// Refuses an act that overrides the engine, unless its sender knows the token. A dry run tells what the act would do,
    /// so it is guarded as well.
    pub(crate) fn check(
        &self,
        act: Option<&v1::Act>,
        metadata: &MetadataMap,
    ) -> Result<(), Refusal> {
        let act = act.and_then(|act| act.act.as_ref());
        let (Some(token), Some(act)) = (&self.0, act.and_then(overriding)) else {
            return Ok(());
        };
        let why = match bearer(metadata) {
            Some(said) if token.is(said) => return Ok(()),
            Some(_) => "the token that came with it is another",
            None => "none came with it",
        };
        Err(Refusal::new(
            Kind::PermissionDenied,
            "ADMIN_TOKEN_REQUIRED",
            format!(
                "{act} overrides what the engine promises, and this server takes it only with its admin token: {why}; send it \
                 as `authorization: Bearer TOKEN`, which `amends --token-file FILE` (AMENDS_TOKEN_FILE) does"
            ),
        ))
    }
}

/// What an act is called, if it sets a person's word above what the engine knows.
fn overriding(act: &Act) -> Option<&'static str> {
    match act {
        Act::Skip(_) => Some("skip"),
        Act::Resolve(_) => Some("resolve"),
        Act::ResolveAbsent(_) => Some("resolve-absent"),
        Act::Terminate(_) => Some("terminate"),
        Act::Retry(_) | Act::Compensate(_) | Act::Pause(_) | Act::Resume(_) => None,
    }
}

/// The token of `authorization: Bearer TOKEN`; how the scheme is written does not matter.
fn bearer(metadata: &MetadataMap) -> Option<&[u8]> {
    let said = metadata.get("authorization")?.as_bytes();
    let (scheme, token) = said.split_at_checked(SCHEME.len())?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then(|| token.trim_ascii())
}

const SCHEME: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(token: &str) -> Guard {
        Guard::new(Some(AdminToken::new(token).unwrap()))
    }

    fn said(authorization: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", authorization.parse().unwrap());
        metadata
    }

    fn act(act: Act) -> v1::Act {
        v1::Act { act: Some(act) }
    }

    #[test]
    fn a_token_has_a_length_and_fits_into_a_header() {
        let text = "x".repeat(ADMIN_TOKEN_BYTES_MAX);
        let token = AdminToken::new(&text).unwrap();
        assert!(token.is(text.as_bytes()));
        assert!(!format!("{token:?}").contains('x'));
        for (text, why) in [
            (String::new(), AdminTokenError::Empty),
            (text + "x", AdminTokenError::TooLong),
            ("a b".into(), AdminTokenError::NotVisible),
            ("a\nb".into(), AdminTokenError::NotVisible),
            ("ключ".into(), AdminTokenError::NotVisible),
        ] {
            assert_eq!(AdminToken::new(&text).unwrap_err(), why);
        }
    }

    #[test]
    fn what_overrides_the_engine_needs_the_token_and_nothing_else_does() {
        let guard = guard("s3cret");
        let overriding = [
            Act::Skip(v1::Skip::default()),
            Act::Resolve(v1::Resolve::default()),
            Act::ResolveAbsent(v1::ResolveAbsent::default()),
            Act::Terminate(v1::Terminate {}),
        ];
        for overriding in overriding.map(act) {
            let check = |metadata: &MetadataMap| guard.check(Some(&overriding), metadata);
            for right in ["Bearer s3cret", "bearer s3cret ", "BEARER  s3cret"] {
                assert_eq!(check(&said(right)), Ok(()), "{right}");
            }
            let wrong = [
                "Bearer s3cre",
                "Bearer s3cret2",
                "Bearer S3CRET",
                "Bearer ",
                "Basic s3cret",
                "s3cret",
                "",
            ];
            for metadata in wrong.map(said).into_iter().chain([MetadataMap::new()]) {
                let refusal = check(&metadata).unwrap_err();
                assert_eq!(
                    (refusal.kind, refusal.reason),
                    (Kind::PermissionDenied, "ADMIN_TOKEN_REQUIRED")
                );
                assert!(!refusal.message.contains("3cre"), "{}", refusal.message);
            }
            assert_eq!(
                Guard::new(None).check(Some(&overriding), &said("x")),
                Ok(())
            );
        }
        let others = [
            Act::Retry(v1::Retry::default()),
            Act::Compensate(v1::Compensate {}),
            Act::Pause(v1::Pause {}),
            Act::Resume(v1::Resume {}),
        ];
        for other in others.map(act) {
            assert_eq!(guard.check(Some(&other), &MetadataMap::new()), Ok(()));
        }
        // That there is no act is said by who reads it.
        for none in [None, Some(&v1::Act::default())] {
            assert_eq!(guard.check(none, &MetadataMap::new()), Ok(()));
        }
    }
}
