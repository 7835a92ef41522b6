//! One run: a simulated plant in this process and the agent's own path from readings to registers.
//!
//! Everything between the sensors and the registers is what the service runs: assembler, controller, twin,
//! guard, words, read-back, heartbeat, take-over and release. Only sockets and the log on disk are left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use isotherm_sim::{Plant, Scenario};
use jiff::{SignedDuration, Timestamp};

use super::BenchError;
use super::asker::Answers;
use super::metrics::{Metrics, Point, percentile, rms};
use super::watch::Watch;
use super::wire;
use crate::clock::Stopwatch;
use crate::control::record::{Cause, DecisionRecord};
use crate::control::{Body, Controller, Effect, Input, Link, Setup};
use crate::decision;
use crate::envelope::Rule;
use crate::frame::{Assembler, Frame};
use crate::policy::Policy;
use crate::prompt::Prompts;
use crate::service::Stats;
use crate::site::{Name, Role, Site};
use crate::units::Finite;
use crate::workload::Headroom;

/// The plant settles under its new controller for this long before its stability is judged.
const SETTLES_H: f64 = 2.0;
/// A series has one point each.
const POINT_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// Polls in a row that must fail before the plant counts as lost, as in the service.
const FAILED_POLLS: u32 = 2;

/// What a run came to.
pub(super) struct Course {
    pub(super) metrics: Metrics,
    pub(super) interventions_by: BTreeMap<Rule, u64>,
    pub(super) points: Vec<Point>,
}

/// A plant under control.
pub(in crate::bench) struct Rig<'a> {
    plant: Plant,
    setup: Arc<Setup>,
    assembler: Assembler,
    controller: Controller,
    asker: &'a dyn Answers,
    watch: Watch,
    stats: Stats,
    interventions_by: BTreeMap<Rule, u64>,
    decide_ms: Vec<f64>,
    watched: Vec<f64>,
    points: Vec<Point>,
    band: [f64; 2],
    last_frame: Option<Timestamp>,
    source_up: bool,
    plant_up: bool,
    failed_polls: u32,
    /// The latest decision was forced by safety: its moves know no rate.
    forced: bool,
}

/// What a decision was made from and led to.
pub(in crate::bench) struct Decided {
    pub(super) frame: Frame,
    pub(super) setpoints: std::collections::BTreeMap<Name, Finite>,
}

/// The temperature that is controlled: liquid or bath where there is one, else the inlet.
pub(in crate::bench) const CONTROLLED: [Role; 3] = [Role::LiquidSupply, Role::Bath, Role::ItInlet];

/// The band of the temperature that is controlled.
pub(in crate::bench) fn band(site: &Site) -> Result<[f64; 2], BenchError> {
    CONTROLLED
        .into_iter()
        .find_map(|role| site.with_role(role).find_map(|s| s.band))
        .map(|[low, high]| [low.get(), high.get()])
        .ok_or_else(|| BenchError::Usage("the site has no temperature with a band".to_owned()))
}

impl<'a> Rig<'a> {
    /// `policy`: instead of the site's own.
    pub(in crate::bench) fn new(
        site: Site,
        scenario: Scenario,
        seed: u64,
        policy: Option<Box<dyn Policy>>,
        asker: &'a dyn Answers,
    ) -> Result<Self, BenchError> {
        let band = band(&site)?;
        let plant = Plant::new(scenario, seed)?;
        let prompts = Prompts::load(None)?;
        let schema = decision::schema(&site);
        let setup = Arc::new(Setup { site, prompts, schema });
        let controller = match policy {
            Some(policy) => Controller::with_policy(setup.clone(), Some(policy), 1),
            None => Controller::new(setup.clone(), 1),
        };
        Ok(Self {
            watch: Watch::new(&setup.site, &plant),
            plant,
            assembler: Assembler::new(&setup.site),
            controller,
            setup,
            asker,
            stats: Stats::default(),
            interventions_by: BTreeMap::new(),
            decide_ms: Vec::new(),
            watched: Vec::new(),
            points: Vec::new(),
            band,
            last_frame: None,
            source_up: true,
            plant_up: true,
            failed_polls: 0,
            forced: false,
        })
    }

