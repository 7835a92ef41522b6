//! A chilled-water plant: chillers with constant-speed primary pumps, a decoupler, a secondary loop,
//! and a condenser loop with tower and waterside economizer.
//!
//! Secondary flow above primary flow draws return water through the decoupler into the supply
//! ("low delta-T"); primary flow above secondary sends supply water straight back.

use serde::Deserialize;

use crate::fault::Disturbance;
use crate::physics::WATER_CP;
use crate::physics::chiller::{Chiller, Machine, Water};
use crate::physics::drive::{Loop, Pump, Tuning};
use crate::physics::exchanger::{Exchanger, Stream};
use crate::physics::store::{Pipe, Volume};
use crate::physics::tower::Tower;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChilledWaterConfig {
    pub chillers: usize,
    pub chillers_at_start: usize,
    pub chiller: Chiller,
    /// Flow and power of one chiller's constant-speed primary pump and condenser pump.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub primary_kg_s: f64,
    #[serde(deserialize_with = "crate::bounds::power")]
    pub primary_pump_kw: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub condenser_kg_s: f64,
    #[serde(deserialize_with = "crate::bounds::power")]
    pub condenser_pump_kw: f64,
    pub staging: Staging,
    /// Secondary pumps, holding the differential pressure at the consumers.
    pub secondary: Pump,
    /// Content of the supply and of the return run, kJ/K.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub supply_pipe_kj_k: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub return_pipe_kj_k: f64,
    pub tower: Tower,
    pub tower_control: Tuning,
    /// Condenser water is held at wet bulb plus this approach (K), but not below `least_condenser`.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub tower_approach_k: f64,
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub least_condenser: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub basin_kj_k: f64,
    pub economizer: Economizer,
}

/// Adds a chiller when the running ones are loaded above `up_load` or the supply is `up_error_k` too
/// warm, for `up_s`; sheds one when the others could carry the load below `down_load` and the flow
/// without warming the supply, for `down_s`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staging {
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub up_load: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub up_error_k: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub up_s: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub down_load: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub down_s: f64,
}

/// Waterside economizer: a plate exchanger between tower water and the secondary return, ahead of the
/// decoupler.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Economizer {
    pub exchanger: Exchanger,
    #[serde(deserialize_with = "crate::bounds::power")]
    pub pump_kw: f64,
    /// Runs while wet bulb plus this margin (K) is below the return; at least `least_s` in each state.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub margin_k: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub least_s: f64,
}

/// The plant room at work.
#[derive(Debug, Clone)]
pub struct ChilledWater {
    machines: Vec<Machine>,
    supply_pipe: Pipe,
    return_pipe: Pipe,
    basin: Volume,
    fan: Loop,
    leaving: f64,
    economizing: bool,
    economizer_s: f64,
    high_s: f64,
    low_s: f64,
}

/// What the consumers take and give back.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    pub kg_s: f64,
    /// As it comes back, degC.
    pub returned: f64,
    /// The secondary pumps' power, which ends in the water, kW.
    pub pump_kw: f64,
}

/// What chillers are staged by.
#[derive(Debug, Clone, Copy)]
struct Strain {
    /// The supply's error now, and with one chiller less, K.
    error: f64,
    error_with_less: f64,
    /// What is cooled, and could be, kW.
    cooling: f64,
    capacity: f64,
}

/// What happened in one step, powers in kW.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChilledWaterState {
    pub supply: f64,
    pub returned: f64,
    pub chillers_kw: f64,
    /// Primary and condenser pumps.
    pub pumps_kw: f64,
    pub tower_kw: f64,
    /// Heat to the outdoor air.
    pub rejected_kw: f64,
    pub running: usize,
    pub economizing: bool,
    pub tripped: bool,
    pub clamped: bool,
    pub condenser: f64,
}

