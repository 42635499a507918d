//! What the orchestrator tells `tracing`, each as one function, so that names and fields stay the same everywhere. Lifecycle
//! is `info`, what a person should look at is `warn` or `error`, what happens to a saga is `debug`. The core does not log.

use amends_core::saga::Saga;
use amends_core::shard::Acknowledged;
use amends_core::{OperationKey, SagaId, ShardId, Time};
use tracing::{Span, debug, debug_span, error, info, warn};

/// The whole chain of an error as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

pub(crate) fn clock_jumped(before: Time, sample: Time) {
    warn!(%before, database = %sample, "the database's clock jumped: timers are early or late by as much");
}

pub(crate) fn waiting_for_shards(wanted: usize, claimed: usize) {
    info!(
        wanted,
        claimed, "another live node holds shards: waiting for its lease to end"
    );
}

pub(crate) fn nobody_serves(namespace: &str, action: &str) {
    warn!(
        namespace,
        action, "no participant offers this action: its commands wait until one attaches"
    );
}

pub(crate) fn node_started(node: &str, shards: usize, lanes: usize) {
    info!(node, shards, lanes, "the node owns its shards");
}

pub(crate) fn shard_stopped(shard: ShardId, reason: &str) {
    error!(%shard, reason, "a shard is stopped: its journal cannot be read past this");
}

pub(crate) fn shard_lost(shard: ShardId) {
    error!(%shard, "a shard has another owner");
}

pub(crate) fn shard_retaken(shard: ShardId, epoch: u64) {
    info!(%shard, epoch, "a batch was lost and cannot land any more: its inputs are decided again");
}

pub(crate) fn recovered(shard: ShardId, sagas: usize) {
    if sagas > 0 {
        info!(%shard, sagas, "active sagas are back in memory");
    }
}

pub(crate) fn store_down(lane: usize, error: &dyn std::error::Error) {
    warn!(
        lane,
        error = chain(error),
        "the store takes no writes: starts are refused until it does"
    );
}

pub(crate) fn store_back(lane: usize) {
    info!(lane, "the store takes writes again");
}

pub(crate) fn store_failed(doing: &'static str, error: &dyn std::error::Error) {
    warn!(doing, error = chain(error), "the store did not answer");
}

pub(crate) fn batch_unknown(lane: usize, error: &dyn std::error::Error) {
    warn!(
        lane,
        error = chain(error),
        "nobody knows whether a batch was written: finding out"
    );
}

pub(crate) fn data_refused(shard: ShardId, inputs: usize, message: &str) {
    warn!(%shard, inputs, message, "the store refuses data: narrowing it down to one input");
}

pub(crate) fn input_refused(shard: ShardId, message: &str) {
    error!(%shard, message, "the store refuses the data of one input: its saga parks");
}

pub(crate) fn lease_late() {
    warn!("the lease could not be renewed in time: no command leaves until it is");
}

pub(crate) fn lease_renewed_again() {
    info!("the lease is renewed again");
}

pub(crate) fn node_failed(why: &dyn std::error::Error) {
    error!(error = chain(why), "the node cannot go on");
}

pub(crate) fn draining() {
    info!("draining: no new starts, no new commands");
}

pub(crate) fn drained(unanswered: usize) {
    info!(unanswered, "drained");
}

pub(crate) fn definition_applied(namespace: &str, name: &str, revision: u32, created: bool) {
    info!(
        namespace,
        definition = name,
        revision,
        created,
        "a definition was applied"
    );
}

pub(crate) fn definition_deleted(namespace: &str, name: &str, revision: u32) {
    info!(
        namespace,
        definition = name,
        revision,
        "a revision was deleted"
    );
}

pub(crate) fn expired(sagas: u64) {
    info!(sagas, "sagas whose retention had passed were deleted");
}

pub(crate) fn session_attached(namespace: &str, participant: &str, instance: &str, in_hand: usize) {
    info!(
        namespace,
        participant, instance, in_hand, "a participant attached"
    );
}

pub(crate) fn session_lost(namespace: &str, participant: &str, instance: &str, in_flight: usize) {
    info!(
        namespace,
        participant, instance, in_flight, "a participant's stream ended"
    );
}

pub(crate) fn session_expired(
    namespace: &str,
    participant: &str,
    instance: &str,
    in_flight: usize,
) {
    warn!(
        namespace,
        participant, instance, in_flight, "a participant did not return: its attempts are unknown"
    );
}

/// Says what a saga is parked for. What was said when it had had so many incidents is not said again.
pub(crate) fn parked(id: SagaId, saga: &Saga, incidents_before: u32) {
    let new = saga.incidents().iter();
    for open in new.filter(|open| open.number > incidents_before) {
        let step = open
            .incident
            .place
            .map_or("", |place| saga.definition().step(place.step).id());
        let operation = open
            .incident
            .operation
            .map_or("", |operation| operation.as_str());
        let reason = open.incident.reason.as_str();
        warn!(saga = %id, step, operation, reason, message_text = open.incident.message, "a saga is parked");
    }
}

pub(crate) fn child_waits(why: &dyn std::error::Error) {
    warn!(
        error = chain(why),
        "a child saga cannot be asked for now: trying again"
    );
}

pub(crate) fn saga_changed(id: SagaId, state: &'static str) {
    debug!(saga = %id, state, "a saga changed");
}

/// Open from the sending of an attempt until its outcome arrives.
pub(crate) fn attempt_span(
    key: &OperationKey,
    attempt: u32,
    action: &str,
    instance: &str,
    traceparent: Option<&str>,
) -> Span {
    debug_span!(
        "attempt",
        saga = %key.saga,
        step = &*key.step,
        operation = key.operation.as_str(),
        attempt,
        action,
        instance,
        traceparent
    )
}

pub(crate) fn outcome_acknowledged(key: &OperationKey, attempt: u32, acknowledged: Acknowledged) {
    debug!(saga = %key.saga, step = &*key.step, operation = key.operation.as_str(), attempt, ?acknowledged, "an outcome was answered");
}
