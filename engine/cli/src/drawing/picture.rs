//! What a picture shows, of which format ever: the steps with their role, work and notes, what undoes each, and the edges.
//! Every text is plain here, on one line and bounded; the formats escape it. Deliberately not here: places and colours.

use std::time::Duration;

use amends_definitions::{
    Compensation, CompensationOrder, Definition, Kind, Sleep, Step, Then, Work,
};

use crate::output::plain;

/// Characters of a line in a box; the rest is an ellipsis.
const TEXT_CHARS_MAX: usize = 44;
/// Lines of a note.
const NOTE_LINES_MAX: usize = 3;

/// A definition as boxes and edges.
#[derive(Debug)]
pub struct Picture {
    /// The definition's name.
    pub title: String,
    /// The author's description, whole.
    pub about: Option<String>,
    /// The steps in document order.
    pub steps: Vec<StepBox>,
    /// From a step to one that needs it, as indices of `steps`.
    pub forward: Vec<(usize, usize)>,
    /// From a compensation to the one that follows it, as indices of `steps`.
    pub backward: Vec<(usize, usize)>,
}

/// A step.
#[derive(Debug, PartialEq, Eq)]
pub struct StepBox {
    /// Its id.
    pub id: String,
    /// Its role.
    pub kind: Kind,
    /// What it does, such as the action it calls.
    pub work: String,
    /// What else is to be known, a line each.
    pub notes: Vec<String>,
    /// What undoes it, such as the action that does.
    pub undo: Option<String>,
}

impl Picture {
    /// What there is to draw of a definition.
    #[must_use]
    pub fn new(definition: &Definition) -> Self {
        let steps: Vec<StepBox> = definition.steps().iter().map(read_step).collect();
        let mut forward = Vec::new();
        for step in definition.step_indices() {
            let needs = definition.graph().needs(step).iter();
            forward.extend(needs.map(|need| (need.index(), step.index())));
        }
        let backward = match definition.compensation().order {
            CompensationOrder::Reverse => undone_after(&steps, definition),
            CompensationOrder::Parallel => Vec::new(),
        };
        Self {
            title: definition.name().to_owned(),
            about: definition.description().map(printable),
            steps,
            forward,
            backward,
        }
    }
}

/// All that is read of a step.
fn read_step(step: &Step) -> StepBox {
    let mut notes = Vec::new();
    if let Some(foreach) = step.foreach() {
        let list = foreach.list().source();
        notes.extend(note(&format!("for each {} in {list}", foreach.name())));
        notes.push(format!("{} at a time", foreach.max_parallel()));
    }
    if let Some(when) = step.when() {
        notes.extend(note(&format!("when {}", when.source())));
    }
    for route in step.on_error() {
        let codes = match route.codes() {
            [] => "any failure".to_owned(),
            codes => codes.join(", "),
        };
        notes.extend(note(&format!("on {codes}: {}", then_name(route.then()))));
    }
    let undo = match step.compensation() {
        Compensation::Call(call) => Some(line(call.action().as_str())),
        Compensation::Child => Some("the child is undone".to_owned()),
        Compensation::None { why } => {
            notes.extend(note(&format!("nothing to undo: {why}")));
            None
        }
        Compensation::NotApplicable => None,
    };
    StepBox {
        id: line(step.id()),
        kind: step.kind(),
        work: line(&work(step.work())),
        notes,
        undo,
    }
}

fn work(work: &Work) -> String {
    match work {
        Work::Call(call) => call.action().to_string(),
        Work::Wait(wait) => match wait.timeout() {
            None => format!("wait for {}", wait.signal()),
            Some(timeout) => {
                let then = then_name(wait.on_timeout());
                format!("wait for {}, {}: {then}", wait.signal(), time(timeout))
            }
        },
        Work::Sleep(Sleep::For(duration)) => format!("sleep {}", time(*duration)),
        Work::Sleep(Sleep::Until(time)) => format!("sleep until {}", time.source()),
        Work::Saga(child) => format!("saga {}", child.name()),
        Work::Emit(emit) => format!("emit {}", emit.event_type()),
        Work::Fail(fail) => format!("fail {}", fail.code()),
    }
}

fn then_name(then: Then) -> &'static str {
    match then {
        Then::Compensate => "compensate",
        Then::Continue => "continue",
        Then::Park => "park",
    }
}

/// A duration in the largest unit that loses nothing.
fn time(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    let unit = units
        .iter()
        .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    unit.map_or_else(
        || format!("{ms}ms"),
        |(unit, name)| format!("{}{name}", ms / unit),
    )
}

/// The edges between compensations: each step's follows those of the nearest steps behind it that have one.
fn undone_after(steps: &[StepBox], definition: &Definition) -> Vec<(usize, usize)> {
    let mut edges = Vec::new();
    for step in definition.step_indices() {
        if steps[step.index()].undo.is_none() {
            continue;
        }
        let mut seen = vec![false; steps.len()];
        let mut open = definition.graph().needs(step).to_vec();
        while let Some(need) = open.pop() {
            if std::mem::replace(&mut seen[need.index()], true) {
                continue;
            }
            if steps[need.index()].undo.is_some() {
                edges.push((step.index(), need.index()));
            } else {
                open.extend_from_slice(definition.graph().needs(need));
            }
        }
    }
    edges.sort_unstable();
    edges
}

/// How a role is called.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Compensatable => "compensatable",
        Kind::Pivot => "pivot",
        Kind::Retriable => "retriable",
    }
}

