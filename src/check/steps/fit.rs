//! What a recording says of how temperatures answer to setpoints: least squares on first-order lags behind dead
//! times, in noise that remembers itself (Ljung, *System Identification*, ch. 7; Cochrane and Orcutt, 1949).
//!
//! `y(t) = a + b t + sum of gain_j * lag_j(setpoint_j) + c * lag(load) + noise`. Gains are linear; dead times and time
//! constants are searched for, coarsely and then finely. The standard deviations are those of all of them together, so
//! that a dead time that could as well be a time constant counts against both.

mod least_squares;

use std::collections::BTreeMap;

use least_squares::{Problem, Solved};
use serde::Serialize;

use crate::frame::Frame;
use crate::site::{Name, Role, Site};
use crate::twin;
use crate::units::Finite;

/// How one temperature was seen to answer to one setpoint.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Answer {
    pub setpoint: Name,
    pub signal: Name,
    /// The signal's unit for each unit of the setpoint.
    pub gain: Measured,
    pub dead_time_min: Measured,
    pub time_constant_min: Measured,
    pub seen: Seen,
}

/// A value and its standard deviation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Measured {
    pub value: Finite,
    pub sd: Finite,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    Clearly,
    /// Whatever there is, it is too small to matter.
    Nothing,
    /// Too much else was going on.
    Unclear,
}

impl Seen {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Clearly => "clear",
            Self::Nothing => "no effect",
            Self::Unclear => "unclear",
        }
    }
}

/// A gain this many standard deviations from nothing is seen.
const CLEAR: f64 = 4.0;
/// An effect of all of a move that is surely below this, K, does not matter.
const SMALL_K: f64 = 0.3;
/// Length of an interval of the regression at least, s.
const LEAST_S: f64 = 30.0;
/// What the load does comes with these lags, minutes.
const LOAD_LAGS: [f64; 2] = [2.0, 12.0];
const DEAD_TIMES: [f64; 8] = [0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0];
const TIME_CONSTANTS: [f64; 10] = [0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 18.0, 27.0, 40.0];
const SHORTEST: f64 = 0.25;
const LONGEST: f64 = 60.0;
/// Sweeps over all setpoints, of the coarse and of the fine search.
const SWEEPS: usize = 2;
const FINE_SWEEPS: usize = 8;
/// How often the memory of the noise is estimated anew.
const ROUNDS: usize = 2;
const MOST_MEMORY: f64 = 0.98;

/// A dead time and a time constant, minutes.
#[derive(Clone, Copy, Debug)]
struct Lag {
    dead: f64,
    tau: f64,
}

/// The recording in even intervals, as means.
struct Series {
    step_min: f64,
    setpoints: Vec<Vec<f64>>,
    load: Vec<f64>,
    signals: BTreeMap<Name, Vec<f64>>,
}

/// The answers to the setpoints that were `moved`.
pub(super) fn answers(site: &Site, frames: &[Frame], moved: &[Name]) -> Vec<Answer> {
    let Some(series) = Series::new(site, frames, moved) else { return Vec::new() };
    series.signals.iter().flat_map(|(signal, y)| series.fit(signal, y, moved)).collect()
}

impl Series {
    fn new(site: &Site, frames: &[Frame], moved: &[Name]) -> Option<Self> {
        let step_s = site.sample.as_secs_f64().max(LEAST_S);
        let (first, last) = (frames.first()?, frames.last()?);
        let at = |f: &Frame| (f.time.duration_since(first.time).as_secs_f64() / step_s).floor();
        let count = at(last) as usize + 1;
        let even = |value: &dyn Fn(&Frame) -> Option<f64>| {
            let mut sums = vec![(0.0, 0.0); count];
            for frame in frames {
                if let (Some(v), Some((sum, n))) = (value(frame), sums.get_mut(at(frame) as usize)) {
                    (*sum, *n) = (*sum + v, *n + 1.0);
                }
            }
            // A gap is bridged with what was before it, or else comes first after it.
            let mut before = sums.iter().find(|(_, n)| *n > 0.0).map(|(sum, n)| sum / n)?;
            let mean = |(sum, n): (f64, f64)| {
                before = if n > 0.0 { sum / n } else { before };
                before
            };
            Some(sums.into_iter().map(mean).collect::<Vec<f64>>())
        };
        let good = |f: &Frame, n: &Name| f.good(n).map(Finite::get);
        let in_force = |f: &Frame, n: &Name| f.in_force(n).map(Finite::get);
        let loads: Vec<&Name> = site.with_role(Role::ItLoad).map(|s| &s.name).collect();
        let temperatures = site.signals.iter().filter(|s| twin::is_predicted_temperature(s));
        let signals = temperatures.filter_map(|s| Some((s.name.clone(), even(&|f| good(f, &s.name))?)));
        Some(Self {
            step_min: step_s / 60.0,
            setpoints: moved.iter().map(|n| even(&|f| in_force(f, n))).collect::<Option<_>>()?,
            load: even(&|f| loads.iter().map(|n| good(f, n)).sum()).unwrap_or_else(|| vec![0.0; count]),
            signals: signals.collect(),
        })
    }

