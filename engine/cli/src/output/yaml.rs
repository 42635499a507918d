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
            write_text(out, &text, json, indent);
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
fn write_text(out: &mut String, text: &str, json: &str, indent: usize) {
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
        // JSON's quoting is YAML's, DEL and line separators aside, which JSON leaves as they are and YAML folds.
        out.push_str(
            &json
                .replace('\u{7f}', "\\x7f")
                .replace('\u{85}', "\\N")
                .replace('\u{2028}', "\\L")
                .replace('\u{2029}', "\\P"),
        );
        out.push('\n');
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
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
}
