//! A linear regression learned online, with prior knowledge: a Kalman filter over its coefficients and two
//! offsets (Ljung, *System Identification*, ch. 11; Harvey, *Forecasting, Structural Time Series Models*,
//! ch. 2 and 3).
//!
//! `y = c·x + f + s + noise`. The coefficients start at what physics says, each with a standard deviation, and
//! what never moves keeps exactly that. They may drift slowly, but are never less certain than before the
//! first measurement, so a direction that is not excited cannot blow up. The offsets take what the inputs do
//! not explain: `f` fades within minutes, `s` within hours. How much they wander is learned from the surprises.

/// A coefficient may lose what was learned of it over this time, minutes.
const DRIFT_MIN: f64 = 24.0 * 60.0;
/// Surprises beyond this many standard deviations count as this many: one bad sample must not turn the model.
const MOST_SURPRISE: f64 = 3.5;
/// How fast the wandering is adapted to the surprises.
const ADAPT: f64 = 0.02;
const WANDER: [f64; 2] = [1e-3, 1e2];
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

/// What the inputs do not explain: it fades by `exp(-t / fade_min)`, and has this deviation in the long run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offset {
    pub(super) sd: f64,
    pub(super) fade_min: f64,
}

const OFFSETS: usize = 2;

#[derive(Clone, Debug)]
pub(super) struct Estimate {
    priors: Vec<Prior>,
    offsets: [Offset; OFFSETS],
    /// The coefficients, and the offsets last.
    mean: Vec<f64>,
    /// Covariance, row by row.
    cov: Vec<f64>,
    /// By how much the offsets wander more than was thought, as a factor on their variance.
    wander: f64,
}

impl Estimate {
    pub(super) fn new(priors: Vec<Prior>, offsets: [Offset; OFFSETS]) -> Self {
        let n = priors.len() + OFFSETS;
        let mut cov = vec![0.0; n * n];
        let deviations = priors.iter().map(|p| p.sd).chain(offsets.iter().map(|o| o.sd));
        for (i, sd) in deviations.enumerate() {
            cov[i * n + i] = sd * sd;
        }
        let mean = priors.iter().map(|p| p.mean).chain([0.0; OFFSETS]).collect();
        Self { priors, offsets, mean, cov, wander: 1.0 }
    }

    /// What is expected at `x`, some minutes after the last measurement.
    pub(super) fn expect(&self, x: &[f64], minutes: f64) -> f64 {
        let (coefficients, offsets) = self.mean.split_at(self.priors.len());
        let left = offsets.iter().zip(&self.offsets).map(|(b, o)| b * (-minutes / o.fade_min).exp());
        dot(coefficients, x) + left.sum::<f64>()
    }

    /// Variance of what the coefficients make of the difference `dx`.
    pub(super) fn variance(&self, dx: &[f64]) -> f64 {
        let rows = self.cov.chunks_exact(self.mean.len()).zip(dx);
        rows.filter(|(_, d)| **d != 0.0).map(|(row, d)| d * dot(row, dx)).sum::<f64>().max(0.0)
    }

    /// Learns that `minutes` after the last time `x` gave `y`, measured with variance `noise`.
    pub(super) fn learn(&mut self, minutes: f64, x: &[f64], y: f64, noise: f64) {
        let n = self.mean.len();
        self.pass(minutes);
        let full: Vec<f64> = x.iter().copied().chain([1.0; OFFSETS]).collect();
        let gain: Vec<f64> = self.cov.chunks_exact(n).map(|row| dot(row, &full)).collect();
        let spread = dot(&gain, &full) + noise;
        let surprise = y - dot(&self.mean, &full);
        if !(surprise.is_finite() && spread.is_finite() && spread > 0.0) {
            return;
        }
        let most = MOST_SURPRISE * spread.sqrt();
        let relative = (surprise * surprise / spread).min(MOST_SURPRISE * MOST_SURPRISE);
        let [least, most_wander] = WANDER;
        self.wander = (self.wander * (ADAPT * (relative - 1.0)).exp()).clamp(least, most_wander);
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
        let n = self.mean.len();
        for (k, o) in self.offsets.iter().enumerate() {
            let i = self.priors.len() + k;
            let fade = (-minutes / o.fade_min).exp();
            self.mean[i] *= fade;
            for j in 0..n {
                self.cov[i * n + j] *= fade;
                self.cov[j * n + i] *= fade;
            }
            self.cov[i * n + i] += self.wander * o.sd * o.sd * (1.0 - fade * fade);
        }
        for (i, p) in self.priors.iter().enumerate() {
            let most = p.sd * p.sd;
            let variance = &mut self.cov[i * n + i];
            if *variance < most {
                *variance = (*variance + most * minutes / DRIFT_MIN).min(most);
            }
        }
    }

    fn take(&mut self, gain: &[f64], spread: f64, surprise: f64) {
        let n = self.mean.len();
        for (m, g) in self.mean.iter_mut().zip(gain) {
            *m += g * surprise / spread;
        }
        for (row, gi) in self.cov.chunks_exact_mut(n).zip(gain) {
            for (entry, gj) in row.iter_mut().zip(gain) {
                *entry -= gi * gj / spread;
            }
        }
    }

    /// After a gap the offsets are anyone's guess again.
    pub(super) fn gap(&mut self) {
        let n = self.mean.len();
        for (k, o) in self.offsets.iter().enumerate() {
            let i = self.priors.len() + k;
            self.cov[i * n + i] = self.cov[i * n + i].max(self.wander * o.sd * o.sd);
        }
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
