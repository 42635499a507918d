//! The habits of this house that a machine can check: what a file opens with, how long it gets, what it is called, which
//! words do not belong, what imports what. Each check is a function over a path and a text, and is shown below to find a
//! bad sample. Deliberately not here: what rustfmt, clippy and the compiler see by themselves.

mod text;
mod walls;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What may lie in the root directory. It is the first thing that a newcomer sees.
const ROOT: [&str; 22] = [
    ".ci",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "NOTICE",
    "README.md",
    "benches",
    "clippy.toml",
    "definitions",
    "deny.toml",
    "docs",
    "engine",
    "examples",
    "proto",
    "sdk",
    "tests",
];

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the tests are one folder deep")
        .to_owned()
}

/// Every file of the repository, as paths from the root with `/`.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files: Vec<String> = match listed {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8(output.stdout).expect("names are UTF-8");
            names.lines().map(ToOwned::to_owned).collect()
        }
        // An unpacked archive has no history.
        _ => walk(&root(), ""),
    };
    files.retain(|file| root().join(file).is_file());
    files.sort();
    assert!(files.len() > 50, "this is not the repository: {files:?}");
    files
}

fn walk(directory: &Path, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !["target", ".git"].contains(&name.as_str()) => {
                found.extend(walk(&entry.path(), &format!("{path}/")));
            }
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    found
}

/// Applies a check to every file whose name ends so, and fails with everything found.
fn check_files(endings: &[&str], check: impl Fn(&str, &str) -> Vec<String>) {
    let mut found = Vec::new();
    for file in files() {
        if endings.iter().any(|ending| file.ends_with(ending)) {
            // Samples of documents that are no UTF-8 are no texts.
            if let Ok(text) = fs::read_to_string(root().join(&file)) {
                found.extend(check(&file, &text));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

const TEXTS: [&str; 9] = [
    ".rs", ".toml", ".md", ".yaml", ".yml", ".sql", ".proto", "/run", ".sh",
];

#[test]
fn every_rust_file_says_first_what_it_is_for() {
    check_files(&[".rs"], text::opening);
}

#[test]
fn files_stay_short() {
    check_files(&[".rs"], text::length);
}

#[test]
fn nothing_is_called_by_a_name_that_says_nothing() {
    let found: Vec<String> = files().iter().flat_map(|file| text::name(file)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    check_files(&[".rs"], text::module_names);
}

#[test]
fn nothing_is_left_unfinished_or_ignored() {
    check_files(&[".rs"], text::leftovers);
}

#[test]
fn there_are_no_macros_of_our_own() {
    check_files(&[".rs"], text::macros);
}

#[test]
fn tests_wait_for_signals_and_not_for_time() {
    check_files(&[".rs"], text::sleeps);
}

#[test]
fn the_core_is_synchronous_and_does_no_input_or_output() {
    check_files(&[".rs"], text::core_purity);
}

#[test]
fn sql_lives_in_the_stores_alone() {
    check_files(&[".rs"], text::sql);
}

#[test]
fn no_machine_and_no_workplace_is_mentioned() {
    check_files(&TEXTS, text::foreign_words);
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    check_files(&["Cargo.toml"], text::lints);
}

#[test]
fn the_root_holds_what_a_newcomer_expects() {
    let found = text::root_entries(&files(), &ROOT);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_rooms_import_what_they_may() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--locked",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "cargo metadata: {said}");
    let metadata = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = walls::packages(&metadata);
    assert!(packages.len() >= 13, "{packages:?}");
    let found = walls::breaches(&packages);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
