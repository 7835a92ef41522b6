//! One run each way, beside each other: the temperature, what was set, the load, and when it was decided.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Run;
use crate::bench::control::BenchError;
use crate::bench::control::metrics::Point;

const SIZE: (u32, u32) = (1200, 860);
const COLORS: [RGBColor; 2] = [RGBColor(190, 30, 100), RGBColor(110, 110, 110)];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;
type Value = dyn Fn(&Point) -> Option<f64>;
type Lines<'a> = [(&'a str, &'a Run)];

pub(super) fn draw(runs: &Lines<'_>, band: [f64; 2], path: &Path) -> Result<(), BenchError> {
    all(runs, band, path).map_err(|e| BenchError::Plot { path: path.to_owned(), why: e.to_string() })
}

fn all(runs: &Lines<'_>, band: [f64; 2], path: &Path) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let area =
        root.titled("Load steps, at adaptive resolution and at fixed intervals", ("sans-serif", 22))?;
    for ((label, _), (color, x)) in runs.iter().zip(COLORS.into_iter().zip([890, 990])) {
        root.draw(&PathElement::new([(x, 26), (x + 22, 26)], color.stroke_width(3)))?;
        root.draw(&Text::new(*label, (x + 28, 18), ("sans-serif", 15)))?;
    }
    let names = runs.first().and_then(|(_, r)| r.points.first()).map(|p| p.setpoints.keys().cloned());
    let mut panels: Vec<(String, Box<Value>)> =
        vec![("watched, degC".to_owned(), Box::new(|p| Some(p.watched)))];
    for name in names.into_iter().flatten() {
        panels.push((name.clone(), Box::new(move |p| p.setpoints.get(&name).copied())));
    }
    panels.push(("IT, kW".to_owned(), Box::new(|p| Some(p.it_kw))));
    let parts = area.split_evenly((panels.len() + 1, 1));
    for (i, ((title, value), part)) in panels.iter().zip(&parts).enumerate() {
        let limit = if i == 0 { Some(band[1]) } else { None };
        lines(runs, title, value, limit, part)?;
    }
    if let Some(part) = parts.last() {
        intervals(runs, part)?;
    }
    root.present()?;
    Ok(())
}

fn hours(runs: &Lines<'_>) -> f64 {
    runs.iter().filter_map(|(_, r)| r.points.last()).map(|p| p.hours).fold(1.0, f64::max)
}

fn lines(runs: &Lines<'_>, title: &str, value: &Value, limit: Option<f64>, area: &Area<'_>) -> Drawn {
    let values = || runs.iter().flat_map(|(_, r)| r.points.iter().filter_map(value)).chain(limit);
    let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
    let pad = 0.06 * (high - low).max(0.1);
    let end = hours(runs);
    let mut chart = ChartBuilder::on(area)
        .margin(5)
        .margin_right(20)
        .x_label_area_size(20)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..end, low - pad..high + pad)?;
    chart.configure_mesh().y_desc(title).y_labels(5).x_labels(13).light_line_style(WHITE).draw()?;
    if let Some(limit) = limit {
        let line = DashedLineSeries::new([(0.0, limit), (end, limit)], 6, 4, RED.stroke_width(1));
        chart.draw_series(line)?;
    }
    for ((_, run), color) in runs.iter().zip(COLORS) {
        let line = run.points.iter().filter_map(|p| Some((p.hours, value(p)?)));
        chart.draw_series(LineSeries::new(line, color.stroke_width(2)))?;
    }
    Ok(())
}

/// A mark for each decision, as high as the minutes since the last.
fn intervals(runs: &Lines<'_>, area: &Area<'_>) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin(5)
        .margin_right(20)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..hours(runs), 0.0..32.0)?;
    chart
        .configure_mesh()
        .y_desc("min between decisions")
        .x_desc("hours")
        .y_labels(5)
        .x_labels(13)
        .light_line_style(WHITE)
        .draw()?;
    for ((_, run), color) in runs.iter().zip(COLORS) {
        let marks =
            run.decided.windows(2).filter_map(|w| Some((*w.get(1)?, 60.0 * (w.get(1)? - w.first()?))));
        chart.draw_series(marks.map(|at| Circle::new(at, 3, color.filled())))?;
    }
    Ok(())
}
