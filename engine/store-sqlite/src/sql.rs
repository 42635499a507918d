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
    expires_at_us = excluded.expires_at_us, \
    clock_until_us = max(coalesce(nodes.clock_until_us, nodes.expires_at_us), nodes.expires_at_us)";
/// Whose lease is over loses it with the first shard that is taken: it is not renewed any more.
pub(crate) const CLAIM_DEPOSE: &str = "UPDATE nodes SET process = zeroblob(16) \
    WHERE name <> ?1 AND expires_at_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) \
    AND EXISTS (SELECT 1 FROM shards AS s WHERE s.node = nodes.name AND s.shard IN (SELECT value FROM json_each(?2)))";
pub(crate) const CLAIM_SHARDS: &str = "UPDATE shards SET node = ?1 \
    WHERE shard IN (SELECT value FROM json_each(?2)) AND (node IS NULL OR node = ?1 OR NOT EXISTS (\
    SELECT 1 FROM nodes AS n WHERE n.name = shards.node AND n.process <> zeroblob(16)))";
pub(crate) const CLAIMED: &str = "SELECT shard FROM shards WHERE node = ?1 AND shard IN (SELECT value FROM json_each(?2)) ORDER BY shard";
pub(crate) const RENEW: &str = "UPDATE nodes \
    SET expires_at_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER) + ?3, clock_until_us = max(coalesce(clock_until_us, 0), \
    max(CAST(unixepoch('subsec') * 1000000 AS INTEGER), ?4) + ?3) WHERE name = ?1 AND process = ?2 \
    RETURNING CAST(unixepoch('subsec') * 1000000 AS INTEGER)";
pub(crate) const CLOCKS_UNTIL: &str = "SELECT coalesce(max(CASE WHEN name = ?1 THEN clock_until_us \
    ELSE max(coalesce(clock_until_us, expires_at_us), expires_at_us) END), 0) FROM nodes";
pub(crate) const RELEASE_SHARDS: &str = "UPDATE shards SET node = NULL \
    WHERE node = ?1 AND EXISTS (SELECT 1 FROM nodes WHERE name = ?1 AND process = ?2)";
pub(crate) const RELEASE_NODE: &str = "UPDATE nodes SET process = zeroblob(16), \
    expires_at_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE name = ?1 AND process = ?2";

pub(crate) const TAIL: &str = "SELECT position, epoch, \
    (SELECT count(*) FROM journal AS c WHERE c.shard = j.shard AND c.position >= j.epoch), \
    coalesce((SELECT h.expired_rows FROM shards AS h WHERE h.shard = j.shard AND h.expired_epoch = j.epoch), 0) \
    FROM journal AS j WHERE j.shard = ?1 ORDER BY j.position DESC LIMIT 1";
pub(crate) const TAKEN: &str = "SELECT 1 FROM journal WHERE shard = ?1 AND position >= ?2 LIMIT 1";
pub(crate) const AUTHOR: &str =
    "SELECT epoch, batch_id FROM journal WHERE shard = ?1 AND position = ?2";

/// State by state, each in the order of the index that has no finished saga in it. That index is used only where its own
/// condition is written out.
pub(crate) const ACTIVE: &str = "SELECT id, namespace, definition, revision, hash, key, state, wake_at_us, \
    started_at_us, updated_at_us, ended_at_us, parent_id, expires_at_us FROM (\
    SELECT * FROM (SELECT * FROM sagas WHERE shard = ?1 AND state = 1 AND state <> 2 AND id > ?2 \
        AND (wake_at_us IS NULL OR wake_at_us <= ?3) ORDER BY id LIMIT ?4) \
    UNION ALL SELECT * FROM (SELECT * FROM sagas WHERE shard = ?1 AND state = 3 AND state <> 2 AND id > ?2 \
        AND (wake_at_us IS NULL OR wake_at_us <= ?3) ORDER BY id LIMIT ?4) \
    UNION ALL SELECT * FROM (SELECT * FROM sagas WHERE shard = ?1 AND state = 5 AND state <> 2 AND id > ?2 \
        AND (wake_at_us IS NULL OR wake_at_us <= ?3) ORDER BY id LIMIT ?4)) ORDER BY id LIMIT ?4";
