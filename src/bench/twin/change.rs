//! Plants whose sizes were changed.

use toml::Value;

use super::CHANGE;
use super::drive::Random;

/// Conductances, heat capacities and contents, rated powers and flows, recirculation: what differs between a
/// plant and the one it was copied from.
const CHANGED: [&str; 26] = [
    "ua",
    "rated_kw",
    "standing_kw",
    "primary_pump_kw",
    "condenser_pump_kw",
    "pump_kw",
    "unit_kw",
    "chassis_kj_k",
    "cold_kj_k",
    "hot_kj_k",
    "supply_pipe_kj_k",
    "return_pipe_kj_k",
    "pipe_kj_k",
    "basin_kj_k",
    "evaporator_kj_k",
    "bath_kj_k",
    "wet_kj_k",
    "kj_k",
    "package_j_k",
    "sink_j_k",
    "package_k_w",
    "sink_k_w",
    "recirculation",
    "inlet_k_per_kw",
    "kv",
    "coil_kv",
];

pub(super) fn change(value: &mut Value, random: &mut Random) {
    match value {
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                let number = value.as_float().or_else(|| value.as_integer().map(|i| i as f64));
                match number {
                    Some(number) if CHANGED.contains(&key.as_str()) => {
                        let factor = if random.share() < 0.5 { 1.0 - CHANGE } else { 1.0 + CHANGE };
                        *value = Value::Float(number * factor);
                    }
                    _ => change(value, random),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| change(v, random)),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}
