//! How planted bugs change what the pump hands on, and the test that the checker sees each of them.

use std::sync::Arc;

use amends_core::OperationKind;
use amends_core::fact::Fact;
use amends_core::journal::ShardBatch;
use amends_core::shard::Command;
use amends_definitions::{Definition, from_normal_form, to_normal_form};

use crate::plant::Plant;

/// The definition as a shard with this bug sees it.
pub fn definition(definition: &Arc<Definition>, plant: Option<Plant>) -> Arc<Definition> {
    let changed = match plant {
        Some(Plant::CompensateInAnyOrder) => {
            to_normal_form(definition).replace("\"order\":\"reverse\"", "\"order\":\"parallel\"")
        }
        Some(Plant::RetryTooEarly) => to_normal_form(definition)
            .replace("\"initialInterval\":\"1s\"", "\"initialInterval\":\"10ms\"")
            .replace("\"initialInterval\":\"2s\"", "\"initialInterval\":\"10ms\""),
        _ => return Arc::clone(definition),
    };
    Arc::new(from_normal_form(changed.as_bytes()).expect("it is still a definition"))
}

/// The batch as a pump with this bug hands it to the store.
pub fn rewrite(batch: &mut ShardBatch, plant: Plant) {
    for row in &mut batch.rows {
        match plant {
            Plant::AcceptLateResult => {
                for fact in &mut row.facts {
                    if let Fact::LateResult { ended, .. } = fact {
                        *fact = Fact::AttemptEnded(ended.clone());
                    }
                }
            }
            Plant::SwallowIncident => {
                if row.facts.len() > 1 {
                    row.facts
                        .retain(|fact| !matches!(fact, Fact::IncidentOpened(_)));
                }
            }
            _ => {}
        }
    }
}

/// The command as a dispatcher with this bug sends it.
pub fn command(command: Arc<Command>, plant: Option<Plant>) -> Arc<Command> {
    if plant == Some(Plant::RepeatAttemptNumber)
        && command.attempt > 1
        && command.key.operation == OperationKind::Forward
    {
        let mut changed = Command::clone(&command);
        changed.attempt -= 1;
        return Arc::new(changed);
    }
    command
}
