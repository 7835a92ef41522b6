//! One typed snapshot of a site. A number in a frame always says how good it is: a missing, stale or
//! doubtful value is a state of its own, never a plausible-looking number.

mod assemble;
mod quality;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use assemble::Assembler;

use crate::site::{Name, Role, Site};
use crate::units::{Finite, Unit};
use crate::workload::Job;

/// All of a site at one time, in the shape it also has on MQTT (with more fields).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Frame {
    #[schemars(with = "String")]
    pub time: Timestamp,
    pub signals: BTreeMap<Name, Sample>,
    /// The setpoints in the plant, as read back from its registers.
    pub setpoints: BTreeMap<Name, Sample>,
    /// The setpoints in force, of those for which the plant has a register of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub active: BTreeMap<Name, Sample>,
    /// Where the plant says whether it is the agent's: the register that is written to take and to release it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable: Option<Sample>,
    /// Jobs that have been announced and have not started, the next one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<Job>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// The last value received; `None` only when `quality` is `missing`.
    pub value: Option<Finite>,
    pub unit: Unit,
    pub quality: Quality,
    /// Seconds since the source took the value; `None` when that is not known.
    pub age_s: Option<Finite>,
    /// What the value may be by now: value ± slew limit × age, of the last value that was believed.
    /// The whole plausible range when nothing was, or when the age is not known. `None` when missing.
    pub worst: Option<Span>,
    /// Why the quality is not `good`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
}

/// The lowest and highest that something may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    pub low: Finite,
    pub high: Finite,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    Good,
    /// Too old to act on, except at its worst case.
    Stale,
    /// Here, but not believed.
    Suspect,
    Missing,
}

impl Quality {
    /// As it stands in frames.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Stale => "stale",
            Self::Suspect => "suspect",
            Self::Missing => "missing",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    OutOfRange,
    /// Out of range as it came, in range read as another unit: the field's classic.
    WrongUnit,
    /// Changed faster than the slew limit.
    Jump,
    Stuck,
    /// Far from the sensors that measure the same thing, or left with none to compare with.
    Disagrees,
    /// The first value after a reconnect.
    Reconnect,
    /// The source itself said so.
    Flagged,
    /// A retained message: when it was true is unknown.
    Retained,
    /// Time stamped in the future.
    Clock,
    TooOld,
    NeverSeen,
}

/// The JSON Schema of a frame, as published in `schemas/`.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Frame).to_value()
}

impl Sample {
    #[must_use]
    pub fn missing(unit: Unit) -> Self {
        Self {
            value: None,
            unit,
            quality: Quality::Missing,
            age_s: None,
            worst: None,
            doubt: Some(Doubt::NeverSeen),
        }
    }

    /// The value, only if it is good.
    #[must_use]
    pub fn good(&self) -> Option<Finite> {
        if self.quality == Quality::Good { self.value } else { None }
    }

    /// What it may be by now; `None` when it is not believed at all.
    #[must_use]
    pub fn believed(&self) -> Option<Span> {
        match self.quality {
            Quality::Good => self.value.map(|value| Span { low: value, high: value }),
            Quality::Stale => self.worst,
            Quality::Suspect | Quality::Missing => None,
        }
    }

    /// Whether it was read and shows what cannot be.
    #[must_use]
    pub fn is_implausible(&self) -> bool {
        matches!(self.doubt, Some(Doubt::OutOfRange | Doubt::WrongUnit))
    }
}

impl Frame {
    /// How many chillers run, over all signals that count some; `None` unless all of them are good.
    #[must_use]
    pub fn chillers_on(&self, site: &Site) -> Option<Finite> {
        let counts: Vec<f64> = site
            .with_role(Role::ChillersOn)
            .map(|s| self.good(&s.name).map(Finite::get))
            .collect::<Option<_>>()?;
        (!counts.is_empty()).then(|| Finite::new(counts.iter().sum()))?
    }

    /// The good value of a signal or setpoint.
    #[must_use]
    pub fn good(&self, name: &Name) -> Option<Finite> {
        self.signals.get(name).or_else(|| self.setpoints.get(name)).and_then(Sample::good)
    }

    /// The setpoint in force: what the plant shows as active, or else what was written last.
    #[must_use]
    pub fn in_force(&self, setpoint: &Name) -> Option<Finite> {
        self.active.get(setpoint).and_then(Sample::good).or_else(|| self.good(setpoint))
    }

    /// Whether every signal that decisions need, and every setpoint, has a good value.
    #[must_use]
    pub fn is_complete(&self, site: &Site) -> bool {
        let required = site.signals.iter().filter(|s| s.required).map(|s| &s.name);
        required.chain(site.setpoints.iter().map(|s| &s.name)).all(|name| self.good(name).is_some())
    }
}
