//! What a case file says, read into plain data. The form is described in `main`. Deliberately not here: what any of it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use amends_definitions::Definition;

/// One file.
#[derive(Clone, Debug, Default)]
pub struct Case {
    pub name: String,
    /// `project`, `test`, `file`, `asserts`, and `differs` where Amends does it otherwise on purpose.
    pub origin: BTreeMap<String, String>,
    /// The first is the saga's, the others its children's.
    pub definitions: Vec<Arc<Definition>>,
    pub runs: Vec<Run>,
    /// How each step in turn goes wrong; what has to come of it follows from the graph.
    pub every_step: Vec<String>,
}

/// One course of events, and what has to come of it.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub name: String,
    pub end: String,
    pub ledger: i64,
    /// The saga is parked at the end: why.
    pub incident: Option<String>,
    pub crashes: Crashes,
    /// Every command reaches its participant so many times.
    pub deliveries: u32,
    pub participants: Vec<Behaviour>,
    pub script: Vec<String>,
    pub calls: Vec<String>,
    pub history: Vec<String>,
}

/// What is done again with a crash at each row; and what has to be the same then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crashes {
    /// The end, the ledger, and the calls, repetitions aside.
    #[default]
    Same,
    /// The end and the ledger.
    End,
    /// Nothing is done again: the script has its own.
    None,
}

/// What a participant does when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    pub action: String,
    pub item: Option<u32>,
    pub round: Option<u32>,
    /// From and to.
    pub attempts: Option<(u32, u32)>,
    pub does: Does,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    Succeed(Option<String>),
    Reject(String),
    Fail(String),
    /// It has its effect, and says that it failed. Only where no barrier takes the effect back.
    FailWithEffect(String),
    Fatal(String),
    Absent,
    /// The command is lost on its way.
    GetsLost,
    /// It is carried out, and its answer is lost.
    AnswerLost,
    /// It is carried out when the script says `arrive`.
    ArriveLate,
    /// It is carried out, and its answer comes when the script says `answer`.
    AnswerLate,
}

impl Behaviour {
    /// `action[item]@round#from..to: what it does`.
    pub fn read(line: &str) -> Self {
        let (named, does) = line.split_once(':').expect("`action: what it does`");
        let mut rest = named.trim();
        let mut attempts = None;
        if let Some((before, range)) = rest.split_once('#') {
            let (from, to) = range.split_once("..").unwrap_or((range, range));
            attempts = Some((number(from), number(to)));
            rest = before;
        }
        let mut round = None;
        if let Some((before, text)) = rest.split_once('@') {
            round = Some(number(text));
            rest = before;
        }
        let mut item = None;
        if let Some((before, text)) = rest.split_once('[') {
            item = Some(number(text.trim_end_matches(']')));
            rest = before;
        }
        Self {
            action: rest.to_owned(),
            item,
            round,
            attempts,
            does: Does::read(does.trim()),
        }
    }
}

impl Does {
    pub fn read(text: &str) -> Self {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        match (first, rest) {
            ("succeeds", "") => Self::Succeed(None),
            ("succeeds", json) => Self::Succeed(Some(json.to_owned())),
            ("rejects", code) if !code.is_empty() => Self::Reject(code.to_owned()),
            ("fatal", code) if !code.is_empty() => Self::Fatal(code.to_owned()),
            ("fails", "with its effect") => Self::FailWithEffect("BROKEN".to_owned()),
            ("fails", "") => Self::Fail("BROKEN".to_owned()),
            ("fails", code) => Self::Fail(code.to_owned()),
            ("absent", "") => Self::Absent,
            ("gets", "lost") => Self::GetsLost,
            ("loses", "its answer") => Self::AnswerLost,
            ("arrives", "late") => Self::ArriveLate,
            ("answers", "late") => Self::AnswerLate,
            _ => panic!("no participant does this: {text}"),
        }
    }
}

