//! Connections to the plant's data, and the readings they bring.

mod backoff;
pub mod modbus;
pub mod mqtt;
mod payload;
pub mod trace;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::payload::Malformed;
use crate::site::Name;
use crate::units::{Finite, Unit};

/// One value as a source gave it, before anyone believes it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// A signal, or a setpoint's register read back.
    pub name: Name,
    pub value: Finite,
    /// The unit on the wire; the frame assembler converts.
    pub unit: Unit,
    /// When the source says the value was taken; when it was received if the source does not say.
    pub time: Timestamp,
    pub received: Timestamp,
    pub origin: Origin,
}

/// Circumstances that decide how far a reading can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// A retained MQTT message: never fresh.
    pub retained: bool,
    /// The first value after a connection was opened again.
    pub after_reconnect: bool,
    /// The source marked the value as not good.
    pub flagged: bool,
    /// The source gave its own time stamp.
    pub timed: bool,
}
