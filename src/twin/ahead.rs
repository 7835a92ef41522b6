//! A look ahead: the outcome of many choices from one present.

use std::collections::BTreeMap;

use super::added::Added;
use super::course::Scene;
use super::feature::Target;
use super::model::{Course, MARKS, STEP_MIN, STEPS};
use super::start::Answer;
use super::{Ahead, Core, MOST_SIGMA_CHIP_K, MOST_SIGMA_K, MOST_SIGMA_POWER, Row, Twin, Worst};
use crate::frame::Frame;
use crate::site::{Name, Role};
use crate::units::Finite;

/// A signal that is predicted.
#[derive(Clone, Debug)]
pub struct Output {
    pub name: Name,
    pub role: Role,
    pub(super) target: Target,
    pub(super) range: [f64; 2],
    /// The hall or cabinet whose load it follows.
    pub(super) place: Option<usize>,
    /// What the site has measured of it.
    pub(super) answers: Vec<Answer>,
}

impl Output {
    pub(super) fn is_water(&self) -> bool {
        matches!(self.role, Role::Chws | Role::FacilitySupply)
    }

    pub(super) fn is_beside_it(&self) -> bool {
        matches!(self.role, Role::ItInlet | Role::ChipTemp | Role::Bath)
    }
}

/// What comes of one choice, by output.
#[derive(Clone, Debug)]
pub struct Trajectory {
    pub signals: Vec<Option<Path>>,
}

/// One signal's course.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// After 5, 10, … 30 min.
    pub values: [f64; STEPS],
    /// Once it has settled.
    pub rest: f64,
    /// Standard deviations after 5, 15 and 30 min, and at rest.
    pub sigmas: [f64; 4],
}

/// The present, from which choices are tried.
#[derive(Debug)]
pub struct Lookahead<'a> {
    twin: &'a Twin,
    core: &'a Core,
    inputs: &'a super::Inputs,
    /// Signals' present values.
    now: Vec<Option<f64>>,
    added: Added,
    told: Option<[f64; STEPS]>,
    /// What comes of changing nothing: the setpoints as they are, no load added.
    hold: Vec<Option<Course>>,
}

fn scene<'a>(twin: &'a Twin, added: &'a Added, told: Option<[f64; STEPS]>) -> Scene<'a> {
    Scene { layout: &twin.layout, outputs: &twin.outputs, places: &twin.places, added, told }
}

impl Path {
    /// The deviation after a step, between the marks.
    #[must_use]
    pub fn sigma(&self, step: usize) -> f64 {
        let [a, b, c, _] = self.sigmas;
        let [first, second, third] = MARKS.map(|m| m as f64);
        let k = step as f64;
        if k <= second {
            a + (b - a) * (k - first) / (second - first)
        } else {
            b + (c - b) * (k - second) / (third - second)
        }
    }

    fn is_finite(&self) -> bool {
        let all = self.values.iter().chain(&self.sigmas).chain([&self.rest]);
        all.copied().all(f64::is_finite)
    }
}

impl<'a> Lookahead<'a> {
    pub(super) fn new(twin: &'a Twin, frame: &Frame, added: Added) -> Option<Self> {
        let (core, inputs) = (twin.core.as_ref()?, twin.present.as_ref()?);
        let now = twin.outputs.iter().map(|o| frame.good(&o.name).map(Finite::get)).collect();
        let hold = core.courses(&scene(twin, &Added::default(), None), inputs, &[]);
        Some(Self { twin, core, inputs, now, added, told: None, hold })
    }

    /// The same with the load at each step to come known, kW.
    #[must_use]
    pub fn told(mut self, load: [f64; STEPS]) -> Self {
        self.told = Some(load);
        self
    }

    /// What comes of changing nothing while the load is the most that has been seen lately.
    #[must_use]
    pub fn at_most_load(&self) -> Option<Trajectory> {
        let most = self.core.machines.most_load()?;
        let hold = [self.inputs.setpoints.clone()];
        let courses =
            self.core.courses(&scene(self.twin, &self.added, Some([most; STEPS])), self.inputs, &hold);
        Some(self.trajectory(&courses))
    }

    #[must_use]
    pub fn outputs(&self) -> &[Output] {
        &self.twin.outputs
    }

    /// Setpoints in force, in the site's order.
    #[must_use]
    pub fn setpoints(&self) -> &[f64] {
        &self.inputs.setpoints
    }

    /// What comes of setpoints, in the site's order: one row for every five minutes from now, the last one
    /// for the rest. A signal is absent where its model cannot say.
    #[must_use]
    pub fn run(&self, rows: &[Vec<f64>]) -> Trajectory {
        self.trajectory(&self.core.courses(&scene(self.twin, &self.added, self.told), self.inputs, rows))
    }

