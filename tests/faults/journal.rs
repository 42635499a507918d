//! What must be true of every journal, whoever wrote it: positions without a gap, epochs that never go back.

use sqlx::{Connection as _, Row as _};

/// Checks the journal of a database that nobody writes to.
pub async fn check(database_url: &str) {
    let rows: Vec<(i64, i64, i64)> = if database_url.starts_with("sqlite:") {
        let mut connection = sqlx::SqliteConnection::connect(database_url).await.unwrap();
        let sql =
            "SELECT CAST(shard AS INTEGER), position, epoch FROM journal ORDER BY shard, position";
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    } else {
        let mut connection = sqlx::PgConnection::connect(database_url).await.unwrap();
        let sql = "SELECT shard::bigint, position::bigint, epoch::bigint FROM amends.journal ORDER BY shard, position";
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    };
    assert!(!rows.is_empty());
    let mut last = (-1, 0, 0);
    for (shard, position, epoch) in rows {
        if shard != last.0 {
            last = (shard, 0, 0);
        }
        assert_eq!(
            position,
            last.1 + 1,
            "shard {shard} has a gap at {position}"
        );
        assert!(
            epoch >= last.2,
            "shard {shard} goes back to epoch {epoch} at {position}"
        );
        last = (shard, position, epoch);
    }
}
