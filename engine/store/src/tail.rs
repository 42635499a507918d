//! The end of a shard's journal, and whether all rows that it says it has are there.

use amends_core::ShardId;

use crate::Error;

/// What a database says of the end of one journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Whose journal.
    pub shard: ShardId,
    /// The last position; 0 for an empty journal.
    pub last: u64,
    /// The epoch of the last row: where its takeover record stands. 0 before the first takeover.
    pub epoch: u64,
    /// How many rows there are from `epoch` on.
    pub rows: u64,
}

impl Tail {
    /// The last position, if no row is missing between the takeover record and it.
    ///
    /// # Errors
    /// [`Error::Gap`] otherwise.
    pub fn checked(self) -> Result<u64, Error> {
        // Without a takeover the journal begins at 1.
        let from = self.epoch.max(1);
        let expected = (self.last + 1).saturating_sub(from);
        if self.rows == expected {
            return Ok(self.last);
        }
        Err(Error::Gap {
            shard: self.shard,
            detail: format!(
                "positions {from} to {} are {expected} rows, and {} are there",
                self.last, self.rows
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(last: u64, epoch: u64, rows: u64) -> Option<u64> {
        let shard = ShardId(3);
        Tail {
            shard,
            last,
            epoch,
            rows,
        }
        .checked()
        .ok()
    }

    #[test]
    fn a_tail_counts_from_its_takeover_record() {
        assert_eq!(check(0, 0, 0), Some(0));
        assert_eq!(check(4, 0, 4), Some(4));
        assert_eq!(check(4, 4, 1), Some(4));
        assert_eq!(check(9, 4, 6), Some(9));
    }

    #[test]
    fn a_missing_row_is_a_gap() {
        assert_eq!(check(4, 0, 3), None);
        assert_eq!(check(9, 4, 5), None);
        // The takeover record itself is missing.
        assert_eq!(check(5, 4, 1), None);
    }
}
