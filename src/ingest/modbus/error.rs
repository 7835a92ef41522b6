use std::fmt;
use std::io;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::register::DecodeError;
use crate::site::Name;

/// Why a device did not do what it was asked. The device said no, the device said nothing, the link
/// failed, and the answer made no sense are four different things.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModbusError {
    #[error("the device refused: {0}")]
    Refused(Exception),
    /// A write may or may not have been carried out.
    #[error("no answer within {} ms; the connection was dropped", .0.as_millis())]
    Timeout(Duration),
    /// The unit has not answered lately and is left alone, so that it does not hold up the others.
    #[error("the unit has stopped answering; asked again in {:.1} s", .retry_in.as_secs_f64())]
    Tripped { retry_in: Duration },
    #[error("{endpoint}: {cause}")]
    Link { endpoint: String, cause: LinkCause },
    /// Not what was asked for: wrong unit, function, length or echo. A write may have been carried out.
    #[error("the reply does not match the request; the connection was dropped")]
    Mismatch,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("there is no device \"{0}\" in the site file")]
    UnknownDevice(Name),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkCause {
    #[error("cannot connect ({kind}); tried again in {:.1} s", .retry_in.as_secs_f64())]
    Connect { kind: io::ErrorKind, retry_in: Duration },
    /// A write may or may not have been carried out.
    #[error("the connection was lost ({0})")]
    Lost(io::ErrorKind),
    #[error("shut down")]
    ShutDown,
}

impl ModbusError {
    /// Whether nothing at all came back from the device: it, or the way to it, is out of order.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Tripped { .. } | Self::Link { .. } => true,
            Self::Refused(exception) => *exception == Exception::NO_RESPONSE,
            Self::Mismatch | Self::Decode(_) | Self::UnknownDevice(_) => false,
        }
    }
}

/// An exception code, as the Modbus application protocol 1.1b3 numbers them (section 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Exception(pub u8);

impl Exception {
    pub const ILLEGAL_ADDRESS: Self = Self(2);
    pub const ILLEGAL_VALUE: Self = Self(3);
    /// Accepted, and not done yet.
    pub const IN_PROGRESS: Self = Self(5);
    /// Come back later: the device may be asked again.
    pub const BUSY: Self = Self(6);
    /// A gateway heard nothing from the unit behind it.
    pub const NO_RESPONSE: Self = Self(11);
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.0 {
            1 => "illegal function",
            2 => "illegal data address",
            3 => "illegal data value",
            4 => "device failure",
            5 => "acknowledged, in progress",
            6 => "device busy",
            8 => "memory parity error",
            10 => "gateway path unavailable",
            11 => "gateway target did not respond",
            _ => "unknown exception",
        };
        write!(f, "exception {:02X} ({meaning})", self.0)
    }
}
