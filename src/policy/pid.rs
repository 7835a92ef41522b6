//! A cascade of PID loops, as a controls contractor would tune one.
//!
//! ```text
//!  worst of (inlet, liquid, bath, chip - its target) ─> [room] ─> supply air or liquid temperature
//!                                                                        │
//!  worst valve - 92 %, or supply - its setpoint ──────> [water] ─> chilled or facility water, pumps
//! ```
//!
//! The *room* loop holds the worst IT temperature at its target by the supply temperature next to the IT.
//! The *water* loop gives the machines behind it as much as that supply needs: it holds the most open valve
//! nearly open; without valve positions the water goes where the supply goes, at the distance found, and as
//! much further as leaves the supply just above its setpoint, where that is measured. Pumps and pressures
//! share the loop that has valves to go by, else the room loop. A loop that wants more cooling first raises
//! its pumps to a fifth of their range, then lowers temperatures, then takes the rest of the pumps; less
//! cooling goes the same way back, warmth first. That order is Guideline 36's.
//!
//! Velocity form: each loop computes a *change*, so taking over is bumpless, and every setpoint's wish is
//! kept within one writable move of where the plant really is: what the guard, an operator or a machine
//! holds back does not wind up. The derivative acts on the measurement only.
//! `docs/bench.md` has how the gains were found.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Policy, Seen};
use crate::frame::Frame;
use crate::site::{Cools, Name, Role, Setpoint, Site};
use crate::units::{Finite, Unit};

/// How far below the top of its band the warmest inlet is held, K.
const INLET_BELOW_TOP_K: f64 = 2.0;
/// The same for liquid supplies and baths.
const LIQUID_BELOW_TOP_K: f64 = 4.0;
/// How far below the emergency the hottest chip is held, K.
const CHIP_BELOW_K: f64 = 14.0;
/// Chip temperatures swing with the load: this share of their error counts.
const CHIP_WEIGHT: f64 = 0.5;
/// The most open valve is held here, %.
const VALVE_AT: f64 = 92.0;
/// This many percent of valve count as one kelvin.
const VALVE_PER_K: f64 = 8.0;
/// The supply that just cannot be held is this far above its setpoint, K.
const STARVED_K: f64 = 0.3;
/// Pumps and pressures are raised to this share of their range before temperatures are lowered.
const PUMPS_FIRST: f64 = 0.2;

const ROOM: Gains = Gains { per_k: 0.35, reset_min: 15.0, rate_min: 1.0 };
const WATER: Gains = Gains { per_k: 0.25, reset_min: 20.0, rate_min: 0.0 };

/// Of one PID loop.
#[derive(Clone, Copy, Debug)]
struct Gains {
    /// Kelvins of setpoint a kelvin of error.
    per_k: f64,
    /// Integral (reset) time.
    reset_min: f64,
    /// Derivative (rate) time.
    rate_min: f64,
}

/// A loop's memory: the errors at its last two steps, latest first.
#[derive(Clone, Copy, Debug, Default)]
struct Loop {
    last: Option<f64>,
    before: Option<f64>,
}

impl Loop {
    /// How many kelvins colder to go.
    fn step(&mut self, gains: Gains, error: f64, minutes: f64) -> f64 {
        let last = self.last.unwrap_or(error);
        let before = self.before.unwrap_or(last);
        self.before = self.last;
        self.last = Some(error);
        let proportional = error - last;
        let integral = error * minutes / gains.reset_min;
        let derivative = (error - 2.0 * last + before) * gains.rate_min / minutes;
        gains.per_k * (proportional + integral + derivative)
    }
}

/// What a setpoint is to the cascade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// A supply temperature next to the IT.
    Supply,
    /// A water temperature behind it.
    Water,
    /// A speed or pressure.
    Pump,
}

