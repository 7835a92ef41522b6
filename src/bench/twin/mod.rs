//! `isotherm bench twin`: how well the twin predicts, against "it stays as it is".
//!
//! A simulated plant is driven by a behaviour that the twin knows nothing of: random steps of its setpoints
//! within the site's limits and rates, or trim and respond. Its sensors go through the frame assembler into
//! a new twin. After two hours, every five minutes, the twin says what will be read 5, 15 and 30 min later given the
//! setpoints that really come; nothing of later load or weather is told. Plants are as shipped, and
//! with every conductance, heat capacity and rated power changed by 30 % up or down, at random.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use isotherm_sim::scenario::SHIPPED;
use isotherm_sim::{Plant, Scenario};
use jiff::Timestamp;
use serde::Serialize;
use toml::{Table, Value};

use super::control::{BenchError, cases, wire};
use crate::clock::Stopwatch;
use crate::fallback::Fallback;
use crate::frame::{Assembler, Frame};
use crate::site::{Role, Setpoint, Site};
use crate::twin::{HORIZONS_MIN, Twin};
use crate::units::Finite;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which scenarios, by commas; `*` stands for anything. Those without faults when absent.
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Seeds 1 to this.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Simulated hours of a run; the first two are not scored.
    #[arg(long, default_value_t = 12.0)]
    hours: f64,
    #[arg(long)]
    pub json: bool,
}

/// Telemetry before anything is scored.
const LEARN_H: f64 = 2.0;
const EVERY_MIN: i64 = 5;
/// Steps of five minutes of the furthest horizon.
const FURTHEST: usize = 6;
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

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    plant: &'static str,
    parameters: Parameters,
    behaviour: Behaviour,
    role: Role,
    minutes: u32,
}

/// Sums over windows.
#[derive(Clone, Copy, Default, Debug)]
struct Sums {
    n: f64,
    twin: f64,
    stays: f64,
    within: [f64; 2],
    moving: [f64; 3],
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.twin += other.twin;
        self.stays += other.stays;
        self.within.iter_mut().zip(other.within).for_each(|(a, b)| *a += b);
        self.moving.iter_mut().zip(other.moving).for_each(|(a, b)| *a += b);
    }
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    pub plant: &'static str,
    pub parameters: Parameters,
    pub behaviour: Behaviour,
    pub role: Role,
    pub minutes: u32,
    pub windows: u64,
    pub rmse: f64,
    pub rmse_persistence: f64,
    /// How much smaller the twin's error is, %.
    pub better_pct: f64,
    /// The same over windows in which a setpoint moves, from 15 min before to the horizon.
    pub moving_better_pct: Option<f64>,
    /// Share of errors within one and two of the standard deviations given, %.
    pub within_1_sigma_pct: f64,
    pub within_2_sigma_pct: f64,
}

/// The mean of the relative errors of [`CONTROLLED`] roles over plants, at 15 min.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Summary {
    pub parameters: Parameters,
    pub behaviour: Behaviour,
    pub better_pct: f64,
    pub moving_better_pct: f64,
    pub power_better_pct: f64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    pub rows: Vec<Row>,
    pub summary: Vec<Summary>,
    /// Time of one candidate, microseconds.
    pub candidate_us: f64,
    pub update_us: f64,
}

/// Temperatures that setpoints control.
const CONTROLLED: [Role; 7] = [
    Role::ItInlet,
    Role::Chws,
    Role::CrahSupply,
    Role::LiquidSupply,
    Role::FacilitySupply,
    Role::Bath,
    Role::ChipTemp,
];

fn controlled(plant: &str, role: Role) -> bool {
    // Air inlets of the liquid plant follow the room, which no setpoint reaches.
    CONTROLLED.contains(&role) && !(plant == "liquid" && role == Role::ItInlet)
}

#[derive(Clone)]
struct Job {
    case: cases::Case,
    parameters: Parameters,
    behaviour: Behaviour,
    seed: u64,
}

#[derive(Default)]
struct Found {
    sums: BTreeMap<Key, Sums>,
    candidate: (f64, f64),
    update: (f64, f64),
}

