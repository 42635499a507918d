//! A trip over four services, to copy from: seats, rooms, cars, and somebody who pays. Each service keeps books of its own in
//! a SQLite file, and knows nothing of the others. That a trip is booked wholly or not at all is in `book-trip.saga.yaml`;
//! what happens once it is paid for is in its child, `confirm-bookings.saga.yaml`.

pub mod books;
mod payments;
mod reservations;

use std::fmt;

use amends_sdk::Participant;
use amends_sdk::barrier::Barrier;
use sqlx::SqlitePool;

/// The definition that books a trip.
pub const BOOK_TRIP: &str = include_str!("../book-trip.saga.yaml");

/// The definition of its child.
pub const CONFIRM_BOOKINGS: &str = include_str!("../confirm-bookings.saga.yaml");

/// Which of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Service {
    /// Seats: `flights.hold`, undone by `flights.cancel`, and `flights.confirm`.
    Flights,
    /// Rooms, likewise.
    Hotels,
    /// Cars, likewise; a trip may need several.
    Cars,
    /// Money: `payments.charge`.
    Payments,
}

impl Service {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Flights, Self::Hotels, Self::Cars, Self::Payments];

    /// The name in `call: flights.hold`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Flights => "flights",
            Self::Hotels => "hotels",
            Self::Cars => "cars",
            Self::Payments => "payments",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A service over its books.
///
/// # Errors
/// Where the barrier's table cannot be made.
pub async fn participant(service: Service, books: SqlitePool) -> Result<Participant, sqlx::Error> {
    let barrier = Barrier::new(books);
    barrier.migrate().await?;
    Ok(match service {
        Service::Flights | Service::Hotels | Service::Cars => {
            reservations::participant(service.name(), &barrier)
        }
        Service::Payments => payments::participant(&barrier),
    })
}
