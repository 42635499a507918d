//! Bytes to definitions. Whatever the bytes: an answer, the same each time; and what is accepted can be written in normal
//! form and read back as the same definition, which is what a store does with it.

use std::path::Path;

use amends_definitions::{Checked, check, from_normal_form, render, to_normal_form};
use amends_tests::fuzz;

/// Bad input B24 to B37, as far as it is no file of the corpus; documents that are accepted are the better beginnings.
const SEEDS: [&[u8]; 14] = [
    b"\xef\xbb\xbfapiVersion: amends/v1",
    b"\xff\xfea\0",
    b"a: &a [*a]",
    b"a: !!python/object x",
    b"<<: {a: b}",
    b"a: 1\na: 2",
    b"---\na: 1\n---\nb: 2",
    b"\t- a",
    b"{a: {a: {a: {a: [[[[[[[[1]]]]]]]]}}}}",
    b"a: |\n  b\n c",
    b"apiVersion: amends/v1\nname: a\ndescription: \"\\0\"\nsteps: [{id: a, call: a.b, kind: pivot}]",
    b"apiVersion: amends/v1\nname: a\nkey: \"${{ input.a }}\"\nsteps: [{id: a, needs: [a], call: a.b, kind: retriable}]",
    b"apiVersion: amends/v1\nname: a\nsteps: [{id: a, call: a.b, kind: retriable, when: r'\\' == (((((((1, retry: {backoff: 1e308}, timeout: {attempt: 1d, total: 1s}}]",
    b"apiVersion: amends/v1\nname: a\ninputSchema: {$ref: '#', pattern: '(a*)*', properties: {a: {$ref: '#/properties/a'}}}\nsteps: [{id: a, call: a.b, kind: pivot}]",
];

const WORDS: &[&str] = &[
    "steps",
    "input",
    "call: a.b",
    "kind: pivot",
    "kind: retriable",
    "needs: []",
    "compensate: {none: x}",
    "when: ",
    "${{ ",
    " }}",
    "$${{",
    "r'\\'",
    "'",
    "\"",
    "\\",
    "\\0",
    "\\u0000",
    "\n",
    "\n  - ",
    "\n    ",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "|\n",
    ">-\n",
    "&a ",
    "*a",
    "!x ",
    "<<: ",
    "# ",
    "---\n",
    "no",
    "1e3",
    "0",
    "-1",
    "10s",
    "3650d",
    "é",
    "\u{2028}",
    "\u{feff}",
    "retry: {maxAttempts: 0}",
    "timeout: 1s",
    "foreach: {in: input.l}",
    "wait: {signal: s}",
    "sleep: 1s",
    "saga: {name: b}",
    "emit: {type: t}",
    "fail: {code: C}",
    "onError: [{codes: [C], then: continue}]",
    "matches('a{64}')",
    "inputSchema: {$ref: '#'}",
    "signals: {s: {}}",
    "orderingKey: input.a",
    "retention: 30d",
    "concurrency: {max: 1}",
    "apiVersion: amends/v1",
    "name: a",
];

pub fn run() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut corpus = fuzz::files(here.join("accepted"), ".saga.yaml");
    corpus.extend(fuzz::files(here.join("rejected"), ".saga.yaml"));
    corpus.extend(SEEDS.map(<[u8]>::to_vec));
    fuzz::run(&super::target("documents", corpus, WORDS), document);
}

fn document(source: &[u8]) {
    let found = check(source);
    let _text = render("fuzzed.saga.yaml", source, &found.diagnostics);
    assert_sound(&found);
    let Some(definition) = found.definition else {
        assert!(!found.diagnostics.is_empty(), "refused without a reason");
        return;
    };
    let normal_form = to_normal_form(&definition);
    let again = from_normal_form(normal_form.as_bytes()).expect("a normal form reads back");
    assert_eq!(to_normal_form(&again), normal_form);
    assert_eq!(again.hash(), definition.hash());
    let second = check(source).definition.expect("the same answer");
    assert_eq!(second.hash(), definition.hash());
}

/// The checker runs on a thread of its own: this is how a panic there looks from here.
pub fn assert_sound(checked: &Checked) {
    for found in &checked.diagnostics {
        assert_ne!(found.code, "OUT_OF_RESOURCES", "the checker failed");
    }
}
