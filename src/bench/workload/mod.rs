//! `isotherm bench workload`: what it is worth to say beforehand that load comes, and to ask beforehand whether
//! it may.
//!
//! [`precool`]: the same plant, weather and jobs twice under `mpc`, once with the jobs announced 40 min ahead
//! and once not. [`schedule`]: the same jobs for two schedulers, one that starts each when it comes and one
//! that heeds the agent's headroom. Jobs, their sizes and the errors of their announced power follow from the
//! seed; differences are taken seed by seed.

mod precool;
mod schedule;

use std::sync::Mutex;

use isotherm_sim::Scenario;
use isotherm_sim::load::Job;
use serde::Serialize;

use super::control::asker::Answers;
use super::control::{BenchError, Estimate, cases, in_parallel, rig, threads};
use crate::reason::{Completion, Failure, Request};
use crate::site::{Law, Site};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What one run came to, by column.
type Sums = Vec<(&'static str, f64)>;

/// The same seeds both ways.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    pub plant: &'static str,
    /// `precool` or `schedule`.
    pub what: &'static str,
    pub column: &'static str,
    /// Without the announcement, or without heeding the headroom.
    pub without: Estimate,
    pub with: Estimate,
    /// `with` less `without`, seed by seed.
    pub difference: Estimate,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    pub seeds: u64,
    pub rows: Vec<Row>,
}

/// What is run: a plant, and one of the two experiments.
type Experiment = (&'static str, &'static str, fn(&'static str, u64, bool) -> Result<Sums, BenchError>);

const EXPERIMENTS: [Experiment; 5] = [
    ("air", "precool", precool::run),
    ("liquid", "precool", precool::run),
    ("immersion", "precool", precool::run),
    ("air", "schedule", schedule::run),
    ("immersion", "schedule", schedule::run),
];

pub fn run(args: &Args) -> Result<Report, BenchError> {
    let seeds: Vec<u64> = (args.first_seed..).zip(0..args.seeds).map(|(seed, _)| seed).collect();
    let all: Vec<(usize, u64, bool)> = (0..EXPERIMENTS.len())
        .flat_map(|e| seeds.iter().flat_map(move |s| [(e, *s, false), (e, *s, true)]))
        .collect();
    let found = Mutex::new(vec![None; all.len()]);
    in_parallel(threads(None, all.len()), all.len(), |index| {
        let Some((experiment, seed, with)) = all.get(index) else { return Ok(()) };
        let Some((plant, _, run)) = EXPERIMENTS.get(*experiment) else { return Ok(()) };
        let sums = run(plant, *seed, *with)?;
        let mut found = found.lock().map_err(|_| BenchError::Panic)?;
        if let Some(slot) = found.get_mut(index) {
            *slot = Some(sums);
        }
        Ok(())
    })?;
    let found = found.into_inner().map_err(|_| BenchError::Panic)?;
    let mut rows = Vec::new();
    for (e, (plant, what, _)) in EXPERIMENTS.iter().enumerate() {
        let of = |with: bool| -> Vec<&Sums> {
            let runs = all.iter().zip(&found).filter(|((i, _, w), _)| *i == e && *w == with);
            runs.filter_map(|(_, sums)| sums.as_ref()).collect()
        };
        rows.extend(compare(plant, what, &of(false), &of(true)));
    }
    Ok(Report { seeds: args.seeds, rows })
}

/// One row for each column.
fn compare(plant: &'static str, what: &'static str, without: &[&Sums], with: &[&Sums]) -> Vec<Row> {
    let columns = without.first().map(|sums| sums.iter().map(|(name, _)| *name)).into_iter().flatten();
    let row = |(i, column): (usize, &'static str)| {
        let values = |runs: &[&Sums]| -> Vec<f64> {
            runs.iter().filter_map(|sums| sums.get(i).map(|(_, v)| *v)).collect()
        };
        let (before, after) = (values(without), values(with));
        let differences: Vec<f64> = before.iter().zip(&after).map(|(b, a)| a - b).collect();
        Some(Row {
            plant,
            what,
            column,
            without: Estimate::of(&before)?,
            with: Estimate::of(&after)?,
            difference: Estimate::of(&differences)?,
        })
    };
    columns.enumerate().filter_map(row).collect()
}

impl Report {
    /// Tables for people and documents.
    #[must_use]
    pub fn markdown(&self) -> String {
        let shown = |e: &Estimate| match e.ci95 {
            Some(half) => format!("{:.2} ± {half:.2}", e.mean),
            None => format!("{:.2}", e.mean),
        };
        let table = |what: &str, head: &str| {
            let rows = self.rows.iter().filter(|r| r.what == what).map(|r| {
                let [a, b, c] = [&r.without, &r.with, &r.difference].map(shown);
                format!("| {} | {} | {a} | {b} | {c} |\n", r.plant, r.column)
            });
            format!("{head}\n| --- | --- | --- | --- | --- |\n{}\n", rows.collect::<String>())
        };
        let precool = "| plant | column | not announced | announced | difference |";
        let schedule = "| plant | column | at once | by headroom | difference |";
        table("precool", precool) + &table("schedule", schedule)
    }
}

/// The site of a plant, under `mpc`.
fn site(plant: &'static str) -> Result<Site, BenchError> {
    cases::Case { plant, scenario: plant, text: "" }.site_without_model(Law::Mpc, None)
}

/// What one workload draws more at full load than idle, kW: `it_kwh` of `isotherm-sim run` over an hour at
/// constant shares of 1 and 0. Share and kilowatts of a job have this to do with each other.
fn full_kw(plant: &str) -> f64 {
    match plant {
        "air" => 406.0,
        "liquid" => 817.0,
        _ => 169.0,
    }
}

/// No model is asked here.
struct Nobody;

impl Answers for Nobody {
    fn ask(&self, _: &Site, _: Request) -> Result<Result<Completion, Failure>, BenchError> {
        Err(BenchError::Usage("mpc asks nobody".to_owned()))
    }
}

/// Quiet halls or baths on a summer day.
fn scenario(plant: &str, more: &str) -> Result<Scenario, BenchError> {
    let workload = "[[workload]]\nkind = \"inference\"\nnight = 0.2\nday = 0.35\nbusiest_h = 14\nbursts_per_h = 1\nburst_height = 0.05\nburst_decay_min = 10\n";
    let loads = if plant == "liquid" { 1 } else { 2 };
    let head =
        format!("base = \"{plant}\"\nabout = \"Jobs on a summer day\"\nstart = \"2025-07-15T04:00:00Z\"\n");
    let scenario = Scenario::parse("bench workload", &(head + &workload.repeat(loads) + more))?;
    Ok(scenario)
}
