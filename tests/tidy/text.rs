//! Checks of one file: its path from the root, and its text. Each returns a sentence for everything it finds.

/// Lines that a file may have, tests and generated code aside.
const LINES_MAX: usize = 800;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 9] = [
    "common",
    "util",
    "utils",
    "types",
    "helper",
    "helpers",
    "misc",
    "shared",
    "lib_utils",
];

/// Where product code may sleep, and why. A test may not, but for the harnesses that watch other processes.
const SLEEPERS: [(&str, &str); 20] = [
    ("engine/cli/src/bench/", "keeps a pace"),
    ("engine/cli/src/children.rs", "watches another process"),
    (
        "engine/cli/src/connection.rs",
        "waits for a server to come back",
    ),
    ("engine/cli/src/demo/", "is a play with pauses"),
    ("engine/grpc/src/connection.rs", "an accept that failed"),
    ("engine/grpc/src/server.rs", "the grace of open connections"),
    ("engine/grpc/src/service/saga.rs", "the deadline of a wait"),
    ("engine/grpc/src/service/start.rs", "the deadline of a wait"),
    ("engine/orchestrator/src/backoff.rs", "the backoff"),
    (
        "engine/orchestrator/src/dispatch/registry.rs",
        "a session's lease",
    ),
    (
        "engine/orchestrator/src/incidents.rs",
        "keeps the rate of an act on a group",
    ),
    (
        "engine/orchestrator/src/lane/task.rs",
        "the shard's next timer",
    ),
    ("engine/orchestrator/src/lease.rs", "renews the lease"),
    (
        "engine/orchestrator/src/loading.rs",
        "keeps the rate of sagas that wake",
    ),
    (
        "engine/orchestrator/src/retention.rs",
        "rests between sweeps",
    ),
    (
        "engine/orchestrator/tests/",
        "runs on tokio's virtual clock",
    ),
    ("engine/postgres-cluster/src/", "watches another process"),
    (
        "engine/store-sqlite/src/",
        "a file that another process has locked",
    ),
    ("engine/store-postgres/src/", "a database that is away"),
    ("engine/server/src/", "the deadline of a drain"),
];

/// The same, for what is neither engine nor test of it.
const SLEEPERS_OUTSIDE: [(&str, &str); 9] = [
    ("sdk/rust/src/client/", "the backoff"),
    (
        "sdk/rust/src/participant/attachment.rs",
        "the backoff, and deadlines",
    ),
    ("examples/order-fulfilment/src/services/", "a slow carrier"),
    ("examples/money-transfer/src/abroad.rs", "a slower bank"),
    ("examples/money-transfer/src/ledger.rs", "a slow bank"),
    ("tests/src/", "watches other processes"),
    ("tests/faults/", "keeps the pace of faults"),
    ("tests/tidy/", "names what it looks for"),
    ("benches/", "keeps a pace"),
];

/// Rooms that may hold SQL: the stores, and those whose tests or books are a database.
const SQL_ROOMS: [&str; 7] = [
    "engine/store-postgres/",
    "engine/store-sqlite/",
    "sdk/rust/",
    "examples/",
    "tests/",
    "engine/postgres-cluster/",
    // The floor of the measurements writes the same rows through the stores' own statements.
    "engine/cli/src/bench/",
];

pub fn opening(path: &str, text: &str) -> Vec<String> {
    if text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!(
        "{path}: begins without `//!`: say what the file is for"
    )]
}

pub fn length(path: &str, text: &str) -> Vec<String> {
    let lines = product_lines(path, text).count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    vec![format!(
        "{path}: has {lines} lines, and {LINES_MAX} are the most: split it"
    )]
}

pub fn name(path: &str) -> Vec<String> {
    let parts = path.split('/').filter(|part| {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        EMPTY_NAMES.contains(&stem)
    });
    parts
        .map(|part| format!("{path}: `{part}` says nothing: name it for what it does"))
        .collect()
}

pub fn module_names(path: &str, text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| {
        let line = line.trim_start().trim_start_matches("pub ");
        let rest = line
            .trim_start_matches("pub(crate) ")
            .strip_prefix("mod ")?;
        rest.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
    });
    names
        .filter(|name| EMPTY_NAMES.contains(name))
        .map(|name| format!("{path}: a module called `{name}` says nothing"))
        .collect()
}

pub fn leftovers(path: &str, text: &str) -> Vec<String> {
    // Written in two halves, so that this file does not find itself.
    let marks = [
        ["todo", "!("],
        ["unimplemented", "!("],
        ["dbg", "!("],
        ["#[ign", "ore"],
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X:"],
    ];
    find(
        path,
        text,
        &marks.map(|halves| halves.concat()),
        "is left unfinished",
    )
}

