//! Seats, rooms and cars: three services that do the same with different wares. A hold takes one off the offer and notes for
//! which trip; a cancel gives it back; a confirm makes firm whatever the trip holds.

use amends_sdk::barrier::{Barrier, Tx};
use amends_sdk::{Context, Fail, Participant};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use sqlx::Sqlite;

/// One ware for one trip; a car's is named by its city.
#[derive(Deserialize)]
struct Wish {
    trip_id: String,
    #[serde(alias = "city")]
    name: String,
}

#[derive(Serialize)]
struct Held {
    r#ref: String,
    price_minor: i64,
}

#[derive(Deserialize)]
struct OfTrip {
    trip_id: String,
}

#[derive(Serialize)]
struct Confirmed {
    confirmed: u64,
}

pub(crate) fn participant(name: &str, barrier: &Barrier<Sqlite>) -> Participant {
    Participant::new(name)
        .serve("hold", barrier.action(hold))
        .serve("cancel", barrier.compensation(cancel))
        .serve("confirm", barrier.action(confirm))
}

async fn hold(context: Context, mut tx: Tx<Sqlite>, wish: Wish) -> Result<Held, Fail> {
    let offer = sqlx::query_as("SELECT free, price_minor FROM offers WHERE name = $1");
    let offer: Option<(i64, i64)> = offer.bind(&wish.name).fetch_optional(&mut *tx).await?;
    let price_minor = match offer {
        None => {
            return Err(Fail::rejected("UNKNOWN_OFFER")
                .message(format!("there is nothing called {}", wish.name)));
        }
        Some((0, _)) => {
            return Err(
                Fail::rejected("NOTHING_FREE").message(format!("nothing is left of {}", wish.name))
            );
        }
        Some((_, price_minor)) => price_minor,
    };
    sqlx::query("UPDATE offers SET free = free - 1 WHERE name = $1")
        .bind(&wish.name)
        .execute(&mut *tx)
        .await?;
    // Named after its operation: the compensation is told that name, even when nobody knows what the action answered.
    let reference = context.operation_key().to_owned();
    sqlx::query("INSERT INTO holds (reference, trip_id, offer, state) VALUES ($1, $2, $3, 'held')")
        .bind(&reference)
        .bind(&wish.trip_id)
        .bind(&wish.name)
        .execute(&mut *tx)
        .await?;
    Ok(Held {
        r#ref: reference,
        price_minor,
    })
}

async fn cancel(context: Context, mut tx: Tx<Sqlite>, _: IgnoredAny) -> Result<(), Fail> {
    let cancelled: Vec<String> = sqlx::query_scalar(
        "UPDATE holds SET state = 'cancelled' WHERE reference = $1 AND state = 'held' RETURNING offer",
    )
    .bind(context.forward_operation_key())
    .fetch_all(&mut *tx)
    .await?;
    for offer in cancelled {
        sqlx::query("UPDATE offers SET free = free + 1 WHERE name = $1")
            .bind(offer)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

async fn confirm(_: Context, mut tx: Tx<Sqlite>, trip: OfTrip) -> Result<Confirmed, Fail> {
    let broken: Option<String> = sqlx::query_scalar(
        "SELECT offer FROM holds JOIN offers ON name = offer WHERE trip_id = $1 AND state = 'held' AND NOT honoured",
    )
    .bind(&trip.trip_id)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(offer) = broken {
        return Err(Fail::rejected("NOT_HONOURED")
            .message(format!("{offer} does not honour what it promised")));
    }
    let confirm = "UPDATE holds SET state = 'confirmed' WHERE trip_id = $1 AND state = 'held'";
    let done = sqlx::query(confirm).bind(&trip.trip_id).execute(&mut *tx);
    Ok(Confirmed {
        confirmed: done.await?.rows_affected(),
    })
}
