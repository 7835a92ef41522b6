//! `isotherm bench hindsight`: how little cooling energy a day could have cost, had all of it been known
//! beforehand.
//!
//! A day is cut into parts, and in each part every setpoint is held where whole runs of that same day cost least:
//! found by trying, first with one place for the whole day, then part by part, in ever smaller steps. The
//! guard stands behind the plan as behind any controller. Two plans are looked for: one with no more
//! over-temperature and throttling than the setpoints as commissioned bring, and one that minds no temperature
//! at all. No controller that must live through the day should be expected to go below the first, and none can
//! be asked to go below the second. Both are what a search found: a better plan may exist.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::asker::Model;
use super::rig::{self, Rig};
use super::{BenchError, Metrics, at_share, bar, cases, in_parallel, threads};
use crate::frame::Frame;
use crate::policy::{Policy, Seen};
use crate::site::{Law, Name, Setpoint};
use crate::units::Finite;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which scenarios, by commas; `*` stands for anything.
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Of which plants: air, liquid, immersion.
    #[arg(long, value_delimiter = ',')]
    plants: Vec<String>,
    /// How many seeds.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Simulated hours of a run.
    #[arg(long, default_value_t = 24.0, value_parser = crate::bench::hours, allow_negative_numbers = true)]
    hours: f64,
    /// Into how many parts a run is cut.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=24))]
    parts: u32,
    /// Runs at a time; all cores when absent.
    #[arg(long)]
    jobs: Option<usize>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Steps of the search, in shares of a setpoint's range.
const WHOLE_DAY: [f64; 4] = [0.5, 0.25, 0.125, 0.0625];
const BY_PART: [f64; 3] = [0.25, 0.125, 0.0625];
/// Kelvin hours a day that are not worth calling more.
const NOTHING: f64 = 0.01;

/// One scenario and seed.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    pub plant: &'static str,
    pub scenario: &'static str,
    pub seed: u64,
    pub fixed: Spent,
    pub mpc: Spent,
    pub rl: Spent,
    /// No more over-temperature than `fixed`.
    pub safe: Found,
    /// Whatever the temperature.
    pub any: Found,
    /// Runs that the two searches took.
    pub tried: usize,
}

/// What a run cost.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Spent {
    pub cooling_kwh: f64,
    pub facility_kwh: f64,
    pub over_degh: f64,
}

/// The best plan found, and what it cost.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Found {
    #[serde(flatten)]
    pub spent: Spent,
    /// For each part of the day the place of each setpoint in its range, 0 to 1.
    pub plan: Plan,
}

impl From<&Metrics> for Spent {
    fn from(m: &Metrics) -> Self {
        Self { cooling_kwh: m.cooling_kwh, facility_kwh: m.facility_kwh, over_degh: m.over_degh }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    pub hours: f64,
    pub parts: u32,
    pub rows: Vec<Row>,
}

impl Report {
    /// Percent of `fixed` saved: each scenario, then means by plant and over all.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::from(
            "| | mpc | rl | hindsight | over, K h | hindsight at any temperature | over, K h |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        let mut line = |name: &str, rows: &[&Row]| {
            let mean = |of: &dyn Fn(&Row) -> f64| rows.iter().map(|r| of(r)).sum::<f64>() / rows.len() as f64;
            let saved =
                |of: fn(&Row) -> Spent| mean(&|r| 100.0 * (1.0 - of(r).cooling_kwh / r.fixed.cooling_kwh));
            let _infallible = writeln!(
                out,
                "| {name} | {:.1} | {:.1} | {:.1} | {:.2} | {:.1} | {:.1} |",
                saved(|r| r.mpc),
                saved(|r| r.rl),
                saved(|r| r.safe.spent),
                mean(&|r| r.safe.spent.over_degh),
                saved(|r| r.any.spent),
                mean(&|r| r.any.spent.over_degh),
            );
        };
        let mut by_scenario: BTreeMap<(&str, &str), Vec<&Row>> = BTreeMap::new();
        let mut by_plant: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in &self.rows {
            by_scenario.entry((row.plant, row.scenario)).or_default().push(row);
            by_plant.entry(row.plant).or_default().push(row);
        }
        for ((_, name), rows) in &by_scenario {
            line(name, rows);
        }
        for (name, rows) in &by_plant {
            line(name, rows);
        }
        line("all", &self.rows.iter().collect::<Vec<_>>());
        out
    }
}

