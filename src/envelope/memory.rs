//! What the guard remembers between frames: what it wrote, when, and what is latched. A value like any
//! other: [`Guard::observe`](super::Guard::observe) and [`Guard::after`](super::Guard::after) make a new one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::frame::Sample;
use crate::site::{Name, Role, Setpoint, Site};
use crate::units::Finite;

/// See the module.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    pub(super) slots: BTreeMap<Name, Slot>,
    /// The latest time seen: an earlier one counts as this.
    pub(super) latest: Option<Timestamp>,
    /// The first time seen: before that, nothing is known of how a setpoint moved.
    pub(super) first: Option<Timestamp>,
    /// When each role last had a good value.
    pub(super) last_good: BTreeMap<Role, Timestamp>,
    pub(super) emergency: Option<Emergency>,
    pub(super) chillers: Chillers,
    /// Since when the worst inlet has been at or above `cool_at`.
    pub(super) hot_since: Option<Timestamp>,
    /// Since when the plant is the agent's.
    pub(super) held_since: Option<Timestamp>,
    /// The latest frame shows that it is not, whatever the agent holds.
    pub(super) switched_off: bool,
    pub(super) new_manual_holds: Vec<Name>,
    pub(super) new_laggards: Vec<Name>,
}

/// An emergency, latched.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Emergency {
    pub(super) why: String,
    /// Signals over their limits that have not been seen below their hand-back since.
    pub(super) hot: BTreeSet<Name>,
}

/// One setpoint's past.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Slot {
    /// What its register was last known to hold while the plant is the agent's: as found, as written and confirmed, or
    /// as changed at the plant after that.
    pub(super) holds: Option<Finite>,
    pub(super) changed_at: Option<Timestamp>,
    pub(super) sent: Sent,
    /// Left alone until then: somebody changed it at the plant.
    pub(super) manual_until: Option<Timestamp>,
    /// The setpoint in force is not the one in the register.
    pub(super) lag: Option<Lag>,
}

/// How often a register was written, by day since the epoch. More than one day, because a clock may go back
/// over midnight and come again.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sent(BTreeMap<i64, u32>);

impl Sent {
    /// Enough for a clock that goes astray and is put right.
    const DAYS: usize = 4;

    pub(super) fn on(&self, at: Timestamp) -> u32 {
        self.0.get(&day(at)).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, at: Timestamp, tries: u32) {
        let today = day(at);
        let count = self.0.entry(today).or_default();
        *count = count.saturating_add(tries);
        let oldest = self.0.keys().copied().find(|d| *d != today);
        if let Some(oldest) = oldest.filter(|_| self.0.len() > Self::DAYS) {
            self.0.remove(&oldest);
        }
    }
}

/// How far the setpoint in force is behind its register.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Lag {
    /// The nearest that it has come to the present target.
    closest: Option<f64>,
    /// When it last came nearer.
    since: Timestamp,
    /// It has not come nearer for too long; stays until it arrives.
    pub(super) stuck: bool,
}

impl Slot {
    /// Compares the setpoint in force with the register. True when it has now failed to come nearer for as
    /// long as the site gives it: acknowledged, not applied.
    pub(super) fn follow(&mut self, s: &Setpoint, now: Timestamp, active: Finite) -> bool {
        let Some(holds) = self.holds else { return false };
        let distance = (holds.get() - active.get()).abs();
        if distance <= s.step.get() / 2.0 {
            self.lag = None;
            return false;
        }
        let lag = self.lag.get_or_insert(Lag { closest: None, since: now, stuck: false });
        match lag.closest {
            Some(closest) if distance < closest - s.step.get() / 20.0 => {
                (lag.closest, lag.since) = (Some(distance), now);
            }
            Some(_) => {}
            None => lag.closest = Some(distance),
        }
        let newly = !lag.stuck && now.duration_since(lag.since) >= s.follow_within;
        lag.stuck |= newly;
        newly
    }

    /// The register holds another value now. A plant that was behind before has no more time for it.
    pub(super) fn retarget(&mut self) {
        if let Some(lag) = &mut self.lag {
            lag.closest = None;
        }
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.lag.as_ref().is_some_and(|lag| lag.stuck)
    }

    /// Whether a read-back can show what was last written: one taken before that cannot.
    pub(super) fn is_shown_by(&self, sample: &Sample, now: Timestamp) -> bool {
        self.changed_at.is_none() || is_later(sample, now, self.changed_at)
    }
}

/// Whether a sample was surely taken after a moment. Nothing is later than what has not been.
pub(super) fn is_later(sample: &Sample, now: Timestamp, than: Option<Timestamp>) -> bool {
    let age = sample.age_s.and_then(|s| SignedDuration::try_from_secs_f64(s.get()).ok());
    than.zip(age).is_some_and(|(than, age)| now.duration_since(than) > age)
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Chillers {
    pub(super) running: Option<Finite>,
    /// Starts within the last hour.
    pub(super) started: Vec<Timestamp>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) stopped_at: Option<Timestamp>,
}

/// The span over which starts are counted.
const HOUR: SignedDuration = SignedDuration::from_hours(1);