pub fn run(args: &Args) -> Result<Report, BenchError> {
    let patterns = if args.scenarios.is_empty() {
        ["*training", "*inference", "*burst"].map(ToOwned::to_owned).to_vec()
    } else {
        args.scenarios.clone()
    };
    let mut jobs = Vec::new();
    for case in cases::select(&[], &patterns)? {
        for seed in 1..=args.seeds {
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
    Ok(report(&all.into_inner().map_err(|_| BenchError::Panic)?))
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
        let sample = site.sample.as_secs();
        let samples = (hours * 3600.0) as i64 / sample;
        for i in 1..=samples {
            plant.step(sample as f64);
            command(&mut plant, "enable", 1.0)?;
            command(&mut plant, "heartbeat", i as f64)?;
            let frame = frame(&plant, &site, &mut assembler);
            let watch = Stopwatch::start();
            twin.update(&frame);
            found.update.0 += watch.elapsed().as_secs_f64();
            found.update.1 += 1.0;
            drive.observe(&frame);
            if (i * sample) % (60 * EVERY_MIN) != 0 {
                continue;
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
                past.push_back(Window { twin: twin.clone(), frame, rows, moved });
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
                change(&mut plant, &mut random);
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
            let moving = window.moved || window.rows.windows(2).any(|w| w.first() != w.last());
            for (output, path) in ahead.outputs().iter().zip(&trajectory.signals) {
                let good = |f: &Frame| f.good(&output.name).map(Finite::get);
                let (Some(then), Some(now)) = (good(&window.frame), good(frame)) else { continue };
                let Some(path) = path else { continue };
                let Some(predicted) = path.values.get(steps - 1) else { continue };
                let (error, stays) = ((predicted - now).abs(), (then - now).abs());
                let sigma = path.sigma(steps - 1);
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
                    within: [flag(error <= sigma), flag(error <= 2.0 * sigma)],
                    moving: if moving { [1.0, error * error, stays * stays] } else { [0.0; 3] },
                });
            }
        }
        if past.front().is_some_and(|w| w.rows.len() >= FURTHEST) {
            past.pop_front();
        }
    }
}

/// A prediction to be scored, and the setpoints of the steps since.
struct Window {
    twin: Twin,
    frame: Frame,
    rows: Vec<Vec<f64>>,
    moved: bool,
}

fn command(plant: &mut Plant, name: &str, value: f64) -> Result<(), BenchError> {
    plant.command(name, value).map_err(|e| BenchError::Usage(e.to_string()))
}

fn frame(plant: &Plant, site: &Site, assembler: &mut Assembler) -> Frame {
    let now: Timestamp = plant.time();
    let polled = wire::poll(plant, site, now).unwrap_or_default();
    for reading in wire::sense(plant, now).into_iter().chain(polled) {
        assembler.push(&reading);
    }
    assembler.snapshot(now)
}

/// Who moves the setpoints.
enum Mover {
    Trim(Box<Fallback>),
    /// Where each setpoint is going, and how many steps it stays there.
    Steps {
        random: Random,
        goals: Vec<(f64, u32)>,
    },
}

struct Drive {
    mover: Mover,
    now: Vec<f64>,
    still: u32,
}

impl Drive {
    fn new(site: &Site, job: &Job) -> Self {
        let mover = match job.behaviour {
            Behaviour::Trim => Mover::Trim(Box::new(Fallback::new(site))),
            Behaviour::Steps => Mover::Steps {
                random: Random(job.seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1),
                goals: Vec::new(),
            },
        };
        Self { mover, now: Vec::new(), still: u32::MAX }
    }

    fn observe(&mut self, frame: &Frame) {
        if let Mover::Trim(fallback) = &mut self.mover {
            fallback.observe(frame);
        }
    }

    fn step(&mut self, site: &Site, frame: &Frame) -> Vec<f64> {
        let present = |s: &Setpoint| frame.good(&s.name).map_or(s.safe.get(), Finite::get);
        let before: Vec<f64> = site.setpoints.iter().map(present).collect();
        let steps = matches!(self.mover, Mover::Steps { .. });
        let wanted: Vec<f64> = match &mut self.mover {
            Mover::Trim(fallback) => {
                let wish = fallback.step(frame.time, frame).setpoints;
                let wish = |(s, now): (&Setpoint, &f64)| wish.get(&s.name).map_or(*now, |v| v.get());
                site.setpoints.iter().zip(&before).map(wish).collect()
            }
            Mover::Steps { random, goals } => {
                goals.resize(site.setpoints.len(), (0.0, 0));
                let each = goals.iter_mut().zip(&site.setpoints);
                let goal = |((goal, left), s): (&mut (f64, u32), &Setpoint)| {
                    if *left == 0 {
                        *goal = s.min.get() + random.share() * (s.max.get() - s.min.get());
                        *left = 4 + (random.share() * 14.0) as u32;
                    }
                    *left -= 1;
                    *goal
                };
                each.map(goal).collect()
            }
        };
        let limited = |((s, now), goal): ((&Setpoint, &f64), &f64)| {
            let reach = s.rate_per_min.get() * EVERY_MIN as f64;
            let to = goal.clamp(now - reach, now + reach).clamp(s.min.get(), s.max.get());
            // Trim and respond moves by less than a step; random moves are whole steps.
            let step = if steps { s.step.get() } else { 0.1 };
            let to = s.min.get() + ((to - s.min.get()) / step).round() * step;
            if (to - now).abs() > reach + 1e-9 { *now } else { to.min(s.max.get()) }
        };
        self.now = site.setpoints.iter().zip(&before).zip(&wanted).map(limited).collect();
        let moved = self.now.iter().zip(&before).any(|(a, b)| (a - b).abs() > 1e-6);
        self.still = if moved { 0 } else { self.still.saturating_add(1) };
        self.now.clone()
    }

    /// Within the last 15 min, now included.
    fn moved_lately(&self) -> bool {
        self.still <= 3
    }
}

/// A generator of its own (xorshift64*), so that equal seeds mean equal runs.
struct Random(u64);

