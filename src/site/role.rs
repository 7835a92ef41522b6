//! What signals and setpoints mean.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a signal or setpoint means to the guard, the twin and the fallback.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Air entering IT equipment.
    ItInlet,
    /// Chilled-water supply.
    Chws,
    /// Chilled-water return.
    Chwr,
    /// Air leaving a CRAH.
    CrahSupply,
    /// Liquid sent to cold plates or tanks (CDU secondary supply).
    LiquidSupply,
    LiquidReturn,
    /// Dielectric fluid in a tank.
    Bath,
    /// Facility water on the primary side of an exchanger.
    FacilitySupply,
    FacilityReturn,
    /// The hottest chip reported.
    ChipTemp,
    ItLoad,
    RoomDryBulb,
    RoomHumidity,
    RoomDewPoint,
    OutdoorDryBulb,
    OutdoorWetBulb,
    Flow,
    DiffPressure,
    FanSpeed,
    PumpSpeed,
    ValvePosition,
    CoolingPower,
    FacilityPower,
    ChillersOn,
    /// An announced load to come, in kW.
    LoadAhead,
}

impl Role {
    pub const ALL: [Self; 25] = [
        Self::ItInlet,
        Self::Chws,
        Self::Chwr,
        Self::CrahSupply,
        Self::LiquidSupply,
        Self::LiquidReturn,
        Self::Bath,
        Self::FacilitySupply,
        Self::FacilityReturn,
        Self::ChipTemp,
        Self::ItLoad,
        Self::RoomDryBulb,
        Self::RoomHumidity,
        Self::RoomDewPoint,
        Self::OutdoorDryBulb,
        Self::OutdoorWetBulb,
        Self::Flow,
        Self::DiffPressure,
        Self::FanSpeed,
        Self::PumpSpeed,
        Self::ValvePosition,
        Self::CoolingPower,
        Self::FacilityPower,
        Self::ChillersOn,
        Self::LoadAhead,
    ];
}
