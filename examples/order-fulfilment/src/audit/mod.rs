//! The audit: reads the four services' own books, and says whether every order ended wholly or not at all. It asks the
//! engine for nothing but how each saga ended.

mod read;
mod report;

use std::collections::BTreeMap;

pub use crate::audit::read::books;
pub use crate::audit::report::{AuditReport, MoneyLine, StockLine};

use crate::order::Order;

/// The books of all four services at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books {
    /// Stock by article.
    pub stock: BTreeMap<String, Stock>,
    /// What each customer can spend, in minor units.
    pub balances_minor: BTreeMap<String, i64>,
    /// What there is of each order.
    pub orders: BTreeMap<String, Traces>,
}

/// Stock of one article, in pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stock {
    /// Can be sold.
    pub on_hand: i64,
    /// Belongs to orders.
    pub reserved: i64,
}

/// What an order left in the books, every row of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traces {
    /// Articles and pieces reserved and kept, in the order of the articles.
    pub held: Vec<(String, i64)>,
    /// Articles and pieces reserved and released again.
    pub released: Vec<(String, i64)>,
    /// Amounts held on a card.
    pub authorized_minor: Vec<i64>,
    /// Amounts held and given back.
    pub voided_minor: Vec<i64>,
    /// Authorizations that were captured.
    pub settled_minor: Vec<i64>,
    /// Amounts captured.
    pub captured_minor: Vec<i64>,
    /// Parcels, by tracking number.
    pub shipments: Vec<String>,
    /// Recipients of mails.
    pub mails: Vec<String>,
}

/// How an order's saga ended, as the engine says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// Fully done.
    Completed,
    /// Fully undone.
    Compensated,
    /// Waits for a person, with a reason: its order may be half done, in plain sight.
    Parked,
    /// Given up by a person, likewise.
    Terminated,
}

/// Compares the books before and after with what was ordered and how the sagas ended. An order without an ending is a
/// lost saga; call this when nothing is under way any more.
#[must_use]
pub fn reconcile(
    before: &Books,
    after: &Books,
    orders: &[Order],
    endings: &BTreeMap<String, Ending>,
) -> AuditReport {
    report::reconcile(before, after, orders, endings)
}
