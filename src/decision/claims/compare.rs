//! Comparisons.
//!
//! The number of a comparison need not itself be a fact ("margin under 1 K"), but it must be a known limit
//! of what is compared, or the round number next to its value: "above 26" at 26.1, not "above 20".

mod band;

use std::collections::BTreeMap;

use super::direction::same;
use super::items::{Is, Op, Prep, Rank};
use super::speech::{Scene, Speech, Topic};
use super::{Claim, close};
use crate::facts::{Bound, BoundKind, Side, SignalFacts};
use crate::prose::Number;
use crate::site::Name;
use crate::twin::{HORIZONS_MIN, Row};
use crate::units::{Finite, Unit};

impl Op {
    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Above => a > b + 1e-9,
            Self::AtLeast => a >= b - 1e-9,
            Self::Below => a < b - 1e-9,
            Self::AtMost => a <= b + 1e-9,
        }
    }

    fn upward(self) -> bool {
        matches!(self, Self::Above | Self::AtLeast)
    }
}

/// What a value is compared with.
enum Against {
    Number(Number),
    Limit(Option<Side>, Option<BoundKind>),
    Topic(Topic),
}

/// A comparison as it was said.
#[derive(Clone, Copy)]
struct Said<'a> {
    op: Op,
    against: &'a Against,
    /// Of distances to a limit, not of values.
    margin: bool,
}

impl Said<'_> {
    /// Being on the safe side is said of all values, being on the other of any.
    fn of_all(self) -> bool {
        self.op.upward() == self.margin
    }
}

/// Values of a signal in one possible future (or now): those that the words speak of.
type Reading = BTreeMap<Name, Vec<Finite>>;

