//! Mails, into an outbox: a real one would be handed on from there.

use amends_sdk::barrier::{Barrier, Tx};
use amends_sdk::{Context, Fail, Participant};
use serde::Deserialize;

use crate::books::Database;

#[derive(Deserialize)]
struct Mail {
    order_id: String,
    recipient: String,
    text: String,
}

pub(super) fn participant<DB: Database>(barrier: &Barrier<DB>) -> Participant {
    Participant::new("mail").serve("send", barrier.action(send::<DB>))
}

async fn send<DB: Database>(_: Context, mut tx: Tx<DB>, mail: Mail) -> Result<(), Fail> {
    let note = "INSERT INTO mails (order_id, recipient, text) VALUES ($1, $2, $3)";
    let entry = [
        (&mail.order_id).into(),
        (&mail.recipient).into(),
        (&mail.text).into(),
    ];
    DB::run(&mut tx, note, &entry).await?;
    Ok(())
}

pub(super) const SCHEMA: [&str; 1] = [
    "CREATE TABLE IF NOT EXISTS mails (order_id TEXT NOT NULL, recipient TEXT NOT NULL, text TEXT NOT NULL)",
];
