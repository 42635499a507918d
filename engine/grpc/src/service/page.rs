//! Pages of lists.

use amends_orchestrator::Refusal;

use crate::limits::PAGE_SIZE_MAX;
use crate::status::invalid;
use crate::token::Query;

/// The size of a page: what was asked for, or the default for 0.
pub(super) fn size(asked: u32, default: u32) -> Result<usize, Refusal> {
    if asked > PAGE_SIZE_MAX {
        let description = format!("it is 1 to {PAGE_SIZE_MAX}, or 0 for {default}");
        return Err(invalid("PAGE_SIZE_INVALID", "page_size", description));
    }
    let size = if asked == 0 { default } else { asked };
    Ok(usize::try_from(size).unwrap_or(usize::MAX))
}

/// Where the token's page begins; none for the first page.
pub(super) fn position<T>(
    query: &Query,
    token: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    let last = query.open(token)?;
    let unreadable = || {
        invalid(
            "PAGE_TOKEN_INVALID",
            "page_token",
            "it is not from an earlier answer to this query",
        )
    };
    last.map(|last| read(&last).ok_or_else(unreadable))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounded_and_never_clamped() {
        assert_eq!(size(0, 50), Ok(50));
        assert_eq!(size(1, 50), Ok(1));
        assert_eq!(size(1_000, 50), Ok(1_000));
        for asked in [1_001, u32::MAX] {
            assert_eq!(size(asked, 50).unwrap_err().reason, "PAGE_SIZE_INVALID");
        }
    }
}