fn number(text: &str) -> u32 {
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("no number: {text}"))
}

/// Reads a definition.
pub fn definition(file: &str, yaml: &str) -> Arc<Definition> {
    let checked = amends_definitions::check(yaml.as_bytes());
    let found = amends_definitions::render(file, yaml.as_bytes(), &checked.diagnostics);
    Arc::new(checked.definition.unwrap_or_else(|| panic!("{found}")))
}

impl Case {
    /// Reads a file.
    pub fn read(name: &str, text: &str) -> Self {
        let mut case = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let mut sections = text.split("=== ");
        let before = sections.next().expect("there is always a first part");
        assert!(before.trim().is_empty(), "{name}: begins with a section");
        for section in sections {
            let (title, body) = section.split_once('\n').expect("a section has a body");
            case.take(title.trim(), body);
        }
        case.must_be_whole();
        case
    }

    fn take(&mut self, title: &str, body: &str) {
        let name = self.name.clone();
        let lines = || body.lines().map(str::trim).filter(|line| !line.is_empty());
        let owned = || lines().map(str::to_owned).collect::<Vec<_>>();
        let (title, rest) = title.split_once(' ').unwrap_or((title, ""));
        match title {
            "origin" => self.origin = fields(body),
            "definition" => self.definitions.push(definition(&name, body)),
            "every" => self.every_step = owned(),
            "run" => self.runs.push(run(&name, rest, &fields(body))),
            _ => {
                let run = self.runs.last_mut();
                let run = run.unwrap_or_else(|| panic!("{name}: `{title}` stands before its run"));
                match title {
                    "participants" => run.participants = lines().map(Behaviour::read).collect(),
                    "script" => run.script = owned(),
                    "calls" => run.calls = owned(),
                    "history" => run.history = owned(),
                    _ => panic!("{name}: there is no section `{title}`"),
                }
            }
        }
    }

    fn must_be_whole(&self) {
        let name = &self.name;
        for field in ["project", "test", "file", "asserts"] {
            assert!(
                self.origin.get(field).is_some_and(|text| !text.is_empty()),
                "{name}: the origin's `{field}` is missing"
            );
        }
        let known = ["project", "test", "file", "asserts", "differs", "besides"];
        for field in self.origin.keys() {
            assert!(known.contains(&field.as_str()), "{name}: `{field}`?");
        }
        assert!(!self.definitions.is_empty(), "{name}: no definition");
        assert!(
            self.runs.is_empty() != self.every_step.is_empty(),
            "{name}: has either runs or `every step`"
        );
    }
}

/// `key: value` lines; an indented line goes on with the value above.
fn fields(body: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut last = String::new();
    for line in body.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with(' ') {
            let value: &mut String = fields.get_mut(&last).expect("goes on with a field");
            value.push(' ');
            value.push_str(line.trim());
        } else {
            let (key, value) = line.split_once(':').expect("`key: value`");
            last = key.trim().to_owned();
            fields.insert(last.clone(), value.trim().to_owned());
        }
    }
    fields
}

fn run(case: &str, name: &str, fields: &BTreeMap<String, String>) -> Run {
    let mut run = Run {
        name: name.to_owned(),
        deliveries: 1,
        ..Run::default()
    };
    for (field, value) in fields {
        match (field.as_str(), value.as_str()) {
            ("end", value) => run.end = value.to_owned(),
            ("ledger", value) => run.ledger = value.parse().expect("the ledger's sum"),
            ("incident", value) => run.incident = Some(value.to_owned()),
            ("crashes", "end") => run.crashes = Crashes::End,
            ("crashes", "none") => run.crashes = Crashes::None,
            ("deliver", "twice") => run.deliveries = 2,
            _ => panic!("{case}, {name}: `{field}: {value}`?"),
        }
    }
    assert!(!run.end.is_empty(), "{case}, {name}: `end` is missing");
    run
}
