//! What expressions refer to: `input.order_id`, `steps.charge.output`. A reference that is a whole expression is looked up in
//! the payload's text, byte for byte; any other says which parts of the payloads have to be read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use super::value::{self, Value};
use super::{Scope, SelfScope, StepScope, Steps};
use crate::json::{self, Fault, Reader};

/// The roots that every expression of the language may name: no variable hides one.
pub(crate) const ROOTS: [&str; 4] = ["input", "saga", "self", "steps"];
/// The roots that exist in some places alone. Which names a variable may have there is for the caller to check.
#[cfg(feature = "document")]
pub(crate) const ROOTS_IN_PLACES: [&str; 3] = ["error", "event", "signals"];

/// One path that an expression refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) root: String,
    pub(crate) fields: Vec<String>,
    /// Inside `has(…)`: only asked for its presence.
    pub(crate) test: bool,
    /// An operand of arithmetic whose other operand is a constant double.
    pub(crate) beside_double: bool,
    /// An operand of arithmetic whose other operand is a constant integer.
    pub(crate) beside_int: bool,
    /// Where in the expression's source, in bytes.
    pub(crate) at: Range<usize>,
}

/// The variable of a comprehension: `x` of `input.items.all(x, x > 1)`.
#[cfg(feature = "document")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// Where the comprehension is in the expression's source, in bytes.
    pub(crate) at: Range<usize>,
}

impl Reference {
    /// Looks the reference up, as JSON text.
    pub(super) fn look_up<'s>(&self, scope: &Scope<'s>) -> Result<Cow<'s, str>, String> {
        let fields = self.fields.as_slice();
        match self.root.as_str() {
            "input" => select(scope.input.text(), fields, "input").map(Cow::Borrowed),
            "saga" => select_owned(saga_json(scope), fields, "saga"),
            "steps" => {
                let (id, fields) = fields
                    .split_first()
                    .ok_or("`steps` needs the id of a step")?;
                let step = &step(scope, id)?;
                match fields {
                    [first, rest @ ..] if first == "output" => {
                        let output = step.output.ok_or_else(|| no_output(step))?;
                        select(output.text(), rest, &format!("steps.{id}.output"))
                            .map(Cow::Borrowed)
                    }
                    fields => select_owned(step_json(step), fields, &format!("steps.{id}")),
                }
            }
            "self" => {
                let itself = scope.itself.as_ref().ok_or("there is no `self` here")?;
                match (fields, itself.output) {
                    ([first, rest @ ..], _) if first == "input" => {
                        select(itself.input.text(), rest, "self.input").map(Cow::Borrowed)
                    }
                    ([first, rest @ ..], Some(output)) if first == "output" => {
                        select(output.text(), rest, "self.output").map(Cow::Borrowed)
                    }
                    _ => select_owned(self_json(itself), fields, "self"),
                }
            }
            "signals" => {
                let (id, fields) = fields
                    .split_first()
                    .ok_or("`signals` needs the id of a signal")?;
                let payload = signal(scope, id)?;
                select(payload.text(), fields, &format!("signals.{id}")).map(Cow::Borrowed)
            }
            "error" => select_owned(error_json(error(scope)?), fields, "error"),
            root => select(item(scope, root)?.text(), fields, root).map(Cow::Borrowed),
        }
    }
}

/// Which part of a value is referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Projection {
    /// All of it.
    Whole,
    /// Only that it is there.
    Presence,
    /// Some fields.
    Fields(BTreeMap<String, Projection>),
}

impl Projection {
    /// The part of a field that is referred to; none, if nothing of it is.
    pub(super) fn field(&self, name: &str) -> Option<&Projection> {
        match self {
            Projection::Whole => Some(&Projection::Whole),
            Projection::Presence => None,
            Projection::Fields(fields) => fields.get(name),
        }
    }

    /// Adds what a reference refers to.
    #[cfg(feature = "document")]
    pub(super) fn add(&mut self, fields: &[String], test: bool) {
        match (fields.split_first(), &mut *self) {
            (_, Projection::Whole) => {}
            (None, _) if !test => *self = Projection::Whole,
            (None, _) => {}
            (Some((first, rest)), Projection::Presence) => {
                let mut inner = Projection::Presence;
                inner.add(rest, test);
                *self = Projection::Fields(BTreeMap::from([(first.clone(), inner)]));
            }
            (Some((first, rest)), Projection::Fields(known)) => known
                .entry(first.clone())
                .or_insert(Projection::Presence)
                .add(rest, test),
        }
    }
}

