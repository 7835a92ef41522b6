//! A hall: rows of air-cooled servers, cold and hot aisle, CRAH units with a chilled-water coil.
//!
//! Air balance. A row's inlet is a mix of cold-aisle air and of hot air that comes back over and
//! around the racks: `T_in = (1 - r) T_cold + r T_hot`. Each row has a leakage r0; when the CRAHs
//! blow less than the servers draw, the shortfall comes from the hot aisle too. What they blow in
//! excess bypasses the servers and goes straight back.

use serde::Deserialize;

use super::server::{Server, ServerRow};
use crate::physics::drive::{Fan, Loop, Tuning, equal_percentage};
use crate::physics::exchanger::{Exchanger, Stream};
use crate::physics::psychro;
use crate::physics::store::Volume;
use crate::physics::{AIR_CP, WATER_CP, slew};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HallConfig {
    /// Rows of the hall.
    pub rows: Vec<RowConfig>,
    /// CRAH fans of the whole hall together.
    pub crah_fan: Fan,
    /// The fans are driven to blow this multiple of what the servers draw (aisle pressure control),
    /// between these speeds, changing by at most a share of span per second.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub air_margin: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub crah_least_speed: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub crah_slew_per_s: f64,
    /// Share of CRAH air that leaks past the racks.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub bypass: f64,
    pub coil: Exchanger,
    /// Flow coefficient of the open valves and coils, kg/s per sqrt(kPa).
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub coil_kv: f64,
    pub valve: Tuning,
    /// Heat capacity of the air and surfaces of the cold and of the hot aisle, kJ/K.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub cold_kj_k: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub hot_kj_k: f64,
    /// Dry air in the hall, kg; outdoor air, kg/s, dried to at most this dew point.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub air_kg: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub ventilation_kg_s: f64,
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub ventilation_dew_point: f64,
    /// Humidifier: keeps this dew point, with at most this much steam (kg/s).
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub least_dew_point: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub humidifier_kg_s: f64,
    /// Share of the air that touches a wet coil surface.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub coil_contact: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowConfig {
    pub servers: u32,
    /// Share of hot air in the inlet when air is in plenty.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub recirculation: f64,
}

/// A hall at work.
#[derive(Debug, Clone)]
pub struct Hall {
    rows: Vec<ServerRow>,
    cold: Volume,
    hot: Volume,
    /// Humidity ratio, kg/kg.
    moisture: f64,
    fan_speed: f64,
    valve: Loop,
    supply: f64,
}

/// One step of a hall.
#[derive(Debug, Clone, Copy, Default)]
pub struct HallState {
    pub it_kw: f64,
    /// Fans and humidifier, kW.
    pub crah_kw: f64,
    /// Heat and moisture taken by the coil, kW.
    pub coil_kw: f64,
    /// Moisture condensed at the coil, as heat, kW.
    pub latent_kw: f64,
    /// Chilled water leaving, degC.
    pub water_out: f64,
    pub supply: f64,
    pub inlet_max: f64,
    pub inlet_mean: f64,
    pub fan_speed: f64,
    pub valve: f64,
    pub dew_point: f64,
    pub humidity: f64,
    pub gpu_max: f64,
    pub tflops: f64,
    pub throttled_gpus: f64,
}

/// What the hall is given in one step.
#[derive(Debug, Clone, Copy)]
pub struct HallDrive {
    pub load: f64,
    pub supply_setpoint: f64,
    /// Chilled water arriving: kg/s and degC.
    pub water_kg_s: f64,
    pub water_in: f64,
    pub outdoor_dew_point: f64,
    pub fouling: f64,
    /// CRAH fans lost, share.
    pub fans_lost: f64,
}

impl Hall {
    pub fn new(c: &HallConfig, server: &Server, temp: f64) -> Self {
        Self {
            rows: c.rows.iter().map(|row| ServerRow::new(server, f64::from(row.servers), temp)).collect(),
            cold: Volume::new(c.cold_kj_k, temp),
            hot: Volume::new(c.hot_kj_k, temp + 8.0),
            moisture: psychro::humidity_ratio(10.0),
            fan_speed: 0.7,
            valve: Loop::new(0.5),
            supply: temp,
        }
    }

    /// Flow coefficient the pump sees, kg/s per sqrt(kPa).
    pub fn kv(&self, c: &HallConfig) -> f64 {
        c.coil_kv * equal_percentage(self.valve.output)
    }

