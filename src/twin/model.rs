//! One predicted quantity: its regressors with their lags, what has been learned of them, and how well it
//! has done.

use super::drive::{Conditions, Layout};
use super::echo::Echo;
use super::estimate::{Estimate, Offset};
use super::feature::{Regressor, Target, regressors};
use super::start::Answer;
use crate::site::Role;

/// A step of a prediction.
pub(super) const STEP_MIN: f64 = 5.0;
/// Steps of a prediction.
pub const STEPS: usize = 6;
/// The steps at which errors are kept: 5, 15 and 30 min.
pub(super) const MARKS: [usize; 3] = [0, 2, 5];
/// Predictions that are made before a model is believed to know its own errors.
const TRIALS_BEFORE: f64 = 4.0;
/// A trial's weight once there are many.
const TRIAL_WEIGHT: f64 = 0.02;
/// Minutes of measurements before a model may speak.
const MIN_MINUTES: f64 = 5.0;

#[derive(Clone, Debug)]
pub(super) struct Model {
    regressors: Vec<Regressor>,
    estimate: Estimate,
    /// Of temperatures: what powers and loads surprise with follows on nothing.
    echo: Option<Echo>,
    /// Each regressor's lagged feature.
    lagged: Vec<f64>,
    /// Each feature at the reference, and the step's share that a lag keeps.
    reference: Vec<f64>,
    keeps: Vec<f64>,
    /// Units of the signal in one of the model's.
    scale: f64,
    origin: f64,
    /// Variance of one measurement, and the last one.
    noise: f64,
    last: Option<f64>,
    minutes: f64,
    errors: [f64; 3],
    trials: f64,
}

/// What a model makes of one choice: values at each step and at rest, and regressors at the marks and at rest.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    pub(super) values: [f64; STEPS],
    pub(super) rest: f64,
    at: [Vec<f64>; 4],
}

/// Deviation to begin with, at each mark, in the model's units; and what the offsets are like.
fn before(target: Target) -> ([f64; 3], [Offset; 2]) {
    let offsets =
        |fast, fade_min, slow| [Offset { sd: fast, fade_min }, Offset { sd: slow, fade_min: 360.0 }];
    match target {
        Target::Temperature(Role::ChipTemp) => ([2.0, 2.5, 3.0], offsets(3.0, 6.0, 3.0)),
        // Loops with an integral bring these back to their setpoint.
        Target::Temperature(Role::Chws | Role::FacilitySupply | Role::CrahSupply | Role::LiquidSupply) => {
            ([0.3, 0.5, 0.7], offsets(0.5, 10.0, 0.3))
        }
        Target::Temperature(_) => ([0.3, 0.5, 0.7], offsets(0.5, 15.0, 1.0)),
        Target::Load => ([0.5, 0.8, 1.1], offsets(0.7, 10.0, 2.0)),
        Target::CoolingPower | Target::FacilityPower => ([0.15, 0.25, 0.35], offsets(0.1, 10.0, 0.3)),
        Target::OtherPower => ([0.05, 0.05, 0.05], offsets(0.05, 5.0, 0.05)),
    }
}

impl Model {
    /// `value`, in the signal's unit, and `conditions` are what it starts from; `load` the reference, kW.
    pub(super) fn new(
        target: Target,
        answers: &[Answer],
        layout: &Layout,
        conditions: &Conditions,
        load: f64,
        value: f64,
    ) -> Self {
        let (regressors, mut priors): (Vec<_>, Vec<_>) = regressors(target, layout).into_iter().unzip();
        for answer in answers {
            answer.put(&regressors, &mut priors, conditions);
        }
        let (deviations, offsets) = before(target);
        let reference: Vec<f64> =
            regressors.iter().map(|r| r.feature.of(conditions, &conditions.at)).collect();
        let keep = |r: &Regressor| if r.lag > 0.0 { (-STEP_MIN / r.lag).exp() } else { 0.0 };
        let scale = if matches!(target, Target::Temperature(_)) { 1.0 } else { load / 10.0 };
        Self {
            keeps: regressors.iter().map(keep).collect(),
            estimate: Estimate::new(priors, offsets),
            echo: matches!(target, Target::Temperature(_)).then(Echo::new),
            lagged: reference.clone(),
            reference,
            regressors,
            scale,
            origin: value,
            noise: 0.01,
            last: None,
            minutes: 0.0,
            errors: deviations.map(|d| d * d),
            trials: TRIALS_BEFORE,
        }
    }

    /// Everything has been as it is for long, and what was learned stays.
    pub(super) fn settle(&mut self, c: &Conditions, flows: &[f64]) {
        for (lagged, r) in self.lagged.iter_mut().zip(&self.regressors) {
            *lagged = r.feature.of(c, flows);
        }
        self.estimate.gap();
        self.echo.iter_mut().for_each(Echo::forget);
        self.last = None;
    }

    fn regressor(&self, i: usize, raw: f64, lagged: f64) -> f64 {
        match self.regressors.get(i) {
            Some(r) if r.surge => raw - lagged,
            Some(Regressor { feature: super::feature::Feature::One, .. }) | None => 1.0,
            Some(_) => lagged - self.reference.get(i).copied().unwrap_or(0.0),
        }
    }

