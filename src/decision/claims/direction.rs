//! Words of direction: what setpoints are said to do must be what they do, what signals are said to do must
//! be what the trend test, a change or the look-ahead says.

use super::Claim;
use super::items::{Form, Is, Prep, Way};
use super::speech::{Scene, Speech, Topic, Verb, moves};
use crate::decision::Trend;
use crate::facts::{SetpointFacts, Side, SignalFacts};
use crate::prose::Number;
use crate::site::Cools;
use crate::twin::HORIZONS_MIN;

impl Way {
    /// `true` when `amount` goes this way.
    pub(super) fn is_of(self, amount: f64) -> bool {
        match self {
            Self::Up => amount > 1e-9,
            Self::Down => amount < -1e-9,
        }
    }

    fn trend(self) -> Trend {
        match self {
            Self::Up => Trend::Rising,
            Self::Down => Trend::Falling,
        }
    }

    fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

impl Speech<'_> {
    pub(super) fn directions(&mut self, scene: &Scene<'_>) {
        let mut spoke = false;
        for at in 0..scene.clause.items.len() {
            match scene.is(at) {
                Some(Is::Way(way, form)) if !scene.crossing.contains(&at) => self.way(scene, at, *way, *form),
                Some(Is::Steady) => self.steady(scene, at),
                Some(Is::Hold) => self.hold(scene, at),
                Some(Is::Cooling(more)) => self.cooling(scene, at, *more),
                Some(Is::No { colder }) => self.none_goes(scene, at, *colder),
                _ => continue,
            }
            spoke = true;
        }
        if spoke || scene.any(|is| matches!(is, Is::Compare(_) | Is::Loose(_) | Is::Inside(_) | Is::Rank(_)))
        {
            return;
        }
        if scene.clause.listed {
            self.verb_again(scene);
        } else {
            self.verb = None;
        }
    }

    /// "Lower CHWS and CRAH supply": the verb of the clause before.
    fn verb_again(&mut self, scene: &Scene<'_>) {
        let (Some(verb), Some(topic)) = (self.verb, scene.topics.iter().flatten().next()) else { return };
        let by_or_to = scene.any(|is| matches!(is, Is::Prep(Prep::By | Prep::To)));
        let amounts = scene.any(Is::is_amount);
        if topic.setpoints.is_empty() || amounts && !by_or_to && !topic.signals.is_empty() {
            return;
        }
        let topic = topic.clone();
        self.do_verb(verb, &topic, scene, 0);
    }

    fn way(&mut self, scene: &Scene<'_>, at: usize, way: Way, form: Form) {
        let after = scene.topic_after(at);
        let before = scene.topic_before(at);
        let adjacent = matches!(scene.is(at + 1), Some(Is::Subject(_)));
        let carried = self.carry.as_ref();
        let (topic, object) = match form {
            Form::Trend => (before.or(after), false),
            Form::Move if before.is_some_and(|t| !t.setpoints.is_empty()) && !adjacent => (before, true),
            Form::Move => (after.or(before), true),
            Form::Either if adjacent => (after, true),
            Form::Either => (before.or(after), before.is_none() && after.is_some()),
        };
        let from_carry = topic.is_none();
        let Some(topic) = topic.or(carried.map(|(t, _)| t)).cloned() else {
            if moves(form) {
                self.all_move(scene, at, way);
            } else {
                let span = Self::span(scene, at, at);
                self.check(Claim::Unclear, span, Err("it is not said what does so".to_owned()));
            }
            return;
        };
        let margin = scene.any(|is| *is == Is::Margin) || from_carry && carried.is_some_and(|(_, m)| *m);
        let (sets, measures) = (!topic.setpoints.is_empty(), !topic.signals.is_empty());
        if moves(form) && object && sets || !measures {
            self.do_verb(Verb::Move(way), &topic, scene, at);
        } else if form == Form::Move {
            let span = Self::span(scene, at, at);
            let name = topic.signals.first().map_or(String::new(), ToString::to_string);
            self.check(Claim::Move, span, Err(format!("{name} is measured; it cannot be set")));
        } else if self.quantified(scene, at) {
            // The number's own check looks at its sign.
        } else {
            let mut result = match goes_to(scene, at) {
                Some(level) => self.signals_reach(way, level, &topic),
                None => self.signals_go(scene, at, way, margin, &topic),
            };
            if form == Form::Either && sets && result.is_err() {
                result = self.setpoints_go(Verb::Move(way), &topic).map(|()| self.mention(&topic));
            }
            let span = Self::span(scene, at, at);
            self.check(Claim::Trend, span, result);
        }
    }

