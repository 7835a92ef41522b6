//! Synthetic weather: a yearly and a daily cosine, fronts that pass every few days, and a dew point
//! below the daily mean.
//!
//! Fronts are an Ornstein-Uhlenbeck process (exact discretization, so independent of the step):
//! `x' = x e^(-dt/tau) + sd sqrt(1 - e^(-2dt/tau)) N(0, 1)`.

use jiff::Timestamp;
use serde::Deserialize;

use super::Outdoor;
use crate::noise::Noise;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Synthetic {
    /// Yearly mean, half the span between the mean of the warmest and the coldest month, half the
    /// daily span, K.
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub mean: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub seasonal: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub diurnal: f64,
    /// Standard deviation (K) and correlation time (h) of fronts.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub front_sd: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub front_h: f64,
    /// Mean depression of the dew point below the daily mean dry bulb, and its own variation, K.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub dew_depression: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub dew_sd: f64,
    /// Day of the year with the highest mean (200 = mid July), and local solar time minus UTC, h.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub warmest_day: f64,
    #[serde(deserialize_with = "crate::bounds::any")]
    pub solar_offset_h: f64,
}

/// State of the fronts.
#[derive(Debug, Clone)]
pub(super) struct Fronts {
    temperature: f64,
    moisture: f64,
}

impl Fronts {
    pub(super) fn new(c: &Synthetic, noise: &mut Noise) -> Self {
        Self { temperature: c.front_sd * noise.normal(), moisture: c.dew_sd * noise.normal() }
    }

    pub(super) fn step(&mut self, dt: f64, c: &Synthetic, noise: &mut Noise) {
        let keep = (-dt / (c.front_h * 3600.0)).exp();
        let fresh = (1.0 - keep * keep).sqrt();
        self.temperature = keep * self.temperature + fresh * c.front_sd * noise.normal();
        self.moisture = keep * self.moisture + fresh * c.dew_sd * noise.normal();
    }

    pub(super) fn outdoor(&self, c: &Synthetic, time: Timestamp) -> Outdoor {
        let days = time.as_second() as f64 / 86_400.0 + c.solar_offset_h / 24.0;
        let turn = std::f64::consts::TAU;
        // 1 January 1970 was day 1; a year of 365.2425 days keeps the phase for centuries.
        let year = (days + 1.0 - c.warmest_day) / 365.2425;
        let daily_mean = c.mean + c.seasonal * (turn * year).cos() + self.temperature;
        // Warmest at 15 h solar time, as over land.
        let hour = (days.fract() * 24.0 - 15.0) / 24.0;
        Outdoor::new(
            daily_mean + c.diurnal * (turn * hour).cos(),
            daily_mean - c.dew_depression + self.moisture,
        )
    }
}
