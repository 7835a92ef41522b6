//! `isotherm bench twin`: how well the twin predicts, against "it stays as it is".
//!
//! A simulated plant is driven by a behaviour that the twin knows nothing of: random steps of its setpoints
//! within the site's limits and rates, or trim and respond. Its sensors go through the frame assembler into
//! a new twin. After two hours, every five minutes, the twin says what will be read 5, 15 and 30 min later given the
//! setpoints that really come; nothing of later load or weather is told. What it would have said had it been told
//! the load is scored beside it: this twin with a perfect forecast of the load. And the same plant, in the same state
//! and with the same setpoints, is run into another future now and then: how far two futures are apart is what even a
//! twin that is the plant could not foresee. Plants are as shipped, and with every conductance, heat capacity and rated
//! power changed by 30 % up or down, at random.

mod change;
pub(super) mod drive;
mod report;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use isotherm_sim::scenario::SHIPPED;
use isotherm_sim::{Plant, Scenario};
use jiff::Timestamp;
use serde::Serialize;
use toml::{Table, Value};

use super::control::{BenchError, cases, wire};
use crate::clock::Stopwatch;
use crate::frame::{Assembler, Frame};
use crate::site::{Role, Site};
use crate::twin::{HORIZONS_MIN, STEPS, Twin};
use crate::units::Finite;
use drive::Drive;
pub(super) use drive::Random;
use report::{Found, Key, Sums};

pub use report::{Report, Row, Summary};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which scenarios, by commas; `*` stands for anything. Those without faults when absent.
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<String>,
    /// How many seeds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them. The twin's first guesses were chosen on seeds 4 to 6.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Simulated hours of a run; the first two are not scored.
    #[arg(long, default_value_t = 12.0, value_parser = hours, allow_negative_numbers = true)]
    hours: f64,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Telemetry before anything is scored.
const LEARN_H: f64 = 2.0;
const EVERY_MIN: i64 = 5;
/// How often another future is tried.
const OTHER_EVERY_MIN: i64 = 30;
/// The longest that the twin is asked about: a shorter run would leave columns empty.
const LONGEST_H: f64 = 0.5;
/// How much parameters are changed.
const CHANGE: f64 = 0.3;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Parameters {
    Shipped,
    Changed,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Behaviour {
    Steps,
    Trim,
}

#[derive(Clone)]
struct Job {
    case: cases::Case,
    parameters: Parameters,
    behaviour: Behaviour,
    seed: u64,
}

fn hours(text: &str) -> Result<f64, String> {
    super::more_than(LEARN_H + LONGEST_H, text)
}

pub fn run(args: &Args) -> Result<Report, BenchError> {
    let patterns = if args.scenarios.is_empty() {
        ["*training", "*inference", "*burst"].map(ToOwned::to_owned).to_vec()
    } else {
        args.scenarios.clone()
    };
    let mut jobs = Vec::new();
    for case in cases::select(&[], &patterns)? {
        for seed in args.first_seed..args.first_seed.saturating_add(args.seeds) {
            for parameters in [Parameters::Shipped, Parameters::Changed] {
                for behaviour in [Behaviour::Steps, Behaviour::Trim] {
                    jobs.push(Job { case: case.clone(), parameters, behaviour, seed });
                }
            }
        }
    }
    let all = Mutex::new(Found::default());
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), BenchError> {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = job.run(args.hours)?;
            let mut all = all.lock().map_err(|_| BenchError::Panic)?;
            for (key, sums) in found.sums {
                all.sums.entry(key).or_default().add(&sums);
            }
            for (sum, one) in [(0, found.candidate), (1, found.update)] {
                let sum = if sum == 0 { &mut all.candidate } else { &mut all.update };
                *sum = (sum.0 + one.0, sum.1 + one.1);
            }
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended: Vec<_> = workers.into_iter().map(|w| w.join().unwrap_or(Err(BenchError::Panic))).collect();
        ended.into_iter().collect::<Result<(), _>>()
    })?;
    Ok(report::report(&all.into_inner().map_err(|_| BenchError::Panic)?))
}

