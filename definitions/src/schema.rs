//! JSON Schema, with the crate behind a wall. A schema refers to nothing outside itself, and its patterns run in linear time.

#[cfg(feature = "document")]
use crate::limits::{
    SCHEMA_DEPTH_MAX, SCHEMA_NODES_MAX, SCHEMA_PATTERN_BYTES_MAX, SCHEMA_PATTERNS_MAX,
};
use crate::limits::{SCHEMA_VIOLATIONS_MAX, SCHEMA_WORK_MAX};
use crate::payload::Payload;
#[cfg(feature = "document")]
use serde_json::Value;
#[cfg(feature = "document")]
use std::collections::BTreeMap;

/// A compiled JSON Schema.
pub struct Schema {
    source: String,
    validator: jsonschema::Validator,
    /// Its parts, with its references followed: a value may be held against as many.
    parts: u64,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Schema({})", self.source)
    }
}

impl Schema {
    /// The schema as JSON, keys sorted.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Compiles a schema, whose patterns count against those of its definition. Its draft is the one it names, else 2020-12.
    ///
    /// # Errors
    /// What is wrong with it, as (JSON pointer, message).
    #[cfg(feature = "document")]
    pub(crate) fn compile(
        source: String,
        patterns_left: &mut usize,
    ) -> Result<Self, (String, String)> {
        let schema: serde_json::Value =
            serde_json::from_str(&source).map_err(|error| (String::new(), error.to_string()))?;
        let Some(left) = patterns_left.checked_sub(patterns(&schema)) else {
            let message =
                format!("the schemas of a definition have at most {SCHEMA_PATTERNS_MAX} patterns");
            return Err((String::new(), message));
        };
        *patterns_left = left;
        let parts = Measure::of(&schema)?;
        let patterns = jsonschema::PatternOptions::regex().size_limit(SCHEMA_PATTERN_BYTES_MAX);
        let validator = jsonschema::options()
            .with_pattern_options(patterns)
            .build(&schema)
            .map_err(|error| {
                let message = match error.kind() {
                    jsonschema::error::ValidationErrorKind::Referencing(_) => {
                        "it refers to what is not in it, and a schema stands by itself".to_owned()
                    }
                    _ => error.to_string(),
                };
                let pointer = error.instance_path().to_string();
                (
                    pointer,
                    crate::json::shortened_to(&message, 300).into_owned(),
                )
            })?;
        Ok(Self {
            source,
            validator,
            parts,
        })
    }

    /// Checks a payload. What a check may cost is bounded by the schema's parts and the payload's values, not by time: the
    /// same payload is checked on every machine, or on none.
    ///
    /// # Errors
    /// Each violation, as (JSON pointer, message); 20 at most.
    pub fn check(&self, payload: &Payload) -> Result<(), Vec<(String, String)>> {
        let values_max = SCHEMA_WORK_MAX / self.parts.max(1);
        if values(payload.as_bytes()) > values_max {
            let message = format!(
                "it has more than {values_max} values, the most that are held against a schema of {} parts",
                self.parts
            );
            return Err(vec![(String::new(), message)]);
        }
        let instance: serde_json::Value = serde_json::from_slice(payload.as_bytes())
            .map_err(|error| vec![(String::new(), error.to_string())])?;
        if self.validator.is_valid(&instance) {
            return Ok(());
        }
        let violations = self.validator.iter_errors(&instance);
        Err(violations
            .take(SCHEMA_VIOLATIONS_MAX)
            .map(|violation| {
                let message = violation.masked().to_string();
                let pointer = violation.instance_path().to_string();
                (
                    pointer,
                    crate::json::shortened_to(&message, 300).into_owned(),
                )
            })
            .collect())
    }
}

/// How many values and keys a JSON text has, at most.
fn values(json: &[u8]) -> u64 {
    let opens = |byte: &&u8| matches!(byte, b',' | b':' | b'[' | b'{');
    1 + u64::try_from(json.iter().filter(opens).count()).unwrap_or(u64::MAX)
}

/// How much a schema grows when its references are followed: a check of a payload does as much.
#[cfg(feature = "document")]
struct Measure<'s> {
    root: &'s Value,
    /// The size and depth of each target that was measured, or none while it is.
    known: BTreeMap<&'s str, Option<Size>>,
}

#[cfg(feature = "document")]
#[derive(Clone, Copy)]
struct Size {
    nodes: u64,
    depth: usize,
}

