//! Hashes that place things: keys to shards, keys to their row. Frozen by test vectors: a change would lose sagas.

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use crate::id::ShardId;

/// 16 bytes that stand for a business key in `saga_keys`, or for a parsed input beside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash128(pub [u8; 16]);

impl std::fmt::Debug for Hash128 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Hashes bytes with xxh3-128, seed 0, big-endian.
#[must_use]
pub fn hash_128(bytes: &[u8]) -> Hash128 {
    Hash128(xxh3_128(bytes).to_be_bytes())
}

/// Hashes bytes with xxh3-64, seed 0.
#[must_use]
pub fn hash_64(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The shard of a key: xxh3-64 over length-prefixed fields (u32 little-endian), seed 0, modulo the shard count.
///
/// # Panics
/// If there are no shards.
#[must_use]
pub fn home_shard(fields: &[&str], shard_count: u16) -> ShardId {
    let mut hasher = Xxh3::new();
    for field in fields {
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        hasher.update(&length.to_le_bytes());
        hasher.update(field.as_bytes());
    }
    ShardId(u16::try_from(hasher.digest() % u64::from(shard_count)).unwrap_or(0))
}

/// A number in [0, 1) that depends on the bytes alone: the jitter of a retry, the same on every machine.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
pub fn fraction(bytes: &[u8]) -> f64 {
    (xxh3_64(bytes) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_shards_are_frozen() {
        // Computed with another implementation of xxh3 (python-xxhash 3).
        let vectors: [(&[&str], u16, u16); 4] = [
            (&["default", "place-order", "A-1"], 256, 210),
            (&[], 256, 194),
            (&["a", "bc"], 256, 82),
            (&["ab", "c"], 4096, 495),
        ];
        for (fields, shards, expected) in vectors {
            assert_eq!(home_shard(fields, shards), ShardId(expected), "{fields:?}");
        }
    }

    #[test]
    fn length_prefixes_keep_fields_apart() {
        assert_ne!(
            home_shard(&["a", "bc"], 4_096),
            home_shard(&["ab", "c"], 4_096)
        );
    }

    #[test]
    fn a_fraction_stays_in_its_range() {
        for seed in 0_u32..1_000 {
            let value = fraction(&seed.to_le_bytes());
            assert!((0.0..1.0).contains(&value));
        }
    }
}