impl Speech<'_> {
    /// The look-ahead for holding and, where there is one, for what was chosen.
    pub(super) fn scenarios(&self) -> Vec<&Row> {
        let moves = self.facts.moves(self.chosen);
        self.facts.outlook.rows.iter().filter(|r| r.moves.is_empty() || r.moves == moves).collect()
    }

    pub(super) fn comparisons(&mut self, scene: &mut Scene<'_>) {
        for at in 0..scene.clause.items.len() {
            match scene.is(at) {
                Some(Is::Compare(op)) => self.comparison(scene, at, *op, false),
                Some(Is::Loose(op)) => self.comparison(scene, at, *op, true),
                Some(Is::Inside(inside)) => self.inside(scene, at, *inside),
                _ => {}
            }
        }
    }

    fn comparison(&mut self, scene: &mut Scene<'_>, at: usize, op: Op, loose: bool) {
        let right =
            if matches!(scene.is(at + 1), Some(Is::Prep(Prep::Of | Prep::To))) { at + 2 } else { at + 1 };
        let against = match scene.is(right) {
            Some(Is::Number(n)) if n.as_minutes().is_some() => return,
            Some(Is::Number(_)) if is_ordered(scene, at) => {
                scene.bounds.insert(right);
                return;
            }
            Some(Is::Number(n)) => {
                let number = *n;
                scene.used.insert(right);
                Against::Number(number)
            }
            Some(Is::Limit(side, kind)) => Against::Limit(*side, *kind),
            Some(Is::Rank(Rank::Highest)) => Against::Limit(Some(Side::High), None),
            Some(Is::Rank(Rank::Lowest)) => Against::Limit(Some(Side::Low), None),
            Some(Is::Subject(_)) if !loose => match scene.topics.get(right).cloned().flatten() {
                Some(topic) => Against::Topic(topic),
                None => return,
            },
            _ if loose => return,
            _ => {
                let span = Self::span(scene, at, at);
                return self.check(
                    Claim::Unclear,
                    span,
                    Err("it is not said what it is compared with".to_owned()),
                );
            }
        };
        if let Some(before) = at.checked_sub(1)
            && matches!(scene.is(before), Some(Is::Way(..)))
        {
            scene.crossing.insert(before);
        }
        let result = self.compare(scene, at, right, op, &against);
        let span = Self::span(scene, at, right);
        self.check(Claim::Comparison, span, result);
    }

    fn compare(
        &self,
        scene: &Scene<'_>,
        at: usize,
        right: usize,
        op: Op,
        against: &Against,
    ) -> Result<(), String> {
        let own = scene.topic_before(at);
        let Some((topic, carried)) = own.map(|t| (t, false)).or(self.carry.as_ref().map(|(t, m)| (t, *m)))
        else {
            return Err("it is not said what is compared".to_owned());
        };
        let after = |n: usize| scene.is(n) == Some(&Is::Margin);
        let margin = carried || (0..at).any(after) || after(right + 1) || after(right + 2);
        let said = Said { op, against, margin };
        if topic.signals.is_empty() {
            return self.compare_setpoints(topic, said);
        }
        let result = self.compare_signals(scene, [at, right], topic, said);
        if result.is_err() && !topic.setpoints.is_empty() && !margin {
            return self.compare_setpoints(topic, said).or(result);
        }
        result
    }

    fn compare_signals(
        &self,
        scene: &Scene<'_>,
        at: [usize; 2],
        topic: &Topic,
        said: Said<'_>,
    ) -> Result<(), String> {
        let all = said.of_all();
        let readings = self.readings(scene, &at, topic, all)?;
        let mut found = Err("there is no value to compare".to_owned());
        for reading in &readings {
            let verdicts: Vec<Result<(), String>> = self
                .signals(topic)
                .map(|s| {
                    let values = reading.get(&s.name).map(Vec::as_slice).unwrap_or_default();
                    self.compare_one(s, values, said)
                })
                .collect();
            let holds =
                if all { verdicts.iter().all(Result::is_ok) } else { verdicts.iter().any(Result::is_ok) };
            if holds && !verdicts.is_empty() {
                return Ok(());
            }
            found = verdicts.into_iter().find(Result::is_err).unwrap_or(found);
        }
        found
    }

    fn compare_one(&self, s: &SignalFacts, values: &[Finite], said: Said<'_>) -> Result<(), String> {
        let Said { op, against, margin } = said;
        let name = &s.name;
        let measures: Vec<f64> = values
            .iter()
            .map(|v| if margin { s.margin_of(*v).map(|(_, m)| m.get()) } else { Some(v.get()) })
            .collect::<Option<_>>()
            .ok_or_else(|| format!("{name} has no limit to be near to"))?;
        if measures.is_empty() {
            return Err(format!("{name} has no value to compare"));
        }
        let limit = match against {
            Against::Number(n) => {
                let n = if margin { n.as_difference(s.unit) } else { n.as_level(s.unit) };
                let limit = n.ok_or_else(|| format!("{name} is measured in {}", s.unit))?;
                let known =
                    !margin && s.bounds.iter().any(|b| close(limit, b.value.get(), s.unit.decimals()));
                if !known && !measures.iter().any(|v| next_round(*v, limit, s.unit)) {
                    return Err(format!(
                        "{name} is at {}: too far off to be told by {limit}",
                        shown(&measures)
                    ));
                }
                limit
            }
            Against::Limit(side, kind) => limit_of(s, *side, *kind)
                .map(|b| b.value.get())
                .ok_or_else(|| format!("{name} has no such limit"))?,
            Against::Topic(topic) => {
                let others = self.signals(topic).filter_map(|o| o.value);
                let set = self.setpoints(topic).filter_map(|o| o.present);
                let values: Vec<f64> = if topic.signals.is_empty() {
                    set.map(Finite::get).collect()
                } else {
                    others.map(Finite::get).collect()
                };
                // Above the highest, or below the lowest, of what is named.
                let limit = if op.upward() {
                    values.into_iter().reduce(f64::max)
                } else {
                    values.into_iter().reduce(f64::min)
                };
                limit.ok_or_else(|| "there is no value to compare with".to_owned())?
            }
        };
        let right = |v: &f64| op.holds(*v, limit);
        let holds = if said.of_all() { measures.iter().all(right) } else { measures.iter().any(right) };
        if holds { Ok(()) } else { Err(format!("{name} is at {} against {limit}", shown(&measures))) }
    }

    fn compare_setpoints(&self, topic: &Topic, Said { op, against, .. }: Said<'_>) -> Result<(), String> {
        for s in self.setpoints(topic) {
            let value = self.chosen.get(&s.name).ok_or_else(|| format!("{} is not known", s.name))?.get();
            let own = |side: Option<Side>| if side == Some(Side::Low) { s.min } else { s.max };
            let limit = match against {
                Against::Number(n) => {
                    let limit =
                        n.as_level(s.unit).ok_or_else(|| format!("{} is set in {}", s.name, s.unit))?;
                    let ends = [s.min, s.max].into_iter().chain(s.ordered.iter().map(|b| b.value));
                    let known = ends.into_iter().any(|b| close(limit, b.get(), s.decimals));
                    let present = s.present.is_some_and(|p| close(limit, p.get(), s.decimals));
                    if !known && !present && !next_round(value, limit, s.unit) {
                        return Err(format!("{} goes to {value}: too far off to be told by {limit}", s.name));
                    }
                    limit
                }
                Against::Limit(side, Some(BoundKind::Ordered)) => {
                    let ordered = s.ordered.iter().find(|b| side.is_none_or(|w| w == b.side));
                    ordered.ok_or_else(|| format!("nothing is ordered for {}", s.name))?.value.get()
                }
                Against::Limit(side, _) => own(*side).get(),
                Against::Topic(_) => {
                    return Err("a setpoint can only be compared with a number or a limit".to_owned());
                }
            };
            if !op.holds(value, limit) {
                return Err(format!("{} goes to {value} against {limit}", s.name));
            }
        }
        Ok(())
    }

    /// The values that a claim speaks of: now, or ahead, in each possible future.
    fn readings(
        &self,
        scene: &Scene<'_>,
        at: &[usize],
        topic: &Topic,
        all: bool,
    ) -> Result<Vec<Reading>, String> {
        let time = at.iter().find_map(|n| scene.time_of(*n));
        let future = scene.any(|is| *is == Is::Future);
        if time.is_some() && scene.any(|is| *is == Is::Past) {
            return Err("comparisons with the past cannot be checked".to_owned());
        }
        let now = || {
            let values = self.signals(topic).filter_map(|s| Some((s.name.clone(), vec![s.value?])));
            vec![values.collect::<Reading>()]
        };
        let horizons: Vec<usize> = match time {
            None if !future => return Ok(now()),
            None => (0..HORIZONS_MIN.len()).collect(),
            Some((prep, within, minutes)) => {
                if !HORIZONS_MIN.iter().any(|h| same(f64::from(*h), minutes)) {
                    return Err(format!("no look-ahead for {minutes} min was shown"));
                }
                let span = within || prep == Some(Prep::For) || all;
                let inside =
                    |h: u32| if span { f64::from(h) <= minutes + 1e-6 } else { same(f64::from(h), minutes) };
                (0..HORIZONS_MIN.len()).filter(|n| HORIZONS_MIN.get(*n).is_some_and(|h| inside(*h))).collect()
            }
        };
        let read = |row: &Row| {
            let values = self.signals(topic).filter_map(|s| {
                let ahead = row.ahead.get(&s.name)?;
                let now = s.value.filter(|_| all);
                Some((
                    s.name.clone(),
                    now.into_iter()
                        .chain(horizons.iter().filter_map(|h| Some(ahead.get(*h)?.value)))
                        .collect(),
                ))
            });
            values.collect::<Reading>()
        };
        let rows = self.scenarios();
        if rows.is_empty() || horizons.is_empty() {
            return Err("no look-ahead for that was shown".to_owned());
        }
        Ok(rows.into_iter().map(read).collect())
    }
}

