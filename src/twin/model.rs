//! One predicted signal: its first-order model, and how well that model has done.

use std::collections::{BTreeMap, VecDeque};

use super::rls::{Rls, dot};
use super::{Ahead, Worst};
use crate::site::{Name, Role, Signal};
use crate::units::{Finite, Unit};

/// Steps before a model may speak: two hours.
const MIN_STEPS: u32 = 24;
/// Open-loop trials before a model may speak.
const MIN_TRIALS: u32 = 6;
/// A trial's weight in the mean squared errors, once there are enough of them.
const TRIAL_WEIGHT: f64 = 0.02;
/// The error at which a model is good enough even when "it stays as it is" does as well.
const FLOOR_K: f64 = 0.3;
const FLOOR_POWER: f64 = 0.05;
/// Predictions less certain than this (K; share of the present power) are not made.
const MOST_SIGMA_K: f64 = 2.0;
const MOST_SIGMA_POWER: f64 = 0.25;

/// Steps to each horizon.
const STEPS: [usize; 3] = [1, 3, 6];
const LAST: usize = 6;

/// What drives the models, scaled to be near one around where it was first seen.
#[derive(Clone, Debug)]
pub(super) struct Input {
    sources: Vec<Name>,
    scale: f64,
    origin: Option<f64>,
    /// For a setpoint: whether more of it cools.
    cools_up: Option<bool>,
}

impl Input {
    pub(super) fn setpoint(name: &Name, span: f64, cools_up: bool) -> Self {
        Self { sources: vec![name.clone()], scale: span, origin: None, cools_up: Some(cools_up) }
    }

    /// The sum of `sources`.
    pub(super) fn disturbance(sources: Vec<Name>, scale: f64) -> Self {
        Self { sources, scale, origin: None, cools_up: None }
    }

    pub(super) fn sources(&self) -> &[Name] {
        &self.sources
    }

    pub(super) fn scaled(&mut self, value: f64) -> f64 {
        (value - *self.origin.get_or_insert(value)) / self.scale
    }

    /// `None` before the first value.
    pub(super) fn scale_of(&self, value: f64) -> Option<f64> {
        Some((value - self.origin?) / self.scale)
    }

    /// Of this input's effect on a temperature of the IT.
    fn sign(&self) -> f64 {
        self.cools_up.map_or(0.0, |up| if up { -1.0 } else { 1.0 })
    }

