//! An order saga over four services, to copy from: what they do, the books they keep, orders to run, and an audit that
//! reads the books and says whether every order ended wholly or not at all.
//!
//! The services know nothing of each other and nothing of sagas; the order of things is in `place-order.saga.yaml`.

pub mod audit;
pub mod books;
pub mod order;
pub mod services;

mod chance;

/// The definition that runs the orders.
pub const DEFINITION: &str = include_str!("../place-order.saga.yaml");

/// The name that the definition has.
pub const DEFINITION_NAME: &str = "place-order";

pub use crate::books::{BooksUrls, seed_books};
pub use crate::order::{Item, Order, generate_orders};
pub use crate::services::{Chaos, ParticipantKind, ParticipantOptions, run_participant};
