//! Fuzz targets of this room: journal records, and the keys and ids that stand in them. How they are run is in
//! `amends_tests::fuzz`.

mod facts;
mod keys;
mod records;

use amends_tests::fuzz::Target;

/// A target of this package.
fn target(test: &'static str, corpus: Vec<Vec<u8>>, words: &'static [&'static str]) -> Target {
    Target {
        package: env!("CARGO_PKG_NAME"),
        test,
        directory: env!("CARGO_TARGET_TMPDIR"),
        corpus,
        words,
        bytes_max: 4 * 1024,
    }
}

#[test]
fn records() {
    records::run();
}

#[test]
fn keys() {
    keys::run();
}
