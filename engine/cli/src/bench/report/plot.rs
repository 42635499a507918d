//! Figures as a picture: for each kind of measurement, throughput, latency, and what it costs, over what it was measured
//! with. Deliberately not here: how a chart is drawn, which a crate does.

use charts_rs::{ChildChart, LineChart, MultiChart, Series};

use super::Report;
use super::figure::{self, Figure, Line};
use crate::failure::Failure;

/// What stands in one chart: figures of one unit.
const PANELS: [(&str, &[&Figure]); 6] = [
    ("sagas/s", &[figure::SAGAS_PER_SECOND]),
    ("latency, ms", &[figure::P50_MS, figure::P99_MS]),
    (
        "CPU for each saga, µs",
        &[figure::SERVER_CPU_US, figure::POSTGRES_CPU_US],
    ),
    (
        "CPU of the server for each attempt, µs",
        &[figure::SERVER_CPU_US_PER_ATTEMPT],
    ),
    ("resident MiB", &[figure::RESIDENT_MIB]),
    ("database, MiB", &[figure::DATABASE_MIB]),
];
const WIDTH: f32 = 900.0;
const HEIGHT: f32 = 320.0;

impl Report {
    /// Draws its curves.
    ///
    /// # Errors
    /// If there is nothing to draw.
    pub fn plot(&self) -> Result<String, Failure> {
        let mut picture = MultiChart::new();
        let mut kinds: Vec<&str> = Vec::new();
        for line in self.lines.iter().filter(|line| line.x.is_some()) {
            if !kinds.contains(&line.what.as_str()) {
                kinds.push(&line.what);
            }
        }
        for what in kinds {
            let lines: Vec<&Line> = self
                .lines
                .iter()
                .filter(|line| line.what == what && line.x.is_some())
                .collect();
            for (title, figures) in PANELS {
                if let Some(chart) = panel(&format!("{what}: {title}"), &lines, figures) {
                    picture.add(ChildChart::Line(chart, None));
                }
            }
        }
        if picture.charts.is_empty() {
            return Err(Failure::usage("there is nothing to draw")
                .because("no curve was measured")
                .advice("leave --plot out"));
        }
        picture
            .svg()
            .map_err(|error| Failure::wrong("the picture cannot be drawn").because(error))
    }
}

fn panel(title: &str, lines: &[&Line], figures: &[&'static Figure]) -> Option<LineChart> {
    let mut xs: Vec<f64> = lines.iter().filter_map(|line| line.x).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let mut all: Vec<(String, Vec<Option<f32>>)> = Vec::new();
    for line in lines {
        for each in figures {
            let (Some(spread), Some(x)) = (line.spread(each), line.x) else {
                continue;
            };
            let name = match figures {
                [_] => line.series.clone(),
                _ => format!("{}, {}", line.series, each.heading),
            };
            let place = xs.iter().position(|other| other.total_cmp(&x).is_eq());
            let values = match all.iter_mut().find(|(other, _)| *other == name) {
                Some((_, values)) => values,
                None => {
                    all.push((name, vec![None; xs.len()]));
                    &mut all.last_mut()?.1
                }
            };
            if let Some(value) = place.and_then(|place| values.get_mut(place)) {
                *value = Some(single(spread.median));
            }
        }
    }
    if all.is_empty() {
        return None;
    }
    let series: Vec<Series> = all
        .into_iter()
        .map(|(name, values)| (name.as_str(), values).into())
        .collect();
    let labels = xs.iter().map(|x| figure::number(*x, 0)).collect();
    let mut chart = LineChart::new(series, labels);
    title.clone_into(&mut chart.title.text);
    (chart.width, chart.height) = (WIDTH, HEIGHT);
    Some(chart)
}

/// A picture needs no more digits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what is drawn is far below the largest single-precision number"
)]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_drawn_and_without_one_there_is_nothing_to_draw() {
        let mut report = Report::new();
        let failure = report.plot().expect_err("no line");
        assert!(failure.render().contains("--plot"), "{}", failure.render());
        for (in_flight, rate) in [(8.0, 100.0), (64.0, 1_000.0)] {
            let variant = format!("sqlite, {in_flight} in flight");
            let mut line = Line::new("happy", variant, Some(in_flight)).in_series("sqlite");
            line.add(figure::SAGAS_PER_SECOND, rate);
            line.add(figure::P50_MS, 1.0);
            line.add(figure::P99_MS, 2.0);
            report.lines.push(line);
        }
        let svg = report.plot().expect("a picture");
        let document = roxmltree::Document::parse(&svg).expect("XML");
        let texts: Vec<&str> = document
            .descendants()
            .filter_map(|node| node.text())
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .collect();
        for text in ["happy: sagas/s", "happy: latency, ms", "sqlite", "64"] {
            assert!(texts.contains(&text), "{text}: {texts:?}");
        }
    }
}
