//! Bugs that are planted one at a time, to show that the checker sees each. They live in what stands around the core - the
//! pump, the model of the store, the participants - or change what the pump hands on; the core has no code for them.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Compensations begin without regard to their order: the shard is handed a definition that says so.
    CompensateInAnyOrder,
    /// What a batch lets out leaves before the store has it.
    ReleaseBeforeCommit,
    /// A result is acknowledged when it arrives.
    AcknowledgeBeforeCommit,
    /// Timers are never looked at.
    ForgetTimers,
    /// The store loses a row of a batch now and then.
    DropRow,
    /// The store writes half of a batch.
    TearBatch,
    /// A second success is recorded as if it were the first.
    AcceptLateResult,
    /// A command that was taken back is sent all the same.
    DeliverAfterAbort,
    /// A new owner writes no takeover record.
    SkipTakeoverRecord,
    /// The store lets two rows have one position.
    ForgetFence,
    /// The dispatcher forgets what has left: it does not say so, and takes it back as if it had waited.
    ForgetSent,
    /// The dispatcher does not ask whether a participant has room.
    ForgetCredit,
    /// A new owner does not ask how late it was by its predecessor's clock.
    ForgetClocks,
    /// A new owner does not tell its shards when it took them over.
    ForgetTakeoverTime,
    /// Who claims a shard of a node whose lease is over leaves that lease as it is.
    KeepLease,
    /// A shard's next batch goes to the second committer while the first still carries one of that shard.
    SplitShard,
    /// When one committer's batch is durable, what the other's lets out leaves too.
    ReleaseBeside,
    /// A batch of unknown outcome is written again behind the tail.
    ReinsertBlindly,
    /// Keys are neither looked up nor unique.
    ForgetKeys,
    /// Retention does not wait for its time.
    ExpireEarly,
    /// Retention takes what has not changed for a minute, ended or not.
    ExpireActive,
    /// Retention takes children that may still have to be undone.
    ExpireProvisional,
    /// Retention takes a parent as soon as its own definition lets it go.
    ExpireParent,
    /// Retention takes the rows that fence a deposed owner off.
    ExpireFence,
    /// A key is free when its saga has ended.
    FreeKeyAtEnd,
    /// A key stays when its saga has expired.
    KeepKey,
    /// Nobody looks for what has expired.
    ForgetRetention,
    /// Retries do not wait for their time.
    RetryTooEarly,
    /// An incident is not recorded.
    SwallowIncident,
    /// The barrier leaves no tombstone.
    ForgetTombstone,
    /// Participants obey deposed owners.
    ForgetEpochs,
    /// Participants do not say in which epoch they were asked.
    WithholdEpochs,
    /// The state of a saga's row is not updated.
    ForgetSagaRow,
    /// Sleeps are shorter than the definition says: the shard is handed one that says so.
    SleepShort,
    /// Shards are told a time that has not come.
    HurryClock,
    /// An operation has one attempt less than its policy grants.
    GiveUpEarly,
    /// The dispatcher holds back the compensations of a saga that is parked.
    HoldCompensations,
    /// A result of an undone saga's step is answered and forgotten before it is recorded, when the lane is busy.
    ShedResults,
}