#[cfg(feature = "document")]
impl<'s> Measure<'s> {
    fn of(root: &'s Value) -> Result<u64, (String, String)> {
        let known = BTreeMap::from([("#", None)]);
        let size = Self { root, known }.measure(root, &mut String::new(), 0)?;
        if size.nodes > SCHEMA_NODES_MAX {
            let message =
                format!("with its references followed it has more than {SCHEMA_NODES_MAX} parts");
            return Err((String::new(), message));
        }
        Ok(size.nodes)
    }

    fn measure(
        &mut self,
        node: &'s Value,
        path: &mut String,
        above: usize,
    ) -> Result<Size, (String, String)> {
        if above > SCHEMA_DEPTH_MAX {
            return Err(too_deep());
        }
        let mut size = Size { nodes: 1, depth: 1 };
        let mut add = |inner: Size| {
            size.nodes = size.nodes.saturating_add(inner.nodes);
            size.depth = size.depth.max(inner.depth + 1);
        };
        let length = path.len();
        match node {
            Value::Array(items) => {
                for (nth, item) in items.iter().enumerate() {
                    path.push_str(&format!("/{nth}"));
                    add(self.measure(item, path, above + 1)?);
                    path.truncate(length);
                }
            }
            Value::Object(entries) => {
                for (key, value) in entries {
                    path.push('/');
                    path.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    let refers = matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef");
                    match value {
                        Value::String(target) if refers => add(self.target(target, path, above)?),
                        value => add(self.measure(value, path, above + 1)?),
                    }
                    path.truncate(length);
                }
            }
            _ => {}
        }
        Ok(size)
    }

    fn target(
        &mut self,
        target: &'s str,
        path: &mut String,
        above: usize,
    ) -> Result<Size, (String, String)> {
        let node = target
            .strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer));
        let Some(node) = node else {
            let message = format!(
                "`{}` refers to nothing in the schema, and a schema stands by itself: `#/$defs/…`",
                crate::json::shortened(target)
            );
            return Err((path.clone(), message));
        };
        match self.known.get(target) {
            // A reference back: what it leads to goes on with a smaller payload.
            Some(None) => return Ok(Size { nodes: 1, depth: 1 }),
            Some(Some(size)) if above + size.depth > SCHEMA_DEPTH_MAX => return Err(too_deep()),
            Some(Some(size)) => return Ok(*size),
            None => {}
        }
        self.known.insert(target, None);
        let size = self.measure(node, path, above + 1)?;
        self.known.insert(target, Some(size));
        Ok(size)
    }
}

#[cfg(feature = "document")]
fn too_deep() -> (String, String) {
    let message = format!("with its references followed it is deeper than {SCHEMA_DEPTH_MAX}");
    (String::new(), message)
}

/// The patterns in a schema, generously: a property that is called `pattern` counts as well.
#[cfg(feature = "document")]
fn patterns(schema: &serde_json::Value) -> usize {
    match schema {
        serde_json::Value::Array(items) => items.iter().map(patterns).sum(),
        serde_json::Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| {
                let own = match (key.as_str(), value) {
                    ("pattern", _) => 1,
                    ("patternProperties", serde_json::Value::Object(entries)) => entries.len(),
                    _ => 0,
                };
                own + patterns(value)
            })
            .sum(),
        _ => 0,
    }
}

#[cfg(all(test, feature = "document"))]
mod tests {
    use super::*;

    fn schema(source: &str) -> Schema {
        compile(source.to_owned()).expect("a schema")
    }

    fn compile(source: String) -> Result<Schema, (String, String)> {
        Schema::compile(source, &mut SCHEMA_PATTERNS_MAX.clone())
    }

    fn violations(schema: &Schema, payload: &str) -> Vec<(String, String)> {
        let payload = Payload::check(payload.to_owned().into()).expect("a payload");
        schema.check(&payload).err().unwrap_or_default()
    }

