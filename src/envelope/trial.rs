//! One step of one setpoint and the way back, for whoever commissions a plant.
//!
//! The same facts and the same windows as a verdict's, but for the rules about how fast a setpoint may
//! travel: what is written is one step away for some seconds, or for as long as the plant's watchdog takes. A trial
//! cannot be had without a [`Consent`], which names its setpoint.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::action::{SafeAction, Target};
use super::guard::{Case, Guard, current, same_register, to_register};
use super::memory::Memory;
use super::rules::Facts;
use super::verdict::{Proposal, ProposedBy, Touch};
use super::window::Window;
use crate::frame::Frame;
use crate::register;
use crate::site::{Cools, Name, Setpoint};
use crate::units::{Finite, Unit};

/// Somebody, by name, lets one setpoint be moved by one step and back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consent {
    who: String,
    setpoint: Name,
}

impl Consent {
    /// `answer` is what the person said when asked for this setpoint: only its name is a yes.
    #[must_use]
    pub fn from_answer(who: &str, setpoint: &Setpoint, answer: &str) -> Option<Self> {
        let yes = answer.trim() == setpoint.name.as_str() && !who.trim().is_empty();
        yes.then(|| Self { who: who.trim().to_owned(), setpoint: setpoint.name.clone() })
    }

    #[must_use]
    pub fn who(&self) -> &str {
        &self.who
    }

    #[must_use]
    pub fn setpoint(&self) -> &Name {
        &self.setpoint
    }
}

/// A step and its undoing.
#[derive(Clone, PartialEq, Debug)]
pub struct Trial {
    step: SafeAction,
    restore: SafeAction,
    from: Finite,
    to: Finite,
    unit: Unit,
}

impl Trial {
    #[must_use]
    pub fn step(&self) -> &SafeAction {
        &self.step
    }
    /// Writes what the register held before the step.
    #[must_use]
    pub fn restore(&self) -> &SafeAction {
        &self.restore
    }
    #[must_use]
    pub fn from(&self) -> Finite {
        self.from
    }
    #[must_use]
    pub fn to(&self) -> Finite {
        self.to
    }
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

/// Why a setpoint is not tried now.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum TrialRefused {
    #[error("the site has no such setpoint")]
    Unknown,
    #[error("its register has not been read, or what it holds is not believed")]
    Unread,
    #[error("full cooling is called for: {0}")]
    Emergency(String),
    #[error("it holds {held}, outside of what may be written: set it right at the plant first")]
    Outside { held: Finite },
    #[error("no step either way is allowed: {0}")]
    NoStep(String),
}

impl Guard {
    /// A step of one setpoint, to colder where that is allowed, and what takes it back.
    pub fn trial(
        &self,
        consent: &Consent,
        now: Timestamp,
        frame: &Frame,
        memory: &Memory,
    ) -> Result<Trial, TrialRefused> {
        let setpoint = self.site.setpoint(&consent.setpoint).ok_or(TrialRefused::Unknown)?;
        if let Some(why) = memory.emergency() {
            return Err(TrialRefused::Emergency(why.to_owned()));
        }
        let proposal = Proposal { by: ProposedBy::Operator, setpoints: BTreeMap::new() };
        let unknown = |_: &BTreeMap<Name, Finite>| BTreeMap::new();
        let case = Case {
            now,
            decided_at: now,
            frame,
            memory,
            limits: &[],
            foresight: &unknown,
            proposal: &proposal,
        };
        let mut touched = Vec::new();
        let facts = Facts::gather(&self.site, &case, &mut touched).for_trial();
        let held = current(&case, setpoint).ok_or(TrialRefused::Unread)?;
        let inside =
            setpoint.min <= held && held <= setpoint.max && facts.floor(setpoint).is_none_or(|f| f <= held);
        let restore = self.write_back(setpoint, held).filter(|_| inside);
        let restore = restore.ok_or(TrialRefused::Outside { held })?;
        let colder = match setpoint.cools {
            Cools::Down => -1.0,
            Cools::Up => 1.0,
        };
        let step = setpoint.least_move().get();
        for way in [colder, -colder] {
            let mut window = Window::new(setpoint.min, setpoint.max, held.plus(way * step));
            if !facts.narrow(&case, setpoint, Some(held), &mut window, &mut touched) {
                continue;
            }
            facts.settle(&case, setpoint, Some(held), &mut window, &mut touched);
            let moved = window.value != held;
            let write =
                self.safe_write(setpoint, &window).filter(|w| moved && !same_register(setpoint, held, w));
            if let Some(write) = write {
                let (to, unit) = (write.value, setpoint.unit);
                let step = SafeAction { writes: vec![write] };
                return Ok(Trial { step, restore, from: held, to, unit });
            }
        }
        Err(TrialRefused::NoStep(reasons(&touched)))
    }

    /// What the register holds now; `None` where the register could not hold just that.
    fn write_back(&self, setpoint: &Setpoint, held: Finite) -> Option<SafeAction> {
        let point = &setpoint.register;
        let words = register::encode(point, setpoint.unit, held).ok()?;
        let target = Target::Setpoint(setpoint.name.clone());
        let write = to_register(&self.site, target, point, words, (held, setpoint.unit))?;
        Some(SafeAction { writes: vec![write] })
    }
}

