//! A plant that follows writes, does not, or is changed at its panel, judged step by step.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Oracle, physics};
use crate::actuate::{Outcome, WriteResult, Written};
use crate::envelope::{Case, Guard, Limit, Memory, Predicted, Proposal, Target, Verdict, Words};
use crate::frame::{Frame, Quality, Sample};
use crate::register;
use crate::site::{Name, Site};
use crate::units::Finite;

/// What becomes of the writes of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Fate {
    #[default]
    Applied,
    NotApplied,
    /// Carried out, but the answer was lost.
    Lost,
    /// In `shadow` mode: nothing is sent.
    Unsent,
}

/// One frame, and what is proposed upon it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Later than the step before; earlier when negative.
    pub after_s: i32,
    pub signals: BTreeMap<Name, Sample>,
    /// Setpoints that are read with another quality than good.
    #[serde(default)]
    pub unread: BTreeMap<Name, Quality>,
    /// Words that somebody enters at the panel before the frame.
    #[serde(default)]
    pub panel: BTreeMap<Name, Finite>,
    /// Setpoints in force, of plants that do not follow their registers.
    #[serde(default)]
    pub active: BTreeMap<Name, Finite>,
    pub proposal: Proposal,
    #[serde(default)]
    pub decided_s_ago: i32,
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// K that the outlook gives each signal for each unit that a setpoint is above its minimum.
    #[serde(default)]
    pub outlook_gain: Finite,
    #[serde(default)]
    pub fate: Fate,
}

/// See the module.
#[derive(Clone)]
pub struct Trial {
    pub guard: Guard,
    pub memory: Memory,
    pub oracle: Oracle,
    pub now: Timestamp,
    site: Site,
    registers: BTreeMap<Name, Words>,
}

impl Trial {
    /// A plant at its safe setpoints.
    #[must_use]
    pub fn new(site: &Site) -> Self {
        let words = |s: &crate::site::Setpoint| {
            Some((s.name.clone(), register::encode(&s.register, s.unit, s.safe).ok()?))
        };
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56);
        let mut oracle = Oracle::new(site);
        oracle.take(now);
        Self {
            guard: Guard::new(site),
            memory: Memory::new(site).handed(Some(now)),
            oracle,
            now,
            site: site.clone(),
            registers: site.setpoints.iter().filter_map(words).collect(),
        }
    }

    /// What the plant holds.
    #[must_use]
    pub fn held(&self, name: &str) -> Option<f64> {
        let s = self.site.setpoints.iter().find(|s| s.name == *name)?;
        physics::decode(s, self.registers.get(&s.name)?.as_slice())
    }

    fn frame(&self, step: &Step) -> Frame {
        let shown = |s: &crate::site::Setpoint| {
            let value = Finite::new(self.held(s.name.as_str())?)?;
            let quality = step.unread.get(&s.name).copied().unwrap_or(Quality::Good);
            let value = (quality != Quality::Missing).then_some(value);
            let sample =
                Sample { value, unit: s.unit, quality, age_s: Some(Finite::ZERO), worst: None, doubt: None };
            Some((s.name.clone(), sample))
        };
        let in_force = |s: &crate::site::Setpoint| {
            let held = Finite::new(self.held(s.name.as_str())?)?;
            let value = Some(step.active.get(&s.name).copied().unwrap_or(held));
            let quality = Quality::Good;
            let age_s = Some(Finite::ZERO);
            Some((s.name.clone(), Sample { value, unit: s.unit, quality, age_s, worst: None, doubt: None }))
        };
        Frame {
            active: self.site.setpoints.iter().filter(|s| s.active.is_some()).filter_map(in_force).collect(),
            time: self.now,
            signals: step.signals.clone(),
            setpoints: self.site.setpoints.iter().filter_map(shown).collect(),
            enable: None,
            jobs: Vec::new(),
        }
    }

    /// One step; the verdict and everything that is wrong with it.
    pub fn step(&mut self, step: &Step) -> (Verdict, Vec<String>) {
        let frame = self.advance(step);
        self.judge(&frame, step)
    }

    /// The time passes and the panel is used: the frame after that.
    pub fn advance(&mut self, step: &Step) -> Frame {
        let moved = self.now.checked_add(SignedDuration::from_secs(i64::from(step.after_s)));
        self.now = moved.unwrap_or(self.now);
        for (name, value) in &step.panel {
            if let Some(s) = self.site.setpoint(name)
                && let Ok(words) = register::encode(&s.register, s.unit, *value)
            {
                self.registers.insert(name.clone(), words);
            }
        }
        self.frame(step)
    }

    /// The same on a frame as it comes.
    pub fn judge(&mut self, frame: &Frame, step: &Step) -> (Verdict, Vec<String>) {
        self.memory = self.guard.observe(&self.memory, self.now, frame);
        let mut wrong = self.oracle.observe(self.now, frame, &self.memory);
        let decided = SignedDuration::from_secs(i64::from(step.decided_s_ago));
        let foresight = |setpoints: &BTreeMap<Name, Finite>| self.foresee(step, setpoints);
        let case = Case {
            now: self.now,
            decided_at: self.now.checked_sub(decided).unwrap_or(self.now),
            frame,
            memory: &self.memory,
            limits: &step.limits,
            foresight: &foresight,
            proposal: &step.proposal,
        };
        let verdict = self.guard.judge(&case);
        if self.guard.judge(&case) != verdict {
            wrong.push("the same case gets another verdict".to_owned());
        }
        wrong.extend(self.oracle.check(&case, &verdict));
        let outcome = self.write(&verdict, step.fate);
        self.memory = self.guard.after(&self.memory, self.now, &outcome);
        self.oracle.after(self.now, &outcome);
        (verdict, wrong)
    }

    fn foresee(&self, step: &Step, setpoints: &BTreeMap<Name, Finite>) -> BTreeMap<Name, Predicted> {
        let above =
            self.site.setpoints.iter().filter_map(|s| Some(setpoints.get(&s.name)?.get() - s.min.get()));
        let high = Finite::saturating(20.0 + above.sum::<f64>() * step.outlook_gain.get());
        let ahead = Predicted { low: high, high, ramp_15min: Finite::ZERO };
        self.site.signals.iter().map(|s| (s.name.clone(), ahead)).collect()
    }

    fn write(&mut self, verdict: &Verdict, fate: Fate) -> Outcome {
        let sent = if fate == Fate::Unsent { &[] } else { verdict.action.writes() };
        let mut writes = Vec::new();
        for w in sent {
            if let (Target::Setpoint(name), Fate::Applied | Fate::Lost) = (w.target(), fate) {
                self.registers.insert(name.clone(), w.words());
            }
            let result = match fate {
                Fate::Applied => Written::Applied,
                Fate::NotApplied | Fate::Unsent => Written::NotApplied,
                Fate::Lost => Written::LinkFailed { why: "no answer".to_owned() },
            };
            writes.push(WriteResult {
                target: w.target().clone(),
                device: w.device().clone(),
                address: w.address(),
                words: w.words(),
                read_back: None,
                result,
                tries: 1,
            });
        }
        Outcome { release_needed: false, writes }
    }
}
