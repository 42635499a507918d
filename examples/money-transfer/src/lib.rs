//! A bank transfer, to copy from: the participant `ledger` with its books in a SQLite file. That a person decides about large
//! transfers, that money cools off before it leaves, and what is undone when, is in `transfer-money.saga.yaml` alone. The
//! participant `abroad` calls a bank that others run; `pay-abroad.saga.yaml` asks it what became of an answer that was lost.

mod abroad;
pub mod books;
mod ledger;

/// The definition that moves the money.
pub const DEFINITION: &str = include_str!("../transfer-money.saga.yaml");

/// The definition that pays through a bank abroad.
pub const PAY_ABROAD: &str = include_str!("../pay-abroad.saga.yaml");

pub use crate::abroad::{AbroadOptions, Bank, Standing, abroad};
pub use crate::ledger::{LedgerOptions, participant};