    pub(in crate::bench) fn plant(&self) -> &Plant {
        &self.plant
    }

    pub(in crate::bench) fn plant_mut(&mut self) -> &mut Plant {
        &mut self.plant
    }

    pub(in crate::bench) fn headroom(&self) -> Vec<Headroom> {
        self.controller.headroom()
    }

    /// What a scheduler says, beside what the scenario has it say.
    pub(in crate::bench) fn announce(&mut self, said: &str) -> Result<(), BenchError> {
        self.assembler.announce(self.plant.time(), said.as_bytes())?;
        Ok(())
    }

    /// One sampling instant. Returns what was decided, if it was time to.
    pub(in crate::bench) fn sample(&mut self) -> Result<Option<Decided>, BenchError> {
        self.plant.step(self.setup.site.sample.as_secs_f64());
        let now = self.plant.time();
        self.measure(now);
        if self.plant.disturbance().broker_out {
            self.silence(now)?;
            return Ok(None);
        }
        let mut decided = None;
        if !self.source_up {
            self.source_up = true;
            self.link(now, Link::Source, true, "frames arrive again", &mut decided)?;
        }
        self.last_frame = Some(now);
        for said in self.plant.take_announcements() {
            self.assembler.announce(now, said.as_bytes())?;
        }
        for reading in wire::sense(&self.plant, now) {
            self.assembler.push(&reading);
        }
        self.poll(now, &mut decided)?;
        let frame = self.assembler.snapshot(now);
        self.step(now, Input::Frame(frame), &mut decided)?;
        Ok(decided)
    }

    /// Runs for so many hours, then releases the plant.
    pub(super) fn run(mut self, hours: f64) -> Result<Course, BenchError> {
        while self.plant.hours() < hours - 1e-6 {
            self.sample()?;
        }
        let now = self.plant.time();
        self.step(now, Input::Stop { why: "the hours are over".to_owned() }, &mut None)?;
        Ok(self.finish())
    }

    fn poll(&mut self, now: Timestamp, decided: &mut Option<Decided>) -> Result<(), BenchError> {
        if let Some(readings) = wire::poll(&self.plant, &self.setup.site, now) {
            for reading in &readings {
                self.assembler.push(reading);
            }
            self.failed_polls = 0;
            if !self.plant_up {
                self.plant_up = true;
                self.link(now, Link::Plant, true, "all registers answer again", decided)?;
            }
        } else {
            self.failed_polls += 1;
            if self.plant_up && self.failed_polls >= FAILED_POLLS {
                self.plant_up = false;
                self.link(now, Link::Plant, false, "no register answers", decided)?;
            }
        }
        Ok(())
    }

    /// No frame came: after the watchdog's time the source counts as lost. Control time stands still.
    fn silence(&mut self, now: Timestamp) -> Result<(), BenchError> {
        let patience = self.setup.site.mqtt.as_ref().map(|m| m.watchdog);
        let Some(last) = self.last_frame else { return Ok(()) };
        if self.source_up && patience.is_some_and(|p| now.duration_since(last) > p) {
            self.source_up = false;
            self.link(last, Link::Source, false, "no frame within the watchdog's time", &mut None)?;
        }
        Ok(())
    }

    fn link(
        &mut self,
        now: Timestamp,
        link: Link,
        up: bool,
        why: &str,
        decided: &mut Option<Decided>,
    ) -> Result<(), BenchError> {
        self.step(now, Input::Link { link, up, why: why.to_owned() }, decided)
    }