    pub(super) fn moved_by(&self, moves: &BTreeMap<Name, Finite>) -> Option<Finite> {
        self.cools_up?;
        moves.get(self.sources.first()?).copied()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    name: Name,
    /// The sign that physics gives each input's effect; 0 where it gives none. For the IT's own
    /// temperatures, more cooling never warms.
    signs: Vec<f64>,
    power: bool,
    scale: f64,
    origin: Option<f64>,
    rls: Rls,
    /// The last half hour, oldest first: scaled output, and the inputs of the step that led to it.
    past: VecDeque<(f64, Vec<f64>)>,
    /// Mean squared error at each horizon: of the model, and of "it stays as it is".
    errors: [(f64, f64); 3],
    trials: u32,
}

impl Model {
    pub(super) fn new(signal: &Signal, scale: f64, inputs: &[Input]) -> Self {
        let at_it = matches!(signal.role, Some(Role::ItInlet | Role::ChipTemp | Role::Bath));
        Self {
            name: signal.name.clone(),
            signs: inputs.iter().map(|i| if at_it { i.sign() } else { 0.0 }).collect(),
            power: signal.unit == Unit::Kilowatt,
            scale,
            origin: None,
            rls: Rls::new(inputs.len() + 2),
            past: VecDeque::new(),
            errors: [(0.0, 0.0); 3],
            trials: 0,
        }
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// The past has a gap; what was learned stays.
    pub(super) fn restart(&mut self) {
        self.past.clear();
    }

    pub(super) fn step(&mut self, value: Option<f64>, inputs: &[f64]) {
        let Some(value) = value else { return self.restart() };
        let y = (value - *self.origin.get_or_insert(value)) / self.scale;
        if let Some((y0, _)) = self.past.back() {
            self.rls.learn(&regressor(*y0, inputs), y - y0);
        }
        self.past.push_back((y, inputs.to_vec()));
        if self.past.len() > LAST + 1 {
            self.past.pop_front();
            self.try_out();
        }
    }

    /// Runs the model from half an hour ago with the inputs that came, and keeps its errors.
    fn try_out(&mut self) {
        let Some((start, _)) = self.past.front() else { return };
        if self.rls.steps() < MIN_STEPS / 2 {
            return;
        }
        let (start, mut y) = (*start, *start);
        self.trials = self.trials.saturating_add(1);
        let weight = (1.0 / f64::from(self.trials)).max(TRIAL_WEIGHT);
        for (k, (real, inputs)) in self.past.iter().enumerate().skip(1) {
            y += dot(self.rls.theta(), &regressor(y, inputs));
            let at = STEPS.iter().position(|n| *n == k);
            if let Some((model, stays)) = at.and_then(|h| self.errors.get_mut(h)) {
                let bounded = |e: f64| if e.is_finite() { e.clamp(-1e6, 1e6).powi(2) } else { 1e12 };
                *model += weight * (bounded(real - y) - *model);
                *stays += weight * (bounded(real - start) - *stays);
            }
        }
    }

    /// Stable, tried, and better than "it stays as it is" (or good enough).
    fn identified(&self, present: f64) -> bool {
        let decay = self.rls.theta().first().copied().unwrap_or(0.0);
        let floor = if self.power { FLOOR_POWER * present.abs() } else { FLOOR_K } / self.scale;
        self.rls.steps() >= MIN_STEPS
            && self.trials >= MIN_TRIALS
            && (-1.0..0.0).contains(&decay)
            && self.errors.iter().all(|(model, stays)| *model <= stays.max(floor * floor))
    }

    /// The path of the next half hour from `value`, step by step, with standard deviations; in the
    /// signal's unit. `inputs`: scaled value and move of each.
    fn path(&self, value: f64, inputs: &[(f64, f64)]) -> Option<Vec<(f64, f64)>> {
        if !self.identified(value) {
            return None;
        }
        // An effect learned with a sign that cannot be is taken as none; its uncertainty stays.
        let effects = self.rls.theta().iter().skip(1);
        let at: Vec<f64> = inputs
            .iter()
            .zip(effects.zip(&self.signs))
            .map(|((u, moved), (effect, sign))| if effect * sign < 0.0 { u - moved } else { *u })
            .collect();
        let moves: Vec<f64> =
            std::iter::once(0.0).chain(inputs.iter().map(|(_, d)| *d)).chain(std::iter::once(0.0)).collect();
        let decay = 1.0 + self.rls.theta().first()?;
        let unknown = self.rls.deviation(&moves)?;
        let start = (value - self.origin?) / self.scale;
        let mut y = start;
        let mut gain = 0.0;
        let mut path = Vec::with_capacity(LAST);
        for k in 1..=LAST {
            y += dot(self.rls.theta(), &regressor(y, &at));
            gain = gain * decay + 1.0;
            let sigma = self.error_at(k).hypot(unknown * gain);
            path.push((y * self.scale + self.origin?, sigma * self.scale));
        }
        let most = if self.power { MOST_SIGMA_POWER * value.abs() } else { MOST_SIGMA_K };
        path.iter().all(|(y, sigma)| y.is_finite() && *sigma <= most).then_some(path)
    }

    /// Root mean squared error after `k` steps, between the horizons it was measured at.
    fn error_at(&self, k: usize) -> f64 {
        let mut before = (0.0, 0.0);
        for (n, (model, _)) in STEPS.iter().zip(&self.errors) {
            let here = (*n as f64, model.sqrt());
            if k as f64 <= here.0 {
                return before.1 + (here.1 - before.1) * (k as f64 - before.0) / (here.0 - before.0);
            }
            before = here;
        }
        before.1
    }

    pub(super) fn ahead(&self, value: f64, inputs: &[(f64, f64)]) -> Option<[Ahead; 3]> {
        let path = self.path(value, inputs)?;
        let at = |n: usize| {
            let (value, sigma) = path.get(n - 1)?;
            Some(Ahead { value: Finite::new(*value)?, sigma: Finite::new(*sigma)? })
        };
        let [a, b, c] = STEPS;
        Some([at(a)?, at(b)?, at(c)?])
    }

    pub(super) fn worst(&self, value: f64, inputs: &[(f64, f64)]) -> Option<Worst> {
        let path = self.path(value, inputs)?;
        let ahead = |(value, sigma): (f64, f64)| {
            Some(Ahead { value: Finite::new(value)?, sigma: Finite::new(sigma)? })
        };
        let low = path.iter().copied().min_by(|a, b| (a.0 - a.1).total_cmp(&(b.0 - b.1)))?;
        let high = path.iter().copied().max_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)))?;
        let values: Vec<f64> = std::iter::once(value).chain(path.iter().map(|p| p.0)).collect();
        let ramp = values.iter().zip(values.iter().skip(3)).map(|(a, b)| (b - a).abs()).fold(0.0, f64::max);
        Some(Worst { low: ahead(low)?, high: ahead(high)?, ramp_15min: Finite::new(ramp)? })
    }
}

fn regressor(y: f64, inputs: &[f64]) -> Vec<f64> {
    std::iter::once(y).chain(inputs.iter().copied()).chain(std::iter::once(1.0)).collect()
}
