//! What can happen to a saga from outside.

use amends_core::{OperationKind, Place};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// An operation succeeds. A query: the action had its effect.
    Succeeds {
        /// Where.
        place: Place,
        /// Which operation.
        operation: OperationKind,
        /// Which of the step's sample outputs.
        variant: usize,
    },
    /// An action succeeds, or a child completes, and its answer lacks a field that expressions read.
    Lacks {
        /// Where.
        place: Place,
        /// Which field.
        field: String,
    },
    /// A participant says no, with this code: without effect.
    Rejects {
        /// Where.
        place: Place,
        /// Which operation.
        operation: OperationKind,
        /// The code.
        code: String,
    },
    /// It can never work: without effect.
    IsFatal {
        /// Where.
        place: Place,
        /// Which operation.
        operation: OperationKind,
    },
    /// An action has its effect, and its answer cannot be used.
    IsUnusable {
        /// Where.
        place: Place,
    },
    /// Every attempt fails, until the budget is spent.
    Fails {
        /// Where.
        place: Place,
        /// Which operation.
        operation: OperationKind,
        /// One of the attempts had its effect all the same.
        effect: bool,
    },
    /// Nobody hears of any attempt, until the budget is spent. The last one's result may still come.
    IsUnknown {
        /// Where.
        place: Place,
        /// Which operation.
        operation: OperationKind,
        /// One of the attempts had its effect.
        effect: bool,
    },
    /// Nobody hears of one attempt of an action, and it is tried again. The result may still come.
    IsLostOnce {
        /// Where.
        place: Place,
        /// The attempt had its effect.
        effect: bool,
    },
    /// A compensation finds nothing to undo.
    FindsNothing {
        /// Where.
        place: Place,
    },
    /// A query answers that there was no effect.
    IsAbsent {
        /// Where.
        place: Place,
    },
    /// The result of an attempt that was thought lost arrives.
    ArrivesLate {
        /// Where.
        place: Place,
        /// Which round.
        round: u32,
        /// Which attempt.
        attempt: u32,
    },
    /// A child saga's revision is found.
    ChildIsPinned {
        /// Where.
        place: Place,
    },
    /// There is no such child saga to be had.
    ChildIsRefused {
        /// Where.
        place: Place,
    },
    /// A child saga completes.
    ChildCompletes {
        /// Where.
        place: Place,
        /// Which of the step's sample outputs.
        variant: usize,
    },
    /// A child saga is undone: by itself going forward, or as its parent wishes.
    ChildIsUndone {
        /// Where.
        place: Place,
    },
    /// An operator gives a child saga up: nobody knows what is left of it.
    ChildIsGivenUp {
        /// Where.
        place: Place,
    },
    /// A signal comes.
    SignalComes {
        /// Its id.
        signal: String,
        /// Which of its sample payloads.
        variant: usize,
    },
    /// A signal comes that lacks a field that expressions read.
    SignalLacks {
        /// Its id.
        signal: String,
        /// Which field.
        field: String,
    },
    /// A compensation takes so long that something else happens first.
    TakesLong {
        /// Where.
        place: Place,
    },
    /// The next timer fires.
    TimePasses,
    /// The saga's deadline passes.
    DeadlinePasses,
    /// Somebody cancels the saga.
    IsCancelled,
}
