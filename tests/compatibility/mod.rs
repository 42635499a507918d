//! Journals that every later version has to replay: the rows of the cases as a version wrote them, the definition in its
//! normal form, and after each row the state and what it asked for. The files are frozen: `AMENDS_UPDATE_GOLDEN=1` writes those
//! that this version has not written yet, and touches no other. Part of the binary of `cases`, whose runs are recorded.
//!
//! A file is lines: `run`, then for each saga `saga id normal-form`, its rows (`row position time body`), and indented below a
//! row what `digest` says of the state that it leads to. Of long histories not every row has it.

pub mod digest;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amends_core::{Fact, SagaId, Time};
use amends_definitions::Definition;
use amends_store::record;

use crate::case::Case;
use crate::play::play;
use crate::stage::{Row, Stage, read_definition, replayed};
use digest::digest;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compatibility/golden")
}

fn file_of(case: &Case) -> PathBuf {
    let name = case.name.replace('/', ".");
    golden()
        .join(env!("CARGO_PKG_VERSION"))
        .join(format!("{name}.journal"))
}

/// The journals of a case.
fn recorded(case: &Case) -> String {
    let mut text = String::new();
    for run in &case.runs {
        let stage = play(case, run, None);
        writeln!(text, "run {}", run.name).expect("a string");
        let sagas: Vec<_> = stage.sagas().map(|(saga, _)| saga).collect();
        for saga in sagas {
            of_saga(&mut text, &stage, saga);
        }
    }
    text
}

fn of_saga(text: &mut String, stage: &Stage, saga: SagaId) {
    let normal_form = stage.normal_form(saga);
    let definition = read_definition(normal_form);
    let rows = stage.rows_of(saga);
    writeln!(text, "saga {saga} {normal_form}").expect("a string");
    for (at, row) in rows.iter().enumerate() {
        let body = String::from_utf8_lossy(&row.body);
        let time = row.at.as_micros();
        writeln!(text, "row {} {time} {body}", row.position).expect("a string");
        let last = at + 1 == rows.len();
        if last || rows.len() <= 20 || at % 10 == 0 {
            for line in state(saga, &definition, &rows[..=at]) {
                writeln!(text, "  {line}").expect("a string");
            }
        }
    }
}

fn state(saga: SagaId, definition: &Arc<Definition>, rows: &[Row]) -> Vec<String> {
    let now = rows.last().expect("a row").at;
    digest(&replayed(saga, Arc::clone(definition), rows), now)
}

/// Replays a file; how many states were compared, or the first that differs.
fn replay(text: &str) -> Result<usize, String> {
    let mut compared = 0;
    let mut saga: Option<(SagaId, Arc<Definition>)> = None;
    let mut rows: Vec<Row> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (word, rest) = line.split_once(' ').ok_or("an empty line")?;
        match word {
            "run" => {}
            "saga" => {
                let (id, normal_form) = rest.split_once(' ').ok_or("no definition")?;
                let id = id.parse().map_err(|_| format!("no id: {id}"))?;
                saga = Some((id, read_definition(normal_form)));
                rows.clear();
            }
            "row" => {
                let (id, definition) = saga.as_ref().ok_or("a row before its saga")?;
                rows.push(row(*id, rest)?);
                let mut said = Vec::new();
                while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
                    said.push(line.trim_start().to_owned());
                }
                if said.is_empty() {
                    continue;
                }
                let now = state(*id, definition, &rows);
                if now != said {
                    let at = rows.len();
                    return Err(format!(
                        "after row {at} of {id} it said\n{said:#?}\nand is\n{now:#?}"
                    ));
                }
                compared += 1;
            }
            _ => return Err(format!("no such line: {line}")),
        }
    }
    Ok(compared)
}

