//! Plays a run: its script, line by line. What can stand in a script is the table in `main`.

use std::sync::Arc;
use std::time::Duration;

use amends_core::shard::{Input, Order, Signal, Target, Token, Verb};
use amends_core::{OperationKind, SagaId, Time};

use crate::case::{Case, Crashes, Run};
use crate::participants::{AGAIN, Participants, payload};
use crate::stage::{CrashAt, FOREVER, Stage, Strikes};

/// Plays a run, with a crash if one is wanted.
pub fn play(case: &Case, run: &Run, crash_at: Option<CrashAt>) -> Stage {
    let participants = Participants::new(&run.participants);
    let mut stage = Stage::new(&case.definitions, participants, run.deliveries, crash_at);
    let usual = ["start {}".to_owned(), "settle".to_owned()];
    let script = if run.script.is_empty() {
        &usual
    } else {
        &run.script[..]
    };
    for line in script {
        let mut player = Player {
            case,
            stage: &mut stage,
            line,
        };
        player.line();
    }
    stage
}

/// A run's judgement: what is not as its file says, in words that can stand in the file.
pub fn judge(case: &Case, run: &Run) -> Result<(), String> {
    let stage = play(case, run, None);
    let mut found = Vec::new();
    compare(&mut found, "calls", &run.calls, &stage.participants.calls);
    compare(&mut found, "history", &run.history, &stage.history);
    ends_as_said(&mut found, run, &stage);
    if found.is_empty() && run.crashes != Crashes::None {
        crash_everywhere(&mut found, case, run, &stage);
    }
    let title = format!("{}, run `{}`:\n", case.name, run.name);
    if found.is_empty() {
        return Ok(());
    }
    Err(title + &found.join("\n"))
}

fn compare(found: &mut Vec<String>, what: &str, expected: &[String], actual: &[String]) {
    if expected != actual {
        let at = expected
            .iter()
            .zip(actual)
            .take_while(|(a, b)| a == b)
            .count();
        found.push(format!(
            "the {what} differ from line {} on; they are\n=== {what}\n{}\n",
            at + 1,
            actual.join("\n")
        ));
    }
}

fn ends_as_said(found: &mut Vec<String>, run: &Run, stage: &Stage) {
    let root = stage.root();
    let state = stage.state(root).map_or("absent", |state| state.as_str());
    if state != run.end {
        found.push(format!("it ends {state}, not {}", run.end));
    }
    let ledger = stage.participants.ledger();
    if ledger != run.ledger {
        found.push(format!("the ledger's sum is {ledger}, not {}", run.ledger));
    }
    let saga = stage.folded(root);
    let incidents: Vec<_> = saga.incidents().iter().collect();
    let reasons: Vec<_> = incidents
        .iter()
        .map(|open| open.incident.reason.as_str())
        .collect();
    if reasons != run.incident.iter().map(String::as_str).collect::<Vec<_>>() {
        found.push(format!(
            "its incidents are {reasons:?}, not {:?}",
            run.incident
        ));
    }
    if run.ledger == 0 {
        let compensated = stage
            .sagas()
            .filter(|(_, state)| state.as_str() == "compensated");
        for (saga, _) in compensated {
            let left = stage.participants.left_of(saga);
            if !left.is_empty() {
                found.push(format!("it is compensated, and left {left:?}"));
            }
        }
    }
}

/// The same with a crash at each row, at each point that there is around it.
fn crash_everywhere(found: &mut Vec<String>, case: &Case, run: &Run, straight: &Stage) {
    for row in 1..=straight.rows {
        for strikes in Strikes::ALL {
            let stage = play(case, run, Some(CrashAt { row, strikes }));
            assert!(stage.crashed, "{}: no crash at row {row}", case.name);
            let mut worse = Vec::new();
            ends_as_said(&mut worse, run, &stage);
            if run.crashes == Crashes::Same {
                let calls = once_each(&stage.participants.calls);
                compare(&mut worse, "calls", &once_each(&run.calls), &calls);
            }
            if !worse.is_empty() {
                found.push(format!("with a crash at row {row}, {strikes:?}:"));
                found.append(&mut worse);
                found.push(format!("history:\n{}", stage.history.join("\n")));
                return;
            }
        }
    }
}

