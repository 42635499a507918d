//! Page tokens: where the next page begins, bound to the question that was asked. A token of another call, parent, filter or
//! database is refused. The seal is a hash, not a signature: whoever forges one with effort gains no more than a position in
//! a list that they may read anyway.

use amends_core::Incarnation;
use amends_core::key::hash_128;
use amends_orchestrator::Refusal;

use crate::limits::PAGE_TOKEN_BYTES_MAX;
use crate::status::invalid;

const VERSION: u8 = 1;
const SEAL_BYTES: usize = 16;

/// A question whose answer has pages.
#[derive(Clone, Debug)]
pub struct Query {
    fields: Vec<u8>,
}

impl Query {
    /// A question of a database: the call, then the parent and every filter. The page's size is not part of it.
    #[must_use]
    pub fn new(incarnation: Incarnation, call: &str, parent: &str) -> Self {
        let query = Self {
            fields: incarnation.0.as_bytes().to_vec(),
        };
        query.with(call.as_bytes()).with(parent.as_bytes())
    }

    /// Adds a filter.
    #[must_use]
    pub fn with(mut self, field: &[u8]) -> Self {
        self.fields
            .extend_from_slice(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.fields.extend_from_slice(field);
        self
    }

    /// The token of the page behind `last`.
    #[must_use]
    pub fn seal(&self, last: &str) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.tag(last.as_bytes()));
        bytes.extend_from_slice(last.as_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the token's page is behind; none for the first page.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the token is not one that this question was answered with.
    pub fn open(&self, token: &str) -> Result<Option<String>, Refusal> {
        if token.is_empty() {
            return Ok(None);
        }
        let last = decode(token).and_then(|bytes| {
            let (version, rest) = bytes.split_first()?;
            let (tag, last) = rest.split_at_checked(SEAL_BYTES)?;
            let genuine = *version == VERSION && tag == self.tag(last);
            genuine
                .then(|| String::from_utf8(last.to_vec()).ok())
                .flatten()
        });
        let description = "it is not from an earlier answer to this query; begin again without one";
        last.map(Some)
            .ok_or_else(|| invalid("PAGE_TOKEN_INVALID", "page_token", description))
    }

    fn tag(&self, last: &[u8]) -> [u8; SEAL_BYTES] {
        let mut sealed = self.fields.clone();
        sealed.push(VERSION);
        sealed.extend_from_slice(last);
        hash_128(&sealed).0
    }
}

fn decode(token: &str) -> Option<Vec<u8>> {
    if token.len() > PAGE_TOKEN_BYTES_MAX || !token.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    token
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(call: &str, parent: &str, filter: &str) -> Query {
        Query::new(Incarnation(uuid::Uuid::from_u128(7)), call, parent).with(filter.as_bytes())
    }

    #[test]
    fn a_token_reads_back_for_its_own_query() {
        let query = query("ListSagas", "default", "running");
        assert_eq!(query.open("").unwrap(), None);
        assert_eq!(query.open(&query.seal("abc")).unwrap(), Some("abc".into()));
    }

    #[test]
    fn b11_a_forged_token_and_one_of_another_query_or_namespace_are_invalid_arguments() {
        let ours = query("ListSagas", "default", "running");
        let genuine = ours.seal("abc");
        let other_database = Query::new(
            Incarnation(uuid::Uuid::from_u128(8)),
            "ListSagas",
            "default",
        )
        .with(b"running");
        let mut bent = genuine.clone();
        bent.replace_range(genuine.len() - 1.., "4");
        for token in [
            query("ListSagas", "other", "running").seal("abc"),
            query("ListSagas", "default", "parked").seal("abc"),
            query("ListDefinitions", "default", "running").seal("abc"),
            query("ListSaga", "sdefault", "running").seal("abc"),
            other_database.seal("abc"),
            bent,
            genuine.to_uppercase(),
            genuine[..10].to_owned(),
            "zz".into(),
            "0".into(),
            "é0".into(),
            "0".repeat(1 << 20),
        ] {
            let refusal = ours.open(&token).unwrap_err();
            assert_eq!(refusal.reason, "PAGE_TOKEN_INVALID");
        }
    }
}
