//! An air-cooled data centre: two halls on one chilled-water plant.

use serde::Deserialize;

use super::chilled_water::{ChilledWater, ChilledWaterConfig, ChilledWaterState, Demand};
use super::hall::{Hall, HallConfig, HallDrive, HallState};
use super::server::Server;
use super::{Cooling, Drive, Ledger, Outcome, signal};
use crate::physics::drive::{Pump, PumpState};
use crate::physics::{litres_per_min, slew};
use crate::sensor::SignalSpec;
use crate::supervision::SetpointSpec;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AirConfig {
    pub server: Server,
    /// Both halls are built alike.
    pub hall: HallConfig,
    pub chilled_water: ChilledWaterConfig,
}

pub const SIGNALS: &[SignalSpec] = &[
    signal("hall_a_inlet_max", "degC"),
    signal("hall_a_inlet_mean", "degC"),
    signal("hall_b_inlet_max", "degC"),
    signal("hall_b_inlet_mean", "degC"),
    signal("hall_rh", "%RH"),
    signal("outdoor_drybulb", "degC"),
    signal("outdoor_wetbulb", "degC"),
    signal("it_load", "kW"),
    signal("chws", "degC"),
    signal("chwr", "degC"),
    signal("chw_flow", "L/min"),
    signal("chw_dp", "kPa"),
    signal("crah_supply", "degC"),
    signal("crah_fan", "%"),
    signal("crah_valve_max", "%"),
    signal("condenser_supply", "degC"),
    signal("cooling_power", "kW"),
    signal("facility_power", "kW"),
    signal("gpu_temp_max", "degC"),
    signal("chillers_on", "count"),
];

pub const SETPOINTS: &[SetpointSpec] = &[
    SetpointSpec { name: "chws_sp", unit: "degC", counts_per_unit: 10 },
    SetpointSpec { name: "crah_supply_sp", unit: "degC", counts_per_unit: 10 },
    SetpointSpec { name: "chw_dp_sp", unit: "kPa", counts_per_unit: 1 },
];

/// The plant at work.
#[derive(Debug, Clone)]
pub struct Air {
    config: AirConfig,
    halls: [Hall; 2],
    water: ChilledWater,
    /// Differential pressure the pumps are holding, kPa.
    dp: f64,
    last: Last,
    ledger: Ledger,
}

/// What the last step showed.
#[derive(Debug, Clone, Copy)]
struct Last {
    halls: [HallState; 2],
    water: ChilledWaterState,
    pump: PumpState,
}

/// The pumps' drives move the differential pressure by at most this much, kPa/s.
const DP_SLEW: f64 = 2.0;

impl Air {
    pub fn new(config: AirConfig, setpoints: &[f64], wet_bulb: f64) -> Self {
        let [chws, supply, dp] = [setpoints[0], setpoints[1], setpoints[2]];
        let hall = Hall::new(&config.hall, &config.server, supply);
        let water = ChilledWater::new(&config.chilled_water, chws, wet_bulb);
        let pump = config.chilled_water.secondary.hold_dp(dp, 0.0, 1.0);
        let mut air = Self {
            halls: [hall.clone(), hall],
            water,
            dp,
            last: Last { halls: [HallState::default(); 2], water: ChilledWaterState::default(), pump },
            ledger: Ledger::default(),
            config,
        };
        air.ledger.start(air.heat());
        air
    }

    /// Heat held above 0 degC, kJ.
    fn heat(&self) -> f64 {
        self.water.heat() + self.halls.iter().map(|h| h.heat(&self.config.server)).sum::<f64>()
    }
}

impl Cooling for Air {
    fn boxed(&self) -> Box<dyn Cooling> {
        Box::new(self.clone())
    }

    /// Least setpoints the machines can hold now: a chiller's lift is limited.
    fn least(&self) -> [f64; 3] {
        let c = &self.config.chilled_water.chiller;
        [self.water.condenser() - c.most_lift_k, f64::MIN, f64::MIN]
    }

