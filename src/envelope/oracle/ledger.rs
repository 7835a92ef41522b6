//! The oracle's own history: the same events as the guard's memory, kept independently.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::physics;
use crate::actuate::{Outcome, Written};
use crate::envelope::{Memory, Target};
use crate::frame::{Doubt, Frame, Quality, Sample};
use crate::site::{Name, Role, Setpoint, Site, WordType};

#[derive(Clone, Default)]
pub(super) struct Past {
    pub(super) holds: Option<f64>,
    pub(super) changed_at: Option<Timestamp>,
    pub(super) sent: BTreeMap<i64, u32>,
    pub(super) hold_until: Option<Timestamp>,
    /// The setpoint in force: how near it has come, and when it last came nearer.
    nearest: Option<f64>,
    nearer_at: Option<Timestamp>,
    pub(super) stuck: bool,
}

#[derive(Clone, Default)]
pub(super) struct Ledger {
    pub(super) past: BTreeMap<Name, Past>,
    pub(super) first: Option<Timestamp>,
    /// Since when the plant is the agent's.
    pub(super) taken: Option<Timestamp>,
    pub(super) latest: Option<Timestamp>,
    seen_at: BTreeMap<Role, Timestamp>,
    pub(super) emergency: bool,
    /// Since when some inlet has been at or above `cool_at`.
    pub(super) hot_since: Option<Timestamp>,
    hot: BTreeSet<Name>,
    running: Option<f64>,
    pub(super) starts: Vec<Timestamp>,
    pub(super) stop: Option<Timestamp>,
}

/// The most a signal may be; `None` where it is not believed.
pub(super) fn highest(frame: &Frame, name: &Name) -> Option<f64> {
    let sample: &Sample = frame.signals.get(name)?;
    match sample.quality {
        Quality::Good => sample.value.map(crate::units::Finite::get),
        Quality::Stale => sample.worst.map(|w| w.high.get()),
        Quality::Suspect | Quality::Missing => None,
    }
}

pub(super) fn good(sample: Option<&Sample>) -> Option<f64> {
    sample.filter(|s| s.quality == Quality::Good)?.value.map(crate::units::Finite::get)
}

impl Past {
    fn forget(&mut self) {
        (self.holds, self.nearest, self.nearer_at, self.stuck) = (None, None, None, false);
    }

    /// Whether the setpoint in force comes nearer to its register, or has arrived.
    fn watch(&mut self, s: &Setpoint, now: Timestamp, frame: &Frame) {
        let Some(sample) = frame.active.get(&s.name) else { return };
        let since_write = self.changed_at.map_or(f64::INFINITY, |t| now.duration_since(t).as_secs_f64());
        let (Some(holds), Some(active), Some(age)) = (self.holds, good(Some(sample)), sample.age_s) else {
            return;
        };
        if since_write <= age.get() {
            return;
        }
        let off = (holds - active).abs();
        if off <= 0.5 * s.step.get() {
            (self.nearest, self.nearer_at, self.stuck) = (None, None, false);
            return;
        }
        let before = self.nearest.unwrap_or(off);
        self.nearest = Some(before.min(off));
        if before - off > 0.05 * s.step.get() || self.nearer_at.is_none() {
            self.nearer_at = Some(now);
        } else {
            self.nearest = Some(before);
        }
        let waited = self.nearer_at.map_or(0.0, |t| now.duration_since(t).as_secs_f64());
        self.stuck |= waited >= s.follow_within.as_secs_f64();
    }
}

impl Ledger {
    pub(super) fn now(&self, now: Timestamp) -> Timestamp {
        self.latest.map_or(now, |t| t.max(now))
    }

