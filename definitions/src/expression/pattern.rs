//! The patterns of `matches`, compiled once with their expression: compiling one takes up to a thousand times longer than
//! a short search with it. The engine is linear in the text, and what it does for each byte is bounded by the pattern.

use std::any::Any;

use cel::common::types::Type;
use cel::common::value::{StaticVal, Val};
use regex::Regex;

use crate::limits::EXPRESSION_MATCH_STEPS;
#[cfg(feature = "document")]
use crate::limits::{EXPRESSION_PATTERN_CACHE_BYTES_MAX, EXPRESSION_PATTERN_MEMORY_BYTES_MAX};

/// A compiled pattern; in the rewritten syntax tree, the value of a variable that no source can name.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// Steps for each byte of a text.
    steps: u64,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    #[cfg(feature = "document")]
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        let regex = regex::RegexBuilder::new(source)
            .size_limit(EXPRESSION_PATTERN_MEMORY_BYTES_MAX)
            .dfa_size_limit(EXPRESSION_PATTERN_CACHE_BYTES_MAX)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => format!(
                    "the pattern takes more than {EXPRESSION_PATTERN_MEMORY_BYTES_MAX} bytes: `\\w` and `\\pL` know all of Unicode, `[a-z]` does not"
                ),
                _ => "the pattern is not a regular expression".to_owned(),
            })?;
        let steps = (source.len() as u64).max(1).saturating_mul(repeats(source));
        Ok(Self { regex, steps })
    }

    pub(super) fn source(&self) -> &str {
        self.regex.as_str()
    }

    /// What a search in a text costs.
    pub(super) fn units(&self, text: &str) -> u64 {
        1 + self.steps.saturating_mul(text.len() as u64) / EXPRESSION_MATCH_STEPS
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The name of the variable that holds the nth pattern of an expression.
pub(super) fn variable(nth: usize) -> String {
    format!("@pattern{nth}")
}

/// The product of a pattern's counted repetitions, an upper bound of how much it grows.
#[cfg(feature = "document")]
pub(super) fn repeats(pattern: &str) -> u64 {
    pattern
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(counts, _)| {
            counts
                .split(',')
                .filter_map(|count| count.trim().parse::<u64>().ok())
                .max()
        })
        .fold(1, |product, count| {
            product.saturating_mul(count.unwrap_or(1).max(1))
        })
}

static PATTERN: Type = Type::new_unspecified_type("pattern");

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}
