//! A grey-box model of the site, learned from the site's own telemetry while it runs.
//!
//! Theory of operation. What a plant does is known in shape and not in size. [`drive`] reads what drives the
//! site (setpoints, load, weather) and learns where machines stop following their setpoints; [`feature`] makes
//! of it the terms that physics gives each temperature and power, with a first guess of every size;
//! [`estimate`] learns the sizes, and an offset that wanders, by a Kalman filter that never forgets more than
//! the first guess; [`model`] joins them, each term behind first-order lags. All regressors are inputs, never
//! past outputs, so that a prediction is stable whatever was learned; [`echo`] adds what is still to come of the
//! last few surprises, and ends with them.
//!
//! The twin speaks after minutes, with the uncertainty of its first guess, and becomes surer with data. Every
//! five minutes it runs from what it knew 5, 15 and 30 min ago with the setpoints that really came, and
//! keeps its errors: the uncertainty of a prediction is that measured error, widened by what is not known of the
//! effects of the setpoints that move.
//!
//! It is not the simulator and shares no code with it. `docs/twin.md` has formulas, sources and measured errors.

mod added;
mod ahead;
mod course;
mod drive;
mod echo;
mod estimate;
mod feature;
mod model;
mod start;

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use ahead::{Lookahead, Output, Path, Trajectory};
pub use model::STEPS;

use crate::frame::Frame;
use crate::site::{Name, Role, Signal, Site};
use crate::units::Finite;
use added::{Added, Places};
use course::Scene;
use drive::{Conditions, Inputs, Layout, Machines};
use model::{Model, STEP_MIN};

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

/// The look-ahead that is shown with a frame: hold first, then other choices, where the twin knows enough to
/// say.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Outlook {
    pub rows: Vec<Row>,
    /// The row that the optimizer would take, if it can say.
    #[serde(default)]
    pub best: Option<usize>,
    /// Signals that cannot be predicted yet.
    pub unidentified: Vec<Name>,
}

/// Predictions less certain than this (K; share of the present power) are not shown.
const MOST_SIGMA_K: f64 = 2.0;
const MOST_SIGMA_CHIP_K: f64 = 6.0;
const MOST_SIGMA_POWER: f64 = 0.3;
/// Frames are averaged over this long before they are learned from.
const LEARN_S: i64 = 60;
/// After a silence this long the past says nothing about the lags.
const GAP_S: i64 = 180;

/// Whether a signal is one of the temperatures that are predicted.
#[must_use]
pub fn is_predicted_temperature(signal: &Signal) -> bool {
    let target = signal.role.and_then(|role| model::target(role, false));
    matches!(target, Some(feature::Target::Temperature(_)))
}

#[derive(Clone, Debug)]
pub struct Twin {
    layout: Layout,
    places: Places,
    outputs: Vec<Output>,
    sample_s: i64,
    core: Option<Core>,
    /// The minute under way.
    minute: Option<Minute>,
    present: Option<Inputs>,
    heard: Option<Timestamp>,
    /// What was known at the end of each of the last steps, and the setpoints of the steps since.
    past: VecDeque<(Core, Inputs, Vec<Vec<f64>>)>,
    /// The step under way: mean setpoints, and minutes.
    step: (Vec<f64>, f64),
}

/// All that has been learned.
#[derive(Clone, Debug)]
struct Core {
    machines: Machines,
    /// Setpoints at which flows count as one.
    flows: Vec<f64>,
    /// The load first, then as the outputs; `None` before a first good value.
    models: Vec<Option<Model>>,
}

#[derive(Clone, Debug)]
struct Minute {
    began: Timestamp,
    mean: Inputs,
    count: u32,
    /// Sum, number and last of each model's good values.
    readings: Vec<(f64, u32, f64)>,
}

impl Twin {
    #[must_use]
    pub fn new(site: &Site) -> Self {
        let places = Places::new(site);
        let cooling_measured = site.with_role(Role::CoolingPower).next().is_some();
        let output = |s: &Signal| {
            let role = s.role?;
            let target = model::target(role, cooling_measured)?;
            let place = s.place.as_ref().and_then(|p| places.position(p));
            let (name, range) = (s.name.clone(), s.range.map(Finite::get));
            Some(Output { name, role, target, range, place, answers: start::answers(site, &s.name) })
        };
        let outputs = site.signals.iter().filter_map(output).collect();
        Self {
            layout: Layout::new(site),
            places,
            outputs,
            sample_s: site.sample.as_secs(),
            core: None,
            minute: None,
            present: None,
            heard: None,
            past: VecDeque::new(),
            step: (Vec::new(), 0.0),
        }
    }

