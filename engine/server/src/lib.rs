//! A node made from configuration: wiring only.

pub use amends_core as core;
pub use amends_store as store;

/// Placeholder until the server is merged.
///
/// # Errors
/// Always.
pub async fn open_store(url: &str) -> Result<std::sync::Arc<dyn store::Store>, store::Error> {
    Err(store::Error::Schema(url.to_owned()))
}
