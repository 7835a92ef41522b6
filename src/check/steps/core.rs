//! What is done when in a step test, without I/O and without a clock: frames and outcomes go in, writes come
//! out.
//!
//! Theory of operation. After a time of watching, one setpoint after another is moved away by some steps, held,
//! moved back and held again. Every move is a proposal to the guard, with all its rules and the twin's outlook;
//! where the guard says *not yet* the move waits, where it says anything else the test is over. Each frame is
//! looked at first:
//!
//! ```text
//!  watch ──hold──> away ──hold──> back ──hold──> (next setpoint) ──> release
//!    └───────────────┴──────────────┴── a signal goes bad, a margin is short, the guard
//!                                        changes a move, somebody says stop ──> restore, release
//! ```

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::actuate::Outcome;
use crate::control::foresee;
use crate::envelope::{
    Case, Consent, Guard, Memory, Proposal, ProposedBy, Rule, SafeAction, Target, Touch, Trial, Verdict,
};
use crate::frame::{Frame, Quality, Sample};
use crate::site::{Name, Setpoint, Site};
use crate::twin::Twin;
use crate::units::{Finite, Kelvin};

/// How far, how long, and how near to a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Steps that a setpoint is moved away by.
    pub steps: u32,
    /// How long it stays there, and back again.
    pub hold: SignedDuration,
    /// The test is over when a temperature comes nearer than this to a limit.
    pub margin: Kelvin,
    /// And when it has taken this long.
    pub at_most: SignedDuration,
}

/// A write, to be put into the audit log and carried out; its outcome is the next input.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Effect {
    pub(super) what: &'static str,
    pub(super) moved: Option<Moved>,
    pub(super) action: SafeAction,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Moved {
    pub(super) setpoint: Name,
    pub(super) from: Finite,
    pub(super) to: Finite,
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    Complete,
    Stopped(String),
}

/// One setpoint on its way, away and back.
#[derive(Debug)]
struct Leg {
    setpoint: usize,
    trial: Trial,
    /// Where it goes, in order; the last is where it came from.
    stops: Vec<Finite>,
    /// How many of them lead away.
    away: usize,
    /// How many have been reached, and when the last one was.
    reached: usize,
    since: Timestamp,
}

pub(super) struct Core {
    site: Site,
    plan: Plan,
    guard: Guard,
    memory: Memory,
    twin: Twin,
    consents: Vec<Consent>,
    /// When control was taken: the beginning of the watch.
    taken: Option<Timestamp>,
    first: Option<Timestamp>,
    leg: Option<Leg>,
    /// The setpoint whose turn it is next.
    next: usize,
    /// Setpoints that were moved away and back, and those that were not and why.
    pub(super) moved: Vec<Name>,
    pub(super) left_out: Vec<(Name, String)>,
    end: Option<End>,
}

/// Rules that only say that a move comes too soon.
fn is_not_yet(rule: Rule) -> bool {
    matches!(rule, Rule::RateLimit | Rule::Pace | Rule::Dwell | Rule::ShortCycle)
}

/// What the guard made of a move.
enum Passed {
    As(SafeAction),
    NotYet,
    Changed(String),
}

impl Core {
    pub(super) fn new(site: &Site, plan: Plan, consents: &[Consent]) -> Self {
        Self {
            site: site.clone(),
            plan,
            guard: Guard::new(site),
            memory: Memory::new(site),
            twin: Twin::new(site),
            consents: consents.to_vec(),
            taken: None,
            first: None,
            leg: None,
            next: 0,
            moved: Vec::new(),
            left_out: Vec::new(),
            end: None,
        }
    }

    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether the plant listens to the agent, which is then due a heartbeat with every frame.
    pub(super) fn in_charge(&self) -> bool {
        self.taken.is_some() && self.end.is_none()
    }

    pub(super) fn on_frame(&mut self, frame: &Frame) -> Vec<Effect> {
        if self.end.is_some() {
            return Vec::new();
        }
        let now = frame.time;
        let first = *self.first.get_or_insert(now);
        self.memory = self.guard.observe(&self.memory, now, frame);
        self.twin.update(frame);
        if let Some(why) = self.trouble(frame) {
            // What has just been connected may take some frames to be believed.
            let settling = self.taken.is_none() && now.duration_since(first) < self.plan.hold;
            return if settling { Vec::new() } else { self.stop(why) };
        }
        if now.duration_since(first) >= self.plan.at_most {
            return self.stop(format!("the time is up: {:#}", self.plan.at_most));
        }
        let Some(taken) = self.taken else {
            self.taken = Some(now);
            self.memory = self.memory.handed(Some(now));
            return vec![Effect { what: "take control", moved: None, action: self.guard.take_control() }];
        };
        if self.leg.is_none() && now.duration_since(taken) >= self.plan.hold {
            self.next_leg(frame);
        }
        self.go_on(frame)
    }

