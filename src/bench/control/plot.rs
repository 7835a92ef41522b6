//! The results as pictures (SVG): the course of each scenario, and energy against stability.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::metrics::Point;
use super::report::{Report, Row};
use super::store::Store;
use super::{BenchError, Job, rig};
use crate::site::{Law, Site};

const WIDTH: u32 = 1200;
const PANEL: u32 = 230;
const TITLE: u32 = 44;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

type Value = dyn Fn(&Point) -> Option<f64>;

/// Lines of one panel: a name, the bounds to show, and a value of each point.
struct Panel {
    title: String,
    bounds: Vec<f64>,
    value: Box<Value>,
}

pub(super) fn all(store: &Store, report: &Report, jobs: &[Job], folder: &Path) -> Result<(), BenchError> {
    let mut scenarios: Vec<&Job> = Vec::new();
    for job in jobs {
        if !scenarios.iter().any(|j| j.case.scenario == job.case.scenario) {
            scenarios.push(job);
        }
    }
    let mut laws: Vec<Law> = jobs.iter().map(|j| j.law).collect();
    laws.sort_unstable();
    laws.dedup();
    for job in scenarios {
        let name = job.case.scenario;
        let series: Vec<(Law, Vec<Point>)> =
            laws.iter().filter_map(|law| Some((*law, store.series(name, *law)?))).collect();
        let site = job.case.site()?;
        let path = folder.join(format!("{name}.svg"));
        let title = format!("{name}, seed 1");
        course(&series, &panels(&site)?, &title, &path).map_err(|e| failed(&path, e.as_ref()))?;
    }
    let path = folder.join("energy-stability.svg");
    scatter(report, &path).map_err(|e| failed(&path, e.as_ref()))
}

fn failed(path: &Path, why: &dyn std::error::Error) -> BenchError {
    BenchError::Plot { path: path.to_owned(), why: why.to_string() }
}

fn panels(site: &Site) -> Result<Vec<Panel>, BenchError> {
    let band = rig::band(site)?;
    let mut panels = vec![Panel {
        title: "watched, degC (true)".to_owned(),
        bounds: band.into(),
        value: Box::new(|p| Some(p.watched)),
    }];
    for s in &site.setpoints {
        let name = s.name.to_string();
        panels.push(Panel {
            title: format!("{name}, {}", s.unit),
            bounds: vec![s.min.get(), s.max.get()],
            value: Box::new(move |p| p.setpoints.get(&name).copied()),
        });
    }
    panels.push(Panel {
        title: "cooling, kW".to_owned(),
        bounds: vec![0.0],
        value: Box::new(|p| Some(p.cooling_kw)),
    });
    panels.push(Panel { title: "IT, kW".to_owned(), bounds: vec![0.0], value: Box::new(|p| Some(p.it_kw)) });
    Ok(panels)
}

fn color(law: Law) -> RGBColor {
    match law {
        Law::Fixed => RGBColor(120, 120, 120),
        Law::Trim => RGBColor(214, 116, 12),
        Law::Pid => RGBColor(22, 110, 190),
        Law::Mpc => RGBColor(30, 140, 70),
        Law::Rl => RGBColor(150, 60, 170),
        Law::Llm => RGBColor(190, 30, 100),
    }
}

fn course(series: &[(Law, Vec<Point>)], panels: &[Panel], title: &str, path: &Path) -> Drawn {
    let height = TITLE + PANEL * u32::try_from(panels.len())?;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let area = root.titled(title, ("sans-serif", 24))?;
    for (i, (law, _)) in (0i32..).zip(series) {
        let (x, y) = (80 + 90 * i, 26);
        root.draw(&PathElement::new([(x, y), (x + 22, y)], color(*law).stroke_width(3)))?;
        root.draw(&Text::new(law.as_str(), (x + 28, y - 8), ("sans-serif", 16)))?;
    }
    for (panel, area) in panels.iter().zip(area.split_evenly((panels.len(), 1))) {
        draw(panel, series, &area)?;
    }
    root.present()?;
    Ok(())
}

fn draw(panel: &Panel, series: &[(Law, Vec<Point>)], area: &Area<'_>) -> Drawn {
    let values = || series.iter().flat_map(|(_, points)| points.iter().filter_map(&panel.value));
    let low = values().chain(panel.bounds.iter().copied()).fold(f64::MAX, f64::min);
    let high = values().chain(panel.bounds.iter().copied()).fold(f64::MIN, f64::max);
    let end = series.iter().filter_map(|(_, p)| p.last()).map(|p| p.hours).fold(1.0, f64::max);
    let pad = 0.06 * (high - low).max(0.1);
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(20)
        .x_label_area_size(22)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..end, low - pad..high + pad)?;
    chart
        .configure_mesh()
        .y_desc(&panel.title)
        .y_labels(6)
        .x_labels(13)
        .x_label_formatter(&|h| format!("{h:.0} h"))
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .draw()?;
    for bound in &panel.bounds {
        let line = DashedLineSeries::new([(0.0, *bound), (end, *bound)], 6, 4, RED.mix(0.7).stroke_width(1));
        chart.draw_series(line)?;
    }
    for (law, points) in series {
        let line = points.iter().filter_map(|p| Some((p.hours, (panel.value)(p)?)));
        let style = color(*law).stroke_width(2);
        chart.draw_series(LineSeries::new(line, style))?;
    }
    Ok(())
}

fn mean(row: &Row, column: &str) -> Option<f64> {
    row.columns.get(column)?.get("mean")?.as_f64()
}

/// One mark a scenario and controller: cooling energy against that of `fixed`, and how steady it was.
fn scatter(report: &Report, path: &Path) -> Drawn {
    let fixed = |row: &Row| {
        let same = |r: &&Row| r.scenario == row.scenario && r.controller == Law::Fixed;
        report.rows.iter().find(same).and_then(|r| mean(r, "cooling_kwh"))
    };
    let marks: Vec<(&Row, f64, f64)> = report
        .rows
        .iter()
        .filter_map(|r| Some((r, 100.0 * mean(r, "cooling_kwh")? / fixed(r)?, mean(r, "stability_k")?)))
        .collect();
    if marks.is_empty() {
        return Ok(());
    }
    let xs = || marks.iter().map(|(_, x, _)| *x);
    let (low, high) = (xs().fold(f64::MAX, f64::min), xs().fold(f64::MIN, f64::max));
    let top = marks.iter().map(|(_, _, y)| *y).fold(0.1, f64::max);
    let root = SVGBackend::new(path, (900, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(
            "Cooling energy against stability (circle air, square liquid, triangle immersion)",
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(low - 4.0..high + 10.0, 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .x_desc("cooling energy, % of fixed")
        .y_desc("RMS deviation of the watched temperature, K")
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .draw()?;
    for law in Law::ALL {
        let of_law: Vec<_> = marks.iter().filter(|(r, ..)| r.controller == law).collect();
        if of_law.is_empty() {
            continue;
        }
        let style = color(law).filled();
        for (row, x, y) in of_law {
            let at = (*x, *y);
            match row.plant.as_str() {
                "air" => chart.draw_series([Circle::new(at, 5, style)])?,
                "liquid" => {
                    chart.draw_series([EmptyElement::at(at) + Rectangle::new([(-5, -5), (5, 5)], style)])?
                }
                _ => chart.draw_series([TriangleMarker::new(at, 6, style)])?,
            };
        }
        chart
            .draw_series(std::iter::empty::<Circle<(f64, f64), i32>>())?
            .label(law.as_str())
            .legend(move |(x, y)| Circle::new((x + 8, y), 5, style));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    root.present()?;
    Ok(())
}
