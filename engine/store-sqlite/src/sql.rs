//! Every statement of this store, and the statements that write or look up many rows at once.

use std::sync::LazyLock;

pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

pub(crate) const IDENTITY: &str = "SELECT incarnation, shard_count, CAST(unixepoch('subsec') * 1000000 AS INTEGER) \
    FROM meta";

pub(crate) const CLAIM_NODE: &str = "INSERT INTO nodes (name, process, address, expires_at_us) \
    VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000000 AS INTEGER) + ?4) \
    ON CONFLICT (name) DO UPDATE SET process = excluded.process, address = excluded.address, \
    expires_at_us = excluded.expires_at_us";
pub(crate) const CLAIM_SHARDS: &str = "UPDATE shards SET node = ?1 \
    WHERE shard IN (SELECT value FROM json_each(?2)) AND (node IS NULL OR node = ?1 OR NOT EXISTS (\
    SELECT 1 FROM nodes AS n WHERE n.name = shards.node \
    AND n.expires_at_us > CAST(unixepoch('subsec') * 1000000 AS INTEGER)))";
pub(crate) const CLAIMED: &str = "SELECT shard FROM shards WHERE node = ?1 AND shard IN (SELECT value FROM json_each(?2)) ORDER BY shard";
pub(crate) const RENEW: &str = "UPDATE nodes \
    SET expires_at_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER) + ?3 WHERE name = ?1 AND process = ?2 \
    RETURNING CAST(unixepoch('subsec') * 1000000 AS INTEGER)";
pub(crate) const RELEASE_SHARDS: &str = "UPDATE shards SET node = NULL \
    WHERE node = ?1 AND EXISTS (SELECT 1 FROM nodes WHERE name = ?1 AND process = ?2)";
pub(crate) const RELEASE_NODE: &str = "DELETE FROM nodes WHERE name = ?1 AND process = ?2";

pub(crate) const TAIL: &str = "SELECT position, epoch, \
    (SELECT count(*) FROM journal AS c WHERE c.shard = j.shard AND c.position >= j.epoch) \
    FROM journal AS j WHERE j.shard = ?1 ORDER BY j.position DESC LIMIT 1";
pub(crate) const TAKEN: &str = "SELECT 1 FROM journal WHERE shard = ?1 AND position >= ?2 LIMIT 1";
pub(crate) const AUTHOR: &str =
    "SELECT epoch, batch_id FROM journal WHERE shard = ?1 AND position = ?2";

pub(crate) const ACTIVE: &str = "SELECT id, namespace, definition, revision, hash, key, state, wake_at_us, \
    started_at_us, updated_at_us, ended_at_us FROM sagas \
    WHERE shard = ?1 AND id > ?2 AND state NOT IN (2, 4, 6) AND (wake_at_us IS NULL OR wake_at_us <= ?3) \
    ORDER BY id LIMIT ?4";
pub(crate) const ACTIVE_ROWS: &str = "SELECT saga_id, position, at_us, body FROM journal \
    WHERE shard = ?1 AND saga_id IN (SELECT value FROM json_each(?2)) ORDER BY saga_id, position";
pub(crate) const SAGA: &str = "SELECT id, namespace, definition, revision, hash, key, state, wake_at_us, \
    started_at_us, updated_at_us, ended_at_us FROM sagas WHERE shard = ?1 AND id = ?2";
pub(crate) const HISTORY: &str = "SELECT saga_id, position, at_us, body FROM journal \
    WHERE shard = ?1 AND saga_id = ?2 AND position >= ?3 ORDER BY position LIMIT ?4";
/// `?2` is a JSON list of state codes; empty for all.
pub(crate) const LIST: &str = "SELECT id, namespace, definition, revision, hash, key, state, wake_at_us, \
    started_at_us, updated_at_us, ended_at_us FROM sagas WHERE namespace = ?1 \
    AND (?2 = '[]' OR state IN (SELECT value FROM json_each(?2))) AND (?3 IS NULL OR definition = ?3) \
    AND (?4 IS NULL OR key = ?4) AND (?5 IS NULL OR id < ?5) ORDER BY id DESC LIMIT ?6";

pub(crate) const PUT_DEFINITION: &str = "INSERT INTO definitions \
    (namespace, name, revision, hash, source, normal_form, applied_at_us) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, CAST(unixepoch('subsec') * 1000000 AS INTEGER)) RETURNING applied_at_us";
pub(crate) const DEFINITION_NEWEST: &str = "SELECT namespace, name, revision, hash, source, normal_form, applied_at_us \
    FROM definitions WHERE namespace = ?1 AND name = ?2 ORDER BY revision DESC LIMIT 1";
