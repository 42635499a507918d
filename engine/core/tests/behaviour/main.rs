//! The saga and shard machines, driven from outside: what is put in, what comes out, what is recorded.
//!
//! Each case is a definition, a script of what participants answer, and the facts that have to be recorded.

mod pump;

mod abort;
mod attacks;
mod cells;
mod children;
mod clocks;
mod deadline;
mod doubt;
mod family;
mod forward;
mod hostile;
mod items;
mod operators;
mod orders;
mod queries;
mod races;
mod random;
mod recovery;
mod resolving;
mod routes;
mod shards;
mod sleeping;
mod story;
mod turns;
mod waiting;
mod wild;
mod world;