/// Calls without those that their participant recognised, and without repetitions: a crash makes a call again whose answer
/// is not recorded yet.
pub fn once_each(calls: &[String]) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for call in calls.iter().filter(|call| !call.ends_with(AGAIN)) {
        if !once.contains(call) {
            once.push(call.clone());
        }
    }
    once
}

struct Player<'a> {
    case: &'a Case,
    stage: &'a mut Stage,
    line: &'a str,
}

impl Player<'_> {
    fn line(&mut self) {
        let (said, wanted) = match self.line.split_once(" => ") {
            Some((said, wanted)) => (said, Some(wanted)),
            None => (self.line, None),
        };
        let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
        match word {
            "go" => self.go(rest),
            "pass" => self.pass(duration(rest)),
            "settle" => self.settle(),
            "crash" => self.stage.crash(),
            "arrive" => self.stage.arrive(rest),
            "answer" => self.stage.answer(rest),
            "expect" => self.expect(rest),
            "calls" => {
                let last = self.stage.participants.calls.last().map_or("", |call| call);
                assert_eq!(last, rest, "{}: the last call", self.case.name);
            }
            _ => {
                let mut token = self.input(word, rest);
                if self.stage.forgot() && !self.stage.told.contains_key(&token) {
                    // Who got no answer asks again.
                    token = self.input(word, rest);
                }
                self.answered(token, wanted);
            }
        }
    }

    fn answered(&mut self, token: u64, wanted: Option<&str>) {
        let said = match self.stage.told.remove(&token) {
            // What the crash struck was recorded, and its answer was lost.
            None if self.stage.crashed => return,
            None => panic!("{}: nothing answers `{}`", self.case.name, self.line),
            Some(Ok(said)) => said,
            Some(Err(refusal)) => format!("refused {refusal}"),
        };
        let fits = match wanted {
            Some(wanted) => said == wanted,
            None => !said.starts_with("refused"),
        };
        assert!(
            fits,
            "{}: `{}` was answered: {said}",
            self.case.name, self.line
        );
    }

    fn expect(&self, wanted: &str) {
        let saga = self.stage.folded(self.stage.root());
        let state = saga.state().as_str();
        assert_eq!(state, wanted, "{}: `{}`", self.case.name, self.line);
    }

    /// Carries out what is on its way; up to a call, or past it, if one is named.
    fn go(&mut self, rest: &str) {
        let (how, action) = rest.split_once(' ').unwrap_or((rest, ""));
        for _ in 0..10_000 {
            let next = self
                .stage
                .out
                .front()
                .map(|command| command.action.as_str().to_owned());
            match (how, next) {
                (_, None) => {
                    assert!(
                        how.is_empty(),
                        "{}: `{}` never comes",
                        self.case.name,
                        self.line
                    );
                    return;
                }
                ("until", Some(next)) if next == action => return,
                ("past", Some(next)) if next == action => return self.stage.deliver(),
                _ => self.stage.deliver(),
            }
        }
        panic!("{}: there is no end of commands", self.case.name);
    }

    fn go_on(&mut self) {
        while !self.stage.out.is_empty() {
            self.stage.deliver();
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.stage.now + time;
        self.go_on();
        while let Some(at) = self.stage.next_wake().filter(|at| *at <= until) {
            self.wake(at);
        }
        self.stage.now = until;
        self.stage.run();
        self.go_on();
    }

    fn wake(&mut self, at: Time) {
        self.stage.now = self.stage.now.max(at);
        self.stage.run();
        self.go_on();
    }

    /// Time passes until every saga has ended, or the case's own is parked, or nothing is left to wait for.
    fn settle(&mut self) {
        self.go_on();
        let latest = self.stage.now + FOREVER;
        for _ in 0..500 {
            let root = self.stage.root();
            let parked = self
                .stage
                .state(root)
                .is_some_and(|state| state.as_str() == "parked");
            let over = self.stage.sagas().all(|(_, state)| state.is_terminal());
            let next = self.stage.next_wake().filter(|at| *at <= latest);
            match next {
                Some(at) if !parked && !over => self.wake(at),
                _ => return,
            }
        }
        panic!("{}: it never settles", self.case.name);
    }

    /// Something that a client or an operator does; the answer's token.
    fn input(&mut self, word: &str, rest: &str) -> u64 {
        if word == "start" {
            let (key, input) = match rest
                .strip_prefix("key=")
                .and_then(|rest| rest.split_once(' '))
            {
                Some((key, input)) => (Some(key), input),
                None => (None, rest),
            };
            let name = self.case.definitions[0].name().to_owned();
            return self.stage.start(&name, input, key);
        }
        let token = self.stage.token();
        let saga = self.stage.root();
        let input = match word {
            "cancel" => Input::Cancel {
                token: Token(token),
                namespace: "default".into(),
                saga,
                by: "ann".into(),
                reason: "changed her mind".into(),
            },
            "signal" => self.signal(token, saga, rest),
            _ => Input::Order {
                token: Token(token),
                order: Box::new(Order {
                    namespace: "default".into(),
                    saga,
                    by: "ann".into(),
                    reason: "because".into(),
                    dry_run: false,
                    verb: self.verb(word, rest),
                }),
            },
        };
        self.stage.handle(saga.shard(), input);
        token
    }

    fn signal(&self, token: u64, saga: SagaId, rest: &str) -> Input {
        let (signal, json) = rest.split_once(' ').expect("`signal name payload`");
        Input::Signal {
            token: Token(token),
            signal: Box::new(Signal {
                namespace: "default".into(),
                saga,
                signal: signal.into(),
                payload: payload(json),
                by: "ann".into(),
                dedupe_id: None,
            }),
        }
    }

    fn verb(&self, word: &str, rest: &str) -> Verb {
        match word {
            "retry" => {
                let (target, input) = target(rest);
                let input = input.map(payload);
                Verb::Retry { target, input }
            }
            "skip" => Verb::Skip {
                target: target(rest).0,
            },
            "resolve-saga" => Verb::ResolveSaga {
                output: payload(rest),
            },
            "resolve" => {
                let (target, output) = target(rest);
                let output = payload(output.unwrap_or("null"));
                Verb::Resolve { target, output }
            }
            "absent" => Verb::ResolveAbsent {
                target: target(rest).0,
            },
            "compensate" => Verb::Compensate,
            "pause" => Verb::Pause,
            "resume" => Verb::Resume,
            "terminate" => Verb::Terminate,
            _ => panic!("{}: no line of a script: {}", self.case.name, self.line),
        }
    }
}

/// `step[item] forward|compensate json`.
fn target(text: &str) -> (Target, Option<&str>) {
    let mut parts = text.splitn(3, ' ');
    let named = parts.next().expect("a step");
    let (step, item) = match named.split_once('[') {
        Some((step, item)) => (step, item.trim_end_matches(']').parse().expect("an item")),
        None => (named, 0),
    };
    let operation = OperationKind::parse(parts.next().unwrap_or("forward")).expect("an operation");
    let target = Target {
        step: Arc::from(step),
        item,
        operation,
    };
    (target, parts.next())
}

fn duration(text: &str) -> Duration {
    let at = text.find(|c: char| !c.is_ascii_digit()).expect("a unit");
    let count: u64 = text[..at].parse().expect("a number");
    match &text[at..] {
        "ms" => Duration::from_millis(count),
        "s" => Duration::from_secs(count),
        "m" => Duration::from_secs(count * 60),
        "h" => Duration::from_secs(count * 3_600),
        "d" => Duration::from_secs(count * 86_400),
        unit => panic!("no unit: {unit}"),
    }
}