pub(crate) const ACTIVE_ROWS: &str = "SELECT saga_id, position, at_us, body FROM journal \
    WHERE shard = ?1 AND saga_id IN (SELECT value FROM json_each(?2)) ORDER BY saga_id, position";
pub(crate) const SAGA: &str = "SELECT id, namespace, definition, revision, hash, key, state, wake_at_us, \
    started_at_us, updated_at_us, ended_at_us, parent_id, expires_at_us FROM sagas WHERE shard = ?1 AND id = ?2";
pub(crate) const HISTORY: &str = "SELECT saga_id, position, at_us, body FROM journal \
    WHERE shard = ?1 AND saga_id = ?2 AND position >= ?3 ORDER BY position LIMIT ?4";
/// Several whole histories: `?1` is a JSON list of shards and ids, here and below.
pub(crate) const SAGAS: &str = "SELECT s.id, s.namespace, s.definition, s.revision, s.hash, s.key, s.state, s.wake_at_us, \
    s.started_at_us, s.updated_at_us, s.ended_at_us, s.parent_id, s.expires_at_us FROM json_each(?1) AS n \
    CROSS JOIN sagas AS s ON s.shard = n.value ->> '$[0]' AND s.id = n.value ->> '$[1]' ORDER BY n.key";
pub(crate) const HISTORIES: &str = "SELECT j.saga_id, j.position, j.at_us, j.body FROM json_each(?1) AS n \
    CROSS JOIN journal AS j ON j.shard = n.value ->> '$[0]' AND j.saga_id = n.value ->> '$[1]' \
    ORDER BY j.saga_id, j.position";
/// Which revisions the sagas of keys that were found are pinned to: asked for those alone.
pub(crate) const REVISIONS: &str = "SELECT s.id, s.revision FROM json_each(?1) AS n \
    CROSS JOIN sagas AS s ON s.shard = n.value ->> '$[0]' AND s.id = n.value ->> '$[1]'";
pub(crate) const SLEEPERS: &str = "SELECT id, wake_at_us FROM sagas WHERE shard = ?1 \
    AND wake_at_us < 9223372036854775807 AND (wake_at_us, id) > (?2, ?3) ORDER BY wake_at_us, id LIMIT ?4";
pub(crate) const TURNS: &str = "SELECT id, namespace, definition, turn_position, concurrency_max, ordering_hash, \
    turn_granted FROM sagas WHERE shard = ?1 AND turn_position IS NOT NULL ORDER BY turn_position";
/// Those that have not ended, and children whose end is provisional. A parent's shard is in its id: the three digits behind
/// the version.
pub(crate) const COUNT_ACTIVE: &str = "SELECT revision, count(*) FROM (\
    SELECT s.revision FROM shards AS h CROSS JOIN sagas AS s ON s.shard = h.shard AND s.state <> 2 \
    AND s.state IN (1, 3, 5) WHERE s.namespace = ?1 AND s.definition = ?2 \
    UNION ALL SELECT s.revision FROM shards AS h CROSS JOIN sagas AS s ON s.shard = h.shard AND s.parent_id IS NOT NULL \
    WHERE s.namespace = ?1 AND s.definition = ?2 AND s.state IN (2, 4, 6) AND EXISTS (SELECT 1 FROM sagas AS p \
    WHERE p.shard = (instr('0123456789abcdef', substr(s.parent_id, 16, 1)) - 1) * 256 \
    + (instr('0123456789abcdef', substr(s.parent_id, 17, 1)) - 1) * 16 \
    + instr('0123456789abcdef', substr(s.parent_id, 18, 1)) - 1 AND p.id = s.parent_id \
    AND NOT (p.state IN (2, 4, 6) AND p.parent_id IS NULL))) GROUP BY revision ORDER BY revision";

