//! Fans and pumps on variable-speed drives.
//!
//! Affinity laws: flow ~ speed, pressure ~ speed^2, shaft power ~ speed^3. Wire power adds what the
//! laws leave out and what makes slow fans look free: a standing loss of drive and motor.

use super::slew;
use serde::Deserialize;

/// A fan (or set of equal fans).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fan {
    /// Wire power at full speed, kW.
    #[serde(deserialize_with = "crate::bounds::power")]
    pub rated_kw: f64,
    /// Mass flow of air at full speed, kg/s.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub rated_kg_s: f64,
    /// Share of rated power drawn at any speed above zero.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub standing: f64,
}

impl Fan {
    /// Wire power in kW at a speed of 0..1.
    pub fn power(&self, speed: f64) -> f64 {
        if speed <= 0.0 {
            return 0.0;
        }
        self.rated_kw * (self.standing + (1.0 - self.standing) * speed.powi(3))
    }

    /// Mass flow in kg/s at a speed of 0..1.
    pub fn flow(&self, speed: f64) -> f64 {
        self.rated_kg_s * speed.max(0.0)
    }
}

/// A variable-speed pump with the head curve `H = H0 s^2 - h m^2` against a pipe run of `k m^2`,
/// holding a differential pressure at the far consumers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pump {
    /// Shut-off head at full speed, kPa.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub shutoff_kpa: f64,
    /// Head lost in the pump itself, kPa at rated flow.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub internal_kpa: f64,
    /// Pressure drop of the pipe run, kPa at rated flow.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub pipe_kpa: f64,
    /// Rated flow, kg/s.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub rated_kg_s: f64,
    /// Wire-to-water efficiency.
    #[serde(deserialize_with = "crate::bounds::efficiency")]
    pub efficiency: f64,
    /// Power of drive and motor at no load, kW.
    #[serde(deserialize_with = "crate::bounds::power")]
    pub standing_kw: f64,
    /// Density of what it pumps, kg/L.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub density: f64,
}

/// What a pump does in one step.
#[derive(Debug, Clone, Copy)]
pub struct PumpState {
    /// Differential pressure at the consumers, kPa.
    pub dp: f64,
    /// Mass flow, kg/s.
    pub kg_s: f64,
    /// Wire power, kW.
    pub kw: f64,
}

impl Pump {
    /// Runs against consumers of flow coefficient `kv` (kg/s per sqrt(kPa)) for `dp` kPa, or what
    /// the curve gives at full speed. `health` in 0..1 scales the shut-off head (1 = all pumps).
    pub fn hold_dp(&self, dp: f64, kv: f64, health: f64) -> PumpState {
        let head = self.shutoff_kpa * health;
        let run = (self.internal_kpa + self.pipe_kpa) / self.rated_kg_s.powi(2);
        let dp = dp.min(head / (1.0 + run * kv * kv)).max(0.0);
        self.at(dp, kv * dp.sqrt())
    }

    /// Runs at a speed of 0..1 against consumers of flow coefficient `kv`.
    pub fn at_speed(&self, speed: f64, kv: f64, health: f64) -> PumpState {
        let head = self.shutoff_kpa * health * speed * speed;
        let run = (self.internal_kpa + self.pipe_kpa) / self.rated_kg_s.powi(2);
        let dp = head / (1.0 + run * kv * kv);
        self.at(dp, kv * dp.sqrt())
    }

    fn at(&self, dp: f64, kg_s: f64) -> PumpState {
        let run = (self.internal_kpa + self.pipe_kpa) * (kg_s / self.rated_kg_s).powi(2);
        let litres_s = kg_s / self.density;
        // kPa times L/s is W.
        let hydraulic = (dp + run) * litres_s / 1000.0;
        PumpState { dp, kg_s, kw: self.standing_kw + hydraulic / self.efficiency }
    }
}

/// An equal-percentage valve, with the bottom of its curve straightened so that it closes:
/// `(R^x - 1) / (R - 1)` with R = 30.
pub fn equal_percentage(position: f64) -> f64 {
    const R: f64 = 30.0;
    (R.powf(position.clamp(0.0, 1.0)) - 1.0) / (R - 1.0)
}

