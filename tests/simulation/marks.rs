//! Coverage marks (I49): what a campaign is for has to happen in it. A campaign that does not meet a mark fails, and names it.
//! Deliberately not here: who meets them.

/// Something that every campaign has to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    // The store.
    StoreSlow,
    StoreAgain,
    StoreUnavailable,
    StoreUnknownLanded,
    StoreUnknownLost,
    StoreUnknownLandsAfterwards,
    StorePositionTaken,
    StorePositionTakenUnnamed,
    StoreKeyTaken,
    StoreDataRefused,
    StoreInputFoundByHalving,
    LookupStale,
    LookupFailed,
    LoadFailed,
    LoadOnDemand,
    TakeoverConflict,
    TakeoverUnknown,
    ResolvedCommitted,
    ResolvedRetaken,
    ResolvedLost,
    // Nodes.
    KilledBeforeCommit,
    KilledWithCommitUnderWay,
    KilledBeforeSend,
    KilledAfterSend,
    KilledWithResultInHand,
    KilledBeforeAcknowledgement,
    KilledBetweenCompensations,
    RestartTakesItsOwnLease,
    TakeoverByAnother,
    Paused,
    ZombieFenced,
    ZombieSends,
    LeaseStopsDispatch,
    ClockForward,
    ClockBackward,
    Darkness,
    RecoveredInPages,
    // Participants.
    Slow,
    DuplicateDelivery,
    Reordered,
    LateAfterCompensation,
    CrashBeforeCommit,
    CrashAfterCommit,
    PoisonStep,
    Rejected,
    Failed,
    Fatal,
    Unusable,
    AskedToWait,
    StreamLost,
    StreamExpired,
    ResentOnStream,
    NobodyServes,
    ResultRepeated,
    ResultOfOlderAttempt,
    ResultForged,
    ResultOfStranger,
    ResultOfOtherNamespace,
    BarrierDuplicate,
    BarrierNothingToUndo,
    BarrierSuperseded,
    FencedCommand,
    // Clients.
    StartRepeated,
    StartKeyReused,
    StartRetriedAfterUnknown,
    StartRefused,
    CancelAborted,
    CancelRepeated,
    CancelPending,
    CancelDropped,
    CancelTooLate,
    CancelEnded,
    CancelOfOtherNamespace,
    // What sagas meet.
    Completed,
    Compensated,
    Skipped,
    ExpressionFailed,
    AttemptTimeout,
    WithdrawnByScheduleTimeout,
    WithdrawnByTotalTimeout,
    WithdrawnByAbort,
    WithdrawnOvertaken,
    RetriesExhausted,
    CodeForbidsRetry,
    Settled,
    CompensationOfUnknown,
    CompensationRetried,
    CompensationRefused,
    CompensationLate,
    CompensationNothingToUndo,
    CompensationOfSuccess,
    UncompensatedStepPassed,
    LateResultWithoutLeak,
    LeakSaid,
    PivotInDoubt,
    PivotDoubtSettledLate,
    ParkedBehindPivot,
    RecordRefused,
    IncidentClosed,
}

impl Mark {
    /// Every mark, in the order of their declaration.
    pub const ALL: [Self; 99] = [
        Self::StoreSlow,
        Self::StoreAgain,
        Self::StoreUnavailable,
        Self::StoreUnknownLanded,
        Self::StoreUnknownLost,
        Self::StoreUnknownLandsAfterwards,
        Self::StorePositionTaken,
        Self::StorePositionTakenUnnamed,
        Self::StoreKeyTaken,
        Self::StoreDataRefused,
        Self::StoreInputFoundByHalving,
        Self::LookupStale,
        Self::LookupFailed,
        Self::LoadFailed,
        Self::LoadOnDemand,
        Self::TakeoverConflict,
        Self::TakeoverUnknown,
        Self::ResolvedCommitted,
        Self::ResolvedRetaken,
        Self::ResolvedLost,
        Self::KilledBeforeCommit,
        Self::KilledWithCommitUnderWay,
        Self::KilledBeforeSend,
        Self::KilledAfterSend,
        Self::KilledWithResultInHand,
        Self::KilledBeforeAcknowledgement,
        Self::KilledBetweenCompensations,
        Self::RestartTakesItsOwnLease,
        Self::TakeoverByAnother,
        Self::Paused,
        Self::ZombieFenced,
        Self::ZombieSends,
        Self::LeaseStopsDispatch,
        Self::ClockForward,
        Self::ClockBackward,
        Self::Darkness,
        Self::RecoveredInPages,
        Self::Slow,
        Self::DuplicateDelivery,
        Self::Reordered,
        Self::LateAfterCompensation,
        Self::CrashBeforeCommit,
        Self::CrashAfterCommit,
        Self::PoisonStep,
        Self::Rejected,
        Self::Failed,
        Self::Fatal,
        Self::Unusable,
        Self::AskedToWait,
        Self::StreamLost,
        Self::StreamExpired,
        Self::ResentOnStream,
        Self::NobodyServes,
        Self::ResultRepeated,
        Self::ResultOfOlderAttempt,
        Self::ResultForged,
        Self::ResultOfStranger,
        Self::ResultOfOtherNamespace,
        Self::BarrierDuplicate,
        Self::BarrierNothingToUndo,
        Self::BarrierSuperseded,
        Self::FencedCommand,
        Self::StartRepeated,
        Self::StartKeyReused,
        Self::StartRetriedAfterUnknown,
        Self::StartRefused,
        Self::CancelAborted,
        Self::CancelRepeated,
        Self::CancelPending,
        Self::CancelDropped,
        Self::CancelTooLate,
        Self::CancelEnded,
        Self::CancelOfOtherNamespace,
        Self::Completed,
        Self::Compensated,
        Self::Skipped,
        Self::ExpressionFailed,
        Self::AttemptTimeout,
        Self::WithdrawnByScheduleTimeout,
        Self::WithdrawnByTotalTimeout,
        Self::WithdrawnByAbort,
        Self::WithdrawnOvertaken,
        Self::RetriesExhausted,
        Self::CodeForbidsRetry,
        Self::Settled,
        Self::CompensationOfUnknown,
        Self::CompensationRetried,
        Self::CompensationRefused,
        Self::CompensationLate,
        Self::CompensationNothingToUndo,
        Self::CompensationOfSuccess,
        Self::UncompensatedStepPassed,
        Self::LateResultWithoutLeak,
        Self::LeakSaid,
        Self::PivotInDoubt,
        Self::PivotDoubtSettledLate,
        Self::ParkedBehindPivot,
        Self::RecordRefused,
        Self::IncidentClosed,
    ];
}

/// How often each mark was met.
#[derive(Clone, Debug)]
pub struct Marks([u64; Mark::ALL.len()]);

impl Default for Marks {
    fn default() -> Self {
        Self([0; Mark::ALL.len()])
    }
}

impl Marks {
    pub fn hit(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    pub fn hit_if(&mut self, met: bool, mark: Mark) {
        if met {
            self.hit(mark);
        }
    }

    pub fn count(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}