/// Where retention has something to look at: a probe for each shard.
pub(crate) const SHARDS_IN_USE: &str = "SELECT h.shard FROM shards AS h \
    WHERE EXISTS (SELECT 1 FROM sagas AS s WHERE s.shard = h.shard) ORDER BY h.shard";
/// A page of what retention looks at: the primary key, from a place on.
pub(crate) const SWEEP: &str = "SELECT id, iif(state IN (2, 4, 6), expires_at_us, NULL) FROM sagas \
    WHERE shard = ?1 AND id > ?2 AND id < ?3 ORDER BY id LIMIT ?4";
/// Retention, in one transaction. Of those given (`?3` is a JSON list of ids), those whose time has come, and no end above
/// them is provisional.
pub(crate) const EXPIRED: &str = "SELECT c.id, c.namespace, c.definition, c.key FROM json_each(?3) AS n \
    CROSS JOIN sagas AS c ON c.shard = ?1 AND c.id = n.value WHERE c.expires_at_us <= ?2 AND c.state IN (2, 4, 6) \
    AND NOT EXISTS (SELECT 1 FROM sagas AS p WHERE p.shard = (instr('0123456789abcdef', substr(c.parent_id, 16, 1)) - 1) * 256 \
    + (instr('0123456789abcdef', substr(c.parent_id, 17, 1)) - 1) * 16 \
    + instr('0123456789abcdef', substr(c.parent_id, 18, 1)) - 1 AND p.id = c.parent_id \
    AND NOT (p.state IN (2, 4, 6) AND p.parent_id IS NULL \
    AND p.ended_at_us + (c.expires_at_us - c.ended_at_us) <= ?2))";
/// Where the rows of those stand (`?2` is a JSON list of ids), and which of them are of the last batch of the journal or
/// of that before a takeover record: what a deposed owner may aim at.
pub(crate) const EXPIRED_ROWS: &str = "WITH RECURSIVE ends (epoch, batch_id) AS (\
    SELECT * FROM (SELECT epoch, batch_id FROM journal WHERE shard = ?1 ORDER BY position DESC LIMIT 1) \
    UNION ALL SELECT j.epoch, j.batch_id FROM ends AS e CROSS JOIN journal AS j \
    ON j.shard = ?1 AND j.position = e.epoch - 1) \
    SELECT j.position, j.batch_id IN (SELECT batch_id FROM ends) FROM json_each(?2) AS n \
    CROSS JOIN journal AS j ON j.shard = ?1 AND j.saga_id = n.value";
/// `?2` is a JSON list of positions, here and below.
pub(crate) const BLANK_ROWS: &str = "UPDATE journal SET kind = 3, saga_id = NULL, body = x'' \
    WHERE shard = ?1 AND position IN (SELECT value FROM json_each(?2))";
pub(crate) const DELETE_ROWS: &str =
    "DELETE FROM journal WHERE shard = ?1 AND position IN (SELECT value FROM json_each(?2))";
/// Only those from the latest takeover record on count; an older record's count is no count. The last row stays, so
/// that it tells the epoch after the rows are gone as before.
pub(crate) const COUNT_EXPIRED: &str = "UPDATE shards SET expired_epoch = t.epoch, \
    expired_rows = iif(expired_epoch = t.epoch, expired_rows, 0) \
    + (SELECT count(*) FROM json_each(?2) WHERE value >= t.epoch) \
    FROM (SELECT epoch FROM journal WHERE shard = ?1 ORDER BY position DESC LIMIT 1) AS t WHERE shard = ?1";
/// `?2` is a JSON list of ids, here and below.
pub(crate) const DELETE_SAGAS: &str =
    "DELETE FROM sagas WHERE shard = ?1 AND id IN (SELECT value FROM json_each(?2))";
pub(crate) const DELETE_INCIDENTS: &str =
    "DELETE FROM incidents WHERE shard = ?1 AND saga_id IN (SELECT value FROM json_each(?2))";
