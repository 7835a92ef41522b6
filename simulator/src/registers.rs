//! The Modbus register map: addresses, encodings, and what reads and writes do.
//!
//! Addresses are zero-based, words big-endian, and 32-bit values have their high word first.
//!
//! | holding | meaning |
//! |---|---|
//! | 0 | remote enable, 0 or 1 |
//! | 1 | heartbeat, any value that changes |
//! | 2.. | setpoints, int16, in the order of the plant's setpoint table |
//!
//! | input | meaning |
//! |---|---|
//! | 0, 1 | status word, alarm word |
//! | 2 | seconds since the heartbeat changed, uint16, at most 65535 |
//! | 3.. | setpoints in force, int16, same scaling as their holding registers |
//! | 10.. | signals in the order of the plant's signal table, see [`Encoding::of_unit`] |
//! | then | energy counters IT, cooling, facility: uint32, 0.1 kWh |
//!
//! A missing sample reads as 0x8000 (int16), 0xFFFF (uint16) or NaN (float32).

use crate::plant::{Plant, PlantConfig};
use crate::supervision::CommandError;

/// First input register of the signals.
const SIGNALS_AT: u16 = 10;
/// First holding register of the setpoints.
const SETPOINTS_AT: u16 = 2;
/// First input register of the setpoints in force.
const ACTIVE_AT: u16 = 3;

/// How a value is laid into registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// One signed word, counts per unit.
    Int16(u16),
    /// One unsigned word, counts per unit.
    Uint16(u16),
    /// Two words, IEEE 754.
    Float32,
    /// Two unsigned words, counts per unit.
    Uint32(u16),
}

impl Encoding {
    /// Encoding of a signal by its unit: degC int16 x10; % and kPa uint16 x10; %RH uint16 x10; L/min
    /// and counts uint16; kW float32.
    pub fn of_unit(unit: &str) -> Self {
        match unit {
            "degC" => Encoding::Int16(10),
            "%" | "%RH" | "kPa" => Encoding::Uint16(10),
            "kW" => Encoding::Float32,
            _ => Encoding::Uint16(1),
        }
    }

    /// Words it takes.
    pub fn words(self) -> u16 {
        match self {
            Encoding::Int16(_) | Encoding::Uint16(_) => 1,
            Encoding::Float32 | Encoding::Uint32(_) => 2,
        }
    }

    fn put(self, value: Option<f64>, out: &mut Vec<u16>) {
        // `as` from float to integer saturates, which is what an overrun register does.
        match (self, value) {
            (Encoding::Int16(scale), Some(v)) => {
                let counts = ((v * f64::from(scale)).round() as i16).max(-i16::MAX);
                out.push(counts as u16);
            }
            (Encoding::Int16(_), None) => out.push(0x8000),
            (Encoding::Uint16(scale), Some(v)) => {
                out.push(((v * f64::from(scale)).round() as u16).min(0xFFFE));
            }
            (Encoding::Uint16(_), None) => out.push(0xFFFF),
            (Encoding::Float32, v) => {
                let bits = v.map_or(f32::NAN, |v| v as f32).to_bits();
                out.extend([(bits >> 16) as u16, bits as u16]);
            }
            (Encoding::Uint32(scale), v) => {
                let counts = v.map_or(0.0, |v| v * f64::from(scale)).round() as u32;
                out.extend([(counts >> 16) as u16, counts as u16]);
            }
        }
    }

    /// As the README's table says it.
    pub fn describe(self) -> String {
        match self {
            Encoding::Int16(1) => "int16".into(),
            Encoding::Int16(scale) => format!("int16 x{scale}"),
            Encoding::Uint16(1) => "uint16".into(),
            Encoding::Uint16(scale) => format!("uint16 x{scale}"),
            Encoding::Float32 => "float32".into(),
            Encoding::Uint32(scale) => format!("uint32 x{scale}"),
        }
    }
}

/// One line of the register map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    pub address: u16,
    pub name: String,
    pub unit: &'static str,
    pub encoding: Encoding,
}

fn register(address: u16, name: impl Into<String>, unit: &'static str, encoding: Encoding) -> Register {
    Register { address, name: name.into(), unit, encoding }
}