/// An author's text as one bounded line without control characters.
fn line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = printable(&words.join(" "));
    if text.chars().count() <= TEXT_CHARS_MAX {
        return text;
    }
    let kept: String = text.chars().take(TEXT_CHARS_MAX - 1).collect();
    format!("{kept}…")
}

/// An author's text as a few such lines, broken between words.
fn note(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let full = lines.len() == NOTE_LINES_MAX;
        match lines.last_mut() {
            Some(last) if last.chars().count() + word.chars().count() < TEXT_CHARS_MAX => {
                last.push(' ');
                last.push_str(word);
            }
            // What has no room left is cut with the last line.
            Some(last) if full => {
                last.push(' ');
                last.push_str(word);
                break;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|text| line(text)).collect()
}

/// An author's text without what no format can hold: control characters, and what Unicode says is no character.
fn printable(text: &str) -> String {
    plain(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The picture of a definition, of which the steps are given.
    pub fn picture(steps: &str) -> Picture {
        let source = format!("apiVersion: amends/v1\nname: test\nsteps:\n{steps}");
        of_source(&source)
    }

    /// The picture of a definition.
    pub fn of_source(source: &str) -> Picture {
        let checked = amends_definitions::check(source.as_bytes());
        let found = checked.diagnostics;
        Picture::new(&checked.definition.unwrap_or_else(|| panic!("{found:?}")))
    }

    /// Authors' texts at their worst, in every place that a picture shows.
    pub const HOSTILE: &str = r##"apiVersion: amends/v1
name: hostile
description: "</desc><script>alert(1)</script> \" ' & ]]> --> \\N %% \u0007 \uFFFF\nend"
steps:
  - {id: a, when: "input.x == '\"]; <script>alert(1)</script>#quot; \\\\'", call: p.a, compensate: {call: p.b}}
  - {id: b, call: p.a, compensate: {none: "\"> <img src=x onerror=alert(1)> `code` \n --> end"}}
"##;

    const DIAMOND: &str = "  - {id: a, call: p.a, compensate: {call: p.ua}}
  - {id: b, needs: [a], call: p.b, compensate: {none: reads only}}
  - {id: c, needs: [a], call: p.c, compensate: {call: p.uc}}
  - {id: d, needs: [b, c], call: p.d, compensate: {call: p.ud}}
  - {id: e, kind: pivot, when: 'input.x > 1', call: p.e}
  - {id: f, kind: retriable, call: p.f}
";

    #[test]
    fn edges_go_forward_and_compensations_back_through_what_needs_none() {
        let picture = picture(DIAMOND);
        let forward = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 5)];
        assert_eq!(picture.forward, forward);
        assert_eq!(picture.backward, [(2, 0), (3, 0), (3, 2)]);
        assert_eq!(picture.steps[1].notes, ["nothing to undo: reads only"]);
        let pivot = &picture.steps[4];
        assert_eq!((pivot.kind, pivot.undo.as_ref()), (Kind::Pivot, None));
        assert_eq!(pivot.notes, ["when input.x > 1"]);
        assert_eq!(picture.steps[3].work, "p.d");
        assert_eq!(picture.steps[3].undo.as_deref(), Some("p.ud"));
    }

    #[test]
    fn every_kind_of_work_is_said_in_a_few_words() {
        let picture = of_source(
            "apiVersion: amends/v1
name: test
signals: {approved: {}}
steps:
  - id: a
    foreach: {in: input.items, as: one, maxParallel: 3}
    call: p.a
    onError: [{codes: [GONE, FATAL], then: continue}, {then: park}]
    compensate: {call: p.ua}
  - {id: b, wait: {signal: approved, timeout: 48h, onTimeout: park}}
  - {id: c, wait: {signal: approved}}
  - {id: d, sleep: 90s}
  - {id: e, sleep: {until: input.at}}
  - {id: f, saga: {name: other}}
  - {id: g, when: input.x, fail: {code: GONE}}
  - {id: h, kind: retriable, emit: {type: done}}
",
        );
        let works: Vec<&str> = picture.steps.iter().map(|step| &step.work[..]).collect();
        assert_eq!(
            works,
            [
                "p.a",
                "wait for approved, 2d: park",
                "wait for approved",
                "sleep 90s",
                "sleep until input.at",
                "saga other",
                "fail GONE",
                "emit done"
            ]
        );
        let notes = [
            "for each one in input.items",
            "3 at a time",
            "on FATAL, GONE: continue",
            "on any failure: park",
        ];
        assert_eq!(picture.steps[0].notes, notes);
        assert_eq!(
            picture.steps[5].undo.as_deref(),
            Some("the child is undone")
        );
        assert_eq!(picture.backward, [(5, 0)]);
    }

    #[test]
    fn texts_are_short_and_on_one_line() {
        assert_eq!(line(" a \n\t b\u{1b}[0m"), "a b\\u{1b}[0m");
        assert_eq!(
            line(&"ä".repeat(TEXT_CHARS_MAX)).chars().count(),
            TEXT_CHARS_MAX
        );
        let cut = line(&"ä".repeat(TEXT_CHARS_MAX + 1));
        assert_eq!(cut.chars().count(), TEXT_CHARS_MAX);
        assert!(cut.ends_with('…'));
        let words = ["word"; 40].join(" ");
        let lines = note(&words);
        assert_eq!(lines.len(), NOTE_LINES_MAX);
        assert_eq!(lines[0], ["word"; 9].join(" "));
        assert!(lines[2].ends_with('…'), "{lines:?}");
        assert_eq!(note(&words[..59]).join(" "), &words[..59]);
        assert_eq!(note("when x"), ["when x"]);
    }
}
