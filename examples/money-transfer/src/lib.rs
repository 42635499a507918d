//! A bank transfer, to copy from: the participant `ledger` with its books in a SQLite file. That a person decides about large
//! transfers, that money cools off before it leaves, and what is undone when, is in `transfer-money.saga.yaml` alone.

pub mod books;
mod ledger;

/// The definition that moves the money.
pub const DEFINITION: &str = include_str!("../transfer-money.saga.yaml");

pub use crate::ledger::{LedgerOptions, participant};