    /// A setpoint, as it is seen behind a lag: means over the intervals, from rest.
    fn lagged(&self, input: &[f64], lag: Lag) -> Vec<f64> {
        let rest = input.first().copied().unwrap_or_default();
        let late = lag.dead / self.step_min;
        let keep = (-self.step_min / lag.tau).exp();
        let within = lag.tau / self.step_min * (1.0 - keep);
        let mut state = 0.0;
        let moved = |i: f64| {
            let value = input.get(i.max(0.0) as usize).copied().unwrap_or(rest);
            if i < 0.0 { 0.0 } else { value - rest }
        };
        (0..input.len())
            .map(|i| {
                let at = i as f64 - late;
                let part = at - at.floor();
                let u = moved(at.floor()) * (1.0 - part) + moved(at.floor() + 1.0) * part;
                let mean = u + (state - u) * within;
                state = u + (state - u) * keep;
                mean
            })
            .collect()
    }

    /// What is no setpoint's doing: a level, a drift, the load.
    fn others(&self) -> Vec<Vec<f64>> {
        let n = self.load.len();
        let ramp = (0..n).map(|i| i as f64 / n as f64).collect();
        let scale = self.load.iter().fold(1.0, |a: f64, v| a.max(v.abs()));
        let load: Vec<f64> = self.load.iter().map(|v| v / scale).collect();
        let behind = LOAD_LAGS.map(|tau| self.lagged(&load, Lag { dead: 0.0, tau }));
        [vec![1.0; n], ramp].into_iter().chain(behind).collect()
    }

    fn fit(&self, signal: &Name, y: &[f64], moved: &[Name]) -> Vec<Answer> {
        let others = self.others();
        let mut lags = vec![Lag { dead: 1.0, tau: 5.0 }; moved.len()];
        let mut memory = 0.8;
        for _ in 0..ROUNDS {
            let problem = Problem::new(y, memory);
            self.search(&problem, &others, &mut lags);
            let columns = self.columns(&others, &lags);
            let Some(solved) = problem.solve(&columns) else { return Vec::new() };
            memory = solved.memory(y, &columns).clamp(0.0, MOST_MEMORY);
        }
        let problem = Problem::new(y, memory);
        self.search(&problem, &others, &mut lags);
        let Some(solved) = problem.solve(&self.columns(&others, &lags)) else { return Vec::new() };
        let gains = solved.coefficients.iter().skip(others.len()).copied();
        let gains: Vec<f64> = gains.collect();
        let Some(joint) = self.joint(&problem, &others, &lags, &gains) else { return Vec::new() };
        let sd = |i: usize| joint.deviations.get(others.len() + i).copied().unwrap_or(f64::INFINITY);
        let each = moved.iter().zip(&lags).zip(gains).enumerate();
        each.map(|(j, ((setpoint, lag), gain))| {
            let [of_gain, of_dead, of_tau] = [0, 1, 2].map(|k| sd(k * moved.len() + j));
            let reach = self.setpoints.get(j).map_or(0.0, |u| spread(u));
            let seen = if gain.abs() >= CLEAR * of_gain {
                Seen::Clearly
            } else if (gain.abs() + 2.0 * of_gain) * reach <= SMALL_K {
                Seen::Nothing
            } else {
                Seen::Unclear
            };
            let measured = |value, sd| Measured { value: rounded(value), sd: rounded(sd) };
            Answer {
                setpoint: setpoint.clone(),
                signal: signal.clone(),
                gain: measured(gain, of_gain),
                dead_time_min: measured(lag.dead, of_dead),
                time_constant_min: measured(lag.tau, of_tau),
                seen,
            }
        })
        .collect()
    }

