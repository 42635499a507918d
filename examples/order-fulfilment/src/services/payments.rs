//! Cards. An authorization takes the amount off the customer's account and holds it; a void gives it back; a capture
//! hands it to the shop, less a fee, and cannot be undone.

use std::sync::Arc;

use amends_sdk::barrier::{Barrier, Tx};
use amends_sdk::{Context, Fail, Participant};
use serde::{Deserialize, Serialize};

use crate::books::Database;
use crate::chance::Dice;

#[derive(Deserialize)]
struct Authorize {
    order_id: String,
    customer: String,
    amount_minor: i64,
}

#[derive(Serialize)]
struct Authorized {
    authorized_minor: i64,
}

#[derive(Deserialize)]
struct OfOrder {
    order_id: String,
}

#[derive(Serialize)]
struct Voided {
    voided_minor: i64,
}

#[derive(Serialize)]
struct Captured {
    captured_minor: i64,
    fee_minor: i64,
}

pub(super) fn participant<DB: Database>(barrier: &Barrier<DB>, seed: u64) -> Participant {
    let refuses = Arc::new(move |order_id: &str| {
        Dice::of(seed, &["capture", order_id]).percent(REFUSED_PERCENT)
    });
    Participant::new("payments")
        .serve("authorize", barrier.action(authorize::<DB>))
        .serve("void", barrier.compensation(void::<DB>))
        .serve(
            "capture",
            barrier.action(move |context, tx, order: OfOrder| {
                let refused = refuses(&order.order_id);
                capture::<DB>(context, tx, order, refused)
            }),
        )
}

async fn authorize<DB: Database>(
    _: Context,
    mut tx: Tx<DB>,
    card: Authorize,
) -> Result<Authorized, Fail> {
    let hold = "UPDATE accounts SET balance_minor = balance_minor - $2 WHERE customer = $1 AND balance_minor >= $2";
    let amount = card.amount_minor;
    if DB::run(&mut tx, hold, &[(&card.customer).into(), amount.into()]).await? == 0 {
        return Err(Fail::rejected("CARD_DECLINED")
            .message(format!("{} cannot pay {amount}", card.customer)));
    }
    let note = "INSERT INTO authorizations (order_id, customer, amount_minor, state) VALUES ($1, $2, $3, 'held')";
    let entry = [
        (&card.order_id).into(),
        (&card.customer).into(),
        amount.into(),
    ];
    DB::run(&mut tx, note, &entry).await?;
    Ok(Authorized {
        authorized_minor: amount,
    })
}

async fn void<DB: Database>(_: Context, mut tx: Tx<DB>, order: OfOrder) -> Result<Voided, Fail> {
    let id = (&order.order_id).into();
    let held = DB::rows(&mut tx, HELD, std::slice::from_ref(&id)).await?;
    let mut voided_minor = 0;
    for authorization in &held {
        let give = "UPDATE accounts SET balance_minor = balance_minor + $2 WHERE customer = $1";
        DB::run(
            &mut tx,
            give,
            &[authorization.text(0).into(), authorization.number(1).into()],
        )
        .await?;
        voided_minor += authorization.number(1);
    }
    let note = "UPDATE authorizations SET state = 'voided' WHERE order_id = $1 AND state = 'held'";
    DB::run(&mut tx, note, &[id]).await?;
    Ok(Voided { voided_minor })
}

async fn capture<DB: Database>(
    _: Context,
    mut tx: Tx<DB>,
    order: OfOrder,
    refused: bool,
) -> Result<Captured, Fail> {
    if refused {
        return Err(
            Fail::rejected("CAPTURE_REFUSED").message("the bank took its authorization back")
        );
    }
    let id = (&order.order_id).into();
    let held = DB::rows(&mut tx, HELD, std::slice::from_ref(&id)).await?;
    let Some(authorization) = held.first() else {
        return Err(
            Fail::rejected("NOT_AUTHORIZED").message("no authorization is held for this order")
        );
    };
    let captured_minor = authorization.number(1);
    let fee_minor = captured_minor * FEE_PER_MILLE / 1_000;
    let note = "INSERT INTO captures (order_id, amount_minor, fee_minor) VALUES ($1, $2, $3)";
    DB::run(
        &mut tx,
        note,
        &[id.clone(), captured_minor.into(), fee_minor.into()],
    )
    .await?;
    let settle =
        "UPDATE authorizations SET state = 'captured' WHERE order_id = $1 AND state = 'held'";
    DB::run(&mut tx, settle, &[id]).await?;
    Ok(Captured {
        captured_minor,
        fee_minor,
    })
}

const HELD: &str =
    "SELECT customer, amount_minor FROM authorizations WHERE order_id = $1 AND state = 'held'";
const REFUSED_PERCENT: u8 = 4;
const FEE_PER_MILLE: i64 = 14;

pub(super) const SCHEMA: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS accounts (customer TEXT PRIMARY KEY, \
     balance_minor BIGINT NOT NULL CHECK (balance_minor >= 0))",
    "CREATE TABLE IF NOT EXISTS authorizations (order_id TEXT NOT NULL, customer TEXT NOT NULL, \
     amount_minor BIGINT NOT NULL, state TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS authorizations_order ON authorizations (order_id)",
    "CREATE TABLE IF NOT EXISTS captures (order_id TEXT NOT NULL, amount_minor BIGINT NOT NULL, \
     fee_minor BIGINT NOT NULL)",
];
