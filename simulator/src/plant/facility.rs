//! Facility water: a dry cooler, a trim chiller where there is one, and the pumps between them and
//! the heat exchanger they serve.
//!
//! The dry cooler's fans hold the supply setpoint; outdoor air warmer than the water bypasses it. The
//! trim chiller (air-cooled, in series behind the dry cooler) takes what is left.

use serde::Deserialize;

use crate::fault::Disturbance;
use crate::physics::chiller::{Chiller, Machine, Water};
use crate::physics::drive::{Fan, Loop, Pump, PumpState, Tuning, equal_percentage};
use crate::physics::exchanger::{Exchanger, Stream};
use crate::physics::store::Pipe;
use crate::physics::{AIR_CP, WATER_CP};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FacilityConfig {
    /// The dry cooler; its cold side is outdoor air.
    pub dry_cooler: Exchanger,
    pub fan: Fan,
    pub fan_control: Tuning,
    pub pump: Pump,
    /// Differential pressure the pumps hold at the heat exchanger, kPa.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub dp_kpa: f64,
    /// Flow coefficient of the open control valve and exchanger, kg/s per sqrt(kPa), and the share
    /// of it that a bypass keeps open.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub kv: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub bypass: f64,
    /// Content of the supply and of the return run, kJ/K each.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub pipe_kj_k: f64,
    pub trim: Option<Trim>,
}

/// The trim chiller starts when the supply is `up_error_k` too warm for `up_s`, and stops when the dry
/// cooler alone has held the setpoint within half of that for `down_s`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trim {
    pub chiller: Chiller,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub up_error_k: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub up_s: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub down_s: f64,
}

/// Facility water at work.
#[derive(Debug, Clone)]
pub struct Facility {
    supply: Pipe,
    returned: Pipe,
    fan: Loop,
    /// Water leaving the dry cooler, degC.
    cooled: f64,
    machine: Option<Machine>,
    high_s: f64,
    low_s: f64,
}

/// An exchanger that facility water cools, with the valve on the water's side.
#[derive(Debug)]
pub struct Served<'a> {
    pub exchanger: &'a Exchanger,
    pub valve: &'a mut Loop,
    pub tuning: &'a Tuning,
    /// The liquid to be cooled, as it comes in.
    pub hot: Stream,
}

/// What the facility water is to hold: the liquid leaving the exchanger, and the water itself, degC.
#[derive(Debug, Clone, Copy)]
pub struct Targets {
    pub leaving: f64,
    pub supply: f64,
}

/// One step, kW and degC.
#[derive(Debug, Clone, Copy, Default)]
pub struct FacilityState {
    /// Water leaving for the exchanger, and coming back.
    pub supply: f64,
    pub returned: f64,
    pub fan_kw: f64,
    pub fan_speed: f64,
    pub chiller_kw: f64,
    /// Heat to the outdoor air.
    pub rejected_kw: f64,
    pub running: usize,
    pub tripped: bool,
    pub clamped: bool,
}

impl Facility {
    pub fn new(c: &FacilityConfig, supply: f64) -> Self {
        Self {
            supply: Pipe::new(c.pipe_kj_k, supply),
            returned: Pipe::new(c.pipe_kj_k, supply + 5.0),
            fan: Loop::new(0.5),
            cooled: supply,
            machine: c.trim.as_ref().map(|trim| Machine::new(&trim.chiller, false, supply)),
            high_s: 0.0,
            low_s: 0.0,
        }
    }

