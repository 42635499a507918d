//! A picture as SVG, which stands by itself: no script, no font, no reference to anything outside. Deliberately not here:
//! where the boxes are (`layout`).

use std::fmt::Write as _;

use super::layout::{self, Edge, Lane, Places, Size};
use super::picture::{Picture, StepBox, kind_name};

/// Around the picture.
const MARGIN: f64 = 24.0;
/// For the title, and for the legend.
const STRIP: f64 = 40.0;
/// What a character takes at most, at the size of the text.
const CHAR: f64 = 7.6;
const LINE: f64 = 17.0;
const PADDING: f64 = 12.0;
/// Between a step and what undoes it.
const UNDO_GAP: f64 = 30.0;
const BOX_WIDTH_MIN: f64 = 96.0;

const STYLE: &str = "text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#1f2328}\
.id{font-weight:bold}.note{fill:#57606a}.title{font-size:16px;font-weight:bold}\
rect{fill:#fff;stroke:#57606a;stroke-width:1.5}.pivot rect{fill:#fff3d6;stroke:#bf8700;stroke-width:3}\
.retriable rect{fill:#e6f4ea;stroke:#1a7f37}.compensatable rect{fill:#eaf2fd;stroke:#0969da}\
.undo rect{fill:#fff;stroke:#cf222e;stroke-dasharray:5 4}\
path{fill:none;stroke:#57606a;stroke-width:1.5}.back path{stroke:#cf222e;stroke-dasharray:5 4}\
marker path{stroke:none;fill:#57606a}#tip-back path{fill:#cf222e;stroke-dasharray:none}";

/// The picture as SVG, with its final newline.
#[must_use]
pub fn render(picture: &Picture) -> String {
    let forms: Vec<Form> = picture.steps.iter().map(Form::new).collect();
    let sizes: Vec<Size> = forms.iter().map(Form::size).collect();
    let edges = edges(picture, &forms);
    let places = layout::place(&sizes, &edges);
    let width = (places.width + 2.0 * MARGIN).max(640.0);
    let height = places.height + 2.0 * MARGIN + 2.0 * STRIP;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<title>{}</title>\n",
        text(&picture.title)
    );
    if let Some(about) = &picture.about {
        let _ = writeln!(out, "<desc>{}</desc>", text(about));
    }
    let _ = writeln!(out, "<style>{STYLE}</style>");
    out.push_str("<defs>");
    for tip in ["tip", "tip-back"] {
        let _ = write!(
            out,
            "<marker id=\"{tip}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path d=\"M0 0L10 5L0 10z\"/></marker>"
        );
    }
    out.push_str("</defs>\n<rect width=\"100%\" height=\"100%\" style=\"stroke:none\"/>\n");
    let _ = writeln!(
        out,
        "<text class=\"title\" x=\"{MARGIN}\" y=\"{:.0}\">{}</text>",
        MARGIN + 4.0,
        text(&picture.title)
    );
    let _ = writeln!(
        out,
        "<g transform=\"translate({MARGIN} {:.0})\">",
        MARGIN + STRIP
    );
    write_edges(&mut out, picture.forward.len(), &edges, &places, &forms);
    for ((step, form), place) in picture.steps.iter().zip(&forms).zip(&places.boxes) {
        write_step(&mut out, step, form, *place);
    }
    out.push_str("</g>\n");
    write_legend(&mut out, height - MARGIN);
    out.push_str("</svg>\n");
    out
}

/// How large a step and what undoes it are.
struct Form {
    step: f64,
    undo: Option<f64>,
    height: f64,
}

impl Form {
    fn new(step: &StepBox) -> Self {
        let texts = [&step.id, &step.work].into_iter().chain(&step.notes);
        let widest = texts.map(|text| text_width(text)).fold(0.0, f64::max);
        let role = text_width(kind_name(step.kind));
        let lines = 3 + u32::try_from(step.notes.len()).unwrap_or(u32::MAX);
        Self {
            step: widest.max(role).max(BOX_WIDTH_MIN),
            undo: step.undo.as_ref().map(|undo| text_width(undo)),
            height: f64::from(lines) * LINE + PADDING,
        }
    }

    fn size(&self) -> Size {
        let undo = self.undo.map_or(0.0, |undo| UNDO_GAP + undo);
        Size {
            width: self.step + undo,
            height: self.height,
        }
    }

    /// Where edges of the step leave and enter, from the left.
    fn centre(&self) -> f64 {
        self.step / 2.0
    }

    /// Where edges of what undoes it leave and enter, from the left.
    fn undo_centre(&self) -> f64 {
        self.step + UNDO_GAP + self.undo.unwrap_or(0.0) / 2.0
    }

    /// What undoes a step stands beside its middle.
    fn undo_top(&self) -> f64 {
        (self.height - LINE - PADDING) / 2.0
    }
}