fn reasons(touched: &[Touch]) -> String {
    let mut all: Vec<&str> = Vec::new();
    for touch in touched {
        if !all.contains(&touch.why.as_str()) {
            all.push(&touch.why);
        }
    }
    if all.is_empty() { "it is at both ends of its range".to_owned() } else { all.join("; ") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{Quality, Sample, Span};
    use crate::site::Site;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn site() -> Site {
        let mut site = crate::facts::example::site();
        site.signals.iter_mut().take(1).for_each(|s| s.required = true);
        site
    }

    fn good(value: f64, unit: Unit) -> Sample {
        let value = Finite::new(value).unwrap();
        let worst = Some(Span { low: value, high: value });
        let (value, quality, age_s) = (Some(value), Quality::Good, Some(Finite::ZERO));
        Sample { value, quality, age_s, worst, ..Sample::missing(unit) }
    }

    /// Every signal at this part of its range, every setpoint where it is safe.
    fn frame(site: &Site, part: f64) -> Frame {
        let signal = |s: &crate::site::Signal| {
            let [low, high] = s.range.map(Finite::get);
            (s.name.clone(), good(low + (high - low) * part, s.unit))
        };
        Frame {
            time: NOW,
            signals: site.signals.iter().map(signal).collect(),
            setpoints: site.setpoints.iter().map(|s| (s.name.clone(), good(s.safe.get(), s.unit))).collect(),
            active: [].into(),
            enable: None,
            jobs: Vec::new(),
        }
    }

    fn tried(site: &Site, frame: &Frame, name: &str) -> Result<Trial, TrialRefused> {
        let guard = Guard::new(site);
        let memory = guard.observe(&Memory::new(site), NOW, frame);
        let setpoint = site.setpoints.iter().find(|s| s.name == *name).unwrap();
        guard.trial(&Consent::from_answer("ann", setpoint, name).unwrap(), NOW, frame, &memory)
    }

    #[test]
    fn only_the_name_is_a_yes() {
        let site = site();
        let chws = &site.setpoints[0];
        for no in ["", "y", "yes", "no", "chws", "other"] {
            assert_eq!(Consent::from_answer("ann", chws, no), None, "{no}");
        }
        assert_eq!(Consent::from_answer(" ", chws, chws.name.as_str()), None, "somebody must say it");
        assert!(Consent::from_answer("ann", chws, &format!(" {}\n", chws.name)).is_some());
    }

    #[test]
    fn a_step_is_one_step_to_colder_and_back_to_what_was() {
        let site = site();
        let mut f = frame(&site, 0.4);
        let s = &site.setpoints[0];
        let held = s.min.plus(s.step.get() * 2.0);
        f.setpoints.insert(s.name.clone(), good(held.get(), s.unit));
        let trial = tried(&site, &f, s.name.as_str()).unwrap();
        assert_eq!(trial.from(), held);
        assert!(trial.to() < held && held.get() - trial.to().get() <= s.least_move().get() * 1.5);
        let [back] = trial.restore().writes() else { panic!("one write") };
        assert_eq!(register::decode(&s.register, back.words().as_slice()).unwrap(), held);
        // At the cold end the step is to warmer.
        f.setpoints.insert(s.name.clone(), good(s.coldest().get(), s.unit));
        assert!(tried(&site, &f, s.name.as_str()).unwrap().to() > s.coldest());
    }

    #[test]
    fn what_the_guard_would_not_allow_is_not_tried() {
        let site = site();
        let name = site.setpoints[0].name.clone();
        let mut f = frame(&site, 0.4);
        f.setpoints.remove(&name);
        assert_eq!(tried(&site, &f, name.as_str()), Err(TrialRefused::Unread));
        let mut f = frame(&site, 0.4);
        f.setpoints.insert(name.clone(), good(site.setpoints[0].max.get() + 1.0, site.setpoints[0].unit));
        assert!(matches!(tried(&site, &f, name.as_str()), Err(TrialRefused::Outside { .. })));
        let mut f = frame(&site, 0.4);
        for s in site.signals.iter().filter(|s| s.required) {
            f.signals.insert(s.name.clone(), Sample::missing(s.unit));
        }
        let blind = tried(&site, &f, name.as_str());
        assert!(matches!(&blind, Err(TrialRefused::NoStep(why)) if !why.is_empty()), "{blind:?}");
        assert!(matches!(tried(&site, &frame(&site, 1.0), name.as_str()), Err(TrialRefused::Emergency(_))));
    }

    proptest! {
        /// Wherever the setpoints and the signals are: both writes are inside the limits, and one step apart.
        #[test]
        fn both_writes_are_inside_the_limits(part in 0.0..1.0f64, at in 0.0..1.0f64) {
            let site = site();
            let mut f = frame(&site, part);
            for s in &site.setpoints {
                let held = s.min.get() + s.span() * at;
                f.setpoints.insert(s.name.clone(), good((held * 10.0).round() / 10.0, s.unit));
            }
            for s in &site.setpoints {
                let Ok(trial) = tried(&site, &f, s.name.as_str()) else { continue };
                let apart = (trial.to().get() - trial.from().get()).abs();
                prop_assert!(apart > 0.0 && apart <= s.least_move().get() * 1.5 + 1e-9);
                for write in trial.step().writes().iter().chain(trial.restore().writes()) {
                    prop_assert!(s.min <= write.value() && write.value() <= s.max);
                }
            }
        }
    }
}
