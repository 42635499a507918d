//! Every bound of the language, named and with its unit. The only home of such constants in this package.

/// A YAML document.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// Steps of a definition.
pub const STEPS_MAX: usize = 500;
/// A payload: an input, an output, a mapping's value.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// Nesting of a payload's JSON.
pub const PAYLOAD_DEPTH_MAX: usize = 64;
/// The source of an expression.
pub const EXPRESSION_BYTES_MAX: usize = 1024;
/// A business key.
pub const KEY_BYTES_MAX: usize = 512;
