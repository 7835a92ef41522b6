//! The only writer: takes what the guard has passed, and believes only what it reads back.
//!
//! A write is sent once. When it is not known whether it was carried out, the register is read before
//! anything else: equal means done, different means that it may be sent again.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::clock::monotonic;
use crate::envelope::{SafeAction, SafeWrite, Target, Words};
use crate::ingest::modbus::{Bus, Exception, ModbusError};
use crate::register;
use crate::site::{Name, Point, Site, Table};

const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(250);
/// A register that does not show what was written by then has not taken it.
const READ_BACK_WITHIN: Duration = Duration::from_secs(2);
const READ_BACK_EVERY: Duration = Duration::from_millis(100);

/// What became of an action.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// One for each write of the action, in its order.
    pub writes: Vec<WriteResult>,
    /// A write failed: what the plant holds is not what was decided, so control has to be released.
    pub release_needed: bool,
}

impl Outcome {
    /// Setpoints whose registers show what was written.
    #[must_use]
    pub fn setpoints_applied(&self) -> u64 {
        self.setpoints().filter(|w| w.result == Written::Applied).count() as u64
    }

    /// Setpoints that were written at all.
    #[must_use]
    pub fn setpoints_tried(&self) -> u64 {
        self.setpoints().filter(|w| w.result != Written::Skipped).count() as u64
    }

    /// What became of a heartbeat that did not arrive; `None` for anything else.
    #[must_use]
    pub fn lost_beat(&self) -> Option<String> {
        let beats = !self.writes.is_empty() && self.writes.iter().all(|w| w.target == Target::Heartbeat);
        Some(self.trouble()).filter(|trouble| beats && !trouble.is_empty())
    }

    fn setpoints(&self) -> impl Iterator<Item = &WriteResult> {
        self.writes.iter().filter(|w| matches!(w.target, Target::Setpoint(_)))
    }

