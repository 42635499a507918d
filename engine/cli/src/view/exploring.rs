//! What a simulation and an exploration look like.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use amends_verify::{Bound, Exploration, Simulation, WorstCase};
use serde::Serialize;

use crate::output::{View, plain};

/// One way through a saga.
#[derive(Debug, Serialize)]
pub struct Played {
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    facts: Vec<PlayedFact>,
}

#[derive(Debug, Serialize)]
struct PlayedFact {
    row: usize,
    after_ms: u64,
    kind: String,
    text: String,
}

impl Played {
    /// Of a simulation.
    #[must_use]
    pub fn of(played: &Simulation) -> Self {
        let began = played.lines.first().map(|line| line.at).unwrap_or_default();
        Self {
            state: played.saga.state().as_str().to_owned(),
            waits_for: played.waits_for.clone(),
            facts: played
                .lines
                .iter()
                .map(|line| PlayedFact {
                    row: line.row,
                    after_ms: millis(line.at.since(began)),
                    kind: line.kind.clone(),
                    text: line.text.clone(),
                })
                .collect(),
        }
    }
}

impl View for Played {
    fn table(&self) -> String {
        let mut out = String::new();
        let mut before = 0;
        for fact in &self.facts {
            let row = match fact.row {
                0 => "--".to_owned(),
                row if row == before => String::new(),
                row => row.to_string(),
            };
            before = fact.row;
            let after = in_words(Duration::from_millis(fact.after_ms));
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{row:>4}  {after:>9}  {}", plain(&fact.text));
        }
        let _ = match &self.waits_for {
            None => writeln!(out, "\n{}", self.state),
            Some(why) => writeln!(out, "\n{}: {}", self.state, plain(why)),
        };
        out
    }
}

/// Every way that a saga can go.
#[derive(Debug, Serialize)]
pub struct Found {
    definition: String,
    states: usize,
    transitions: usize,
    whole: bool,
    ends: BTreeMap<String, Vec<String>>,
    possible_leaks: BTreeMap<String, Vec<String>>,
    unassured: Vec<String>,
    assumed: Vec<String>,
    worst_case: Worst,
    violations: Vec<Broken>,
    #[serde(skip)]
    ways: bool,
}

#[derive(Debug, Serialize)]
struct Worst {
    until_decided: Limit,
    forward: Limit,
    backward: Limit,
}

#[derive(Debug, Serialize)]
struct Limit {
    #[serde(skip_serializing_if = "Option::is_none")]
    within_ms: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unbounded: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Broken {
    promise: String,
    shortest_way: Vec<String>,
}

impl Found {
    /// Of an exploration.
    #[must_use]
    pub fn of(name: &str, found: &Exploration, worst: &WorstCase, ways: bool) -> Self {
        Self {
            definition: name.to_owned(),
            states: found.states,
            transitions: found.transitions,
            whole: !found.truncated,
            ends: found
                .ends
                .iter()
                .map(|(words, end)| (words.clone(), end.trace.clone()))
                .collect(),
            possible_leaks: found.alarms.clone(),
            unassured: found.unassured.clone(),
            assumed: found.assumed.clone(),
            worst_case: Worst {
                until_decided: Limit::of(&worst.until_decided),
                forward: Limit::of(&worst.forward),
                backward: Limit::of(&worst.backward),
            },
            violations: found
                .violations
                .iter()
                .map(|broken| Broken {
                    promise: broken.promise.clone(),
                    shortest_way: broken.trace.clone(),
                })
                .collect(),
            ways,
        }
    }

    fn write_ends(&self, out: &mut String) {
        out.push_str("\nEvery end that can be reached:\n");
        for (words, way) in &self.ends {
            let _ = writeln!(out, "  {}", plain(words));
            if self.ways {
                write_way(out, way);
            }
        }
        if !self.unassured.is_empty() {
            out.push_str(
                "\nNo schema requires what expressions read here; each was left out, one at a time:\n",
            );
            for path in &self.unassured {
                let _ = writeln!(out, "  {}", plain(path));
            }
        }
        if !self.assumed.is_empty() {
            out.push('\n');
        }
        for what in &self.assumed {
            let _ = writeln!(out, "assumed: {}", plain(what));
        }
        if self.possible_leaks.is_empty() {
            return;
        }
        out.push_str(
            "\nWithout a barrier, a lost result that arrives after its step was undone raises an alarm (a possible\n\
             leaked effect) at:\n",
        );
        for (step, way) in &self.possible_leaks {
            let _ = writeln!(out, "  {}", plain(step));
            if self.ways {
                write_way(out, way);
            }
        }
    }
}

impl View for Found {
    fn table(&self) -> String {
        let mut out = String::new();
        let whole = if self.whole {
            "all of them were looked at"
        } else {
            "NOT all of them were looked at: there are more, see --states"
        };
        let _ = writeln!(
            out,
            "{}: {} states, {} transitions; {whole}",
            plain(&self.definition),
            self.states,
            self.transitions
        );
        self.write_ends(&mut out);
        out.push_str("\nAt worst, with participants attached and the server running:\n");
        for (what, limit) in [
            (
                "decided, done, undone or parked, after",
                &self.worst_case.until_decided,
            ),
            ("completed after", &self.worst_case.forward),
            ("undone, or parked, after", &self.worst_case.backward),
        ] {
            let _ = writeln!(out, "  {what} {}", limit.words());
        }
        if self.violations.is_empty() {
            out.push_str(if self.whole {
                "\nEvery promise holds.\n"
            } else {
                "\nINCOMPLETE: no promise is broken in the states that were looked at, and others were not.\n"
            });
            return out;
        }
        for broken in &self.violations {
            let _ = writeln!(
                out,
                "\nBROKEN: {}\n  by a shortest way:",
                plain(&broken.promise)
            );
            write_way(&mut out, &broken.shortest_way);
        }
        out
    }
}

impl Limit {
    fn of(bound: &Bound) -> Self {
        match bound {
            Bound::Within(within) => Self {
                within_ms: Some(millis(*within)),
                unbounded: Vec::new(),
            },
            Bound::Unbounded(why) => Self {
                within_ms: None,
                unbounded: why.clone(),
            },
        }
    }

    fn words(&self) -> String {
        match self.within_ms {
            Some(within) => in_words(Duration::from_millis(within)),
            None => format!("no bound: {}", plain(&self.unbounded.join("; "))),
        }
    }
}

fn write_way(out: &mut String, way: &[String]) {
    for (number, what) in way.iter().enumerate() {
        let _ = writeln!(out, "    {}. {}", number + 1, plain(what));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `1d2h`, `30s`, `250ms`: the two largest units.
fn in_words(duration: Duration) -> String {
    let mut rest = millis(duration);
    let mut parts = Vec::new();
    for (unit, name) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
        (1, "ms"),
    ] {
        let count = rest / unit;
        rest %= unit;
        if count > 0 && parts.len() < 2 {
            parts.push(format!("{count}{name}"));
        }
    }
    if parts.is_empty() {
        "0s".to_owned()
    } else {
        parts.concat()
    }
}
