//! Receding-horizon control on the twin: at every cadence, where the setpoints should go so that the half
//! hour ahead, and the rest that follows it, cost least; the first step of the way there is proposed.
//!
//! The cost is in kilowatts: the predicted facility power (cooling power and what the IT draws more when it
//! gets warmer; where facility power is not measured, cooling power alone), a share of the cooling power
//! again, and penalties where a temperature, widened by what is not sure of it, comes within a margin of its
//! limits. Moving costs a little, so that nothing chatters. The search moves one setpoint or two at a time,
//! in strides that shrink to the register's step, along ways that the guard's own pace allows.
//!
//! While the twin does not know the temperatures with limits well, nothing is proposed and trim and respond
//! acts.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Policy, Seen};
use crate::envelope::no_warming;
use crate::frame::Frame;
use crate::site::{Cools, Name, Role, Setpoint, Site};
use crate::twin::{Lookahead, Path, Trajectory};
use crate::units::Finite;

/// Minutes of a row of a plan, and rows until the horizon.
const ROW_MIN: f64 = 5.0;
const ROWS: usize = 6;
/// Strides in register steps, coarse first.
const STRIDES: [f64; 4] = [8.0, 4.0, 2.0, 1.0];
/// Temperatures are kept this far inside their limits, K; what follows the load at once is kept further, and a
/// bath's mass takes part of that. On top comes what is not sure of the forecast.
const MARGIN_K: f64 = 1.0;
const LIQUID_MARGIN_K: f64 = 3.0;
const BATH_MARGIN_K: f64 = 1.25;
/// Chips: from where they throttle, and from what they may not pass.
const THROTTLE_MARGIN_K: f64 = 2.0;
const CHIP_MARGIN_K: f64 = 8.0;
/// Standard deviations that are kept free where the load is felt before any setpoint answers, of air and liquid
/// supplies: a job that starts is no usual error of the forecast. Elsewhere one.
const FAST_DEVIATIONS: f64 = 2.5;
/// A kelvin beyond a margin, as a share of the IT power.
const PER_K: f64 = 0.03;
/// The cooling power counts again by this share: it is what the operator of the plant is measured by.
const COOLING_AGAIN: f64 = 1.0;
/// Of a kilowatt, how much counts once settled; the rest counts on the way.
const SETTLED: f64 = 0.6;
/// A kilowatt of uncertainty about what a move would save is worth this much: what is never tried is never
/// known.
const CURIOSITY: f64 = 0.5;
/// A step moved, as a share of the cooling power.
const PER_STEP: f64 = 0.006;

#[derive(Clone, Debug)]
pub(super) struct Mpc;

impl Policy for Mpc {
    fn observe(&mut self, _frame: &Frame) {}

    fn stand_by(&mut self) {}

    fn propose(&mut self, _now: Timestamp, seen: &Seen<'_>) -> Option<BTreeMap<Name, Finite>> {
        let ahead = seen.twin.lookahead(seen.frame)?;
        let search = Search::new(seen, &ahead)?;
        let goal = search.best();
        let moved = search.axes.iter().zip(&goal).filter_map(|(axis, to)| {
            let next = axis.way(*to).first().copied()?;
            // Small moves add up until a register's step is worth writing.
            let whole = if (to - axis.now).abs() < axis.step - 1e-9 { axis.now } else { *to };
            let first = if (next - axis.now).abs() >= axis.step - 1e-9 {
                next
            } else {
                axis.now + (whole - axis.now).clamp(-axis.step, axis.step)
            };
            Some((axis.name.clone(), Finite::new(first)?.rounded(3)))
        });
        Some(moved.collect())
    }
}

/// A setpoint to be chosen.
struct Axis {
    name: Name,
    /// Its place among the twin's setpoints.
    index: usize,
    now: f64,
    low: f64,
    high: f64,
    /// The least move worth a write.
    step: f64,
    /// The most it goes up, and down, in a row of a plan.
    up: f64,
    down: f64,
}

impl Axis {
    /// `warm`: the guard lets nothing run warmer now.
    fn new(index: usize, s: &Setpoint, seen: &Seen<'_>, warm: bool) -> Option<Self> {
        let now = seen.frame.good(&s.name)?;
        let ordered: Vec<_> = seen.limits.iter().filter(|l| l.setpoint == s.name).collect();
        if ordered.iter().any(|l| l.hold) {
            return None;
        }
        let floor = ordered.iter().filter_map(|l| l.floor).fold(s.min, Finite::max);
        let floor = super::coldest(seen, s).map_or(floor, |coldest| floor.max(coldest.min(now)));
        let ceiling = ordered.iter().filter_map(|l| l.ceiling).fold(s.max, Finite::min).max(floor);
        let (floor, ceiling) = match s.cools {
            Cools::Down if warm => (floor.min(now), ceiling.min(now)),
            Cools::Up if warm => (floor.max(now), ceiling.max(now)),
            Cools::Down | Cools::Up => (floor, ceiling),
        };
        let span = s.span();
        let e = &seen.site.envelope;
        let pace = |pct: Finite| (span * pct.get() / 100.0).min(s.rate_per_min.get() * ROW_MIN);
        let (warmer, colder) = (pace(e.warming_pct_5min), pace(e.cooling_pct_5min));
        let (up, down) = if s.cools == Cools::Down { (warmer, colder) } else { (colder, warmer) };
        let step = s.least_move().get();
        Some(Self {
            name: s.name.clone(),
            index,
            now: now.get(),
            low: floor.get(),
            high: ceiling.get(),
            step,
            up,
            down,
        })
    }

