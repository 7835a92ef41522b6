//! Sums over a run: energy, throughput, excess temperature, and the balance that must close.

use serde::Serialize;

/// Energy in, out and stored, kWh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Ledger {
    pub in_kwh: f64,
    pub out_kwh: f64,
    pub stored_kwh: f64,
}

impl Ledger {
    pub(super) fn start(&mut self, heat_kj: f64) {
        self.stored_kwh = heat_kj / 3600.0;
    }

    pub(super) fn add(&mut self, dt: f64, in_kw: f64, out_kw: f64) {
        self.in_kwh += in_kw * dt / 3600.0;
        self.out_kwh += out_kw * dt / 3600.0;
    }

    pub(super) fn with_store(&self, heat_kj: f64) -> Self {
        Self { stored_kwh: heat_kj / 3600.0 - self.stored_kwh, ..*self }
    }
}

/// Sums over a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Simulated hours.
    pub hours: f64,
    pub it_kwh: f64,
    pub cooling_kwh: f64,
    pub facility_kwh: f64,
    /// Degree-hours of the watched temperature (air: hottest inlet) above the scenario's `over_above`.
    pub over_degh: f64,
    pub throttled_gpu_h: f64,
    pub tflop_h: f64,
    /// Setpoint writes accepted.
    pub writes_seen: u64,
}

impl Totals {
    /// Power usage effectiveness.
    pub fn pue(&self) -> f64 {
        self.facility_kwh / self.it_kwh
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "simulated          {:10.1} h", self.hours)?;
        writeln!(f, "IT energy          {:10.1} kWh", self.it_kwh)?;
        writeln!(f, "cooling energy     {:10.1} kWh", self.cooling_kwh)?;
        writeln!(f, "facility energy    {:10.1} kWh", self.facility_kwh)?;
        writeln!(f, "PUE                {:10.3}", self.pue())?;
        writeln!(f, "too warm           {:10.2} K h", self.over_degh)?;
        writeln!(f, "throttled          {:10.2} GPU h", self.throttled_gpu_h)?;
        writeln!(f, "throughput         {:10.1} TFLOP/s h", self.tflop_h)?;
        writeln!(f, "setpoint writes    {:10}", self.writes_seen)
    }
}
