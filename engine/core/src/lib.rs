//! Saga and shard as pure state machines: decide, evolve, due.
