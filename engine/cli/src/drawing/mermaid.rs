//! A picture as a flowchart of Mermaid, which renders in Markdown. Deliberately not here: places, which Mermaid finds, and
//! the description, for which it has no safe place.

use std::fmt::Write as _;

use amends_definitions::Kind;

use super::picture::{Picture, kind_name};

/// The picture as Mermaid, with its final newline.
#[must_use]
pub fn render(picture: &Picture) -> String {
    let mut out = String::from("flowchart TB\n");
    for (nth, step) in picture.steps.iter().enumerate() {
        let mut lines = vec![step.id.clone(), step.work.clone()];
        lines.extend(step.notes.iter().cloned());
        if step.kind != Kind::Compensatable {
            lines.push(kind_name(step.kind).to_owned());
        }
        let label: Vec<String> = lines.iter().map(|line| text(line)).collect();
        let label = label.join("<br/>");
        // Names of nodes are ours: a step may be called like a word of Mermaid.
        let shape = match step.kind {
            Kind::Compensatable => format!("[\"{label}\"]"),
            Kind::Pivot => format!("{{{{\"{label}\"}}}}"),
            Kind::Retriable => format!("([\"{label}\"])"),
        };
        let _ = writeln!(out, "  s{nth}{shape}");
        if let Some(undo) = &step.undo {
            let _ = writeln!(out, "  u{nth}[\"{}\"]:::undo", text(undo));
            let _ = writeln!(out, "  s{nth} -.->|undo| u{nth}");
        }
    }
    for (from, to) in &picture.forward {
        let _ = writeln!(out, "  s{from} --> s{to}");
    }
    for (from, to) in &picture.backward {
        let _ = writeln!(out, "  u{from} -.-> u{to}");
    }
    out.push_str("  classDef undo stroke-dasharray: 5 5\n");
    out
}

/// A text inside of quotes. Mermaid knows no backslash: what could mean anything to it, or to HTML, is written by its code.
fn text(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        if char.is_alphanumeric() || matches!(char, ' ' | '.' | ',' | '_' | '-' | '…') {
            out.push(char);
        } else {
            let _ = write!(out, "#{};", u32::from(char));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::{HOSTILE, of_source, picture};
    use super::*;

    #[test]
    fn a_step_its_compensation_and_the_edges_are_written() {
        let mermaid = render(&picture(
            "  - {id: a, call: p.a, compensate: {call: p.ua}}
  - {id: b, when: input.x > 1, call: p.b, compensate: {call: p.ub}}
  - {id: end, kind: pivot, call: p.c}
  - {id: d, kind: retriable, call: p.d}
",
        ));
        assert_eq!(
            mermaid,
            "flowchart TB
  s0[\"a<br/>p.a\"]
  u0[\"p.ua\"]:::undo
  s0 -.->|undo| u0
  s1[\"b<br/>p.b<br/>when input.x #62; 1\"]
  u1[\"p.ub\"]:::undo
  s1 -.->|undo| u1
  s2{{\"end<br/>p.c<br/>pivot\"}}
  s3([\"d<br/>p.d<br/>retriable\"])
  s0 --> s1
  s1 --> s2
  s2 --> s3
  u1 -.-> u0
  classDef undo stroke-dasharray: 5 5
"
        );
    }

    #[test]
    fn no_text_of_an_author_means_anything_to_mermaid() {
        let mermaid = render(&of_source(HOSTILE));
        let ours = mermaid.replace("<br/>", "");
        for sign in ["<", "`", "\\", "&", "%", "\"\"", "#quot;"] {
            assert!(!ours.contains(sign), "{sign}\n{mermaid}");
        }
        for line in ours.lines() {
            assert!([0, 2].contains(&line.matches('"').count()), "{line}");
        }
        assert!(ours.contains("#60;script#62;"), "{mermaid}");
    }
}
