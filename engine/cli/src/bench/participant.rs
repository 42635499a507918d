//! The process whose actions do next to nothing: they look over their input without keeping it, and answer with bytes that
//! were made once. Deliberately not here: when it is started, and what is read of its CPU time.

use std::sync::Arc;

use amends_sdk::{Context, Fail, Participant, ParticipantOptions};
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::companion::read_plan;
use super::plan::ParticipantPlan;
use super::workload::result;
use crate::arguments::Global;
use crate::children::stdin_closed;
use crate::exit::Exit;
use crate::failure::{Failure, chain};

/// What a server gives a participant at once, at most.
pub const CONCURRENCY_MAX: u32 = 10_000;

/// Serves until its parent is gone.
///
/// # Errors
/// If it cannot attach.
pub async fn run(global: &Global, plan: &str) -> Result<Exit, Failure> {
    let plan: ParticipantPlan = read_plan(plan)?;
    let participant = participant(&global.namespace, &plan)?;
    let ran = participant.run_until(&global.server, stdin_closed()).await;
    ran.map_err(|error| {
        Failure::wrong("the benchmark's participant could not attach").because(chain(&error))
    })?;
    Ok(Exit::Ok)
}

/// JSON that is written as it is.
#[derive(Clone)]
struct Made(Arc<RawValue>);

impl Serialize for Made {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// What serves, with as much at once as the plan says.
///
/// # Errors
/// If its result is no JSON.
pub fn participant(namespace: &str, plan: &ParticipantPlan) -> Result<Participant, Failure> {
    let options = ParticipantOptions {
        namespace: namespace.to_owned(),
        concurrency: plan.concurrency.clamp(1, CONCURRENCY_MAX) as usize,
        ..ParticipantOptions::default()
    };
    let made = RawValue::from_string(result());
    let made = made.map_err(|error| Failure::wrong("a result is no JSON").because(error))?;
    let made = Made(made.into());
    let work = move |_: Context, _: IgnoredAny| std::future::ready(Ok::<_, Fail>(made.clone()));
    let echo = |_: Context, input: Box<RawValue>| {
        std::future::ready(Ok::<_, Fail>(Made(Arc::from(input))))
    };
    let refuse = |_: Context, _: IgnoredAny| {
        std::future::ready(Err::<(), _>(
            Fail::rejected("SAID_NO").message("for measurements"),
        ))
    };
    Ok(Participant::new("bench")
        .action("work", work.clone())
        .action("undo", work)
        .action("echo", echo)
        .action("refuse", refuse)
        .options(options))
}