    /// Feeds one input, carries out its effects, and feeds what those lead to.
    fn step(
        &mut self,
        now: Timestamp,
        input: Input,
        decided: &mut Option<Decided>,
    ) -> Result<(), BenchError> {
        let began = Stopwatch::start();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.controller.handle(now, input) {
                match effect {
                    Effect::Record(body) => {
                        self.stats.count(&body);
                        if let Body::Decision(d) = body {
                            self.note(*d, began.millis(), decided);
                        }
                    }
                    Effect::Ask { ask, request } => {
                        let result = self.asker.ask(&self.setup.site, *request)?;
                        inputs.push_back(Input::Reply { ask, result });
                    }
                    Effect::Write { intent, action } => {
                        let outcome = wire::apply(&mut self.plant, &mut self.watch, &action, self.forced);
                        inputs.push_back(Input::Outcome { intent, outcome });
                    }
                    Effect::Heartbeat { action, .. } => {
                        wire::apply(&mut self.plant, &mut self.watch, &action, false);
                    }
                    // Nothing is upgraded in a bench.
                    Effect::Answer(_) | Effect::AskCandidate { .. } | Effect::Stage(_) => {}
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, d: DecisionRecord, millis: f64, decided: &mut Option<Decided>) {
        let condensation =
            d.verdict.touched.iter().any(|t| t.rule == Rule::Condensation && t.setpoint.is_some());
        if d.verdict.intervened {
            let by: BTreeSet<Rule> = d.verdict.touched.iter().map(|t| t.rule).collect();
            for rule in by.into_iter().filter(|r| r.is_for_safety()) {
                *self.interventions_by.entry(rule).or_default() += 1;
            }
        }
        self.forced = d.verdict.emergency || condensation;
        if matches!(d.cause, Cause::Cadence | Cause::Change) {
            self.decide_ms.push(millis);
            *decided = Some(Decided { frame: d.frame, setpoints: d.verdict.setpoints });
        }
    }

    fn measure(&mut self, now: Timestamp) {
        let outcome = self.plant.outcome();
        if self.plant.hours() > SETTLES_H {
            self.watched.push(outcome.watched);
        }
        let due = self.points.last().is_none_or(|p| now.duration_since(p.time) >= POINT_EVERY);
        if due {
            self.points.push(self.point());
        }
    }

    /// The plant as it is now.
    pub(in crate::bench) fn point(&self) -> Point {
        let outcome = self.plant.outcome();
        let setpoints = self.plant.supervision().setpoints.iter();
        Point {
            time: self.plant.time(),
            hours: self.plant.hours(),
            watched: outcome.watched,
            it_kw: outcome.it_kw,
            cooling_kw: outcome.cooling_kw,
            setpoints: setpoints.map(|s| (s.spec.name.to_owned(), s.active)).collect(),
        }
    }

    fn finish(mut self) -> Course {
        let t = self.plant.totals();
        self.decide_ms.sort_unstable_by(f64::total_cmp);
        let count = |n: u64| n as f64;
        let mean = self.watched.iter().sum::<f64>() / self.watched.len().max(1) as f64;
        let metrics = Metrics {
            cooling_kwh: t.cooling_kwh,
            facility_kwh: t.facility_kwh,
            it_kwh: t.it_kwh,
            pue: t.pue(),
            stability_k: rms(&self.watched, mean),
            band_rms_k: rms(&self.watched, f64::midpoint(self.band[0], self.band[1])),
            watched_mean: mean,
            over_degh: t.over_degh,
            throttled_gpu_h: t.throttled_gpu_h,
            tflop_h: t.tflop_h,
            kwh_per_tflop_h: t.facility_kwh / t.tflop_h,
            travel: self.watch.travel,
            interventions: count(self.stats.interventions),
            verified_pct: self.stats.verified_pct(),
            decide_p50_ms: percentile(&self.decide_ms, 0.5),
            decide_p99_ms: percentile(&self.decide_ms, 0.99),
            decisions: count(self.stats.decisions),
            fallbacks: count(self.stats.fallbacks),
            emergencies: count(self.stats.emergencies),
            failed_writes: count(self.stats.failed_writes),
            hard_limit_violations: count(self.watch.violations),
        };
        Course { metrics, interventions_by: self.interventions_by, points: self.points }
    }
}