/// A proportional-integral loop in velocity form, so that it starts bumpless from any output. The actuator
/// travels to the wanted output at its own pace: limiting the change itself would lose what the slew cuts
/// off, and a loop whose error swings each step would stand still for ever.
#[derive(Debug, Clone)]
pub struct Loop {
    pub output: f64,
    wanted: f64,
    last_error: f64,
}

/// Gains of a [`Loop`]: `gain` in output per unit of error, `reset_s` the integral time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub gain: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub reset_s: f64,
    /// Travel limit of the actuator, share of span per second.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub slew_per_s: f64,
    /// Lowest output while running.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub min: f64,
}

impl Loop {
    pub fn new(output: f64) -> Self {
        Self { output, wanted: output, last_error: 0.0 }
    }

    /// Goes on from `output`, which something else has decided.
    pub fn track(&mut self, output: f64) {
        self.output = output;
        self.wanted = output;
    }

    /// One step; a positive `error` raises the output.
    pub fn step(&mut self, dt: f64, error: f64, t: &Tuning) -> f64 {
        let change = t.gain * (error - self.last_error + error * dt / t.reset_s);
        self.last_error = error;
        self.wanted = (self.wanted + change).clamp(t.min, 1.0);
        self.output = slew(self.output, self.wanted, t.slew_per_s * dt).clamp(t.min, 1.0);
        self.output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_swings_each_step_does_not_hold_a_loop_still() {
        let t = Tuning { gain: 0.05, reset_s: 200.0, slew_per_s: 0.01, min: 0.1 };
        let mut fan = Loop::new(0.2);
        for second in 0..900 {
            fan.step(1.0, if second % 2 == 0 { 24.0 } else { 28.0 }, &t);
        }
        // Within the swing of its proportional part (gain 0.05 times 4 K) of full speed.
        assert!(fan.output > 0.75, "{}", fan.output);
    }

    #[test]
    fn half_speed_takes_an_eighth_plus_the_standing_loss() {
        let fan = Fan { rated_kw: 10.0, rated_kg_s: 40.0, standing: 0.04 };
        // 10 * (0.04 + 0.96 / 8) = 1.6 kW
        assert!((fan.power(0.5) - 1.6).abs() < 1e-9);
        assert!((fan.flow(0.5) - 20.0).abs() < 1e-9);
        assert!(fan.power(0.01) > 0.39);
    }

    #[test]
    fn pump_power_is_head_times_flow_over_efficiency() {
        let pump = Pump {
            shutoff_kpa: 300.0,
            internal_kpa: 60.0,
            pipe_kpa: 80.0,
            rated_kg_s: 50.0,
            efficiency: 0.6,
            standing_kw: 0.5,
            density: 0.998,
        };
        // 100 kPa at 50 kg/s: kv = 5; head 240 kPa; 50.1 L/s * 240 kPa = 12.02 kW; / 0.6 + 0.5.
        let s = pump.hold_dp(100.0, 5.0, 1.0);
        assert!((s.kg_s - 50.0).abs() < 1e-9 && (s.kw - 20.54).abs() < 0.01, "{s:?}");
        // At full speed the curve ends: dp = 300 / (1 + 140/2500 * 25) = 125 kPa.
        assert!((pump.hold_dp(500.0, 5.0, 1.0).dp - 125.0).abs() < 1e-9);
        assert!(pump.hold_dp(500.0, 5.0, 0.5).dp < 63.0);
        // 240 of 300 kPa is a speed of sqrt(0.8).
        assert!((pump.at_speed(0.8_f64.sqrt(), 5.0, 1.0).dp - 100.0).abs() < 1e-6);
    }

    #[test]
    fn valve_closes_and_opens_fully() {
        assert!(equal_percentage(0.0).abs() < 1e-12);
        assert!((equal_percentage(1.0) - 1.0).abs() < 1e-12);
        assert!(equal_percentage(0.5) < 0.2);
    }
}