    pub fn step(&mut self, dt: f64, c: &HallConfig, server: &Server, d: HallDrive) -> HallState {
        let drawn: f64 = self.rows.iter().map(|row| row.air_kg_s(server)).sum();
        let wanted = (c.air_margin * drawn / c.crah_fan.rated_kg_s).clamp(c.crah_least_speed, 1.0);
        self.fan_speed = slew(self.fan_speed, wanted, c.crah_slew_per_s * dt);
        let blown = c.crah_fan.flow(self.fan_speed) * (1.0 - d.fans_lost);

        // Cold-aisle air the rows would take, and the share of it that there is.
        let asked: f64 = self
            .rows
            .iter()
            .zip(&c.rows)
            .map(|(row, rc)| (1.0 - rc.recirculation) * row.air_kg_s(server))
            .sum();
        let served = (blown * (1.0 - c.bypass) / asked.max(1e-6)).min(1.0);
        let bypassed = blown - asked * served;

        let mut s = HallState::default();
        let (mut heat, mut returned) = (0.0, 0.0);
        s.inlet_max = f64::NEG_INFINITY;
        for (row, rc) in self.rows.iter_mut().zip(&c.rows) {
            let flow = row.air_kg_s(server) * AIR_CP;
            let cold_share = (1.0 - rc.recirculation) * served;
            let inlet = cold_share * self.cold.temp + (1.0 - cold_share) * self.hot.temp;
            let r = row.step(dt, server, d.load, inlet);
            heat += flow * r.outlet;
            returned += flow;
            s.it_kw += r.power_kw;
            s.inlet_max = s.inlet_max.max(inlet);
            s.inlet_mean += flow * inlet;
            s.gpu_max = s.gpu_max.max(r.gpu_max);
            s.tflops += r.tflops;
            s.throttled_gpus += r.throttled_gpus;
        }
        s.inlet_mean /= returned.max(1e-9);
        let bypass_flow = bypassed * AIR_CP;
        let into_hot = returned + bypass_flow;
        let mixed = (heat + bypass_flow * self.cold.temp) / into_hot.max(1e-9);
        self.hot.step(dt, into_hot, mixed, 0.0);

        let water = Stream { kg_s: d.water_kg_s, cp: WATER_CP, inlet: d.water_in };
        let air = Stream { kg_s: blown, cp: AIR_CP, inlet: self.hot.temp };
        let sensible = c.coil.duty(water, air, d.fouling);
        s.latent_kw = self.moisture_step(dt, c, &d, blown, sensible, &mut s.crah_kw);
        s.coil_kw = sensible + s.latent_kw;
        s.water_out = d.water_in + s.coil_kw / water.capacity().max(1e-6);
        if water.capacity() < 1e-6 {
            s.water_out = d.water_in;
            s.coil_kw = 0.0;
        }
        let fan_kw = c.crah_fan.power(self.fan_speed) * (1.0 - d.fans_lost);
        s.crah_kw += fan_kw;
        self.supply = self.hot.temp + (fan_kw - sensible) / air.capacity().max(1e-6);
        self.cold.step(dt, air.capacity(), self.supply, 0.0);

        s.valve = self.valve.step(dt, self.supply - d.supply_setpoint, &c.valve);
        s.supply = self.supply;
        s.fan_speed = self.fan_speed;
        s.dew_point = psychro::dew_point(self.moisture);
        s.humidity = psychro::relative_humidity(s.inlet_mean, self.moisture);
        s
    }

    /// Moisture: outdoor air, humidifier, and condensation where the coil is below the dew point.
    /// Returns the latent heat in kW.
    fn moisture_step(
        &mut self,
        dt: f64,
        c: &HallConfig,
        d: &HallDrive,
        blown: f64,
        sensible: f64,
        crah_kw: &mut f64,
    ) -> f64 {
        let outdoor = psychro::humidity_ratio(d.outdoor_dew_point.min(c.ventilation_dew_point));
        let dryness = psychro::humidity_ratio(c.least_dew_point) - self.moisture;
        let steam = c.humidifier_kg_s * (dryness / 2e-4).clamp(0.0, 1.0);
        // The wet surface lies between the water's inlet and outlet.
        let surface = d.water_in + 0.5 * sensible / (d.water_kg_s * WATER_CP).max(0.1);
        let excess = self.moisture - psychro::humidity_ratio(surface.min(60.0));
        let condensed = blown * c.coil_contact * excess.max(0.0);
        let gain = c.ventilation_kg_s * (outdoor - self.moisture) + steam - condensed;
        self.moisture = (self.moisture + dt * gain / c.air_kg).max(1e-4);
        // Steam is made by electrodes, with 10 % loss.
        *crah_kw += steam * psychro::LATENT * 1.1;
        condensed * psychro::LATENT
    }

    /// Heat held above 0 degC, kJ.
    pub fn heat(&self, server: &Server) -> f64 {
        self.cold.heat() + self.hot.heat() + self.rows.iter().map(|row| row.heat(server)).sum::<f64>()
    }
}
