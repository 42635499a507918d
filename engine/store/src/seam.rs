//! What a database has to do beside writing batches, grouped by what it is about: leases, sagas, incidents, definitions.
//! A [`Store`](crate::Store) does all of it. No group has more than ten methods: whoever implements the seam reads one
//! group at a time.
//!
//! Deliberately not here: the hot path, which is [`Lane`](crate::Lane).

use amends_core::journal::IncidentInsert;
use amends_core::{SagaId, ShardId, Time};
use async_trait::async_trait;

use crate::definition::{DefinitionQuery, DefinitionRecord, NewDefinition};
use crate::error::Error;
use crate::expiry::{ExpiryPage, Swept};
use crate::incident::{IncidentFilter, IncidentGroup, IncidentQuery};
use crate::node::NodeLease;
use crate::saga::{KeyFound, KeyLookup, ListQuery, SagaHistory, SagaRecord, TurnRecord};

/// Who owns which shard: for liveness alone, the journal fences without it.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes the lease of those of the given shards that no live node holds (a lease of the same node name counts as
    /// not held), and says which this node holds then. `lease` is from now, on the database's clock. A node whose lease was
    /// over loses it with the first of its shards that is taken, and cannot renew it: it may not know yet, and a renewal
    /// would let it send what its successor has decided otherwise.
    async fn claim(&self, node: &NodeLease, shards: &[ShardId]) -> Result<Vec<ShardId>, Error>;

    /// Renews the node's lease in one statement, and returns the database's time. `clock` is what the node takes for the
    /// time: until the lease is over its clock goes no further than `lease` beyond that, or beyond the database's time if
    /// that is later; see [`Leases::clocks_until`].
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if the row is not this process's any more, or a shard of it was taken.
    async fn renew(&self, node: &NodeLease, clock: Time) -> Result<Time, Error>;

    /// How late it may be, or may have been, by the clock of any process but this one; [`Time::EPOCH`] if there was none.
    /// The end of a lease does not tell: the database's clock may have gone back since, and a node's own does not.
    async fn clocks_until(&self, node: &NodeLease) -> Result<Time, Error>;

    /// Gives up the node's lease and its shards, at a graceful end. How far its clock may have gone stays known.
    async fn release(&self, node: &NodeLease) -> Result<(), Error>;
}

/// The sagas: what has to be in memory, what sleeps, histories, keys, lists, and what retention takes away.
#[async_trait]
pub trait Sagas: Send + Sync + 'static {
    /// The histories of a page of the shard's sagas that have to be in memory: not terminal, and not asleep beyond
    /// `awake_before`. In the order of their ids, those above `after`; `limit` sagas at most. A row that cannot be read
    /// makes its saga a [`SagaHistory`] whose `rows` is an error, and hides no other saga.
    async fn load_active(
        &self,
        shard: ShardId,
        after: Option<SagaId>,
        awake_before: Time,
        limit: usize,
    ) -> Result<Vec<SagaHistory>, Error>;

    /// A page of the shard's sagas that sleep until a time, the earliest first, those behind `after`. Who sleeps until
    /// something comes from outside ([`Time::INFINITY`]) is not among them, and need not be: what comes loads it. Those
    /// that [`Sagas::load_active`] gives although they sleep are among them.
    async fn sleepers(
        &self,
        shard: ShardId,
        after: Option<(Time, SagaId)>,
        limit: usize,
    ) -> Result<Vec<(SagaId, Time)>, Error>;

    /// The shard's sagas that hold a turn or wait for one, in the order of their starts, sleeping ones included. An end
    /// gives a turn back for good: a completed child that is undone later has none.
    async fn turns(&self, shard: ShardId) -> Result<Vec<TurnRecord>, Error>;

    /// A saga's row and its journal rows from a position on (1 for all), `limit` rows at most; none if there is no such saga.
    async fn history(
        &self,
        saga: SagaId,
        from: u64,
        limit: usize,
    ) -> Result<Option<SagaHistory>, Error>;

    /// Whole histories of several sagas, in the order asked for, each once, those that there are. A row that cannot be
    /// read spoils its own saga alone.
    async fn histories(&self, sagas: &[SagaId]) -> Result<Vec<SagaHistory>, Error>;

    /// Which sagas have these keys, each in the given order.
    async fn lookup_keys(&self, keys: &[KeyLookup]) -> Result<Vec<Option<KeyFound>>, Error>;

    /// A page of sagas, the newest (greatest id) first, those below `query.before`.
    async fn list(&self, query: &ListQuery) -> Result<Vec<SagaRecord>, Error>;

    /// How many sagas need each revision of a definition: those that have not ended, and children that have but may
    /// still have to be undone. By revision, ascending; a revision without any is left out. It reads every saga of the
    /// database: for what is rare.
    async fn count_active(
        &self,
        namespace: &str,
        definition: &str,
    ) -> Result<Vec<(u32, u64)>, Error>;

    /// The shards that have a saga, ascending: where retention has something to look at. It costs a probe for each shard,
    /// in one statement.
    async fn shards_in_use(&self) -> Result<Vec<ShardId>, Error>;

    /// Looks at a page of sagas, in the order of their ids, and deletes what retention has no use for any more: those
    /// that ended and whose `expires_at` is not after `now`, with their keys and journal rows. A child stays until its
    /// retention has passed since the end of its parent, and until its parent is gone if that is a child itself: as long
    /// as an end above it is provisional, it may have to be undone. How this goes together with the fence and with
    /// finding gaps is said at [`Tail`](crate::Tail).
    async fn expire(&self, page: &ExpiryPage) -> Result<Swept, Error>;
}

/// Incidents that are open. What closes is gone from here, and stays in its saga's history.
#[async_trait]
pub trait Incidents: Send + Sync + 'static {
    /// A page of open incidents, the oldest first, those behind `query.after`.
    async fn list_incidents(&self, query: &IncidentQuery) -> Result<Vec<IncidentInsert>, Error>;

    /// Open incidents by what they have in common, the most numerous first, `limit` groups at most.
    async fn incident_groups(
        &self,
        filter: &IncidentFilter,
        limit: usize,
    ) -> Result<Vec<IncidentGroup>, Error>;
}

/// Revisions of definitions.
#[async_trait]
pub trait Definitions: Send + Sync + 'static {
    /// Stores a new revision of a definition: the next number, unless the newest revision has the same hash already.
    /// Two nodes that apply at once get one order. The number of a deleted revision is never given again.
    async fn put_definition(
        &self,
        definition: &NewDefinition,
    ) -> Result<(DefinitionRecord, bool), Error>;

    /// Reads a revision. A deleted one is found by its hash alone, which is what sagas are pinned to.
    async fn definition(&self, query: &DefinitionQuery) -> Result<Option<DefinitionRecord>, Error>;

    /// A page of the newest revisions of a namespace's definitions, by name, those above `after`.
    async fn list_definitions(
        &self,
        namespace: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DefinitionRecord>, Error>;

    /// Takes a revision out of sight, and says whether it was there: nothing starts from it any more. Sagas that are
    /// pinned to it go on, also one whose start was under way: a definition is small, and a saga without one is lost.
    async fn delete_definition(
        &self,
        namespace: &str,
        name: &str,
        revision: u32,
    ) -> Result<bool, Error>;
}