impl Random {
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Conductances, heat capacities and contents, rated powers and flows, recirculation: what differs between a
/// plant and the one it was copied from.
const CHANGED: [&str; 26] = [
    "ua",
    "rated_kw",
    "standing_kw",
    "primary_pump_kw",
    "condenser_pump_kw",
    "pump_kw",
    "unit_kw",
    "chassis_kj_k",
    "cold_kj_k",
    "hot_kj_k",
    "supply_pipe_kj_k",
    "return_pipe_kj_k",
    "pipe_kj_k",
    "basin_kj_k",
    "evaporator_kj_k",
    "bath_kj_k",
    "wet_kj_k",
    "kj_k",
    "package_j_k",
    "sink_j_k",
    "package_k_w",
    "sink_k_w",
    "recirculation",
    "inlet_k_per_kw",
    "kv",
    "coil_kv",
];

fn change(value: &mut Value, random: &mut Random) {
    match value {
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                let number = value.as_float().or_else(|| value.as_integer().map(|i| i as f64));
                match number {
                    Some(number) if CHANGED.contains(&key.as_str()) => {
                        let factor = if random.share() < 0.5 { 1.0 - CHANGE } else { 1.0 + CHANGE };
                        *value = Value::Float(number * factor);
                    }
                    _ => change(value, random),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| change(v, random)),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

fn report(found: &Found) -> Report {
    let root = |sum: f64, n: f64| (sum / n.max(1.0)).sqrt();
    let better = |twin: f64, stays: f64| 100.0 * (1.0 - (twin / stays.max(1e-12)).sqrt());
    let rows: Vec<Row> = found
        .sums
        .iter()
        .map(|(k, s)| Row {
            plant: k.plant,
            parameters: k.parameters,
            behaviour: k.behaviour,
            role: k.role,
            minutes: k.minutes,
            windows: s.n as u64,
            rmse: root(s.twin, s.n),
            rmse_persistence: root(s.stays, s.n),
            better_pct: better(s.twin, s.stays),
            moving_better_pct: (s.moving[0] > 0.0).then(|| better(s.moving[1], s.moving[2])),
            within_1_sigma_pct: 100.0 * s.within[0] / s.n,
            within_2_sigma_pct: 100.0 * s.within[1] / s.n,
        })
        .collect();
    let mut summary = Vec::new();
    for parameters in [Parameters::Shipped, Parameters::Changed] {
        for behaviour in [Behaviour::Steps, Behaviour::Trim] {
            let at_15 = || {
                rows.iter().filter(move |r| {
                    r.minutes == 15 && r.parameters == parameters && r.behaviour == behaviour
                })
            };
            let temperatures = || at_15().filter(|r| controlled(r.plant, r.role));
            let powers = at_15().filter(|r| matches!(r.role, Role::CoolingPower | Role::FacilityPower));
            summary.push(Summary {
                parameters,
                behaviour,
                better_pct: mean(temperatures().map(|r| r.better_pct)),
                moving_better_pct: mean(temperatures().filter_map(|r| r.moving_better_pct)),
                power_better_pct: mean(powers.map(|r| r.better_pct)),
            });
        }
    }
    let us = |(seconds, n): (f64, f64)| 1e6 * seconds / n.max(1.0);
    Report { rows, summary, candidate_us: us(found.candidate), update_us: us(found.update) }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
    if n > 0.0 { sum / n } else { 0.0 }
}

impl Report {
    /// Tables for people and documents.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut lines = vec![
            "| parameters | behaviour | temperatures better at 15 min, % | while setpoints move, % | powers better, % |"
                .to_owned(),
            "| --- | --- | --- | --- | --- |".to_owned(),
        ];
        lines.extend(self.summary.iter().map(|s| {
            let names = [word(&s.parameters), word(&s.behaviour)].join(" | ");
            let [a, b, c] = [s.better_pct, s.moving_better_pct, s.power_better_pct];
            format!("| {names} | {a:.1} | {b:.1} | {c:.1} |")
        }));
        lines.push(String::new());
        lines.push(
            "| plant | parameters | behaviour | role | min | RMSE | persistence | better, % | moving, % | in 1 sigma, % | in 2 sigma, % |"
                .to_owned(),
        );
        lines.push("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |".to_owned());
        lines.extend(self.rows.iter().map(|r| {
            let names = [word(&r.parameters), word(&r.behaviour), word(&r.role)].join(" | ");
            let moving = r.moving_better_pct.map_or("-".to_owned(), |m| format!("{m:.0}"));
            let Row { plant, minutes, rmse, rmse_persistence, better_pct, .. } = r;
            let [one, two] = [r.within_1_sigma_pct, r.within_2_sigma_pct];
            format!(
                "| {plant} | {names} | {minutes} | {rmse:.2} | {rmse_persistence:.2} | {better_pct:.0} | {moving} | {one:.0} | {two:.0} |"
            )
        }));
        lines.push(format!(
            "\nOne candidate takes {:.1} us, one frame to learn from {:.1} us.\n",
            self.candidate_us, self.update_us
        ));
        lines.join("\n")
    }
}

/// As in JSON.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}