    /// Learns from a frame. Without a good load and good setpoints it is blind: it learns and says nothing.
    pub fn update(&mut self, frame: &Frame) {
        let longest = GAP_S.max(5 * self.sample_s / 2);
        let since = self.heard.map(|t| frame.time.as_second() - t.as_second());
        let gap = since.filter(|s| (0..=longest).contains(s));
        self.heard = Some(frame.time);
        let Some(mut inputs) = self.layout.read(frame) else {
            self.present = None;
            self.minute = None;
            self.past.clear();
            return;
        };
        if since.is_some() && gap.is_none() || self.present.is_none() {
            self.resume(&inputs);
        }
        if let Some(before) = &self.present {
            // Weather is slow: the last that was known is better than none.
            inputs.ambient = inputs.ambient.or(before.ambient);
            inputs.units = inputs.units.or(before.units);
        }
        let values = self.values(frame, &inputs);
        if let Some(core) = &mut self.core {
            for (model, value) in core.models.iter_mut().zip(&values) {
                if let (Some(model), Some(value)) = (model, value) {
                    model.hear(*value);
                }
            }
        }
        let before = gap.unwrap_or(self.sample_s);
        let before = frame.time.checked_sub(SignedDuration::from_secs(before)).unwrap_or(frame.time);
        let minute = self.minute.get_or_insert_with(|| Minute {
            // From the frame before on, however long ago: samples come more or less often.
            began: before,
            mean: inputs.clone(),
            count: 0,
            readings: vec![(0.0, 0, 0.0); values.len()],
        });
        minute.mean.blend(&inputs, f64::from(minute.count));
        minute.count += 1;
        for ((sum, n, last), value) in minute.readings.iter_mut().zip(values) {
            if let Some(value) = value {
                (*sum, *n, *last) = (*sum + value, *n + 1, value);
            }
        }
        self.present = Some(inputs);
        let seconds = frame.time.as_second() - minute.began.as_second();
        if seconds >= LEARN_S
            && let Some(minute) = self.minute.take()
        {
            self.learn(&minute, seconds as f64 / 60.0);
        }
    }

    /// After a silence: lags are as if all had been like this for long.
    fn resume(&mut self, inputs: &Inputs) {
        self.minute = None;
        self.past.clear();
        self.step = (Vec::new(), 0.0);
        let Some(core) = &mut self.core else { return };
        core.machines.settle(inputs);
        let mut c = Conditions::default();
        core.machines.follow(&self.layout, &inputs.setpoints, inputs, inputs.load, inputs.water, &mut c);
        core.models.iter_mut().flatten().for_each(|m| m.settle(&c, &core.flows));
    }

    /// What each model predicts, as measured in this frame.
    fn values(&self, frame: &Frame, inputs: &Inputs) -> Vec<Option<f64>> {
        let good = |n: &Name| frame.good(n).map(Finite::get);
        let cooling = || -> Option<f64> {
            let meters = self.outputs.iter().filter(|o| o.role == Role::CoolingPower);
            meters.map(|o| good(&o.name)).sum()
        };
        let value = |o: &Output| match o.target {
            feature::Target::OtherPower => Some(good(&o.name)? - cooling()?),
            feature::Target::Temperature(_)
            | feature::Target::Load
            | feature::Target::CoolingPower
            | feature::Target::FacilityPower => good(&o.name),
        };
        std::iter::once(Some(inputs.load)).chain(self.outputs.iter().map(value)).collect()
    }

    fn learn(&mut self, minute: &Minute, minutes: f64) {
        let inputs = &minute.mean;
        let core = self.core.get_or_insert_with(|| Core {
            machines: Machines::new(inputs),
            flows: inputs.setpoints.clone(),
            models: vec![None; self.outputs.len() + 1],
        });
        core.machines.learn(&self.layout, inputs, minutes);
        let mut c = Conditions::default();
        core.machines.follow(&self.layout, &inputs.setpoints, inputs, inputs.load, inputs.water, &mut c);
        let load = core.machines.load;
        for (i, (slot, (sum, n, _))) in core.models.iter_mut().zip(&minute.readings).enumerate() {
            let value = (*n > 0).then(|| (sum / f64::from(*n), *n));
            if slot.is_none()
                && let Some((value, _)) = value
            {
                let output = i.checked_sub(1).and_then(|i| self.outputs.get(i));
                let target = output.map_or(feature::Target::Load, |o| o.target);
                let answers = output.map_or(&[][..], |o| &o.answers);
                *slot = Some(Model::new(target, answers, &self.layout, &c, load, value));
            }
            if let Some(model) = slot {
                model.learn(&c, &core.flows, minutes, value);
            }
        }
        let (mean, so_far) = &mut self.step;
        if mean.len() == inputs.setpoints.len() {
            let share = minutes / (*so_far + minutes);
            mean.iter_mut().zip(&inputs.setpoints).for_each(|(m, v)| *m += share * (v - *m));
        } else {
            mean.clone_from(&inputs.setpoints);
        }
        *so_far += minutes;
        if *so_far >= STEP_MIN - 0.01 {
            self.step_over(minute);
        }
    }

