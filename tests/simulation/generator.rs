//! Random definitions: normal YAML text, checked like everybody's, so that what runs is the real language. Each construct has
//! its own function and its own chance. Deliberately not here: what must be true of them.

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

/// The name of the definition that others ask for as a child: it can always be undone.
pub const LEAF: &str = "leaf";

/// Draws a document.
///
/// # Panics
/// If the language refuses it: then the generator is wrong, or the language.
pub fn document(dice: &mut Dice, name: &str) -> Document {
    let whole = name != LEAF;
    let yaml = Writer {
        dice,
        whole,
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
    /// With everything; a leaf has calls alone, and no point of no return.
    whole: bool,
    /// Steps whose output has a count.
    counting: Vec<String>,
}

/// What a step in the making knows of those before it.
struct Earlier {
    id: String,
    ancestors: Vec<String>,
}

impl Writer<'_> {
    fn document(&mut self, name: &str) -> String {
        let mut yaml = format!("apiVersion: amends/v1\nname: {name}\n");
        if self.dice.chance(300) {
            yaml += "key: ${{ input.id }}\n";
        }
        if self.dice.chance(300) {
            yaml += "inputSchema: {type: object, required: [id, count], properties: {id: {type: string}, count: {type: integer}}}\n";
        }
        yaml += &self.defaults();
        self.policies(&mut yaml);
        yaml += "steps:\n";
        let earlier = self.compensatable(&mut yaml);
        let pivot = self.whole && self.dice.chance(600);
        if pivot {
            self.pivot(&mut yaml, &earlier);
        }
        if pivot || self.whole && self.dice.chance(250) {
            self.retriable(&mut yaml, &earlier, pivot);
        }
        if self.dice.chance(350) {
            let of = self
                .dice
                .pick(&earlier)
                .expect("there is a step")
                .id
                .clone();
            let _ = writeln!(
                yaml,
                "output: {{status: \"${{{{ steps.{of}.status }}}}\", count: \"${{{{ input.count + 1 }}}}\"}}"
            );
        }
        yaml
    }

    fn defaults(&mut self) -> String {
        let attempts = self.dice.between(1, 4);
        let timeout = [3, 10, 30][usize::try_from(self.dice.below(3)).expect("few")];
        format!(
            "defaults: {{timeout: {timeout}s, retry: {{initialInterval: 1s, maxAttempts: {attempts}}}}}\n"
        )
    }

    /// What concerns the whole saga.
    fn policies(&mut self, yaml: &mut String) {
        *yaml += "retryPolicies:\n  gentle: {initialInterval: 2s, backoff: 2, maxInterval: 20s, maxAttempts: 3, jitter: 0.3, nonRetryable: [NEVER]}\n  brisk: {initialInterval: 100ms, backoff: 1.5, maxInterval: 5s, maxAttempts: 4, jitter: 0}\n";
        if !self.whole {
            return;
        }
        *yaml += "signals: {go: {}, more: {schema: {type: object, required: [count]}}}\n";
        match self.dice.below(8) {
            0 => *yaml += "timeout: 5m\n",
            1 => *yaml += "timeout: 3m\nonTimeout: park\n",
            _ => {}
        }
        match self.dice.below(8) {
            0 | 1 => *yaml += "orderingKey: input.who\n",
            2 => *yaml += "concurrency: {max: 2}\n",
            3 => *yaml += "concurrency: {max: 3, onLimit: reject}\norderingKey: input.who\n",
            _ => {}
        }
        match self.dice.below(10) {
            0 => *yaml += "compensation: {order: parallel}\n",
            1 => *yaml += "compensation: {parkAfter: 20m}\n",
            _ => {}
        }
    }

    /// What a step does that is no call: nothing if it is one.
    fn other_work(&mut self, yaml: &mut String, only_forward: bool) -> bool {
        if !self.whole {
            return false;
        }
        let work = match self.dice.below(22) {
            0 if only_forward => "wait: {signal: go, timeout: 40s, onTimeout: park}",
            0 => "wait: {signal: go, timeout: 40s, onTimeout: compensate}",
            1 => "wait: {signal: go, timeout: 30s, onTimeout: continue}",
            2 => "wait: {signal: more}",
            3 => "sleep: 2s",
            4 => "sleep: 3m",
            5 => "emit: {type: com.example.done, data: {id: \"${{ input.id }}\"}}",
            6 => {
                "saga: {name: leaf, input: {id: \"${{ input.id }}\", count: \"${{ input.count }}\"}}"
            }
            7 => "saga: {name: leaf, input: {id: none, count: 3}}",
            _ => return false,
        };
        let _ = writeln!(yaml, "    {work}");
        true
    }

    /// Each of a list, some of them at a time.
    fn foreach(&mut self, yaml: &mut String, id: &str) {
        if self.whole && self.dice.chance(120) {
            *yaml += match self.dice.below(3) {
                0 => "    foreach: {in: input.items, as: thing, maxParallel: 1}\n",
                1 => {
                    "    foreach: {in: input.items, as: thing, key: string(thing), maxParallel: 2}\n"
                }
                _ => "    foreach: {in: input.items}\n",
            };
        } else {
            self.counting.push(id.to_owned());
        }
    }

    /// Where a failure leads.
    fn routes(&mut self, yaml: &mut String) {
        if self.whole && self.dice.chance(150) {
            *yaml += match self.dice.below(3) {
                0 => "    onError: [{codes: [NO_STOCK], then: continue, output: {instead: 1}}]\n",
                1 => {
                    "    onError: [{codes: [DECLINED], then: park}, {codes: [EXHAUSTED], then: continue}]\n"
                }
                _ => {
                    "    onError: [{codes: [FATAL], then: compensate}, {when: \"error.code == 'NO'\", then: continue}]\n"
                }
            };
        }
    }

    fn compensatable(&mut self, yaml: &mut String) -> Vec<Earlier> {
        let mut earlier: Vec<Earlier> = Vec::new();
        let shape = self.dice.below(3);
        for step in 0..self.dice.between(1, 6) {
            let needs: Vec<usize> = (0..earlier.len())
                .filter(|place| match shape {
                    0 => place + 1 == earlier.len(),
                    1 => self.dice.chance(400),
                    _ => self.dice.chance(150),
                })
                .collect();
            let ancestors = ancestors(&earlier, &needs);
            let id = format!("c{step}");
            let list: Vec<&str> = needs.iter().map(|at| earlier[*at].id.as_str()).collect();
            let _ = write!(yaml, "  - id: {id}\n    needs: [{}]\n", list.join(", "));
            if self.whole && self.dice.chance(25) {
                *yaml += "    when: input.count == 7\n    fail: {code: ON_PURPOSE, message: on purpose}\n";
                earlier.push(Earlier { id, ancestors });
                continue;
            }
            self.when(yaml, &ancestors);
            if !self.other_work(yaml, false) {
                let participant = self.participant();
                self.foreach(yaml, &id);
                let _ = writeln!(yaml, "    call: {participant}.do_{id}");
                self.query(yaml, participant);
                self.routes(yaml);
                self.input(yaml, &ancestors);
                self.times(yaml, true);
                self.compensate(yaml, &id, participant);
            }
            earlier.push(Earlier { id, ancestors });
        }
        earlier
    }

    fn pivot(&mut self, yaml: &mut String, earlier: &[Earlier]) {
        let all: Vec<&str> = earlier.iter().map(|step| step.id.as_str()).collect();
        let participant = self.participant();
        let _ = write!(
            yaml,
            "  - id: pivot\n    kind: pivot\n    needs: [{}]\n    call: {participant}.do_pivot\n",
            all.join(", ")
        );
        let ancestors: Vec<String> = all.iter().map(|id| (*id).to_owned()).collect();
        self.query(yaml, participant);
        self.when(yaml, &ancestors);
        self.input(yaml, &ancestors);
        self.times(yaml, true);
    }

    fn retriable(&mut self, yaml: &mut String, earlier: &[Earlier], pivot: bool) {
        let mut all: Vec<String> = earlier.iter().map(|step| step.id.clone()).collect();
        if pivot {
            all = vec!["pivot".into()];
        }
        let mut before: Vec<String> = Vec::new();
        for step in 0..self.dice.between(u64::from(!pivot), 3) {
            let id = format!("r{step}");
            let mut needs = all.clone();
            if self.dice.chance(400) {
                needs.extend(before.last().cloned());
            }
            let _ = write!(
                yaml,
                "  - id: {id}\n    kind: retriable\n    needs: [{}]\n",
                needs.join(", ")
            );
            self.when(yaml, &needs);
            if !self.other_work(yaml, true) {
                let participant = self.participant();
                self.foreach(yaml, &id);
                let _ = writeln!(yaml, "    call: {participant}.do_{id}");
                self.input(yaml, &needs);
            }
            before.push(id);
        }
    }

    fn participant(&mut self) -> &'static str {
        self.dice.pick(&PARTICIPANTS).expect("there are some").0
    }

    /// Those without a barrier can be asked what they did.
    fn query(&mut self, yaml: &mut String, participant: &str) {
        let bare = PARTICIPANTS.contains(&(participant_name(participant), false));
        if self.whole && bare && self.dice.chance(300) {
            let _ = writeln!(yaml, "    query: {participant}.ask");
        }
    }

    fn when(&mut self, yaml: &mut String, ancestors: &[String]) {
        let condition = match self.dice.below(14) {
            0 => "input.count > 5".to_owned(),
            1 => "false".to_owned(),
            2 => match ancestors.iter().find(|id| self.counting.contains(*id)) {
                Some(id) => format!("has(steps.{id}.output) && steps.{id}.output.count > 3"),
                None => return,
            },
            _ => return,
        };
        let _ = writeln!(yaml, "    when: \"{condition}\"");
    }

    fn input(&mut self, yaml: &mut String, ancestors: &[String]) {
        let input = match self.dice.below(10) {
            0..4 => "{id: \"${{ input.id }}\", count: \"${{ input.count }}\"}".to_owned(),
            4 => match self.dice.pick(ancestors) {
                Some(id) => format!("{{before: \"${{{{ steps.{id}.status }}}}\"}}"),
                None => return,
            },
            5 if self.dice.chance(250) => {
                "{x: \"${{ 7 / (input.count - input.count) }}\"}".to_owned()
            }
            _ => return,
        };
        let _ = writeln!(yaml, "    input: {input}");
    }

    fn times(&mut self, yaml: &mut String, total: bool) {
        match self.dice.below(8) {
            0 => *yaml += "    retry: gentle\n",
            1 => *yaml += "    retry: brisk\n",
            _ => {}
        }
        match self.dice.below(8) {
            0 => *yaml += "    timeout: {attempt: 5s, schedule: 7s}\n",
            1 if total => *yaml += "    timeout: {attempt: 8s, total: 25s}\n",
            _ => {}
        }
    }

    fn compensate(&mut self, yaml: &mut String, id: &str, participant: &str) {
        if self.dice.chance(150) {
            *yaml += "    compensate: {none: it only reads}\n";
            return;
        }
        let _ = write!(yaml, "    compensate: {{call: {participant}.undo_{id}");
        match self.dice.below(8) {
            0 => *yaml += ", input: {of: \"${{ self.input }}\", why: \"${{ self.reason }}\"}",
            1 => {
                *yaml += ", input: {count: \"${{ self.output == null ? 0 : self.output.count }}\"}"
            }
            _ => {}
        }
        if self.dice.chance(100) {
            *yaml += ", retry: {initialInterval: 1s, maxAttempts: 2}";
        }
        *yaml += "}\n";
    }
}

fn participant_name(name: &str) -> &'static str {
    let known = PARTICIPANTS.iter().find(|(known, _)| *known == name);
    known.map_or("", |(known, _)| known)
}

fn ancestors(earlier: &[Earlier], needs: &[usize]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for need in needs {
        let step = &earlier[*need];
        for id in step.ancestors.iter().chain([&step.id]) {
            if !found.contains(id) {
                found.push(id.clone());
            }
        }
    }
    found
}