impl Job {
    fn run(&self, hours: f64) -> Result<Found, BenchError> {
        let site = self.case.site()?;
        let mut plant = Plant::new(self.scenario()?, self.seed)?;
        let mut assembler = Assembler::new(&site);
        let mut twin = Twin::new(&site);
        let mut drive = Drive::new(&site, self);
        let mut found = Found::default();
        let mut past: VecDeque<Window> = VecDeque::new();
        let mut load = (0.0, 0.0);
        let sample = site.sample.as_secs();
        let samples = (hours * 3600.0) as i64 / sample;
        for i in 1..=samples {
            let frame = sample_of(&mut plant, &site, &mut assembler)?;
            let watch = Stopwatch::start();
            twin.update(&frame);
            found.update.0 += watch.elapsed().as_secs_f64();
            found.update.1 += 1.0;
            drive.observe(&frame);
            let loads = site.with_role(Role::ItLoad).filter_map(|s| frame.good(&s.name));
            load = (load.0 + loads.map(Finite::get).sum::<f64>(), load.1 + 1.0);
            if (i * sample) % (60 * EVERY_MIN) != 0 {
                continue;
            }
            let (sum, n) = std::mem::take(&mut load);
            for w in &mut past {
                w.loads.push(sum / n);
                if let (Some(other), Some(row)) = (&mut w.other, w.rows.last()) {
                    other.run(&site, row)?;
                }
            }
            self.score(&mut past, &frame, &mut found);
            let now = drive.step(&site, &frame);
            for (setpoint, value) in site.setpoints.iter().zip(&now) {
                command(&mut plant, setpoint.name.as_str(), *value)?;
            }
            for window in &mut past {
                window.rows.push(now.clone());
            }
            if (i * sample) as f64 >= LEARN_H * 3600.0 {
                let moved = drive.moved_lately();
                let rows = vec![now];
                let other = ((i * sample) % (60 * OTHER_EVERY_MIN) == 0).then(|| Other {
                    plant: plant
                        .other_future(self.seed.wrapping_mul(0x9E37_79B9).wrapping_add(i.unsigned_abs())),
                    assembler: assembler.clone(),
                    frame: frame.clone(),
                });
                past.push_back(Window { twin: twin.clone(), frame, rows, loads: Vec::new(), moved, other });
            }
        }
        Ok(found)
    }

    fn scenario(&self) -> Result<Scenario, BenchError> {
        match self.parameters {
            Parameters::Shipped => Ok(Scenario::parse(self.case.scenario, self.case.text)?),
            Parameters::Changed => {
                let base = SHIPPED.iter().find(|(n, _)| *n == self.case.plant).map_or("", |(_, text)| *text);
                let broken =
                    |e: &dyn std::fmt::Display| BenchError::Usage(format!("{}: {e}", self.case.scenario));
                let base: Table = toml::from_str(base).map_err(|e| broken(&e))?;
                let mut table: Table = toml::from_str(self.case.text).map_err(|e| broken(&e))?;
                let mut random =
                    Random(self.seed.wrapping_mul(0x9E37_79B9) ^ self.case.scenario.len() as u64);
                let mut plant = base.get("plant").cloned().unwrap_or(Value::Table(Table::new()));
                change::change(&mut plant, &mut random);
                table.insert("plant".to_owned(), plant);
                let text = toml::to_string(&table).map_err(|e| broken(&e))?;
                Ok(Scenario::parse(self.case.scenario, &text)?)
            }
        }
    }

