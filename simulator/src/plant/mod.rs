//! A plant: machinery under weather, load and faults, with sensors and a remote interface.

mod account;
pub mod air;
pub mod chilled_water;
pub mod facility;
pub mod hall;
pub mod immersion;
pub mod liquid;
pub mod room;
pub mod server;
mod words;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::climate::{Outdoor, Weather};
use crate::fault::{self, Disturbance};
use crate::load::{Job, Workload};
use crate::scenario::{Scenario, ScenarioError};
use crate::sensor::{Sensors, SignalSpec};
use crate::supervision::{CommandError, SetpointSpec, Supervision};
pub use account::{Ledger, Totals};
pub use words::{alarm, status};

const fn signal(name: &'static str, unit: &'static str) -> SignalSpec {
    SignalSpec { name, unit }
}

/// Longest internal step, s.
const STEP_S: f64 = 1.0;

/// Machinery, by kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlantConfig {
    Air(Box<air::AirConfig>),
    Liquid(Box<liquid::LiquidConfig>),
    Immersion(Box<immersion::ImmersionConfig>),
}

impl PlantConfig {
    pub fn name(&self) -> &'static str {
        match self {
            PlantConfig::Air(_) => "air",
            PlantConfig::Liquid(_) => "liquid",
            PlantConfig::Immersion(_) => "immersion",
        }
    }

    pub fn signals(&self) -> &'static [SignalSpec] {
        match self {
            PlantConfig::Air(_) => air::SIGNALS,
            PlantConfig::Liquid(_) => liquid::SIGNALS,
            PlantConfig::Immersion(_) => immersion::SIGNALS,
        }
    }

    pub fn setpoints(&self) -> &'static [SetpointSpec] {
        match self {
            PlantConfig::Air(_) => air::SETPOINTS,
            PlantConfig::Liquid(_) => liquid::SETPOINTS,
            PlantConfig::Immersion(_) => immersion::SETPOINTS,
        }
    }

    /// Where its workloads are.
    pub fn places(&self) -> &'static [&'static str] {
        match self {
            PlantConfig::Air(_) => &["hall_a", "hall_b"],
            PlantConfig::Liquid(_) => &["cabinets"],
            PlantConfig::Immersion(_) => &["bath_a", "bath_b"],
        }
    }

    /// How many workloads it takes.
    pub fn loads(&self) -> usize {
        self.places().len()
    }
}

/// The machinery of one kind of plant.
trait Cooling: std::fmt::Debug + Send {
    /// The least the machines accept for each setpoint now.
    fn least(&self) -> [f64; 3];
    fn step(&mut self, dt: f64, drive: &Drive<'_>) -> Outcome;
    /// True values in the order of the plant's signals.
    fn truth(&self, drive: &Drive<'_>, facility_kw: f64, outcome: &Outcome) -> Vec<f64>;
    /// Energy in, out and stored since the start.
    fn ledger(&self) -> Ledger;
    /// The same machinery in the same state.
    fn boxed(&self) -> Box<dyn Cooling>;
}

impl Clone for Box<dyn Cooling> {
    fn clone(&self) -> Self {
        self.boxed()
    }
}

/// What drives the machinery in one step.
#[derive(Debug, Clone, Copy)]
pub struct Drive<'a> {
    /// Share of full load per hall (or per loop).
    pub loads: &'a [f64],
    pub outdoor: Outdoor,
    /// Setpoints in force.
    pub setpoints: &'a [f64],
    pub fault: Disturbance,
}

/// What the machinery did in one step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub it_kw: f64,
    pub cooling_kw: f64,
    /// The temperature whose excess is counted in degree-hours, degC.
    pub watched: f64,
    pub tflops: f64,
    pub throttled_gpus: f64,
    pub economizing: bool,
    pub tripped: bool,
    pub map_clamped: bool,
    /// Coolant below the room's dew point.
    pub condensing: bool,
}

/// A simulated data centre.
#[derive(Debug, Clone)]
pub struct Plant {
    scenario: Scenario,
    elapsed_s: f64,
    since_sample_s: f64,
    outdoor: Outdoor,
    weather: Weather,
    workloads: Vec<Workload>,
    jobs: Vec<Job>,
    /// What schedulers have said and nobody has taken yet.
    said: Vec<String>,
    machinery: Box<dyn Cooling>,
    sensors: Sensors,
    supervision: Supervision,
    totals: Totals,
    outcome: Outcome,
    alarms: u16,
}