    fn step(&mut self, dt: f64, d: &Drive<'_>) -> Outcome {
        let c = &self.config;
        let [chws_sp, supply_sp, dp_sp] = [d.setpoints[0], d.setpoints[1], d.setpoints[2]];
        self.dp = slew(self.dp, dp_sp, DP_SLEW * dt);
        let kvs = [self.halls[0].kv(&c.hall), self.halls[1].kv(&c.hall)];
        let kv = kvs[0] + kvs[1];
        let secondary: &Pump = &c.chilled_water.secondary;
        let pump = secondary.hold_dp(self.dp, kv, 1.0 - d.fault.pumps_lost);
        let water_in = self.water.delivered();
        let mut states = [HallState::default(); 2];
        for (i, hall) in self.halls.iter_mut().enumerate() {
            let drive = HallDrive {
                load: d.loads[i],
                supply_setpoint: supply_sp,
                water_kg_s: kvs[i] * pump.dp.sqrt(),
                water_in,
                outdoor_dew_point: d.outdoor.dew_point,
                fouling: d.fault.fouling,
                fans_lost: d.fault.crah_fans_lost,
            };
            states[i] = hall.step(dt, &c.hall, &c.server, drive);
        }
        let returned = if kv > 0.0 {
            (kvs[0] * states[0].water_out + kvs[1] * states[1].water_out) / kv
        } else {
            water_in
        };
        let demand = Demand { kg_s: pump.kg_s, returned, pump_kw: pump.kw };
        let water = self.water.step(dt, &c.chilled_water, chws_sp, demand, d.outdoor.wet_bulb, &d.fault);
        self.last = Last { halls: states, water, pump };

        let [a, b] = &states;
        let it_kw = a.it_kw + b.it_kw;
        let cooling_kw =
            a.crah_kw + b.crah_kw + pump.kw + water.chillers_kw + water.pumps_kw + water.tower_kw;
        // Tower fans blow outdoors, and the humidifier's heat comes back as latent heat at the coil.
        let fans = c.hall.crah_fan.power(a.fan_speed) + c.hall.crah_fan.power(b.fan_speed);
        let heat_in = it_kw
            + fans * (1.0 - d.fault.crah_fans_lost)
            + a.latent_kw
            + b.latent_kw
            + pump.kw
            + water.chillers_kw
            + water.pumps_kw;
        self.ledger.add(dt, heat_in, water.rejected_kw);
        let hottest = a.inlet_max.max(b.inlet_max);
        Outcome {
            it_kw,
            cooling_kw,
            watched: hottest,
            tflops: a.tflops + b.tflops,
            throttled_gpus: a.throttled_gpus + b.throttled_gpus,
            economizing: water.economizing,
            tripped: water.tripped,
            map_clamped: water.clamped,
            condensing: false,
        }
    }

    fn truth(&self, d: &Drive<'_>, facility_kw: f64, outcome: &Outcome) -> Vec<f64> {
        let [a, b] = &self.last.halls;
        let w = &self.last.water;
        vec![
            a.inlet_max,
            a.inlet_mean,
            b.inlet_max,
            b.inlet_mean,
            f64::midpoint(a.humidity, b.humidity),
            d.outdoor.dry_bulb,
            d.outdoor.wet_bulb,
            outcome.it_kw,
            w.supply,
            w.returned,
            litres_per_min(self.last.pump.kg_s),
            self.last.pump.dp,
            f64::midpoint(a.supply, b.supply),
            50.0 * (a.fan_speed + b.fan_speed),
            100.0 * a.valve.max(b.valve),
            w.condenser,
            outcome.cooling_kw,
            facility_kw,
            a.gpu_max.max(b.gpu_max),
            w.running as f64,
        ]
    }

    fn ledger(&self) -> Ledger {
        self.ledger.with_store(self.heat())
    }
}
