//! Faults that a scenario schedules: broken machines, lying sensors, lost links.

use serde::Deserialize;

/// One fault, from `at_h` (hours of simulated time since the start) for `hours`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    #[serde(deserialize_with = "crate::bounds::hours")]
    pub at_h: f64,
    #[serde(deserialize_with = "crate::bounds::hours")]
    pub hours: f64,
    pub what: FaultKind,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// So many chillers trip.
    ChillerTrip { count: usize },
    /// A share of the main loop's pumps is lost.
    PumpLoss {
        #[serde(deserialize_with = "crate::bounds::fraction")]
        share: f64,
    },
    /// A share of tower or dry cooler fans is lost.
    TowerFanLoss {
        #[serde(deserialize_with = "crate::bounds::fraction")]
        share: f64,
    },
    /// A share of the CRAH fans is lost.
    CrahFanLoss {
        #[serde(deserialize_with = "crate::bounds::fraction")]
        share: f64,
    },
    /// Dirt takes a share of every exchanger's conductance.
    Fouling {
        #[serde(deserialize_with = "crate::bounds::fraction")]
        share: f64,
    },
    /// No frames reach the broker.
    BrokerOutage,
    /// The Modbus server is gone.
    ModbusOutage,
    /// A sensor repeats its last value.
    SensorStuck { signal: String },
    /// A sensor's samples are missing.
    SensorDropout { signal: String },
    /// A sensor reads too high by this much.
    SensorBias {
        signal: String,
        #[serde(deserialize_with = "crate::bounds::any")]
        offset: f64,
    },
    /// A sensor's bias grows by this much an hour.
    SensorDrift {
        signal: String,
        #[serde(deserialize_with = "crate::bounds::any")]
        per_hour: f64,
    },
    /// A temperature is reported in degF under the unit degC.
    SensorFahrenheit { signal: String },
}

/// What is broken at one moment, as far as machinery goes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Disturbance {
    pub chillers_tripped: usize,
    pub pumps_lost: f64,
    pub tower_fans_lost: f64,
    pub crah_fans_lost: f64,
    pub fouling: f64,
    pub broker_out: bool,
    pub modbus_out: bool,
}

impl Fault {
    fn active(&self, hours: f64) -> bool {
        (self.at_h..self.at_h + self.hours).contains(&hours)
    }

    /// The sensor this fault is about.
    pub fn signal(&self) -> Option<&str> {
        match &self.what {
            FaultKind::SensorStuck { signal }
            | FaultKind::SensorDropout { signal }
            | FaultKind::SensorBias { signal, .. }
            | FaultKind::SensorDrift { signal, .. }
            | FaultKind::SensorFahrenheit { signal } => Some(signal),
            FaultKind::ChillerTrip { .. }
            | FaultKind::PumpLoss { .. }
            | FaultKind::TowerFanLoss { .. }
            | FaultKind::CrahFanLoss { .. }
            | FaultKind::Fouling { .. }
            | FaultKind::BrokerOutage
            | FaultKind::ModbusOutage => None,
        }
    }
}

/// The faults of `faults` that are active `hours` after the start.
pub fn active(faults: &[Fault], hours: f64) -> impl Iterator<Item = &Fault> {
    faults.iter().filter(move |fault| fault.active(hours))
}

/// What the machinery suffers `hours` after the start.
pub fn disturbance(faults: &[Fault], hours: f64) -> Disturbance {
    let mut d = Disturbance::default();
    for fault in active(faults, hours) {
        match &fault.what {
            FaultKind::ChillerTrip { count } => d.chillers_tripped = *count,
            FaultKind::PumpLoss { share } => d.pumps_lost = *share,
            FaultKind::TowerFanLoss { share } => d.tower_fans_lost = *share,
            FaultKind::CrahFanLoss { share } => d.crah_fans_lost = *share,
            FaultKind::Fouling { share } => d.fouling = *share,
            FaultKind::BrokerOutage => d.broker_out = true,
            FaultKind::ModbusOutage => d.modbus_out = true,
            FaultKind::SensorStuck { .. }
            | FaultKind::SensorDropout { .. }
            | FaultKind::SensorBias { .. }
            | FaultKind::SensorDrift { .. }
            | FaultKind::SensorFahrenheit { .. } => {}
        }
    }
    d
}
