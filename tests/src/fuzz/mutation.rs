//! Inputs out of a corpus: what fuzzers do to bytes, from a random source of its own that is the same everywhere.

use super::Target;

/// A random source: SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The source of one case of a campaign.
    #[must_use]
    pub(super) fn new(seed: u64, case: u64) -> Self {
        let mut mixed = Self(seed ^ case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed.number();
        mixed
    }

    /// The next number.
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if `end` is.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        usize::try_from(self.number() % end).unwrap_or(0)
    }

    /// A byte.
    pub(super) fn byte(&mut self) -> u8 {
        self.number().to_le_bytes()[0]
    }
}

/// One input: from the corpus and mutated, or nothing but chance.
pub(super) fn input(random: &mut Random, target: &Target) -> Vec<u8> {
    let corpus = &target.corpus;
    let mut input = if corpus.is_empty() || random.below(8) == 0 {
        let bytes = random.below(target.bytes_max.min(512)) + 1;
        (0..bytes).map(|_| random.byte()).collect()
    } else {
        corpus[random.below(corpus.len())].clone()
    };
    for _ in 0..=random.below(6) {
        mutate(random, &mut input, target);
    }
    input.truncate(target.bytes_max);
    input
}

fn mutate(random: &mut Random, input: &mut Vec<u8>, target: &Target) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(16)).min(input.len());
    match random.below(10) {
        0 if at < input.len() => input[at] = random.byte(),
        1 if at < input.len() => input[at] ^= 1 << random.below(8),
        2 if at < input.len() => input[at] = input[at].wrapping_add(1),
        3 => drop(input.drain(at..end)),
        4 => {
            // Twice, or very often: what is bounded has to meet its bound.
            let part = input[at..end].to_vec();
            let times = if random.below(8) == 0 { 200 } else { 1 };
            let room = target.bytes_max.saturating_sub(input.len());
            let fits = if part.is_empty() {
                0
            } else {
                room / part.len()
            };
            let more = part.repeat(times.min(fits));
            input.splice(at..at, more);
        }
        5 => input.truncate(at),
        6 if !target.corpus.is_empty() => {
            let other = &target.corpus[random.below(target.corpus.len())];
            let from = random.below(other.len() + 1);
            let to = from + random.below(other.len() - from + 1);
            input.splice(at..end, other[from..to].iter().copied());
        }
        7 => {
            let bytes = random.below(8) + 1;
            let new: Vec<u8> = (0..bytes).map(|_| random.byte()).collect();
            input.splice(at..at, new);
        }
        _ if target.words.is_empty() => input.push(random.byte()),
        _ => {
            let word = target.words[random.below(target.words.len())];
            input.splice(at..end, word.bytes());
        }
    }
}
