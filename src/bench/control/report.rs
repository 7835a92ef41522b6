//! Rows, the comparison with `fixed`, and both as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::metrics::{COLUMNS, Estimate, Metrics};
use super::store::Line;
use crate::envelope::Rule;
use crate::site::Law;

/// All results.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub rows: Vec<Row>,
    pub summary: Vec<Summary>,
}

/// One scenario under one controller.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub plant: String,
    pub scenario: String,
    pub controller: Law,
    pub seeds: usize,
    pub hours: f64,
    /// By column: `{mean, ci95}`, or null where no run has the number.
    #[serde(flatten)]
    pub columns: Map<String, Value>,
    /// Of all seeds together: decisions that each rule of the guard changed for safety.
    pub interventions_by: BTreeMap<Rule, u64>,
}

/// A controller against `fixed`, over the scenarios of some plants: for each seed the mean over scenarios of
/// the paired difference, then mean and interval over seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub controller: Law,
    pub plants: &'static str,
    pub scenarios: usize,
    pub seeds: usize,
    /// Percent less than `fixed`.
    pub cooling_saving_pct: Option<Estimate>,
    pub facility_saving_pct: Option<Estimate>,
    pub kwh_per_tflop_h_saving_pct: Option<Estimate>,
    /// Kelvins less than `fixed`.
    pub stability_gain_k: Option<Estimate>,
    /// Absolute differences to `fixed`, a run.
    pub over_degh_more: Option<Estimate>,
    pub throttled_gpu_h_more: Option<Estimate>,
    /// Of all runs together.
    pub hard_limit_violations: f64,
}

const GROUPS: [(&str, &[&str]); 5] = [
    ("air", &["air"]),
    ("liquid", &["liquid"]),
    ("immersion", &["immersion"]),
    ("air+liquid", &["air", "liquid"]),
    ("all", &["air", "liquid", "immersion"]),
];

impl Report {
    pub(super) fn of(lines: &[&Line]) -> Self {
        let mut by_row: BTreeMap<(&str, &str, Law), Vec<&Line>> = BTreeMap::new();
        for line in lines {
            by_row.entry((&line.plant, &line.scenario, line.controller)).or_default().push(line);
        }
        let rows = by_row.into_iter().map(|((plant, scenario, controller), lines)| Row {
            plant: plant.to_owned(),
            scenario: scenario.to_owned(),
            controller,
            seeds: lines.len(),
            hours: lines.first().map_or(0.0, |l| l.hours),
            columns: COLUMNS.iter().map(|(name, of)| ((*name).to_owned(), estimate(&lines, *of))).collect(),
            interventions_by: by_rule(&lines),
        });
        Self { rows: rows.collect(), summary: summaries(lines) }
    }

    /// The comparison, then every row.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let mut line = |cells: &[String]| {
            let _infallible = writeln!(out, "| {} |", cells.join(" | "));
        };
        let head = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let rule = |n: usize| vec!["---".to_owned(); n];
        let summary = [
            "controller",
            "plants",
            "cooling saved, %",
            "facility saved, %",
            "kWh per TFLOP/s h saved, %",
            "stability gained, K",
            "over, K h more",
            "throttled, GPU h more",
            "limit violations",
        ];
        line(&head(&summary));
        line(&rule(summary.len()));
        for s in &self.summary {
            line(&[
                s.controller.as_str().to_owned(),
                s.plants.to_owned(),
                show(s.cooling_saving_pct, 1),
                show(s.facility_saving_pct, 2),
                show(s.kwh_per_tflop_h_saving_pct, 2),
                show(s.stability_gain_k, 2),
                show(s.over_degh_more, 2),
                show(s.throttled_gpu_h_more, 2),
                format!("{:.0}", s.hard_limit_violations),
            ]);
        }
        out.push('\n');
        let mut line = |cells: &[String]| {
            let _infallible = writeln!(out, "| {} |", cells.join(" | "));
        };
        let columns: [(&str, usize); 13] = [
            ("cooling_kwh", 0),
            ("facility_kwh", 0),
            ("pue", 3),
            ("stability_k", 2),
            ("band_rms_k", 2),
            ("over_degh", 2),
            ("throttled_gpu_h", 1),
            ("kwh_per_tflop_h", 5),
            ("travel", 1),
            ("interventions", 0),
            ("verified_pct", 0),
            ("decide_p50_ms", 2),
            ("decide_p99_ms", 2),
        ];
        let mut names = head(&["scenario", "controller", "seeds"]);
        names.extend(columns.iter().map(|(n, _)| (*n).to_owned()));
        line(&names);
        line(&rule(names.len()));
        for row in &self.rows {
            let mut cells =
                vec![row.scenario.clone(), row.controller.as_str().to_owned(), row.seeds.to_string()];
            cells.extend(columns.iter().map(|(name, digits)| {
                let value = row.columns.get(*name).unwrap_or(&Value::Null);
                let get = |key: &str| value.get(key).and_then(Value::as_f64);
                show(get("mean").map(|mean| Estimate { mean, ci95: get("ci95") }), *digits)
            }));
            line(&cells);
        }
        out
    }
}