/// Searches every scenario and seed that is asked for.
pub fn run(args: &Args) -> Result<Report, BenchError> {
    let cases = cases::select(&args.plants, &args.scenarios)?;
    let days: Vec<(&cases::Case, u64)> = (args.first_seed..)
        .zip(0..args.seeds)
        .flat_map(|(seed, _)| cases.iter().map(move |case| (case, seed)))
        .collect();
    let threads = threads(args.jobs, days.len());
    let model = Model::new(threads)?;
    let bar = bar(days.len());
    let found: Mutex<BTreeMap<usize, Row>> = Mutex::default();
    in_parallel(threads, days.len(), |index| {
        let Some((case, seed)) = days.get(index) else { return Ok(()) };
        let day = Day { case, seed: *seed, hours: args.hours, model: &model };
        let row = day.row(args.parts)?;
        bar.inc(1);
        found.lock().map_err(|_| BenchError::Panic)?.insert(index, row);
        Ok(())
    })?;
    bar.finish_and_clear();
    let rows = found.into_inner().map_err(|_| BenchError::Panic)?.into_values().collect();
    Ok(Report { hours: args.hours, parts: args.parts, rows })
}

/// One day of one plant, that can be lived through again and again.
struct Day<'a> {
    case: &'a cases::Case,
    seed: u64,
    hours: f64,
    model: &'a Model,
}

impl Day<'_> {
    fn live(&self, law: Law, policy: Option<Box<dyn Policy>>) -> Result<Metrics, BenchError> {
        let site = self.case.site_without_model(law, None)?;
        let scenario = self.case.scenario(rig::band(&site)?)?;
        Ok(Rig::new(site, scenario, self.seed, policy, self.model)?.run(self.hours)?.metrics)
    }

    fn row(&self, parts: u32) -> Result<Row, BenchError> {
        let fixed = self.live(Law::Fixed, None)?;
        let (mpc, rl) = (self.live(Law::Mpc, None)?, self.live(Law::Rl, None)?);
        let setpoints = self.case.site()?.setpoints.len();
        let part = SignedDuration::from_secs_f64(self.hours * 3600.0 / f64::from(parts));
        let live = |plan: &Plan| self.live(Law::Fixed, Some(Box::new(Planned::new(plan.clone(), part))));
        let (mut safe_tried, mut any_tried) = (0, 0);
        let safe = search(setpoints, parts as usize, |plan| {
            safe_tried += 1;
            let m = live(plan)?;
            let over = (m.over_degh - fixed.over_degh - NOTHING).max(0.0);
            let throttled = (m.throttled_gpu_h - fixed.throttled_gpu_h).max(0.0);
            Ok((over + throttled, Spent::from(&m)))
        })?;
        let any = search(setpoints, parts as usize, |plan| {
            any_tried += 1;
            Ok((0.0, Spent::from(&live(plan)?)))
        })?;
        Ok(Row {
            plant: self.case.plant,
            scenario: self.case.scenario,
            seed: self.seed,
            fixed: Spent::from(&fixed),
            mpc: Spent::from(&mpc),
            rl: Spent::from(&rl),
            safe,
            any,
            tried: safe_tried + any_tried,
        })
    }
}

/// By part of the day, by setpoint.
type Plan = Vec<Vec<f64>>;