    /// One step with an exchanger that cools a liquid: the liquid leaving it, degC, the water's pumps, the rest.
    pub fn cool(
        &mut self,
        dt: f64,
        c: &FacilityConfig,
        Served { exchanger, valve, tuning, hot }: Served<'_>,
        targets: Targets,
        dry_bulb: f64,
        fault: &Disturbance,
    ) -> (f64, PumpState, FacilityState) {
        let opening = equal_percentage(valve.output);
        let pump = self.pump(c, opening, fault);
        // Flow through the bypass does not see the exchanger.
        let through = opening / opening.max(c.bypass);
        let cold = Stream { kg_s: pump.kg_s * through, cp: WATER_CP, inlet: self.delivered() };
        let duty = exchanger.duty(cold, hot, fault.fouling);
        let leaving = hot.inlet - duty / (hot.kg_s * hot.cp).max(1e-6);
        let back = cold.inlet + duty / (pump.kg_s * WATER_CP).max(1e-6);
        valve.step(dt, leaving - targets.leaving, tuning);
        let state = self.step(dt, c, targets.supply, (pump, back), dry_bulb, fault);
        (leaving, pump, state)
    }

    /// Water as it reaches the exchanger, degC.
    pub fn delivered(&self) -> f64 {
        self.supply.outlet()
    }

    /// Flow through the exchanger with its control valve passing a share `valve` of full flow.
    pub fn pump(&self, c: &FacilityConfig, valve: f64, fault: &Disturbance) -> PumpState {
        let kv = c.kv * valve.max(c.bypass);
        c.pump.hold_dp(c.dp_kpa, kv, 1.0 - fault.pumps_lost)
    }

    /// One step with what the pumps do and the exchanger's water coming back at
    /// `returned` degC.
    pub fn step(
        &mut self,
        dt: f64,
        c: &FacilityConfig,
        setpoint: f64,
        (pump, returned): (PumpState, f64),
        dry_bulb: f64,
        fault: &Disturbance,
    ) -> FacilityState {
        let mut s = FacilityState::default();
        let flow = pump.kg_s * WATER_CP;
        s.returned = self.returned.step(dt, flow, returned) + pump.kw / flow.max(1.0);

        // With the chiller running, the dry cooler still gives what it can.
        let speed = self.fan.step(dt, self.cooled - setpoint, &c.fan_control);
        let useful = s.returned > dry_bulb + 0.5;
        let health = 1.0 - fault.tower_fans_lost;
        if useful {
            s.fan_speed = speed;
            s.fan_kw = c.fan.power(speed) * health;
            let air = Stream { kg_s: c.fan.flow(speed * health), cp: AIR_CP, inlet: dry_bulb };
            let water = Stream { kg_s: pump.kg_s, cp: WATER_CP, inlet: s.returned };
            s.rejected_kw = c.dry_cooler.duty(air, water, fault.fouling);
        }
        let cooled = s.returned - s.rejected_kw / flow.max(1e-6);
        self.cooled = cooled;
        s.supply = cooled;
        if let (Some(trim), Some(machine)) = (&c.trim, &mut self.machine) {
            s.tripped = fault.chillers_tripped > 0;
            let water = Water { kg_s: pump.kg_s, inlet: cooled, entering: dry_bulb };
            machine.step(dt, &trim.chiller, water, setpoint, s.tripped);
            if machine.pumping() {
                s.supply = machine.evaporator.temp;
            }
            s.chiller_kw = machine.power;
            s.clamped = machine.clamped;
            s.rejected_kw += machine.cooling + machine.power;
            s.running = usize::from(machine.running());
            self.high_s = count(self.high_s, dt, s.supply > setpoint + trim.up_error_k);
            self.low_s = count(self.low_s, dt, cooled < setpoint + 0.5 * trim.up_error_k);
            if self.high_s >= trim.up_s && machine.may_start(&trim.chiller) {
                machine.start();
            } else if self.low_s >= trim.down_s && machine.may_stop(&trim.chiller) {
                machine.stop();
            }
        }
        self.supply.step(dt, flow, s.supply);
        s
    }

    /// Heat held above 0 degC, kJ.
    pub fn heat(&self) -> f64 {
        self.supply.heat() + self.returned.heat() + self.machine.as_ref().map_or(0.0, |m| m.evaporator.heat())
    }
}

/// Seconds for which something has held.
fn count(held_s: f64, dt: f64, holds: bool) -> f64 {
    if holds { held_s + dt } else { 0.0 }
}
