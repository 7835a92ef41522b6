//! `isotherm bench resolution`: decisions when something changes, against decisions at fixed intervals.
//!
//! Each run is one simulated plant under the controller `mpc` behind the guard, as in `bench control`. First at
//! adaptive resolution; then at the fixed cadence that comes to the same number of decisions, which is the same
//! number of tokens where a model decides; and at the site's own cadence. `docs/resolution.md` says what the
//! columns mean.

mod course;
mod plot;
mod report;

use std::path::PathBuf;
use std::sync::Mutex;

use isotherm_sim::Scenario;
use jiff::SignedDuration;
use serde::Serialize;

use super::control::asker::Answers;
use super::control::metrics::{Point, rms};
use super::control::rig::{self, Rig};
use super::control::{BenchError, cases, in_parallel};
use crate::reason::{Completion, Failure, Request};
use crate::site::{Law, Site};
use course::Course;

pub use report::{Report, Row, Summary};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many seeds; each has its own times of events, weather and sensor errors.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them. The bounds of `[resolution]` were chosen on seeds from 101 on.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Draws an example here, SVG.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// One with chillers, which answer within minutes, and one with baths, which answer within the hour.
const PLANTS: [&str; 2] = ["air", "immersion"];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Job {
    plant: &'static str,
    course: Course,
    seed: u64,
}

/// What decides when to decide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    Adaptive,
    /// A fixed cadence with as many decisions.
    Equal,
    /// The site's cadence.
    Usual,
}

/// What one run came to, after its first hours.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    decisions: f64,
    /// How far the watched temperature went over its band, K.
    overshoot_k: f64,
    outside_min: f64,
    /// RMS deviation of the watched temperature from its mean.
    stability_k: f64,
    cooling_kwh: f64,
}

/// A run's decisions, and its course each minute.
#[derive(Default)]
struct Run {
    found: Found,
    points: Vec<Point>,
    /// Hours at which decisions were made.
    decided: Vec<f64>,
}

/// Nobody is asked: the optimizer decides.
struct Nobody;

impl Answers for Nobody {
    fn ask(&self, _: &Site, _: Request) -> Result<Result<Completion, Failure>, BenchError> {
        Ok(Err(Failure::NotRunning { why: "this bench has no model".to_owned() }))
    }
}

pub fn run(args: &Args) -> Result<Report, BenchError> {
    let seeds = args.first_seed..args.first_seed.saturating_add(args.seeds);
    let jobs: Vec<Job> = seeds
        .flat_map(|seed| PLANTS.map(|plant| (plant, seed)))
        .flat_map(|(plant, seed)| Course::of(plant).map(move |course| Job { plant, course, seed }))
        .collect();
    let found = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    in_parallel(threads, jobs.len(), |index| {
        let Some(job) = jobs.get(index).copied() else { return Ok(()) };
        let [adaptive, equal, usual] = job.run()?;
        let example = job == Job { plant: "immersion", course: Course::LoadSteps, seed: args.first_seed };
        if let Some(path) = args.plot.as_deref().filter(|_| example) {
            let band = rig::band(&site(job.plant)?)?;
            plot::draw(&[("adaptive", &adaptive), ("fixed, as many decisions", &equal)], band, path)?;
        }
        let mut all = found.lock().map_err(|_| BenchError::Panic)?;
        all.push((job, Timing::Adaptive, adaptive.found));
        all.push((job, Timing::Equal, equal.found));
        all.push((job, Timing::Usual, usual.found));
        Ok(())
    })?;
    Ok(Report::of(&found.into_inner().map_err(|_| BenchError::Panic)?))
}

impl Job {
    /// Adaptive, and at the two fixed cadences.
    fn run(self) -> Result<[Run; 3], BenchError> {
        let usual = site(self.plant)?;
        let mut adaptive = usual.clone();
        adaptive.resolution.adaptive = true;
        let adaptive = self.one(adaptive)?;
        // As many where it counts.
        let seconds = (course::HOURS - course::SETTLES_H) * 3600.0 / adaptive.found.decisions.max(1.0);
        let samples = (seconds / usual.sample.as_secs_f64()).round().max(1.0);
        let mut equal = usual.clone();
        equal.cadence = usual.sample * samples as i32;
        Ok([adaptive, self.one(equal)?, self.one(usual)?])
    }

    fn one(self, site: Site) -> Result<Run, BenchError> {
        let [low, high] = rig::band(&site)?;
        let mut scenario = Scenario::parse(self.course.name(), &self.course.text(self.plant, self.seed))?;
        scenario.over_above = high;
        let mut rig = Rig::new(site, scenario, self.seed, None, &Nobody)?;
        let mut run = Run::default();
        let (mut watched, mut before) = (Vec::new(), None);
        while rig.plant().hours() < course::HOURS - 1e-6 {
            let decided = rig.sample()?.is_some();
            let hours = rig.plant().hours();
            if decided {
                run.decided.push(hours);
            }
            if run
                .points
                .last()
                .is_none_or(|p| rig.plant().time().duration_since(p.time) >= SignedDuration::from_mins(1))
            {
                run.points.push(rig.point());
            }
            if hours < course::SETTLES_H {
                continue;
            }
            let totals = rig.plant().totals();
            let from = *before.get_or_insert((totals.cooling_kwh, hours));
            let now = rig.plant().outcome().watched;
            watched.push(now);
            let f = &mut run.found;
            f.overshoot_k = f.overshoot_k.max(now - high);
            if !(low..=high).contains(&now) {
                f.outside_min += rig.plant().scenario().sample_s / 60.0;
            }
            f.cooling_kwh = totals.cooling_kwh - from.0;
        }
        let mean = watched.iter().sum::<f64>() / watched.len().max(1) as f64;
        run.found.stability_k = rms(&watched, mean);
        run.found.decisions = run.decided.iter().filter(|h| **h >= course::SETTLES_H).count() as f64;
        Ok(run)
    }
}

fn site(plant: &str) -> Result<Site, BenchError> {
    let case = cases::select(&[plant.to_owned()], &["*summer-burst".to_owned()])?;
    let case = case.first().ok_or(BenchError::Panic)?;
    case.site_without_model(Law::Mpc, None)
}
