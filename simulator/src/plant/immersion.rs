//! Single-phase immersion: two rows of tanks, one fluid loop, an exchanger, and a dry cooler.

use serde::Deserialize;

use super::facility::{Facility, FacilityConfig, FacilityState, Served, Targets};
use super::{Cooling, Drive, Ledger, Outcome, signal};
use crate::chip::{Gpu, Gpus};
use crate::physics::drive::{Loop, Pump, PumpState, Tuning};
use crate::physics::exchanger::{Exchanger, Stream};
use crate::physics::store::{Pipe, Volume};
use crate::physics::{KELVIN, slew};
use crate::sensor::SignalSpec;
use crate::supervision::SetpointSpec;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImmersionConfig {
    /// Servers per row of tanks; both rows are alike.
    pub servers: u32,
    pub server: ImmersedServer,
    pub fluid: Fluid,
    /// A viscosity ratio to this power counts as that much less flow at the heat sinks.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub viscosity_exponent: f64,
    /// Fluid and metal of one row, kJ/K.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub bath_kj_k: f64,
    /// Share of the flow that goes to row A.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub share_a: f64,
    /// Flow coefficient of both rows together, kg/s per sqrt(kPa), at the reference viscosity.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub kv: f64,
    pub pump: Pump,
    /// The drive changes speed by at most this share of span per second.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub pump_slew_per_s: f64,
    /// Exchanger (cold side facility water) with its valve on the facility side.
    pub exchanger: Exchanger,
    pub valve: Tuning,
    /// Content of the fluid supply and return run, kJ/K each.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub pipe_kj_k: f64,
    pub facility: FacilityConfig,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImmersedServer {
    pub gpus: u32,
    pub gpu: Gpu,
    /// Flow per server at which the GPUs' resistances hold, kg/s.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub rated_kg_s: f64,
    #[serde(deserialize_with = "crate::bounds::power")]
    pub platform_idle_kw: f64,
    #[serde(deserialize_with = "crate::bounds::power")]
    pub platform_load_kw: f64,
}

/// Properties of the fluid, linear in temperature but for viscosity, which follows Andrade's law
/// `nu = nu40 exp(b (1/T - 1/313.15 K))`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fluid {
    /// Density at 40 degC, kg/L, and its fall per K.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub density: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub density_per_k: f64,
    /// Specific heat at 40 degC, kJ/(kg K), and its rise per K.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub cp: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub cp_per_k: f64,
    /// Andrade's constant, K.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub andrade_k: f64,
}

impl Fluid {
    /// kg/L.
    pub fn density_at(&self, t: f64) -> f64 {
        self.density - self.density_per_k * (t - 40.0)
    }

    /// kJ/(kg K).
    pub fn cp_at(&self, t: f64) -> f64 {
        self.cp + self.cp_per_k * (t - 40.0)
    }

    /// Kinematic viscosity relative to 40 degC.
    pub fn viscosity_ratio(&self, t: f64) -> f64 {
        (self.andrade_k * (1.0 / (t + KELVIN) - 1.0 / (40.0 + KELVIN))).exp()
    }
}

pub const SIGNALS: &[SignalSpec] = &[
    signal("bath_a_temp", "degC"),
    signal("bath_b_temp", "degC"),
    signal("fluid_supply", "degC"),
    signal("fluid_return", "degC"),
    signal("fluid_flow", "L/min"),
    signal("pump_speed", "%"),
    signal("fluid_valve", "%"),
    signal("facility_supply", "degC"),
    signal("facility_return", "degC"),
    signal("drycooler_fan", "%"),
    signal("outdoor_drybulb", "degC"),
    signal("outdoor_wetbulb", "degC"),
    signal("it_load", "kW"),
    signal("cooling_power", "kW"),
    signal("facility_power", "kW"),
    signal("gpu_temp_max", "degC"),
];

pub const SETPOINTS: &[SetpointSpec] = &[
    SetpointSpec { name: "fluid_supply_sp", unit: "degC", counts_per_unit: 10 },
    SetpointSpec { name: "pump_speed_sp", unit: "%", counts_per_unit: 10 },
    SetpointSpec { name: "drycooler_sp", unit: "degC", counts_per_unit: 10 },
];

/// Pressure loss rises with viscosity to this power (Blasius).
const BLASIUS: f64 = 0.25;

#[derive(Debug, Clone)]
struct Bath {
    gpus: Gpus,
    fluid: Volume,
}

/// The plant at work.
#[derive(Debug, Clone)]
pub struct Immersion {
    config: ImmersionConfig,
    baths: [Bath; 2],
    speed: f64,
    supply: Pipe,
    returned: Pipe,
    leaving: f64,
    valve: Loop,
    facility: Facility,
    last: Last,
    ledger: Ledger,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    pump: PumpState,
    facility: FacilityState,
    returned: f64,
    gpu_max: f64,
}

