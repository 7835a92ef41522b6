//! A trace as a picture: one panel per unit (chips have their own), one line per signal.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::sensor::SignalSpec;
use crate::trace::Trace;

const WIDTH: u32 = 1200;
const PANEL: u32 = 260;
/// Lines beyond this many points are thinned; the picture has no more columns.
const POINTS: usize = 1200;

/// Writes the trace as SVG.
pub fn svg(trace: &Trace, title: &str, path: &Path) -> anyhow::Result<()> {
    let mut names: Vec<&str> = Vec::new();
    for signal in trace.signals() {
        if !names.contains(&panel_of(*signal)) {
            names.push(panel_of(*signal));
        }
    }
    let size = (WIDTH, 40 + PANEL * names.len() as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    let draw = || -> Result<(), Box<dyn std::error::Error>> {
        root.fill(&WHITE)?;
        let area = root.titled(title, ("sans-serif", 22))?;
        for (panel, name) in area.split_evenly((names.len(), 1)).iter().zip(&names) {
            draw_panel(trace, name, panel)?;
        }
        root.present()?;
        Ok(())
    };
    draw().map_err(|e| anyhow!("drawing {}: {e}", path.display()))
}

fn panel_of(signal: SignalSpec) -> &'static str {
    if signal.name.starts_with("gpu") { "GPU degC" } else { signal.unit }
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_panel(trace: &Trace, name: &str, panel: &Panel<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let hours = trace.hours();
    let lines: Vec<_> =
        trace.signals().iter().zip(trace.columns()).filter(|(s, _)| panel_of(**s) == name).collect();
    let values = lines.iter().flat_map(|(_, column)| column.iter().flatten());
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    let pad = 0.05 * (high - low).max(0.1);
    let end = hours.last().copied().unwrap_or(1.0);
    let mut chart = ChartBuilder::on(panel)
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end * 1.22, low - pad..high + pad)?;
    chart
        .configure_mesh()
        .y_desc(name)
        .x_labels(13)
        .x_label_formatter(&|h| {
            if *h > end { String::new() } else { format!("{h:.0} h") }
        })
        .light_line_style(WHITE)
        .draw()?;
    let thin = hours.len().div_ceil(POINTS).max(1);
    for (i, (signal, column)) in lines.into_iter().enumerate() {
        let color = Palette99::pick(i).to_rgba();
        let points = hours
            .iter()
            .zip(column)
            .step_by(thin)
            .filter_map(|(hour, value)| value.map(|value| (*hour, value)));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(1)))?
            .label(signal.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}
