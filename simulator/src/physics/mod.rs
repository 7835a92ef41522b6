//! Heat, air and water: the equations the plants are put together from.
//!
//! Units inside the simulator: temperature degC, power kW (= kJ/s), mass flow kg/s, heat capacity
//! kJ/K, conductance kW/K, pressure kPa, time s. Every store of heat is stepped with backward Euler,
//! in which the heat that leaves a store during a step is the heat its neighbour receives, so energy
//! closes at any step length.

pub mod chiller;
pub mod drive;
pub mod exchanger;
pub mod psychro;
pub mod store;
pub mod tower;

/// Specific heat of air at constant pressure, kJ/(kg K).
pub const AIR_CP: f64 = 1.006;
/// Specific heat of water, kJ/(kg K).
pub const WATER_CP: f64 = 4.186;
/// 0 degC in K.
pub const KELVIN: f64 = 273.15;
/// Density of water, kg/L.
pub const WATER_DENSITY: f64 = 0.998;

/// Moves `from` towards `to` by at most `step` (`step` >= 0).
pub fn slew(from: f64, to: f64, step: f64) -> f64 {
    from + (to - from).clamp(-step, step)
}

/// Volume flow in L/min of a water mass flow in kg/s.
pub fn litres_per_min(kg_s: f64) -> f64 {
    kg_s / WATER_DENSITY * 60.0
}