impl ChilledWater {
    pub fn new(c: &ChilledWaterConfig, supply: f64, wet_bulb: f64) -> Self {
        let condenser = (wet_bulb + c.tower_approach_k).max(c.least_condenser);
        Self {
            machines: (0..c.chillers)
                .map(|i| Machine::new(&c.chiller, i < c.chillers_at_start, supply))
                .collect(),
            supply_pipe: Pipe::new(c.supply_pipe_kj_k, supply),
            return_pipe: Pipe::new(c.return_pipe_kj_k, supply + 6.0),
            basin: Volume::new(c.basin_kj_k, condenser),
            fan: Loop::new(0.6),
            leaving: supply,
            economizing: false,
            economizer_s: c.economizer.least_s,
            high_s: 0.0,
            low_s: 0.0,
        }
    }

    /// Chilled water as it reaches the consumers, degC.
    pub fn delivered(&self) -> f64 {
        self.supply_pipe.outlet()
    }

    /// Condenser water entering the chillers, degC.
    pub fn condenser(&self) -> f64 {
        self.basin.temp
    }

    /// One step, with the supply held at `setpoint` degC as far as the machines can.
    pub fn step(
        &mut self,
        dt: f64,
        c: &ChilledWaterConfig,
        setpoint: f64,
        Demand { kg_s, returned, pump_kw }: Demand,
        wet_bulb: f64,
        fault: &Disturbance,
    ) -> ChilledWaterState {
        let flow = kg_s * WATER_CP;
        let back = self.return_pipe.step(dt, flow, returned) + pump_kw / flow.max(1.0);
        let pumping = self.machines.iter().filter(|m| m.pumping()).count();
        self.economizer_step(dt, c, wet_bulb, back);
        let mut pumps_kw = 0.0;
        let mut rejected_in = 0.0;
        let mut tower_kg_s = pumping as f64 * c.condenser_kg_s;
        let mut precooled = back;
        if self.economizing {
            let cold =
                Stream { kg_s: c.economizer.exchanger.cold_kg_s, cp: WATER_CP, inlet: self.basin.temp };
            let hot = Stream { kg_s, cp: WATER_CP, inlet: back };
            // A valve on the tower side keeps the water from getting colder than the setpoint.
            let most = flow * (back - setpoint).max(0.0);
            let taken = c.economizer.exchanger.duty(cold, hot, fault.fouling).clamp(0.0, most);
            precooled -= taken / flow.max(1e-6);
            rejected_in += taken + c.economizer.pump_kw;
            tower_kg_s += c.economizer.exchanger.cold_kg_s;
            pumps_kw += c.economizer.pump_kw;
        }
        let primary = pumping as f64 * c.primary_kg_s;
        let primary_kw = pumping as f64 * c.primary_pump_kw;
        pumps_kw += primary_kw;
        let entering = if primary > kg_s {
            (kg_s * precooled + (primary - kg_s) * self.leaving) / primary
        } else {
            precooled
        } + primary_kw / (primary * WATER_CP).max(1.0);

        let mut s = ChilledWaterState::default();
        let (mut leaving, mut cooling, mut capacity) = (0.0, 0.0, 0.0);
        let water = Water { kg_s: c.primary_kg_s, inlet: entering, entering: self.basin.temp };
        for (i, m) in self.machines.iter_mut().enumerate() {
            let tripped = i < fault.chillers_tripped;
            m.step(dt, &c.chiller, water, setpoint, tripped);
            if m.pumping() {
                pumps_kw += c.condenser_pump_kw;
                rejected_in += c.condenser_pump_kw;
            }
            if m.running() {
                s.running += 1;
                capacity += c.chiller.capacity(m.evaporator.temp, self.basin.temp);
            }
            rejected_in += m.cooling + m.power;
            cooling += m.cooling;
            s.chillers_kw += m.power;
            s.clamped |= m.clamped;
            s.tripped |= tripped;
        }
        let mut carried = 0.0;
        for m in self.machines.iter().filter(|m| m.pumping()) {
            leaving += m.evaporator.temp;
            carried += 1.0;
        }
        self.leaving = if carried > 0.0 { leaving / carried } else { precooled };
        s.supply = if primary >= kg_s {
            self.leaving
        } else {
            (primary * self.leaving + (kg_s - primary) * precooled) / kg_s
        };
        self.supply_pipe.step(dt, flow, s.supply);

        let target = if self.economizing {
            // Colder water carries more of the load; the chillers' own limit gives way.
            (wet_bulb + c.tower_approach_k).max(setpoint - 2.0)
        } else {
            (wet_bulb + c.tower_approach_k).max(c.least_condenser)
        };
        let tower_flow = tower_kg_s * WATER_CP;
        if tower_flow > 0.0 {
            let health = 1.0 - fault.tower_fans_lost;
            let speed = self.fan.step(dt, self.basin.temp - target, &c.tower_control);
            let hot = self.basin.temp + rejected_in / tower_flow;
            s.rejected_kw = c.tower.duty(tower_kg_s, hot, wet_bulb, speed, health);
            s.tower_kw = c.tower.fan.power(speed) * health;
            self.basin.step(dt, tower_flow, hot - s.rejected_kw / tower_flow, 0.0);
        }
        // With one chiller less, the flow that bypasses the chillers stays as warm as it came.
        let less = (s.running.saturating_sub(1)) as f64 * c.primary_kg_s;
        let bypassing = ((kg_s - less) / kg_s.max(1e-6)).max(0.0);
        let error_with_less = bypassing * (precooled - setpoint);
        self.stage(dt, c, Strain { error: s.supply - setpoint, error_with_less, cooling, capacity });
        s.returned = back;
        s.pumps_kw = pumps_kw;
        s.economizing = self.economizing;
        s.condenser = self.basin.temp;
        s
    }

