//! Cases from elsewhere: what other systems' tests and papers say that a saga has to come to, expressed anew as data and
//! played on the real saga and shard machines. Facts and expectations are theirs, each with its source; no line of code is.
//!
//! A file in `data` is made of sections, `=== title`:
//!
//! | section | what it says |
//! |---|---|
//! | `origin` | `project`, `test`, `file`, `asserts`; `differs`: what Amends does otherwise, and why; `besides`: where else it is tested |
//! | `definition` | YAML; those after the first are the children's |
//! | `run name` | `end`, `ledger` (the sum of what is booked; 0 by default), `incident`, `crashes`, `deliver: twice` |
//! | `participants` | `action[item]@round#from..to: what it does`; the first line that fits counts, else it succeeds |
//! | `script` | below; by default `start {}`, `settle` |
//! | `calls` | every call in the order in which participants saw it |
//! | `history` | every fact in the order in which it was recorded; `child: ` stands before those of children |
//! | `every step` | instead of runs: ways to go wrong, of each step in turn (`every_step`) |
//!
//! | line of a script | what happens |
//! |---|---|
//! | `start [key=text] json` | a saga of the first definition starts |
//! | `go`, `go until action`, `go past action` | what is on its way is carried out; up to that call, or past it |
//! | `pass 10s` | time passes, and what becomes due is carried out |
//! | `settle` | time passes until every saga has ended, the first is parked, or nothing is waited for |
//! | `crash` | both shards are dropped, with everything on its way; new ones replay from the bytes of the rows |
//! | `arrive action`, `answer action` | a command, or an answer, that was late arrives |
//! | `cancel`, `signal name json` | as a client does it |
//! | `retry`, `resolve` (`step[item] forward\|compensate [json]`), `resolve-saga json`, `skip`, `absent` (`step[item] [forward\|compensate]`), `compensate`, `pause`, `resume`, `terminate` | as an operator does it |
//! | `expect state` | the saga is in this state |
//! | `… => answer` | the answer is this; without it, anything but a refusal |
//!
//! Each run is played again with a crash at each of its rows: before the row is written, after that, and after what it lets
//! out has left. It has to come to the same end, the same ledger and, repetitions aside, the same calls (`crashes: end`: calls
//! may differ; `crashes: none`: the script has its own). After every row `invariants::check` has to hold, and the fold of the bytes has to be the
//! live state.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod case;
mod every_step;
mod participants;
mod planted;
mod play;
mod stage;
mod words;

#[path = "../compatibility/mod.rs"]
mod compatibility;

use std::fs;
use std::path::{Path, PathBuf};

use case::Case;

/// Where the files are.
fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/data")
}

/// Every case, by the path of its file below `data`.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut open = vec![data()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path
                .strip_prefix(data())
                .expect("below it")
                .with_extension("");
            let text = fs::read_to_string(&path).expect("a text");
            cases.push(Case::read(&name.to_string_lossy(), &text));
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// Judges the cases of one origin; all that is wrong at once.
fn judge(origin: &str) {
    let of_origin: Vec<_> = cases()
        .into_iter()
        .filter(|case| case.name.starts_with(origin))
        .collect();
    assert!(!of_origin.is_empty(), "there are no cases of {origin}");
    let mut found = Vec::new();
    for case in &of_origin {
        found.extend(
            case.runs
                .iter()
                .filter_map(|run| play::judge(case, run).err()),
        );
        if !case.every_step.is_empty() {
            found.extend(every_step::judge(case).err());
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n\n"));
}

#[test]
fn dtm_s_sagas_come_to_what_dtm_asserts() {
    judge("dtm/");
}

#[test]
fn seata_s_state_machines_come_to_what_seata_asserts() {
    judge("seata/");
}

#[test]
fn steno_s_nodes_fail_and_repeat_and_everything_is_unwound() {
    judge("steno/");
}

#[test]
fn servicecomb_s_events_lead_to_the_states_that_it_asserts() {
    judge("servicecomb/");
}

#[test]
fn workflow_core_s_compensations_run_in_the_order_that_it_asserts() {
    judge("workflow-core/");
}

#[test]
fn the_paper_s_sequence_holds_for_every_step_that_fails() {
    judge("paper/");
}

#[test]
fn what_no_other_system_s_case_has_comes_to_what_is_said_here() {
    judge("amends/");
}

#[test]
fn every_origin_is_judged() {
    let known = [
        "amends/",
        "dtm/",
        "seata/",
        "steno/",
        "servicecomb/",
        "workflow-core/",
        "paper/",
    ];
    for case in cases() {
        let judged = known.iter().any(|origin| case.name.starts_with(origin));
        assert!(judged, "{} is judged by nobody", case.name);
    }
}