    fn trajectory(&self, courses: &[Option<Course>]) -> Trajectory {
        let mut signals: Vec<Option<Path>> = self
            .core
            .models
            .iter()
            .zip(courses.iter().zip(&self.hold))
            .skip(1)
            .map(|(model, (course, hold))| {
                let (model, course, hold) = (model.as_ref()?, course.as_ref()?, hold.as_ref()?);
                let sigmas = model.deviations(course, hold);
                model.speaks().then_some(Path { values: course.values, rest: course.rest, sigmas })
            })
            .collect();
        self.add_cooling(&mut signals);
        for ((path, output), now) in signals.iter_mut().zip(&self.twin.outputs).zip(&self.now) {
            let [low, high] = output.range;
            if let Some(path) = path {
                path.values.iter_mut().chain([&mut path.rest]).for_each(|v| *v = v.clamp(low, high));
            }
            if now.is_none() || path.is_some_and(|p| !p.is_finite()) {
                *path = None;
            }
        }
        Trajectory { signals }
    }

    /// Facility power is modelled as what comes on top of cooling power.
    fn add_cooling(&self, signals: &mut [Option<Path>]) {
        let mut cooling: Option<Path> = None;
        let meters = self.twin.outputs.iter().zip(signals.iter());
        for (_, path) in meters.filter(|(o, _)| o.target == Target::CoolingPower) {
            let Some(path) = path else { return };
            cooling = Some(cooling.map_or(*path, |sum| sum.plus(path)));
        }
        for (output, path) in self.twin.outputs.iter().zip(signals) {
            if output.target == Target::OtherPower {
                *path = path.zip(cooling).map(|(other, cooling)| other.plus(&cooling));
            }
        }
    }

    fn rows(&self, moves: &BTreeMap<Name, Finite>) -> [Vec<f64>; 1] {
        let names = self.twin.layout.setpoints.iter().map(|(n, _)| n);
        let value = |(n, now): (&Name, &f64)| moves.get(n).map_or(*now, |v| v.get());
        [names.zip(&self.inputs.setpoints).map(value).collect()]
    }

    /// Paths that are certain enough to be shown.
    fn shown(&self, moves: &BTreeMap<Name, Finite>) -> impl Iterator<Item = (&Output, f64, Path)> {
        let signals = self.run(&self.rows(moves)).signals;
        let all = self.twin.outputs.iter().zip(&self.now).zip(signals);
        all.filter_map(|((output, now), path)| {
            let (path, now) = (path?, (*now)?);
            let most = match (output.target, output.role) {
                (Target::Temperature(_), Role::ChipTemp) => MOST_SIGMA_CHIP_K,
                (Target::Temperature(_), _) => MOST_SIGMA_K,
                _ => MOST_SIGMA_POWER * now.abs(),
            };
            path.sigmas.iter().take(3).all(|s| *s <= most).then_some((output, now, path))
        })
    }

    pub(super) fn row(&self, moves: BTreeMap<Name, Finite>) -> Option<Row> {
        let ahead: BTreeMap<_, _> = self
            .shown(&moves)
            .map(|(output, _, path)| {
                let mark = |i: usize| {
                    let step = MARKS.get(i).copied().unwrap_or_default();
                    let value = path.values.get(step).copied().unwrap_or_default();
                    Ahead { value: Finite::saturating(value), sigma: Finite::saturating(path.sigma(step)) }
                };
                (output.name.clone(), [mark(0), mark(1), mark(2)])
            })
            .collect();
        (!ahead.is_empty()).then_some(Row { moves, ahead })
    }

    pub(super) fn worst(&self, moves: &BTreeMap<Name, Finite>, within: usize) -> BTreeMap<Name, Worst> {
        let worst = |(output, now, path): (&Output, f64, Path)| {
            let steps = path.values.iter().take(within).enumerate().map(|(k, v)| (*v, path.sigma(k)));
            let ahead = |(value, sigma): (f64, f64)| Ahead {
                value: Finite::saturating(value),
                sigma: Finite::saturating(sigma),
            };
            let low = steps.clone().min_by(|a, b| (a.0 - a.1).total_cmp(&(b.0 - b.1)))?;
            let high = steps.max_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)))?;
            let values: Vec<f64> = std::iter::once(now).chain(path.values.into_iter().take(within)).collect();
            let apart = (15.0 / STEP_MIN) as usize;
            let pairs = values.iter().zip(values.iter().skip(apart));
            let ramp = pairs.map(|(a, b)| (b - a).abs()).fold(0.0, f64::max);
            let ramp_15min = Finite::saturating(ramp);
            Some((output.name.clone(), Worst { low: ahead(low), high: ahead(high), ramp_15min }))
        };
        self.shown(moves).filter_map(worst).collect()
    }
}

impl Path {
    /// How far it is above another, as certain as it is itself.
    #[must_use]
    pub fn less(mut self, other: &Self) -> Self {
        self.values.iter_mut().zip(other.values).for_each(|(a, b)| *a -= b);
        self.rest -= other.rest;
        self
    }

    /// The sum of two, whose errors are taken as independent.
    fn plus(mut self, other: &Self) -> Self {
        let values = self.values.iter_mut().chain([&mut self.rest]);
        values.zip(other.values.iter().chain([&other.rest])).for_each(|(a, b)| *a += b);
        self.sigmas.iter_mut().zip(&other.sigmas).for_each(|(a, b)| *a = a.hypot(*b));
        self
    }
}
