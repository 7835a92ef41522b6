//! A chiller: the Gordon-Ng model, capacity, ramps, run and off times.
//!
//! "Entering" is condenser water, or outdoor air for an air-cooled machine.
//!
//! Gordon and Ng, Cool Thermodynamics (2000); compared for control use by Sreedharan and Haves,
//! ASHRAE Transactions 107 (2001). With Te the leaving chilled and Tc the entering condenser water
//! temperature in K, Q the cooling in kW and y = 1 + 1/COP:
//!
//! ```text
//! y = (1 + a1 Te/Q + a2 (Tc - Te)/(Tc Q)) * Tc / (Te - a3 Q)
//! ```
//!
//! a1 (kW/K) is internal entropy production, a2 (kW) heat leaks, a3 (K/kW) the resistance of both
//! exchangers. The form is thermodynamic, so it extrapolates better than polynomials; all the same
//! its inputs are clamped to the range in the scenario, and clamping is reported.

use serde::Deserialize;

use super::drive::{Loop, Tuning};
use super::store::Volume;
use super::{KELVIN, WATER_CP};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chiller {
    /// Cooling at the rating point, kW.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub rated_kw: f64,
    /// Rating point: leaving chilled and entering condenser water, degC.
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub rated_leaving: f64,
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub rated_entering: f64,
    /// Change of capacity per K of leaving (up) and of entering condenser water (down), share of rated.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub capacity_per_k_leaving: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub capacity_per_k_entering: f64,
    /// Gordon-Ng parameters: kW/K, kW, K/kW.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub a1: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub a2: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub a3: f64,
    /// Valid range of the map: leaving water, entering condenser water, least lift between them (K),
    /// least share of rated load (below it hot-gas bypass holds the power).
    #[serde(deserialize_with = "crate::bounds::range")]
    pub valid_leaving: [f64; 2],
    #[serde(deserialize_with = "crate::bounds::range")]
    pub valid_entering: [f64; 2],
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub least_lift_k: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub least_load: f64,
    /// Surge limit: the chilled water setpoint is raised to entering condenser water minus this, K.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub most_lift_k: f64,
    /// Power while running that is not compression (oil, controls), kW.
    #[serde(deserialize_with = "crate::bounds::power")]
    pub auxiliary_kw: f64,
    /// Heat capacity of the evaporator with its water, kJ/K.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub evaporator_kj_k: f64,
    /// Time from start command to cooling, s.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub start_s: f64,
    /// Loads by the leaving temperature's error, as a share of rated cooling.
    pub control: Tuning,
    /// Anti-short-cycling: minimum run and off times, s, and starts per hour.
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub least_run_s: f64,
    #[serde(deserialize_with = "crate::bounds::not_negative")]
    pub least_off_s: f64,
    pub starts_per_hour: usize,
}

/// Compressor power and whether the map had to be clamped to its valid range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Duty {
    pub kw: f64,
    pub clamped: bool,
}

impl Chiller {
    /// Most cooling in kW at these water temperatures.
    pub fn capacity(&self, leaving: f64, entering: f64) -> f64 {
        let share = 1.0 + self.capacity_per_k_leaving * (leaving - self.rated_leaving)
            - self.capacity_per_k_entering * (entering - self.rated_entering);
        self.rated_kw * share.clamp(0.5, 1.2)
    }

    /// Compressor power for `cooling` kW.
    pub fn duty(&self, cooling: f64, leaving: f64, entering: f64) -> Duty {
        let te = leaving.clamp(self.valid_leaving[0], self.valid_leaving[1]);
        let tc = entering.clamp(self.valid_entering[0], self.valid_entering[1]).max(te + self.least_lift_k);
        let q = cooling.max(self.least_load * self.rated_kw);
        let (te_k, tc_k) = (te + KELVIN, tc + KELVIN);
        let y =
            (1.0 + self.a1 * te_k / q + self.a2 * (tc_k - te_k) / (tc_k * q)) * tc_k / (te_k - self.a3 * q);
        Duty {
            kw: q * (y - 1.0) + self.auxiliary_kw,
            clamped: (te - leaving).abs() > 1e-9 || (tc - entering).abs() > 1e-9,
        }
    }
}

/// What a machine is doing, each with the seconds spent in it.
///
/// ```text
/// Off -> Starting -> Running -> Off
///            \________/
///             Tripped -> Off   (when the fault is cleared)
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum State {
    Off(f64),
    Starting(f64),
    Running(f64),
    Tripped,
}

/// Water at a machine: chilled water flow (kg/s) and inlet, entering condenser water, degC.
#[derive(Debug, Clone, Copy)]
pub struct Water {
    pub kg_s: f64,
    pub inlet: f64,
    pub entering: f64,
}

/// One chiller of a plant.
#[derive(Debug, Clone)]
pub struct Machine {
    pub state: State,
    pub evaporator: Volume,
    load: Loop,
    /// Cooling, kW.
    pub cooling: f64,
    /// Compressor power, kW.
    pub power: f64,
    pub clamped: bool,
    /// Ages of recent starts, s.
    starts: Vec<f64>,
}

impl Machine {
    pub fn new(c: &Chiller, running: bool, temp: f64) -> Self {
        let long_ago = 86_400.0;
        Self {
            state: if running { State::Running(long_ago) } else { State::Off(long_ago) },
            evaporator: Volume::new(c.evaporator_kj_k, temp),
            load: Loop::new(0.3),
            cooling: 0.0,
            power: 0.0,
            clamped: false,
            starts: Vec::new(),
        }
    }

