//! The trends that the network is shown. `training/isotherm_train/rl/log.py` computes the same from logs.

use jiff::{SignedDuration, Timestamp};

/// Of the running mean: half of a change is forgotten after four decisions.
const MEAN_WEIGHT: f64 = 1.0 / 6.0;
/// After a longer silence trends start anew: two decisions of 5 min and a half were missed.
const FORGETS: SignedDuration = SignedDuration::from_secs(750);

/// What was seen at the last decision, and the mean of those before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    at: Option<Timestamp>,
    last: Vec<f64>,
    mean: Vec<f64>,
}

impl Memory {
    /// All values, then how far each has come since the last decision, then how far it is from its mean. A value
    /// that is missing stays what it was; before there was any, what it usually is.
    pub(super) fn features(
        &mut self,
        now: Timestamp,
        seen: &[Option<f64>],
        usual: &[crate::units::Finite],
    ) -> Vec<f64> {
        if self.last.is_empty() {
            self.last = usual.iter().map(|v| v.get()).collect();
        }
        let values: Vec<f64> = seen.iter().zip(&self.last).map(|(v, last)| v.unwrap_or(*last)).collect();
        if self.at.is_none_or(|at| now.duration_since(at) > FORGETS) {
            self.last.clone_from(&values);
            self.mean.clone_from(&values);
        }
        for (mean, value) in self.mean.iter_mut().zip(&values) {
            *mean += MEAN_WEIGHT * (value - *mean);
        }
        let moved = values.iter().zip(&self.last).map(|(v, last)| v - last);
        let off = values.iter().zip(&self.mean).map(|(v, mean)| v - mean);
        let features = values.iter().copied().chain(moved).chain(off).collect();
        self.last = values;
        self.at = Some(now);
        features
    }
}
