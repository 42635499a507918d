//! Chance that repeats with its seed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Pseudo-random numbers (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to `sides - 1`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 16) % sides
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = self.roll(from.len() as u64);
        &from[usize::try_from(place).expect("it is below the length")]
    }

    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let range_ms = u64::try_from((to - from).as_millis()).expect("ranges are short");
        from + Duration::from_millis(self.roll(range_ms + 1))
    }
}

/// The seed of `AMENDS_SEED`, or a new one.
pub fn seed() -> u64 {
    match std::env::var("AMENDS_SEED") {
        Ok(text) => text.parse().expect("AMENDS_SEED is a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            u64::from(now.expect("it is after 1970").subsec_micros())
        }
    }
}