/// The value of a root, as far as it is referred to.
pub(super) fn root_value<'v>(
    scope: &'v Scope<'v>,
    root: &str,
    wanted: &Projection,
) -> Result<Value<'v>, String> {
    let read = |text: &'v str, wanted: Option<&Projection>| match wanted {
        Some(wanted) => value::from_json(text, wanted).map_err(|fault| fault.to_string()),
        None => {
            Ok(value::from_json("null", &Projection::Whole).map_err(|fault| fault.to_string())?)
        }
    };
    let optional = |text: Option<&'v str>| match text {
        Some(text) => value::string(text),
        None => Box::new(cel::common::types::CelNull),
    };
    match root {
        "input" => read(scope.input.text(), Some(wanted)),
        "saga" => Ok(value::map([
            ("id", value::text(scope.saga_id.to_string())),
            ("key", optional(scope.saga_key)),
            ("startedAt", value::text(scope.saga_started_at.to_string())),
        ])),
        "steps" => {
            let mut steps = Vec::new();
            for nth in Wanted::Parts(wanted).steps(scope.steps) {
                let step = scope.steps.at(nth);
                let Some(wanted) = wanted.field(step.id) else {
                    continue;
                };
                let mut entries = vec![("status", value::string(step.status))];
                if let Some(output) = step.output
                    && let Some(wanted) = wanted.field("output")
                {
                    entries.push(("output", read(output.text(), Some(wanted))?));
                }
                steps.push((step.id, value::map(entries)));
            }
            Ok(value::map(steps))
        }
        "signals" => {
            let mut signals = Vec::new();
            for (id, payload) in &scope.signals {
                if let (Some(payload), Some(wanted)) = (payload, wanted.field(id)) {
                    signals.push((*id, read(payload.text(), Some(wanted))?));
                }
            }
            Ok(value::map(signals))
        }
        "error" => Ok(error_value(error(scope)?)),
        "self" => {
            let itself = scope.itself.as_ref().ok_or("there is no `self` here")?;
            let error = itself.error.map_or_else(|| optional(None), error_value);
            let output = itself.output.map_or("null", |output| output.text());
            Ok(value::map([
                ("input", read(itself.input.text(), wanted.field("input"))?),
                ("output", read(output, wanted.field("output"))?),
                ("error", error),
                ("reason", value::string(itself.reason)),
            ]))
        }
        root => read(item(scope, root)?.text(), Some(wanted)),
    }
}

fn error_value<'v>((code, message): (&'v str, &'v str)) -> Value<'v> {
    value::map([
        ("code", value::string(code)),
        ("message", value::string(message)),
    ])
}

/// Which fields of a root are referred to.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'p> {
    /// This one.
    First(Option<&'p str>),
    /// Those with a part that is.
    Parts(&'p Projection),
}

impl Wanted<'_> {
    fn has(self, name: &str) -> bool {
        match self {
            Self::First(first) => first == Some(name),
            Self::Parts(parts) => parts.field(name).is_some(),
        }
    }

    /// Where the steps among them stand, in document order.
    fn steps(self, steps: &dyn Steps) -> Vec<usize> {
        match self {
            Self::First(first) => first.and_then(|id| steps.find(id)).into_iter().collect(),
            Self::Parts(Projection::Whole) => (0..steps.count()).collect(),
            Self::Parts(Projection::Presence) => Vec::new(),
            Self::Parts(Projection::Fields(fields)) => {
                let found = fields.keys().filter_map(|id| steps.find(id));
                let mut found: Vec<usize> = found.collect();
                found.sort_unstable();
                found
            }
        }
    }
}

/// The payload bytes that looking for parts of a root goes through. Of the steps, only the wanted ones are looked at.
pub(super) fn bytes_of(scope: &Scope<'_>, root: &str, wanted: Wanted<'_>) -> usize {
    let len = |payload: Option<&crate::Payload>| payload.map_or(0, |some| some.as_bytes().len());
    match root {
        "input" => len(Some(scope.input)),
        "steps" => {
            let steps = wanted.steps(scope.steps).into_iter();
            steps.map(|nth| len(scope.steps.at(nth).output)).sum()
        }
        "self" => {
            let itself = scope.itself.as_ref();
            itself.map_or(0, |itself| len(Some(itself.input)) + len(itself.output))
        }
        "signals" => scope
            .signals
            .iter()
            .filter(|(id, _)| wanted.has(id))
            .map(|(_, payload)| len(*payload))
            .sum(),
        "saga" | "error" => 0,
        root => item(scope, root).map_or(0, |item| len(Some(item))),
    }
}

