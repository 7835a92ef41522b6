//! Numbers: each must be a fact about what it is said of, in a fitting unit. A number that nothing explains
//! fails.

use super::direction::same;
use super::items::{Form, Is, Prep, Rank, Way};
use super::speech::{Scene, Speech, Topic, Verb, moves};
use super::{Claim, close};
use crate::facts::{Bound, BoundKind, SetpointFacts, Side, SignalFacts};
use crate::prose::{Number, Written};
use crate::site::Role;
use crate::twin::HORIZONS_MIN;
use crate::units::{Finite, Unit};

/// How a number is used.
struct Use {
    number: Number,
    /// It tells a change, in this direction where one is said.
    delta: bool,
    /// It may tell a change or a level: "raise the pressure 10 kPa".
    perhaps_delta: bool,
    way: Option<Way>,
    margin: bool,
    limit: Option<(Option<Side>, Option<BoundKind>)>,
    prep: Option<Prep>,
    minutes: Option<f64>,
    past: bool,
    future: bool,
    /// The clause is about setting something.
    setting: bool,
}

impl Speech<'_> {
    pub(super) fn numbers(&mut self, scene: &Scene<'_>) {
        for at in 0..scene.clause.items.len() {
            let span = Self::span(scene, at, at);
            match scene.is(at) {
                Some(Is::Odd) => {
                    self.check(
                        Claim::Unclear,
                        span,
                        Err("write quantities in plain digits with a unit".to_owned()),
                    );
                }
                Some(Is::Clock(hour, minute)) => {
                    let known = self.facts.clocks.contains(&(*hour, *minute));
                    let result = if known { Ok(()) } else { Err("no such time was shown".to_owned()) };
                    self.check(Claim::Time, span, result);
                }
                Some(Is::Number(n)) => match n.as_minutes() {
                    Some(minutes) => {
                        let known = self.facts.durations_min.iter().any(|d| same(f64::from(*d), minutes));
                        let result =
                            if known { Ok(()) } else { Err("no such span of time was shown".to_owned()) };
                        self.check(Claim::Duration, span, result);
                    }
                    None if scene.used.contains(&at) => {}
                    None => {
                        let result = self.number(scene, at, *n);
                        self.check(Claim::Number, span, result);
                    }
                },
                _ => {}
            }
        }
    }

    /// The direction that an amount belongs to: the direction, and its place in the clause (`None` when the
    /// verb is of the clause before). `None` when it belongs to none.
    pub(super) fn way_of(&self, scene: &Scene<'_>, at: usize) -> Option<(Way, Option<usize>)> {
        let way_at = |n: usize| match scene.is(n) {
            Some(Is::Way(way, _)) if !scene.crossing.contains(&n) => Some((*way, Some(n))),
            _ => None,
        };
        let by = scene.before(at) == Some(&Is::Prep(Prep::By));
        if by {
            let own = (0..at).rev().find_map(way_at);
            let carried = match self.verb {
                Some(Verb::Move(way)) => Some((way, None)),
                Some(Verb::Hold) | None => None,
            };
            return own.or(carried);
        }
        if scene.topics.iter().all(Option::is_none)
            && let Some(Verb::Move(way)) = self.verb
        {
            // "Lower CHWS now, 0.5 K."
            return Some((way, None));
        }
        let kelvin = matches!(scene.is(at), Some(Is::Number(n)) if n.unit == Some(Written::Kelvin));
        at.checked_sub(1).and_then(way_at).or_else(|| way_at(at + 1).filter(|_| kelvin))
    }

    fn number(&self, scene: &Scene<'_>, at: usize, number: Number) -> Result<(), String> {
        let prep = match scene.before(at) {
            Some(Is::Prep(p)) => Some(*p),
            _ => None,
        };
        let way = self.way_of(scene, at);
        let verb_object = at >= 2
            && matches!(scene.is(at - 1), Some(Is::Subject(_)))
            && matches!(scene.is(at - 2), Some(Is::Way(_, form)) if moves(*form) && *form != Form::Trend);
        let usage = Use {
            number,
            delta: way.is_some() || prep == Some(Prep::By),
            perhaps_delta: verb_object || number.signed,
            way: way.map(|(w, _)| w).or_else(|| match scene.is(at.checked_sub(2)?) {
                Some(Is::Way(w, _)) if verb_object => Some(*w),
                _ => None,
            }),
            margin: beside(scene, at, |is| *is == Is::Margin).is_some()
                || number.unit == Some(Written::Kelvin) && scene.any(|is| *is == Is::Margin)
                || number.unit == Some(Written::Kelvin) && short_of_limit(scene, at),
            limit: self.limit_beside(scene, at),
            prep,
            minutes: scene.time_of(at).map(|(_, _, m)| m),
            past: scene.any(|is| *is == Is::Past),
            future: (0..at).any(|n| scene.is(n) == Some(&Is::Future)),
            setting: self.verb.is_some()
                || scene.any(|is| {
                    matches!(is, Is::Way(_, form) if moves(*form))
                        || matches!(
                            is,
                            Is::Hold
                                | Is::Setpoint
                                | Is::Limit(..)
                                | Is::Prep(Prep::To | Prep::From | Prep::By)
                        )
                }),
        };
        let topic = self.topic_of(scene, at, &usage);
        if self.said_of(&topic, &usage) { Ok(()) } else { Err(self.instead(&topic, &usage)) }
    }

    /// What a number is said of: the nearest name before it that it can be said of, else the next one, else
    /// what the sentence talked about, else anything (then its unit must be written).
    fn topic_of(&self, scene: &Scene<'_>, at: usize, usage: &Use) -> Topic {
        let n = &usage.number;
        let fits = |t: &Topic| {
            let mut units = self.signals(t).map(|s| s.unit).chain(self.setpoints(t).map(|s| s.unit));
            units.any(|u| {
                n.as_level(u).is_some() || n.as_difference(u).is_some() || n.unit == Some(Written::Percent)
            }) || n.unit == Some(Written::Steps)
        };
        let before = scene.topics.get(..at).unwrap_or_default().iter().rev().flatten().find(|t| fits(t));
        let after = || scene.topics.iter().skip(at + 1).flatten().next().filter(|t| fits(t));
        let carried = || self.group.as_ref().filter(|t| fits(t));
        let everything = || Topic {
            signals: self.facts.signals.iter().map(|s| s.name.clone()).collect(),
            setpoints: self.facts.setpoints.iter().map(|s| s.name.clone()).collect(),
        };
        let named = before.or_else(after).or_else(carried).cloned();
        let about_nothing = scene.topics.iter().all(Option::is_none) && self.carry.is_none();
        let anything = about_nothing && (n.unit.is_some() || usage.margin) || usage.limit.is_some();
        named.unwrap_or_else(|| if anything { everything() } else { Topic::default() })
    }

    fn limit_beside(&self, scene: &Scene<'_>, at: usize) -> Option<(Option<Side>, Option<BoundKind>)> {
        if scene.bounds.contains(&at) {
            return Some((None, None));
        }
        let words = |is: &Is| matches!(is, Is::Limit(..) | Is::Rank(Rank::Highest | Rank::Lowest));
        let word = beside(scene, at, words)?;
        if let Is::Limit(side, kind) = word {
            return Some((*side, *kind));
        }
        let side = if *word == Is::Rank(Rank::Highest) { Side::High } else { Side::Low };
        self.of_setpoints(scene, at).then_some((Some(side), None))
    }

    fn of_setpoints(&self, scene: &Scene<'_>, at: usize) -> bool {
        let topic = scene.topic_before(at).or(self.carry.as_ref().map(|(t, _)| t));
        topic.is_some_and(|t| !t.setpoints.is_empty())
    }

    fn said_of(&self, topic: &Topic, usage: &Use) -> bool {
        if usage.number.rate {
            let n = &usage.number;
            let right = |s: &SetpointFacts| {
                n.as_difference(s.unit).is_some_and(|v| close(v, s.rate_per_min.get(), s.decimals.max(1)))
            };
            return self.setpoints(topic).any(right);
        }
        // "CHWS 9.1" is the measured one, unless the talk is of setting it.
        let measured = !topic.signals.is_empty() && !usage.setting;
        self.signals(topic).any(|s| self.said_of_signal(s, usage))
            || !measured && self.said_of_setpoints(topic, usage)
    }

    fn said_of_signal(&self, s: &SignalFacts, u: &Use) -> bool {
        let decimals = s.unit.decimals();
        let level = |v: Finite| u.number.as_level(s.unit).is_some_and(|n| close(n, v.get(), decimals));
        let difference = |v: f64| {
            u.number.as_difference(s.unit).is_some_and(|n| directed(n, v, u, |a, b| close(a, b, decimals)))
        };
        let percent = |v: Finite| {
            u.number.unit == Some(Written::Percent) && directed(u.number.value, v.get(), u, whole_percent)
        };
        let aheads = || self.aheads(s, u.minutes);
        if u.margin {
            return match (s.value, u.minutes) {
                (_, Some(_)) => aheads()
                    .iter()
                    .any(|v| margin(s, *v, u).is_some_and(|m| difference_of(&u.number, s.unit, m))),
                (Some(now), None) => margin(s, now, u).is_some_and(|m| difference_of(&u.number, s.unit, m)),
                (None, None) => false,
            };
        }
        if let Some((side, kind)) = u.limit {
            return wanted(&s.bounds, side, kind).any(|b| level(b.value));
        }
        // "A job of 300 kW": what it adds to the load.
        let is_load = s.role == Some(Role::ItLoad);
        if is_load && self.facts.jobs.iter().any(|j| level(j.kw) || difference(j.kw.get())) {
            return true;
        }
        // What happened, unless the words say that it will: "up 18 % in 10 min" is over.
        let changed = || {
            if u.future {
                let now = s.value.map(Finite::get);
                return now.is_some_and(|now| aheads().iter().any(|v| difference(v.get() - now)));
            }
            let window = |w: u32| u.minutes.is_none_or(|m| same(f64::from(w), m));
            let told = s.changes.iter().filter(|(w, _)| window(**w)).map(|(_, c)| c);
            told.into_iter().any(|c| difference(c.delta().get()) || c.percent().is_some_and(percent))
        };
        if u.delta {
            return changed();
        }
        if u.perhaps_delta && changed() {
            return true;
        }
        let from = |minutes: Option<f64>| {
            let told = s.changes.iter().filter(|(w, _)| minutes.is_none_or(|m| same(f64::from(**w), m)));
            told.into_iter().any(|(_, c)| level(c.from))
        };
        match u.minutes {
            Some(m) if u.past || u.prep == Some(Prep::From) => from(Some(m)),
            None if u.past || u.prep == Some(Prep::From) => from(None),
            Some(_) => aheads().into_iter().any(level),
            None if u.future => aheads().into_iter().any(level),
            None => s.value.is_some_and(level),
        }
    }

    /// Predicted values, whatever the setpoints, at one horizon or at any.
    fn aheads(&self, s: &SignalFacts, minutes: Option<f64>) -> Vec<Finite> {
        let wanted = |h: u32| minutes.is_none_or(|m| same(f64::from(h), m));
        let rows = &self.facts.outlook.rows;
        let values =
            rows.iter().filter_map(|r| r.ahead.get(&s.name)).flat_map(|a| HORIZONS_MIN.into_iter().zip(a));
        values.filter(|(h, _)| wanted(*h)).map(|(_, a)| a.value).collect()
    }

    fn said_of_setpoints(&self, topic: &Topic, u: &Use) -> bool {
        let mut all = self.setpoints(topic).peekable();
        if topic.setpoints.len() == self.facts.setpoints.len() {
            return all.any(|s| self.said_of_setpoint(s, u));
        }
        // Said of several setpoints at once, a number must be true of each.
        all.peek().is_some() && all.all(|s| self.said_of_setpoint(s, u))
    }

    fn said_of_setpoint(&self, s: &SetpointFacts, u: &Use) -> bool {
        let level = |v: Finite| u.number.as_level(s.unit).is_some_and(|n| close(n, v.get(), s.decimals));
        if let Some((side, kind)) = u.limit {
            let own = |side, value| Bound { side, value, kind: BoundKind::Operating };
            let bounds: Vec<Bound> =
                s.ordered.iter().copied().chain([own(Side::Low, s.min), own(Side::High, s.max)]).collect();
            return wanted(&bounds, side, kind).any(|b| level(b.value));
        }
        let as_delta = || {
            let steps = u.number.unit == Some(Written::Steps);
            self.moved(s).is_some_and(|moved| {
                if steps {
                    return directed(u.number.value, moved / s.step.get(), u, |a, b| (a - b).abs() < 1e-6);
                }
                u.number
                    .as_difference(s.unit)
                    .is_some_and(|n| directed(n, moved, u, |a, b| close(a, b, s.decimals)))
            })
        };
        if u.delta || u.number.unit == Some(Written::Steps) || u.margin {
            return !u.margin && as_delta();
        }
        let to = self.chosen.get(&s.name).is_some_and(|v| level(*v));
        let from = s.present.is_some_and(level);
        match u.prep {
            _ if u.minutes.is_some() || u.future => false,
            Some(Prep::To) => to,
            Some(Prep::From) => from,
            _ => to || from || u.perhaps_delta && as_delta(),
        }
    }

    /// What is so instead, for people.
    fn instead(&self, topic: &Topic, u: &Use) -> String {
        let signals = self
            .signals(topic)
            .take(3)
            .filter_map(|s| Some(format!("{} is {} {}", s.name, s.value?, s.unit)));
        let setpoints = self.setpoints(topic).take(3).filter_map(|s| {
            Some(format!("{} goes from {} to {} {}", s.name, s.present?, self.chosen.get(&s.name)?, s.unit))
        });
        let known: Vec<String> = signals.chain(setpoints).collect();
        let what = match (u.delta, u.margin, u.minutes) {
            (_, true, _) => "margin",
            (true, _, _) => "change",
            (_, _, Some(_)) => "value at that time",
            _ => "value",
        };
        if known.is_empty() {
            "it is not said of what".to_owned()
        } else {
            format!("no such {what}: {}", known.join(", "))
        }
    }
}