    /// Whether an amount says how far this direction goes.
    fn quantified(&self, scene: &Scene<'_>, at: usize) -> bool {
        (0..scene.clause.items.len()).any(|n| {
            scene.is(n).is_some_and(Is::is_amount)
                && self.way_of(scene, n).is_some_and(|(_, w)| w == Some(at))
        })
    }

    fn do_verb(&mut self, verb: Verb, topic: &Topic, scene: &Scene<'_>, at: usize) {
        let result = self.setpoints_go(verb, topic);
        self.mention(topic);
        self.verb = Some(verb);
        let last = scene.clause.items.len().saturating_sub(1);
        self.check(Claim::Move, Self::span(scene, at, last), result);
    }

    fn mention(&mut self, topic: &Topic) {
        self.mentioned.extend(topic.setpoints.iter().cloned());
    }

    fn setpoints_go(&self, verb: Verb, topic: &Topic) -> Result<(), String> {
        for s in self.setpoints(topic) {
            let moved = self.moved(s).ok_or_else(|| format!("the present {} is not known", s.name))?;
            let right = match verb {
                Verb::Move(way) => way.is_of(moved),
                Verb::Hold => moved.abs() < 1e-9,
            };
            if !right {
                return Err(move_text(s, moved));
            }
        }
        Ok(())
    }

    /// A verb without an object: something moves so, and nothing the other way.
    fn all_move(&mut self, scene: &Scene<'_>, at: usize, way: Way) {
        let moved: Vec<f64> = self.facts.setpoints.iter().filter_map(|s| self.moved(s)).collect();
        let result = if moved.iter().any(|m| way.is_of(*m)) && !moved.iter().any(|m| way.opposite().is_of(*m))
        {
            Ok(())
        } else {
            Err("the setpoints do not all move so: name the one that does".to_owned())
        };
        let span = Self::span(scene, at, at);
        self.check(Claim::Move, span, result);
    }

    /// How far a setpoint moves towards more cooling, or less.
    fn toward(&self, more: bool, s: &SetpointFacts) -> Option<f64> {
        let moved = self.moved(s)?;
        Some(if (s.cools == Cools::Up) == more { moved } else { -moved })
    }

    /// "No colder": of the setpoints that are named, or of all.
    fn none_goes(&mut self, scene: &Scene<'_>, at: usize, colder: bool) {
        let span = Self::span(scene, at, at);
        let topic = scene.topic_after(at).or_else(|| scene.topic_before(at));
        let spoken_of = |s: &&SetpointFacts| topic.is_none_or(|t| t.setpoints.contains(&s.name));
        let result = if topic.is_some_and(|t| t.setpoints.is_empty()) {
            Err("what is measured cannot be held back: say what it does".to_owned())
        } else {
            let wrong = |s: &SetpointFacts| match self.toward(colder, s) {
                None => Some(format!("the present {} is not known", s.name)),
                Some(moved) if moved > 1e-9 => {
                    Some(format!("{} becomes {}", s.name, if colder { "colder" } else { "warmer" }))
                }
                Some(_) => None,
            };
            self.facts.setpoints.iter().filter(spoken_of).find_map(wrong).map_or(Ok(()), Err)
        };
        self.check(Claim::Move, span, result);
    }

    fn cooling(&mut self, scene: &Scene<'_>, at: usize, more: bool) {
        let moved: Vec<f64> = self.facts.setpoints.iter().filter_map(|s| self.toward(more, s)).collect();
        let result = if moved.iter().any(|m| *m > 1e-9) && moved.iter().all(|m| *m > -1e-9) {
            Ok(())
        } else {
            Err("the setpoints do not all move so".to_owned())
        };
        let span = Self::span(scene, at, at);
        self.check(Claim::Move, span, result);
    }

    fn hold(&mut self, scene: &Scene<'_>, at: usize) {
        if scene.any(|is| matches!(is, Is::Compare(_) | Is::Loose(_) | Is::Inside(_))) {
            return; // "keep the inlet below 27" is a comparison.
        }
        let span = Self::span(scene, at, scene.clause.items.len().saturating_sub(1));
        let topic = scene.topic_after(at).or_else(|| scene.topic_before(at)).cloned();
        match topic {
            Some(topic) if !topic.setpoints.is_empty() => self.do_verb(Verb::Hold, &topic, scene, at),
            // "Keeps the inlet at 26.5": the number is checked.
            Some(_) if scene.any(Is::is_amount) => {}
            Some(topic) => {
                let result = self.trends_are(&topic, Trend::Steady);
                self.check(Claim::Trend, span, result);
            }
            None if scene.any(|is| *is == Is::Rest) => {} // Checked when the whole text has been read.
            None => {
                let all = Topic {
                    signals: Vec::new(),
                    setpoints: self.facts.setpoints.iter().map(|s| s.name.clone()).collect(),
                };
                self.do_verb(Verb::Hold, &all, scene, at);
            }
        }
    }

