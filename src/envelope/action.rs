use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::site::Name;
use crate::units::{Finite, Unit};

/// What a Modbus holding register, or a pair of them, is to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Words {
    One([u16; 1]),
    Two([u16; 2]),
}

impl Words {
    /// `None` unless there are one or two.
    #[must_use]
    pub fn from_slice(words: &[u16]) -> Option<Self> {
        match *words {
            [a] => Some(Self::One([a])),
            [a, b] => Some(Self::Two([a, b])),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        match self {
            Self::One(w) => w,
            Self::Two(w) => w,
        }
    }
}

/// One register write that the guard has passed. Fields are private and there is no constructor outside
/// the envelope; it can be shown and recorded, never made from a record.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct SafeWrite {
    pub(super) target: Target,
    pub(super) device: Name,
    /// Zero-based, as on the wire.
    pub(super) address: u16,
    pub(super) words: Words,
    /// What the words mean in the target's unit.
    pub(super) value: Finite,
    pub(super) unit: Unit,
}

/// What a write is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Setpoint(Name),
    Enable,
    Heartbeat,
}

impl SafeWrite {
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }
    #[must_use]
    pub fn device(&self) -> &Name {
        &self.device
    }
    #[must_use]
    pub fn address(&self) -> u16 {
        self.address
    }
    #[must_use]
    pub fn words(&self) -> Words {
        self.words
    }
    #[must_use]
    pub fn value(&self) -> Finite {
        self.value
    }
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

/// Writes that belong together, in order. Empty: hold what the plant has.
#[derive(Clone, PartialEq, Debug, Default, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct SafeAction {
    pub(super) writes: Vec<SafeWrite>,
}

impl SafeAction {
    #[must_use]
    pub fn writes(&self) -> &[SafeWrite] {
        &self.writes
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// What no guard has seen, for tests of the writer alone.
    #[cfg(test)]
    pub(crate) fn unguarded(writes: &[(&str, u16, Words)]) -> Self {
        let write = |(device, address, words): &(&str, u16, Words)| SafeWrite {
            target: Target::Setpoint("chws_sp".parse().unwrap()),
            device: device.parse().unwrap(),
            address: *address,
            words: *words,
            value: Finite::ZERO,
            unit: Unit::Count,
        };
        Self { writes: writes.iter().map(write).collect() }
    }
}
