//! A model of the site learned from the site's own telemetry while it runs.
//!
//! Theory of operation. Every controlled temperature, and the cooling power, is taken to follow
//! `y[k+1] = y[k] + b·u[k] - (1 - a)·y[k] + c`, one step in five minutes, where `u` holds the setpoints, the
//! IT load and the wet bulb (means over the step): the discrete form of a first-order lag whose rest value
//! depends on the inputs. The step is long because noise in `y` biases `a`, the more the less `y` moves in a
//! step. Recursive least squares with forgetting identifies it ([`rls`]). Beside it each model is judged the way
//! it is used: it is run open-loop from what was measured half an hour ago, with the inputs that really
//! came, and its error after 5, 15 and 30 min is kept next to that of "it stays as it is". A model that
//! does not do better than that, within a floor, is *not yet identified*, and says nothing. The uncertainty
//! of a prediction is that measured error, widened by what is not known about the setpoints that move.
//!
//! It is not the simulator and shares no code with it.

mod model;
mod rls;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::site::{Cools, Name, Role, Site};
use crate::units::Finite;
use model::{Input, Model};

/// Minutes ahead that are predicted.
pub const HORIZONS_MIN: [u32; 3] = [5, 15, 30];

/// A predicted value and the standard deviation of its error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ahead {
    pub value: Finite,
    pub sigma: Finite,
}

/// The lowest and the highest that a signal will be in the next 30 min.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Worst {
    pub low: Ahead,
    pub high: Ahead,
    /// The largest change in 15 min, up or down.
    pub ramp_15min: Finite,
}

/// What comes of one choice of setpoints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The setpoints that differ from now; empty is hold.
    pub moves: BTreeMap<Name, Finite>,
    /// By signal, at [`HORIZONS_MIN`].
    pub ahead: BTreeMap<Name, [Ahead; 3]>,
}

/// The look-ahead that is shown with a frame: hold first, then each setpoint alone moved by one and two
/// steps either way, where the model knows enough to say.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Outlook {
    pub rows: Vec<Row>,
    /// Signals that cannot be predicted yet.
    pub unidentified: Vec<Name>,
}

/// A step of the models.
const STEP_S: i64 = 300;
/// The end of a step over which an output is averaged.
const READ_S: i64 = 60;

#[derive(Clone, Debug)]
pub struct Twin {
    inputs: Vec<Input>,
    models: Vec<Model>,
    setpoints: Vec<(Name, [f64; 2], f64)>,
    sample_s: i64,
    /// The step under way.
    step: Option<Step>,
    /// Inputs as last seen good, the start of every prediction.
    present: Option<Vec<f64>>,
}

#[derive(Clone, Debug)]
struct Step {
    began: Timestamp,
    last: Timestamp,
    inputs: Vec<f64>,
    count: u32,
    /// Sum and number of each output's good values at the step's end.
    outputs: Vec<(f64, u32)>,
}

impl Twin {
    #[must_use]
    pub fn new(site: &Site) -> Self {
        let span = |[low, high]: [Finite; 2]| high.get() - low.get();
        let mut inputs: Vec<Input> = site
            .setpoints
            .iter()
            .map(|s| Input::setpoint(&s.name, span([s.min, s.max]), s.cools == Cools::Up))
            .collect();
        for (role, scale) in [(Role::ItLoad, None), (Role::OutdoorWetBulb, Some(10.0))] {
            let signals: Vec<_> = site.with_role(role).collect();
            if !signals.is_empty() {
                let scale =
                    scale.unwrap_or_else(|| signals.iter().map(|s| span(s.range)).sum::<f64>() / 10.0);
                inputs.push(Input::disturbance(signals.iter().map(|s| s.name.clone()).collect(), scale));
            }
        }
        let models: Vec<Model> = site
            .signals
            .iter()
            .filter_map(|s| Some(Model::new(s, output_scale(s.role?, span(s.range))?, &inputs)))
            .collect();
        Self {
            inputs,
            models,
            setpoints: site
                .setpoints
                .iter()
                .map(|s| (s.name.clone(), [s.min.get(), s.max.get()], s.step.get()))
                .collect(),
            sample_s: site.sample.as_secs(),
            step: None,
            present: None,
        }
    }