fn limit_of(s: &SignalFacts, side: Option<Side>, kind: Option<BoundKind>) -> Option<&Bound> {
    let kind = kind.unwrap_or(BoundKind::Operating);
    let of = |side| s.bounds.iter().find(|b| b.kind == kind && b.side == side);
    side.map_or_else(|| of(Side::High).or_else(|| of(Side::Low)), of)
}

fn shown(values: &[f64]) -> String {
    values.iter().map(|v| Finite::saturating(*v).rounded(3).to_string()).collect::<Vec<_>>().join(", ")
}

/// Whether `limit` is the round number next to `value` at its own coarseness: 26 for 26.1, 1 for 0.8, 800
/// for 812. No coarser than ten display steps, or a fifth
/// of the value where zero means nothing left.
fn next_round(value: f64, limit: f64, unit: Unit) -> bool {
    let step = 10f64.powi(-i32::from(unit.decimals()));
    let degrees = matches!(unit, Unit::DegC | Unit::DegF | Unit::Kelvin);
    let coarsest = (10.0 * step).max(if degrees { 0.0 } else { value.abs() / 5.0 });
    let whole = |g: f64| (limit / g - (limit / g).round()).abs() < 1e-6;
    let grain = (0..8)
        .map(|p| step * 10f64.powi(p))
        .take_while(|g| *g <= coarsest + 1e-9)
        .filter(|g| whole(*g))
        .last();
    grain.is_some_and(|g| (value - limit).abs() <= g + 1e-9)
}

/// "The operator wants at least 10": the number is a bound, of no particular thing.
fn is_ordered(scene: &Scene<'_>, at: usize) -> bool {
    let ordered = |n: usize| matches!(scene.is(n), Some(Is::Limit(_, Some(BoundKind::Ordered))));
    scene.topic_before(at).is_none() && (0..at).any(ordered)
}
