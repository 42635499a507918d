//! Participants and clients of Amends in Rust.