/// The plan that costs least of those tried. `live` says by how much a plan is past what is allowed, and what it
/// spends: less of the first is better, then less of the second.
fn search(
    setpoints: usize,
    parts: usize,
    mut live: impl FnMut(&Plan) -> Result<(f64, Spent), BenchError>,
) -> Result<Found, BenchError> {
    let mut best = vec![vec![0.5; setpoints]; parts];
    let mut cost = live(&best)?;
    let less = |a: &(f64, Spent), b: &(f64, Spent)| (a.0, a.1.cooling_kwh) < (b.0, b.1.cooling_kwh);
    let all: Vec<Vec<usize>> = vec![(0..parts).collect()];
    let each: Vec<Vec<usize>> = (0..parts).map(|p| vec![p]).collect();
    let stages = WHOLE_DAY.map(|step| (step, &all)).into_iter().chain(BY_PART.map(|step| (step, &each)));
    for (step, groups) in stages {
        let moves: Vec<(&Vec<usize>, usize)> =
            groups.iter().flat_map(|group| (0..setpoints).map(move |s| (group, s))).collect();
        // Every move in turn, for as long as one of them gains something.
        let mut idle = 0;
        for (group, setpoint) in moves.iter().cycle() {
            if idle == moves.len() {
                break;
            }
            idle += 1;
            for by in [step, -step] {
                let mut plan = best.clone();
                for part in *group {
                    if let Some(place) = plan.get_mut(*part).and_then(|p| p.get_mut(*setpoint)) {
                        *place = (*place + by).clamp(0.0, 1.0);
                    }
                }
                if plan == best {
                    continue;
                }
                let tried = live(&plan)?;
                if less(&tried, &cost) {
                    (best, cost) = (plan, tried);
                    idle = 0;
                    break;
                }
            }
        }
    }
    Ok(Found { plan: best, spent: cost.1 })
}

/// Holds what a plan says.
#[derive(Debug)]
struct Planned {
    plan: Plan,
    part: SignedDuration,
    began: Option<Timestamp>,
}

impl Planned {
    fn new(plan: Plan, part: SignedDuration) -> Self {
        Self { plan, part, began: None }
    }
}

impl Policy for Planned {
    fn observe(&mut self, _: &Frame) {}

    fn stand_by(&mut self) {}

    fn propose(&mut self, now: Timestamp, seen: &Seen<'_>) -> Option<BTreeMap<Name, Finite>> {
        let gone = now.duration_since(*self.began.get_or_insert(now));
        let part = (gone.as_secs_f64() / self.part.as_secs_f64()) as usize;
        let places = self.plan.get(part).or(self.plan.last())?;
        let at = |(s, place): (&Setpoint, &f64)| (s.name.clone(), s.nearest_step(at_share(s, *place)));
        Some(seen.site.setpoints.iter().zip(places).map(at).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(cooling_kwh: f64) -> Spent {
        Spent { cooling_kwh, facility_kwh: 0.0, over_degh: 0.0 }
    }

    /// Two setpoints, two parts; the cheapest places differ by part, and one part may not go there.
    fn day(plan: &Plan) -> (f64, Spent) {
        let [[a, b], [c, d]] = [[plan[0][0], plan[0][1]], [plan[1][0], plan[1][1]]];
        let cost = (a - 1.0).powi(2) + (b - 0.25).powi(2) + (c - 0.0).powi(2) + (d - 0.75).powi(2);
        ((a - 0.5).max(0.0), spent(cost))
    }

    #[test]
    fn a_search_finds_the_cheapest_plan_of_those_allowed() {
        let found = search(2, 2, |plan| Ok(day(plan))).unwrap();
        assert!((found.spent.cooling_kwh - 0.25).abs() < 1e-9, "only the forbidden part costs: {found:?}");
        let found = search(2, 2, |plan| Ok((0.0, day(plan).1))).unwrap();
        assert!(found.spent.cooling_kwh < 1e-9, "{found:?}");
        let found = search(2, 1, |plan| Ok((0.0, day(&vec![plan[0].clone(); 2]).1))).unwrap();
        assert!((found.spent.cooling_kwh - 0.625).abs() < 1e-9, "one place for both: {found:?}");
    }

    #[test]
    fn a_plan_that_is_not_allowed_is_left_for_one_that_is() {
        let found = search(1, 1, |plan| {
            let at = plan[0][0];
            Ok(((at - 0.2).max(0.0), spent(-at)))
        });
        let found = found.unwrap();
        assert!(
            (found.spent.cooling_kwh + 0.1875).abs() < 1e-9,
            "the largest step that is allowed: {found:?}"
        );
    }
}
