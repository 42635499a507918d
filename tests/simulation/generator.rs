//! Random definitions: normal YAML text, checked like everybody's, so that what runs is the real language. Each construct has
//! its own function and its own chance; those of steps are in `steps`. That nothing of the language is left out is a test, in
//! `language`. Deliberately not here: what must be true of them.

#[cfg(test)]
mod language;
mod steps;

use std::fmt::Write as _;
use std::sync::Arc;

use amends_definitions::{Definition, check, render};

use crate::dice::Dice;

/// A definition and its text.
#[derive(Clone, Debug)]
pub struct Document {
    pub yaml: String,
    pub definition: Arc<Definition>,
}

/// The participants that exist: their names, and whether they stand behind a barrier.
pub const PARTICIPANTS: [(&str, bool); 4] = [
    ("ledger", true),
    ("stock", true),
    ("mail", false),
    ("bank", false),
];

/// The names of the definitions that others ask for as children. A leaf can always be undone, a branch too, and has children
/// of its own; a last one has a point of no return.
pub const LEAF: &str = "leaf";
pub const BRANCH: &str = "branch";
pub const LAST: &str = "last";

/// What a definition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// With everything.
    Whole,
    Leaf,
    Branch,
    Last,
}

/// Draws a document.
///
/// # Panics
/// If the language refuses it: then the generator is wrong, or the language.
pub fn document(dice: &mut Dice, name: &str) -> Document {
    let role = match name {
        LEAF => Role::Leaf,
        BRANCH => Role::Branch,
        LAST => Role::Last,
        _ => Role::Whole,
    };
    let yaml = Writer {
        dice,
        role,
        counting: Vec::new(),
    }
    .document(name);
    let checked = check(yaml.as_bytes());
    let Some(definition) = checked.definition else {
        let found = render("generated.saga.yaml", yaml.as_bytes(), &checked.diagnostics);
        panic!("the generator wrote what the language refuses:\n{found}\n{yaml}");
    };
    Document {
        yaml,
        definition: Arc::new(definition),
    }
}

struct Writer<'a> {
    dice: &'a mut Dice,
    role: Role,
    /// Steps whose output has a count.
    counting: Vec<String>,
}

