use std::collections::BTreeMap;

use jiff::Timestamp;

use super::action::{SafeAction, SafeWrite, Target, Words};
use super::alarm;
use super::limit::Limit;
use super::memory::{Memory, is_later};
use super::rules::{Facts, Move};
use super::verdict::{Proposal, ProposedBy, Rule, Touch, Verdict, WhatIf};
use super::window::Window;
use crate::actuate::{Outcome, WriteResult, Written};
use crate::frame::Frame;
use crate::register;
use crate::site::{Name, Point, Role, Setpoint, Site};
use crate::units::{Finite, Unit};

/// What the register that takes control holds while the plant is the agent's.
const ENABLED: Finite = Finite::constant(1.0);

/// How a signal may move within the outlook's time, uncertainty included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Predicted {
    pub low: Finite,
    pub high: Finite,
    /// The largest change in 15 min.
    pub ramp_15min: Finite,
}

/// What a choice of setpoints leads to, by signal; without an entry, nothing is known of a signal.
pub type Foresight<'a> = dyn Fn(&BTreeMap<Name, Finite>) -> BTreeMap<Name, Predicted> + 'a;

/// All that a verdict depends on.
pub struct Case<'a> {
    pub now: Timestamp,
    /// When the question was asked to which the proposal is the answer.
    pub decided_at: Timestamp,
    pub frame: &'a Frame,
    pub memory: &'a Memory,
    pub limits: &'a [Limit],
    pub foresight: &'a Foresight<'a>,
    pub proposal: &'a Proposal,
}

/// A site's limits, ready to judge.
#[derive(Clone, Debug)]
pub struct Guard {
    pub(super) site: Site,
}

impl Guard {
    #[must_use]
    pub fn new(site: &Site) -> Self {
        Self { site: site.clone() }
    }

    /// What would become of a proposal that nobody is going to act on.
    #[must_use]
    pub fn what_if(&self, case: &Case<'_>) -> WhatIf {
        self.judge(case).into()
    }

    /// Turns a proposal into what may be written.
    #[must_use]
    pub fn judge(&self, case: &Case<'_>) -> Verdict {
        let emergency = case.memory.emergency().is_some();
        let full_cooling = emergency.then(|| self.full_cooling());
        // In an emergency nobody is asked.
        let proposal = full_cooling.as_ref().unwrap_or(case.proposal);
        let mut touched = Vec::new();
        let facts = Facts::gather(&self.site, case, &mut touched);
        let mut windows: Vec<Move<'_>> = Vec::new();
        let mut setpoints = BTreeMap::new();
        for setpoint in &self.site.setpoints {
            let current = current(case, setpoint);
            if let Some(current) = current {
                setpoints.insert(setpoint.name.clone(), current);
            }
            let proposed = proposal.setpoints.get(&setpoint.name).copied();
            // Without knowing where a setpoint is, the only move that can be judged is full cooling.
            if let Some(start) = if emergency { proposed.or(current) } else { current } {
                let mut window = Window::new(setpoint.min, setpoint.max, proposed.unwrap_or(start));
                if facts.narrow(case, setpoint, current, &mut window, &mut touched) {
                    windows.push((setpoint, current, window));
                }
            } else if proposed.is_some() {
                touched.push(refusal(
                    Rule::InputValidity,
                    setpoint,
                    proposed,
                    "its register has not been read",
                ));
            }
        }
        for (name, value) in proposal.setpoints.iter().filter(|(name, _)| self.site.setpoint(name).is_none())
        {
            touched.push(Touch {
                rule: Rule::UnknownSetpoint,
                setpoint: Some(name.clone()),
                from: Some(*value),
                to: None,
                limit: None,
                why: "the site has no setpoint of this name".to_owned(),
            });
        }
        for (setpoint, current, window) in &mut windows {
            facts.settle(case, setpoint, *current, window, &mut touched);
        }
        if !emergency {
            facts.foresee(case, &mut windows, &mut touched);
        }
        let mut writes = Vec::new();
        for (setpoint, current, window) in windows {
            if current == Some(window.value) {
                continue;
            }
            match self.safe_write(setpoint, &window) {
                Some(write) if current.is_some_and(|c| same_register(setpoint, c, &write)) => {}
                Some(write) => {
                    setpoints.insert(setpoint.name.clone(), write.value);
                    writes.push(write);
                }
                None => touched.push(refusal(
                    Rule::Register,
                    setpoint,
                    Some(window.value),
                    "the register cannot hold a value inside the limits",
                )),
            }
        }
        // A note that names no setpoint says why; whether anything changed for it, each setpoint says.
        let intervened = emergency || touched.iter().any(|t| t.rule.is_for_safety() && t.setpoint.is_some());
        Verdict { by: proposal.by, action: SafeAction { writes }, setpoints, touched, emergency, intervened }
    }

