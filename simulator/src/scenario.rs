//! Scenario files: everything a run depends on except its seed.
//!
//! A scenario is TOML. `base = "air"` starts from a shipped one and overrides what it names, table by
//! table; arrays are replaced whole. Unknown fields and values out of range are errors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use toml::{Table, Value};

use crate::climate::WeatherConfig;
use crate::fault::Fault;
use crate::load::{Job, WorkloadConfig};
use crate::plant::{Outcome, PlantConfig};
use crate::sensor::SensorsConfig;
use crate::supervision::{Setpoint, SetpointConfig};

#[derive(Debug, thiserror::Error)]
#[error("{file}: {message}")]
pub struct ScenarioError {
    file: String,
    message: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// File or shipped name, for messages.
    #[serde(skip)]
    pub source: String,
    /// Where relative paths count from.
    #[serde(skip)]
    pub folder: PathBuf,
    /// One line on what happens.
    pub about: String,
    pub start: Timestamp,
    /// Seconds between samples.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub sample_s: f64,
    /// Hours the plant runs on its local setpoints before the clock starts.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub settle_h: f64,
    /// The watched temperature counts as too warm above this, degC.
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub over_above: f64,
    /// Electrical losses between meter and loads: share of IT power, and constant kW (lights, switchgear).
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub distribution_loss: f64,
    #[serde(deserialize_with = "crate::bounds::power")]
    pub house_kw: f64,
    pub weather: WeatherConfig,
    /// One per hall, or one for a liquid-cooled plant.
    pub workload: Vec<WorkloadConfig>,
    /// Jobs on top of the workloads.
    #[serde(default)]
    pub job: Vec<Job>,
    pub setpoint: BTreeMap<String, SetpointConfig>,
    pub sensors: SensorsConfig,
    #[serde(default)]
    pub fault: Vec<Fault>,
    pub plant: PlantConfig,
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        /// The scenarios that ship with the simulator: name and text.
        pub const SHIPPED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../scenarios/", $name, ".toml")))),*];
    };
}

shipped![
    "air",
    "air-faults",
    "air-heatwave",
    "air-jobs",
    "air-winter",
    "immersion",
    "immersion-winter",
    "liquid",
    "liquid-faults",
    "liquid-inference",
];

impl Scenario {
    /// Reads a scenario file.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|e| ScenarioError { file: file.clone(), message: e.to_string() })?;
        let mut scenario = Self::parse(&file, &text)?;
        path.parent().unwrap_or(Path::new("")).clone_into(&mut scenario.folder);
        Ok(scenario)
    }

    /// A shipped scenario, or a scenario file.
    pub fn named(name: &str) -> Result<Self, ScenarioError> {
        let path = Path::new(name);
        let ships = SHIPPED.iter().any(|(shipped, _)| *shipped == name);
        let is_file = path.is_file() || path.extension().is_some_and(|e| e == "toml");
        if is_file && !ships { Self::load(path) } else { Self::shipped(name) }
    }

    /// A shipped scenario by name.
    pub fn shipped(name: &str) -> Result<Self, ScenarioError> {
        Self::parse(name, shipped_text(name, name)?)
    }

    /// Parses a scenario; `file` is for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let error = |message: String| ScenarioError { file: file.to_owned(), message };
        let table: Table = toml::from_str(text).map_err(|e| error(e.to_string()))?;
        let mut scenario: Scenario = if table.contains_key("base") {
            let merged = with_base(file, table)?;
            merged.try_into().map_err(|e: toml::de::Error| error(e.to_string()))?
        } else {
            // Parsed from the text, so that messages show the line.
            toml::from_str(text).map_err(|e| error(e.to_string()))?
        };
        file.clone_into(&mut scenario.source);
        scenario.check()?;
        Ok(scenario)
    }

    pub(crate) fn error(&self, message: String) -> ScenarioError {
        ScenarioError { file: self.source.clone(), message }
    }

    fn check(&self) -> Result<(), ScenarioError> {
        if self.workload.len() != self.plant.loads() {
            return Err(self.error(format!(
                "workload: expected {} for a plant of kind {}, found {}",
                self.plant.loads(),
                self.plant.name(),
                self.workload.len()
            )));
        }
        for job in &self.job {
            if job.load >= self.plant.loads() {
                return Err(self.error(format!(
                    "job {:?}: load: expected below {}, found {}",
                    job.id,
                    self.plant.loads(),
                    job.load
                )));
            }
        }
        for fault in &self.fault {
            if let Some(name) = fault.signal()
                && !self.plant.signals().iter().any(|s| s.name == name)
            {
                return Err(self.error(format!("fault: no signal named {name:?}")));
            }
        }
        self.setpoints().map(|_| ())
    }

    /// The setpoints of the plant, in register order.
    pub(crate) fn setpoints(&self) -> Result<Vec<Setpoint>, ScenarioError> {
        let specs = self.plant.setpoints();
        if let Some(name) = self.setpoint.keys().find(|k| !specs.iter().any(|s| s.name == *k)) {
            return Err(self.error(format!("setpoint.{name}: this plant has no such setpoint")));
        }
        specs
            .iter()
            .map(|spec| {
                let config = self
                    .setpoint
                    .get(spec.name)
                    .ok_or_else(|| self.error(format!("setpoint.{}: missing", spec.name)))?;
                if !(config.min..=config.max).contains(&config.local) {
                    return Err(self.error(format!(
                        "setpoint.{}.local: expected {}..{} {}, found {}",
                        spec.name, config.min, config.max, spec.unit, config.local
                    )));
                }
                Ok(Setpoint {
                    spec: *spec,
                    config: config.clone(),
                    requested: config.local,
                    active: config.local,
                })
            })
            .collect()
    }

    /// Power at the utility meter, kW.
    pub(crate) fn facility_kw(&self, o: &Outcome) -> f64 {
        o.it_kw * (1.0 + self.distribution_loss) + o.cooling_kw + self.house_kw
    }
}

fn shipped_text(file: &str, name: &str) -> Result<&'static str, ScenarioError> {
    SHIPPED.iter().find(|(n, _)| *n == name).map(|(_, text)| *text).ok_or_else(|| {
        let names: Vec<_> = SHIPPED.iter().map(|(n, _)| *n).collect();
        ScenarioError {
            file: file.to_owned(),
            message: format!("no shipped scenario named {name:?}; there are {}", names.join(", ")),
        }
    })
}

/// Resolves `base` and lays the table over it.
fn with_base(file: &str, mut table: Table) -> Result<Table, ScenarioError> {
    let error = |message: String| ScenarioError { file: file.to_owned(), message };
    let Some(base) = table.remove("base") else {
        return Ok(table);
    };
    let name = base.as_str().ok_or_else(|| error("base: expected a name".into()))?;
    let text = shipped_text(file, name)?;
    let lower: Table = toml::from_str(text).map_err(|e| error(e.to_string()))?;
    let mut merged = with_base(file, lower)?;
    overlay(&mut merged, table);
    Ok(merged)
}

fn overlay(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            // A table that names another kind is a replacement, not an amendment.
            (Some(Value::Table(old)), Value::Table(new))
                if !new.contains_key("kind") || new.get("kind") == old.get("kind") =>
            {
                overlay(old, new);
            }
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}
