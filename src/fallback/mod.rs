//! The deterministic controller that acts when any stage before it fails: trim and respond after ASHRAE
//! Guideline 36-2021's chilled-water plant reset (parameters as coded in LBNL's Modelica Buildings
//! library; see [`site::Fallback`](crate::site::Fallback)).
//!
//! A reset of 0 to 100 % stands for how hard the plant works. Every step without enough requests takes
//! some away, requests add some. From 0 to 50 % it raises pumps and pressures from their least to their
//! most, from 50 to 100 % it lowers supply temperatures from their highest to their lowest. A request is a
//! temperature near or over the top of its band for two minutes, or a valve that is wide open.
//!
//! Bumpless: it moves the setpoints that it found by the *change* of the reset since then, so that taking
//! over changes nothing by itself, and steps too small for a register add up.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::envelope::{Proposal, ProposedBy};
use crate::frame::Frame;
use crate::site::{Cools, Name, Role, Setpoint, Site};
use crate::units::Finite;

/// A temperature must stay high for this long to count.
const PERSISTS: SignedDuration = SignedDuration::from_mins(2);
/// Staging a chiller freezes the reset.
const STAGING_FREEZE: SignedDuration = SignedDuration::from_mins(15);
/// The band's top less this stands for the supply temperature that a request is measured from.
const BELOW_TOP_K: f64 = 3.0;
const VALVE_OPEN: f64 = 95.0;
const VALVE_CLOSED: f64 = 85.0;
/// Where the reset turns from pumps to temperatures, %.
const MIDDLE: f64 = 50.0;

#[derive(Clone, Debug)]
pub struct Fallback {
    site: Site,
    /// `None` while something else decides.
    acting: Option<Acting>,
    stepped_at: Option<Timestamp>,
    first_frame: Option<Timestamp>,
    /// Since when each temperature has been 2 K, and 3 K, over what it should be.
    over: BTreeMap<Name, [Option<Timestamp>; 2]>,
    valves_asking: BTreeMap<Name, bool>,
    chillers: Option<Finite>,
    staged_at: Option<Timestamp>,
}

/// The reset, and what it started from.
#[derive(Clone, Debug)]
struct Acting {
    reset_pct: f64,
    found_pct: f64,
    found: BTreeMap<Name, Finite>,
}

impl Acting {
    /// Where a reset wants a setpoint; `None` if it was not known at the take-over.
    fn proposes(&self, s: &Setpoint, reset_pct: f64) -> Option<Finite> {
        let next = self.found.get(&s.name)?.get() + at(s, reset_pct) - at(s, self.found_pct);
        Some(Finite::new(next)?.rounded(3).max(s.min).min(s.max))
    }

    /// A setpoint that could not be read at the take-over joins, from where it is, once it can be.
    fn find(&mut self, site: &Site, frame: &Frame) {
        for s in &site.setpoints {
            if !self.found.contains_key(&s.name)
                && let Some(present) = frame.setpoints.get(&s.name).and_then(crate::frame::Sample::good)
            {
                let from = present.plus(at(s, self.found_pct) - at(s, self.reset_pct));
                self.found.insert(s.name.clone(), from);
            }
        }
    }
}

impl Fallback {
    #[must_use]
    pub fn new(site: &Site) -> Self {
        Self {
            site: site.clone(),
            acting: None,
            stepped_at: None,
            first_frame: None,
            over: BTreeMap::new(),
            valves_asking: BTreeMap::new(),
            chillers: None,
            staged_at: None,
        }
    }

    /// The limits of the site have changed.
    pub fn go_by(&mut self, site: &Site) {
        self.site = site.clone();
        // The reset is a share of ranges that are others now: the next step starts from the setpoints.
        self.stand_by();
    }

    /// Watches every frame, so that requests have their history when they are needed.
    pub fn observe(&mut self, frame: &Frame) {
        self.first_frame.get_or_insert(frame.time);
        for signal in &self.site.signals {
            let Some(value) = frame.good(&signal.name) else { continue };
            match (signal.role, signal.band) {
                (Some(Role::ItInlet | Role::LiquidSupply | Role::Bath), Some([_, top])) => {
                    let excess = value.get() - (top.get() - BELOW_TOP_K);
                    let since = self.over.entry(signal.name.clone()).or_default();
                    for (slot, over) in since.iter_mut().zip([2.0, 3.0]) {
                        *slot = if excess >= over { slot.or(Some(frame.time)) } else { None };
                    }
                }
                (Some(Role::ValvePosition), _) => {
                    let asking = self.valves_asking.entry(signal.name.clone()).or_default();
                    *asking = value.get() > VALVE_OPEN || (*asking && value.get() > VALVE_CLOSED);
                }
                _ => {}
            }
        }
        if let Some(running) = frame.chillers_on(&self.site) {
            if self.chillers.is_some_and(|before| before != running) {
                self.staged_at = Some(frame.time);
            }
            self.chillers = Some(running);
        }
    }