impl Chillers {
    pub(super) fn observe(&mut self, now: Timestamp, running: Finite) {
        if self.running.is_some_and(|before| running > before) {
            self.started.push(now);
            self.started_at = Some(now);
        }
        if self.running.is_some_and(|before| running < before) {
            self.stopped_at = Some(now);
        }
        self.started.retain(|t| now.duration_since(*t) < HOUR);
        self.running = Some(running);
    }
}

impl Memory {
    #[must_use]
    pub fn new(site: &Site) -> Self {
        let slots = site.setpoints.iter().map(|s| (s.name.clone(), Slot::default())).collect();
        Self { slots, ..Self::default() }
    }

    /// The same from when the plant is the agent's, or, with `None`, is not any more: whoever had it may have changed the
    /// setpoints since they were last seen.
    #[must_use]
    pub fn handed(&self, held_since: Option<Timestamp>) -> Self {
        let mut next = Self { held_since, switched_off: false, ..self.clone() };
        for slot in next.slots.values_mut() {
            (slot.holds, slot.lag) = (None, None);
        }
        next
    }

    /// What outlives a run: what was sent and when, whose hands are on a setpoint, and what is latched. How things
    /// were seen to be is left out: it will be seen again.
    #[must_use]
    pub fn lasting(&self) -> Self {
        let slot = |(name, s): (&Name, &Slot)| {
            let Slot { changed_at, manual_until, .. } = *s;
            (name.clone(), Slot { sent: s.sent.clone(), changed_at, manual_until, ..Slot::default() })
        };
        Self {
            slots: self.slots.iter().map(slot).collect(),
            emergency: self.emergency.clone(),
            // By this an emergency of being blind goes on until there is sight.
            last_good: self.emergency.as_ref().map(|_| self.last_good.clone()).unwrap_or_default(),
            chillers: Chillers { running: None, ..self.chillers.clone() },
            ..Self::default()
        }
    }

    /// A new memory with what an earlier run left.
    #[must_use]
    pub fn lasted(site: &Site, left: Self) -> Self {
        let mut memory = Self::new(site);
        for (name, slot) in left.slots {
            memory.slots.entry(name).and_modify(|s| *s = slot);
        }
        let sent = memory.slots.values().filter_map(|s| s.changed_at);
        let staged = left.chillers.started.iter().copied();
        memory.latest =
            sent.chain(staged).chain(left.chillers.started_at).chain(left.chillers.stopped_at).max();
        Self { emergency: left.emergency, last_good: left.last_good, chillers: left.chillers, ..memory }
    }

    /// Why there is an emergency; latched until temperatures are below their hand-back limits.
    #[must_use]
    pub fn emergency(&self) -> Option<&str> {
        self.emergency.as_ref().map(|e| e.why.as_str())
    }

    /// Setpoints that the latest frame showed as changed by somebody else.
    #[must_use]
    pub fn new_manual_holds(&self) -> &[Name] {
        &self.new_manual_holds
    }

    /// Whether the plant, which the agent had taken, shows that it is not the agent's any more.
    #[must_use]
    pub fn is_switched_off(&self) -> bool {
        self.switched_off
    }

    /// Setpoints that somebody changed at the plant itself, and until when they are left alone.
    pub fn manual_holds(&self) -> impl Iterator<Item = (&Name, Timestamp)> {
        self.slots.iter().filter_map(|(name, slot)| Some((name, slot.manual_until?)))
    }

    /// When a setpoint was last written.
    #[must_use]
    pub fn changed_at(&self, setpoint: &Name) -> Option<Timestamp> {
        self.slots.get(setpoint)?.changed_at
    }

    /// Whether a setpoint's value in force does not follow its register.
    #[must_use]
    pub fn is_stuck(&self, setpoint: &Name) -> bool {
        self.slots.get(setpoint).is_some_and(Slot::is_stuck)
    }

    /// Setpoints whose value in force was found not to follow their register with the latest frame.
    #[must_use]
    pub fn new_laggards(&self) -> &[Name] {
        &self.new_laggards
    }

    /// The same memory where time goes on from `now`. If that is earlier than the latest, the clock was
    /// wrong before or is now: nothing remembered may lie ahead, so that no wait becomes longer than it is
    /// and none shorter.
    pub(super) fn from(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        let Some(ahead) = self.latest.map(|t| t.duration_since(now)).filter(SignedDuration::is_positive)
        else {
            return next;
        };
        let back = |t: &mut Timestamp| *t = (*t).min(now);
        next.first.iter_mut().for_each(back);
        next.hot_since.iter_mut().for_each(back);
        next.held_since.iter_mut().for_each(back);
        next.last_good.values_mut().for_each(back);
        let chillers = &mut next.chillers;
        chillers
            .started
            .iter_mut()
            .chain(&mut chillers.started_at)
            .chain(&mut chillers.stopped_at)
            .for_each(back);
        for slot in next.slots.values_mut() {
            slot.changed_at.iter_mut().for_each(back);
            slot.lag.iter_mut().for_each(|lag| lag.since = lag.since.min(now));
            slot.manual_until.iter_mut().for_each(|until| *until = until.checked_sub(ahead).unwrap_or(now));
        }
        next
    }

    /// Time that does not run backwards.
    pub(super) fn at(&self, now: Timestamp) -> Timestamp {
        self.latest.map_or(now, |latest| latest.max(now))
    }
}

/// Days since the epoch.
fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(86_400)
}