fn part(s: &Setpoint) -> Part {
    match (s.role, s.cools, s.unit) {
        (Some(Role::Chws | Role::FacilitySupply), ..) => Part::Water,
        (_, Cools::Down, Unit::DegC) => Part::Supply,
        _ => Part::Pump,
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Pid {
    room: Loop,
    water: Loop,
    /// Sum and number of each signal's good values since the last step.
    since: BTreeMap<Name, (f64, u32)>,
    stepped_at: Option<Timestamp>,
    /// Every setpoint's wish as a share of the way from warmest to coldest.
    wishes: BTreeMap<Name, f64>,
    minutes: f64,
}

impl Pid {
    pub(super) fn new(site: &Site) -> Self {
        Self {
            room: Loop::default(),
            water: Loop::default(),
            since: BTreeMap::new(),
            stepped_at: None,
            wishes: BTreeMap::new(),
            minutes: site.cadence.as_secs_f64() / 60.0,
        }
    }

    fn mean(&self, name: &Name) -> Option<f64> {
        self.since.get(name).map(|(sum, n)| sum / f64::from(*n))
    }

    fn worst(&self, site: &Site, role: Role) -> Option<f64> {
        site.with_role(role).filter_map(|s| self.mean(&s.name)).max_by(f64::total_cmp)
    }

    /// How much too warm the IT is, K; `None` when nothing is known of it.
    fn room_error(&self, site: &Site) -> Option<f64> {
        let below = |role: Role, kelvin: f64| {
            site.with_role(role).filter_map(move |s| {
                let [_, top] = s.band?;
                Some(self.mean(&s.name)? - (top.get() - kelvin))
            })
        };
        let liquid = below(Role::LiquidSupply, LIQUID_BELOW_TOP_K);
        let in_band = liquid.chain(below(Role::Bath, LIQUID_BELOW_TOP_K));
        // No setpoint of a liquid-cooled plant reaches the air: its inlets would be cooled in vain.
        let air = site.setpoints.iter().any(|s| matches!(s.role, Some(Role::CrahSupply | Role::Chws)));
        let in_band = in_band.chain(below(Role::ItInlet, INLET_BELOW_TOP_K).filter(|_| air));
        let chip = || {
            let most = site.envelope.chip_allowable?.get() - CHIP_BELOW_K;
            Some((self.worst(site, Role::ChipTemp)? - most) * CHIP_WEIGHT)
        };
        in_band.chain(chip()).max_by(f64::total_cmp)
    }

    /// How much more the water side is wanted, K; `None` when nothing says.
    fn water_error(&self, seen: &Seen<'_>) -> Option<f64> {
        let valves = self.worst(seen.site, Role::ValvePosition).map(|open| (open - VALVE_AT) / VALVE_PER_K);
        valves.or_else(|| {
            let supply = |s: &Setpoint| {
                let measured = self.worst(seen.site, s.role?)?;
                Some(measured - seen.frame.good(&s.name)?.get() - STARVED_K)
            };
            let supplies = seen.site.setpoints.iter().filter(|s| part(s) == Part::Supply);
            supplies.filter_map(supply).max_by(f64::total_cmp)
        })
    }

    /// Wishes start from where the plant is, and stay within one writable move of it.
    fn track(&mut self, seen: &Seen<'_>) {
        for s in &seen.site.setpoints {
            let Some(now) = seen.frame.good(&s.name) else { continue };
            let (now, reach) = (share(s, now.get()), s.least_move().get() / s.span());
            let wish = self.wishes.entry(s.name.clone()).or_insert(now);
            *wish = wish.clamp(now - reach, now + reach);
        }
    }

    /// Moves what a loop has in hand by `kelvin` colder, in order.
    fn spend(&mut self, site: &Site, kelvin: f64, parts: &[Part]) {
        let stages: [(Part, f64, f64); 4] = [
            (Part::Pump, 0.0, PUMPS_FIRST),
            (Part::Supply, 0.0, 1.0),
            (Part::Water, 0.0, 1.0),
            (Part::Pump, PUMPS_FIRST, 1.0),
        ];
        let mut ordered: Vec<_> = stages.into_iter().filter(|(p, ..)| parts.contains(p)).collect();
        if kelvin < 0.0 {
            // Warmth first.
            ordered.sort_by_key(|(p, ..)| *p == Part::Pump);
        }
        let mut left = kelvin;
        for (of, low, high) in ordered {
            let members: Vec<&Setpoint> = site.setpoints.iter().filter(|s| part(s) == of).collect();
            let mut taken = 0.0f64;
            for s in members {
                let Some(wish) = self.wishes.get_mut(&s.name) else { continue };
                // A pump's whole range stands for ten kelvins.
                let scale = if of == Part::Pump { 10.0 } else { s.span() };
                let from = *wish;
                let to = from + left / scale;
                *wish = if left > 0.0 { to.min(high).max(from) } else { to.max(low).min(from) };
                let moved = (*wish - from) * scale;
                if moved.abs() > taken.abs() {
                    taken = moved;
                }
            }
            left -= taken;
        }
    }

    /// Where no valve says what the water has to give, it first goes where the supply goes.
    fn follow(&mut self, site: &Site, before: &BTreeMap<Name, f64>) {
        let change = |s: &Setpoint| Some((self.wishes.get(&s.name)? - before.get(&s.name)?) * s.span());
        let colder = site.setpoints.iter().filter(|s| part(s) == Part::Supply).find_map(change);
        self.spend(site, colder.unwrap_or(0.0), &[Part::Water]);
    }
}

impl Policy for Pid {
    fn observe(&mut self, frame: &Frame) {
        for (name, sample) in &frame.signals {
            if let Some(value) = sample.good() {
                let (sum, n) = self.since.entry(name.clone()).or_default();
                *sum += value.get();
                *n += 1;
            }
        }
    }

    fn stand_by(&mut self) {
        self.wishes.clear();
        (self.room, self.water) = (Loop::default(), Loop::default());
    }

    fn propose(&mut self, now: Timestamp, seen: &Seen<'_>) -> Option<BTreeMap<Name, Finite>> {
        let site = seen.site;
        let since = self.stepped_at.map_or(self.minutes, |t| now.duration_since(t).as_secs_f64() / 60.0);
        let minutes = since.clamp(1.0, 2.0 * self.minutes.max(1.0));
        self.stepped_at = Some(now);
        let (room, water) = (self.room_error(site), self.water_error(seen));
        self.since.clear();
        let room = room?;
        self.track(seen);
        let before = self.wishes.clone();
        let by_valve = site.with_role(Role::ValvePosition).next().is_some();
        let has_supply = site.setpoints.iter().any(|s| part(s) == Part::Supply);
        let (room_parts, water_parts): (&[Part], &[Part]) = match (has_supply, by_valve) {
            (true, true) => (&[Part::Supply], &[Part::Pump, Part::Water]),
            (true, false) => (&[Part::Pump, Part::Supply], &[Part::Water]),
            // Nothing between the water and the IT: one loop has it all.
            (false, _) => (&[Part::Pump, Part::Water], &[]),
        };
        let colder = self.room.step(ROOM, room, minutes);
        self.spend(site, colder, room_parts);
        if has_supply && !by_valve {
            self.follow(site, &before);
        }
        if let Some(error) = water {
            let colder = self.water.step(WATER, error, minutes);
            self.spend(site, colder, water_parts);
        }
        let value = |s: &Setpoint| {
            let wish = *self.wishes.get(&s.name)?;
            Some((s.name.clone(), Finite::saturating(at(s, wish)).rounded(3)))
        };
        Some(site.setpoints.iter().filter_map(value).collect())
    }
}

/// The share of the way from warmest to coldest that a value is.
fn share(s: &Setpoint, value: f64) -> f64 {
    match s.cools {
        Cools::Up => (value - s.min.get()) / s.span(),
        Cools::Down => (s.max.get() - value) / s.span(),
    }
}

fn at(s: &Setpoint, share: f64) -> f64 {
    let share = share.clamp(0.0, 1.0);
    match s.cools {
        Cools::Up => s.min.get() + share * s.span(),
        Cools::Down => s.max.get() - share * s.span(),
    }
}