    #[test]
    fn violations_name_their_place_and_not_the_payload() {
        let schema = schema(
            r#"{"type":"object","required":["id"],"properties":{"n":{"type":"integer","minimum":1},"tags":{"items":{"maxLength":3}}}}"#,
        );
        assert_eq!(
            violations(&schema, r#"{"id":"a","n":1,"tags":["abc"]}"#),
            []
        );
        let found = violations(&schema, r#"{"n":0,"tags":["ok","secret"]}"#);
        let places: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(places, ["", "/n", "/tags/1"]);
        assert!(
            found.iter().all(|(_, message)| !message.contains("secret")),
            "{found:?}"
        );
    }

    #[test]
    fn violations_are_bounded_in_number() {
        let schema = schema(r#"{"items":{"type":"string"}}"#);
        let many = format!("[{}]", vec!["1"; 1000].join(","));
        assert_eq!(violations(&schema, &many).len(), SCHEMA_VIOLATIONS_MAX);
    }

    #[test]
    fn patterns_are_bounded_in_number_and_in_size() {
        let many = |n: usize| {
            format!(
                "{{\"allOf\":[{}]}}",
                vec![r#"{"pattern":"a"}"#; n].join(",")
            )
        };
        assert!(compile(many(SCHEMA_PATTERNS_MAX)).is_ok());
        assert!(compile(many(SCHEMA_PATTERNS_MAX + 1)).is_err());
        assert!(compile(r#"{"pattern":"^[a-z]{1,64}$"}"#.to_owned()).is_ok());
        assert!(compile(r#"{"pattern":"(\\pL{1000}){1000}"}"#.to_owned()).is_err());
    }

    #[test]
    fn the_draft_that_a_schema_names_is_the_one_that_counts() {
        // In draft 4 `exclusiveMinimum` is a bool, since draft 6 a number.
        let number = r#""exclusiveMinimum":1"#;
        let draft_4 = r#""$schema":"http://json-schema.org/draft-04/schema#""#;
        assert!(compile(format!("{{{number}}}")).is_ok());
        assert!(compile(format!("{{{draft_4},{number}}}")).is_err());
    }

    #[test]
    fn a_schema_that_multiplies_itself_is_refused() {
        let multiplying = |levels: usize, times: usize| {
            let mut definitions = String::new();
            for level in 0..levels {
                let next = format!("{{\"$ref\":\"#/$defs/a{}\"}}", level + 1);
                definitions.push_str(&format!(
                    "\"a{level}\":{{\"allOf\":[{}]}},",
                    vec![next; times].join(",")
                ));
            }
            format!(
                "{{\"$defs\":{{{definitions}\"a{levels}\":{{\"type\":\"integer\"}}}},\"$ref\":\"#/$defs/a0\"}}"
            )
        };
        assert!(compile(multiplying(4, 4)).is_ok());
        let (_, message) = compile(multiplying(6, 8)).expect_err("too much");
        assert!(message.contains("100000"), "{message}");
    }

    #[test]
    fn chains_of_references_are_bounded() {
        let chain = |links: usize| {
            let mut definitions = String::new();
            for link in 0..links {
                definitions.push_str(&format!(
                    "\"a{link}\":{{\"$ref\":\"#/$defs/a{}\"}},",
                    link + 1
                ));
            }
            format!(
                "{{\"$defs\":{{{definitions}\"a{links}\":{{\"properties\":{{\"a\":{{\"$ref\":\"#\"}}}}}}}},\"$ref\":\"#/$defs/a0\"}}"
            )
        };
        // The deepest payload on the longest chain fits the stack of a worker, which is that of a test.
        let schema = schema(&chain(SCHEMA_DEPTH_MAX - 8));
        let deep = format!("{}1{}", "{\"a\":".repeat(60), "}".repeat(60));
        assert_eq!(violations(&schema, &deep), []);
        assert!(compile(chain(SCHEMA_DEPTH_MAX)).is_err());
        assert!(compile(chain(5_000)).is_err());
    }

    #[test]
    fn a_reference_stays_inside() {
        for outside in [
            "https://example.com/a",
            "other.json",
            "#anchor",
            "#/$defs/nothing",
        ] {
            let (pointer, message) =
                compile(format!("{{\"items\":{{\"$ref\":\"{outside}\"}}}}")).expect_err("outside");
            assert_eq!(pointer, "/items/$ref");
            assert!(message.contains(outside), "{message}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        for source in [
            r##"{"$ref":"#"}"##,
            r##"{"allOf":[{"$ref":"#"}]}"##,
            r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##,
            r##"{"properties":{"a":{"$ref":"#"}}}"##,
        ] {
            if let Ok(schema) = compile(source.to_owned()) {
                let deep = format!("{}1{}", "{\"a\":".repeat(60), "}".repeat(60));
                let _found = violations(&schema, &deep);
            }
        }
    }
}
