//! YAML from JSON text, with the order of keys and every digit of a number kept: a tree of raw JSON values is walked, so
//! nothing passes through a double. Deliberately not here: reading YAML (that is `amends-definitions`).

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Writes JSON text as one YAML document; the text ends with a newline.
///
/// # Errors
/// If the text is no JSON.
pub fn from_json(json: &str) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    write_value(&mut out, json.trim(), 0, true)?;
    Ok(out)
}

/// Writes a value after `key:` or `-`; a collection begins on its own line, unless the line is `fresh`.
fn write_value(
    out: &mut String,
    json: &str,
    indent: usize,
    fresh: bool,
) -> Result<(), serde_json::Error> {
    match json.as_bytes().first() {
        Some(b'{') => write_map(out, &members(json)?, indent, fresh),
        Some(b'[') => write_list(out, &elements(json)?, indent, fresh),
        Some(b'"') => {
            let text: String = serde_json::from_str(json)?;
            separate(out, fresh);
            write_text(out, &text, indent);
            Ok(())
        }
        _ => {
            separate(out, fresh);
            out.push_str(json);
            out.push('\n');
            Ok(())
        }
    }
}

fn write_map(
    out: &mut String,
    members: &[(String, Box<RawValue>)],
    indent: usize,
    fresh: bool,
) -> Result<(), serde_json::Error> {
    if members.is_empty() {
        separate(out, fresh);
        out.push_str("{}\n");
        return Ok(());
    }
    if !fresh {
        out.push('\n');
    }
    for (at, (key, value)) in members.iter().enumerate() {
        // Behind a list's dash, the first key shares the dash's line.
        if !(fresh && at == 0) {
            pad(out, indent);
        }
        if is_plain(key) {
            out.push_str(key);
        } else {
            out.push_str(&quoted(key));
        }
        out.push(':');
        write_value(out, value.get(), indent + 2, false)?;
    }
    Ok(())
}

fn write_list(
    out: &mut String,
    elements: &[Box<RawValue>],
    indent: usize,
    fresh: bool,
) -> Result<(), serde_json::Error> {
    if elements.is_empty() {
        separate(out, fresh);
        out.push_str("[]\n");
        return Ok(());
    }
    if !fresh {
        out.push('\n');
    }
    for (at, element) in elements.iter().enumerate() {
        if !(fresh && at == 0) {
            pad(out, indent);
        }
        out.push_str("- ");
        write_value(out, element.get(), indent + 2, true)?;
    }
    Ok(())
}

/// Plain where nothing else could be read into it, a block for a document of several lines, else quoted as in JSON.
fn write_text(out: &mut String, text: &str, indent: usize) {
    if is_plain(text) {
        out.push_str(text);
        out.push('\n');
    } else if is_block(text) {
        out.push_str("|\n");
        for line in text.lines() {
            if !line.is_empty() {
                pad(out, indent.max(2));
                out.push_str(line);
            }
            out.push('\n');
        }
    } else {
        out.push_str(&quoted(text));
        out.push('\n');
    }
}

/// JSON's quoting is YAML's, but for a few characters that JSON leaves as they are and YAML folds or refuses.
fn quoted(text: &str) -> String {
    let mut quoted = serde_json::Value::from(text).to_string();
    for (character, escape) in [
        ('\u{7f}', "\\x7f"),
        ('\u{85}', "\\N"),
        ('\u{2028}', "\\L"),
        ('\u{2029}', "\\P"),
        ('\u{feff}', "\\ufeff"),
    ] {
        quoted = quoted.replace(character, escape);
    }
    quoted
}

fn separate(out: &mut String, fresh: bool) {
    if !fresh {
        out.push(' ');
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Letters, digits and a few signs, beginning with a letter, and no word that some reader takes for something else.
fn is_plain(text: &str) -> bool {
    let mut characters = text.chars();
    let begins = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let goes_on = characters.all(|next| next.is_ascii_alphanumeric() || "_-./".contains(next));
    let words = [
        "true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf",
    ];
    begins && goes_on && !words.contains(&text.to_ascii_lowercase().as_str())
}

/// Lines that end with exactly one newline and hold nothing that a block would change.
fn is_block(text: &str) -> bool {
    text.ends_with('\n')
        && !text.ends_with("\n\n")
        && text.len() > 1
        && !text.starts_with([' ', '\n'])
        && text.chars().all(|next| {
            next == '\n' || !(next.is_control() || "\u{85}\u{2028}\u{2029}\u{feff}".contains(next))
        })
}

fn members(json: &str) -> Result<Vec<(String, Box<RawValue>)>, serde_json::Error> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, Box<RawValue>)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_map(Members)
}

