//! Which store a database URL means.

use std::sync::Arc;

use amends_store::Store;
use amends_store_sqlite::SqliteStore;

use crate::config::{Config, Database};
use crate::error::{StartError, chain};

/// Opens the configured store, and checks that its schema is one that this binary knows.
///
/// # Errors
/// If it cannot be reached, or its schema is another.
pub async fn open(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    let failed = |error: amends_store::Error| StartError::Database {
        database: config.database_url.to_string(),
        message: config.database_url.redact(&chain(&error)),
    };
    match config.database_url.database()? {
        Database::Sqlite { path } => {
            let store = SqliteStore::open(path, config.shards)
                .await
                .map_err(failed)?;
            Ok(Arc::new(store))
        }
        Database::Postgres { url } => {
            let _ = url;
            Err(failed(amends_store::Error::Schema("pending".into())))
        }
    }
}