    fn steady(&mut self, scene: &Scene<'_>, at: usize) {
        if scene.any(|is| *is == Is::Hold) {
            return;
        }
        let span = Self::span(scene, at, at);
        let topic =
            scene.topic_before(at).or_else(|| scene.topic_after(at)).or(self.carry.as_ref().map(|(t, _)| t));
        match topic.cloned() {
            None => self.check(Claim::Unclear, span, Err("it is not said what is steady".to_owned())),
            Some(topic) if topic.signals.is_empty() => self.do_verb(Verb::Hold, &topic, scene, at),
            Some(topic) => {
                let result = self.trends_are(&topic, Trend::Steady);
                self.check(Claim::Trend, span, result);
            }
        }
    }

    fn trends_are(&self, topic: &Topic, trend: Trend) -> Result<(), String> {
        match self.signals(topic).find(|s| s.value.is_none() || s.trend != trend) {
            None => Ok(()),
            Some(s) if s.value.is_none() => Err(format!("{} has no good value", s.name)),
            Some(s) => Err(format!("{} is {}", s.name, s.trend.as_str())),
        }
    }

    fn signals_go(
        &self,
        scene: &Scene<'_>,
        at: usize,
        way: Way,
        margin: bool,
        topic: &Topic,
    ) -> Result<(), String> {
        let way_for = |s: &SignalFacts| match s.margin() {
            Some((bound, _)) if margin && bound.side == Side::High => Ok(way.opposite()),
            None if margin => Err(format!("{} has no limit to be near to", s.name)),
            _ => Ok(way),
        };
        let time = scene.time_of(at);
        let future = scene.any(|is| *is == Is::Future);
        for s in self.signals(topic) {
            let way = way_for(s)?;
            let right = match time {
                Some((_, within, minutes)) if within || future => {
                    self.comes(s, Some(minutes)).iter().any(|c| way.is_of(*c))
                }
                Some((_, _, minutes)) => changed(s, minutes).is_some_and(|c| way.is_of(c)),
                None if future => self.comes(s, None).iter().any(|c| way.is_of(*c)),
                None => s.value.is_some() && s.trend == way.trend(),
            };
            if !right {
                return Err(match time {
                    None if !future => format!("{} is {}", s.name, s.trend.as_str()),
                    _ => format!("{} does not", s.name),
                });
            }
        }
        Ok(())
    }

    fn signals_reach(&self, way: Way, level: Number, topic: &Topic) -> Result<(), String> {
        let reaches = |s: &SignalFacts| {
            let from = s.changes.values().map(|c| c.from).chain(s.value);
            level.as_level(s.unit).is_some_and(|to| from.into_iter().any(|v| way.is_of(to - v.get())))
        };
        if self.signals(topic).any(reaches) {
            Ok(())
        } else {
            Err(format!("{} is the other way", level.value))
        }
    }

    /// How much a signal will change, when held and as chosen, at one horizon or at the last.
    fn comes(&self, s: &SignalFacts, minutes: Option<f64>) -> Vec<f64> {
        let at = minutes.map_or(HORIZONS_MIN.len() - 1, |m| {
            HORIZONS_MIN.iter().position(|h| same(f64::from(*h), m)).unwrap_or(usize::MAX)
        });
        let Some(now) = s.value else { return Vec::new() };
        let rows = self.scenarios();
        rows.iter().filter_map(|r| Some(r.ahead.get(&s.name)?.get(at)?.value.get() - now.get())).collect()
    }
}

pub(super) fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

fn move_text(s: &SetpointFacts, moved: f64) -> String {
    if moved.abs() < 1e-9 {
        format!("{} stays", s.name)
    } else {
        format!("{} moves by {:+.*} {}", s.name, usize::from(s.decimals), moved, s.unit)
    }
}

/// "Falls to 25.4": the level, which the number's own check confirms.
fn goes_to(scene: &Scene<'_>, at: usize) -> Option<Number> {
    match (scene.is(at + 1), scene.is(at + 2)) {
        (Some(Is::Prep(Prep::To)), Some(Is::Number(n))) if n.as_minutes().is_none() => Some(*n),
        _ => None,
    }
}

/// How much a signal changed over a window.
fn changed(s: &SignalFacts, minutes: f64) -> Option<f64> {
    s.changes.iter().find(|(w, _)| same(f64::from(**w), minutes)).map(|(_, c)| c.delta().get())
}
