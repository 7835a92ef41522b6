//! Numbers and times that have to be in a range: outside it is a slip of the pen that would switch a rule
//! off or do harm, whatever the plant.

use jiff::SignedDuration;

use super::check::Checker;
use super::spot::Spot;

/// A key, its value, the lowest and the highest that make sense, and why.
pub(super) type Bounded<'a, T> = (&'a str, T, T, T, &'a str);

pub(super) const MILLISECOND: SignedDuration = SignedDuration::from_millis(1);
pub(super) const SECOND: SignedDuration = SignedDuration::from_secs(1);
pub(super) const MINUTE: SignedDuration = SignedDuration::from_mins(1);
pub(super) const HOUR: SignedDuration = SignedDuration::from_hours(1);
pub(super) const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Checker {
    pub(super) fn numbers(&mut self, of: &Spot, unit: &str, table: &[Bounded<'_, f64>]) {
        for &(key, value, low, high, why) in table {
            if !(low..=high).contains(&value) {
                self.say(of.at(key), format!("expected {low} to {high} {unit}, got {value}: {why}"));
            }
        }
    }

    pub(super) fn times(&mut self, of: &Spot, table: &[Bounded<'_, SignedDuration>]) {
        for &(key, value, low, high, why) in table {
            if !(low..=high).contains(&value) {
                self.say(of.at(key), format!("expected {low:#} to {high:#}, got {value:#}: {why}"));
            }
        }
    }
}
