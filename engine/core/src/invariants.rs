//! What must hold of a saga's state after every fact, as one function: asserted in debug builds after each decision, and
//! by tests and simulation. Numbers are those of the project's list of invariants.

use amends_definitions::{Compensation, CompensationOrder, StepIndex};

use crate::saga::state::End;
use crate::saga::{Phase, Saga};

/// Checks a state.
///
/// # Errors
/// The first invariant that does not hold, by number and in words.
pub fn check(saga: &Saga) -> Result<(), String> {
    check_end(saga)?;
    for (step, status) in saga.definition.step_indices().zip(&saga.steps) {
        let id = saga.definition.step(step).id();
        if status.itself.forward.attempt > 0 {
            let done = |need: &StepIndex| {
                matches!(
                    saga.steps[need.index()].itself.forward.phase,
                    Phase::Succeeded | Phase::Skipped
                )
            };
            if !saga.definition.graph().needs(step).iter().all(done) {
                return Err(format!(
                    "I8: {id} was scheduled before what it needs was done"
                ));
            }
        }
        check_compensation(saga, step)?;
        for operation in [&status.itself.forward, &status.itself.compensation] {
            if operation.attempt == 0 && !operation.unclear.is_empty() {
                return Err(format!("I10: {id} has an attempt in doubt and none made"));
            }
            if operation
                .unclear
                .iter()
                .any(|attempt| *attempt == 0 || *attempt > operation.attempt)
            {
                return Err(format!(
                    "I10: {id} has an attempt in doubt that was never made"
                ));
            }
        }
    }
    if saga.abort.is_some() && saga.past_point_of_no_return() {
        return Err("I25: aborted behind the point of no return".into());
    }
    if saga.abort.is_some() && saga.pivot_in_doubt() {
        return Err("I26: aborted while the pivot is in doubt".into());
    }
    Ok(())
}

fn check_end(saga: &Saga) -> Result<(), String> {
    let in_flight = saga.steps.iter().any(|status| {
        matches!(status.itself.forward.phase, Phase::Scheduled { .. })
            // A settle time may run on when a late refusal has shown that nothing is owed.
            || matches!(status.itself.compensation.phase, Phase::Scheduled { .. })
    });
    match &saga.end {
        None => Ok(()),
        Some(End::Completed(_) | End::Compensated) if in_flight => {
            Err("I1: ended with something in flight".into())
        }
        Some(End::Terminated(_)) => Ok(()),
        Some(End::Completed(_)) => {
            let done = saga.steps.iter().all(|status| {
                matches!(
                    status.itself.forward.phase,
                    Phase::Succeeded | Phase::Skipped
                )
            });
            if done && saga.abort.is_none() {
                Ok(())
            } else {
                Err("I2: completed with a step undone".into())
            }
        }
        Some(End::Compensated) => {
            let owed = saga
                .definition
                .step_indices()
                .find(|step| saga.owes_compensation(*step));
            match owed {
                Some(step) => Err(format!(
                    "I17: compensated, and {} is still owed",
                    saga.definition.step(step).id()
                )),
                None if saga.abort.is_none() => Err("I2: compensated without an abort".into()),
                None => Ok(()),
            }
        }
    }
}

fn check_compensation(saga: &Saga, step: StepIndex) -> Result<(), String> {
    let status = &saga.steps[step.index()];
    let id = saga.definition.step(step).id();
    if status.itself.compensation.attempt == 0 {
        return Ok(());
    }
    if saga.abort.is_none() {
        return Err(format!("I18: {id} is compensated without an abort"));
    }
    if status.itself.forward.attempt == 0 {
        return Err(format!("I18: {id} is compensated and was never scheduled"));
    }
    if !matches!(
        saga.definition.step(step).compensation(),
        Compensation::Call(_)
    ) {
        return Err(format!("I18: {id} is compensated and has no compensation"));
    }
    if saga.definition.compensation().order == CompensationOrder::Reverse {
        for later in saga.definition.graph().descendants(step) {
            if saga.owes_compensation(*later) {
                let later = saga.definition.step(*later).id();
                return Err(format!("I20: {id} is compensated before {later}"));
            }
        }
    }
    Ok(())
}