    /// Judges what was predicted, with the setpoints that came.
    fn step_over(&mut self, minute: &Minute) {
        let setpoints = std::mem::take(&mut self.step).0;
        for (_, _, rows) in &mut self.past {
            rows.push(setpoints.clone());
        }
        // What was announced is nobody's measurement: the errors that the guard counts on are made without it.
        let added = Added::default();
        let (layout, outputs, places) = (&self.layout, &self.outputs, &self.places);
        let scene = Scene { layout, outputs, places, added: &added, told: None };
        let Some(core) = &mut self.core else { return };
        for (then, inputs, rows) in &self.past {
            let Some(mark) = model::MARKS.iter().position(|m| m + 1 == rows.len()) else { continue };
            let courses = then.courses(&scene, inputs, rows);
            let before = then.models.iter().zip(&courses);
            for ((model, (then, course)), (_, n, last)) in
                core.models.iter_mut().zip(before).zip(&minute.readings)
            {
                if let (Some(model), Some(then), Some(course), true) = (model, then, course, *n > 0)
                    && let Some(predicted) = course.values.get(rows.len() - 1)
                {
                    model.judge(mark, then, *predicted, *last);
                }
            }
        }
        if let Some(present) = &self.present {
            self.past.push_back((core.clone(), present.clone(), Vec::new()));
        }
        if self.past.len() > STEPS {
            self.past.pop_front();
        }
    }

    /// A look ahead from `frame`, to ask for the outcome of many choices; `None` while it is blind or new.
    /// Jobs that were announced are taken to come.
    #[must_use]
    pub fn lookahead(&self, frame: &Frame) -> Option<Lookahead<'_>> {
        Lookahead::new(self, frame, self.places.announced(frame.time, &frame.jobs))
    }

    /// The same with nothing announced, and so many kW more from now on in one place.
    #[must_use]
    pub fn loaded(&self, frame: &Frame, place: &Name, kw: f64) -> Option<Lookahead<'_>> {
        Lookahead::new(self, frame, self.places.constant(Some(place), kw))
    }

    /// The look-ahead from `frame`: hold, then each of `candidates`, as far as it is known.
    #[must_use]
    pub fn outlook(
        &self,
        frame: &Frame,
        candidates: impl IntoIterator<Item = BTreeMap<Name, Finite>>,
    ) -> Outlook {
        let ahead = self.lookahead(frame);
        let hold = ahead.as_ref().and_then(|a| a.row(BTreeMap::new()));
        let unsaid = |n: &&Name| hold.as_ref().is_none_or(|r| !r.ahead.contains_key(*n));
        let unidentified = self.outputs.iter().map(|o| &o.name).filter(unsaid).cloned().collect();
        let rows = match (&ahead, hold) {
            (Some(ahead), Some(hold)) => {
                std::iter::once(hold).chain(candidates.into_iter().filter_map(|m| ahead.row(m))).collect()
            }
            _ => Vec::new(),
        };
        Outlook { rows, best: None, unidentified }
    }

    /// What `setpoints` (those not named stay) do `within` a time, 30 min at most, by signal, as far as
    /// measurements say: announced jobs are left out. A signal is absent where its model cannot say.
    #[must_use]
    pub fn predict(
        &self,
        frame: &Frame,
        setpoints: &BTreeMap<Name, Finite>,
        within: SignedDuration,
    ) -> BTreeMap<Name, Worst> {
        let measured = Lookahead::new(self, frame, Added::default());
        let steps = (within.as_secs_f64() / (60.0 * STEP_MIN)).round() as usize;
        measured.map(|a| a.worst(setpoints, steps.clamp(1, STEPS))).unwrap_or_default()
    }

    /// One row of the outlook; `None` when nothing at all can be predicted.
    #[must_use]
    pub fn row(&self, frame: &Frame, moves: BTreeMap<Name, Finite>) -> Option<Row> {
        self.lookahead(frame)?.row(moves)
    }
}

#[cfg(test)]
mod tests;
