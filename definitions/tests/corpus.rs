//! The corpus: documents that are accepted, with their warnings and their normal form, and documents that are rejected, with
//! their diagnostics as text. The expected text lies beside each document; `AMENDS_UPDATE_EXPECT=1` writes it anew, and a
//! human reads the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use amends_definitions::{CODES, Severity, check, from_normal_form, render, to_normal_form};

#[test]
fn accepted_documents_are_definitions_with_the_expected_normal_form() {
    let documents = documents("accepted");
    assert!(documents.len() >= 5, "the corpus is missing");
    for path in documents {
        let source = fs::read(&path).expect("the document is readable");
        let checked = check(&source);
        let text = render(&name(&path), &source, &checked.diagnostics);
        let Some(definition) = checked.definition else {
            panic!("{} is rejected:\n{text}", path.display());
        };
        let normal_form = to_normal_form(&definition);
        let again = from_normal_form(normal_form.as_bytes()).expect("a normal form reads back");
        assert_eq!(again.hash(), definition.hash(), "{}", path.display());
        assert_eq!(to_normal_form(&again), normal_form, "{}", path.display());
        let pretty = pretty(&normal_form);
        expect(&path, &format!("{text}{pretty}\n"));
    }
}

#[test]
fn rejected_documents_get_the_expected_diagnostics() {
    let documents = documents("rejected");
    assert!(documents.len() >= 40, "the corpus is missing");
    for path in documents {
        let source = fs::read(&path).expect("the document is readable");
        let checked = check(&source);
        assert!(checked.definition.is_none(), "{}", path.display());
        let errors = checked.diagnostics.iter();
        let errors = errors.filter(|diagnostic| diagnostic.severity == Severity::Error);
        assert!(errors.count() > 0, "{}", path.display());
        expect(&path, &render(&name(&path), &source, &checked.diagnostics));
    }
}

#[test]
fn the_corpus_and_the_list_of_codes_name_the_same_codes() {
    let mut met = BTreeSet::new();
    for path in documents("accepted")
        .into_iter()
        .chain(documents("rejected"))
    {
        let source = fs::read(&path).expect("the document is readable");
        met.extend(check(&source).diagnostics.iter().map(|found| found.code));
    }
    // These take a large document, and a machine without room: not files to keep.
    met.extend(["DOCUMENT_TOO_LARGE", "OUT_OF_RESOURCES"]);
    // This takes a server that says which participants are attached.
    met.insert("PARTICIPANT_ACTION_UNKNOWN");
    let listed: Vec<&str> = CODES.iter().map(|(code, _)| *code).collect();
    assert_eq!(met.into_iter().collect::<Vec<_>>(), listed);
}

fn documents(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(folder);
    let mut documents: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("the corpus is readable").path())
        .filter(|path| path.to_string_lossy().ends_with(".saga.yaml"))
        .collect();
    documents.sort();
    documents
}

fn name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn expect(document: &Path, actual: &str) {
    let path = document.with_extension("expected");
    let actual: String = actual
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    if std::env::var_os("AMENDS_UPDATE_EXPECT").is_some() {
        fs::write(&path, actual).expect("the expected text is writable");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        actual,
        expected,
        "{}: run with AMENDS_UPDATE_EXPECT=1 if the difference is meant",
        path.display()
    );
}

fn pretty(json: &str) -> String {
    let (mut out, mut depth, mut in_string, mut escaped) = (String::new(), 0_usize, false, false);
    for char in json.chars() {
        if in_string {
            in_string = escaped || char != '"';
            escaped = char == '\\' && !escaped;
            out.push(char);
            continue;
        }
        if matches!(char, ']' | '}') {
            depth -= 1;
        }
        let breaks_before = matches!(char, ']' | '}') && !out.ends_with(['[', '{']);
        if breaks_before || out.ends_with([',', '[', '{']) && !matches!(char, ']' | '}') {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        }
        depth += usize::from(matches!(char, '[' | '{'));
        in_string = char == '"';
        out.push(char);
    }
    out
}
