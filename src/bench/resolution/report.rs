//! Means over seeds, and what they say against the targets.

use serde::Serialize;

use super::course::Course;
use super::{Found, Job, PLANTS, Timing};
use crate::bench::control::Estimate;

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    pub plant: &'static str,
    pub course: Course,
    pub timing: Timing,
    pub decisions: Option<Estimate>,
    pub overshoot_k: Option<Estimate>,
    pub outside_min: Option<Estimate>,
    pub stability_k: Option<Estimate>,
    pub cooling_kwh: Option<Estimate>,
}

/// Adaptive against a fixed cadence, %.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Summary {
    pub plant: &'static str,
    pub course: Course,
    pub against: Timing,
    pub fewer_decisions_pct: f64,
    pub lower_overshoot_pct: Option<f64>,
    pub less_outside_pct: Option<f64>,
    pub more_energy_pct: f64,
    pub more_restless_pct: f64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    pub rows: Vec<Row>,
    pub summary: Vec<Summary>,
}

type Column = fn(&Found) -> f64;

impl Report {
    pub(super) fn of(found: &[(Job, Timing, Found)]) -> Self {
        let values = |plant: &str, course: Course, timing: Timing, column: Column| -> Vec<f64> {
            let of =
                |(job, t, _): &&(Job, Timing, Found)| (job.plant, job.course, *t) == (plant, course, timing);
            found.iter().filter(of).map(|(.., f)| column(f)).collect()
        };
        let row = |plant, course, timing| {
            let estimate = |column| Estimate::of(&values(plant, course, timing, column));
            Row {
                plant,
                course,
                timing,
                decisions: estimate(|f| f.decisions),
                overshoot_k: estimate(|f| f.overshoot_k),
                outside_min: estimate(|f| f.outside_min),
                stability_k: estimate(|f| f.stability_k),
                cooling_kwh: estimate(|f| f.cooling_kwh),
            }
        };
        let summary = |plant, course, against| {
            let total = |timing, column| values(plant, course, timing, column).iter().sum::<f64>();
            // Percent by which adaptive is lower; nothing to compare where neither has any.
            let lower = |column| {
                let [ours, theirs] = [total(Timing::Adaptive, column), total(against, column)];
                (theirs > 0.0).then(|| 100.0 * (1.0 - ours / theirs))
            };
            Summary {
                plant,
                course,
                against,
                fewer_decisions_pct: lower(|f| f.decisions).unwrap_or_default(),
                lower_overshoot_pct: lower(|f| f.overshoot_k),
                less_outside_pct: lower(|f| f.outside_min),
                more_energy_pct: -lower(|f| f.cooling_kwh).unwrap_or_default(),
                more_restless_pct: -lower(|f| f.stability_k).unwrap_or_default(),
            }
        };
        let cases = || PLANTS.into_iter().flat_map(|p| Course::of(p).map(move |c| (p, c)));
        let timings = [Timing::Adaptive, Timing::Equal, Timing::Usual];
        let fixed = [Timing::Equal, Timing::Usual];
        Self {
            rows: cases().flat_map(|(p, c)| timings.map(|t| row(p, c, t))).collect(),
            summary: cases().flat_map(|(p, c)| fixed.map(|t| summary(p, c, t))).collect(),
        }
    }

    /// Tables for people and documents.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut lines = vec![
            "| plant | course | timing | decisions | overshoot, K | outside its band, min | RMS deviation, K | cooling, kWh |".to_owned(),
            "| --- | --- | --- | --- | --- | --- | --- | --- |".to_owned(),
        ];
        let cell = |e: &Option<Estimate>, places: usize| match e {
            Some(Estimate { mean, ci95: Some(ci) }) => format!("{mean:.places$} ± {ci:.places$}"),
            Some(Estimate { mean, ci95: None }) => format!("{mean:.places$}"),
            None => "-".to_owned(),
        };
        lines.extend(self.rows.iter().map(|r| {
            let cells = [
                cell(&r.decisions, 0),
                cell(&r.overshoot_k, 2),
                cell(&r.outside_min, 1),
                cell(&r.stability_k, 2),
                cell(&r.cooling_kwh, 0),
            ];
            format!("| {} | {} | {} | {} |", r.plant, r.course.name(), r.timing.name(), cells.join(" | "))
        }));
        lines.push(String::new());
        lines.push(
            "| plant | course | adaptive against | fewer decisions, % | lower overshoot, % | less time outside, % | more energy, % | more deviation, % |"
                .to_owned(),
        );
        lines.push("| --- | --- | --- | --- | --- | --- | --- | --- |".to_owned());
        lines.extend(self.summary.iter().map(|s| {
            let pct = |p: Option<f64>| p.map_or("-".to_owned(), |p| format!("{p:.0}"));
            let (overshoot, outside) = (pct(s.lower_overshoot_pct), pct(s.less_outside_pct));
            format!(
                "| {} | {} | {} | {:.0} | {overshoot} | {outside} | {:.1} | {:.1} |",
                s.plant,
                s.course.name(),
                s.against.name(),
                s.fewer_decisions_pct,
                s.more_energy_pct,
                s.more_restless_pct
            )
        }));
        lines.push(String::new());
        lines.join("\n")
    }
}

impl Timing {
    fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::Equal => "fixed, as many",
            Self::Usual => "fixed, the site's",
        }
    }
}
