//! A setpoint: its registers, its limits, and the steps that it can be given.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Name, Point, Role, WordType, defaults};
use crate::units::{Finite, Unit};

/// Which way of moving a setpoint cools more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cools {
    /// A supply temperature: lower is colder.
    Down,
    /// A speed, pressure or valve: higher is colder.
    Up,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setpoint {
    pub name: Name,
    pub unit: Unit,
    #[serde(default)]
    pub role: Option<Role>,
    /// The register that is written and read back.
    pub register: Point,
    /// The register that shows the setpoint in force, where the plant has one.
    #[serde(default)]
    pub active: Option<Point>,
    /// The setpoint in force must come nearer to what was written at least this often until it arrives.
    #[serde(default = "defaults::follow_within")]
    #[schemars(with = "String")]
    pub follow_within: SignedDuration,
    /// Raw counts by which a device that rounds may show another value than was written.
    #[serde(default)]
    pub read_back_tolerance: u16,
    pub min: Finite,
    pub max: Finite,
    /// The model chooses multiples of this, counted from `min`.
    pub step: Finite,
    /// The fastest commanded change, in units a minute.
    pub rate_per_min: Finite,
    /// The shortest time between two changes.
    #[serde(default = "defaults::dwell")]
    #[schemars(with = "String")]
    pub dwell: SignedDuration,
    /// Where the plant is known to be safe.
    pub safe: Finite,
    pub cools: Cools,
    /// Moves smaller than this are not written; they add up until they are.
    #[serde(default)]
    pub deadband: Finite,
    /// Whether its liquid runs in the white space in pipes that sweat, so that the condensation floor holds.
    /// Liquid supply always does; facility water does unless told otherwise, where the room's dew point is
    /// measured; anything else only when told so.
    #[serde(default)]
    pub white_space: Option<bool>,
    /// Registers in EEPROM wear out: at most this many writes a day. `None`: volatile, no budget.
    #[serde(default)]
    pub writes_per_day: Option<u32>,
}

impl Setpoint {
    /// The end of the range that cools most.
    #[must_use]
    pub fn coldest(&self) -> Finite {
        match self.cools {
            Cools::Down => self.min,
            Cools::Up => self.max,
        }
    }

    /// From the one end of the range to the other, in its unit.
    #[must_use]
    pub fn span(&self) -> f64 {
        self.max.get() - self.min.get()
    }

    /// How many steps a value is above the minimum; a whole number on a step.
    #[must_use]
    pub(crate) fn steps_to(&self, value: Finite) -> f64 {
        (value.get() - self.min.get()) / self.step.get()
    }

    /// The value so many steps above the minimum, inside the limits.
    #[must_use]
    pub(crate) fn at_step(&self, steps: f64) -> Finite {
        self.min.plus(steps * self.step.get()).rounded(3).max(self.min).min(self.max)
    }

    /// What one raw count of its register is worth; `None` where a register holds any number.
    #[must_use]
    pub(crate) fn count(&self) -> Option<Finite> {
        let point = &self.register;
        let in_unit = |wire: Finite| Some(point.unit.unwrap_or(self.unit).convert(wire, self.unit)?.get());
        if point.word_type == WordType::Float32 {
            return None;
        }
        Finite::new((in_unit(point.scale)? - in_unit(Finite::ZERO)?).abs())
    }

    /// The least by which it is moved at all: a step, or more where less is not written.
    #[must_use]
    pub fn least_move(&self) -> Finite {
        self.step.max(self.deadband)
    }

    #[must_use]
    pub(crate) fn nearest_step(&self, value: Finite) -> Finite {
        self.at_step(self.steps_to(value).round())
    }
}
