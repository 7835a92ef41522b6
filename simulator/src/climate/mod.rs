//! Outdoor air.

mod synthetic;

use jiff::Timestamp;
use serde::Deserialize;

use crate::noise::{Noise, Stream};
use crate::physics::psychro;
pub use synthetic::Synthetic;

/// Outdoor air at one moment, degC.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outdoor {
    pub dry_bulb: f64,
    pub wet_bulb: f64,
    pub dew_point: f64,
}

impl Outdoor {
    pub fn new(dry_bulb: f64, dew_point: f64) -> Self {
        let dew_point = dew_point.min(dry_bulb);
        Self {
            dry_bulb,
            dew_point,
            wet_bulb: psychro::wet_bulb(dry_bulb, dew_point),
        }
    }
}

/// Where the weather comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum WeatherConfig {
    Synthetic(Synthetic),
}

/// How often the weather is renewed, s.
const RENEW_S: f64 = 60.0;

/// The weather over a run.
#[derive(Debug, Clone)]
pub struct Weather {
    config: WeatherConfig,
    fronts: synthetic::Fronts,
    noise: Noise,
    since: f64,
    now: Outdoor,
}

impl Weather {
    pub fn new(config: WeatherConfig, seed: u64, time: Timestamp) -> Self {
        let mut noise = Noise::new(seed, Stream::Weather);
        let WeatherConfig::Synthetic(c) = &config;
        let fronts = synthetic::Fronts::new(c, &mut noise);
        let now = fronts.outdoor(c, time);
        Self {
            config,
            fronts,
            noise,
            since: 0.0,
            now,
        }
    }

    /// Outdoor air at `time`, `dt` seconds after the last call.
    pub fn step(&mut self, dt: f64, time: Timestamp) -> Outdoor {
        self.since += dt;
        if self.since >= RENEW_S {
            let WeatherConfig::Synthetic(c) = &self.config;
            self.fronts.step(self.since, c, &mut self.noise);
            self.now = self.fronts.outdoor(c, time);
            self.since = 0.0;
        }
        self.now
    }
}
