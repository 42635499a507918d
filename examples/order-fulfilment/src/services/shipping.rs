//! Parcels. This service is the one that misbehaves: it is slow, it fails now and then, and it dies after its work was
//! done and before it said so.

use amends_sdk::barrier::{Barrier, Tx};
use amends_sdk::{Answer, Context, Fail, Outcome, Participant, Verdict};
use serde::{Deserialize, Serialize};

use crate::books::Database;
use crate::chance::Dice;
use crate::services::{Chaos, ParticipantOptions};

#[derive(Deserialize)]
struct Create {
    order_id: String,
    address: String,
}

#[derive(Serialize, Deserialize)]
struct Created {
    tracking: String,
}

pub(super) fn participant<DB: Database>(
    barrier: &Barrier<DB>,
    options: &ParticipantOptions,
) -> Participant {
    let (seed, chaos) = (options.seed, options.chaos.clone());
    let create = {
        let fail_percent = chaos.fail_percent;
        barrier.action(move |context: Context, tx, parcel: Create| {
            let first = context.attempt() == 1;
            let fails = first && Dice::of(seed, &["fails", &parcel.order_id]).percent(fail_percent);
            create::<DB>(context, tx, parcel, fails)
        })
    };
    let slow = chaos.slow;
    let create = create
        // Outside of the transaction: a slow carrier must not keep the books locked.
        .before(move |context| async move {
            let range_ms = slow.1.saturating_sub(slow.0).as_millis() + 1;
            let mut dice = Dice::of(seed, &["slow", context.operation_key()]);
            let more_ms = dice.roll(u64::try_from(range_ms).unwrap_or(1));
            tokio::time::sleep(slow.0 + std::time::Duration::from_millis(more_ms)).await;
            Ok(())
        })
        .inspect(move |_, answer| die_after_commit(seed, &chaos, answer));
    Participant::new("shipping").serve("create", create)
}

async fn create<DB: Database>(
    _: Context,
    mut tx: Tx<DB>,
    parcel: Create,
    fails: bool,
) -> Result<Created, Fail> {
    if fails {
        return Err(Fail::failed("CARRIER_UNREACHABLE").message("the carrier did not answer"));
    }
    let tracking = format!("TRK-{}", parcel.order_id);
    let note = "INSERT INTO shipments (order_id, address, tracking) VALUES ($1, $2, $3)";
    let entry = [
        (&parcel.order_id).into(),
        (&parcel.address).into(),
        (&tracking).into(),
    ];
    DB::run(&mut tx, note, &entry).await?;
    Ok(Created { tracking })
}

fn die_after_commit(seed: u64, chaos: &Chaos, answer: &Answer) {
    // A duplicate was answered from the record: dying at that as well would be dying at it for ever.
    let (Verdict::First, Outcome::Succeeded(output)) = (answer.verdict, &answer.outcome) else {
        return;
    };
    let Ok(created) = serde_json::from_slice::<Created>(output) else {
        return;
    };
    if Dice::of(seed, &["dies", &created.tracking]).percent(chaos.die_after_commit_percent) {
        tracing::warn!(created.tracking, "dying after the parcel was booked");
        (chaos.die)();
    }
}

pub(super) const SCHEMA: [&str; 1] = [
    "CREATE TABLE IF NOT EXISTS shipments (order_id TEXT NOT NULL, address TEXT NOT NULL, tracking TEXT NOT NULL)",
];