impl Writer<'_> {
    fn is_whole(&self) -> bool {
        self.role == Role::Whole
    }

    fn document(&mut self, name: &str) -> String {
        let mut yaml = format!("apiVersion: amends/v1\nname: {name}\n");
        if self.dice.chance(100) {
            yaml += "version: \"7\"\ndescription: made by chance\nlabels: {team: simulation}\n";
        }
        if self.dice.chance(300) {
            yaml += "key: ${{ input.id }}\n";
        }
        if self.dice.chance(500) {
            let time = self.one_of(&["3s", "20s", "2m", "12h"]);
            let _ = writeln!(yaml, "retention: {time}");
        }
        if self.dice.chance(300) {
            yaml += "inputSchema: {type: object, required: [id, count], properties: {id: {type: string}, count: {type: integer}}}\n";
        }
        self.participants(&mut yaml);
        self.defaults(&mut yaml);
        self.turns(&mut yaml);
        self.policies(&mut yaml);
        yaml += "steps:\n";
        let pivot = match self.role {
            Role::Whole => self.dice.chance(600),
            Role::Last => true,
            Role::Leaf | Role::Branch => false,
        };
        let earlier = self.compensatable(&mut yaml);
        if pivot {
            self.pivot(&mut yaml, &earlier);
        }
        if pivot || self.is_whole() && self.dice.chance(250) {
            self.retriable(&mut yaml, &earlier, pivot);
        }
        let of = self.dice.pick(&earlier).map(|step| step.id().to_owned());
        self.output(&mut yaml, &of.expect("there is a step"));
        yaml
    }

    /// What the saga came to, which now and then has no value.
    fn output(&mut self, yaml: &mut String, of: &str) {
        let output = match self.dice.below(20) {
            0..6 => "{status: \"${{ steps.OF.status }}\", count: \"${{ input.count + 1 }}\"}",
            6 => "{share: \"${{ 12 / (input.count - 3) }}\", status: fine}",
            7 => {
                "{status: \"${{ saga.id }}\", key: \"${{ saga.key }}\", at: \"${{ saga.startedAt }}\"}"
            }
            _ => return,
        };
        let _ = writeln!(yaml, "output: {}", output.replace("OF", of));
    }

    /// What is expected of participants, and what holds for all calls of one.
    fn participants(&mut self, yaml: &mut String) {
        if !self.dice.chance(200) {
            return;
        }
        *yaml += "participants:\n";
        for (name, _) in PARTICIPANTS {
            let mut parts: Vec<String> = Vec::new();
            if name == "ledger" && self.dice.chance(700) {
                parts.push("actions: [ask, do_pivot, do_c0, do_c1, do_c2, do_c3, do_c4, do_c5, undo_c0, undo_c1, undo_c2, undo_c3, undo_c4, undo_c5, do_r0, do_r1, do_r2]".into());
            }
            if self.dice.chance(300) {
                parts.push(format!("timeout: {}", self.timeout()));
            }
            if self.dice.chance(300) {
                parts.push(format!("retry: {}", self.retry()));
            }
            let _ = writeln!(yaml, "  {name}: {{{}}}", parts.join(", "));
        }
    }

    fn defaults(&mut self, yaml: &mut String) {
        let timeout = if self.dice.chance(700) {
            self.one_of(&["3s", "10s", "30s"]).to_owned()
        } else {
            self.timeout()
        };
        let retry = if self.dice.chance(700) {
            let attempts = self.dice.between(1, 4);
            format!("{{initialInterval: 1s, maxAttempts: {attempts}}}")
        } else {
            self.retry()
        };
        let _ = writeln!(yaml, "defaults: {{timeout: {timeout}, retry: {retry}}}");
    }

    /// Who has to wait for whom.
    fn turns(&mut self, yaml: &mut String) {
        // A child is given no more than an id and a count.
        let key = if self.is_whole() {
            "input.who"
        } else {
            "\"string(input.count % 3)\""
        };
        let draw = if self.is_whole() { 8 } else { 20 };
        match self.dice.below(draw) {
            0 | 1 => {
                let _ = writeln!(yaml, "orderingKey: {key}");
            }
            2 => *yaml += "concurrency: {max: 2, onLimit: queue}\n",
            3 => {
                let _ = writeln!(
                    yaml,
                    "concurrency: {{max: 3, onLimit: reject}}\norderingKey: {key}"
                );
            }
            _ => {}
        }
    }

    /// What concerns the whole saga.
    fn policies(&mut self, yaml: &mut String) {
        let varied = self.policy();
        let _ = write!(
            yaml,
            "retryPolicies:\n  gentle: {{initialInterval: 2s, backoff: 2, maxInterval: 20s, maxAttempts: 3, jitter: 0.3, nonRetryable: [NEVER]}}\n  brisk: {{initialInterval: 100ms, backoff: 1.5, maxInterval: 5s, maxAttempts: 4, jitter: 0}}\n  patient: {{maxAttempts: 0, maxInterval: 8s, maxElapsed: 25s}}\n  varied: {varied}\n"
        );
        if self.role == Role::Leaf || self.role == Role::Branch {
            return;
        }
        *yaml += "signals: {go: {}, more: {schema: {type: object, required: [count]}}}\n";
        match self.dice.below(8) {
            0 => *yaml += "timeout: 5m\n",
            1 => *yaml += "timeout: 3m\nonTimeout: park\n",
            2 => *yaml += "timeout: 4m\nonTimeout: compensate\n",
            _ => {}
        }
        if !self.dice.chance(400) {
            return;
        }
        let mut parts: Vec<String> = Vec::new();
        if self.dice.chance(400) {
            let order = self.one_of(&["reverse", "parallel"]);
            parts.push(format!("order: {order}"));
        }
        if self.dice.chance(250) {
            parts.push(format!("retry: {}", self.retry()));
        }
        if self.dice.chance(250) {
            parts.push(format!("timeout: {}", self.timeout()));
        }
        if self.dice.chance(300) {
            let time = self.one_of(&["90s", "20m"]);
            parts.push(format!("parkAfter: {time}"));
        }
        let _ = writeln!(yaml, "compensation: {{{}}}", parts.join(", "));
    }

    /// How something is tried again: by a policy's name, or in place.
    fn retry(&mut self) -> String {
        let known = ["gentle", "brisk", "patient", "varied"];
        if self.dice.chance(600) {
            self.one_of(&known).to_owned()
        } else {
            self.policy()
        }
    }

    /// Every interval fits every maximum, whichever layer either comes from.
    fn policy(&mut self) -> String {
        let fields = [
            ("initialInterval", ["100ms", "1s", "3s"]),
            ("backoff", ["1", "1.5", "2"]),
            ("maxInterval", ["5s", "8s", "20s"]),
            ("jitter", ["0", "0.3", "1"]),
            ("maxAttempts", ["0", "2", "4"]),
            ("maxElapsed", ["10s", "40s", "90s"]),
            (
                "nonRetryable",
                ["[]", "[NEVER]", "[NEVER, ATTEMPT_TIMEOUT]"],
            ),
        ];
        self.some_of(&fields, 350)
    }

    /// How long something may take: no attempt outlasts any total, and no heartbeat any attempt, whichever layer either comes
    /// from; so neither a total nor a heartbeat is written without an attempt.
    fn timeout(&mut self) -> String {
        match self.dice.below(4) {
            0 => self.one_of(&["5s", "9s", "20s"]).to_owned(),
            1 => format!("{{schedule: {}}}", self.one_of(&["4s", "7s", "30s"])),
            _ => {
                let fields = [
                    ("total", ["25s", "60s", "3m"]),
                    ("schedule", ["7s", "20s", "50s"]),
                    ("heartbeat", ["2s", "3s", "4s"]),
                ];
                let attempt = self.one_of(&["5s", "8s", "20s"]);
                let more = self.some_of(&fields, 400);
                let more = more.trim_start_matches('{');
                let comma = if more == "}" { "" } else { ", " };
                format!("{{attempt: {attempt}{comma}{more}")
            }
        }
    }

    /// A mapping of some of these, each with one of its values.
    fn some_of(&mut self, fields: &[(&str, [&'static str; 3])], permille: u64) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (name, values) in fields {
            if self.dice.chance(permille) {
                parts.push(format!("{name}: {}", self.one_of(values)));
            }
        }
        format!("{{{}}}", parts.join(", "))
    }

    fn one_of(&mut self, values: &[&'static str]) -> &'static str {
        self.dice.pick(values).expect("there are some")
    }
}