    fn columns(&self, others: &[Vec<f64>], lags: &[Lag]) -> Vec<Vec<f64>> {
        let own = self.setpoints.iter().zip(lags).map(|(u, lag)| self.lagged(u, *lag));
        others.iter().cloned().chain(own).collect()
    }

    /// One setpoint's lag after the other, to where the least is left unexplained.
    fn search(&self, problem: &Problem, others: &[Vec<f64>], lags: &mut [Lag]) {
        let coarse = |_: Lag| {
            let all = DEAD_TIMES.iter().flat_map(|dead| TIME_CONSTANTS.map(|tau| Lag { dead: *dead, tau }));
            all.collect::<Vec<_>>()
        };
        let fine = |at: Lag| {
            let dead = [-0.5, -0.1, 0.1, 0.5].map(|d| Lag { dead: (at.dead + d).max(0.0), ..at });
            let tau =
                [0.8, 0.95, 1.05, 1.25].map(|f| Lag { tau: (at.tau * f).clamp(SHORTEST, LONGEST), ..at });
            dead.into_iter().chain(tau).collect()
        };
        self.sweep(SWEEPS, problem, others, lags, &coarse);
        self.sweep(FINE_SWEEPS, problem, others, lags, &fine);
    }

    fn sweep(
        &self,
        sweeps: usize,
        problem: &Problem,
        others: &[Vec<f64>],
        lags: &mut [Lag],
        choices: &dyn Fn(Lag) -> Vec<Lag>,
    ) {
        let mut columns = self.columns(others, lags);
        let Some(mut best) = problem.solve(&columns).map(|s| s.unexplained) else { return };
        for _ in 0..sweeps {
            let before = best;
            for (j, (u, lag)) in self.setpoints.iter().zip(lags.iter_mut()).enumerate() {
                let Some(mut kept) = columns.get(others.len() + j).cloned() else { continue };
                for choice in choices(*lag) {
                    if let Some(column) = columns.get_mut(others.len() + j) {
                        *column = self.lagged(u, choice);
                    }
                    let left = problem.solve(&columns).map_or(f64::INFINITY, |s| s.unexplained);
                    if left < best {
                        (best, *lag) = (left, choice);
                        kept.clone_from(&columns[others.len() + j]);
                    }
                }
                columns[others.len() + j] = kept;
            }
            if best >= before {
                return;
            }
        }
    }

    /// The same problem made linear in dead times and time constants too, around what was found.
    fn joint(&self, problem: &Problem, others: &[Vec<f64>], lags: &[Lag], gains: &[f64]) -> Option<Solved> {
        let mut columns = self.columns(others, lags);
        let slope = |u: &[f64], gain: f64, low: Lag, high: Lag, span: f64| -> Vec<f64> {
            let (low, high) = (self.lagged(u, low), self.lagged(u, high));
            high.iter().zip(low).map(|(a, b)| gain * (a - b) / span).collect()
        };
        let each = || self.setpoints.iter().zip(lags).zip(gains);
        for ((u, lag), gain) in each() {
            let (low, high) = ((lag.dead - 0.5).max(0.0), lag.dead + 0.5);
            let at = |dead| Lag { dead, ..*lag };
            columns.push(slope(u, *gain, at(low), at(high), high - low));
        }
        for ((u, lag), gain) in each() {
            let at = |factor| Lag { tau: lag.tau * factor, ..*lag };
            columns.push(slope(u, *gain, at(0.9), at(1.1), 0.2 * lag.tau));
        }
        problem.solve(&columns)
    }
}

fn spread(values: &[f64]) -> f64 {
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    (high - low).max(0.0)
}

fn rounded(value: f64) -> Finite {
    // What is not known at all is printed, too.
    Finite::saturating(value.min(1e3)).rounded(4)
}

#[cfg(test)]
mod tests;
