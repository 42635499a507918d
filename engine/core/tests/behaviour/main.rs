//! The saga and shard machines, driven from outside: what is put in, what comes out, what is recorded.
//!
//! Each case is a definition, a script of what participants answer, and the facts that have to be recorded.

mod pump;

mod abort;
mod doubt;
mod forward;
mod races;
mod random;
mod recovery;
mod shards;
mod wild;
mod world;
