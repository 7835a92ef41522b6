//! GPUs: heat, leakage, throttling and throughput.
//!
//! Each GPU is two heat stores in series (package, then heat sink or cold plate) against the coolant.
//! Power is `idle + u dynamic + leakage`, with leakage doubling every so many K (the exponential
//! temperature dependence of subthreshold current). Under a power cap a warmer die clocks lower at
//! the same power, so throughput falls by a share per K; above the throttle temperature both clock
//! and power are cut. The per-K share is a fit to a published comparison of H100 nodes (air 54 to
//! 72 degC and 46 TFLOP/s per GPU, liquid 41 to 50 degC and 54 TFLOP/s), not a law.

use serde::Deserialize;

use crate::physics::slew;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Idle power without leakage, and what full load adds, W.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub idle_w: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub dynamic_w: f64,
    /// Leakage in W at 45 degC, doubling every so many K.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub leakage_w: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub leakage_doubling_k: f64,
    /// Package and sink: heat capacities J/K, resistance between them K/W.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub package_j_k: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub sink_j_k: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub package_k_w: f64,
    /// Resistance from sink to coolant at rated flow, K/W, falling with flow to this exponent.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub sink_k_w: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub sink_exponent: f64,
    /// The best and worst placed quarter of GPUs have this share less or more of both resistances.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub spread: f64,
    /// TFLOP/s at full load and 45 degC, and share lost per K above that.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub tflops: f64,
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub derate_per_k: f64,
    /// Throttling starts here, degC, and reaches its deepest cut so many K above.
    #[serde(deserialize_with = "crate::bounds::temperature")]
    pub throttle_at: f64,
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub throttle_span_k: f64,
}

/// Reference temperature of leakage and throughput, degC.
const REFERENCE: f64 = 45.0;
/// Deepest throttling leaves this share of the clock.
const DEEPEST: f64 = 0.3;
/// Clocks move by at most this share a second.
const CLOCK_SLEW: f64 = 0.05;

/// GPUs at like positions.
#[derive(Debug, Clone)]
struct Position {
    /// Share of the GPUs.
    share: f64,
    /// Factor on the resistances.
    factor: f64,
    package: f64,
    sink: f64,
    clock: f64,
}

/// The GPUs behind one coolant stream: three positions from best to worst cooled.
#[derive(Debug, Clone)]
pub struct Gpus {
    positions: [Position; 3],
}

/// Averages per GPU over one step.
#[derive(Debug, Clone, Copy, Default)]
pub struct GpuState {
    /// Electrical power, W.
    pub power_w: f64,
    /// Heat handed to the coolant, W.
    pub heat_w: f64,
    /// Throughput, TFLOP/s.
    pub tflops: f64,
    /// Hottest package, degC.
    pub hottest: f64,
    /// Coolest package, degC.
    pub coolest: f64,
    /// Share of GPUs throttled.
    pub throttled: f64,
}

impl Gpus {
    pub fn new(c: &Gpu, temp: f64) -> Self {
        let at = |share, factor| Position { share, factor, package: temp, sink: temp, clock: 1.0 };
        Self { positions: [at(0.25, 1.0 - c.spread), at(0.5, 1.0), at(0.25, 1.0 + c.spread)] }
    }

    /// One step at load `share` with coolant of `coolant` degC at `flow` (share of rated).
    pub fn step(&mut self, dt: f64, c: &Gpu, share: f64, coolant: f64, flow: f64) -> GpuState {
        let mut sum = GpuState { coolest: f64::INFINITY, ..GpuState::default() };
        let film = c.sink_k_w * flow.max(0.02).powf(-c.sink_exponent);
        for p in &mut self.positions {
            let over = (p.package - c.throttle_at) / c.throttle_span_k;
            let allowed = (1.0 - over.max(0.0) * (1.0 - DEEPEST)).max(DEEPEST);
            p.clock = slew(p.clock, allowed, CLOCK_SLEW * dt);
            let leakage = c.leakage_w * ((p.package - REFERENCE) / c.leakage_doubling_k).exp2();
            let power = c.idle_w + share * c.dynamic_w * p.clock + leakage.min(4.0 * c.leakage_w);
            // Backward Euler for both stores at once.
            let inner = 1.0 / (c.package_k_w * p.factor);
            let outer = 1.0 / (film * p.factor);
            let (cp, cs) = (c.package_j_k / dt, c.sink_j_k / dt);
            let a = cp + inner;
            let b = cs + inner + outer;
            let rhs_p = cp * p.package + power;
            let rhs_s = cs * p.sink + outer * coolant;
            let det = a * b - inner * inner;
            p.package = (rhs_p * b + inner * rhs_s) / det;
            p.sink = (a * rhs_s + inner * rhs_p) / det;
            sum.power_w += p.share * power;
            sum.heat_w += p.share * outer * (p.sink - coolant);
            let derate = (1.0 - c.derate_per_k * (p.package - REFERENCE)).clamp(0.0, 1.1);
            sum.tflops += p.share * c.tflops * share * p.clock * derate;
            sum.hottest = sum.hottest.max(p.package);
            sum.coolest = sum.coolest.min(p.package);
            if p.clock < 0.999 {
                sum.throttled += p.share;
            }
        }
        sum
    }

    /// Heat held above 0 degC per GPU, J.
    pub fn heat_j(&self, c: &Gpu) -> f64 {
        self.positions.iter().map(|p| p.share * (c.package_j_k * p.package + c.sink_j_k * p.sink)).sum()
    }
}