fn signal<'s>(scope: &Scope<'s>, id: &str) -> Result<&'s crate::Payload, String> {
    let mut signals = scope.signals.iter();
    let (_, payload) = signals
        .find(|(known, _)| *known == id)
        .ok_or_else(|| format!("there is no signal `{id}`"))?;
    payload.ok_or_else(|| format!("no signal `{id}` has come"))
}

fn error<'s>(scope: &Scope<'s>) -> Result<(&'s str, &'s str), String> {
    scope
        .error
        .ok_or_else(|| "there is no `error` here".to_owned())
}

fn item<'s>(scope: &Scope<'s>, root: &str) -> Result<&'s crate::Payload, String> {
    match scope.item {
        Some((name, item)) if name == root => Ok(item),
        _ => Err(format!("there is no `{root}`")),
    }
}

fn step<'s>(scope: &Scope<'s>, id: &str) -> Result<StepScope<'s>, String> {
    let step = scope.steps.find(id).map(|nth| scope.steps.at(nth));
    step.ok_or_else(|| format!("there is no step `{id}`"))
}

fn no_output(step: &StepScope<'_>) -> String {
    format!("step `{}` is {} and has no output", step.id, step.status)
}

/// The part of a JSON text at a path of fields.
fn select<'a>(text: &'a str, fields: &[String], name: &str) -> Result<&'a str, String> {
    if fields.is_empty() {
        return Ok(text);
    }
    let fault = |fault: Fault| fault.to_string();
    let mut reader = Reader::new(text);
    for (nth, field) in fields.iter().enumerate() {
        let here = || {
            let path = fields[..nth].iter().map(String::as_str);
            [name].into_iter().chain(path).collect::<Vec<_>>().join(".")
        };
        match reader.peek() {
            Some(b'{') => {}
            first => return Err(format!("`{}` is {}, not an object", here(), kind(first))),
        }
        if !reader.find(field).map_err(fault)? {
            return Err(format!("`{}` has no field `{field}`", here()));
        }
    }
    reader.skip().map_err(fault)
}

fn select_owned<'s>(text: String, fields: &[String], name: &str) -> Result<Cow<'s, str>, String> {
    match select(&text, fields, name) {
        Ok(part) => Ok(Cow::Owned(part.to_owned())),
        Err(error) => Err(error),
    }
}

fn kind(first: Option<u8>) -> &'static str {
    match first {
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a bool",
        Some(b'n') => "null",
        Some(b'{') => "an object",
        _ => "a number",
    }
}

fn saga_json(scope: &Scope<'_>) -> String {
    let mut out = String::from("{\"id\":");
    json::write_string(&mut out, &scope.saga_id.to_string());
    out.push_str(",\"key\":");
    match scope.saga_key {
        Some(key) => json::write_string(&mut out, key),
        None => out.push_str("null"),
    }
    out.push_str(",\"startedAt\":");
    json::write_string(&mut out, &scope.saga_started_at.to_string());
    out.push('}');
    out
}

fn step_json(step: &StepScope<'_>) -> String {
    let mut out = String::from("{\"status\":");
    json::write_string(&mut out, step.status);
    if let Some(output) = step.output {
        out.push_str(",\"output\":");
        out.push_str(output.text());
    }
    out.push('}');
    out
}

fn self_json(itself: &SelfScope<'_>) -> String {
    let mut out = String::from("{\"input\":");
    out.push_str(itself.input.text());
    out.push_str(",\"output\":");
    out.push_str(itself.output.map_or("null", |output| output.text()));
    out.push_str(",\"error\":");
    match itself.error {
        Some(error) => out.push_str(&error_json(error)),
        None => out.push_str("null"),
    }
    out.push_str(",\"reason\":");
    json::write_string(&mut out, itself.reason);
    out.push('}');
    out
}

fn error_json((code, message): (&str, &str)) -> String {
    let mut out = String::from("{\"code\":");
    json::write_string(&mut out, code);
    out.push_str(",\"message\":");
    json::write_string(&mut out, message);
    out.push('}');
    out
}