/// The edges, downwards: first those forward, then those between compensations.
fn edges(picture: &Picture, forms: &[Form]) -> Vec<Edge> {
    let forward = picture.forward.iter().map(|(from, to)| Edge {
        from: *from,
        to: *to,
        leaves: forms[*from].centre(),
        enters: forms[*to].centre(),
    });
    let backward = picture.backward.iter().map(|(from, to)| Edge {
        from: *to,
        to: *from,
        leaves: forms[*to].undo_centre(),
        enters: forms[*from].undo_centre(),
    });
    forward.chain(backward).collect()
}

fn write_edges(out: &mut String, forward: usize, edges: &[Edge], places: &Places, forms: &[Form]) {
    for (nth, edge) in edges.iter().enumerate() {
        let back = nth >= forward;
        let (from, to) = (places.boxes[edge.from], places.boxes[edge.to]);
        let (mut leaves, mut enters) = (from.1 + forms[edge.from].height, to.1);
        if back {
            leaves -= forms[edge.from].undo_top();
            enters += forms[edge.to].undo_top();
        }
        // Each part goes straight through a layer: the first and the last through what their own leaves of it.
        let mut lanes = vec![Lane {
            x: from.0 + edge.leaves,
            top: leaves,
            bottom: places.bottoms[edge.from],
        }];
        lanes.extend_from_slice(&places.lanes[nth]);
        lanes.push(Lane {
            x: to.0 + edge.enters,
            top: to.1,
            bottom: enters,
        });
        if back {
            lanes.reverse();
            for lane in &mut lanes {
                std::mem::swap(&mut lane.top, &mut lane.bottom);
            }
        }
        let (class, tip) = if back {
            ("back", "tip-back")
        } else {
            ("forth", "tip")
        };
        let _ = writeln!(
            out,
            "<g class=\"{class}\"><path d=\"{}\" marker-end=\"url(#{tip})\"/></g>",
            way(&lanes)
        );
    }
}

/// The way through lanes: straight in each, curved between two.
fn way(lanes: &[Lane]) -> String {
    let mut way = String::new();
    for (nth, lane) in lanes.iter().enumerate() {
        if nth == 0 {
            let _ = write!(way, "M{:.1} {:.1}", lane.x, lane.top);
        } else {
            let before = &lanes[nth - 1];
            let middle = f64::midpoint(before.bottom, lane.top);
            let _ = write!(
                way,
                "C{:.1} {middle:.1} {:.1} {middle:.1} {:.1} {:.1}",
                before.x, lane.x, lane.x, lane.top
            );
        }
        // A line of no length would turn the tip of the edge.
        if (lane.bottom - lane.top).abs() > 0.1 {
            let _ = write!(way, "L{:.1} {:.1}", lane.x, lane.bottom);
        }
    }
    way
}

fn write_step(out: &mut String, step: &StepBox, form: &Form, (left, top): (f64, f64)) {
    let kind = kind_name(step.kind);
    let _ = writeln!(
        out,
        "<g class=\"step {kind}\"><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"7\"/>",
        form.step, form.height
    );
    let role = kind.to_owned();
    let lines = [("id", &step.id), ("work", &step.work)]
        .into_iter()
        .chain(step.notes.iter().map(|note| ("note", note)))
        .chain([("note", &role)]);
    let mut baseline = top + PADDING / 2.0 + LINE - 4.0;
    for (class, line) in lines {
        let _ = writeln!(
            out,
            "<text class=\"{class}\" x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>",
            left + PADDING,
            text(line)
        );
        baseline += LINE;
    }
    out.push_str("</g>\n");
    let (Some(undo), Some(width)) = (&step.undo, form.undo) else {
        return;
    };
    let (from, to) = (left + form.step, left + form.step + UNDO_GAP);
    let top = top + form.undo_top();
    let middle = top + (LINE + PADDING) / 2.0;
    let _ = writeln!(
        out,
        "<g class=\"back\"><path d=\"M{from:.1} {middle:.1}L{to:.1} {middle:.1}\" marker-end=\"url(#tip-back)\"/></g>\n\
         <g class=\"undo\"><rect x=\"{to:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"7\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
        LINE + PADDING,
        to + PADDING,
        top + PADDING / 2.0 + LINE - 4.0,
        text(undo)
    );
}

fn write_legend(out: &mut String, baseline: f64) {
    let line = baseline - 4.0;
    let _ = writeln!(
        out,
        "<g class=\"legend\"><g class=\"forth\"><path d=\"M{MARGIN} {line:.1}h40\" marker-end=\"url(#tip)\"/></g>\
         <text class=\"note\" x=\"{:.1}\" y=\"{baseline:.1}\">forward</text>\
         <g class=\"back\"><path d=\"M{:.1} {line:.1}h40\" marker-end=\"url(#tip-back)\"/></g>\
         <text class=\"note\" x=\"{:.1}\" y=\"{baseline:.1}\">what undoes a step, and in which order</text></g>",
        MARGIN + 50.0,
        MARGIN + 140.0,
        MARGIN + 190.0
    );
}

/// How wide a box is for a text: a wide character takes two places.
fn text_width(text: &str) -> f64 {
    let places: u32 = text
        .chars()
        .map(|char| if char.is_ascii() { 1 } else { 2 })
        .sum();
    f64::from(places) * CHAR + 2.0 * PADDING
}

