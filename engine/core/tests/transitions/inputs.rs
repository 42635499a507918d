//! Each kind of input.

use std::time::Duration;

use amends_core::fact::{AttemptEnded, Fact, IncidentReason};
use amends_core::shard::{ChildState, Target, Verb};
use amends_core::{Outcome, Verdict};

use crate::cell::{
    About, COMPENSATE, Cell, FORWARD, compensated, completed, failed, not_found, order, payload,
    pinned, refused, rejected, signal, succeeded, target, terminated, unusable,
};

/// One kind of input: its name, and what comes of it.
pub struct Input {
    pub name: String,
    pub decide: Box<Decide>,
}

type Decide = dyn Fn(&mut Cell, About) -> Answer;

/// What is answered, and what is recorded.
pub struct Answer {
    pub said: String,
    pub facts: Vec<Fact>,
}

impl Input {
    fn new(name: impl Into<String>, decide: impl Fn(&mut Cell, About) -> Answer + 'static) -> Self {
        Self {
            name: name.into(),
            decide: Box::new(decide),
        }
    }
}

/// Each kind of input.
pub fn inputs() -> Vec<Input> {
    let mut inputs = of_participants();
    inputs.extend(of_clocks_and_clients());
    inputs.extend(of_children());
    inputs.extend(of_operators());
    inputs
}

fn of_participants() -> Vec<Input> {
    let mut inputs = Vec::new();
    for outcome in outcomes() {
        let name = format!("outcome {}", outcome.as_str());
        inputs.push(Input::new(name, move |cell, about| {
            let ended = cell.ended(about, outcome.clone());
            said(cell.decide(|decision| decision.outcome(ended)))
        }));
    }
    let mut changed = |name: &str, change: fn(&mut AttemptEnded)| {
        inputs.push(Input::new(format!("outcome {name}"), move |cell, about| {
            let mut ended = cell.ended(about, succeeded());
            change(&mut ended);
            said(cell.decide(|decision| decision.outcome(ended)))
        }));
    };
    changed("rejected by the barrier", |ended| {
        ended.outcome = rejected("NO");
        ended.verdict = Some(Verdict::First);
    });
    changed("succeeded, of the attempt before", |ended| {
        ended.attempt = ended.attempt.saturating_sub(1);
    });
    changed("succeeded, of an attempt never made", |ended| {
        ended.attempt += 1;
    });
    changed("succeeded, of the round before", |ended| {
        ended.round = ended.round.wrapping_sub(1);
    });
    inputs.push(Input::new("withdrawn", |cell, about| {
        let of = cell.ended(about, failed());
        done(cell.decide(|decision| {
            let code = "SCHEDULE_TIMEOUT";
            decision.withdrawn(of.place, of.operation, of.round, of.attempt, code);
        }))
    }));
    inputs
}

fn of_clocks_and_clients() -> Vec<Input> {
    let mut inputs = Vec::new();
    for (name, seconds) in [
        ("now", 0),
        ("an hour later", 3_600),
        ("a day later", 86_400),
        ("two months later", 60 * 86_400),
    ] {
        inputs.push(Input::new(format!("woken {name}"), move |cell, _| {
            cell.now = cell.now + Duration::from_secs(seconds);
            done(cell.decide(|decision| decision.wake()))
        }));
    }
    inputs.push(Input::new("turn granted", |cell, _| {
        done(cell.decide(|decision| decision.grant_turn()))
    }));
    inputs.push(Input::new("cancel", |cell, _| {
        said(cell.decide(|decision| decision.cancel("ann", "why")))
    }));
    inputs.push(Input::new("undone by the parent", |cell, _| {
        done(cell.decide(|decision| decision.undo("GONE", "why")))
    }));
    inputs.push(Input::new("parked from outside", |cell, _| {
        let reason = IncidentReason::RecordRefused;
        done(cell.decide(|decision| decision.park(reason, "too large")))
    }));
    for (name, id, dedupe) in [
        ("go", "go", None),
        ("go, a duplicate", "go", Some("d1")),
        ("undeclared", "stop", None),
    ] {
        inputs.push(Input::new(format!("signal {name}"), move |cell, _| {
            let signal = signal(id, dedupe);
            said(cell.decide(|decision| decision.signal(&signal)))
        }));
    }
    inputs
}

fn of_children() -> Vec<Input> {
    let answer = |(name, state): (&str, ChildState)| {
        Input::new(format!("child {name}"), move |cell: &mut Cell, _| {
            let answer = cell.child_answer(state.clone());
            done(cell.decide(|decision| decision.child_answered(&answer)))
        })
    };
    child_states().into_iter().map(answer).collect()
}

pub fn child_states() -> Vec<(&'static str, ChildState)> {
    vec![
        ("pinned", pinned()),
        ("under way", ChildState::UnderWay),
        ("completed", completed()),
        ("compensated", compensated()),
        ("refused", refused()),
        ("not found", not_found()),
        ("terminated", terminated()),
    ]
}

fn of_operators() -> Vec<Input> {
    let names = verbs(("hold", 0, FORWARD)).into_iter().enumerate();
    names
        .map(|(nth, (name, _))| {
            Input::new(format!("order {name}"), move |cell: &mut Cell, about| {
                let (_, verb) = verbs(about).swap_remove(nth);
                let order = order(verb);
                said(cell.decide(|decision| decision.order(&order)))
            })
        })
        .collect()
}

pub fn verbs(about: About) -> Vec<(&'static str, Verb)> {
    let target = || target(about);
    let forward = || Target {
        operation: FORWARD,
        ..target()
    };
    vec![
        (
            "retry",
            Verb::Retry {
                target: target(),
                input: None,
            },
        ),
        (
            "retry with another input",
            Verb::Retry {
                target: target(),
                input: Some(payload("{}")),
            },
        ),
        ("skip", Verb::Skip { target: forward() }),
        (
            "resolve",
            Verb::Resolve {
                target: target(),
                output: payload("{}"),
            },
        ),
        (
            "resolve as absent",
            Verb::ResolveAbsent { target: forward() },
        ),
        (
            "resolve as not undone",
            Verb::ResolveAbsent {
                target: Target {
                    operation: COMPENSATE,
                    ..target()
                },
            },
        ),
        (
            "resolve the saga",
            Verb::ResolveSaga {
                output: payload("{}"),
            },
        ),
        ("compensate", Verb::Compensate),
        ("pause", Verb::Pause),
        ("resume", Verb::Resume),
        ("terminate", Verb::Terminate),
    ]
}

fn said<T: std::fmt::Debug>((result, facts): (T, Vec<Fact>)) -> Answer {
    let text = format!("{result:?}");
    // The words of a refusal are not what this table is about.
    let text = text.split(", message:").next().unwrap_or_default();
    let said = text
        .replace("Err(Refused { code: ", "refused ")
        .replace('"', "");
    Answer { said, facts }
}

fn done(((), facts): ((), Vec<Fact>)) -> Answer {
    Answer {
        said: "-".into(),
        facts,
    }
}

pub fn outcomes() -> Vec<Outcome> {
    let (code, message) = ("TIMEOUT".to_owned(), "late".to_owned());
    vec![
        succeeded(),
        unusable(),
        rejected("NO"),
        failed(),
        Outcome::Fatal {
            code: code.clone(),
            message: message.clone(),
        },
        Outcome::Unknown { code, message },
        Outcome::NothingToUndo,
        Outcome::Superseded,
        Outcome::Absent,
    ]
}
