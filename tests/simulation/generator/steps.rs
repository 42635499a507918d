//! The steps of a random definition. Deliberately not here: what concerns the saga as a whole.

use std::fmt::Write as _;

use super::{PARTICIPANTS, Role, Writer};

/// What a step in the making knows of those before it.
pub(super) struct Earlier {
    id: String,
    ancestors: Vec<String>,
}

impl Earlier {
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It can be undone.
    Back,
    Pivot,
    /// It can only be waited for.
    Forward,
}

impl Writer<'_> {
    pub(super) fn compensatable(&mut self, yaml: &mut String) -> Vec<Earlier> {
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
            let _ = writeln!(yaml, "  - id: {id}");
            let list: Vec<&str> = needs.iter().map(|at| earlier[*at].id()).collect();
            self.needs(yaml, &list, earlier.last().map(Earlier::id));
            if self.dice.chance(50) {
                *yaml += "    kind: compensatable\n";
            }
            if self.is_whole() && self.dice.chance(25) {
                self.on_purpose(yaml);
                earlier.push(Earlier { id, ancestors });
                continue;
            }
            self.when(yaml, &ancestors);
            if !self.other_work(yaml, Stand::Back) {
                let participant = self.participant();
                let item = self.foreach(yaml, &id);
                let _ = writeln!(yaml, "    call: {participant}.do_{id}");
                self.query(yaml, participant);
                self.routes(yaml, Stand::Back, 150);
                self.input(yaml, &ancestors, item);
                self.output_schema(yaml, 80);
                self.times(yaml, 350);
                self.compensate(yaml, &id, participant);
            }
            earlier.push(Earlier { id, ancestors });
        }
        earlier
    }

    pub(super) fn pivot(&mut self, yaml: &mut String, earlier: &[Earlier]) {
        let all: Vec<&str> = earlier.iter().map(Earlier::id).collect();
        let ancestors: Vec<String> = all.iter().map(|id| (*id).to_owned()).collect();
        *yaml += "  - id: pivot\n    kind: pivot\n";
        self.needs(yaml, &all, all.last().copied());
        self.when(yaml, &ancestors);
        if self.is_whole() && self.dice.chance(80) {
            let child = self.one_of(&["leaf", "branch", "last"]);
            self.child(yaml, child);
            self.routes(yaml, Stand::Pivot, 250);
            if self.dice.chance(200) {
                *yaml += "    outputSchema: {type: object, required: [status]}\n";
            }
            return;
        }
        let participant = self.participant();
        let _ = writeln!(yaml, "    call: {participant}.do_pivot");
        self.query(yaml, participant);
        self.routes(yaml, Stand::Pivot, 250);
        self.input(yaml, &ancestors, None);
        self.output_schema(yaml, 30);
        self.times(yaml, 350);
    }

    pub(super) fn retriable(&mut self, yaml: &mut String, earlier: &[Earlier], pivot: bool) {
        let mut all: Vec<String> = earlier.iter().map(|step| step.id.clone()).collect();
        let mut above = all.last().cloned();
        if pivot {
            all = vec!["pivot".into()];
            above = Some("pivot".into());
        }
        let mut before: Vec<String> = Vec::new();
        for step in 0..self.dice.between(u64::from(!pivot), 3) {
            let id = format!("r{step}");
            let mut needs = all.clone();
            if self.dice.chance(400) {
                needs.extend(before.last().cloned());
            }
            let _ = write!(yaml, "  - id: {id}\n    kind: retriable\n");
            // What the step above needs this one needs too, and need not say so.
            if before.is_empty() || !self.dice.chance(150) {
                let list: Vec<&str> = needs.iter().map(String::as_str).collect();
                self.needs(yaml, &list, above.as_deref());
            }
            self.when(yaml, &needs);
            if !self.other_work(yaml, Stand::Forward) {
                let participant = self.participant();
                let item = self.foreach(yaml, &id);
                let _ = writeln!(yaml, "    call: {participant}.do_{id}");
                self.query(yaml, participant);
                self.routes(yaml, Stand::Forward, 120);
                self.input(yaml, &needs, item);
                self.output_schema(yaml, 30);
                self.times(yaml, 150);
            }
            before.push(id.clone());
            above = Some(id);
        }
    }

    /// What has to be done before; without a word, the step above.
    fn needs(&mut self, yaml: &mut String, list: &[&str], above: Option<&str>) {
        let default = match above {
            Some(above) => list == [above],
            None => list.is_empty(),
        };
        if !(default && self.dice.chance(500)) {
            let _ = writeln!(yaml, "    needs: [{}]", list.join(", "));
        }
    }

    /// Few sagas are for nothing.
    fn on_purpose(&mut self, yaml: &mut String) {
        let message = self.one_of(&["on purpose", "\"by ${{ input.id }}\""]);
        *yaml += "    when: input.count == 7\n";
        if self.dice.chance(200) {
            *yaml += "    foreach: {in: input.items}\n";
        }
        let _ = writeln!(yaml, "    fail: {{code: ON_PURPOSE, message: {message}}}");
        if self.dice.chance(200) {
            *yaml += "    onError: [{codes: [ON_PURPOSE], then: park}]\n";
        }
    }

    /// What a step does that is no call: nothing if it is one.
    fn other_work(&mut self, yaml: &mut String, stand: Stand) -> bool {
        let draw = match self.role {
            Role::Whole => self.dice.below(34),
            Role::Branch if self.dice.chance(250) => 8,
            Role::Last if stand == Stand::Forward && self.dice.chance(150) => 4,
            Role::Leaf | Role::Branch | Role::Last => return false,
        };
        let work = match draw {
            0 if stand == Stand::Forward => "wait: {signal: go, timeout: 40s, onTimeout: park}",
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
            8..=11 => "",
            _ => return false,
        };
        if self.is_whole() && self.dice.chance(150) {
            *yaml += match self.dice.below(2) {
                0 => "    foreach: {in: input.items, maxParallel: 2, maxItems: 3}\n",
                _ => "    foreach: {in: input.items, as: thing, key: string(thing)}\n",
            };
        }
        match draw {
            8 => self.child(yaml, "leaf"),
            9 => {
                *yaml += "    saga: {name: leaf, key: \"input.id + 'x'\", input: {id: none, count: 3}}\n";
            }
            10 => self.child(yaml, "branch"),
            // Where the saga can still be undone it is refused.
            11 if stand == Stand::Forward || self.dice.chance(200) => self.child(yaml, "last"),
            11 => self.child(yaml, "leaf"),
            _ => {
                let _ = writeln!(yaml, "    {work}");
            }
        }
        match (draw, self.dice.below(4)) {
            (0..=7, 0) => *yaml += "    onError: [{codes: [EXPRESSION_FAILED], then: continue}]\n",
            (8..=11, 0) if self.is_whole() => *yaml += "    onError: [{then: continue}]\n",
            (8 | 11, 1) if self.is_whole() => {
                *yaml += "    outputSchema: {type: object, required: [status]}\n";
            }
            _ => {}
        }
        true
    }

    fn child(&mut self, yaml: &mut String, name: &str) {
        let _ = writeln!(
            yaml,
            "    saga: {{name: {name}, input: {{id: \"${{{{ input.id }}}}\", count: \"${{{{ input.count }}}}\"}}}}"
        );
    }

    /// Each of a list, some of them at a time: under which name expressions see it.
    fn foreach(&mut self, yaml: &mut String, id: &str) -> Option<&'static str> {
        if !(self.is_whole() && self.dice.chance(120)) {
            self.counting.push(id.to_owned());
            return None;
        }
        let (foreach, item) = match self.dice.below(3) {
            0 => ("{in: input.items, as: thing, maxParallel: 1}", "thing"),
            1 => (
                "{in: input.items, as: thing, key: string(thing), maxParallel: 2}",
                "thing",
            ),
            _ => ("{in: input.items, maxItems: 3}", "item"),
        };
        let _ = writeln!(yaml, "    foreach: {foreach}");
        Some(item)
    }

    /// Where a failure leads.
    fn routes(&mut self, yaml: &mut String, stand: Stand, permille: u64) {
        if !(self.is_whole() && self.dice.chance(permille)) {
            return;
        }
        let routes: &[&str] = match stand {
            Stand::Back => &[
                "[{codes: [NO_STOCK], then: continue, output: {instead: 1}}]",
                "[{codes: [DECLINED], then: park}, {codes: [EXHAUSTED], then: continue}]",
                "[{codes: [FATAL], then: compensate}, {when: \"error.code == 'NO'\", then: continue}]",
            ],
            Stand::Pivot => &[
                "[{codes: [DECLINED, EXHAUSTED], then: compensate}, {codes: [\"NO\"], then: park}]",
                "[{codes: [NO_STOCK], then: continue, output: {why: \"${{ error.code }}\", count: 0}}]",
                "[{when: \"error.code == 'DECLINED'\", then: park}]",
            ],
            Stand::Forward => &[
                "[{codes: [FATAL, EXHAUSTED], then: continue}]",
                "[{codes: [EXHAUSTED], then: continue, output: {count: 1, why: \"${{ error.message }}\"}}]",
                "[{when: \"error.code == 'BROKEN'\", then: park}, {then: continue}]",
            ],
        };
        let routes = *self.dice.pick(routes).expect("there are some");
        let _ = writeln!(yaml, "    onError: {routes}");
    }

    fn participant(&mut self) -> &'static str {
        self.dice.pick(&PARTICIPANTS).expect("there are some").0
    }

    /// Those without a barrier can be asked what they did.
    fn query(&mut self, yaml: &mut String, participant: &str) {
        let bare = PARTICIPANTS
            .iter()
            .any(|(name, barrier)| *name == participant && !barrier);
        if self.is_whole() && bare && self.dice.chance(300) {
            let _ = writeln!(yaml, "    query: {participant}.ask");
        }
    }

    fn when(&mut self, yaml: &mut String, ancestors: &[String]) {
        let condition = match self.dice.below(16) {
            0 => "input.count > 5".to_owned(),
            1 => "false".to_owned(),
            2 => match ancestors.iter().find(|id| self.counting.contains(*id)) {
                Some(id) => format!("has(steps.{id}.output) && steps.{id}.output.count > 3"),
                None => return,
            },
            3 if self.is_whole() => "has(signals.more) && signals.more.count > 0".to_owned(),
            4 => "saga.id != input.id".to_owned(),
            _ => return,
        };
        let _ = writeln!(yaml, "    when: \"{condition}\"");
    }

    fn input(&mut self, yaml: &mut String, ancestors: &[String], item: Option<&str>) {
        let input = match self.dice.below(11) {
            0..4 => "{id: \"${{ input.id }}\", count: \"${{ input.count }}\"}".to_owned(),
            4 => match self.dice.pick(ancestors) {
                Some(id) => format!("{{before: \"${{{{ steps.{id}.status }}}}\"}}"),
                None => return,
            },
            5 if self.dice.chance(250) => {
                "{x: \"${{ 7 / (input.count - input.count) }}\"}".to_owned()
            }
            6 | 7 if item.is_some() => {
                format!("{{it: \"${{{{ {} }}}}\"}}", item.unwrap_or_default())
            }
            8 => "\"${{ input }}\"".to_owned(),
            _ => return,
        };
        let _ = writeln!(yaml, "    input: {input}");
    }

    fn times(&mut self, yaml: &mut String, permille: u64) {
        if self.dice.chance(permille) {
            let retry = self.retry();
            let _ = writeln!(yaml, "    retry: {retry}");
        }
        if self.dice.chance(permille) {
            let timeout = self.timeout();
            let _ = writeln!(yaml, "    timeout: {timeout}");
        }
    }

    /// Of what participants say, one count in ten does not satisfy it.
    fn output_schema(&mut self, yaml: &mut String, permille: u64) {
        if self.is_whole() && self.dice.chance(permille) {
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
            0 => {
                *yaml += ", input: {of: \"${{ self.input }}\", why: \"${{ self.reason }}\", after: \"${{ self.error }}\"}"
            }
            1 => {
                *yaml += ", input: {count: \"${{ self.output == null ? 0 : self.output.count }}\"}"
            }
            _ => {}
        }
        if self.dice.chance(100) {
            *yaml += ", retry: {initialInterval: 1s, maxAttempts: 2}";
        } else if self.dice.chance(80) {
            let retry = self.retry();
            let _ = write!(yaml, ", retry: {retry}");
        }
        if self.dice.chance(100) {
            *yaml += ", timeout: {attempt: 7s, total: 90s, heartbeat: 3s}";
        } else if self.dice.chance(80) {
            let timeout = self.timeout();
            let _ = write!(yaml, ", timeout: {timeout}");
        }
        *yaml += "}\n";
    }
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
