//! Fuzz target of this room: what comes in over the wire, against a real node in this process. How it is run is in
//! `amends_tests::fuzz`.

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod frames;
#[expect(dead_code, reason = "the edge's own tests use more of it")]
#[path = "../edge/node.rs"]
mod node;
mod wire;

#[test]
fn frames() {
    frames::run();
}