    /// `theirs` is asked only where what counts as a change at the panel is a matter of rounding.
    pub(super) fn observe(&mut self, site: &Site, now: Timestamp, frame: &Frame, theirs: &Memory) {
        if let Some(latest) = self.latest.filter(|t| *t > now) {
            self.clock_went_back(now, latest.duration_since(now));
        }
        self.latest = Some(now);
        self.first = self.first.or(Some(now));
        for signal in &site.signals {
            let (Some(value), Some(role)) = (good(frame.signals.get(&signal.name)), signal.role) else {
                continue;
            };
            self.seen_at.insert(role, now);
            if role == Role::ChillersOn {
                match self.running {
                    Some(before) if value > before => self.starts.push(now),
                    Some(before) if value < before => self.stop = Some(now),
                    Some(_) | None => {}
                }
                self.running = Some(value);
            }
        }
        self.emergency = self.is_emergency(site, now, frame);
        let hot = site
            .with_role(Role::ItInlet)
            .filter_map(|s| highest(frame, &s.name))
            .any(|t| t >= site.envelope.cool_at.get());
        self.hot_since = hot.then(|| self.hot_since.unwrap_or(now));
        for s in &site.setpoints {
            let past = self.past.entry(s.name.clone()).or_default();
            past.hold_until = past.hold_until.filter(|t| now < *t);
            let sample = frame.setpoints.get(&s.name);
            let age = sample.and_then(|s| s.age_s).map(crate::units::Finite::get);
            let fresh = past
                .changed_at
                .is_none_or(|t| age.is_some_and(|age| now.duration_since(t).as_secs_f64() > age));
            let rounding = f64::from(s.read_back_tolerance);
            let beyond = [Some(Doubt::OutOfRange), Some(Doubt::WrongUnit)];
            let another = |shown: &&Sample| {
                let apart = |(holds, v): (f64, crate::units::Finite)| {
                    (holds - v.get()).abs() > (rounding + 0.6) * physics::count(s)
                };
                past.holds.zip(shown.value).is_some_and(apart)
            };
            if fresh && sample.filter(another).is_some_and(|shown| beyond.contains(&shown.doubt)) {
                past.forget();
                past.hold_until = Some(now + site.envelope.manual_hold);
            }
            if let (Some(holds), Some(shown), true) = (past.holds, good(sample), fresh) {
                let (surely, surely_not) = if s.register.word_type == WordType::Float32 {
                    (s.step.get() / 10.0, s.step.get() / 40.0)
                } else {
                    (physics::count(s) * (rounding + 0.6), physics::count(s) * (rounding + 0.4))
                };
                let difference = (holds - shown).abs();
                let changed = difference > surely
                    || (difference > surely_not && theirs.new_manual_holds().contains(&s.name));
                if changed {
                    past.holds = Some(shown);
                    past.hold_until = Some(now + site.envelope.manual_hold);
                    past.nearest = None;
                }
            }
            let seen = self.taken.zip(age).is_some_and(|(t, age)| now.duration_since(t).as_secs_f64() > age);
            if past.holds.is_none() && fresh && seen {
                past.holds = good(sample);
            }
            past.watch(s, now, frame);
        }
    }

    pub(super) fn after(&mut self, site: &Site, now: Timestamp, outcome: &Outcome) {
        let now = self.now(now);
        for w in &outcome.writes {
            match &w.target {
                Target::Setpoint(name) if w.tries > 0 => {
                    let Some(s) = site.setpoint(name) else { continue };
                    let past = self.past.entry(name.clone()).or_default();
                    past.changed_at = Some(now);
                    past.nearest = None;
                    *past.sent.entry(now.as_second().div_euclid(86_400)).or_default() += w.tries;
                    past.holds = (w.result == Written::Applied)
                        .then(|| physics::decode(s, w.words.as_slice()))
                        .flatten();
                }
                Target::Enable => self.past.values_mut().for_each(Past::forget),
                Target::Setpoint(_) | Target::Heartbeat => {}
            }
        }
    }

    fn clock_went_back(&mut self, now: Timestamp, by: SignedDuration) {
        let back = |t: &mut Timestamp| *t = (*t).min(now);
        self.first.iter_mut().for_each(back);
        self.taken.iter_mut().for_each(back);
        self.hot_since.iter_mut().for_each(back);
        self.seen_at.values_mut().for_each(back);
        // What is an hour old does not get younger by a clock that is put back.
        self.starts.retain(|t| now.duration_since(*t) + by < SignedDuration::from_hours(1));
        self.starts.iter_mut().for_each(back);
        self.stop.iter_mut().for_each(back);
        for past in self.past.values_mut() {
            past.changed_at.iter_mut().for_each(back);
            past.nearer_at.iter_mut().for_each(back);
            past.hold_until = past.hold_until.map(|t| t.checked_sub(by).unwrap_or(now));
        }
    }

    fn is_emergency(&mut self, site: &Site, now: Timestamp, frame: &Frame) -> bool {
        let e = &site.envelope;
        let liquid = e.liquid_allowable.map(|l| (l.get(), l.get() - 5.0));
        let chip = e.chip_allowable.map(|l| (l.get(), l.get() - 5.0));
        let air = Some((e.inlet_allowable[1].get(), e.inlet_recommended[1].get()));
        let kinds = [
            (Role::ItInlet, air),
            (Role::LiquidSupply, liquid),
            (Role::Bath, liquid),
            (Role::ChipTemp, chip),
        ];
        let mut over = false;
        for (role, limits) in kinds {
            let Some((limit, hand_back)) = limits else { continue };
            let known: Vec<(&Name, f64)> =
                site.with_role(role).filter_map(|s| Some((&s.name, highest(frame, &s.name)?))).collect();
            for (name, value) in &known {
                if *value > limit {
                    self.hot.insert((*name).clone());
                }
                if *value <= hand_back {
                    self.hot.remove(*name);
                }
                over |= *value > limit || (self.emergency && *value > hand_back);
            }
            let patience = if self.emergency { 0.0 } else { 180.0 };
            let dark =
                self.seen_at.get(&role).is_some_and(|t| now.duration_since(*t).as_secs_f64() > patience);
            over |= known.is_empty() && dark;
        }
        over || !self.hot.is_empty()
    }
}