pub fn macros(path: &str, text: &str) -> Vec<String> {
    let mark = ["macro_rules", "!"].concat();
    find(
        path,
        text,
        &[mark],
        "is a macro: a function or a match will do",
    )
}

pub fn sleeps(path: &str, text: &str) -> Vec<String> {
    let allowed = |list: &[(&str, &str)]| list.iter().any(|(room, _)| path.starts_with(room));
    if allowed(&SLEEPERS) || allowed(&SLEEPERS_OUTSIDE) {
        return Vec::new();
    }
    // Virtual time is no time: a paused clock jumps.
    let paused = text.contains("start_paused = true");
    let lines: Vec<&str> = match (is_test(path), paused) {
        (true, true) => return Vec::new(),
        (false, true) => text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .collect(),
        (_, false) => text.lines().collect(),
    };
    let lines = lines.join("\n");
    let marks = ["thread::sleep(", "time::sleep(", "time::sleep_until("];
    find(
        path,
        &lines,
        &marks.map(ToOwned::to_owned),
        "waits for time: wait for a signal",
    )
}

pub fn core_purity(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with("engine/core/src/") {
        return Vec::new();
    }
    let marks = [
        "async fn",
        "async move",
        "std::fs",
        "std::net",
        "std::io",
        "std::env",
        "std::process",
        "std::thread",
        "Instant::now",
        "SystemTime",
        "println!",
        "HashMap",
        "HashSet",
        "now_v7",
        "new_v4",
        "tracing::",
        "serde",
    ];
    let code: Vec<&str> = text
        .lines()
        .map(|line| {
            if line.trim_start().starts_with("//") {
                ""
            } else {
                line
            }
        })
        .collect();
    find(
        path,
        &code.join("\n"),
        &marks.map(ToOwned::to_owned),
        "has no place in the core, which decides and does nothing",
    )
}

pub fn sql(path: &str, text: &str) -> Vec<String> {
    if SQL_ROOMS.iter().any(|room| path.starts_with(room)) {
        return Vec::new();
    }
    let marks = [
        "SELECT ",
        "INSERT INTO ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "sqlx::query",
    ];
    let code: Vec<&str> = text
        .lines()
        .map(|line| {
            if line.trim_start().starts_with("//") {
                ""
            } else {
                line
            }
        })
        .collect();
    find(
        path,
        &code.join("\n"),
        &marks.map(ToOwned::to_owned),
        "is SQL outside of the stores",
    )
}

pub fn foreign_words(path: &str, text: &str) -> Vec<String> {
    // In halves, for the same reason as above.
    let marks = [
        ["/ho", "me/"],
        ["/ro", "ot/"],
        ["/Us", "ers/"],
        ["/wo", "rk/"],
        ["/tm", "p/wt"],
        ["work", "tree"],
        ["b-se", "ed"],
        ["../sha", "red/"],
        ["AI ass", "istant"],
        ["language mo", "del"],
    ];
    find(
        path,
        text,
        &marks.map(|halves| halves.concat()),
        "speaks of one machine or workplace",
    )
}

pub fn lints(path: &str, text: &str) -> Vec<String> {
    let mut section = "";
    let mut says = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        says |= section == "[lints]" && line == "workspace = true";
    }
    if says || text.contains("[workspace.lints") {
        return Vec::new();
    }
    vec![format!("{path}: lacks `[lints] workspace = true`")]
}

pub fn root_entries(files: &[String], allowed: &[&str]) -> Vec<String> {
    let mut entries: Vec<&str> = files
        .iter()
        .filter_map(|file| file.split('/').next())
        .filter(|entry| !allowed.contains(entry))
        .collect();
    entries.dedup();
    entries
        .iter()
        .map(|entry| format!("{entry}: does not belong into the root"))
        .collect()
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs")
}

/// The lines that count: not those of a test file, nor of a module of tests at the end of a file.
fn product_lines<'a>(path: &str, text: &'a str) -> impl Iterator<Item = &'a str> {
    let generated = text.contains("@generated");
    let lines = if is_test(path) || generated { "" } else { text };
    lines.lines().take_while(|line| *line != "#[cfg(test)]")
}

