//! W3C Trace Context from request metadata. What does not follow the recommendation is ignored, as it asks for: a caller's
//! broken trace is no reason to refuse its saga. Deliberately not here: spans and exporters.

use tonic::metadata::MetadataMap;

/// A checked trace context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `00-{trace-id}-{parent-id}-{flags}`.
    pub traceparent: Option<String>,
    /// Vendors' additions; none without a traceparent.
    pub tracestate: Option<String>,
}

const TRACESTATE_BYTES_MAX: usize = 512;
const TRACESTATE_MEMBERS_MAX: usize = 32;

impl TraceContext {
    /// Reads the fields of a message; those of another context, if they have no traceparent.
    #[must_use]
    pub fn of_fields(traceparent: &str, tracestate: &str, other: &Self) -> Self {
        if traceparent.is_empty() {
            return other.clone();
        }
        let Some(traceparent) = check_traceparent(traceparent) else {
            return Self::default();
        };
        Self {
            traceparent: Some(traceparent),
            tracestate: check_tracestate(tracestate),
        }
    }

    /// Reads a request's metadata.
    #[must_use]
    pub fn of(metadata: &MetadataMap) -> Self {
        let mut parents = metadata.get_all("traceparent").iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else {
            return Self::default();
        };
        let Some(traceparent) = parent.to_str().ok().and_then(check_traceparent) else {
            return Self::default();
        };
        let states: Vec<&str> = metadata
            .get_all("tracestate")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        Self {
            traceparent: Some(traceparent),
            tracestate: check_tracestate(&states.join(",")),
        }
    }
}

/// Checks a `traceparent`; a later version's is taken over in the form of version 00.
#[must_use]
pub fn check_traceparent(text: &str) -> Option<String> {
    let hex = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let mut parts = text.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let sizes = (version.len(), trace.len(), parent.len(), flags.len()) == (2, 32, 16, 2);
    let digits = [version, trace, parent, flags].into_iter().all(hex);
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let ends = version != "00" || parts.next().is_none();
    let valid = sizes && digits && ends && version != "ff" && !zero(trace) && !zero(parent);
    valid.then(|| format!("00-{trace}-{parent}-{flags}"))
}

fn check_tracestate(text: &str) -> Option<String> {
    let members: Vec<&str> = text
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| !member.is_empty())
        .collect();
    let joined = members.join(",");
    let fits = !members.is_empty()
        && members.len() <= TRACESTATE_MEMBERS_MAX
        && joined.len() <= TRACESTATE_BYTES_MAX;
    let mut keys: Vec<&str> = members
        .iter()
        .filter_map(|member| check_member(member))
        .collect();
    let sound = keys.len() == members.len();
    keys.sort_unstable();
    keys.dedup();
    (fits && sound && keys.len() == members.len()).then_some(joined)
}

/// The key of a list member `key=value`, if it is one.
fn check_member(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    let key_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let key_starts = key
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let value_byte = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b',' && byte != b'=';
    let valid = key.len() <= 256
        && key_starts
        && key.bytes().all(key_byte)
        && !value.is_empty()
        && value.bytes().all(value_byte);
    valid.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(pairs: &[(&'static str, &str)]) -> TraceContext {
        let mut metadata = MetadataMap::new();
        for (name, value) in pairs {
            metadata.append(*name, value.parse().unwrap());
        }
        TraceContext::of(&metadata)
    }

    #[test]
    fn a_valid_context_is_taken_over() {
        let context = of(&[
            ("traceparent", PARENT),
            ("tracestate", "a=1 , b@v=x"),
            ("tracestate", "c=2"),
        ]);
        assert_eq!(context.traceparent.as_deref(), Some(PARENT));
        assert_eq!(context.tracestate.as_deref(), Some("a=1,b@v=x,c=2"));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = format!("cc{}-what-comes", &PARENT[2..]);
        assert_eq!(check_traceparent(&later).as_deref(), Some(PARENT));
    }

    #[test]
    fn an_invalid_context_is_ignored() {
        for parent in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
        ] {
            assert_eq!(
                of(&[("traceparent", parent), ("tracestate", "a=1")]),
                TraceContext::default(),
                "{parent}"
            );
        }
        assert_eq!(
            of(&[("traceparent", PARENT), ("traceparent", PARENT)]),
            TraceContext::default()
        );
        for state in [
            "",
            "a",
            "A=1",
            "a=1,a=2",
            "a=",
            "a=b=c",
            &"a=1,".repeat(33),
            &format!("a={}", "x".repeat(512)),
        ] {
            assert_eq!(
                of(&[("traceparent", PARENT), ("tracestate", state)]).tracestate,
                None,
                "{state}"
            );
        }
    }
}
