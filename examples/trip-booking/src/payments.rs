//! Money. A charge is the point of no return of a trip, so nothing here undoes it.

use amends_sdk::barrier::{Barrier, Tx};
use amends_sdk::{Context, Fail, Participant};
use serde::{Deserialize, Serialize};
use sqlx::Sqlite;

#[derive(Deserialize)]
struct Charge {
    account: String,
    amount_minor: i64,
}

#[derive(Serialize)]
struct Charged {
    charged_minor: i64,
}

pub(crate) fn participant(barrier: &Barrier<Sqlite>) -> Participant {
    Participant::new("payments").serve("charge", barrier.action(charge))
}

async fn charge(_: Context, mut tx: Tx<Sqlite>, charge: Charge) -> Result<Charged, Fail> {
    let take = "UPDATE accounts SET balance_minor = balance_minor - $2 WHERE traveller = $1 AND balance_minor >= $2";
    let take = sqlx::query(take)
        .bind(&charge.account)
        .bind(charge.amount_minor);
    if take.execute(&mut *tx).await?.rows_affected() == 0 {
        return Err(Fail::rejected("CARD_DECLINED").message(format!(
            "{} cannot pay {}",
            charge.account, charge.amount_minor
        )));
    }
    Ok(Charged {
        charged_minor: charge.amount_minor,
    })
}
