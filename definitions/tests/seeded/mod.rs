//! The inputs of property tests: the same in each run, so that a failure is the change's.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// So many cases of one seed; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for others.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    let others = asked.rng_seed != RngSeed::Random || std::env::var_os("PROPTEST_CASES").is_some();
    match others {
        true => asked,
        false => ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::with_cases(cases)
        },
    }
}