pub(crate) const DELETE_KEY: &str = "DELETE FROM saga_keys \
    WHERE namespace = ?1 AND definition = ?2 AND key_hash = ?3 AND saga_id = ?4";

/// `?2` and on are a filter, NULL for all; `?7` to `?10` are a fingerprint.
pub(crate) const INCIDENTS: &str = "SELECT saga_id, number, namespace, definition, revision, step, item, operation, \
    reason, code, message, opened_at_us FROM incidents WHERE namespace = ?1 \
    AND (?2 IS NULL OR definition = ?2) AND (?3 IS NULL OR revision = ?3) \
    AND (?4 IS NULL OR step = ?4) AND (?5 IS NULL OR code = ?5) AND (?6 IS NULL OR reason = ?6) \
    AND (?7 IS NULL OR (definition = ?7 AND revision = ?8 AND step IS ?9 AND coalesce(code, reason) = ?10)) \
    AND (opened_at_us, saga_id, number) > (?11, ?12, ?13) ORDER BY opened_at_us, saga_id, number LIMIT ?14";
pub(crate) const INCIDENT_GROUPS: &str = "SELECT definition, revision, step, code, reason, count(*), \
    min(opened_at_us), max(opened_at_us) FROM incidents WHERE namespace = ?1 \
    AND (?2 IS NULL OR definition = ?2) AND (?3 IS NULL OR revision = ?3) \
    AND (?4 IS NULL OR step = ?4) AND (?5 IS NULL OR code = ?5) AND (?6 IS NULL OR reason = ?6) \
    AND (?7 IS NULL OR (definition = ?7 AND revision = ?8 AND step IS ?9 AND coalesce(code, reason) = ?10)) \
    GROUP BY definition, revision, step, code, reason \
    ORDER BY count(*) DESC, definition, revision, step, code, reason LIMIT ?11";

/// The newest of any state: ids sort by time, so the primary key is all that is needed. A few of each shard say below
/// which id none of the page lies; then each shard gives what is above that. `?2` is a JSON list of state codes, empty
/// for all, here and below.
pub(crate) const LIST: &str = "WITH few (id) AS MATERIALIZED (SELECT s.id FROM shards AS h CROSS JOIN sagas AS s \
    ON s.shard = h.shard AND s.id IN (SELECT i.id FROM sagas AS i WHERE i.shard = h.shard AND i.id < ?4 \
    AND i.namespace = ?1 AND (?2 = '[]' OR i.state IN (SELECT value FROM json_each(?2))) \
    AND (?3 IS NULL OR i.definition = ?3) ORDER BY i.id DESC LIMIT ?6)), \
    lowest (id) AS MATERIALIZED (SELECT coalesce((SELECT id FROM few ORDER BY id DESC LIMIT 1 OFFSET max(?5 - 1, 0)), '')) \
    SELECT s.id, s.namespace, s.definition, s.revision, s.hash, s.key, s.state, \
    s.wake_at_us, s.started_at_us, s.updated_at_us, s.ended_at_us, s.parent_id, s.expires_at_us \
    FROM lowest AS l CROSS JOIN shards AS h CROSS JOIN sagas AS s ON s.shard = h.shard AND s.id IN (\
    SELECT i.id FROM sagas AS i WHERE i.shard = h.shard AND i.id < ?4 AND i.id >= l.id AND i.namespace = ?1 \
    AND (?2 = '[]' OR i.state IN (SELECT value FROM json_each(?2))) AND (?3 IS NULL OR i.definition = ?3) \
    ORDER BY i.id DESC LIMIT ?5) ORDER BY s.id DESC LIMIT ?5";
/// The newest of states that few sagas are in: any but completed.
pub(crate) const LIST_STATES: &str = "SELECT s.id, s.namespace, s.definition, s.revision, s.hash, s.key, s.state, \
    s.wake_at_us, s.started_at_us, s.updated_at_us, s.ended_at_us, s.parent_id, s.expires_at_us \
    FROM shards AS h CROSS JOIN json_each(?2) AS n CROSS JOIN sagas AS s ON s.shard = h.shard AND s.id IN (\
    SELECT i.id FROM sagas AS i WHERE i.shard = h.shard AND i.state = n.value AND i.state <> 2 AND i.id < ?4 \
    AND i.namespace = ?1 AND (?3 IS NULL OR i.definition = ?3) ORDER BY i.id DESC LIMIT ?5) \
    ORDER BY s.id DESC LIMIT ?5";