/// The item next to an amount, or one preposition away, that satisfies `test`.
fn beside<'s>(scene: &'s Scene<'_>, at: usize, test: impl Fn(&Is) -> bool) -> Option<&'s Is> {
    let skips = |is: Option<&Is>| matches!(is, Some(Is::Prep(Prep::Of)));
    let left = at.checked_sub(1).map(|n| if skips(scene.is(n)) { n.checked_sub(1) } else { Some(n) });
    let next = |n: usize| if skips(scene.is(n + 1)) { n + 2 } else { n + 1 };
    // "26.1 against its limit of 27": the limit is the number's that follows it.
    let right = Some(next(at)).filter(|n| !scene.is(next(*n)).is_some_and(Is::is_amount));
    [left.flatten(), right].into_iter().flatten().filter_map(|n| scene.is(n)).find(|is| test(is))
}

/// "0.9 K below its limit", "0.9 K from its limit".
fn short_of_limit(scene: &Scene<'_>, at: usize) -> bool {
    matches!(scene.is(at + 1), Some(Is::Compare(_) | Is::Loose(_) | Is::Prep(Prep::From)))
        && matches!(scene.is(at + 2), Some(Is::Limit(..)))
}

fn wanted(bounds: &[Bound], side: Option<Side>, kind: Option<BoundKind>) -> impl Iterator<Item = &Bound> {
    bounds.iter().filter(move |b| side.is_none_or(|s| b.side == s) && kind.is_none_or(|k| b.kind == k))
}