fn row(saga: SagaId, text: &str) -> Result<Row, String> {
    let mut parts = text.splitn(3, ' ');
    let mut next = || parts.next().ok_or_else(|| format!("no row: {text}"));
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|_| format!("no number: {text}"))
    };
    let position = number(next()?)?;
    let micros = i64::try_from(number(next()?)?).map_err(|_| format!("no time: {text}"))?;
    let at = Time::from_micros(micros);
    let body = next()?.as_bytes().to_vec();
    Ok(Row {
        position,
        saga,
        at,
        body,
    })
}

/// Every golden file, of every version.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for version in fs::read_dir(golden()).into_iter().flatten().flatten() {
        let journals = fs::read_dir(version.path()).into_iter().flatten().flatten();
        files.extend(journals.map(|file| file.path()));
    }
    files.sort();
    files
}

/// How many golden journals there are.
const FILES: usize = 35;

/// A fold that no journal goes through could change, and nobody would see it.
#[test]
fn every_kind_of_fact_and_every_act_is_in_a_golden_journal() {
    let (mut kinds, mut acts) = (BTreeSet::new(), BTreeSet::new());
    for file in files() {
        let text = fs::read_to_string(&file).expect("a text");
        let rows = text.lines().filter_map(|line| line.strip_prefix("row "));
        for body in rows.filter_map(|row| row.splitn(3, ' ').nth(2)) {
            for fact in record::decode(1, body.as_bytes()).expect("it is read") {
                kinds.insert(fact.kind());
                if let Fact::Operated(operated) = &fact {
                    acts.insert(operated.act.as_str());
                }
            }
        }
    }
    // As many as `every_kind_of_fact_is_in_the_golden_files` of the record counts, but for `withdrawn`: who plays the cases
    // sends every command at once.
    assert!(!kinds.contains("withdrawn"), "it is counted now");
    assert_eq!(kinds.len(), 29, "{kinds:?}");
    assert_eq!(
        acts.into_iter().collect::<Vec<_>>(),
        [
            "compensate",
            "pause",
            "resolve",
            "resolve_absent",
            "resolve_not_undone",
            "resolve_saga",
            "resume",
            "retry",
            "skip",
            "terminate",
        ]
    );
}

#[test]
fn what_earlier_versions_wrote_replays_to_the_same_states() {
    if std::env::var_os("AMENDS_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        for case in crate::cases() {
            let file = file_of(&case);
            if !case.runs.is_empty() && !file.exists() {
                fs::create_dir_all(file.parent().expect("a directory")).unwrap();
                fs::write(&file, recorded(&case)).unwrap();
            }
        }
    }
    let files = files();
    for case in crate::cases() {
        let written = case.runs.is_empty() || files.contains(&file_of(&case));
        assert!(written, "{} has no golden journal", case.name);
    }
    assert_eq!(files.len(), FILES, "a golden journal is never deleted");
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a text");
        match replay(&text) {
            Ok(compared) => assert!(compared > 1, "{}: nothing compared", file.display()),
            Err(differs) => found.push(format!("{}: {differs}", file.display())),
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n\n"));
}

#[test]
fn a_golden_journal_that_says_something_else_is_found() {
    let case = crate::cases()
        .into_iter()
        .find(|case| case.name == "dtm/saga-rollback");
    let text = recorded(&case.expect("it exists"));
    assert!(replay(&text).is_ok_and(|compared| compared == 4), "{text}");
    let changed = [
        text.replace("  saga compensated", "  saga completed"),
        text.replacen("  send trans_out", "  send trans_in", 1),
        text.replacen("INSUFFICIENT_BALANCE", "NO", 1),
    ];
    for changed in changed {
        assert_ne!(changed, text);
        assert!(replay(&changed).is_err(), "{changed}");
    }
    let lines: Vec<&str> = text.lines().collect();
    let without = |start: &str| {
        let at = lines
            .iter()
            .position(|line| line.starts_with(start))
            .expect("a line");
        [&lines[..at], &lines[at + 1..]].concat().join("\n")
    };
    assert!(replay(&without("  saga")).is_err(), "a line less is found");
}
