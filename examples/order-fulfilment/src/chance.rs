//! Chance that repeats: the same seed and the same words always fall the same way, in every process. It is no secret
//! and of no cryptographic use.

/// A sequence of pseudo-random numbers (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice for one purpose, such as whether this order's parcel gets lost.
    pub(crate) fn of(seed: u64, words: &[&str]) -> Self {
        // FNV-1a, with the words kept apart.
        let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed ^ hash)
    }

    /// A number from `0` to `sides - 1`; 0 for no sides.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z = (z ^ (z >> 31)) >> 16;
        if sides == 0 { 0 } else { z % sides }
    }

    /// One of these, as often as the others.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = usize::try_from(self.roll(from.len() as u64)).unwrap_or(0);
        &from[index]
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u8) -> bool {
        self.roll(100) < u64::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_fall_the_same_way_and_others_another() {
        let first: Vec<_> = (0..50)
            .map(|n| Dice::of(1, &["a", &n.to_string()]).roll(6))
            .collect();
        let again: Vec<_> = (0..50)
            .map(|n| Dice::of(1, &["a", &n.to_string()]).roll(6))
            .collect();
        let other: Vec<_> = (0..50)
            .map(|n| Dice::of(2, &["a", &n.to_string()]).roll(6))
            .collect();
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert!((0..6).all(|side| first.contains(&side)));
    }

    #[test]
    fn percentages_are_about_right() {
        let hits = |percent| {
            (0..10_000)
                .filter(|n| Dice::of(7, &[&n.to_string()]).percent(percent))
                .count()
        };
        assert_eq!((hits(0), hits(100)), (0, 10_000));
        assert!((200..400).contains(&hits(3)), "{}", hits(3));
    }
}
