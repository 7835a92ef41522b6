//! Sensors: lag, fixed bias, drift, noise, quantization, and the faults a scenario schedules.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::fault::{Fault, FaultKind};
use crate::noise::{Noise, Stream};

/// How good a sensor is, in units of its signal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorConfig {
    /// Standard deviation of white noise.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub noise: f64,
    /// Smallest step of the output; 0 for none.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub quantum: f64,
    /// Standard deviation, over sensors, of the fixed bias and of drift per day.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub bias_sd: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub drift_sd_per_day: f64,
    /// Time constant of the sensor, s.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub lag_s: f64,
}

/// Sensors of a plant: by unit, with exceptions by signal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorsConfig {
    pub unit: BTreeMap<String, SensorConfig>,
    #[serde(default)]
    pub signal: BTreeMap<String, SensorConfig>,
}

/// A signal of a plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalSpec {
    pub name: &'static str,
    pub unit: &'static str,
}

#[derive(Debug, Clone)]
struct Sensor {
    spec: SignalSpec,
    config: SensorConfig,
    bias: f64,
    drift_per_h: f64,
    lagged: f64,
    last: Option<f64>,
}

/// All sensors of a plant.
#[derive(Debug, Clone)]
pub struct Sensors {
    sensors: Vec<Sensor>,
    noise: Noise,
}

impl Sensors {
    /// `truth` are the first true values, in the order of `specs`. A unit without an entry in the
    /// config is an error, named in the message.
    pub fn new(
        config: &SensorsConfig,
        specs: &'static [SignalSpec],
        truth: &[f64],
        seed: u64,
    ) -> Result<Self, String> {
        let mut noise = Noise::new(seed, Stream::Sensors);
        for name in config.signal.keys() {
            if !specs.iter().any(|spec| spec.name == name) {
                return Err(format!("sensors.signal.{name}: this plant has no such signal"));
            }
        }
        let sensors = specs
            .iter()
            .zip(truth)
            .map(|(spec, value)| {
                let config =
                    config.signal.get(spec.name).or_else(|| config.unit.get(spec.unit)).ok_or_else(|| {
                        format!("sensors.unit: no entry for \"{}\", which {} needs", spec.unit, spec.name)
                    })?;
                Ok(Sensor {
                    spec: *spec,
                    bias: config.bias_sd * noise.normal(),
                    drift_per_h: config.drift_sd_per_day * noise.normal() / 24.0,
                    config: config.clone(),
                    lagged: *value,
                    last: Some(*value),
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { sensors, noise })
    }

    /// Noise to come is drawn anew; bias and drift stay.
    pub fn draw_anew(&mut self, seed: u64) {
        self.noise = Noise::new(seed, Stream::Sensors);
    }

    /// Lets the sensing elements follow the truth for `dt` seconds.
    pub fn follow(&mut self, dt: f64, truth: &[f64]) {
        for (sensor, value) in self.sensors.iter_mut().zip(truth) {
            sensor.lagged += (value - sensor.lagged) * dt / (sensor.config.lag_s + dt);
        }
    }

    /// Takes a sample `hours` after the start, with the faults active then.
    pub fn sample(&mut self, hours: f64, faults: &[&Fault]) {
        for sensor in &mut self.sensors {
            // Noise is drawn whatever happens, so that a fault does not change other samples.
            let noise = self.noise.normal();
            let c = &sensor.config;
            let mut value = sensor.lagged + sensor.bias + sensor.drift_per_h * hours + c.noise * noise;
            let mut out = None;
            for fault in faults.iter().filter(|f| f.signal() == Some(sensor.spec.name)) {
                match &fault.what {
                    FaultKind::SensorStuck { .. } => out = Some(sensor.last),
                    FaultKind::SensorDropout { .. } => out = Some(None),
                    FaultKind::SensorBias { offset, .. } => value += offset,
                    FaultKind::SensorDrift { per_hour, .. } => {
                        value += per_hour * (hours - fault.at_h);
                    }
                    FaultKind::SensorFahrenheit { .. } => value = value * 1.8 + 32.0,
                    FaultKind::ChillerTrip { .. }
                    | FaultKind::PumpLoss { .. }
                    | FaultKind::TowerFanLoss { .. }
                    | FaultKind::CrahFanLoss { .. }
                    | FaultKind::Fouling { .. }
                    | FaultKind::BrokerOutage
                    | FaultKind::ModbusOutage => {}
                }
            }
            if c.quantum > 0.0 {
                value = (value / c.quantum).round() * c.quantum;
            }
            // A percentage, flow or power meter does not read below zero.
            if !matches!(sensor.spec.unit, "degC") {
                value = value.max(0.0);
            }
            sensor.last = out.unwrap_or(Some(value));
        }
    }

    /// The last sample: signal and value, `None` where it is missing.
    pub fn read(&self) -> impl Iterator<Item = (SignalSpec, Option<f64>)> {
        self.sensors.iter().map(|s| (s.spec, s.last))
    }
}