/// Who has a key: one saga of each definition at most. Definitions that have keys are found one after the other.
pub(crate) const LIST_KEYED: &str = "WITH RECURSIVE d (definition) AS (\
    SELECT coalesce(?3, (SELECT definition FROM saga_keys WHERE namespace = ?1 ORDER BY definition LIMIT 1)) \
    UNION ALL SELECT (SELECT k.definition FROM saga_keys AS k WHERE k.namespace = ?1 AND k.definition > d.definition \
    ORDER BY k.definition LIMIT 1) FROM d WHERE d.definition IS NOT NULL AND ?3 IS NULL) \
    SELECT s.id, s.namespace, s.definition, s.revision, s.hash, s.key, s.state, \
    s.wake_at_us, s.started_at_us, s.updated_at_us, s.ended_at_us, s.parent_id, s.expires_at_us \
    FROM d CROSS JOIN saga_keys AS k ON k.namespace = ?1 AND k.definition = d.definition AND k.key_hash = ?6 \
    CROSS JOIN sagas AS s ON s.shard = (instr('0123456789abcdef', substr(k.saga_id, 16, 1)) - 1) * 256 \
    + (instr('0123456789abcdef', substr(k.saga_id, 17, 1)) - 1) * 16 \
    + instr('0123456789abcdef', substr(k.saga_id, 18, 1)) - 1 AND s.id = k.saga_id WHERE s.key = ?7 AND s.id < ?4 \
    AND (?2 = '[]' OR s.state IN (SELECT value FROM json_each(?2))) ORDER BY s.id DESC LIMIT ?5";

pub(crate) const PUT_DEFINITION: &str = "INSERT INTO definitions \
    (namespace, name, revision, hash, source, normal_form, applied_at_us) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, CAST(unixepoch('subsec') * 1000000 AS INTEGER)) RETURNING applied_at_us";
pub(crate) const DEFINITION_NEWEST: &str = "SELECT namespace, name, revision, hash, source, normal_form, applied_at_us \
    FROM definitions WHERE namespace = ?1 AND name = ?2 AND deleted_at_us IS NULL ORDER BY revision DESC LIMIT 1";
/// Deleted ones included: a number is given once.
pub(crate) const DEFINITION_LAST: &str =
    "SELECT coalesce(max(revision), 0) FROM definitions WHERE namespace = ?1 AND name = ?2";
pub(crate) const DELETE_DEFINITION: &str = "UPDATE definitions \
    SET deleted_at_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER) \
    WHERE namespace = ?1 AND name = ?2 AND revision = ?3 AND deleted_at_us IS NULL RETURNING revision";
pub(crate) const DEFINITION_REVISION: &str = "SELECT namespace, name, revision, hash, source, normal_form, \
    applied_at_us FROM definitions WHERE namespace = ?1 AND name = ?2 AND revision = ?3 AND deleted_at_us IS NULL";
pub(crate) const DEFINITION_HASH: &str = "SELECT namespace, name, revision, hash, source, normal_form, applied_at_us \
    FROM definitions WHERE hash = ?1 LIMIT 1";
pub(crate) const DEFINITIONS: &str = "SELECT namespace, name, max(revision), hash, source, normal_form, applied_at_us \
    FROM definitions WHERE namespace = ?1 AND deleted_at_us IS NULL AND (?2 IS NULL OR name > ?2) GROUP BY name ORDER BY name LIMIT ?3";