/// A text of XML.
fn text(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::{HOSTILE, of_source, picture};
    use super::*;

    const STEPS: &str = "  - {id: a, call: p.a, compensate: {call: p.ua}}
  - {id: b, when: input.x > 1, call: p.b, compensate: {call: p.ub}}
  - {id: c, needs: [a], call: p.c, compensate: {call: p.uc}}
  - {id: d, needs: [b, c, a], kind: pivot, call: p.d}
  - {id: e, kind: retriable, call: p.e}
";

    fn count(document: &roxmltree::Document<'_>, tag: &str, class: &str) -> usize {
        let nodes = document.descendants();
        nodes
            .filter(|node| node.has_tag_name(tag) || tag.is_empty())
            .filter(|node| {
                let classes = node.attribute("class").unwrap_or_default();
                classes.split(' ').any(|one| one == class)
            })
            .count()
    }

    #[test]
    fn every_step_compensation_and_edge_is_drawn_once() {
        let svg = render(&picture(STEPS));
        let document = roxmltree::Document::parse(&svg).expect("XML");
        assert_eq!(count(&document, "g", "step"), 5);
        assert_eq!(count(&document, "g", "pivot"), 1);
        assert_eq!(count(&document, "g", "retriable"), 1);
        assert_eq!(count(&document, "g", "undo"), 3);
        // Of the edges one of each sort is the legend's.
        assert_eq!(count(&document, "g", "forth"), 6 + 1);
        assert_eq!(count(&document, "g", "back"), 3 + 2 + 1);
        assert!(svg.contains(">when input.x &gt; 1<"), "{svg}");
    }

    #[test]
    fn an_edge_back_ends_at_what_is_undone_later() {
        let svg = render(&picture(STEPS));
        let document = roxmltree::Document::parse(&svg).expect("XML");
        let curved = |node: &roxmltree::Node<'_, '_>| {
            let back = node.parent().and_then(|parent| parent.attribute("class")) == Some("back");
            let way = node.attribute("d").unwrap_or_default();
            (back && way.contains('C')).then(|| way.to_owned())
        };
        let ways: Vec<String> = document
            .descendants()
            .filter_map(|node| curved(&node))
            .collect();
        assert_eq!(ways.len(), 2);
        for way in ways {
            let numbers = way
                .split(['M', 'L', 'C', ' '])
                .filter_map(|word| word.parse().ok());
            let numbers: Vec<f64> = numbers.collect();
            assert!(numbers[1] > numbers[numbers.len() - 1], "it goes up: {way}");
        }
    }

    #[test]
    fn no_text_of_an_author_is_anything_but_text() {
        let picture = of_source(HOSTILE);
        let svg = render(&picture);
        let document = roxmltree::Document::parse(&svg).expect("XML");
        let tags: std::collections::BTreeSet<&str> = document
            .descendants()
            .filter(roxmltree::Node::is_element)
            .map(|node| node.tag_name().name())
            .collect();
        let ours = [
            "defs", "desc", "g", "marker", "path", "rect", "style", "svg", "text", "title",
        ];
        assert!(tags.iter().all(|tag| ours.contains(tag)), "{tags:?}");
        let about = document
            .descendants()
            .find(|node| node.has_tag_name("desc"));
        let about = about.and_then(|node| node.text()).unwrap_or_default();
        assert!(
            about.starts_with("</desc><script>alert(1)</script> \" ' & ]]>"),
            "{about}"
        );
        assert!(about.ends_with("\u{fffd}\nend"), "{about}");
        let notes = &picture.steps[0].notes;
        let note = notes.iter().find(|note| note.contains("script"));
        let note = &note.expect("it is said")[..];
        assert!(note.contains("<script>"));
        assert!(document.descendants().any(|node| node.text() == Some(note)));
    }

    #[test]
    fn the_largest_definition_is_drawn_in_bounded_time() {
        // 300 steps in layers of ten, each of which needs all of the layer before it, and a chain of 200 beside them.
        let mut steps = String::new();
        for nth in 0..300 {
            let needs: Vec<String> = match nth / 10 {
                0 => Vec::new(),
                layer => (0..10)
                    .map(|at| format!("s{}", (layer - 1) * 10 + at))
                    .collect(),
            };
            let needs = needs.join(", ");
            steps.push_str(&format!(
                "  - {{id: s{nth}, needs: [{needs}], call: p.a, compensate: {{call: p.b}}}}\n"
            ));
        }
        for nth in 300..500 {
            steps.push_str(&format!(
                "  - {{id: s{nth}, call: p.a, compensate: {{call: p.b}}}}\n"
            ));
        }
        let picture = picture(&steps);
        let began = std::time::Instant::now();
        let svg = render(&picture);
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(20), "{took:?}");
        assert_eq!(svg.matches("<g class=\"step").count(), 500);
        assert!(svg.len() < 8 * 1024 * 1024, "{}", svg.len());
    }
}