/// Whether `said` tells the change `real`: by its own sign, or by the direction it goes with, or else it
/// must be a rise.
fn directed(said: f64, real: f64, u: &Use, equal: impl Fn(f64, f64) -> bool) -> bool {
    match u.way {
        Some(way) => way.is_of(real) && equal(said.abs(), real.abs()) && !contradicts(u, way),
        // Half a display step must not pass for no change at all.
        None => equal(said, real) && (real.abs() > 1e-9 || said.abs() < 1e-9),
    }
}

/// "Down by +0.5".
fn contradicts(u: &Use, way: Way) -> bool {
    u.number.signed && !way.is_of(u.number.value)
}

fn difference_of(number: &Number, unit: Unit, value: f64) -> bool {
    number.as_difference(unit).is_some_and(|n| close(n, value, unit.decimals()))
}

/// The margin that the words mean: to the side they name, else to the nearest limit.
fn margin(s: &SignalFacts, value: Finite, u: &Use) -> Option<f64> {
    let side = u.limit.and_then(|(side, _)| side);
    let of = s.operating().filter(|b| side.is_none_or(|w| b.side == w)).map(|b| b.margin(value).get());
    of.min_by(f64::total_cmp)
}

/// To the nearest percent; exactly between two, the one that rounding gives.
fn whole_percent(said: f64, real: f64) -> bool {
    (said - real).abs() < 0.5 - 1e-9 || (said - real.round()).abs() < 1e-9
}