    /// Something else decides, or has moved a setpoint: the next step starts from what it leaves.
    pub fn stand_by(&mut self) {
        self.acting = None;
    }

    /// The next proposal.
    pub fn step(&mut self, now: Timestamp, frame: &Frame) -> Proposal {
        let f = &self.site.fallback;
        let known = self.acting.take().filter(|acting| !acting.found.is_empty());
        let mut acting = known.unwrap_or_else(|| self.take_over(frame));
        acting.find(&self.site, frame);
        let from = acting.reset_pct;
        let started = self.first_frame.is_some_and(|t| now.duration_since(t) >= f.delay);
        let due = self.stepped_at.is_none_or(|t| now.duration_since(t) >= f.step);
        let staging = self.staged_at.is_some_and(|t| now.duration_since(t) < STAGING_FREEZE);
        let mut to = from;
        if started && due && !staging {
            let counted = self.requests(now).saturating_sub(f.ignored_requests);
            let response = (f.respond.get() * f64::from(counted)).min(f.respond_max.get());
            let trimmed = (from - f.trim.get()).max(0.0);
            // Anti-windup: while the guard or an operator keeps the plant colder, no further from it.
            let trim = if self.lags(&acting, frame, trimmed) { 0.0 } else { f.trim.get() };
            to = (from - trim + response).clamp(0.0, 100.0);
            self.stepped_at = Some(now);
        }
        let moved = |s: &Setpoint| Some((s.name.clone(), acting.proposes(s, to)?));
        let setpoints = self.site.setpoints.iter().filter_map(moved).collect();
        self.acting = Some(Acting { reset_pct: to, ..acting });
        Proposal { by: ProposedBy::Fallback, setpoints }
    }

    /// Whether everything that a trim would move still is more than a move colder than asked for already.
    fn lags(&self, acting: &Acting, frame: &Frame, trimmed: f64) -> bool {
        let behind = |s: &Setpoint| {
            let asked = acting.proposes(s, acting.reset_pct)?;
            let warmer = acting.proposes(s, trimmed).filter(|next| *next != asked)?;
            let shown = frame.setpoints.get(&s.name).and_then(crate::frame::Sample::good)?;
            let one_move = s.least_move().get() + (warmer.get() - asked.get()).abs();
            let gap =
                if s.cools == Cools::Down { asked.get() - shown.get() } else { shown.get() - asked.get() };
            Some(gap > one_move)
        };
        let moving: Vec<bool> = self.site.setpoints.iter().filter_map(behind).collect();
        !moving.is_empty() && moving.iter().all(|behind| *behind)
    }

    fn take_over(&self, frame: &Frame) -> Acting {
        let current = |s: &Setpoint| Some((s.name.clone(), frame.setpoints.get(&s.name)?.good()?));
        let found_pct = self.reset_of(frame);
        Acting {
            reset_pct: found_pct,
            found_pct,
            found: self.site.setpoints.iter().filter_map(current).collect(),
        }
    }

    fn requests(&self, now: Timestamp) -> u32 {
        let lasting = |t: &Option<Timestamp>| t.is_some_and(|t| now.duration_since(t) >= PERSISTS);
        let hot = self.over.values().map(|[two, three]| match (lasting(two), lasting(three)) {
            (_, true) => 3,
            (true, false) => 2,
            (false, false) => 0,
        });
        let open = self.valves_asking.values().map(|asking| u32::from(*asking));
        hot.chain(open).sum()
    }

    /// The reset that fits the present setpoints best.
    fn reset_of(&self, frame: &Frame) -> f64 {
        let share = |s: &Setpoint| {
            let current = frame.setpoints.get(&s.name)?.good()?;
            let span = s.span();
            let up = ((current.get() - s.min.get()) / span).clamp(0.0, 1.0);
            Some(if s.cools == Cools::Down { 1.0 - up } else { up })
        };
        let mean = |cools: Cools| {
            let shares: Vec<f64> =
                self.site.setpoints.iter().filter(|s| s.cools == cools).filter_map(share).collect();
            (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
        };
        match (mean(Cools::Down), mean(Cools::Up)) {
            (Some(cold), _) if cold > 0.0 => MIDDLE + MIDDLE * cold,
            (_, Some(pumps)) => MIDDLE * pumps,
            (Some(_), None) => MIDDLE,
            (None, None) => 100.0,
        }
    }
}

/// The value that a reset stands for.
fn at(s: &Setpoint, reset_pct: f64) -> f64 {
    let (min, max) = (s.min.get(), s.max.get());
    match s.cools {
        Cools::Up => min + (max - min) * (reset_pct / MIDDLE).clamp(0.0, 1.0),
        Cools::Down => max - (max - min) * ((reset_pct - MIDDLE) / MIDDLE).clamp(0.0, 1.0),
    }
}
