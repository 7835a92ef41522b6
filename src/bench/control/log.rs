//! `isotherm bench log`: what happened when, under mixed behaviour, for learning control offline.
//!
//! One row a decision: what was seen, what was set, and what the interval up to the next decision brought.
//! Behaviours: setpoints held where they were commissioned and at random places, trim and respond, the PID
//! cascade, and a random walk. All go through the guard, so every row is something that a plant would live
//! through; the action is what the guard let pass.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use isotherm_sim::noise::{Noise, Stream};
use jiff::Timestamp;

use super::asker::Model;
use super::rig::{self, Decided, Rig};
use super::{BenchError, at_share, bar, cases, in_parallel, threads};
use crate::frame::Frame;
use crate::policy::{Policy, Seen};
use crate::site::{Law, Name, Setpoint, Site};
use crate::units::Finite;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for one CSV file a plant.
    #[arg(long)]
    out: PathBuf,
    /// Which scenarios, by commas; `*` stands for anything.
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Of which plants: air, liquid, immersion.
    #[arg(long, value_delimiter = ',')]
    plants: Vec<String>,
    /// Seeds from --first-seed on. The bench uses 1 to 5: the default does not touch them.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    #[arg(long, default_value_t = 101)]
    first_seed: u64,
    /// Simulated hours of a run.
    #[arg(long, default_value_t = 24.0, value_parser = crate::bench::hours, allow_negative_numbers = true)]
    hours: f64,
    /// Runs at a time; all cores when absent.
    #[arg(long)]
    jobs: Option<usize>,
}

/// Who moves the setpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Behaviour {
    Law(Law),
    /// Held at a place of its own, drawn once a run.
    Held(u64),
    /// A random walk within the limits.
    Walk(u64),
}

const BEHAVIOURS: [Behaviour; 9] = [
    Behaviour::Law(Law::Fixed),
    Behaviour::Law(Law::Trim),
    Behaviour::Law(Law::Pid),
    Behaviour::Held(1),
    Behaviour::Held(2),
    Behaviour::Held(3),
    Behaviour::Walk(1),
    Behaviour::Walk(2),
    Behaviour::Walk(3),
];

impl Behaviour {
    fn name(self) -> String {
        match self {
            Self::Law(law) => law.as_str().to_owned(),
            Self::Held(n) => format!("held-{n}"),
            Self::Walk(n) => format!("walk-{n}"),
        }
    }

    fn law(self) -> Law {
        match self {
            Self::Law(law) => law,
            // The site's own law is not asked where a policy stands in for it.
            Self::Held(_) | Self::Walk(_) => Law::Fixed,
        }
    }

    fn policy(self, seed: u64) -> Option<Box<dyn Policy>> {
        match self {
            Self::Law(_) => None,
            Self::Held(n) => Some(Box::new(Roam::new(seed, n, 0.0))),
            Self::Walk(n) => Some(Box::new(Roam::new(seed, 100 + n, WALK_SD))),
        }
    }
}

/// Steps of the random walk, in shares of a setpoint's range.
const WALK_SD: f64 = 0.06;
/// A random place is drawn anew with this chance at each decision of a walk.
const JUMP: f64 = 0.01;

/// Wants a random place in the range of every setpoint, and moves it about.
#[derive(Debug)]
struct Roam {
    noise: Noise,
    sd: f64,
    at: BTreeMap<Name, f64>,
}

impl Roam {
    fn new(seed: u64, number: u64, sd: f64) -> Self {
        let noise = Noise::new(seed.wrapping_mul(1000).wrapping_add(number), Stream::Workload);
        Self { noise, sd, at: BTreeMap::new() }
    }

    fn next(&mut self, s: &Setpoint) -> f64 {
        let drawn = self.noise.uniform();
        let step = self.sd * self.noise.normal();
        let jump = self.sd > 0.0 && self.noise.uniform() < JUMP;
        let at = self.at.entry(s.name.clone()).or_insert(drawn);
        *at = if jump { drawn } else { (*at + step).clamp(0.0, 1.0) };
        *at
    }
}

impl Policy for Roam {
    fn observe(&mut self, _: &Frame) {}

    fn stand_by(&mut self) {}

    fn propose(&mut self, _: Timestamp, seen: &Seen<'_>) -> Option<BTreeMap<Name, Finite>> {
        let wish = |s: &Setpoint| (s.name.clone(), at_share(s, self.next(s)).rounded(3));
        Some(seen.site.setpoints.iter().map(wish).collect())
    }
}

/// One CSV file, with its header written.
struct Table {
    writer: csv::Writer<File>,
    path: PathBuf,
    site: Site,
}