    fn economizer_step(&mut self, dt: f64, c: &ChilledWaterConfig, wet_bulb: f64, back: f64) {
        self.economizer_s += dt;
        let useful = wet_bulb + c.economizer.margin_k < back;
        if useful != self.economizing && self.economizer_s >= c.economizer.least_s {
            self.economizing = useful;
            self.economizer_s = 0.0;
        }
    }

    fn stage(&mut self, dt: f64, c: &ChilledWaterConfig, strain: Strain) {
        let Strain { error, error_with_less, cooling, capacity } = strain;
        let running = self.machines.iter().filter(|m| m.running()).count();
        let starting = self.machines.iter().any(Machine::settling);
        let loaded = running > 0 && cooling > c.staging.up_load * capacity;
        let short = loaded || error > c.staging.up_error_k;
        self.high_s = if short && !starting { self.high_s + dt } else { 0.0 };
        let spare = capacity * (1.0 - 1.0 / running.max(1) as f64);
        let fits = running == 1 || cooling < c.staging.down_load * spare;
        let idle = running > 0 && !short && fits && error_with_less < 0.5 * c.staging.up_error_k;
        self.low_s = if idle { self.low_s + dt } else { 0.0 };
        if self.high_s >= c.staging.up_s {
            self.high_s = 0.0;
            // First in order starts first, last in order stops first.
            if let Some(m) = self.machines.iter_mut().find(|m| m.may_start(&c.chiller)) {
                m.start();
            }
        } else if self.low_s >= c.staging.down_s {
            self.low_s = 0.0;
            if let Some(m) = self.machines.iter_mut().rev().find(|m| m.may_stop(&c.chiller)) {
                m.stop();
            }
        }
    }

    /// Heat held above 0 degC, kJ.
    pub fn heat(&self) -> f64 {
        self.supply_pipe.heat()
            + self.return_pipe.heat()
            + self.basin.heat()
            + self.machines.iter().map(|m| m.evaporator.heat()).sum::<f64>()
    }
}