fn show(estimate: Option<Estimate>, digits: usize) -> String {
    match estimate {
        Some(Estimate { mean, ci95: Some(ci) }) => format!("{mean:.digits$} ± {ci:.digits$}"),
        Some(Estimate { mean, ci95: None }) => format!("{mean:.digits$}"),
        None => "–".to_owned(),
    }
}

fn estimate(lines: &[&Line], of: fn(&Metrics) -> Option<f64>) -> Value {
    let values: Vec<f64> = lines.iter().filter_map(|l| of(&l.metrics)).collect();
    Estimate::of(&values).map_or(Value::Null, |e| json!(e))
}

fn by_rule(lines: &[&Line]) -> BTreeMap<Rule, u64> {
    let mut all = BTreeMap::new();
    for (rule, count) in lines.iter().flat_map(|l| &l.interventions_by) {
        *all.entry(*rule).or_default() += count;
    }
    all
}

fn summaries(lines: &[&Line]) -> Vec<Summary> {
    let mut laws: Vec<Law> = lines.iter().map(|l| l.controller).collect();
    laws.sort_unstable();
    laws.dedup();
    let of_group = |law: Law, (name, plants): &(&'static str, &[&str])| {
        let here = |l: &&&Line| plants.contains(&l.plant.as_str());
        let present: std::collections::BTreeSet<&str> =
            lines.iter().filter(here).map(|l| l.plant.as_str()).collect();
        // A group with a plant missing would pass for what it is not.
        (present.len() == plants.len()).then(|| {
            let lines: Vec<&Line> = lines.iter().filter(here).copied().collect();
            compare(law, name, &lines)
        })
    };
    laws.into_iter().flat_map(|law| GROUPS.iter().filter_map(move |g| of_group(law, g))).collect()
}

fn compare(law: Law, plants: &'static str, lines: &[&Line]) -> Summary {
    let find = |law: Law, like: &Line| {
        lines.iter().find(|l| l.controller == law && l.scenario == like.scenario && l.seed == like.seed)
    };
    let ours: Vec<&&Line> = lines.iter().filter(|l| l.controller == law).collect();
    let pairs: Vec<(u64, &Metrics, &Metrics)> =
        ours.iter().filter_map(|l| Some((l.seed, &l.metrics, &find(Law::Fixed, l)?.metrics))).collect();
    let over_seeds = |difference: &dyn Fn(&Metrics, &Metrics) -> f64| {
        let mut by_seed: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (seed, it, fixed) in &pairs {
            by_seed.entry(*seed).or_default().push(difference(it, fixed));
        }
        let means: Vec<f64> = by_seed.values().map(|v| v.iter().sum::<f64>() / v.len() as f64).collect();
        Estimate::of(&means)
    };
    let saving = |of: fn(&Metrics) -> f64| {
        over_seeds(&move |it: &Metrics, fixed: &Metrics| 100.0 * (of(fixed) - of(it)) / of(fixed))
    };
    let more = |of: fn(&Metrics) -> f64| over_seeds(&move |it: &Metrics, fixed: &Metrics| of(it) - of(fixed));
    let count = |mut names: Vec<String>| {
        names.sort_unstable();
        names.dedup();
        names.len()
    };
    Summary {
        controller: law,
        plants,
        scenarios: count(ours.iter().map(|l| l.scenario.clone()).collect()),
        seeds: count(ours.iter().map(|l| l.seed.to_string()).collect()),
        cooling_saving_pct: saving(|m| m.cooling_kwh),
        facility_saving_pct: saving(|m| m.facility_kwh),
        kwh_per_tflop_h_saving_pct: saving(|m| m.kwh_per_tflop_h),
        stability_gain_k: more(|m| -m.stability_k),
        over_degh_more: more(|m| m.over_degh),
        throttled_gpu_h_more: more(|m| m.throttled_gpu_h),
        hard_limit_violations: ours.iter().map(|l| l.metrics.hard_limit_violations).sum(),
    }
}