/// The statements that stand alone, for the test that prepares each.
#[cfg(test)]
pub(crate) const ALL: &[&str] = &[
    BEGIN,
    COMMIT,
    ROLLBACK,
    IDENTITY,
    CLAIM_NODE,
    CLAIM_DEPOSE,
    CLAIM_SHARDS,
    CLAIMED,
    RENEW,
    CLOCKS_UNTIL,
    RELEASE_SHARDS,
    RELEASE_NODE,
    TAIL,
    TAKEN,
    AUTHOR,
    ACTIVE,
    ACTIVE_ROWS,
    SAGA,
    HISTORY,
    SAGAS,
    HISTORIES,
    REVISIONS,
    SLEEPERS,
    TURNS,
    COUNT_ACTIVE,
    EXPIRED,
    EXPIRED_ROWS,
    BLANK_ROWS,
    DELETE_ROWS,
    COUNT_EXPIRED,
    DELETE_SAGAS,
    DELETE_INCIDENTS,
    DELETE_KEY,
    INCIDENTS,
    INCIDENT_GROUPS,
    LIST,
    LIST_STATES,
    LIST_KEYED,
    SHARDS_IN_USE,
    SWEEP,
    PUT_DEFINITION,
    DEFINITION_NEWEST,
    DEFINITION_LAST,
    DELETE_DEFINITION,
    DEFINITION_REVISION,
    DEFINITION_HASH,
    DEFINITIONS,
];

/// A statement for a fixed number of rows.
pub(crate) struct Sized {
    pub(crate) rows: usize,
    pub(crate) sql: String,
    /// As the first of a transaction.
    first: String,
    /// As the last of one.
    last: String,
    /// As the only one.
    only: String,
}

/// Where a statement stands in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) first: bool,
    pub(crate) last: bool,
}

impl Sized {
    fn new(rows: usize, sql: String) -> Self {
        Self {
            rows,
            first: format!("{BEGIN}; {sql}"),
            last: format!("{sql}; {COMMIT}"),
            only: format!("{BEGIN}; {sql}; {COMMIT}"),
            sql,
        }
    }

    /// With the transaction's begin before it and its end behind it: the connection's thread is asked once, not twice.
    pub(crate) fn standing(&self, standing: Standing) -> &str {
        match (standing.first, standing.last) {
            (false, false) => &self.sql,
            (true, false) => &self.first,
            (false, true) => &self.last,
            (true, true) => &self.only,
        }
    }
}

/// One statement in a few sizes, so that any number of rows takes few round trips to the connection's thread, and each
/// text is prepared once. A row whose first column is null is no row: it fills a statement up.
pub(crate) struct Many {
    pub(crate) columns: usize,
    sizes: [Sized; SIZES.len()],
}

impl Many {
    /// The statement for so many rows: one that is a little too large and is filled up, or the largest that they fill.
    pub(crate) fn fit(&self, rows: usize) -> &Sized {
        let [smaller @ .., largest] = &self.sizes;
        let Some(above) = self.sizes.iter().position(|sized| sized.rows >= rows) else {
            return largest;
        };
        let room = self.sizes[above].rows - rows;
        let filled = room * FILL_PART <= self.sizes[above].rows;
        if filled || above == 0 {
            &self.sizes[above]
        } else {
            &smaller[above - 1]
        }
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> &[Sized] {
        &self.sizes
    }

    /// `INSERT INTO` a table. No conflict is left to the statement alone: the transaction ends with it, so nothing need be
    /// remembered for undoing the statement's part.
    fn insert(into: &str, columns: usize) -> Self {
        Self::new(columns, |values, rows| {
            if rows == 1 {
                format!("INSERT OR FAIL INTO {into} {values}")
            } else {
                format!(
                    "INSERT OR FAIL INTO {into} SELECT * FROM ({values}) WHERE column1 IS NOT NULL"
                )
            }
        })
    }

    /// Something with the rows as a table; a null in their first column must match nothing.
    fn with(before: &str, columns: usize, after: &str) -> Self {
        Self::new(columns, |values, _| format!("{before}{values}{after}"))
    }

    fn new(columns: usize, text: impl Fn(String, usize) -> String) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        let sizes = SIZES.map(|rows| {
            let values = format!("VALUES {}", vec![row.as_str(); rows].join(","));
            Sized::new(rows, text(values, rows))
        });
        Self { columns, sizes }
    }
}