    pub fn running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Its pumps run from the start command on.
    pub fn pumping(&self) -> bool {
        matches!(self.state, State::Starting(_) | State::Running(_))
    }

    /// Started so lately that its effect does not show yet.
    pub fn settling(&self) -> bool {
        match self.state {
            State::Starting(_) => true,
            State::Running(s) => s < 300.0,
            State::Off(_) | State::Tripped => false,
        }
    }

    pub fn may_start(&self, c: &Chiller) -> bool {
        matches!(self.state, State::Off(s) if s >= c.least_off_s) && self.starts.len() < c.starts_per_hour
    }

    pub fn may_stop(&self, c: &Chiller) -> bool {
        matches!(self.state, State::Running(s) if s >= c.least_run_s)
    }

    pub fn start(&mut self) {
        self.state = State::Starting(0.0);
        self.starts.push(0.0);
    }

    pub fn stop(&mut self) {
        self.state = State::Off(0.0);
    }

    /// One step towards `setpoint`.
    pub fn step(&mut self, dt: f64, c: &Chiller, water: Water, setpoint: f64, tripped: bool) {
        let Water { kg_s, inlet, entering } = water;
        for age in &mut self.starts {
            *age += dt;
        }
        self.starts.retain(|age| *age < 3600.0);
        self.state = match self.state {
            _ if tripped => State::Tripped,
            State::Tripped => State::Off(0.0),
            State::Off(s) => State::Off(s + dt),
            State::Starting(s) if s >= c.start_s => State::Running(0.0),
            State::Starting(s) => State::Starting(s + dt),
            State::Running(s) => State::Running(s + dt),
        };
        let flow = if self.pumping() { kg_s * WATER_CP } else { 0.0 };
        if self.running() {
            let most = c.capacity(self.evaporator.temp, entering);
            let share = self.load.step(dt, self.evaporator.temp - setpoint, &c.control);
            self.cooling = (share * c.rated_kw).min(most);
            self.load.track(self.cooling / c.rated_kw);
            let duty = c.duty(self.cooling, self.evaporator.temp, entering);
            self.power = duty.kw;
            self.clamped = duty.clamped;
        } else {
            self.load = Loop::new(0.0);
            self.cooling = 0.0;
            self.power = 0.0;
            self.clamped = false;
        }
        self.evaporator.step(dt, flow, inlet, -self.cooling);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn chiller() -> Chiller {
        Chiller {
            rated_kw: 600.0,
            rated_leaving: 7.0,
            rated_entering: 29.4,
            capacity_per_k_leaving: 0.02,
            capacity_per_k_entering: 0.01,
            a1: 0.06,
            a2: 5.0,
            a3: 0.0226,
            valid_leaving: [4.0, 20.0],
            valid_entering: [15.0, 40.0],
            least_lift_k: 5.0,
            least_load: 0.15,
            most_lift_k: 26.0,
            auxiliary_kw: 1.0,
            evaporator_kj_k: 3000.0,
            start_s: 60.0,
            control: Tuning { gain: 0.12, reset_s: 90.0, slew_per_s: 0.005, min: 0.0 },
            least_run_s: 900.0,
            least_off_s: 600.0,
            starts_per_hour: 3,
        }
    }

    /// By hand: Te 280.15 K, Tc 302.55 K, Q 600: bracket 1 + 0.028015 + 0.000617 = 1.028632;
    /// Tc / (Te - 13.56) = 302.55 / 266.59 = 1.134889; y = 1.167383; P = 100.43 + 1 kW.
    #[test]
    fn gordon_ng_by_hand() {
        let d = chiller().duty(600.0, 7.0, 29.4);
        assert!((d.kw - 101.43).abs() < 0.02 && !d.clamped, "{d:?}");
    }

    #[test]
    fn warmer_chilled_water_and_less_lift_save_power() {
        let c = chiller();
        assert!(c.duty(500.0, 12.0, 28.0).kw < c.duty(500.0, 7.0, 28.0).kw);
        assert!(c.duty(500.0, 10.0, 22.0).kw < c.duty(500.0, 10.0, 30.0).kw);
        // Per K of lift a few percent, as makers state.
        let ratio = c.duty(500.0, 11.0, 28.0).kw / c.duty(500.0, 10.0, 28.0).kw;
        assert!((0.95..0.985).contains(&ratio), "{ratio}");
    }

    #[test]
    fn outside_its_range_the_map_is_clamped_and_says_so() {
        let c = chiller();
        let cold = c.duty(500.0, 16.0, 10.0);
        assert!(cold.clamped);
        assert!((cold.kw - c.duty(500.0, 16.0, 21.0).kw).abs() < 1e-9);
        // Unloading below the turndown saves nothing.
        assert!((c.duty(5.0, 10.0, 28.0).kw - c.duty(90.0, 10.0, 28.0).kw).abs() < 1e-9);
    }

    #[test]
    fn run_off_and_start_limits_hold() {
        let c = chiller();
        let mut m = Machine::new(&c, false, 10.0);
        let run = |m: &mut Machine, s: usize| {
            for _ in 0..s {
                let water = Water { kg_s: 24.0, inlet: 14.0, entering: 28.0 };
                m.step(1.0, &c, water, 9.0, false);
            }
        };
        assert!(m.may_start(&c));
        m.start();
        run(&mut m, 62);
        assert!(m.running() && !m.may_stop(&c));
        run(&mut m, 900);
        assert!(m.may_stop(&c));
        assert!((m.evaporator.temp - 9.0).abs() < 0.1, "{}", m.evaporator.temp);
        m.stop();
        run(&mut m, 599);
        assert!(!m.may_start(&c));
        run(&mut m, 2);
        assert!(m.may_start(&c));
    }
}
