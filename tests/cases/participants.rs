//! The participants of a case: they do what its file says, keep a ledger, and note in which order they were called. Those
//! of `bare` stand behind no barrier: they take an operation key once, and know nothing of late actions.

use std::collections::BTreeMap;

use amends_core::shard::Command;
use amends_core::{OperationKind, Outcome, SagaId, Verdict};
use amends_definitions::Payload;

use crate::case::{Behaviour, Does};

/// What a participant says.
pub type Answer = (Outcome, Option<Verdict>);

/// What becomes of a command that is delivered.
pub enum Delivered {
    Answered(Answer),
    /// The answer waits for the script.
    AnswerHeld(Answer),
    /// The command itself waits for the script.
    Held,
    /// Nobody hears of it again.
    Lost,
}

#[derive(Default)]
pub struct Participants {
    behaviours: Vec<Behaviour>,
    /// What each operation came to, by its key.
    recorded: BTreeMap<String, Outcome>,
    /// What each action has booked and its compensation has not taken back, by the action's key.
    booked: BTreeMap<String, (SagaId, i64)>,
    /// In the order of the participants.
    pub calls: Vec<String>,
}

pub fn is_bare(action: &str) -> bool {
    action.starts_with("bare.")
}

impl Participants {
    pub fn new(behaviours: &[Behaviour]) -> Self {
        Self {
            behaviours: behaviours.to_vec(),
            ..Self::default()
        }
    }

    /// A command comes to its participant.
    pub fn deliver(&mut self, command: &Command) -> Delivered {
        match self.behaviour(command) {
            Does::GetsLost => Delivered::Lost,
            Does::ArriveLate => Delivered::Held,
            Does::AnswerLate => Delivered::AnswerHeld(self.run(command)),
            Does::AnswerLost => {
                self.run(command);
                Delivered::Lost
            }
            _ => Delivered::Answered(self.run(command)),
        }
    }

    fn behaviour(&self, command: &Command) -> Does {
        let fits = |behaviour: &&Behaviour| {
            behaviour.action == command.action.as_str()
                && behaviour.item.is_none_or(|item| item == command.key.item)
                && behaviour.round.is_none_or(|at| at == command.key.round)
                && behaviour
                    .attempts
                    .is_none_or(|(from, to)| (from..=to).contains(&command.attempt))
        };
        let found = self.behaviours.iter().find(fits);
        found.map_or(Does::Succeed(None), |behaviour| behaviour.does.clone())
    }

    /// It is carried out, or is found to have been.
    pub fn run(&mut self, command: &Command) -> Answer {
        let bare = is_bare(command.action.as_str());
        let key = command.key.to_string();
        let answer = match self.recorded.get(&key) {
            Some(known) => {
                let verdict = match known {
                    Outcome::Superseded => Verdict::Superseded,
                    _ => Verdict::Duplicate,
                };
                (known.clone(), Some(verdict))
            }
            None => {
                let answer = self.first(command, bare);
                if is_kept(&answer.0, command.forward_key.is_none()) {
                    self.recorded.insert(key, answer.0.clone());
                }
                answer
            }
        };
        self.note(command, &answer);
        (answer.0, answer.1.filter(|_| !bare))
    }

    /// The operation was not carried out before.
    fn first(&mut self, command: &Command, bare: bool) -> Answer {
        let refusal = |code: String| (code, "said the participant".to_owned());
        match self.behaviour(command) {
            Does::Reject(code) => {
                let (code, message) = refusal(code);
                return (Outcome::Rejected { code, message }, Some(Verdict::First));
            }
            Does::Fatal(code) => {
                let (code, message) = refusal(code);
                return (Outcome::Fatal { code, message }, None);
            }
            Does::Fail(code) => return (failed(code), None),
            Does::Absent => return (Outcome::Absent, None),
            Does::FailWithEffect(code) => {
                assert!(bare, "a barrier takes the effect of a failure back");
                self.perform(command, bare);
                return (failed(code), None);
            }
            Does::Succeed(_)
            | Does::GetsLost
            | Does::AnswerLost
            | Does::ArriveLate
            | Does::AnswerLate => {}
        }
        self.perform(command, bare)
    }

    fn perform(&mut self, command: &Command, bare: bool) -> Answer {
        let output = match self.behaviour(command) {
            Does::Succeed(Some(json)) => payload(&json),
            _ => payload("{}"),
        };
        let succeeded = (Outcome::Succeeded { output }, Some(Verdict::First));
        let Some(forward) = &command.forward_key else {
            let booking = (command.key.saga, amount(&command.input));
            self.booked.insert(command.key.to_string(), booking);
            return succeeded;
        };
        if command.key.operation == OperationKind::Query {
            return succeeded;
        }
        let forward = forward.to_string();
        let done = self.booked.remove(&forward).is_some();
        if bare || done {
            return succeeded;
        }
        // The barrier: what did not happen before its compensation never will.
        self.recorded.entry(forward).or_insert(Outcome::Superseded);
        (Outcome::NothingToUndo, Some(Verdict::NothingToUndo))
    }

    fn note(&mut self, command: &Command, (outcome, verdict): &Answer) {
        let mut line = command.action.as_str().to_owned();
        if command.key.item > 0 {
            line.push_str(&format!("[{}]", command.key.item));
        }
        if command.key.round > 0 {
            line.push_str(&format!("@{}", command.key.round));
        }
        if command.attempt > 1 {
            line.push_str(&format!("#{}", command.attempt));
        }
        match (verdict, outcome) {
            (Some(Verdict::Duplicate), _) => line.push_str(AGAIN),
            (_, Outcome::Succeeded { .. }) => {}
            (_, outcome) => {
                let code = outcome.error().map_or("", |(code, _)| code);
                let said = format!(" -> {} {code}", outcome.as_str());
                line.push_str(said.trim_end());
            }
        }
        self.calls.push(line);
    }

    /// The sum over everything that is booked.
    pub fn ledger(&self) -> i64 {
        self.booked.values().map(|(_, amount)| amount).sum()
    }

    /// The actions of a saga that are done and not undone.
    pub fn left_of(&self, saga: SagaId) -> Vec<&str> {
        let of = self.booked.iter().filter(|(_, (of, _))| *of == saga);
        of.map(|(key, _)| key.as_str()).collect()
    }
}

/// How a repetition ends that the participant recognised.
pub const AGAIN: &str = " (again)";

/// A compensation that was refused runs again in a later attempt.
fn is_kept(outcome: &Outcome, forward: bool) -> bool {
    match outcome {
        Outcome::Succeeded { .. } | Outcome::NothingToUndo | Outcome::Superseded => true,
        Outcome::Rejected { .. } => forward,
        _ => false,
    }
}

fn failed(code: String) -> Outcome {
    Outcome::Failed {
        code,
        message: "said the participant".to_owned(),
        retry_after: None,
    }
}

/// What an action books: its input's `amount`, or 1.
fn amount(input: &Payload) -> i64 {
    let input: serde_json::Value =
        serde_json::from_slice(input.as_bytes()).expect("inputs are JSON");
    input["amount"].as_i64().unwrap_or(1)
}

pub fn payload(json: &str) -> Payload {
    Payload::check(json.to_owned().into_bytes().into())
        .unwrap_or_else(|e| panic!("no payload: {json}: {e}"))
}