    /// Learns from a frame. A gap, or an input that is not good, starts the models' past anew; what they
    /// have learned stays. A site sampled less often than every five minutes is not modelled.
    pub fn update(&mut self, frame: &Frame) {
        let Some((inputs, outputs)) = self.read(frame) else {
            self.restart();
            self.present = None;
            return;
        };
        let gap = |s: &Step| {
            let since = frame.time.as_second() - s.last.as_second();
            since < 0 || since > READ_S.max(2 * self.sample_s)
        };
        if self.step.as_ref().is_some_and(gap) {
            self.restart();
        }
        let mut step = self.step.take().unwrap_or_else(|| Step {
            began: frame.time,
            last: frame.time,
            inputs: vec![0.0; inputs.len()],
            count: 0,
            outputs: vec![(0.0, 0); outputs.len()],
        });
        step.last = frame.time;
        step.inputs.iter_mut().zip(&inputs).for_each(|(sum, v)| *sum += v);
        step.count += 1;
        let until = frame.time.as_second() - step.began.as_second() + self.sample_s;
        if until > STEP_S - READ_S {
            for ((sum, n), value) in step.outputs.iter_mut().zip(outputs) {
                if let Some(value) = value {
                    *sum += value;
                    *n += 1;
                }
            }
        }
        if until >= STEP_S && self.sample_s <= STEP_S {
            let means: Vec<f64> = step.inputs.iter().map(|s| s / f64::from(step.count)).collect();
            let scaled: Vec<f64> = self.inputs.iter_mut().zip(means).map(|(i, v)| i.scaled(v)).collect();
            for (model, (sum, n)) in self.models.iter_mut().zip(step.outputs) {
                model.step((n > 0).then(|| sum / f64::from(n)), &scaled);
            }
        } else {
            self.step = Some(step);
        }
        self.present = Some(inputs);
    }

    fn restart(&mut self) {
        self.models.iter_mut().for_each(Model::restart);
        self.step = None;
    }

    /// Inputs and outputs of a frame, in order. `None` unless all inputs are good.
    fn read(&self, frame: &Frame) -> Option<(Vec<f64>, Vec<Option<f64>>)> {
        let sum = |i: &Input| i.sources().iter().map(|n| Some(frame.good(n)?.get())).sum::<Option<f64>>();
        let inputs = self.inputs.iter().map(sum).collect::<Option<_>>()?;
        Some((inputs, self.models.iter().map(|m| frame.good(m.name()).map(Finite::get)).collect()))
    }

    /// The look-ahead from `frame`: hold, and each setpoint one and two steps either way.
    #[must_use]
    pub fn outlook(&self, frame: &Frame) -> Outlook {
        let mut outlook = Outlook::default();
        let hold = self.row(frame, BTreeMap::new());
        outlook.unidentified = self
            .models
            .iter()
            .map(Model::name)
            .filter(|n| hold.as_ref().is_none_or(|r| !r.ahead.contains_key(*n)))
            .cloned()
            .collect();
        let Some(hold) = hold else { return outlook };
        outlook.rows.push(hold);
        for (name, [min, max], step) in &self.setpoints {
            let Some(now) = frame.good(name) else { continue };
            for steps in [-2.0, -1.0, 1.0, 2.0] {
                let Some(to) = Finite::new(now.get() + steps * step) else { continue };
                if to.get() < min - 1e-9 || to.get() > max + 1e-9 {
                    continue;
                }
                outlook.rows.extend(self.row(frame, BTreeMap::from([(name.clone(), to.rounded(3))])));
            }
        }
        outlook
    }

    /// What `setpoints` (those not named stay) do over the next 30 min, by signal. A signal is absent where
    /// its model cannot say.
    #[must_use]
    pub fn predict(&self, frame: &Frame, setpoints: &BTreeMap<Name, Finite>) -> BTreeMap<Name, Worst> {
        let Some(inputs) = self.inputs_with(setpoints) else { return BTreeMap::new() };
        self.models
            .iter()
            .filter_map(|m| Some((m.name().clone(), m.worst(frame.good(m.name())?.get(), &inputs)?)))
            .collect()
    }

    /// One row of the outlook; `None` when nothing at all can be predicted.
    #[must_use]
    pub fn row(&self, frame: &Frame, moves: BTreeMap<Name, Finite>) -> Option<Row> {
        let inputs = self.inputs_with(&moves)?;
        let ahead: BTreeMap<_, _> = self
            .models
            .iter()
            .filter_map(|m| Some((m.name().clone(), m.ahead(frame.good(m.name())?.get(), &inputs)?)))
            .collect();
        (!ahead.is_empty()).then_some(Row { moves, ahead })
    }

    /// Scaled inputs with some setpoints moved, and by how much each is.
    fn inputs_with(&self, moves: &BTreeMap<Name, Finite>) -> Option<Vec<(f64, f64)>> {
        let present = self.present.as_ref()?;
        let inputs = self.inputs.iter().zip(present).map(|(input, now)| {
            let to = input.moved_by(moves).map_or(*now, Finite::get);
            let at = input.scale_of(to)?;
            Some((at, at - input.scale_of(*now)?))
        });
        inputs.collect()
    }
}

/// What is predicted, and the size in which its numbers are near one.
fn output_scale(role: Role, span: f64) -> Option<f64> {
    match role {
        Role::ItInlet
        | Role::CrahSupply
        | Role::Chws
        | Role::LiquidSupply
        | Role::LiquidReturn
        | Role::Bath
        | Role::ChipTemp => Some(10.0),
        Role::CoolingPower => Some(span / 10.0),
        Role::Chwr
        | Role::FacilitySupply
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
        | Role::FacilityPower
        | Role::ChillersOn
        | Role::LoadAhead => None,
    }
}

#[cfg(test)]
mod tests;