impl Plant {
    /// Builds the plant of a scenario and lets it settle for the scenario's `settle_h` before its
    /// clock starts.
    pub fn new(scenario: Scenario, seed: u64) -> Result<Self, ScenarioError> {
        let setpoints = scenario.setpoints()?;
        let local: Vec<f64> = setpoints.iter().map(|s| s.active).collect();
        let named = |message: String| scenario.error(message);
        let weather =
            Weather::new(&scenario.weather, &scenario.folder, seed, scenario.start).map_err(named)?;
        let outdoor = weather.outdoor();
        let workloads = scenario
            .workload
            .iter()
            .enumerate()
            .map(|(i, w)| Workload::new(w, &scenario.folder, seed, i, scenario.settle_h))
            .collect::<Result<_, _>>()
            .map_err(named)?;
        let machinery: Box<dyn Cooling> = match &scenario.plant {
            PlantConfig::Air(c) => Box::new(air::Air::new((**c).clone(), &local, outdoor.wet_bulb)),
            PlantConfig::Liquid(c) => Box::new(liquid::Liquid::new((**c).clone(), &local, outdoor.dew_point)),
            PlantConfig::Immersion(c) => Box::new(immersion::Immersion::new((**c).clone(), &local)),
        };
        let names = scenario.plant.signals();
        let sensors = Sensors::new(&scenario.sensors, names, &vec![0.0; names.len()], seed).map_err(named)?;
        let mut plant = Self {
            elapsed_s: -scenario.settle_h * 3600.0,
            since_sample_s: 0.0,
            outdoor,
            weather,
            workloads,
            jobs: scenario.job.clone(),
            said: Vec::new(),
            machinery,
            sensors,
            supervision: Supervision::new(setpoints),
            totals: Totals::default(),
            outcome: Outcome::default(),
            alarms: 0,
            scenario,
        };
        plant.step(plant.scenario.settle_h * 3600.0);
        plant.totals = Totals::default();
        plant.elapsed_s = 0.0;
        plant.sample();
        Ok(plant)
    }