    /// One reading between steps: what a sensor scatters by.
    pub(super) fn hear(&mut self, value: f64) {
        let value = value / self.scale;
        if let Some(last) = self.last {
            let scatter = (0.5 * (value - last).powi(2)).min(1e4);
            self.noise += 0.01 * (scatter - self.noise);
        }
        self.last = Some(value);
    }

    /// `minutes` under `c`, at whose end `readings` averaged to `value`.
    pub(super) fn learn(&mut self, c: &Conditions, flows: &[f64], minutes: f64, value: Option<(f64, u32)>) {
        let mut x = Vec::with_capacity(self.regressors.len());
        for (i, r) in self.regressors.iter().enumerate() {
            let raw = r.feature.of(c, flows);
            let pass = if r.lag > 0.0 { 1.0 - (-minutes / r.lag).exp() } else { 1.0 };
            self.lagged[i] += pass * (raw - self.lagged[i]);
            x.push(self.regressor(i, raw, self.lagged[i]));
        }
        let Some((value, readings)) = value else { return };
        let y = (value - self.origin) / self.scale;
        let noise = (self.noise / f64::from(readings.max(1))).max(4e-4);
        self.estimate.learn(minutes, &x, y, noise);
        self.minutes += minutes;
    }

    /// What comes of these conditions, step by step.
    pub(super) fn course(&self, path: &[Conditions; STEPS], flows: &[f64]) -> Course {
        let mut course = Course::default();
        let mut lagged = self.lagged.clone();
        let mut x = vec![0.0; lagged.len()];
        let echoes = self.echo.as_ref().map(Echo::ahead).unwrap_or_default();
        for ((k, c), echo) in path.iter().enumerate().zip(echoes) {
            for (i, r) in self.regressors.iter().enumerate() {
                let raw = r.feature.of(c, flows);
                lagged[i] = raw + self.keeps[i] * (lagged[i] - raw);
                x[i] = self.regressor(i, raw, lagged[i]);
            }
            course.values[k] = self.value(&x, STEP_MIN * (k + 1) as f64) + self.scale * echo;
            if let Some(mark) = MARKS.iter().position(|m| *m == k) {
                course.at[mark].clone_from(&x);
            }
        }
        if let Some(c) = path.last() {
            for (i, r) in self.regressors.iter().enumerate() {
                let raw = r.feature.of(c, flows);
                x[i] = self.regressor(i, raw, raw);
            }
            course.rest = self.value(&x, STEP_MIN * STEPS as f64);
            course.at[3] = x;
        }
        course
    }

    fn value(&self, x: &[f64], minutes: f64) -> f64 {
        self.origin + self.scale * self.estimate.expect(x, minutes)
    }

    /// Standard deviations at the marks and at rest: measured error, and what is not known of the difference
    /// to `hold`.
    pub(super) fn deviations(&self, course: &Course, hold: &Course) -> [f64; 4] {
        let [a, b, c] = self.errors;
        let mut out = [a, b, c, c];
        for ((sigma, at), hold) in out.iter_mut().zip(&course.at).zip(&hold.at) {
            let dx: Vec<f64> = at.iter().zip(hold).map(|(x, h)| x - h).collect();
            *sigma = self.scale * (*sigma + self.estimate.variance(&dx)).sqrt();
        }
        out
    }

    /// How far off what was `predicted` for a `mark`, by this model as it was `then`, was from what is `read` now.
    pub(super) fn judge(&mut self, mark: usize, then: &Self, predicted: f64, read: f64) {
        let error = ((read - predicted) / self.scale).clamp(-1e3, 1e3);
        if let (Some(echo), Some(then), Some(variance)) = (&mut self.echo, &then.echo, self.errors.get(mark))
        {
            echo.learn(mark, then, error, *variance);
        }
        if mark == 0 {
            self.trials += 1.0;
        }
        let weight = (1.0 / self.trials).max(TRIAL_WEIGHT);
        if let Some(kept) = self.errors.get_mut(mark) {
            *kept += weight * (error * error - *kept);
        }
    }

    pub(super) fn speaks(&self) -> bool {
        self.minutes >= MIN_MINUTES
    }
}

/// What is predicted of a signal.
pub(super) fn target(role: Role, cooling_measured: bool) -> Option<Target> {
    match role {
        Role::ItInlet
        | Role::CrahSupply
        | Role::Chws
        | Role::FacilitySupply
        | Role::LiquidSupply
        | Role::LiquidReturn
        | Role::Bath
        | Role::ChipTemp => Some(Target::Temperature(role)),
        Role::CoolingPower => Some(Target::CoolingPower),
        Role::FacilityPower if cooling_measured => Some(Target::OtherPower),
        Role::FacilityPower => Some(Target::FacilityPower),
        Role::Chwr
        | Role::FacilityReturn
        | Role::ItLoad
        | Role::RoomDryBulb
        | Role::RoomHumidity
        | Role::RoomDewPoint
        | Role::OutdoorDryBulb
        | Role::OutdoorWetBulb
        | Role::Flow
        | Role::DiffPressure
        | Role::FanSpeed
        | Role::PumpSpeed
        | Role::ValvePosition
        | Role::ChillersOn
        | Role::LoadAhead => None,
    }
}
