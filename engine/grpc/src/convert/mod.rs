//! Between the protocol's messages and the engine's values, one file for each kind of thing. What comes in is checked here;
//! what goes out needs no check. Deliberately not here: whether anything exists.

pub mod command;
pub mod definition;
pub mod explanation;
pub mod fingerprint;
pub mod history;
pub mod operator;
pub mod outcome;
pub mod payload;
pub mod saga;
pub mod step;
pub mod time;