fn find(path: &str, text: &str, marks: &[String], verdict: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for mark in marks.iter().filter(|mark| line.contains(mark.as_str())) {
            found.push(format!("{path}:{}: `{mark}` {verdict}", number + 1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(found: &[String]) {
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_file_without_an_opening_is_found() {
        assert_eq!(opening("a.rs", "use std::fs;\n").len(), 1);
        assert_eq!(opening("a.rs", "").len(), 1);
        clean(&opening("a.rs", "//! Reads.\n"));
    }

    #[test]
    fn a_line_too_many_is_found_and_tests_do_not_count() {
        let long = "x\n".repeat(LINES_MAX);
        clean(&length("src/a.rs", &long));
        assert_eq!(length("src/a.rs", &format!("{long}x\n")).len(), 1);
        clean(&length(
            "src/a.rs",
            &format!("{long}#[cfg(test)]\nmod tests {{\n}}\n"),
        ));
        clean(&length("tests/a.rs", &format!("{long}x\n")));
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        for path in [
            "engine/common/src/lib.rs",
            "src/utils.rs",
            "src/types/mod.rs",
        ] {
            assert_eq!(name(path).len(), 1, "{path}");
        }
        clean(&name("engine/core/src/fact.rs"));
        assert_eq!(module_names("a.rs", "pub(crate) mod helpers {\n").len(), 1);
        assert_eq!(module_names("a.rs", "mod util;\n").len(), 1);
        clean(&module_names("a.rs", "mod utility_bill;\n"));
    }

    #[test]
    fn leftovers_and_macros_are_found_with_their_line() {
        let unfinished = ["fn f() { to", "do!() }"].concat();
        assert!(leftovers("a.rs", &unfinished)[0].starts_with("a.rs:1: "));
        let ignored = ["\n#[igno", "re = \"slow\"]\n"].concat();
        assert!(leftovers("a.rs", &ignored)[0].starts_with("a.rs:2: "));
        clean(&leftovers("a.rs", "fn f() {}\n"));
        assert_eq!(macros("a.rs", &["macro_ru", "les! m {}"].concat()).len(), 1);
        clean(&macros("a.rs", "fn macros() {}"));
    }

    #[test]
    fn a_sleep_in_a_test_or_in_code_without_leave_is_found() {
        let sleep = ["tokio::time::sl", "eep(second).await;"].concat();
        assert_eq!(sleeps("engine/core/tests/a.rs", &sleep).len(), 1);
        assert_eq!(sleeps("sdk/rust/src/context.rs", &sleep).len(), 1);
        clean(&sleeps("sdk/rust/src/client/mod.rs", &sleep));
        let tested = format!("{sleep}\n#[cfg(test)]\nstart_paused = true\n{sleep}");
        assert_eq!(sleeps("sdk/rust/src/context.rs", &tested).len(), 1);
        clean(&sleeps(
            "sdk/rust/tests/a.rs",
            &format!("start_paused = true\n{sleep}"),
        ));
    }

    #[test]
    fn async_and_input_and_output_are_found_in_the_core_alone() {
        for code in [
            "async fn f() {}",
            "use std::fs;",
            "let a = Instant::now();",
            "HashMap::new()",
        ] {
            assert_eq!(core_purity("engine/core/src/a.rs", code).len(), 1, "{code}");
            clean(&core_purity("engine/store/src/a.rs", code));
        }
        clean(&core_purity("engine/core/src/a.rs", "// no std::fs here\n"));
    }

    #[test]
    fn sql_outside_of_the_stores_is_found() {
        let code = "let q = \"SELECT 1\";";
        assert_eq!(sql("engine/grpc/src/a.rs", code).len(), 1);
        clean(&sql("engine/store-sqlite/src/sql.rs", code));
    }

    #[test]
    fn words_of_one_machine_are_found() {
        let path = ["see /ho", "me/me/notes"].concat();
        assert_eq!(foreign_words("README.md", &path).len(), 1);
        clean(&foreign_words("README.md", "see docs/notes"));
    }

    #[test]
    fn a_package_without_the_lints_is_found() {
        assert_eq!(
            lints("a/Cargo.toml", "[package]\nworkspace = true\n").len(),
            1
        );
        assert_eq!(
            lints(
                "a/Cargo.toml",
                "[lints]\n[dependencies]\nworkspace = true\n"
            )
            .len(),
            1
        );
        clean(&lints(
            "a/Cargo.toml",
            "[package]\n\n[lints]\nworkspace = true\n",
        ));
    }

    #[test]
    fn a_stray_file_in_the_root_is_found_once() {
        let files = ["notes/a.md", "notes/b.md", "proto/a.proto"].map(ToOwned::to_owned);
        assert_eq!(
            root_entries(&files, &["proto"]),
            ["notes: does not belong into the root"]
        );
    }
}
