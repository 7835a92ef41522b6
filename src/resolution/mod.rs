//! How closely a site is watched, by how restless it is: resolution in time.
//!
//! Theory of operation. A gauge on each signal that tells of load and heat ([`WATCHED`]) tests every frame
//! for a change. A change, a temperature that leaves its band, or an operator's order makes the site *restless*: a
//! decision is made at once, though not sooner than `fastest` after the last; from then on decisions are a
//! cadence apart, and sources may be sampled more often. After `settle` without any of that the site is *calm*: a decision
//! that moves nothing doubles the interval, up to `slowest`; one that moves setpoints to where they are wanted leaves it
//! as it is; and one that wants them further away than the guard lets them go at once halves it, down to the cadence.
//! So a single step of an optimizer does not wake the site, and a walk is at the cadence after three. Where a change
//! asked for nothing, the calm of before goes on. A missing input brings the cadence back at once.
//!
//! ```text
//!              change, or a temperature out of its band: decide at once
//!        ┌──────────────────────────────────────────────────────────────┐
//!        v                settle             nothing moved: doubled     │
//!    restless ────────────────────────> calm ────────────────────> calm, ever longer intervals
//!    (cadence)                       (cadence) <────────────────────  (to slowest)
//!                                                on the way: halved; an input is missing: cadence
//! ```
//!
//! Pure: time comes with frames, so a replay comes to the same resolution. The third resolution, that of the
//! past as the model sees it, is [`history`](crate::history)'s.

mod gauge;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::frame::Frame;
use crate::site::{self, Name, Role, Site};
use crate::units::Unit;
use gauge::Gauge;

/// What tells of load and heat. The agent's own moves show in temperatures too: see [`gauge`].
const WATCHED: [Role; 8] = [
    Role::ItLoad,
    Role::LoadAhead,
    Role::ChillersOn,
    Role::ItInlet,
    Role::LiquidSupply,
    Role::Bath,
    Role::Chws,
    Role::FacilitySupply,
];

/// How often things are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    pub decide: SignedDuration,
    pub sample: SignedDuration,
}

/// Why a decision is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    Interval,
    /// Something changed.
    Change,
}

/// What came of a decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nothing had to be moved.
    Settled,
    /// Setpoints were moved to where they are wanted.
    Arrived,
    /// They are wanted further away than the guard lets them go at once.
    Underway,
}

/// A change of pace, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub from: Pace,
    pub to: Pace,
    /// The next decision does not wait.
    pub at_once: bool,
    pub why: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        if from.decide != to.decide {
            write!(f, "decisions every {:#} -> {:#}; ", from.decide, to.decide)?;
        }
        if from.sample != to.sample {
            write!(f, "samples every {:#} -> {:#}; ", from.sample, to.sample)?;
        }
        if self.at_once {
            write!(f, "the next decision at once; ")?;
        }
        f.write_str(&self.why)
    }
}

#[derive(Clone, Debug)]
struct Watched {
    name: Name,
    unit: Unit,
    gauge: Gauge,
    band: Option<[f64; 2]>,
    outside: bool,
}

/// Keeps the pace of one site. Without `resolution.adaptive` that is the cadence, always.
#[derive(Clone, Debug)]
pub struct Pacer {
    settings: site::Resolution,
    /// The pace of a site that is neither restless nor calm.
    usual: Pace,
    watched: Vec<Watched>,
    restless_until: Option<Timestamp>,
    interval: SignedDuration,
    /// The interval of the calm that a change has ended, while no decision has moved anything since.
    before: Option<SignedDuration>,
    decided: Option<Timestamp>,
    due: Option<(Timestamp, Due)>,
}

impl Pacer {
    #[must_use]
    pub fn new(site: &Site) -> Self {
        let watches = |s: &&site::Signal| s.role.is_some_and(|role| WATCHED.contains(&role));
        let watched = site.signals.iter().filter(watches).map(|s| Watched {
            name: s.name.clone(),
            unit: s.unit,
            gauge: Gauge::new(s.unit),
            band: s.band.map(|band| band.map(crate::units::Finite::get)),
            outside: false,
        });
        Self {
            watched: watched.filter(|_| site.resolution.adaptive).collect(),
            settings: site.resolution.clone(),
            usual: Pace { decide: site.cadence, sample: site.sample },
            restless_until: None,
            interval: site.cadence,
            before: None,
            decided: None,
            due: None,
        }
    }

    #[must_use]
    pub fn pace(&self) -> Pace {
        let sample = match (self.restless_until, self.settings.sample) {
            (Some(_), Some(sample)) => sample,
            (Some(_) | None, _) => self.usual.sample,
        };
        Pace { decide: self.interval, sample }
    }

