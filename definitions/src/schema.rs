//! JSON Schema, with the crate behind a wall. A schema refers to nothing outside itself, and its patterns run in linear time.

use crate::limits::SCHEMA_VIOLATIONS_MAX;
#[cfg(feature = "document")]
use crate::limits::{SCHEMA_PATTERN_BYTES_MAX, SCHEMA_PATTERNS_MAX};
use crate::payload::Payload;

/// A compiled JSON Schema.
pub struct Schema {
    source: String,
    validator: jsonschema::Validator,
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

    /// Compiles a schema. Its draft is the one it names, else 2020-12.
    ///
    /// # Errors
    /// What is wrong with it, as (JSON pointer, message).
    #[cfg(feature = "document")]
    pub(crate) fn compile(source: String) -> Result<Self, (String, String)> {
        let schema: serde_json::Value =
            serde_json::from_str(&source).map_err(|error| (String::new(), error.to_string()))?;
        if patterns(&schema) > SCHEMA_PATTERNS_MAX {
            let message = format!("it has more than {SCHEMA_PATTERNS_MAX} patterns");
            return Err((String::new(), message));
        }
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
        Ok(Self { source, validator })
    }

    /// Checks a payload.
    ///
    /// # Errors
    /// Each violation, as (JSON pointer, message); 20 at most.
    pub fn check(&self, payload: &Payload) -> Result<(), Vec<(String, String)>> {
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
        Schema::compile(source.to_owned()).expect("a schema")
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
        assert!(Schema::compile(many(SCHEMA_PATTERNS_MAX)).is_ok());
        assert!(Schema::compile(many(SCHEMA_PATTERNS_MAX + 1)).is_err());
        assert!(Schema::compile(r#"{"pattern":"^[a-z]{1,64}$"}"#.to_owned()).is_ok());
        assert!(Schema::compile(r#"{"pattern":"(\\pL{1000}){1000}"}"#.to_owned()).is_err());
    }

    #[test]
    fn the_draft_that_a_schema_names_is_the_one_that_counts() {
        // In draft 4 `exclusiveMinimum` is a bool, since draft 6 a number.
        let number = r#""exclusiveMinimum":1"#;
        let draft_4 = r#""$schema":"http://json-schema.org/draft-04/schema#""#;
        assert!(Schema::compile(format!("{{{number}}}")).is_ok());
        assert!(Schema::compile(format!("{{{draft_4},{number}}}")).is_err());
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        for source in [
            r##"{"$ref":"#"}"##,
            r##"{"allOf":[{"$ref":"#"}]}"##,
            r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##,
            r##"{"properties":{"a":{"$ref":"#"}}}"##,
        ] {
            if let Ok(schema) = Schema::compile(source.to_owned()) {
                let deep = format!("{}1{}", "{\"a\":".repeat(60), "}".repeat(60));
                let _found = violations(&schema, &deep);
            }
        }
    }
}
