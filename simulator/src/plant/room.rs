//! The air of a room of liquid-cooled cabinets: what the liquid does not take, moisture, and a
//! direct-expansion unit.
//!
//! The unit's efficiency is a share of Carnot's between its evaporator (below supply air) and its
//! condenser (above outdoor air).

use serde::Deserialize;

use crate::physics::psychro;
use crate::physics::store::Volume;
use crate::physics::{AIR_CP, KELVIN};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomConfig {
    /// Heat capacity of air and surfaces, kJ/K; dry air, kg.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub kj_k: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub air_kg: f64,
    /// Room temperature the unit holds, degC, and within how many K it goes from nothing to full.
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub hold: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub band_k: f64,
    /// Most cooling, kW; air flow, kg/s; fan power, kW.
    #[serde(deserialize_with = "crate::bounds::power")]
    pub unit_kw: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub unit_kg_s: f64,
    #[serde(deserialize_with = "crate::bounds::power")]
    pub fan_kw: f64,
    /// Share of Carnot's efficiency; evaporator below supply air and condenser above outdoor air, K.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub carnot_share: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub evaporator_k: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub condenser_k: f64,
    /// Hottest inlet above room temperature per kW of air heat, K/kW.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub inlet_k_per_kw: f64,
    /// Outdoor air, kg/s, dried to at most this dew point.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub ventilation_kg_s: f64,
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub ventilation_dew_point: f64,
}

/// The room at work.
#[derive(Debug, Clone)]
pub struct Room {
    air: Volume,
    moisture: f64,
}

/// One step.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoomState {
    pub temp: f64,
    pub humidity: f64,
    pub dew_point: f64,
    pub inlet_max: f64,
    /// Compressor and fans, kW.
    pub unit_kw: f64,
    /// Heat to the outdoor air, kW.
    pub rejected_kw: f64,
}

impl Room {
    pub fn new(c: &RoomConfig, outdoor_dew_point: f64) -> Self {
        Self {
            air: Volume::new(c.kj_k, c.hold),
            moisture: psychro::humidity_ratio(outdoor_dew_point.min(c.ventilation_dew_point)),
        }
    }

    pub fn temp(&self) -> f64 {
        self.air.temp
    }

    pub fn dew_point(&self) -> f64 {
        psychro::dew_point(self.moisture)
    }

    /// One step with `heat` kW from the cabinets.
    pub fn step(&mut self, dt: f64, c: &RoomConfig, heat: f64, dry_bulb: f64, dew: f64) -> RoomState {
        let share = ((self.air.temp - c.hold) / c.band_k + 0.5).clamp(0.0, 1.0);
        let cooling = c.unit_kw * share;
        let supply = self.air.temp - cooling / (c.unit_kg_s * AIR_CP);
        let evaporator = supply - c.evaporator_k + KELVIN;
        let condenser = (dry_bulb + c.condenser_k + KELVIN).max(evaporator + 15.0);
        let cop = c.carnot_share * evaporator / (condenser - evaporator);
        let compressor = cooling / cop;
        self.air.step(dt, 0.0, 0.0, heat + c.fan_kw - cooling);
        let outdoor = psychro::humidity_ratio(dew.min(c.ventilation_dew_point));
        self.moisture += dt * c.ventilation_kg_s * (outdoor - self.moisture) / c.air_kg;
        RoomState {
            temp: self.air.temp,
            humidity: psychro::relative_humidity(self.air.temp, self.moisture),
            dew_point: self.dew_point(),
            inlet_max: self.air.temp + c.inlet_k_per_kw * heat,
            unit_kw: compressor + c.fan_kw,
            rejected_kw: cooling + compressor,
        }
    }

    /// Heat held above 0 degC, kJ.
    pub fn heat(&self) -> f64 {
        self.air.heat()
    }
}
