//! One attempt from its command to its outcome. Nothing here knows of streams or of other attempts.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use amends_proto::v1;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::action::Action;
use crate::context::{AttemptKey, Context};
use crate::fail::Fail;
use crate::outcome::Answer;

/// An attempt that is about to run.
pub(super) struct Attempt {
    pub(super) command: v1::Command,
    /// Absent where the participant does not serve it.
    pub(super) action: Option<Action>,
    pub(super) cancellation: CancellationToken,
    pub(super) heartbeats: mpsc::UnboundedSender<AttemptKey>,
    /// How long after its deadline it is dropped.
    pub(super) abandon_after: Duration,
}

impl Attempt {
    pub(super) fn span(&self) -> tracing::Span {
        let command = &self.command;
        tracing::info_span!(
            "attempt",
            saga = command.saga,
            step = command.step,
            action = command.action,
            attempt = command.attempt,
            operation_key = command.operation_key,
            traceparent = command.traceparent,
        )
    }

    /// Runs it to its end. It always has one.
    pub(super) async fn run(self) -> v1::AttemptOutcome {
        let operation_key = self.command.operation_key.clone();
        let (attempt, epoch) = (self.command.attempt, self.command.epoch);
        let begin_time = Some(SystemTime::now().into());
        let answer = perform(self).await;
        tracing::debug!(outcome = ?answer.outcome, verdict = ?answer.verdict, "attempt ended");
        let (outcome, verdict) = answer.into_wire();
        v1::AttemptOutcome {
            operation_key,
            attempt,
            epoch,
            outcome: Some(outcome),
            verdict: verdict.into(),
            begin_time,
            end_time: Some(SystemTime::now().into()),
        }
    }
}

/// Runs the handler, cancels it at its deadline, and drops it a while later.
async fn perform(attempt: Attempt) -> Answer {
    let Attempt {
        command,
        action,
        cancellation,
        heartbeats,
        abandon_after,
    } = attempt;
    let (input, name) = (command.input.clone(), command.action.clone());
    let Some(action) = action else {
        let text = format!("this participant does not serve `{name}`");
        return Answer::fail(Fail::fatal("NO_SUCH_ACTION").message(text));
    };
    let context = Context::from_command(command, cancellation.clone(), Some(heartbeats));
    let Some(context) = context else {
        let text = "the command does not say which operation it asks for";
        return Answer::fail(Fail::fatal("NO_SUCH_OPERATION").message(text));
    };
    let deadline = context.deadline();
    let mut handler = pin!(action.invoke(context.clone(), input));
    let mut beats = Beats::new(&context);
    let beating = async {
        loop {
            tokio::select! {
                biased;
                answer = &mut handler => return answer,
                () = beats.next() => context.heartbeat(),
            }
        }
    };
    if let Ok(answer) = tokio::time::timeout_at(deadline.into(), beating).await {
        return answer;
    }
    cancellation.cancel();
    match tokio::time::timeout(abandon_after, handler).await {
        Ok(answer) => answer,
        Err(_) => Answer::fail(
            Fail::failed("DEADLINE_EXCEEDED")
                .message("the handler ran on behind its deadline and was dropped"),
        ),
    }
}

/// The times to say that an attempt is under way: three within its heartbeat timeout, none without one.
struct Beats(Option<tokio::time::Interval>);

impl Beats {
    fn new(context: &Context) -> Self {
        Self(context.heartbeat_timeout().map(|timeout| {
            let period = (timeout / 3).max(HEARTBEAT_MIN);
            let mut interval =
                tokio::time::interval_at(tokio::time::Instant::now() + period, period);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            interval
        }))
    }

    async fn next(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}

const HEARTBEAT_MIN: Duration = Duration::from_millis(10);