/// SQLite's bound is 32,766 parameters; eighteen columns of so many rows stay far below it.
const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// A statement is filled up if at most this part of it is empty.
const FILL_PART: usize = 4;

pub(crate) static INSERT_JOURNAL: LazyLock<Many> = LazyLock::new(|| {
    let into = "journal (shard, position, epoch, batch_id, saga_id, kind, at_us, body)";
    Many::insert(into, 8)
});
/// Of batches that have nothing but calls in them.
pub(crate) static INSERT_SAGAS: LazyLock<Many> = LazyLock::new(|| {
    let into = "sagas (shard, id, namespace, definition, revision, hash, key, state, wake_at_us, \
        started_at_us, updated_at_us, ended_at_us)";
    Many::insert(into, 12)
});
/// Of those that have turns, parents, or sagas that end as they begin.
pub(crate) static INSERT_SAGAS_ALL: LazyLock<Many> = LazyLock::new(|| {
    let into = "sagas (shard, id, namespace, definition, revision, hash, key, state, wake_at_us, \
        started_at_us, updated_at_us, ended_at_us, turn_position, concurrency_max, ordering_hash, turn_granted, \
        parent_id, expires_at_us)";
    Many::insert(into, 18)
});
/// An end gives its turn back: no row of an ended saga is in the index of turns.
pub(crate) static UPDATE_SAGAS: LazyLock<Many> = LazyLock::new(|| {
    let with = "WITH n (shard, id, state, wake_at_us, updated_at_us, ended_at_us, expires_at_us, turn_granted) AS (";
    let update = ") UPDATE OR FAIL sagas SET state = n.state, wake_at_us = n.wake_at_us, updated_at_us = n.updated_at_us, \
        ended_at_us = n.ended_at_us, expires_at_us = n.expires_at_us, turn_granted = n.turn_granted, \
        turn_position = iif(n.state IN (2, 4, 6), NULL, turn_position) \
        FROM n WHERE sagas.shard = n.shard AND sagas.id = n.id";
    Many::with(with, 8, update)
});
pub(crate) static INSERT_INCIDENTS: LazyLock<Many> = LazyLock::new(|| {
    let into = "incidents (shard, saga_id, number, namespace, definition, revision, step, item, operation, \
        reason, code, message, opened_at_us)";
    Many::insert(into, 13)
});
pub(crate) static CLOSE_INCIDENTS: LazyLock<Many> = LazyLock::new(|| {
    let with = "WITH n (shard, saga_id, number) AS (";
    let delete = ") DELETE FROM incidents WHERE (shard, saga_id, number) IN (SELECT shard, saga_id, number FROM n)";
    Many::with(with, 3, delete)
});
pub(crate) static INSERT_KEYS: LazyLock<Many> = LazyLock::new(|| {
    let into = "saga_keys (namespace, definition, key_hash, saga_id, input_hash)";
    Many::insert(into, 5)
});
pub(crate) static LOOKUP_KEYS: LazyLock<Many> = LazyLock::new(|| {
    let select = ") SELECT k.n, s.saga_id, s.input_hash FROM k CROSS JOIN saga_keys AS s \
        ON s.namespace = k.namespace AND s.definition = k.definition AND s.key_hash = k.key_hash";
    Many::with(
        "WITH k (n, namespace, definition, key_hash) AS (",
        4,
        select,
    )
});

/// All of them, for the tests.
#[cfg(test)]
pub(crate) fn many() -> [&'static Many; 8] {
    [
        &*INSERT_JOURNAL,
        &*INSERT_SAGAS,
        &*INSERT_SAGAS_ALL,
        &*UPDATE_SAGAS,
        &*INSERT_KEYS,
        &*INSERT_INCIDENTS,
        &*CLOSE_INCIDENTS,
        &*LOOKUP_KEYS,
    ]
}
