//! A picture in the DOT language of Graphviz. Deliberately not here: places, which Graphviz finds.

use std::fmt::Write as _;

use super::picture::{Picture, kind_name};

/// The picture as DOT, with its final newline.
#[must_use]
pub fn render(picture: &Picture) -> String {
    let mut out = format!("digraph \"{}\" {{\n", text(&picture.title));
    if let Some(about) = &picture.about {
        let _ = writeln!(out, "  tooltip=\"{}\";", text(about));
    }
    out.push_str("  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
    out.push_str("  edge [fontname=\"sans-serif\"];\n");
    for (nth, step) in picture.steps.iter().enumerate() {
        let mut lines = vec![step.id.clone(), step.work.clone()];
        lines.extend(step.notes.iter().cloned());
        let shape = match step.kind {
            amends_definitions::Kind::Compensatable => "",
            amends_definitions::Kind::Pivot => ", penwidth=3",
            amends_definitions::Kind::Retriable => ", peripheries=2",
        };
        if !shape.is_empty() {
            lines.push(kind_name(step.kind).to_owned());
        }
        let _ = writeln!(
            out,
            "  s{nth} [label=\"{}\"{shape}];",
            text(&lines.join("\n"))
        );
        if let Some(undo) = &step.undo {
            let _ = writeln!(
                out,
                "  u{nth} [label=\"{}\", style=\"rounded,dashed\"];",
                text(undo)
            );
            let _ = writeln!(out, "  {{ rank=same; s{nth} -> u{nth} [style=dashed]; }}");
        }
    }
    for (from, to) in &picture.forward {
        let _ = writeln!(out, "  s{from} -> s{to};");
    }
    for (from, to) in &picture.backward {
        let _ = writeln!(out, "  u{from} -> u{to} [style=dashed, constraint=false];");
    }
    out.push_str("}\n");
    out
}

/// A text inside of quotes: those, the backslash, and what Graphviz reads as an entity of HTML.
fn text(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('&', "&amp;")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::{HOSTILE, of_source, picture};
    use super::*;

    #[test]
    fn a_step_its_compensation_and_the_edges_are_written() {
        let dot = render(&picture(
            "  - {id: a, call: p.a, compensate: {call: p.ua}}
  - {id: b, when: input.x, call: p.b, compensate: {call: p.ub}}
  - {id: c, kind: pivot, call: p.c}
  - {id: d, kind: retriable, call: p.d}
",
        ));
        for line in [
            "digraph \"test\" {",
            "  s0 [label=\"a\\np.a\"];",
            "  s1 [label=\"b\\np.b\\nwhen input.x\"];",
            "  s2 [label=\"c\\np.c\\npivot\", penwidth=3];",
            "  s3 [label=\"d\\np.d\\nretriable\", peripheries=2];",
            "  u1 [label=\"p.ub\", style=\"rounded,dashed\"];",
            "  { rank=same; s1 -> u1 [style=dashed]; }",
            "  s0 -> s1;",
            "  u1 -> u0 [style=dashed, constraint=false];",
        ] {
            assert!(dot.lines().any(|written| written == line), "{line}\n{dot}");
        }
    }

    #[test]
    fn no_text_of_an_author_leaves_its_quotes() {
        let dot = render(&of_source(HOSTILE));
        for line in dot.lines() {
            let mut quoted = false;
            let mut escaped = false;
            let outside: String = line
                .chars()
                .filter(|char| {
                    let was_escaped = std::mem::replace(&mut escaped, false);
                    if quoted && *char == '\\' && !was_escaped {
                        escaped = true;
                    } else if *char == '"' && !was_escaped {
                        quoted = !quoted;
                        return false;
                    }
                    !quoted
                })
                .collect();
            assert!(!quoted, "{line}");
            assert!(
                !outside.contains("script") && !outside.contains("alert"),
                "{line}"
            );
        }
        assert!(dot.contains("alert") && dot.contains("&amp;"), "{dot}");
        assert!(dot.contains("\\\\N"), "{dot}");
    }
}
