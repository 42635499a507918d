//! Who does something about a saga, and why. Deliberately not here: who may (nobody is asked for a name yet).

use amends_orchestrator::Refusal;

use crate::limits::REASON_BYTES_MAX;
use crate::status::invalid;

/// Who it is, as long as nobody is asked for a name.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Checks why somebody does something: it is recorded.
pub(super) fn reason(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() || text.len() > REASON_BYTES_MAX || text.contains('\0') {
        let description = format!("it says why, in 1 to {REASON_BYTES_MAX} bytes without NUL");
        return Err(invalid("REASON_INVALID", "reason", description));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_within_its_bound() {
        for text in ["x", "why not", &"x".repeat(REASON_BYTES_MAX)] {
            assert_eq!(reason(text), Ok(()));
        }
        for text in ["", "  \n", "a\0b", &"x".repeat(REASON_BYTES_MAX + 1)] {
            assert_eq!(reason(text).unwrap_err().reason, "REASON_INVALID");
        }
    }
}