    /// The register value nearest to the window's value that still lies inside the window.
    pub(super) fn safe_write(&self, setpoint: &Setpoint, window: &Window) -> Option<SafeWrite> {
        let point = &setpoint.register;
        let (words, value) = window.bounds().find_map(|(low, high)| {
            register::encode_between(point, setpoint.unit, window.value, low, high)
        })?;
        let target = Target::Setpoint(setpoint.name.clone());
        to_register(&self.site, target, point, words, (value, setpoint.unit))
    }

    /// Every setpoint to its coldest end; the rules say how far that is allowed.
    #[must_use]
    pub fn full_cooling(&self) -> Proposal {
        let coldest = |s: &Setpoint| (s.name.clone(), s.coldest());
        Proposal { by: ProposedBy::Emergency, setpoints: self.site.setpoints.iter().map(coldest).collect() }
    }

    /// Tells the plant that the agent is in charge. Empty where there is no such register.
    #[must_use]
    pub fn take_control(&self) -> SafeAction {
        link_action(self.site.link.enable.as_ref(), Target::Enable, ENABLED.get(), &self.site)
    }

    /// Hands the plant back to its own controller.
    #[must_use]
    pub fn release(&self) -> SafeAction {
        link_action(self.site.link.enable.as_ref(), Target::Enable, 0.0, &self.site)
    }

    #[must_use]
    pub fn heartbeat(&self, counter: u16) -> SafeAction {
        // An int16 register counts to 32,767 only.
        let value = f64::from(counter & 0x7fff);
        link_action(self.site.link.heartbeat.as_ref(), Target::Heartbeat, value, &self.site)
    }

    /// Memory after a frame: emergencies, manual changes, chiller starts.
    #[must_use]
    pub fn observe(&self, memory: &Memory, now: Timestamp, frame: &Frame) -> Memory {
        let mut next = memory.from(now);
        next.latest = Some(now);
        next.first.get_or_insert(now);
        for signal in &self.site.signals {
            let good = frame.signals.get(&signal.name).and_then(crate::frame::Sample::good);
            if let (Some(role), Some(_)) = (signal.role, good) {
                next.last_good.insert(role, now);
            }
        }
        if let Some(running) = frame.chillers_on(&self.site) {
            next.chillers.observe(now, running);
        }
        next.emergency = alarm::next(&self.site, &next, now, frame);
        let inlet = alarm::worst(&self.site, frame, Role::ItInlet);
        let hot = inlet.is_some_and(|t| t >= self.site.envelope.cool_at);
        next.hot_since = if hot { Some(next.hot_since.unwrap_or(now)) } else { None };
        let enable = frame.enable.as_ref().filter(|s| is_later(s, now, next.held_since));
        next.switched_off = enable.and_then(crate::frame::Sample::good).is_some_and(|v| v != ENABLED);
        next.new_manual_holds.clear();
        next.new_laggards.clear();
        for setpoint in &self.site.setpoints {
            let Some(slot) = next.slots.get_mut(&setpoint.name) else { continue };
            slot.manual_until = slot.manual_until.filter(|until| now < *until);
            let sample = frame.setpoints.get(&setpoint.name).filter(|s| slot.is_shown_by(s, now));
            let good = sample.and_then(crate::frame::Sample::good);
            // New limits may call our own value implausible: it is a change only if it is another.
            let shown = good.or_else(|| sample.filter(|s| s.is_implausible())?.value);
            if slot.holds.is_none() && sample.is_some_and(|s| is_later(s, now, next.held_since)) {
                // What it held when control was taken is what a change is seen against.
                slot.holds = good;
            } else if let (Some(ours), Some(shown)) = (slot.holds, shown)
                && !holds(setpoint, ours, shown)
            {
                // From here on it is the panel's value that a further change is seen against; one that cannot be is
                // no longer ours either: where the setpoint is, is not known.
                slot.holds = good;
                slot.manual_until = Some(now + self.site.envelope.manual_hold);
                slot.retarget();
                next.new_manual_holds.push(setpoint.name.clone());
            }
            let active = frame.active.get(&setpoint.name).filter(|s| slot.is_shown_by(s, now));
            if let Some(active) = active.and_then(crate::frame::Sample::good)
                && slot.follow(setpoint, now, active)
            {
                next.new_laggards.push(setpoint.name.clone());
            }
        }
        next
    }