impl Immersion {
    pub fn new(config: ImmersionConfig, setpoints: &[f64]) -> Self {
        let [supply, speed, facility] = [setpoints[0], setpoints[1] / 100.0, setpoints[2]];
        let bath = Bath {
            gpus: Gpus::new(&config.server.gpu, supply + 15.0),
            fluid: Volume::new(config.bath_kj_k, supply + 6.0),
        };
        let mut plant = Self {
            baths: [bath.clone(), bath],
            speed,
            supply: Pipe::new(config.pipe_kj_k, supply),
            returned: Pipe::new(config.pipe_kj_k, supply + 6.0),
            leaving: supply,
            valve: Loop::new(0.6),
            facility: Facility::new(&config.facility, facility),
            last: Last {
                pump: config.pump.at_speed(speed, config.kv, 1.0),
                facility: FacilityState::default(),
                returned: supply,
                gpu_max: supply,
            },
            ledger: Ledger::default(),
            config,
        };
        plant.ledger.start(plant.heat());
        plant
    }

    fn heat(&self) -> f64 {
        let gpus = f64::from(self.config.servers * self.config.server.gpus);
        let baths: f64 = self
            .baths
            .iter()
            .map(|b| b.fluid.heat() + gpus * b.gpus.heat_j(&self.config.server.gpu) / 1000.0)
            .sum();
        baths + self.supply.heat() + self.returned.heat() + self.facility.heat()
    }
}

impl Cooling for Immersion {
    fn boxed(&self) -> Box<dyn Cooling> {
        Box::new(self.clone())
    }

    /// The machines accept any setpoint within its limits.
    fn least(&self) -> [f64; 3] {
        [f64::MIN; 3]
    }

    fn step(&mut self, dt: f64, d: &Drive<'_>) -> Outcome {
        let c = &self.config;
        let [supply_sp, speed_sp, facility_sp] = [d.setpoints[0], d.setpoints[1] / 100.0, d.setpoints[2]];
        self.speed = slew(self.speed, speed_sp, c.pump_slew_per_s * dt);
        let mean = f64::midpoint(self.baths[0].fluid.temp, self.baths[1].fluid.temp);
        let viscosity = c.fluid.viscosity_ratio(mean);
        let kv = c.kv * viscosity.powf(-0.5 * BLASIUS);
        let pump = c.pump.at_speed(self.speed, kv, 1.0 - d.fault.pumps_lost);
        let cp = c.fluid.cp_at(mean);
        let flow = pump.kg_s * cp;
        let inlet = self.supply.step(dt, flow, self.leaving);

        let mut o = Outcome { watched: f64::MIN, ..Outcome::default() };
        let (mut warm, mut gpu_max) = (0.0, f64::MIN);
        let shares = [c.share_a, 1.0 - c.share_a];
        let servers = f64::from(c.servers);
        let gpus = servers * f64::from(c.server.gpus);
        for ((bath, share), load) in self.baths.iter_mut().zip(shares).zip(d.loads) {
            let rated = servers * c.server.rated_kg_s;
            // The flow that would cool as well at the reference viscosity.
            let thickness = c.fluid.viscosity_ratio(bath.fluid.temp);
            let film = pump.kg_s * share / rated * thickness.powf(-c.viscosity_exponent);
            let g = bath.gpus.step(dt, &c.server.gpu, *load, bath.fluid.temp, film);
            let platform = servers * (c.server.platform_idle_kw + load * c.server.platform_load_kw);
            let heat = platform + gpus * g.heat_w / 1000.0;
            let outlet = bath.fluid.step(dt, flow * share, inlet, heat);
            warm += share * outlet;
            o.it_kw += platform + gpus * g.power_w / 1000.0;
            o.tflops += gpus * g.tflops;
            o.throttled_gpus += gpus * g.throttled;
            o.watched = o.watched.max(outlet);
            gpu_max = gpu_max.max(g.hottest);
        }
        let returned = self.returned.step(dt, flow, warm) + pump.kw / flow.max(1.0);

        let hot = Stream { kg_s: pump.kg_s, cp, inlet: returned };
        let served = Served { exchanger: &c.exchanger, valve: &mut self.valve, tuning: &c.valve, hot };
        let targets = Targets { leaving: supply_sp, supply: facility_sp };
        let (leaving, facility_pump, f) =
            self.facility.cool(dt, &c.facility, served, targets, d.outdoor.dry_bulb, &d.fault);
        self.leaving = leaving;
        o.cooling_kw = pump.kw + facility_pump.kw + f.fan_kw + f.chiller_kw;
        o.tripped = f.tripped;
        o.map_clamped = f.clamped;
        let heat_in = o.it_kw + pump.kw + facility_pump.kw + f.chiller_kw;
        self.ledger.add(dt, heat_in, f.rejected_kw);
        self.last = Last { pump, facility: f, returned, gpu_max };
        o
    }

    fn truth(&self, d: &Drive<'_>, facility_kw: f64, outcome: &Outcome) -> Vec<f64> {
        let l = &self.last;
        vec![
            self.baths[0].fluid.temp,
            self.baths[1].fluid.temp,
            self.leaving,
            l.returned,
            l.pump.kg_s / self.config.fluid.density_at(l.returned) * 60.0,
            100.0 * self.speed,
            100.0 * self.valve.output,
            l.facility.supply,
            l.facility.returned,
            100.0 * l.facility.fan_speed,
            d.outdoor.dry_bulb,
            d.outdoor.wet_bulb,
            outcome.it_kw,
            outcome.cooling_kw,
            facility_kw,
            l.gpu_max,
        ]
    }

    fn ledger(&self) -> Ledger {
        self.ledger.with_store(self.heat())
    }
}
