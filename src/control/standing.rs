//! What operators have set, and what the guard must not forget. It outlives a restart, and a log that was lost: the
//! agent goes on as it was told to, not as its site file says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::alarm::{Alarm, keep_newest};
use super::charge::{Charge, Unheard};
use super::record::{Body, Event, EventRecord};
use super::{Controller, Effects};
use crate::directive::Directive;
use crate::envelope::Memory;
use crate::site::{Mode, Name};
use crate::units::Finite;
use crate::workload::Job;

/// Where an operator wants a setpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Override {
    pub(super) value: Finite,
    pub(super) until: Option<Timestamp>,
    /// Files and logs of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) given: Option<Given>,
}

/// Who wanted something, when and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Given {
    pub who: String,
    pub why: String,
    pub from: Timestamp,
}

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The site file's mode at that time. Where it is another one now, the file has been edited, and decides.
    site_mode: Mode,
    mode: Mode,
    /// Files and logs of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode_given: Option<Given>,
    overrides: BTreeMap<Name, Override>,
    directives: Vec<Directive>,
    memory: Memory,
    /// The plant was the agent's, or has not confirmed that it is its own again.
    #[serde(default)]
    holds: bool,
    /// What nobody has acknowledged. Files of earlier versions have none.
    #[serde(default)]
    alarms: Vec<Alarm>,
    /// What a scheduler has announced. It is on every frame: the controller has none of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    jobs: Vec<Job>,
}

impl Standing {
    /// An alarm that the controller itself cannot raise any more.
    pub(crate) fn raise(&mut self, alarm: Alarm) {
        self.alarms.push(alarm);
        keep_newest(&mut self.alarms);
    }

    /// The same where the plant still has to be released.
    pub(crate) fn unreleased(self) -> Self {
        Self { holds: true, ..self }
    }

    /// What is recorded, with what the guard knows by now: it does not forget what could not be recorded.
    pub(crate) fn with_memory_of(self, newer: Self) -> Self {
        Self { memory: newer.memory, holds: newer.holds, ..self }
    }

    pub(crate) fn with_jobs(self, jobs: Vec<Job>) -> Self {
        Self { jobs, ..self }
    }

    pub(crate) fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    fn told(&self) -> String {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        format!(
            "as before: mode {}, {}, {}, {}, {}",
            self.mode.as_str(),
            count(self.overrides.len(), "override"),
            count(self.directives.len(), "directive"),
            count(self.alarms.len(), "alarm"),
            count(self.jobs.len(), "announced job")
        )
    }
}

impl Controller {
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing {
            site_mode: self.setup.site.mode,
            mode: self.mode,
            mode_given: self.mode_given.clone(),
            overrides: self.overrides.clone(),
            directives: self.directives.clone(),
            memory: self.memory.lasting(),
            holds: !self.guard.release().is_empty()
                && (self.unheard.is_some() || !matches!(self.charge, Charge::Released { .. })),
            alarms: self.alarms.clone(),
            jobs: Vec::new(),
        }
    }

    /// At the beginning of a run. Whatever has run out ends with the first frame; what the site no longer has is
    /// left out.
    pub(super) fn on_standing(&mut self, now: Timestamp, standing: Standing, fx: &mut Effects<'_>) {
        let detail = standing.told();
        let kept = Some(Box::new(standing.clone()));
        let intent = fx.record(Body::Event(EventRecord {
            standing: kept,
            ..EventRecord::new(Event::StandingResumed, detail)
        }));
        let site = &self.setup.site;
        // What was taken by hand is given back by hand, whatever the file says by now.
        let by_hand = standing.mode == Mode::Manual && matches!(site.mode, Mode::Advise | Mode::Auto);
        if standing.site_mode == site.mode || by_hand {
            self.mode = standing.mode;
            self.mode_given = standing.mode_given;
        }
        let fits = |name: &Name, o: &Override| {
            site.setpoint(name).is_some_and(|s| (s.min..=s.max).contains(&o.value))
        };
        let (fitting, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            standing.overrides.into_iter().partition(|(name, o)| fits(name, o));
        for (name, o) in others {
            fx.event(
                Event::OverrideExpired,
                format!("{name} at {}: the site does not allow it any more", o.value),
            );
        }
        self.overrides = fitting;
        // In shadow nothing is written; what was taken in another mode the plant's watchdog gives back.
        if standing.holds && (self.mode != Mode::Shadow || standing.mode == Mode::Shadow) {
            self.unheard = Some(Unheard { intent, tried: now });
        }
        self.directives = standing.directives;
        for directive in &mut self.directives {
            directive.limits.retain(|l| site.setpoint(&l.setpoint).is_some());
        }
        self.memory = Memory::lasted(site, standing.memory);
        self.recall_alarms(standing.alarms);
    }

    /// Nobody knows whether operators had taken the plant by hand.
    pub(super) fn on_standing_lost(&mut self, why: String, fx: &mut Effects<'_>) {
        fx.event(Event::StandingLost, why);
        if self.mode == Mode::Auto {
            self.mode = Mode::Advise;
            self.mode_given = None;
            fx.event(Event::ModeChange, self.mode.as_str());
        }
    }
}