    /// Memory after writes: only what was read back counts as written.
    #[must_use]
    pub fn after(&self, memory: &Memory, now: Timestamp, outcome: &Outcome) -> Memory {
        let mut next = memory.clone();
        let now = memory.at(now);
        for result in &outcome.writes {
            match &result.target {
                Target::Setpoint(name) => {
                    if let (Some(setpoint), Some(slot)) = (self.site.setpoint(name), next.slots.get_mut(name))
                    {
                        slot.remember(now, setpoint, result);
                    }
                }
                Target::Enable | Target::Heartbeat => {}
            }
        }
        next
    }
}

impl super::memory::Slot {
    fn remember(&mut self, now: Timestamp, setpoint: &Setpoint, result: &WriteResult) {
        if result.tries == 0 {
            return;
        }
        self.sent.add(now, result.tries);
        self.changed_at = Some(now);
        self.retarget();
        self.holds = (result.result == Written::Applied)
            .then(|| decoded(&setpoint.register, setpoint.unit, result.words.as_slice()))
            .flatten();
    }
}

/// Where a setpoint is: read from the plant if that is good, else as last written and confirmed.
pub(super) fn current(case: &Case<'_>, setpoint: &Setpoint) -> Option<Finite> {
    case.frame
        .good(&setpoint.name)
        .or_else(|| case.memory.slots.get(&setpoint.name).and_then(|slot| slot.holds))
}

fn refusal(rule: Rule, setpoint: &Setpoint, from: Option<Finite>, why: &str) -> Touch {
    let name = Some(setpoint.name.clone());
    Touch { rule, setpoint: name, from, to: None, limit: None, why: why.to_owned() }
}

fn link_action(point: Option<&Point>, target: Target, value: f64, site: &Site) -> SafeAction {
    let write = point.and_then(|point| {
        let value = Finite::new(value)?;
        let words = register::encode(point, Unit::Count, value).ok()?;
        to_register(site, target, point, words, (value, Unit::Count))
    });
    SafeAction { writes: write.into_iter().collect() }
}

/// The one place where a write is made. `words` are what says `value`.
pub(super) fn to_register(
    site: &Site,
    target: Target,
    point: &Point,
    words: Words,
    (value, unit): (Finite, Unit),
) -> Option<SafeWrite> {
    let address = site.device(&point.device)?.wire_address(point.address)?;
    Some(SafeWrite { target, device: point.device.clone(), address, words, value, unit })
}

fn decoded(point: &Point, unit: Unit, words: &[u16]) -> Option<Finite> {
    let wire = register::decode(point, words).ok()?;
    point.unit.unwrap_or(unit).convert(wire, unit)
}

/// Whether a write would change nothing that its device can tell apart.
pub(super) fn same_register(setpoint: &Setpoint, current: Finite, write: &SafeWrite) -> bool {
    let point = &setpoint.register;
    register::encode(point, setpoint.unit, current).is_ok_and(|words| {
        register::within(point, words.as_slice(), write.words.as_slice(), setpoint.read_back_tolerance)
    })
}

/// Whether a register that shows `b` holds `a`: but for what its device rounds, or what a float loses on the way.
fn holds(setpoint: &Setpoint, a: Finite, b: Finite) -> bool {
    let tolerance = setpoint.count().map_or(setpoint.step.get() / 20.0, |count| {
        count.get() * (f64::from(setpoint.read_back_tolerance) + 0.5)
    });
    (a.get() - b.get()).abs() <= tolerance
}
