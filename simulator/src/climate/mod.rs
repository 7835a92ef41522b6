//! Outdoor air.

mod epw;
mod synthetic;

use std::path::{Path, PathBuf};

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
        Self { dry_bulb, dew_point, wet_bulb: psychro::wet_bulb(dry_bulb, dew_point) }
    }
}

/// Where the weather comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum WeatherConfig {
    Synthetic(Synthetic),
    /// An EnergyPlus weather file; a relative path counts from the scenario's folder.
    Epw {
        path: PathBuf,
    },
}

/// How often the weather is renewed, s.
const RENEW_S: f64 = 60.0;

#[derive(Debug, Clone)]
enum Source {
    Synthetic(Synthetic, synthetic::Fronts),
    Epw(epw::Epw),
}

/// The weather over a run.
#[derive(Debug, Clone)]
pub struct Weather {
    source: Source,
    noise: Noise,
    since: f64,
    now: Outdoor,
}

impl Weather {
    /// `folder` is where relative paths count from. The error names file and line.
    pub fn new(config: &WeatherConfig, folder: &Path, seed: u64, time: Timestamp) -> Result<Self, String> {
        let mut noise = Noise::new(seed, Stream::Weather);
        let source = match config {
            WeatherConfig::Synthetic(c) => {
                Source::Synthetic(c.clone(), synthetic::Fronts::new(c, &mut noise))
            }
            WeatherConfig::Epw { path } => Source::Epw(epw::Epw::read(&folder.join(path))?),
        };
        Ok(Self { now: source.outdoor(time), source, noise, since: 0.0 })
    }

    /// What comes is drawn anew; what is now stays.
    pub fn draw_anew(&mut self, seed: u64) {
        self.noise = Noise::new(seed, Stream::Weather);
    }

    /// Outdoor air now.
    pub fn outdoor(&self) -> Outdoor {
        self.now
    }

    /// Outdoor air at `time`, `dt` seconds after the last call.
    pub fn step(&mut self, dt: f64, time: Timestamp) -> Outdoor {
        self.since += dt;
        if self.since >= RENEW_S {
            if let Source::Synthetic(c, fronts) = &mut self.source {
                fronts.step(self.since, c, &mut self.noise);
            }
            self.now = self.source.outdoor(time);
            self.since = 0.0;
        }
        self.now
    }
}

impl Source {
    fn outdoor(&self, time: Timestamp) -> Outdoor {
        match self {
            Source::Synthetic(c, fronts) => fronts.outdoor(c, time),
            Source::Epw(epw) => epw.outdoor(time),
        }
    }
}
