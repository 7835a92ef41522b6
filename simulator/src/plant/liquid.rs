//! A liquid-cooled data centre: cold plates, a secondary loop behind a CDU, facility water, and the
//! room's residual air load.

use serde::Deserialize;

use super::facility::{Facility, FacilityConfig, FacilityState, Served, Targets};
use super::room::{Room, RoomConfig, RoomState};
use super::{Cooling, Drive, Ledger, Outcome, signal};
use crate::chip::{Gpu, GpuState, Gpus};
use crate::physics::drive::{Loop, Pump, PumpState, Tuning, equal_percentage};
use crate::physics::exchanger::{Exchanger, Stream};
use crate::physics::slew;
use crate::physics::store::{Pipe, Volume};
use crate::sensor::SignalSpec;
use crate::supervision::SetpointSpec;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiquidConfig {
    pub server: ColdPlateServer,
    #[serde(deserialize_with = "crate::bounds::some")]
    pub cabinets: Vec<Cabinet>,
    /// Flow coefficient per server at an open cabinet valve, kg/s per sqrt(kPa).
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub server_kv: f64,
    /// Each cabinet's valve holds this rise of its coolant, K.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub cabinet_rise_k: f64,
    pub cabinet_valve: Tuning,
    /// Specific heat (kJ/(kg K)) and density (kg/L) of the secondary coolant (water with glycol).
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub coolant_cp: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub coolant_density: f64,
    /// CDU: exchanger (cold side facility water), pump, valve on the facility side.
    pub exchanger: Exchanger,
    pub pump: Pump,
    pub valve: Tuning,
    /// Content of the secondary supply and return run, kJ/K each.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub pipe_kj_k: f64,
    /// The CDU refuses to supply coolant nearer to the room's dew point than this, K.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub dew_margin_k: f64,
    pub facility: FacilityConfig,
    pub room: RoomConfig,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdPlateServer {
    pub gpus: u32,
    pub gpu: Gpu,
    /// Coolant flow at which the GPUs' resistances hold, kg/s per server.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub rated_kg_s: f64,
    /// Processors, memory, network, power supplies: kW idle, what full load adds, and the share of
    /// it that the liquid takes.
    #[serde(deserialize_with = "crate::bounds::power")]
    pub platform_idle_kw: f64,
    #[serde(deserialize_with = "crate::bounds::power")]
    pub platform_load_kw: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub platform_to_liquid: f64,
    /// Remaining fans, kW at a room of `fan_knee` degC or less, and per K above.
    #[serde(deserialize_with = "crate::bounds::power")]
    pub fan_kw: f64,
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub fan_knee: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub fan_kw_per_k: f64,
    /// Heat capacity of plates, manifolds and coolant, kJ/K per server.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub wet_kj_k: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cabinet {
    pub servers: u32,
    /// Flow coefficient relative to a clean cabinet.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub kv: f64,
}

pub const SIGNALS: &[SignalSpec] = &[
    signal("cdu_supply", "degC"),
    signal("cdu_return", "degC"),
    signal("facility_supply", "degC"),
    signal("facility_return", "degC"),
    signal("cdu_flow", "L/min"),
    signal("cdu_dp", "kPa"),
    signal("cdu_valve", "%"),
    signal("cabinet_valve_max", "%"),
    signal("room_drybulb", "degC"),
    signal("room_rh", "%RH"),
    signal("hall_inlet_max", "degC"),
    signal("outdoor_drybulb", "degC"),
    signal("outdoor_wetbulb", "degC"),
    signal("it_load", "kW"),
    signal("drycooler_fan", "%"),
    signal("cooling_power", "kW"),
    signal("facility_power", "kW"),
    signal("gpu_temp_max", "degC"),
    signal("chillers_on", "count"),
];

pub const SETPOINTS: &[SetpointSpec] = &[
    SetpointSpec { name: "facility_supply_sp", unit: "degC", counts_per_unit: 10 },
    SetpointSpec { name: "cdu_supply_sp", unit: "degC", counts_per_unit: 10 },
    SetpointSpec { name: "cdu_dp_sp", unit: "kPa", counts_per_unit: 1 },
];

/// One cabinet at work.
#[derive(Debug, Clone)]
struct CabinetState {
    gpus: Gpus,
    wet: Volume,
    valve: Loop,
}

/// The plant at work.
#[derive(Debug, Clone)]
pub struct Liquid {
    config: LiquidConfig,
    cabinets: Vec<CabinetState>,
    supply: Pipe,
    returned: Pipe,
    /// Coolant leaving the exchanger, degC.
    leaving: f64,
    valve: Loop,
    dp: f64,
    facility: Facility,
    room: Room,
    last: Last,
    ledger: Ledger,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    pump: PumpState,
    facility: FacilityState,
    room: RoomState,
    returned: f64,
    valve_max: f64,
    gpu_max: f64,
}

/// The pumps' drives move the differential pressure by at most this much, kPa/s.
const DP_SLEW: f64 = 2.0;

impl Liquid {
    pub fn new(config: LiquidConfig, setpoints: &[f64], outdoor_dew_point: f64) -> Self {
        let [facility, supply, dp] = [setpoints[0], setpoints[1], setpoints[2]];
        let cabinets = config
            .cabinets
            .iter()
            .map(|cabinet| CabinetState {
                gpus: Gpus::new(&config.server.gpu, supply + 10.0),
                wet: Volume::new(config.server.wet_kj_k * f64::from(cabinet.servers), supply + 8.0),
                valve: Loop::new(0.8),
            })
            .collect();
        let mut plant = Self {
            cabinets,
            supply: Pipe::new(config.pipe_kj_k, supply),
            returned: Pipe::new(config.pipe_kj_k, supply + 8.0),
            leaving: supply,
            valve: Loop::new(0.6),
            dp,
            facility: Facility::new(&config.facility, facility),
            room: Room::new(&config.room, outdoor_dew_point),
            last: Last {
                pump: config.pump.hold_dp(dp, 0.0, 1.0),
                facility: FacilityState::default(),
                room: RoomState::default(),
                returned: supply,
                valve_max: 0.0,
                gpu_max: supply,
            },
            ledger: Ledger::default(),
            config,
        };
        plant.ledger.start(plant.heat());
        plant
    }

    fn heat(&self) -> f64 {
        let cabinets: f64 = self
            .cabinets
            .iter()
            .zip(&self.config.cabinets)
            .map(|(s, c)| {
                let gpus = f64::from(c.servers * self.config.server.gpus);
                s.wet.heat() + gpus * s.gpus.heat_j(&self.config.server.gpu) / 1000.0
            })
            .sum();
        cabinets + self.supply.heat() + self.returned.heat() + self.facility.heat() + self.room.heat()
    }
}

impl Cooling for Liquid {
    fn boxed(&self) -> Box<dyn Cooling> {
        Box::new(self.clone())
    }

    /// Least setpoints the machines accept now: the CDU keeps off the room's dew point.
    fn least(&self) -> [f64; 3] {
        [f64::MIN, self.room.dew_point() + self.config.dew_margin_k, f64::MIN]
    }

    fn step(&mut self, dt: f64, d: &Drive<'_>) -> Outcome {
        let c = &self.config;
        let [facility_sp, supply_sp, dp_sp] = [d.setpoints[0], d.setpoints[1], d.setpoints[2]];
        self.dp = slew(self.dp, dp_sp, DP_SLEW * dt);

        // Secondary loop.
        let kv_of = |state: &CabinetState, cabinet: &Cabinet| {
            c.server_kv * f64::from(cabinet.servers) * cabinet.kv * equal_percentage(state.valve.output)
        };
        let kv: f64 = self.cabinets.iter().zip(&c.cabinets).map(|(s, k)| kv_of(s, k)).sum();
        let pump = c.pump.hold_dp(self.dp, kv, 1.0 - d.fault.pumps_lost);
        let flow = pump.kg_s * c.coolant_cp;
        let inlet = self.supply.step(dt, flow, self.leaving);
        let mut outcome = Outcome::default();
        let (mut warm, mut air_kw, mut valve_max, mut gpu_max) = (0.0, 0.0, 0.0_f64, f64::MIN);
        let server = &c.server;
        let fans = server.fan_kw + server.fan_kw_per_k * (self.room.temp() - server.fan_knee).max(0.0);
        for (state, cabinet) in self.cabinets.iter_mut().zip(&c.cabinets) {
            let servers = f64::from(cabinet.servers);
            let kg_s = kv_of(state, cabinet) * pump.dp.sqrt();
            let capacity = kg_s * c.coolant_cp;
            let coolant = f64::midpoint(inlet, state.wet.temp);
            let share = kg_s / (servers * server.rated_kg_s);
            let gpus = servers * f64::from(server.gpus);
            let g: GpuState = state.gpus.step(dt, &server.gpu, d.loads[0], coolant, share);
            let platform = servers * (server.platform_idle_kw + d.loads[0] * server.platform_load_kw);
            let to_liquid = platform * server.platform_to_liquid + gpus * g.heat_w / 1000.0;
            let outlet = state.wet.step(dt, capacity, inlet, to_liquid);
            warm += capacity * outlet;
            air_kw += platform * (1.0 - server.platform_to_liquid) + servers * fans;
            outcome.it_kw += platform + servers * fans + gpus * g.power_w / 1000.0;
            outcome.tflops += gpus * g.tflops;
            outcome.throttled_gpus += gpus * g.throttled;
            gpu_max = gpu_max.max(g.hottest);
            let rise = (outlet - inlet) - c.cabinet_rise_k;
            valve_max = valve_max.max(state.valve.step(dt, rise, &c.cabinet_valve));
        }
        let mixed = if flow > 0.0 { warm / flow } else { inlet };
        let returned = self.returned.step(dt, flow, mixed) + pump.kw / flow.max(1.0);

        // CDU exchanger and facility water.
        let hot = Stream { kg_s: pump.kg_s, cp: c.coolant_cp, inlet: returned };
        let served = Served { exchanger: &c.exchanger, valve: &mut self.valve, tuning: &c.valve, hot };
        let targets = Targets { leaving: supply_sp, supply: facility_sp };
        let (leaving, facility_pump, facility) =
            self.facility.cool(dt, &c.facility, served, targets, d.outdoor.dry_bulb, &d.fault);
        self.leaving = leaving;

        let room = self.room.step(dt, &c.room, air_kw, d.outdoor.dry_bulb, d.outdoor.dew_point);
        outcome.cooling_kw =
            pump.kw + facility_pump.kw + facility.fan_kw + facility.chiller_kw + room.unit_kw;
        outcome.watched = self.leaving;
        outcome.tripped = facility.tripped;
        outcome.map_clamped = facility.clamped;
        outcome.condensing = self.leaving < room.dew_point;
        // Dry cooler fans blow outdoors; everything else ends in the water or the room.
        let heat_in = outcome.it_kw + pump.kw + facility_pump.kw + facility.chiller_kw + room.unit_kw;
        self.ledger.add(dt, heat_in, facility.rejected_kw + room.rejected_kw);
        self.last = Last { pump, facility, room, returned, valve_max, gpu_max };
        outcome
    }

    fn truth(&self, d: &Drive<'_>, facility_kw: f64, outcome: &Outcome) -> Vec<f64> {
        let l = &self.last;
        vec![
            self.leaving,
            l.returned,
            l.facility.supply,
            l.facility.returned,
            l.pump.kg_s / self.config.coolant_density * 60.0,
            l.pump.dp,
            100.0 * self.valve.output,
            100.0 * l.valve_max,
            l.room.temp,
            l.room.humidity,
            l.room.inlet_max,
            d.outdoor.dry_bulb,
            d.outdoor.wet_bulb,
            outcome.it_kw,
            100.0 * l.facility.fan_speed,
            outcome.cooling_kw,
            facility_kw,
            l.gpu_max,
            l.facility.running as f64,
        ]
    }

    fn ledger(&self) -> Ledger {
        self.ledger.with_store(self.heat())
    }
}
