//! A linear regression learned online, with prior knowledge: a Kalman filter over its coefficients and a
//! wandering offset (Ljung, *System Identification*, ch. 11; Harvey, *Forecasting, Structural Time Series
//! Models*, ch. 3).
//!
//! `y = c·x + b + noise`. The coefficients start at what physics says, each with a standard deviation, and
//! what never moves keeps exactly that. They may drift slowly, but are never less certain than before the
//! first measurement, so a direction that is not excited cannot blow up. `b` takes what the inputs do not
//! explain and fades; how much it wanders is learned from the surprises.

/// A coefficient may lose what was learned of it over this time, minutes.
const DRIFT_MIN: f64 = 24.0 * 60.0;
/// Surprises beyond this many standard deviations count as this many: one bad sample must not turn the model.
const MOST_SURPRISE: f64 = 3.5;
/// How fast the wandering is adapted to the surprises.
const ADAPT: f64 = 0.02;
/// A coefficient with a sign that cannot be is drawn to zero with this share of its prior's deviation.
const SIGN_GRIP: f64 = 0.1;

/// What is known of a coefficient before any measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prior {
    pub(super) mean: f64,
    pub(super) sd: f64,
    /// -1, 1, or 0 where physics gives no sign.
    pub(super) sign: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Estimate {
    priors: Vec<Prior>,
    /// The coefficients, and the offset last.
    mean: Vec<f64>,
    /// Covariance, row by row.
    cov: Vec<f64>,
    /// The offset's growth in variance a minute, with its bounds.
    wander: f64,
    wander_bounds: [f64; 2],
    /// The offset halves the way to zero that `exp(-t / fade)` does.
    fade_min: f64,
}

impl Estimate {
    /// `wander`: the standard deviation that the offset gains in an hour, to begin with.
    pub(super) fn new(priors: Vec<Prior>, wander: f64, fade_min: f64) -> Self {
        let n = priors.len() + 1;
        let mut cov = vec![0.0; n * n];
        for (i, variance) in priors.iter().map(|p| p.sd * p.sd).chain([wander * wander]).enumerate() {
            cov[i * n + i] = variance;
        }
        let mean = priors.iter().map(|p| p.mean).chain([0.0]).collect();
        let wander = wander * wander / 60.0;
        Self { priors, mean, cov, wander, wander_bounds: [wander / 3e3, wander * 3e2], fade_min }
    }

    fn size(&self) -> usize {
        self.mean.len()
    }

    /// What the coefficients make of `x`, and the offset.
    pub(super) fn expect(&self, x: &[f64]) -> (f64, f64) {
        let (offset, coefficients) = self.mean.split_last().map_or((0.0, &[][..]), |(b, c)| (*b, c));
        (dot(coefficients, x), offset)
    }

    /// What is left of the offset after some minutes.
    pub(super) fn fade(&self, minutes: f64) -> f64 {
        (-minutes / self.fade_min).exp()
    }

    /// Variance of what the coefficients make of the difference `dx`.
    pub(super) fn variance(&self, dx: &[f64]) -> f64 {
        let n = self.size();
        let rows = self.cov.chunks_exact(n).zip(dx);
        rows.filter(|(_, d)| **d != 0.0).map(|(row, d)| d * dot(row, dx)).sum::<f64>().max(0.0)
    }

    /// Learns that `minutes` after the last time `x` gave `y`, measured with variance `noise`.
    pub(super) fn learn(&mut self, minutes: f64, x: &[f64], y: f64, noise: f64) {
        let n = self.size();
        self.pass(minutes);
        let full: Vec<f64> = x.iter().copied().chain([1.0]).collect();
        let gain: Vec<f64> = self.cov.chunks_exact(n).map(|row| dot(row, &full)).collect();
        let spread = dot(&gain, &full) + noise;
        let surprise = y - dot(&self.mean, &full);
        if !(surprise.is_finite() && spread.is_finite() && spread > 0.0) {
            return;
        }
        let most = MOST_SURPRISE * spread.sqrt();
        let relative = (surprise * surprise / spread).min(MOST_SURPRISE * MOST_SURPRISE);
        self.wander = (self.wander * (ADAPT * (relative - 1.0)).exp())
            .clamp(self.wander_bounds[0], self.wander_bounds[1]);
        self.take(&gain, spread, surprise.clamp(-most, most));
        for i in 0..self.priors.len() {
            let Prior { sd, sign, .. } = self.priors[i];
            if self.mean[i] * sign < 0.0 {
                let column: Vec<f64> = self.cov.chunks_exact(n).map(|row| row[i]).collect();
                let spread = column[i] + (SIGN_GRIP * sd).powi(2);
                self.take(&column, spread, -self.mean[i]);
            }
        }
    }

    fn pass(&mut self, minutes: f64) {
        let n = self.size();
        let fade = self.fade(minutes);
        let last = n - 1;
        self.mean[last] *= fade;
        for i in 0..n {
            self.cov[i * n + last] *= fade;
            self.cov[last * n + i] *= fade;
        }
        self.cov[last * n + last] += self.wander * minutes;
        for (i, p) in self.priors.iter().enumerate() {
            let most = p.sd * p.sd;
            let variance = &mut self.cov[i * n + i];
            if *variance < most {
                *variance = (*variance + most * minutes / DRIFT_MIN).min(most);
            }
        }
    }

    fn take(&mut self, gain: &[f64], spread: f64, surprise: f64) {
        let n = self.size();
        for (m, g) in self.mean.iter_mut().zip(gain) {
            *m += g * surprise / spread;
        }
        for (row, gi) in self.cov.chunks_exact_mut(n).zip(gain) {
            for (entry, gj) in row.iter_mut().zip(gain) {
                *entry -= gi * gj / spread;
            }
        }
    }

    /// After a gap the offset is anyone's guess again.
    pub(super) fn gap(&mut self, variance: f64) {
        let last = self.size() - 1;
        let at = last * self.size() + last;
        self.cov[at] = self.cov[at].max(variance);
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
