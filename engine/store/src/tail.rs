//! The end of a shard's journal, and whether all rows that it says it has are there.
//!
//! Retention deletes rows in the midst of a journal, and two things have to survive that: that a missing row is found,
//! and that the journal fences. So it is said once, for every store, what [`Sagas::expire`](crate::Sagas::expire) does
//! to a journal:
//!
//! - It counts. Beside each shard stands how many rows from its latest takeover record on retention has deleted, and
//!   which takeover record that was. A count that belongs to an older one is no count: every row that was deleted then
//!   lies below the new one. Rows, count and row of `shards` change in one transaction, and are read in one snapshot.
//!   A row that is lost is thus missed whether it would have expired or not.
//! - It blanks, instead of deleting, the rows of the last batch before each takeover record, and of the last batch of
//!   the journal: no saga, no body, but position, epoch and batch. A deposed owner aims at two kinds of positions: the
//!   one behind the last that it knows of, where its successor's takeover record stands, which is no saga's and stays
//!   for ever; and the first of a batch whose outcome it does not know, which is the last batch before that record. With
//!   that row gone, its takeover would land beneath its successor's, and it would own what it has lost.

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
    /// How many rows from `epoch` on retention has deleted.
    pub expired: u64,
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
        if self.rows.saturating_add(self.expired) == expected {
            return Ok(self.last);
        }
        Err(Error::Gap {
            shard: self.shard,
            detail: format!(
                "positions {from} to {} are {expected} rows, and {} are there, without {} whose sagas have expired",
                self.last, self.rows, self.expired
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(last: u64, epoch: u64, rows: u64, expired: u64) -> Option<u64> {
        let shard = ShardId(3);
        Tail {
            shard,
            last,
            epoch,
            rows,
            expired,
        }
        .checked()
        .ok()
    }

    #[test]
    fn a_tail_counts_from_its_takeover_record() {
        assert_eq!(check(0, 0, 0, 0), Some(0));
        assert_eq!(check(4, 0, 4, 0), Some(4));
        assert_eq!(check(4, 4, 1, 0), Some(4));
        assert_eq!(check(9, 4, 6, 0), Some(9));
    }

    #[test]
    fn what_has_expired_is_no_gap() {
        assert_eq!(check(9, 4, 2, 4), Some(9));
        assert_eq!(check(9, 4, 2, 3), None);
        assert_eq!(check(9, 4, 3, 4), None);
    }

    #[test]
    fn a_missing_row_is_a_gap() {
        assert_eq!(check(4, 0, 3, 0), None);
        assert_eq!(check(9, 4, 5, 0), None);
        // The takeover record itself is missing.
        assert_eq!(check(5, 4, 1, 0), None);
    }
}
