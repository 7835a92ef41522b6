//! What an acceptance test found, to be printed, signed and filed.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::{Level, Report};
use crate::actuate::WriteResult;
use crate::site::{Name, Setpoint};
use crate::units::{Finite, Unit};

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Protocol {
    /// What was read before anything was written.
    pub read: Report,
    pub who: String,
    pub version: String,
    /// Of the site as it was understood: a later file is another one.
    pub site_sha256: String,
    pub steps: Vec<Step>,
    #[serde(serialize_with = "super::as_text")]
    pub ended: Timestamp,
    pub result: StepResult,
}

/// One thing that was to be shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Step {
    pub what: &'static str,
    pub setpoint: Option<Name>,
    pub result: StepResult,
    pub detail: String,
    pub from: Option<Finite>,
    pub to: Option<Finite>,
    pub unit: Option<Unit>,
    /// What was written and read back.
    pub writes: Vec<WriteResult>,
    /// The audit log's record of the intent.
    pub record: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    Passed,
    NotTested,
    Failed,
}

impl StepResult {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::NotTested => "not tested",
            Self::Failed => "FAILED",
        }
    }
}

impl Step {
    pub(super) fn new(what: &'static str, result: StepResult, detail: impl Into<String>) -> Self {
        Self {
            what,
            setpoint: None,
            result,
            detail: detail.into(),
            from: None,
            to: None,
            unit: None,
            writes: Vec::new(),
            record: None,
        }
    }

    pub(super) fn of(self, setpoint: &Setpoint) -> Self {
        Self { setpoint: Some(setpoint.name.clone()), ..self }
    }
}

impl Protocol {
    /// The worst of all steps; what was read counts too.
    pub(super) fn conclude(&mut self, ended: Timestamp) {
        let read = if self.read.level() == Level::Good { StepResult::Passed } else { StepResult::Failed };
        self.result = self.steps.iter().map(|s| s.result).fold(read, StepResult::max);
        self.ended = ended;
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ACCEPTANCE TEST of site {}", self.read.site)?;
        writeln!(f, "isotherm {}, site as understood {}", self.version, self.site_sha256)?;
        writeln!(f, "carried out by {}\n", self.who)?;
        writeln!(f, "1. Read: {}", self.read)?;
        writeln!(f, "2. Write, with consent; each setpoint one step away and back")?;
        write_steps(f, &self.steps)?;
        writeln!(f, "\nResult: {} (ended {})", self.result.as_str(), self.ended)?;
        signatures(f)
    }
}

pub(super) fn write_steps(f: &mut fmt::Formatter<'_>, steps: &[Step]) -> fmt::Result {
    for step in steps {
        let of = step.setpoint.as_ref().map_or_else(String::new, |s| format!(" {s}"));
        let title = format!("{}{of}", step.what);
        writeln!(f, "   {title:<32} {:<10}  {}", step.result.as_str(), step.detail)?;
        for w in &step.writes {
            let shown = w.read_back.map_or("not read".to_owned(), |r| format!("{:?}", r.as_slice()));
            writeln!(
                f,
                "      device {}, register {}: wrote {:?}, then it held {shown}{}",
                w.device,
                w.address,
                w.words.as_slice(),
                step.record.map_or_else(String::new, |r| format!(" (audit record {r})"))
            )?;
        }
    }
    Ok(())
}

pub(super) fn signatures(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "\nFor the plant: ____________________    For the agent: ____________________")
}