fn elements(json: &str) -> Result<Vec<Box<RawValue>>, serde_json::Error> {
    struct Elements;
    impl<'de> Visitor<'de> for Elements {
        type Value = Vec<Box<RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = list.next_element()? {
                elements.push(element);
            }
            Ok(elements)
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_seq(Elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, yaml: &str) {
        assert_eq!(from_json(json).expect("JSON"), yaml);
    }

    #[test]
    fn collections_nest_and_keep_their_order() {
        check(
            r#"{"z": 1, "a": {"b": [1, {"c": null, "d": []}, [2, 3]], "e": {}}, "f": true}"#,
            "z: 1\na:\n  b:\n    - 1\n    - c: null\n      d: []\n    - - 2\n      - 3\n  e: {}\nf: true\n",
        );
        check("[]", "[]\n");
        check(r#""x""#, "x\n");
    }

    #[test]
    fn every_digit_of_a_number_is_kept() {
        check(
            r#"{"number": 123456789012345678901234567890}"#,
            "number: 123456789012345678901234567890\n",
        );
    }

    #[test]
    fn text_that_could_be_read_as_something_else_is_quoted() {
        check(
            r#"["no", "1.5", "", "a b", "2025-11-21T08:00:00Z", "a: b", "\u0001", "it's", "place-order"]"#,
            "- \"no\"\n- \"1.5\"\n- \"\"\n- \"a b\"\n- \"2025-11-21T08:00:00Z\"\n- \"a: b\"\n- \"\\u0001\"\n- \"it's\"\n- place-order\n",
        );
        check(r#"{"on": 1, "a b": 2}"#, "\"on\": 1\n\"a b\": 2\n");
    }

    #[test]
    fn a_document_inside_a_document_is_a_block() {
        check(
            r#"{"source": "a: 1\n\nb:\n  - 2\n", "x": "a\nb"}"#,
            "source: |\n  a: 1\n\n  b:\n    - 2\nx: \"a\\nb\"\n",
        );
    }

    #[test]
    fn a_reader_of_yaml_reads_back_what_was_written() {
        let texts = [
            "",
            " ",
            "a",
            "a ",
            " a",
            "-",
            "- a",
            "a: b",
            "a:",
            "#a",
            "a #b",
            "null",
            "~",
            "True",
            "1",
            "0x1",
            "1e3",
            ".5",
            "2025-11-21",
            "a\nb",
            "a\nb\n",
            "a\n\n",
            "\n",
            "\na\n",
            " a\nb\n",
            "a\r\nb\n",
            "\ttab\n",
            "a\tb",
            "%a",
            "@a",
            "`a`",
            "*a",
            "&a",
            "!a",
            "{a}",
            "[a]",
            "'a'",
            "\"a\"",
            "\\",
            "é",
            "日本",
            "\u{1f600}",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{7f}",
            "\u{1}",
            "---",
            "...\n",
            "a\n---\nb\n",
        ];
        let tree = serde_json::json!({
            "texts": texts.as_slice(),
            "keys": texts.iter().enumerate().map(|(at, text)| (format!("{text}{at}"), at)).collect::<std::collections::BTreeMap<_, _>>(),
            "nested": [[], {}, [[1, [2, {"a": {"b": [null, true, -1.5]}}]]], {"source": "x: 1\n\n  y\n"}],
        });
        let yaml = from_json(&tree.to_string()).expect("JSON");
        let read: serde_json::Value =
            serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        for (read, written) in read["texts"].as_array().expect("a list").iter().zip(texts) {
            assert_eq!(read, written, "{yaml}");
        }
        assert_eq!(read, tree, "{yaml}");
    }
}
