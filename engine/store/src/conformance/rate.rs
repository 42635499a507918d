//! How fast a store appends: sagas of four transitions in batches of a given size, through one lane, without an engine.

use std::time::{Duration, Instant};

use amends_core::fact::AttemptEnded;
use amends_core::journal::SagaState;
use amends_core::{Fact, OperationKind, Outcome};
use amends_definitions::StepIndex;

use super::made::{AT, Writes, batch, payload_of, saga};
use crate::{Cause, Store, Takeover};

/// Journal rows per second: each saga is four rows, an insert and an update; 300 bytes of input, 200 of each result.
///
/// # Errors
/// What the store says.
pub async fn append_rate(
    store: &dyn Store,
    shard: u16,
    rows: u32,
    time: Duration,
) -> Result<u64, Cause> {
    let mut lane = store.open_lane().await?;
    let takeover = Takeover {
        shard: amends_core::ShardId(shard),
        position: 1,
        batch: uuid::Uuid::from_u128(1),
        node: "node-1".into(),
        at: AT,
    };
    lane.take_over(&[takeover]).await?;
    let sagas = rows / TRANSITIONS;
    let (mut position, began) = (2, Instant::now());
    let mut generation = 0;
    while began.elapsed() < time {
        let mut writes = Writes::at(shard, 1);
        for n in 0..sagas {
            writes = writes.start_with(
                position,
                saga(shard, generation * sagas + n),
                None,
                payload_of(300),
            );
            position += 1;
        }
        for behind in 1..TRANSITIONS.min(generation + 1) {
            for n in 0..sagas {
                let saga = saga(shard, (generation - behind) * sagas + n);
                writes = writes.row(position, saga, transition());
                position += 1;
                if behind + 1 == TRANSITIONS {
                    let at = AT + Duration::from_secs(u64::from(generation));
                    writes = writes
                        .update(saga, SagaState::Completed, None)
                        .kept(at, KEPT);
                }
            }
        }
        lane.append(&batch(u128::from(generation), [writes]))
            .await?;
        generation += 1;
    }
    let micros = began.elapsed().as_micros().max(1);
    Ok(u64::try_from(u128::from(position) * 1_000_000 / micros)?)
}

fn transition() -> Vec<Fact> {
    let (step, operation) = (StepIndex(0), OperationKind::Forward);
    let ended = AttemptEnded {
        place: step.into(),
        operation,
        round: 0,
        attempt: 1,
        outcome: Outcome::Succeeded {
            output: payload_of(200),
        },
        verdict: None,
        instance: Some("inventory-1".into()),
        sent_at: Some(AT),
        retry_at: None,
    };
    vec![
        Fact::AttemptEnded(ended),
        Fact::Scheduled {
            place: step.into(),
            operation,
            round: 0,
            input: payload_of(100),
        },
    ]
}

const TRANSITIONS: u32 = 4;
/// The language's default: every end brings its expiry.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