    /// When the next decision is due.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.due.map(|(at, _)| at)
    }

    /// Why a decision is due at `now`, if one is.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<Due> {
        self.due.filter(|(at, _)| now >= *at).map(|(_, why)| why)
    }

    /// Takes in a frame. `sighted`: all inputs that a decision needs are good.
    pub fn observe(&mut self, now: Timestamp, frame: &Frame, sighted: bool) -> Option<Change> {
        self.due = self.due.or(Some((now + self.usual.decide, Due::Interval)));
        if !self.settings.adaptive {
            return None;
        }
        let from = self.pace();
        let mut why = None;
        for w in &mut self.watched {
            let noticed = w.take(frame);
            why = why.or(noticed);
        }
        let was_restless = self.restless_until.is_some();
        if why.is_some() || self.watched.iter().any(|w| w.outside) {
            self.restless_until = Some(now + self.settings.settle);
        }
        // A restless site decides at its cadence already.
        let at_once = why.is_some() && !was_restless;
        if at_once {
            self.before = Some(self.interval);
            self.bring_forward(now, self.settings.fastest, Due::Change);
        } else if !sighted && self.interval > self.usual.decide {
            self.bring_forward(now, self.usual.decide, Due::Interval);
            why = Some("an input that decisions need is missing".to_owned());
        } else if self.restless_until.is_some_and(|t| now >= t) {
            self.restless_until = None;
            if let Some(before) = self.before.take().filter(|_| sighted) {
                self.set_interval(before);
            }
            why = Some(format!("nothing has changed for {:#}", self.settings.settle));
        }
        let to = self.pace();
        (at_once || from != to).then(|| Change { from, to, at_once, why: why.unwrap_or_default() })
    }

    /// Something that no signal shows, such as an operator's order, changes what is wanted.
    pub fn notice(&mut self, now: Timestamp, why: &str) -> Option<Change> {
        if !self.settings.adaptive {
            return None;
        }
        let from = self.pace();
        self.restless_until = Some(now + self.settings.settle);
        self.bring_forward(now, self.settings.fastest, Due::Change);
        Some(Change { from, to: self.pace(), at_once: true, why: why.to_owned() })
    }

    /// A decision is being made.
    pub fn decide(&mut self, now: Timestamp) {
        self.decided = Some(now);
        self.due = Some((now + self.interval, Due::Interval));
    }

    /// What became of it.
    pub fn judged(&mut self, progress: Progress, sighted: bool) -> Option<Change> {
        if !self.settings.adaptive {
            return None;
        }
        if progress != Progress::Settled {
            self.before = None;
        }
        let from = self.pace();
        let calm = self.restless_until.is_none() && sighted;
        let (interval, why) = match (calm, progress) {
            (true, Progress::Settled) => {
                ((self.interval * 2).min(self.settings.slowest), "calm, and nothing had to be moved")
            }
            (true, Progress::Underway) => {
                ((self.interval / 2).max(self.usual.decide), "calm, and setpoints are on their way")
            }
            (false, Progress::Arrived | Progress::Underway) => (self.usual.decide, "a setpoint moves"),
            (true, Progress::Arrived) | (false, Progress::Settled) => return None,
        };
        self.set_interval(interval);
        let to = self.pace();
        (from != to).then(|| Change { from, to, at_once: false, why: why.to_owned() })
    }

    fn set_interval(&mut self, interval: SignedDuration) {
        self.interval = interval;
        // A change that came while the model was thinking stays due.
        if let (Some(decided), Some((_, Due::Interval))) = (self.decided, self.due) {
            self.due = Some((decided + interval, Due::Interval));
        }
    }

    fn bring_forward(&mut self, now: Timestamp, least: SignedDuration, why: Due) {
        self.interval = self.usual.decide;
        let at = self.decided.map_or(now, |decided| (decided + least).max(now));
        if self.due.is_none_or(|(due, _)| at < due) {
            self.due = Some((at, why));
        }
    }
}

impl Watched {
    /// What is new about a signal: another level, or out of its band.
    fn take(&mut self, frame: &Frame) -> Option<String> {
        let value = frame.good(&self.name)?;
        let shift = self.gauge.push(frame.time, value);
        let was_outside = self.outside;
        self.outside = self.band.is_some_and(|[low, high]| !(low..=high).contains(&value.get()));
        let Self { name, unit, .. } = self;
        if let Some(shift) = shift {
            return Some(format!("{name} {} -> {} {unit}", shift.from, shift.to));
        }
        (self.outside && !was_outside).then(|| format!("{name} is at {value} {unit}, out of its band"))
    }
}
