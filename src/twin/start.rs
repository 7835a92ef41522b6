//! Where a site has measured how its temperatures answer to its setpoints, the twin starts from that instead
//! of from what physics says of plants in general.
//!
//! A measured answer has a gain, a dead time and a time constant; the model has a bank of lags for it. The two
//! lags around the answer's mean delay (dead time plus time constant) share the gain so that gain and mean
//! delay come out as measured. A prediction's steps are five minutes, so that the rest of the shape is not seen.

use super::drive::Conditions;
use super::estimate::Prior;
use super::feature::Regressor;
use crate::site::{Name, Response, Site};

/// A gain that was measured at one load and one weather is not known better than this anywhere else.
const LEAST_SD: f64 = 0.1;

/// One measured answer of one output.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Position of the setpoint in the site's order.
    pub(super) setpoint: usize,
    gain: f64,
    sd: f64,
    /// Mean delay, minutes.
    delay: f64,
}

pub(super) fn answers(site: &Site, signal: &Name) -> Vec<Answer> {
    let of = |r: &Response| {
        let setpoint = site.setpoints.iter().position(|s| s.name == r.setpoint)?;
        let (gain, delay) = (r.gain.get(), (r.dead_time + r.time_constant).as_secs_f64() / 60.0);
        Some(Answer { setpoint, gain, sd: r.gain_sd.get().max(LEAST_SD * gain.abs()), delay })
    };
    site.twin.responses.iter().filter(|r| r.signal == *signal).filter_map(of).collect()
}

impl Answer {
    /// Puts the answer in the place of the first guesses.
    pub(super) fn put(&self, regressors: &[Regressor], priors: &mut [Prior], c: &Conditions) {
        let own = |r: &Regressor| r.feature.setpoint() == Some(self.setpoint) && !r.surge;
        let lags: Vec<f64> = regressors.iter().filter(|r| own(r)).map(|r| r.lag).collect();
        let shares = shares(&lags, self.delay);
        let each = 1.0 / (lags.len().max(1) as f64).sqrt();
        let mine = regressors.iter().zip(priors).filter(|(r, _)| own(r));
        for ((regressor, prior), share) in mine.zip(shares) {
            let slope = regressor.feature.slope(self.setpoint, c);
            let (mean, sd) = (self.gain / slope, (self.sd / slope).abs());
            // With a sign that cannot be, it was not this setpoint's doing.
            if slope.is_normal() && mean * prior.sign >= 0.0 {
                (prior.mean, prior.sd) = (share * mean, each * sd);
            }
        }
    }
}

/// How a gain is shared among rising lags for their mean to be `delay`, as near as they allow.
fn shares(lags: &[f64], delay: f64) -> Vec<f64> {
    let mut shares = vec![0.0; lags.len()];
    let above = lags.iter().position(|l| *l >= delay).unwrap_or(lags.len().saturating_sub(1));
    let below = if lags.get(above).is_some_and(|l| *l > delay) { above.saturating_sub(1) } else { above };
    if let (Some(low), Some(high)) = (lags.get(below), lags.get(above)) {
        let upper = if high > low { (delay - low) / (high - low) } else { 0.0 };
        shares[below] += 1.0 - upper;
        shares[above] += upper;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_is_shared_among_the_lags_around_its_delay() {
        for (delay, expected) in [
            (0.2, [1.0, 0.0, 0.0]),
            (1.0, [1.0, 0.0, 0.0]),
            (2.5, [0.5, 0.5, 0.0]),
            (8.0, [0.0, 0.5, 0.5]),
            (90.0, [0.0, 0.0, 1.0]),
        ] {
            assert_eq!(shares(&[1.0, 4.0, 12.0], delay), expected, "{delay}");
        }
        assert!(shares(&[], 3.0).is_empty());
    }
}
