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

    /// As it is written in the site file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ItInlet => "it_inlet",
            Self::Chws => "chws",
            Self::Chwr => "chwr",
            Self::CrahSupply => "crah_supply",
            Self::LiquidSupply => "liquid_supply",
            Self::LiquidReturn => "liquid_return",
            Self::Bath => "bath",
            Self::FacilitySupply => "facility_supply",
            Self::FacilityReturn => "facility_return",
            Self::ChipTemp => "chip_temp",
            Self::ItLoad => "it_load",
            Self::RoomDryBulb => "room_dry_bulb",
            Self::RoomHumidity => "room_humidity",
            Self::RoomDewPoint => "room_dew_point",
            Self::OutdoorDryBulb => "outdoor_dry_bulb",
            Self::OutdoorWetBulb => "outdoor_wet_bulb",
            Self::Flow => "flow",
            Self::DiffPressure => "diff_pressure",
            Self::FanSpeed => "fan_speed",
            Self::PumpSpeed => "pump_speed",
            Self::ValvePosition => "valve_position",
            Self::CoolingPower => "cooling_power",
            Self::FacilityPower => "facility_power",
            Self::ChillersOn => "chillers_on",
            Self::LoadAhead => "load_ahead",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_called_what_the_site_file_calls_it() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
    }
}