    /// Scores what was said of now, 5, 15 and 30 min ago.
    fn score(&self, past: &mut VecDeque<Window>, frame: &Frame, found: &mut Found) {
        for window in past.iter() {
            let steps = window.rows.len();
            let minutes = EVERY_MIN as u32 * steps as u32;
            if !HORIZONS_MIN.contains(&minutes) {
                continue;
            }
            let Some(ahead) = window.twin.lookahead(&window.frame) else { continue };
            let watch = Stopwatch::start();
            let trajectory = ahead.run(&window.rows);
            found.candidate.0 += watch.elapsed().as_secs_f64();
            found.candidate.1 += 1.0;
            let load = std::array::from_fn(|k| window.loads.get(k).or(window.loads.last()).copied());
            let told = ahead.told(load.map(Option::unwrap_or_default));
            let knowing = told.run(&window.rows);
            let moving = window.moved || window.rows.windows(2).any(|w| w.first() != w.last());
            for ((output, path), knowing) in
                told.outputs().iter().zip(&trajectory.signals).zip(&knowing.signals)
            {
                let good = |f: &Frame| f.good(&output.name).map(Finite::get);
                let (Some(then), Some(now)) = (good(&window.frame), good(frame)) else { continue };
                let (Some(path), Some(knowing)) = (path, knowing) else { continue };
                let Some(predicted) = path.values.get(steps - 1) else { continue };
                let told = knowing.values.get(steps - 1).map_or(f64::NAN, |v| v - now);
                let (error, stays) = ((predicted - now).abs(), (then - now).abs());
                let sigma = path.sigma(steps - 1);
                let other = window.other.as_ref().and_then(|o| good(&o.frame));
                let flag = |yes: bool| f64::from(u8::from(yes));
                let key = Key {
                    plant: self.case.plant,
                    parameters: self.parameters,
                    behaviour: self.behaviour,
                    role: output.role,
                    minutes,
                };
                found.sums.entry(key).or_default().add(&Sums {
                    n: 1.0,
                    twin: error * error,
                    stays: stays * stays,
                    told: told * told,
                    within: [flag(error <= sigma), flag(error <= 2.0 * sigma)],
                    // Of two independent draws, the squared distance is twice the variance.
                    chance: other.map_or([0.0; 2], |other| [(other - now).powi(2) / 2.0, stays * stays]),
                    moving: if moving { [1.0, error * error, stays * stays] } else { [0.0; 3] },
                });
            }
        }
        if past.front().is_some_and(|w| w.rows.len() >= STEPS) {
            past.pop_front();
        }
    }
}

/// A prediction to be scored, and the setpoints of the steps since.
struct Window {
    twin: Twin,
    frame: Frame,
    rows: Vec<Vec<f64>>,
    /// Mean load of each step since, kW.
    loads: Vec<f64>,
    moved: bool,
    other: Option<Other>,
}

/// Another future of the plant of a window.
struct Other {
    plant: Plant,
    assembler: Assembler,
    /// The last one.
    frame: Frame,
}

impl Other {
    /// Goes on for one row, with these setpoints.
    fn run(&mut self, site: &Site, setpoints: &[f64]) -> Result<(), BenchError> {
        for (setpoint, value) in site.setpoints.iter().zip(setpoints) {
            command(&mut self.plant, setpoint.name.as_str(), *value)?;
        }
        for _ in 0..60 * EVERY_MIN / site.sample.as_secs() {
            self.frame = sample_of(&mut self.plant, site, &mut self.assembler)?;
        }
        Ok(())
    }
}

fn command(plant: &mut Plant, name: &str, value: f64) -> Result<(), BenchError> {
    plant.command(name, value).map_err(|e| BenchError::Usage(e.to_string()))
}

/// One sample further.
fn sample_of(plant: &mut Plant, site: &Site, assembler: &mut Assembler) -> Result<Frame, BenchError> {
    plant.step(site.sample.as_secs_f64());
    command(plant, "enable", 1.0)?;
    let now: Timestamp = plant.time();
    // Something else each time.
    command(plant, "heartbeat", (now.as_second() % 30_000) as f64)?;
    let polled = wire::poll(plant, site, now).unwrap_or_default();
    for reading in wire::sense(plant, now).into_iter().chain(polled) {
        assembler.push(&reading);
    }
    Ok(assembler.snapshot(now))
}