    /// The rows on the way to a goal, and the goal itself last.
    fn way(&self, goal: f64) -> [f64; ROWS + 1] {
        let mut at = self.now;
        let mut way = [goal; ROWS + 1];
        for row in way.iter_mut().take(ROWS) {
            at += (goal - at).clamp(-self.down, self.up);
            *row = at;
        }
        way
    }
}

/// Predictions that count.
enum Term {
    Facility,
    Cooling,
    Within(Held),
}

struct Search<'a> {
    ahead: &'a Lookahead<'a>,
    axes: Vec<Axis>,
    /// By place among the twin's outputs.
    terms: Vec<(usize, Term)>,
    hold: Trajectory,
    it_kw: f64,
    cooling_kw: f64,
}

impl<'a> Search<'a> {
    /// `None` where the twin cannot say what has limits, or what anything costs.
    fn new(seen: &Seen<'_>, ahead: &'a Lookahead<'a>) -> Option<Self> {
        let site = seen.site;
        let hold = ahead.run(&[ahead.setpoints().to_vec()]);
        let full = ahead.at_most_load();
        let mut terms = Vec::new();
        for (index, (output, path)) in ahead.outputs().iter().zip(&hold.signals).enumerate() {
            let limits = limits(site, &output.name, output.role);
            match (output.role, limits, path) {
                (_, Some(held), Some(path)) => {
                    let full = full.as_ref().and_then(|f| f.signals.get(index).copied().flatten());
                    let more = full.map(|full| full.less(path));
                    terms.push((index, Term::Within(Held { more, ..held })));
                }
                // Blind to what has limits and is there to be seen.
                (_, Some(_), None) if seen.frame.good(&output.name).is_some() => return None,
                (Role::CoolingPower, _, Some(_)) => terms.push((index, Term::Cooling)),
                (Role::FacilityPower, _, Some(_)) => terms.push((index, Term::Facility)),
                _ => {}
            }
        }
        if !terms.iter().any(|(_, t)| matches!(t, Term::Facility | Term::Cooling)) {
            return None;
        }
        let total = |role| {
            site.with_role(role).filter_map(|s| seen.frame.good(&s.name)).map(Finite::get).sum::<f64>()
        };
        let warm = no_warming(site, seen.frame);
        let setpoints = site.setpoints.iter().enumerate();
        let axes = setpoints.filter_map(|(i, s)| Axis::new(i, s, seen, warm)).collect();
        let (it_kw, cooling_kw) = (total(Role::ItLoad).max(1.0), total(Role::CoolingPower).max(1.0));
        Some(Self { ahead, axes, terms, hold, it_kw, cooling_kw })
    }

    /// Where each axis should go.
    fn best(&self) -> Vec<f64> {
        let mut goal: Vec<f64> = self.axes.iter().map(|a| a.now.clamp(a.low, a.high)).collect();
        let mut least = self.cost(&goal);
        for stride in STRIDES {
            let mut moved = true;
            let mut rounds = 0;
            while moved && rounds < ROWS {
                moved = false;
                rounds += 1;
                for by in self.moves() {
                    let axes = self.axes.iter().zip(&goal).zip(&by);
                    let next: Vec<f64> =
                        axes.map(|((a, at), by)| (at + by * stride * a.step).clamp(a.low, a.high)).collect();
                    let cost = self.cost(&next);
                    if cost < least - 1e-9 {
                        (goal, least, moved) = (next, cost, true);
                    }
                }
            }
        }
        goal
    }

    /// Each axis a stride up or down, and each two of them: along a limit nothing is gained by one alone, as
    /// less flow needs a colder supply.
    fn moves(&self) -> Vec<Vec<f64>> {
        let n = self.axes.len();
        let one = |i: usize| move |by: f64| (0..n).map(|k| if k == i { by } else { 0.0 }).collect::<Vec<_>>();
        let sum = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(&b).map(|(a, b)| a + b).collect::<Vec<_>>();
        let mut moves = Vec::new();
        for i in 0..n {
            moves.extend([-1.0, 1.0].map(one(i)));
            for j in i + 1..n {
                for a in [-1.0, 1.0] {
                    moves.extend([-1.0, 1.0].map(|b| sum(one(i)(a), one(j)(b))));
                }
            }
        }
        moves
    }