    /// What became of a write.
    pub(super) fn on_outcome(&mut self, now: Timestamp, outcome: &Outcome) -> Vec<Effect> {
        self.memory = self.guard.after(&self.memory, now, outcome);
        if self.end.is_some() {
            return Vec::new();
        }
        let to_setpoint = outcome.writes.iter().any(|w| matches!(w.target, Target::Setpoint(_)));
        if let Some(leg) = self.leg.as_mut().filter(|_| to_setpoint) {
            (leg.reached, leg.since) = (leg.reached + 1, now);
        }
        if outcome.release_needed { self.stop(outcome.trouble()) } else { Vec::new() }
    }

    /// Puts back what is away, and hands the plant back.
    pub(super) fn stop(&mut self, why: String) -> Vec<Effect> {
        if self.end.is_some() {
            return Vec::new();
        }
        self.end = Some(End::Stopped(why));
        self.undo()
    }

    /// What takes back all that is still away.
    pub(super) fn undo(&self) -> Vec<Effect> {
        self.restore().into_iter().chain(self.release()).collect()
    }

    /// In an emergency nothing is made warmer: the plant, which is handed back, decides.
    fn restore(&self) -> Option<Effect> {
        let leg = self.leg.as_ref().filter(|leg| leg.reached > 0 && leg.reached < leg.stops.len())?;
        let setpoint = self.site.setpoints.get(leg.setpoint)?;
        let colder = (setpoint.coldest().get() - leg.trial.from().get()).abs()
            > (setpoint.coldest().get() - leg.trial.to().get()).abs();
        if colder && self.memory.emergency().is_some() {
            return None;
        }
        let from = *leg.stops.get(leg.reached - 1)?;
        let moved = Moved { setpoint: setpoint.name.clone(), from, to: leg.trial.from() };
        Some(Effect { what: "restore", moved: Some(moved), action: leg.trial.restore().clone() })
    }

    fn release(&self) -> Option<Effect> {
        let action = self.guard.release();
        self.taken.map(|_| Effect { what: "release", moved: None, action })
    }

    /// Why the test cannot go on, as far as this frame says.
    fn trouble(&self, frame: &Frame) -> Option<String> {
        if let Some(why) = self.memory.emergency() {
            return Some(format!("full cooling is called for: {why}"));
        }
        let signals = self.site.signals.iter().filter(|s| s.required || s.role.is_some());
        let signals = signals.map(|s| (&s.name, frame.signals.get(&s.name)));
        let setpoints = self.site.setpoints.iter().map(|s| (&s.name, frame.setpoints.get(&s.name)));
        if let Some((name, sample)) =
            signals.chain(setpoints).find(|(_, s)| s.and_then(Sample::good).is_none())
        {
            let quality = sample.map_or(Quality::Missing, |s| s.quality).as_str();
            let doubt = sample
                .and_then(|s| s.doubt)
                .map_or_else(String::new, |d| format!(": {}", super::super::advice(d)));
            return Some(format!("{name} is {quality}{doubt}"));
        }
        if self.memory.is_switched_off() {
            return Some("the agent was switched off at the plant itself".to_owned());
        }
        if let Some(name) = self.memory.new_manual_holds().first() {
            return Some(format!("{name} was changed at the plant itself"));
        }
        let margin = self.guard.margin(frame)?;
        (margin.left < self.plan.margin.get()).then(|| {
            format!(
                "{} is at {}, less than {} K from its limit {}",
                margin.signal,
                margin.value,
                self.plan.margin.get(),
                margin.limit
            )
        })
    }

    /// Begins with the next setpoint that may be moved.
    fn next_leg(&mut self, frame: &Frame) {
        while let Some(setpoint) = self.site.setpoints.get(self.next) {
            let index = self.next;
            self.next += 1;
            let Some(consent) = self.consents.iter().find(|c| *c.setpoint() == setpoint.name) else {
                self.left_out.push((setpoint.name.clone(), "no consent".to_owned()));
                continue;
            };
            match self.guard.trial(consent, frame.time, frame, &self.memory) {
                Ok(trial) => {
                    let (stops, away) = stops(setpoint, &trial, self.plan.steps);
                    self.leg =
                        Some(Leg { setpoint: index, trial, stops, away, reached: 0, since: frame.time });
                    return;
                }
                Err(refused) => {
                    let why = format!("the guard does not allow it now: {refused}");
                    self.left_out.push((setpoint.name.clone(), why));
                }
            }
        }
    }

