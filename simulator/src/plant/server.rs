//! Air-cooled GPU servers: platform power, fans that follow inlet temperature and load, GPUs.

use serde::Deserialize;

use crate::chip::{Gpu, Gpus};
use crate::physics::AIR_CP;
use crate::physics::drive::Fan;
use crate::physics::slew;
use crate::physics::store::Volume;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub gpus: u32,
    pub gpu: Gpu,
    /// Processors, memory, network, power supplies: kW idle, and what full load adds.
    #[serde(deserialize_with = "crate::bounds::power")]
    pub platform_idle_kw: f64,
    #[serde(deserialize_with = "crate::bounds::power")]
    pub platform_load_kw: f64,
    pub fan: Fan,
    /// Fan speed = idle + load u + per_k (T_in - knee)+, at most 1, changing by a share per second.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub fan_idle: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub fan_load: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub fan_per_k: f64,
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub fan_knee: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub fan_slew_per_s: f64,
    /// Heat capacity of chassis and rack, kJ/K per server.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub chassis_kj_k: f64,
}

/// Equal servers that breathe the same air.
#[derive(Debug, Clone)]
pub struct ServerRow {
    servers: f64,
    fan_speed: f64,
    gpus: Gpus,
    chassis: Volume,
}

/// One step of a row.
#[derive(Debug, Clone, Copy)]
pub struct RowState {
    pub power_kw: f64,
    pub outlet: f64,
    pub gpu_max: f64,
    pub tflops: f64,
    pub throttled_gpus: f64,
}

impl ServerRow {
    pub fn new(c: &Server, servers: f64, temp: f64) -> Self {
        Self {
            servers,
            fan_speed: c.fan_idle + c.fan_load,
            gpus: Gpus::new(&c.gpu, temp + 25.0),
            chassis: Volume::new(c.chassis_kj_k * servers, temp + 10.0),
        }
    }

    /// Air drawn, kg/s.
    pub fn air_kg_s(&self, c: &Server) -> f64 {
        self.servers * c.fan.flow(self.fan_speed)
    }

    pub fn step(&mut self, dt: f64, c: &Server, load: f64, inlet: f64) -> RowState {
        let air = self.air_kg_s(c);
        let gpus = f64::from(c.gpus);
        let g = self.gpus.step(dt, &c.gpu, load, inlet, self.fan_speed);
        let rest = c.platform_idle_kw + load * c.platform_load_kw + c.fan.power(self.fan_speed);
        let outlet =
            self.chassis.step(dt, air * AIR_CP, inlet, self.servers * (rest + gpus * g.heat_w / 1000.0));
        let wanted = c.fan_idle + c.fan_load * load + c.fan_per_k * (inlet - c.fan_knee).max(0.0);
        self.fan_speed = slew(self.fan_speed, wanted.min(1.0), c.fan_slew_per_s * dt);
        RowState {
            power_kw: self.servers * (rest + gpus * g.power_w / 1000.0),
            outlet,
            gpu_max: g.hottest,
            tflops: self.servers * gpus * g.tflops,
            throttled_gpus: self.servers * gpus * g.throttled,
        }
    }

    /// Heat held above 0 degC, kJ.
    pub fn heat(&self, c: &Server) -> f64 {
        self.chassis.heat() + self.servers * f64::from(c.gpus) * self.gpus.heat_j(&c.gpu) / 1000.0
    }
}
