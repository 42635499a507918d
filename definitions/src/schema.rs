//! JSON Schema, with the crate behind a wall. A schema refers to nothing outside itself, and its patterns run in linear time.

use crate::limits::SCHEMA_VIOLATIONS_MAX;
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
        let validator = jsonschema::options()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .build(&schema)
            .map_err(|error| {
                let message = error.to_string();
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
