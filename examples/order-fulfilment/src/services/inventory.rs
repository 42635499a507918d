//! Stock. Pieces are moved from on hand to reserved, and back; a completed order keeps them reserved.

use amends_sdk::barrier::{Barrier, Tx};
use amends_sdk::{Context, Fail, Participant};
use serde::{Deserialize, Serialize};

use crate::books::Database;
use crate::order::Item;

#[derive(Deserialize)]
struct Reserve {
    order_id: String,
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Reserved {
    pieces: i64,
}

#[derive(Deserialize)]
struct Release {
    order_id: String,
}

#[derive(Serialize)]
struct Released {
    pieces: i64,
}

pub(super) fn participant<DB: Database>(barrier: &Barrier<DB>) -> Participant {
    Participant::new("inventory")
        .serve("reserve", barrier.action(reserve::<DB>))
        .serve("release", barrier.compensation(release::<DB>))
}

async fn reserve<DB: Database>(
    _: Context,
    mut tx: Tx<DB>,
    order: Reserve,
) -> Result<Reserved, Fail> {
    let mut items = order.items;
    // Always in the same order: two orders that lock each other's articles would be a deadlock.
    items.sort_by(|a, b| a.sku.cmp(&b.sku));
    for Item { sku, quantity, .. } in &items {
        let take = "UPDATE stock SET on_hand = on_hand - $2, reserved = reserved + $2 WHERE sku = $1 AND on_hand >= $2";
        if DB::run(&mut tx, take, &[sku.into(), (*quantity).into()]).await? == 0 {
            // The barrier takes back what earlier articles of this order took.
            return Err(Fail::rejected("OUT_OF_STOCK")
                .message(format!("fewer than {quantity} of {sku} are left")));
        }
        let note =
            "INSERT INTO reservations (order_id, sku, quantity, state) VALUES ($1, $2, $3, 'held')";
        let entry = [(&order.order_id).into(), sku.into(), (*quantity).into()];
        DB::run(&mut tx, note, &entry).await?;
    }
    let pieces = items.iter().map(|item| item.quantity).sum();
    Ok(Reserved { pieces })
}

async fn release<DB: Database>(
    _: Context,
    mut tx: Tx<DB>,
    order: Release,
) -> Result<Released, Fail> {
    let id = (&order.order_id).into();
    let held = "SELECT sku, quantity FROM reservations WHERE order_id = $1 AND state = 'held' ORDER BY sku";
    let held = DB::rows(&mut tx, held, std::slice::from_ref(&id)).await?;
    let mut pieces = 0;
    for item in &held {
        let give =
            "UPDATE stock SET on_hand = on_hand + $2, reserved = reserved - $2 WHERE sku = $1";
        DB::run(&mut tx, give, &[item.text(0).into(), item.number(1).into()]).await?;
        pieces += item.number(1);
    }
    let note = "UPDATE reservations SET state = 'released' WHERE order_id = $1 AND state = 'held'";
    DB::run(&mut tx, note, &[id]).await?;
    Ok(Released { pieces })
}

// Nothing but the barrier keeps an effect from happening twice: a unique order id would hide from the audit what it has
// to find.
pub(super) const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, on_hand BIGINT NOT NULL CHECK (on_hand >= 0), \
     reserved BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS reservations (order_id TEXT NOT NULL, sku TEXT NOT NULL, quantity BIGINT NOT NULL, \
     state TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS reservations_order ON reservations (order_id)",
];