pub(crate) const DEFINITION_REVISION: &str = "SELECT namespace, name, revision, hash, source, normal_form, \
    applied_at_us FROM definitions WHERE namespace = ?1 AND name = ?2 AND revision = ?3";
pub(crate) const DEFINITION_HASH: &str = "SELECT namespace, name, revision, hash, source, normal_form, applied_at_us \
    FROM definitions WHERE hash = ?1 LIMIT 1";
pub(crate) const DEFINITIONS: &str = "SELECT namespace, name, max(revision), hash, source, normal_form, applied_at_us \
    FROM definitions WHERE namespace = ?1 AND (?2 IS NULL OR name > ?2) GROUP BY name ORDER BY name LIMIT ?3";

/// The statements that stand alone, for the test that prepares each.
#[cfg(test)]
pub(crate) const ALL: &[&str] = &[
    BEGIN,
    COMMIT,
    ROLLBACK,
    IDENTITY,
    CLAIM_NODE,
    CLAIM_SHARDS,
    CLAIMED,
    RENEW,
    RELEASE_SHARDS,
    RELEASE_NODE,
    TAIL,
    TAKEN,
    AUTHOR,
    ACTIVE,
    ACTIVE_ROWS,
    SAGA,
    HISTORY,
    LIST,
    PUT_DEFINITION,
    DEFINITION_NEWEST,
    DEFINITION_REVISION,
    DEFINITION_HASH,
    DEFINITIONS,
];

/// A statement for a fixed number of rows.
pub(crate) struct Sized {
    pub(crate) rows: usize,
    pub(crate) sql: String,
}

/// One statement in a few sizes, so that any number of rows takes few round trips to the connection's thread, and each
/// text is prepared once.
pub(crate) struct Many {
    sizes: [Sized; 3],
}

impl Many {
    /// The largest statement that a number of rows fills.
    pub(crate) fn fit(&self, rows: usize) -> &Sized {
        let [_, _, single] = &self.sizes;
        self.sizes
            .iter()
            .find(|sized| sized.rows <= rows)
            .unwrap_or(single)
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> &[Sized] {
        &self.sizes
    }

    fn new(before: &str, columns: usize, after: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        let sizes = [ROWS_LARGE, ROWS_SMALL, 1].map(|rows| Sized {
            rows,
            sql: format!(
                "{before} VALUES {}{after}",
                vec![row.as_str(); rows].join(",")
            ),
        });
        Self { sizes }
    }
}

/// SQLite's bound is 32,766 parameters; twelve columns of so many rows stay far below it.
const ROWS_LARGE: usize = 128;
const ROWS_SMALL: usize = 8;

pub(crate) static INSERT_JOURNAL: LazyLock<Many> = LazyLock::new(|| {
    let into = "INSERT INTO journal (shard, position, epoch, batch_id, saga_id, kind, at_us, body)";
    Many::new(into, 8, "")
});
pub(crate) static INSERT_SAGAS: LazyLock<Many> = LazyLock::new(|| {
    let into = "INSERT INTO sagas (shard, id, namespace, definition, revision, hash, key, state, wake_at_us, \
        started_at_us, updated_at_us, ended_at_us)";
    Many::new(into, 12, "")
});
pub(crate) static UPDATE_SAGAS: LazyLock<Many> = LazyLock::new(|| {
    let with = "WITH n (shard, id, state, wake_at_us, updated_at_us, ended_at_us) AS (";
    let update = ") UPDATE sagas SET state = n.state, wake_at_us = n.wake_at_us, updated_at_us = n.updated_at_us, \
        ended_at_us = n.ended_at_us FROM n WHERE sagas.shard = n.shard AND sagas.id = n.id";
    Many::new(with, 6, update)
});
pub(crate) static INSERT_KEYS: LazyLock<Many> = LazyLock::new(|| {
    Many::new(
        "INSERT INTO saga_keys (namespace, definition, key_hash, saga_id, input_hash)",
        5,
        "",
    )
});
pub(crate) static LOOKUP_KEYS: LazyLock<Many> = LazyLock::new(|| {
    let select = ") SELECT k.n, s.saga_id, s.input_hash FROM k CROSS JOIN saga_keys AS s \
        ON s.namespace = k.namespace AND s.definition = k.definition AND s.key_hash = k.key_hash";
    Many::new(
        "WITH k (n, namespace, definition, key_hash) AS (",
        4,
        select,
    )
});

/// All of them, for the tests.
#[cfg(test)]
pub(crate) fn many() -> [&'static Many; 5] {
    [
        &*INSERT_JOURNAL,
        &*INSERT_SAGAS,
        &*UPDATE_SAGAS,
        &*INSERT_KEYS,
        &*LOOKUP_KEYS,
    ]
}
