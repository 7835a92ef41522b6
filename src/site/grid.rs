//! The values that a setpoint can be given: steps from its minimum.

use super::Setpoint;
use crate::units::Finite;

impl Setpoint {
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
