//! The plant's own controller: takes setpoints from remote while it may, else holds its local ones.
//!
//! Remote setpoints are in force while `enable` is 1 and the heartbeat register has changed within
//! the last three minutes of simulated time. Otherwise, and from the start, the plant holds the local
//! setpoints of its scenario. The setpoint in force ramps to its target, so that taking over and
//! handing back are bumpless.

use serde::Deserialize;

use crate::physics::slew;

/// After so long without a new heartbeat the plant takes its local setpoints, s.
pub const WATCHDOG_S: f64 = 180.0;

/// A setpoint that can be written from remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetpointSpec {
    pub name: &'static str,
    pub unit: &'static str,
    /// Register counts per unit.
    pub counts_per_unit: u16,
}

/// Limits and local value of a setpoint, in its unit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetpointConfig {
    #[serde(deserialize_with = "crate::bounds::any")]
    pub local: f64,
    #[serde(deserialize_with = "crate::bounds::any")]
    pub min: f64,
    #[serde(deserialize_with = "crate::bounds::any")]
    pub max: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub slew_per_min: f64,
}

/// One setpoint in the plant's controller.
#[derive(Debug, Clone)]
pub struct Setpoint {
    pub spec: SetpointSpec,
    pub config: SetpointConfig,
    /// As written from remote.
    pub requested: f64,
    /// In force.
    pub active: f64,
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CommandError {
    #[error("no command named {name:?}; this plant knows {known}")]
    Unknown { name: String, known: String },
    #[error("{name} = {value} is outside {min}..{max} {unit}")]
    OutOfRange { name: String, value: f64, min: f64, max: f64, unit: &'static str },
}

/// The remote interface of a plant.
#[derive(Debug, Clone)]
pub struct Supervision {
    pub setpoints: Vec<Setpoint>,
    pub enable: bool,
    pub heartbeat: u16,
    heartbeat_age_s: f64,
    writes: u64,
}

impl Supervision {
    pub fn new(setpoints: Vec<Setpoint>) -> Self {
        Self { setpoints, enable: false, heartbeat: 0, heartbeat_age_s: WATCHDOG_S, writes: 0 }
    }

    /// True while remote setpoints are in force.
    pub fn remote(&self) -> bool {
        self.enable && self.heartbeat_age_s < WATCHDOG_S
    }

    pub fn heartbeat_age_s(&self) -> f64 {
        self.heartbeat_age_s
    }

    /// Setpoint writes accepted so far.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    pub fn beat(&mut self, value: u16) {
        if value != self.heartbeat {
            self.heartbeat = value;
            self.heartbeat_age_s = 0.0;
        }
    }

    /// Writes the setpoint at `index`.
    pub fn request(&mut self, index: usize, value: f64) -> Result<(), CommandError> {
        let Some(setpoint) = self.setpoints.get_mut(index) else {
            return Err(self.unknown(&format!("setpoint {index}")));
        };
        let c = &setpoint.config;
        if !(c.min..=c.max).contains(&value) {
            return Err(CommandError::OutOfRange {
                name: setpoint.spec.name.to_owned(),
                value,
                min: c.min,
                max: c.max,
                unit: setpoint.spec.unit,
            });
        }
        setpoint.requested = value;
        self.writes += 1;
        Ok(())
    }

    /// `enable` (0 or 1), `heartbeat` (any new number), or a setpoint by name in its unit.
    pub fn command(&mut self, name: &str, value: f64) -> Result<(), CommandError> {
        match name {
            "enable" => self.enable = value >= 0.5,
            "heartbeat" => self.beat(value as u16),
            _ => match self.setpoints.iter().position(|s| s.spec.name == name) {
                Some(index) => self.request(index, value)?,
                None => return Err(self.unknown(name)),
            },
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> CommandError {
        let mut known = vec!["enable", "heartbeat"];
        known.extend(self.setpoints.iter().map(|s| s.spec.name));
        CommandError::Unknown { name: name.to_owned(), known: known.join(", ") }
    }

    /// One step; `least` per setpoint is what the machines can do at present. Returns whether a
    /// setpoint had to be clamped to it.
    pub fn step(&mut self, dt: f64, least: &[f64]) -> bool {
        self.heartbeat_age_s += dt;
        let remote = self.remote();
        let mut clamped = false;
        for (s, least) in self.setpoints.iter_mut().zip(least) {
            let wanted = if remote { s.requested } else { s.config.local };
            clamped |= wanted < *least;
            s.active = slew(s.active, wanted.max(*least), s.config.slew_per_min * dt / 60.0);
        }
        clamped
    }
}
