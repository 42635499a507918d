//! Reading the books.

use sqlx::Pool;

use crate::audit::{Books, Stock, Traces};
use crate::books::{AnyBooks, BooksUrls, Database};
use crate::services::ParticipantKind;

/// Reads the books of all four services.
///
/// # Errors
/// Where a database cannot be opened or read.
pub async fn books(urls: &BooksUrls) -> anyhow::Result<Books> {
    let mut books = Books::default();
    for kind in ParticipantKind::ALL {
        match AnyBooks::open(urls.of(kind)).await? {
            AnyBooks::Sqlite(pool) => read(&pool, kind, &mut books).await?,
            AnyBooks::Postgres(pool) => read(&pool, kind, &mut books).await?,
        }
    }
    Ok(books)
}

async fn read<DB: Database>(
    pool: &Pool<DB>,
    kind: ParticipantKind,
    books: &mut Books,
) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    match kind {
        ParticipantKind::Inventory => inventory::<DB>(&mut connection, books).await,
        ParticipantKind::Payments => payments::<DB>(&mut connection, books).await,
        ParticipantKind::Shipping => {
            let shipments = "SELECT order_id, tracking FROM shipments";
            for row in DB::rows(&mut connection, shipments, &[]).await? {
                traces(books, row.text(0))
                    .shipments
                    .push(row.text(1).to_owned());
            }
            Ok(())
        }
        ParticipantKind::Mail => {
            for row in DB::rows(
                &mut connection,
                "SELECT order_id, recipient FROM mails",
                &[],
            )
            .await?
            {
                traces(books, row.text(0))
                    .mails
                    .push(row.text(1).to_owned());
            }
            Ok(())
        }
    }
}

async fn inventory<DB: Database>(
    connection: &mut DB::Connection,
    books: &mut Books,
) -> Result<(), sqlx::Error> {
    for row in DB::rows(connection, "SELECT sku, on_hand, reserved FROM stock", &[]).await? {
        let stock = Stock {
            on_hand: row.number(1),
            reserved: row.number(2),
        };
        books.stock.insert(row.text(0).to_owned(), stock);
    }
    let reservations =
        "SELECT order_id, sku, quantity, state FROM reservations ORDER BY order_id, sku";
    for row in DB::rows(connection, reservations, &[]).await? {
        let traces = traces(books, row.text(0));
        let list = if row.text(3) == "held" {
            &mut traces.held
        } else {
            &mut traces.released
        };
        list.push((row.text(1).to_owned(), row.number(2)));
    }
    Ok(())
}

async fn payments<DB: Database>(
    connection: &mut DB::Connection,
    books: &mut Books,
) -> Result<(), sqlx::Error> {
    for row in DB::rows(
        connection,
        "SELECT customer, balance_minor FROM accounts",
        &[],
    )
    .await?
    {
        books
            .balances_minor
            .insert(row.text(0).to_owned(), row.number(1));
    }
    let authorizations = "SELECT order_id, amount_minor, state FROM authorizations";
    for row in DB::rows(connection, authorizations, &[]).await? {
        let traces = traces(books, row.text(0));
        let list = match row.text(2) {
            "held" => &mut traces.authorized_minor,
            "voided" => &mut traces.voided_minor,
            _ => &mut traces.settled_minor,
        };
        list.push(row.number(1));
    }
    for row in DB::rows(
        connection,
        "SELECT order_id, amount_minor FROM captures",
        &[],
    )
    .await?
    {
        traces(books, row.text(0))
            .captured_minor
            .push(row.number(1));
    }
    Ok(())
}

fn traces<'a>(books: &'a mut Books, order_id: &str) -> &'a mut Traces {
    books.orders.entry(order_id.to_owned()).or_default()
}
