//! Fuzz targets of this room: documents, expressions, payloads. How they are run is in `amends_tests::fuzz`.

mod documents;
mod expressions;
mod payloads;

use amends_tests::fuzz::Target;

/// A target of this package.
fn target(test: &'static str, corpus: Vec<Vec<u8>>, words: &'static [&'static str]) -> Target {
    Target {
        package: env!("CARGO_PKG_NAME"),
        test,
        directory: env!("CARGO_TARGET_TMPDIR"),
        corpus,
        words,
        bytes_max: 16 * 1024,
    }
}

#[test]
fn documents() {
    documents::run();
}

#[test]
fn expressions() {
    expressions::run();
}

#[test]
fn payloads() {
    payloads::run();
}