    /// What went wrong, for people; empty when nothing did.
    #[must_use]
    pub fn trouble(&self) -> String {
        let failed = self.writes.iter().filter(|w| w.result != Written::Applied);
        failed.map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for WriteResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Setpoint(name) => write!(f, "setpoint {name}")?,
            Target::Enable => f.write_str("enable")?,
            Target::Heartbeat => f.write_str("heartbeat")?,
        }
        write!(f, " (device {}, register {}): ", self.device, self.address)?;
        match &self.result {
            Written::Applied => f.write_str("applied"),
            Written::NotApplied => {
                let wanted = self.words.as_slice();
                write!(f, "acknowledged, but the register shows ")?;
                match self.read_back {
                    Some(shown) => write!(f, "{:?} instead of {wanted:?}", shown.as_slice()),
                    None => write!(f, "nothing instead of {wanted:?}"),
                }
            }
            Written::Refused { exception } => write!(f, "the device refused: {exception}"),
            Written::LinkFailed { why } => f.write_str(why),
            Written::Skipped => f.write_str("not tried"),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WriteResult {
    pub target: Target,
    pub device: Name,
    /// Zero-based, as on the wire.
    pub address: u16,
    pub words: Words,
    /// What the register last showed.
    pub read_back: Option<Words>,
    pub result: Written,
    /// Writes sent; 0 for a skipped one.
    pub tries: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// The register shows what was written, give or take what the site allows its device to round.
    Applied,
    /// Acknowledged, but the register shows something else.
    NotApplied,
    /// The device said no.
    Refused { exception: Exception },
    /// Whether it was carried out is not known.
    LinkFailed { why: String },
    /// Not tried, because one before it failed.
    Skipped,
}

/// Writes guarded actions to the plant; what does not go through it does not get there.
#[derive(Clone, Debug)]
pub struct Writer {
    bus: Bus,
    /// Setpoints whose devices round, and by how many counts.
    rounding: BTreeMap<Name, (Point, u16)>,
}

impl Writer {
    #[must_use]
    pub fn new(bus: Bus, site: &Site) -> Self {
        let rounding = site.setpoints.iter().filter(|s| s.read_back_tolerance > 0);
        let rounding = rounding.map(|s| (s.name.clone(), (s.register.clone(), s.read_back_tolerance)));
        Self { bus, rounding: rounding.collect() }
    }

    /// Carries out the writes in order and stops at the first that fails.
    pub async fn apply(&self, action: &SafeAction) -> Outcome {
        let mut writes = Vec::with_capacity(action.writes().len());
        let mut failed = false;
        for write in action.writes() {
            let result = if failed { skipped(write) } else { self.carry_out(write).await };
            failed |= result.result != Written::Applied;
            writes.push(result);
        }
        Outcome { writes, release_needed: failed }
    }

    /// Sends a heartbeat: once, and without reading back. The next one is due soon, and one that is missed
    /// is what the plant watches for. An error says what became of one that did not arrive.
    pub async fn beat(&self, action: &SafeAction) -> Result<(), Outcome> {
        let mut lost = Vec::new();
        for write in action.writes() {
            let result = match self.bus.write(write).await {
                Ok(()) => continue,
                Err(ModbusError::Refused(exception)) => Written::Refused { exception },
                Err(error) => Written::LinkFailed { why: error.to_string() },
            };
            lost.push(WriteResult { result, tries: 1, ..skipped(write) });
        }
        // One that is lost is no reason to give the plant up.
        if lost.is_empty() { Ok(()) } else { Err(Outcome { writes: lost, release_needed: false }) }
    }

    async fn carry_out(&self, write: &SafeWrite) -> WriteResult {
        let mut done = skipped(write);
        for attempt in 0..TRIES {
            if attempt > 0 {
                sleep(BETWEEN_TRIES).await;
                // The last try may have been carried out after all: look before writing again.
                match self.read(write).await {
                    Ok(words) => done.read_back = Some(words),
                    Err(error) => {
                        done.result = Written::LinkFailed { why: error.to_string() };
                        continue;
                    }
                }
                if done.read_back.is_some_and(|words| self.shows(write, words)) {
                    done.result = Written::Applied;
                    return done;
                }
            }
            done.tries += 1;
            done.result = match self.bus.write(write).await {
                Ok(()) | Err(ModbusError::Refused(Exception::IN_PROGRESS)) => {
                    self.read_back(write, &mut done.read_back).await
                }
                Err(ModbusError::Refused(exception)) => Written::Refused { exception },
                Err(error) => Written::LinkFailed { why: error.to_string() },
            };
            match done.result {
                Written::Applied => return done,
                Written::Refused { exception } if exception != Exception::BUSY => return done,
                Written::Refused { .. }
                | Written::NotApplied
                | Written::LinkFailed { .. }
                | Written::Skipped => {}
            }
        }
        done
    }

    /// Reads until the register shows the words, for as long as it may take.
    async fn read_back(&self, write: &SafeWrite, shown: &mut Option<Words>) -> Written {
        let deadline = monotonic() + READ_BACK_WITHIN;
        loop {
            let read = self.read(write).await;
            if let Ok(words) = read {
                *shown = Some(words);
                if self.shows(write, words) {
                    return Written::Applied;
                }
            }
            if monotonic() >= deadline {
                return match read {
                    Ok(_) => Written::NotApplied,
                    Err(error) => Written::LinkFailed { why: error.to_string() },
                };
            }
            sleep(READ_BACK_EVERY).await;
        }
    }

    /// Whether a register that reads `words` has taken the write.
    fn shows(&self, write: &SafeWrite, words: Words) -> bool {
        let rounding = match write.target() {
            Target::Setpoint(name) => self.rounding.get(name),
            Target::Enable | Target::Heartbeat => None,
        };
        words == write.words()
            || rounding.is_some_and(|(point, counts)| {
                register::within(point, words.as_slice(), write.words().as_slice(), *counts)
            })
    }

    async fn read(&self, write: &SafeWrite) -> Result<Words, ModbusError> {
        let count = if matches!(write.words(), Words::One(_)) { 1 } else { 2 };
        let words = self.bus.read(write.device(), Table::Holding, write.address(), count).await?;
        Words::from_slice(&words).ok_or(ModbusError::Mismatch)
    }
}

fn skipped(write: &SafeWrite) -> WriteResult {
    WriteResult {
        target: write.target().clone(),
        device: write.device().clone(),
        address: write.address(),
        words: write.words(),
        read_back: None,
        result: Written::Skipped,
        tries: 0,
    }
}