    fn cost(&self, goal: &[f64]) -> f64 {
        let mut rows = vec![self.ahead.setpoints().to_vec(); ROWS + 1];
        let mut steps = 0.0;
        for (axis, to) in self.axes.iter().zip(goal) {
            steps += (to - axis.now).abs() / axis.step;
            for (row, value) in rows.iter_mut().zip(axis.way(*to)) {
                if let Some(slot) = row.get_mut(axis.index) {
                    *slot = value;
                }
            }
        }
        let course = self.ahead.run(&rows);
        let facility = self.terms.iter().any(|(_, t)| matches!(t, Term::Facility));
        let term = |(index, term): &(usize, Term)| {
            let Some(path) = course.signals.get(*index).copied().flatten() else { return 0.0 };
            let mean = path.values.iter().sum::<f64>() / path.values.len() as f64;
            let [.., unsure] = path.sigmas;
            let before = self.hold.signals.get(*index).copied().flatten().map_or(unsure, |h| h.sigmas[3]);
            let power = mean + SETTLED * (path.rest - mean) - CURIOSITY * (unsure - before).max(0.0);
            match term {
                Term::Cooling if facility => COOLING_AGAIN * power,
                Term::Facility | Term::Cooling => power,
                Term::Within(held) => PER_K * self.it_kw * held.beyond(&path),
            }
        };
        self.terms.iter().map(term).sum::<f64>() + PER_STEP * self.cooling_kw * steps
    }
}

/// What a temperature is kept inside.
struct Held {
    low: f64,
    high: f64,
    margin: f64,
    /// How many standard deviations of the forecast it is kept further below its highest.
    deviations: f64,
    /// How much warmer it would be under the most load of late, at each step and at rest.
    more: Option<Path>,
}

impl Held {
    /// How far outside, K: the worst of the way, and the rest, a little more than proportional.
    fn beyond(&self, path: &Path) -> f64 {
        let out = |value: f64, sigma: f64, more: f64| {
            // No further than the most load of late would bring it: more heat does not come.
            let unsure = (self.deviations * sigma).min(more.max(0.0));
            (value + self.margin + unsure - self.high).max(self.low + sigma - value).max(0.0)
        };
        let more = self.more.map_or([f64::INFINITY; ROWS], |m| m.values);
        let way = path.values.iter().zip(more).enumerate().map(|(k, (v, more))| out(*v, path.sigma(k), more));
        let rest = out(path.rest, path.sigma(ROWS - 1), self.more.map_or(f64::INFINITY, |m| m.rest));
        let worst = way.fold(rest, f64::max);
        worst + worst * worst
    }
}

/// The lowest and highest that a temperature may be, and how far from it it is kept, whatever the load.
fn limits(site: &Site, name: &Name, role: Role) -> Option<Held> {
    let s = site.signal(name)?;
    let held = |low, high, margin, deviations| Some(Held { low, high, margin, deviations, more: None });
    match (role, s.band) {
        (Role::ItInlet, Some([low, high])) => {
            // The guard warms nothing from its own line on: no use in living there.
            let top = high.min(site.envelope.no_warming_at.plus(MARGIN_K / 2.0));
            held(low.get(), top.get(), MARGIN_K, FAST_DEVIATIONS)
        }
        (Role::LiquidSupply, Some([low, high])) => {
            held(low.get(), high.get(), LIQUID_MARGIN_K, FAST_DEVIATIONS)
        }
        (Role::Bath, Some([low, high])) => held(low.get(), high.get(), BATH_MARGIN_K, 1.0),
        (Role::ChipTemp, band) => {
            // A band says where the chips throttle; what is allowable, where they break.
            let cool = band.map(|[_, top]| top.get() - THROTTLE_MARGIN_K);
            let safe = site.envelope.chip_allowable.map(|top| top.get() - CHIP_MARGIN_K);
            held(f64::NEG_INFINITY, cool.into_iter().chain(safe).reduce(f64::min)?, 0.0, 1.0)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(value: f64, sigma: f64) -> Path {
        Path { values: [value; ROWS], rest: value, sigmas: [sigma; 4] }
    }

    #[test]
    fn what_is_not_sure_counts_as_far_as_a_load_can_still_rise() {
        let beyond = |deviations: f64, more: f64| {
            let more = Some(path(more, 0.0));
            let held = Held { low: 18.0, high: 26.0, margin: 0.5, deviations, more };
            held.beyond(&path(25.0, 0.5))
        };
        assert!(beyond(1.0, 9.0).abs() < 1e-9, "25.0 + 0.5 + 0.5 is not above 26");
        assert!((beyond(2.0, 9.0) - (0.5 + 0.25)).abs() < 1e-9);
        assert!(beyond(2.0, 0.5).abs() < 1e-9, "all the heat there is brings half a kelvin");
        assert!(beyond(2.0, -1.0).abs() < 1e-9, "a load at its most can only fall");
    }
}
