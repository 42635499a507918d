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

/// The names of the definitions that others ask for as children: they can always be undone. A branch has children of its own.
pub const LEAF: &str = "leaf";
pub const BRANCH: &str = "branch";

/// Draws a document.
///
/// # Panics
/// If the language refuses it: then the generator is wrong, or the language.
pub fn document(dice: &mut Dice, name: &str) -> Document {
    let whole = name != LEAF && name != BRANCH;
    let yaml = Writer {
        dice,
        whole,
        nested: name == BRANCH,
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
    /// With everything; others have calls alone, and no point of no return.
    whole: bool,
    /// Not with everything, and with children all the same.
    nested: bool,
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
        if self.dice.chance(100) {
            yaml += "version: \"7\"\ndescription: made by chance\nlabels: {team: simulation}\n";
        }
        if self.dice.chance(300) {
            yaml += "key: ${{ input.id }}\n";
        }
        if self.dice.chance(200) {
            yaml += "retention: 12h\n";
        }
        if self.dice.chance(150) {
            yaml += "participants: {ledger: {actions: [ask, do_pivot, do_c0, do_c1, do_c2, do_c3, do_c4, do_c5, undo_c0, undo_c1, undo_c2, undo_c3, undo_c4, undo_c5, do_r0, do_r1, do_r2]}, stock: {timeout: 12s}, mail: {timeout: {attempt: 9s, total: 40s}}, bank: {retry: {initialInterval: 3s, maxAttempts: 2}}}\n";
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
        *yaml += "retryPolicies:\n  gentle: {initialInterval: 2s, backoff: 2, maxInterval: 20s, maxAttempts: 3, jitter: 0.3, nonRetryable: [NEVER]}\n  brisk: {initialInterval: 100ms, backoff: 1.5, maxInterval: 5s, maxAttempts: 4, jitter: 0}\n  patient: {maxAttempts: 0, maxInterval: 8s, maxElapsed: 25s}\n";
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
            2 => *yaml += "concurrency: {max: 2, onLimit: queue}\n",
            3 => *yaml += "concurrency: {max: 3, onLimit: reject}\norderingKey: input.who\n",
            _ => {}
        }
        match self.dice.below(10) {
            0 => *yaml += "compensation: {order: parallel}\n",
            1 => *yaml += "compensation: {parkAfter: 20m}\n",
            2 => {
                *yaml += "compensation: {order: reverse, retry: brisk, timeout: {attempt: 6s, total: 3m}}\n"
            }
            _ => {}
        }
    }

    /// What a step does that is no call: nothing if it is one.
    fn other_work(&mut self, yaml: &mut String, only_forward: bool) -> bool {
        if !(self.whole || self.nested && self.dice.chance(250)) {
            return false;
        }
        let draw = if self.nested { 8 } else { self.dice.below(30) };
        let work = match draw {
            0 if only_forward => "wait: {signal: go, timeout: 40s, onTimeout: park}",
            0 => "wait: {signal: go, timeout: 40s, onTimeout: compensate}",
            1 => "wait: {signal: go, timeout: 30s, onTimeout: continue}",
            2 => "wait: {signal: more}",
            3 => "wait: {signal: more, timeout: 25s, onTimeout: park}",
            4 => "sleep: 2s",
            5 => "sleep: 3m",
            6 => "sleep: {until: input.due}",
            7 => {
                "emit: {type: com.example.done, subject: \"of ${{ input.id }}\", data: {id: \"${{ input.id }}\"}}"
            }
            8 => {
                "saga: {name: leaf, input: {id: \"${{ input.id }}\", count: \"${{ input.count }}\"}}"
            }
            9 => "saga: {name: leaf, key: \"input.id + 'x'\", input: {id: none, count: 3}}",
            10 => {
                "saga: {name: branch, input: {id: \"${{ input.id }}\", count: \"${{ input.count }}\"}}"
            }
            _ => return false,
        };
        if matches!(draw, 5..9) && self.whole && self.dice.chance(150) {
            *yaml += "    foreach: {in: input.items, maxParallel: 2, maxItems: 3}\n";
        }
        let _ = writeln!(yaml, "    {work}");
        match (draw, self.dice.below(4)) {
            (6, 0) => {
                *yaml += "    onError: [{codes: [EXPRESSION_FAILED], then: continue}]\n";
            }
            (8 | 10, 0) if self.whole => *yaml += "    onError: [{then: continue}]\n",
            (8, 1) if self.whole => {
                *yaml += "    outputSchema: {type: object, required: [status]}\n"
            }
            _ => {}
        }
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
                _ => "    foreach: {in: input.items, maxItems: 3}\n",
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
            if self.dice.chance(50) {
                *yaml += "    kind: compensatable\n";
            }
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
                self.output_schema(yaml, 80);
                self.times(yaml, true);
                self.compensate(yaml, &id, participant);
            }
            earlier.push(Earlier { id, ancestors });
        }
        earlier
    }

    fn pivot(&mut self, yaml: &mut String, earlier: &[Earlier]) {
        let all: Vec<&str> = earlier.iter().map(|step| step.id.as_str()).collect();
        let ancestors: Vec<String> = all.iter().map(|id| (*id).to_owned()).collect();
        let _ = write!(
            yaml,
            "  - id: pivot\n    kind: pivot\n    needs: [{}]\n",
            all.join(", ")
        );
        self.when(yaml, &ancestors);
        if self.dice.chance(80) {
            *yaml += "    saga: {name: leaf, input: {id: \"${{ input.id }}\", count: \"${{ input.count }}\"}}\n";
            return;
        }
        let participant = self.participant();
        let _ = writeln!(yaml, "    call: {participant}.do_pivot");
        self.query(yaml, participant);
        if self.dice.chance(200) {
            *yaml += "    onError: [{codes: [DECLINED, EXHAUSTED], then: compensate}, {codes: [\"NO\"], then: park}]\n";
        }
        self.input(yaml, &ancestors);
        self.output_schema(yaml, 30);
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
                self.output_schema(yaml, 30);
                match self.dice.below(12) {
                    0 => *yaml += "    timeout: {attempt: 12s, heartbeat: 3s}\n",
                    1 => *yaml += "    retry: patient\n",
                    2 => *yaml += "    onError: [{codes: [FATAL, EXHAUSTED], then: continue}]\n",
                    _ => {}
                }
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
        let condition = match self.dice.below(15) {
            0 => "input.count > 5".to_owned(),
            1 => "false".to_owned(),
            14 if self.whole => "has(signals.more) && signals.more.count > 0".to_owned(),
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
            2 => *yaml += "    retry: patient\n",
            _ => {}
        }
        match self.dice.below(9) {
            0 => *yaml += "    timeout: {attempt: 5s, schedule: 7s}\n",
            1 if total => *yaml += "    timeout: {attempt: 8s, total: 25s}\n",
            2 => *yaml += "    timeout: {attempt: 20s, heartbeat: 4s}\n",
            _ => {}
        }
    }

    /// Of what participants say, one count in ten does not satisfy it.
    fn output_schema(&mut self, yaml: &mut String, permille: u64) {
        if self.whole && self.dice.chance(permille) {
            *yaml += "    outputSchema: {type: object, required: [count], properties: {count: {type: integer, maximum: 8}}}\n";
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
        if self.dice.chance(100) {
            *yaml += ", timeout: {attempt: 7s, total: 90s, heartbeat: 3s}";
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use amends_definitions::language_schema;
    use serde_json::Value;

    use super::*;

    /// What the language has words for and the simulator no use, and why.
    const LEFT_OUT: [(&str, &str); 2] = [
        ("triggers", "a broker's events start no saga yet"),
        ("events", "a broker's events are no signals yet"),
    ];

    #[test]
    fn every_key_and_every_choice_of_the_language_is_written() {
        let schema: Value = serde_json::from_str(&language_schema()).expect("it is JSON");
        let mut words = BTreeSet::new();
        gather(&schema, &mut words);
        assert!(words.len() > 50, "{words:?}");
        let mut written = String::new();
        for seed in 0..500 {
            written += &document(&mut Dice::new(seed), "made-0").yaml;
        }
        let missing: Vec<&String> = words
            .iter()
            .filter(|word| !written.contains(word.as_str()))
            .filter(|word| {
                let name = word.trim_end_matches(':');
                LEFT_OUT.iter().all(|(left, _)| *left != name)
            })
            .collect();
        assert!(missing.is_empty(), "the generator never writes {missing:?}");
    }

    /// The names of properties, with their colon, and the words to choose from.
    fn gather(schema: &Value, words: &mut BTreeSet<String>) {
        match schema {
            Value::Object(object) => {
                for (key, value) in object {
                    match (key.as_str(), value) {
                        ("properties", Value::Object(properties)) => {
                            words.extend(properties.keys().map(|name| format!("{name}:")));
                        }
                        ("enum", Value::Array(choices)) => {
                            words.extend(
                                choices.iter().filter_map(Value::as_str).map(str::to_owned),
                            );
                        }
                        _ => {}
                    }
                    gather(value, words);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| gather(value, words)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