/// Holding registers of a kind of plant.
pub fn holding_map(plant: &PlantConfig) -> Vec<Register> {
    let mut map = vec![
        register(0, "enable", "0 or 1", Encoding::Uint16(1)),
        register(1, "heartbeat", "any", Encoding::Uint16(1)),
    ];
    for (s, address) in plant.setpoints().iter().zip(SETPOINTS_AT..) {
        map.push(register(address, s.name, s.unit, Encoding::Int16(s.counts_per_unit)));
    }
    map
}

/// Input registers of a kind of plant.
pub fn input_map(plant: &PlantConfig) -> Vec<Register> {
    let mut map = vec![
        register(0, "status", "bits", Encoding::Uint16(1)),
        register(1, "alarms", "bits", Encoding::Uint16(1)),
        register(2, "heartbeat_age", "s", Encoding::Uint16(1)),
    ];
    for (s, address) in plant.setpoints().iter().zip(ACTIVE_AT..) {
        let name = format!("{}_active", s.name);
        map.push(register(address, name, s.unit, Encoding::Int16(s.counts_per_unit)));
    }
    let mut address = SIGNALS_AT;
    let counters = ["it_energy", "cooling_energy", "facility_energy"];
    let signals = plant.signals().iter().map(|s| (s.name, s.unit, Encoding::of_unit(s.unit)));
    let counters = counters.iter().map(|name| (*name, "kWh", Encoding::Uint32(10)));
    for (name, unit, encoding) in signals.chain(counters) {
        map.push(register(address, name, unit, encoding));
        address += encoding.words();
    }
    map
}

/// Why a request was refused; the Modbus exception it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Exception 2: no such register.
    Address,
    /// Exception 3: value out of range.
    Value,
}

/// The input registers as they read now, from address 0.
pub fn input_image(plant: &Plant) -> Vec<u16> {
    let s = plant.supervision();
    let mut out = vec![plant.status(), plant.alarms()];
    Encoding::Uint16(1).put(Some(s.heartbeat_age_s()), &mut out);
    for setpoint in &s.setpoints {
        Encoding::Int16(setpoint.spec.counts_per_unit).put(Some(setpoint.active), &mut out);
    }
    out.resize(SIGNALS_AT.into(), 0);
    for (spec, value) in plant.sensors() {
        Encoding::of_unit(spec.unit).put(value, &mut out);
    }
    let t = plant.totals();
    for energy in [t.it_kwh, t.cooling_kwh, t.facility_kwh] {
        Encoding::Uint32(10).put(Some(energy), &mut out);
    }
    out
}

/// The holding registers as they read now: what was written, whether in force or not.
pub fn holding_image(plant: &Plant) -> Vec<u16> {
    let s = plant.supervision();
    let mut out = vec![u16::from(s.enable), s.heartbeat];
    for setpoint in &s.setpoints {
        Encoding::Int16(setpoint.spec.counts_per_unit).put(Some(setpoint.requested), &mut out);
    }
    out
}

/// Part of an image.
pub fn slice(image: &[u16], address: u16, count: u16) -> Result<Vec<u16>, Refusal> {
    let start = usize::from(address);
    image.get(start..start + usize::from(count)).map(<[u16]>::to_vec).ok_or(Refusal::Address)
}

/// Writes holding registers from `address` on, all or none.
pub fn write(plant: &mut Plant, address: u16, words: &[u16]) -> Result<(), Refusal> {
    let mut trial = plant.supervision().clone();
    for (word, at) in words.iter().zip(address..=u16::MAX) {
        match at {
            0 if *word > 1 => return Err(Refusal::Value),
            0 => trial.enable = *word == 1,
            1 => trial.beat(*word),
            _ => {
                let index = usize::from(at - SETPOINTS_AT);
                let Some(setpoint) = trial.setpoints.get(index) else {
                    return Err(Refusal::Address);
                };
                let counts = f64::from(*word as i16);
                let value = counts / f64::from(setpoint.spec.counts_per_unit);
                trial.request(index, value).map_err(|e| match e {
                    CommandError::Unknown { .. } => Refusal::Address,
                    CommandError::OutOfRange { .. } => Refusal::Value,
                })?;
            }
        }
    }
    *plant.supervision_mut() = trial;
    Ok(())
}