    fn go_on(&mut self, frame: &Frame) -> Vec<Effect> {
        let Some(leg) = &self.leg else {
            if self.next < self.site.setpoints.len() {
                return Vec::new();
            }
            self.end = Some(End::Complete);
            return self.release().into_iter().collect();
        };
        let Some(setpoint) = self.site.setpoints.get(leg.setpoint) else { return Vec::new() };
        let resting = leg.reached == leg.away || leg.reached == leg.stops.len();
        if resting && frame.time.duration_since(leg.since) < self.plan.hold {
            return Vec::new();
        }
        let Some(to) = leg.stops.get(leg.reached).copied() else {
            self.moved.push(setpoint.name.clone());
            self.leg = None;
            self.next_leg(frame);
            return self.go_on(frame);
        };
        let from = leg.reached.checked_sub(1).and_then(|i| leg.stops.get(i)).copied();
        let from = from.unwrap_or(leg.trial.from());
        match self.ask(setpoint, leg, to, frame) {
            Passed::As(action) => {
                let what = if leg.reached < leg.away { "away" } else { "back" };
                let moved = Some(Moved { setpoint: setpoint.name.clone(), from, to });
                vec![Effect { what, moved, action }]
            }
            Passed::NotYet => Vec::new(),
            Passed::Changed(why) => {
                let why = format!("the guard does not let {} go to {to}: {why}", setpoint.name);
                self.stop(why)
            }
        }
    }

    /// Puts one move before the guard.
    fn ask(&self, setpoint: &Setpoint, leg: &Leg, to: Finite, frame: &Frame) -> Passed {
        let setpoints = BTreeMap::from([(setpoint.name.clone(), to)]);
        let proposal = Proposal { by: ProposedBy::Operator, setpoints };
        let verdict = self.guard.judge(&Case {
            now: frame.time,
            decided_at: frame.time,
            frame,
            memory: &self.memory,
            limits: &[],
            foresight: &|setpoints| foresee(&self.site, &self.twin, frame, setpoints),
            proposal: &proposal,
        });
        let concerns = |t: &&Touch| t.setpoint.as_ref().is_none_or(|n| *n == setpoint.name);
        let others = verdict.action.writes().iter().any(|w| !is_of(w.target(), setpoint));
        let came = verdict.setpoints.get(&setpoint.name).is_some_and(|v| {
            // Its last stop may lie between two steps of its grid: there the register gets back what it held.
            let slack = if leg.reached + 1 == leg.stops.len() { 0.99 } else { 0.05 };
            (v.get() - to.get()).abs() < slack * setpoint.step.get()
        });
        if came && !others {
            let last = leg.reached + 1 == leg.stops.len();
            return Passed::As(if last { leg.trial.restore().clone() } else { verdict.action });
        }
        match verdict.touched.iter().filter(concerns).find(|t| !is_form(t.rule) && !is_not_yet(t.rule)) {
            Some(touch) => Passed::Changed(touch.why.clone()),
            None if others => Passed::Changed(others_moved(&verdict)),
            None => Passed::NotYet,
        }
    }
}

/// Rules that put a value in form.
fn is_form(rule: Rule) -> bool {
    matches!(rule, Rule::Step | Rule::Deadband)
}

fn is_of(target: &Target, setpoint: &Setpoint) -> bool {
    matches!(target, Target::Setpoint(name) if *name == setpoint.name)
}

fn others_moved(verdict: &Verdict) -> String {
    let why = verdict.touched.iter().find(|t| t.rule.is_for_safety()).map(|t| t.why.as_str());
    format!("it would move others: {}", why.unwrap_or("they are outside of their limits"))
}

/// The way of a setpoint, and how many of its stops lead away: the first is the guard's, the others follow it as
/// far as the range goes.
fn stops(setpoint: &Setpoint, trial: &Trial, steps: u32) -> (Vec<Finite>, usize) {
    let stride = setpoint.least_move().get();
    let way = (trial.to().get() - trial.from().get()).signum();
    let at = |k: u32| trial.to().plus(way * stride * f64::from(k)).rounded(6);
    let inside = |v: &Finite| setpoint.min <= *v && *v <= setpoint.max;
    let away: Vec<Finite> = (0..steps.max(1)).map(at).take_while(inside).collect();
    let back = away.iter().rev().skip(1).copied();
    let stops = away.iter().copied().chain(back).chain([trial.from()]).collect();
    (stops, away.len())
}

#[cfg(test)]
mod tests;