impl Table {
    fn create(folder: &Path, plant: &str, site: Site) -> Result<Self, BenchError> {
        let path = folder.join(format!("{plant}.csv"));
        let file = File::create(&path).map_err(|source| BenchError::File { path: path.clone(), source })?;
        let mut table = Self { writer: csv::Writer::from_writer(file), path, site };
        let signals = || table.site.signals.iter().map(|s| s.name.to_string());
        let setpoints = || table.site.setpoints.iter().map(|s| s.name.to_string());
        let mut header: Vec<String> = ["scenario", "behaviour", "seed", "time"].map(ToOwned::to_owned).into();
        header.extend(signals());
        header.extend(setpoints());
        header.extend(setpoints().map(|n| format!("action_{n}")));
        header.extend(signals().map(|n| format!("next_{n}")));
        header.extend(["cooling_kw", "facility_kw", "over_degh", "throttled_gpu_h"].map(ToOwned::to_owned));
        table.write(&header)?;
        Ok(table)
    }

    fn write(&mut self, row: &[String]) -> Result<(), BenchError> {
        let written = self.writer.write_record(row);
        written.map_err(|e| BenchError::File { path: self.path.clone(), source: e.into() })
    }
}

/// Writes the log; returns its rows.
pub fn run(args: &Args) -> Result<usize, BenchError> {
    let cases = cases::select(&args.plants, &args.scenarios)?;
    let seeds = args.first_seed..args.first_seed + args.seeds;
    let mut runs = Vec::new();
    for case in &cases {
        for seed in seeds.clone() {
            runs.extend(BEHAVIOURS.map(|b| (case, seed, b)));
        }
    }
    let bar = bar(runs.len());
    // Runs end in any order; in the file they stand in theirs.
    let done: Mutex<BTreeMap<usize, Vec<Vec<String>>>> = Mutex::default();
    let threads = threads(args.jobs, runs.len());
    let model = Model::new(threads)?;
    in_parallel(threads, runs.len(), |index| {
        let Some((case, seed, behaviour)) = runs.get(index) else { return Ok(()) };
        let site = case.site_without_model(behaviour.law(), None)?;
        let scenario = case.scenario(rig::band(&site)?)?;
        let rig = Rig::new(site.clone(), scenario, *seed, behaviour.policy(*seed), &model)?;
        let mut rows = rows(rig, &site, args.hours)?;
        for row in &mut rows {
            row.splice(0..0, [case.scenario.to_owned(), behaviour.name(), seed.to_string()]);
        }
        bar.inc(1);
        done.lock().map_err(|_| BenchError::Panic)?.insert(index, rows);
        Ok(())
    })?;
    bar.finish_and_clear();
    std::fs::create_dir_all(&args.out)
        .map_err(|source| BenchError::File { path: args.out.clone(), source })?;
    let mut tables: BTreeMap<&str, Table> = BTreeMap::new();
    let mut count = 0;
    for (index, rows) in done.into_inner().map_err(|_| BenchError::Panic)? {
        let Some((case, ..)) = runs.get(index) else { continue };
        if !tables.contains_key(case.plant) {
            tables.insert(case.plant, Table::create(&args.out, case.plant, case.site()?)?);
        }
        let Some(table) = tables.get_mut(case.plant) else { continue };
        count += rows.len();
        rows.iter().try_for_each(|row| table.write(row))?;
    }
    Ok(count)
}

/// Every decision of a run with what came of it; the last has no next and is left out.
fn rows(mut rig: Rig<'_>, site: &Site, hours: f64) -> Result<Vec<Vec<String>>, BenchError> {
    let mut rows = Vec::new();
    let mut last: Option<(Decided, isotherm_sim::Totals)> = None;
    while rig.plant().hours() < hours - 1e-6 {
        let Some(decided) = rig.sample()? else { continue };
        let now = rig.plant().totals();
        if let Some((before, then)) = last.take() {
            rows.push(row(site, &before, &decided.frame, &then, &now));
        }
        last = Some((decided, now));
    }
    Ok(rows)
}

/// Empty where there is no good value.
fn row(
    site: &Site,
    it: &Decided,
    next: &Frame,
    then: &isotherm_sim::Totals,
    now: &isotherm_sim::Totals,
) -> Vec<String> {
    let shown = |value: Option<Finite>| value.map(|v| v.rounded(3).to_string()).unwrap_or_default();
    let mut row = vec![it.frame.time.to_string()];
    row.extend(site.signals.iter().map(|s| shown(it.frame.good(&s.name))));
    row.extend(site.setpoints.iter().map(|s| shown(it.frame.good(&s.name))));
    row.extend(site.setpoints.iter().map(|s| shown(it.setpoints.get(&s.name).copied())));
    row.extend(site.signals.iter().map(|s| shown(next.good(&s.name))));
    let hours = (now.hours - then.hours).max(1e-9);
    row.extend([
        format!("{:.3}", (now.cooling_kwh - then.cooling_kwh) / hours),
        format!("{:.3}", (now.facility_kwh - then.facility_kwh) / hours),
        format!("{:.5}", now.over_degh - then.over_degh),
        format!("{:.5}", now.throttled_gpu_h - then.throttled_gpu_h),
    ]);
    row
}