    /// This very plant with another future: what chance has brought stays, and from here on load, weather and
    /// sensors' noise are drawn anew. Two futures of one plant differ by what nobody could have foreseen.
    #[must_use]
    pub fn other_future(&self, seed: u64) -> Self {
        let mut plant = self.clone();
        plant.weather.draw_anew(seed);
        for (index, workload) in plant.workloads.iter_mut().enumerate() {
            workload.draw_anew(seed, index);
        }
        plant.sensors.draw_anew(seed);
        plant
    }

    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Simulated time.
    pub fn time(&self) -> Timestamp {
        let elapsed = SignedDuration::from_millis((self.elapsed_s * 1000.0).round() as i64);
        self.scenario.start.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    /// Hours since the start.
    pub fn hours(&self) -> f64 {
        self.elapsed_s / 3600.0
    }

    /// Advances by `dt` seconds, in internal steps of at most one second; samples the sensors at the
    /// end of every sample period.
    pub fn step(&mut self, dt: f64) {
        let steps = (dt / STEP_S).ceil().max(0.0);
        for _ in 0..steps as u64 {
            self.advance(dt / steps);
        }
    }

    fn advance(&mut self, dt: f64) {
        let before = self.hours();
        self.elapsed_s += dt;
        let time = self.time();
        self.outdoor = self.weather.step(dt, time);
        let mut loads = [0.0; 4];
        for (load, workload) in loads.iter_mut().zip(&mut self.workloads) {
            *load = workload.step(dt, time);
        }
        let hours = self.hours();
        for job in &self.jobs {
            if let Some(load) = loads.get_mut(job.load) {
                *load = (*load + job.share_at(hours)).min(1.0);
            }
            let place = self.scenario.plant.places().get(job.load).copied().unwrap_or_default();
            self.said.extend(job.said(before, hours, self.scenario.start, place));
        }
        let fault = fault::disturbance(&self.scenario.fault, self.hours());
        let mut active = [0.0; 4];
        for (a, s) in active.iter_mut().zip(&self.supervision.setpoints) {
            *a = s.active;
        }
        let drive = Drive { loads: &loads, outdoor: self.outdoor, setpoints: &active, fault };
        let least = self.machinery.least();
        let outcome = self.machinery.step(dt, &drive);
        let facility_kw = self.scenario.facility_kw(&outcome);
        let truth = self.machinery.truth(&drive, facility_kw, &outcome);
        let clamped = self.supervision.step(dt, &least);
        self.sensors.follow(dt, &truth);
        self.count(dt, &outcome, fault, clamped);
        self.since_sample_s += dt;
        if self.since_sample_s > self.scenario.sample_s - 1e-6 {
            self.since_sample_s = 0.0;
            self.sample();
        }
    }

    fn count(&mut self, dt: f64, o: &Outcome, fault: Disturbance, clamped: bool) {
        let hours = dt / 3600.0;
        let over = (o.watched - self.scenario.over_above).max(0.0);
        let t = &mut self.totals;
        t.hours += hours;
        t.it_kwh += o.it_kw * hours;
        t.cooling_kwh += o.cooling_kw * hours;
        t.facility_kwh += self.scenario.facility_kw(o) * hours;
        t.over_degh += over * hours;
        t.throttled_gpu_h += o.throttled_gpus * hours;
        t.tflop_h += o.tflops * hours;
        let s = &self.supervision;
        let bits = [
            (o.tripped, alarm::CHILLER_TRIPPED),
            (o.map_clamped, alarm::MAP_CLAMPED),
            (clamped, alarm::SETPOINT_CLAMPED),
            (fault.pumps_lost > 0.0, alarm::PUMP_LOST),
            (fault.tower_fans_lost + fault.crah_fans_lost > 0.0, alarm::FAN_LOST),
            (over > 0.0, alarm::TOO_WARM),
            (o.throttled_gpus > 0.0, alarm::GPU_THROTTLED),
            (s.enable && !s.remote(), alarm::HEARTBEAT_LOST),
            (o.condensing, alarm::CONDENSING),
        ];
        self.alarms = bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum();
        self.outcome = *o;
    }

    fn sample(&mut self) {
        let hours = self.hours();
        let faults: Vec<_> = fault::active(&self.scenario.fault, hours).collect();
        self.sensors.sample(hours, &faults);
    }

    /// The last sample of every sensor, in the order of the plant's signals; `None` where a sensor
    /// gave nothing.
    pub fn sensors(&self) -> Vec<(SignalSpec, Option<f64>)> {
        self.sensors.read().collect()
    }

    /// Adds a job while the plant runs.
    pub fn submit(&mut self, job: Job) {
        self.jobs.push(job);
    }

    /// What schedulers have said since this was last called: messages for the jobs' topic.
    pub fn take_announcements(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    /// A command as over Modbus, in engineering units: `enable`, `heartbeat`, or a setpoint by name.
    /// Setpoints are in force only while enabled and while the heartbeat changes at least every
    /// three minutes of simulated time.
    pub fn command(&mut self, name: &str, value: f64) -> Result<(), CommandError> {
        self.supervision.command(name, value)
    }

    pub fn supervision(&self) -> &Supervision {
        &self.supervision
    }

    pub fn supervision_mut(&mut self) -> &mut Supervision {
        &mut self.supervision
    }

    pub fn totals(&self) -> Totals {
        Totals { writes_seen: self.supervision.writes(), ..self.totals }
    }

    /// What the machinery did in the last step: true values, not those of sensors.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Energy in, out and stored, since the machinery was built (settling included).
    pub fn ledger(&self) -> Ledger {
        self.machinery.ledger()
    }

    /// What is broken now.
    pub fn disturbance(&self) -> Disturbance {
        fault::disturbance(&self.scenario.fault, self.hours())
    }

    /// Bits of [`alarm`].
    pub fn alarms(&self) -> u16 {
        self.alarms
    }

    /// Bits of [`status`].
    pub fn status(&self) -> u16 {
        let s = &self.supervision;
        let bits = [
            (s.remote(), status::REMOTE_IN_FORCE),
            (s.enable, status::ENABLED),
            (s.heartbeat_age_s() < crate::supervision::WATCHDOG_S, status::HEARTBEAT_ALIVE),
            (self.outcome.economizing, status::ECONOMIZING),
        ];
        bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum()
    }
}
