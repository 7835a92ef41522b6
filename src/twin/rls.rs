//! Recursive least squares with exponential forgetting (Ljung, *System Identification*, ch. 11), for
//! regressors scaled to be near one.

/// A step's weight a step later: a memory of about eight hours at one step in five minutes.
const FORGET: f64 = 0.99;
/// The prior's variance for each parameter, in units of the noise's. Also the bound on what is forgotten:
/// a direction in which nothing ever moves must not grow without limit.
const PRIOR: f64 = 1e4;
/// A direction is unknown while this share of the prior's variance is left.
const UNKNOWN: f64 = 0.01;
/// Errors of a step are not believed to be smaller than this (scaled): 0.03 K for a temperature.
const NOISE: f64 = 0.003;

#[derive(Clone, Debug)]
pub(super) struct Rls {
    theta: Vec<f64>,
    /// Covariance over noise variance, row by row.
    p: Vec<Vec<f64>>,
    noise: f64,
    steps: u32,
}

impl Rls {
    pub(super) fn new(parameters: usize) -> Self {
        let row = |i| (0..parameters).map(|j| if i == j { PRIOR } else { 0.0 }).collect();
        Self { theta: vec![0.0; parameters], p: (0..parameters).map(row).collect(), noise: 0.0, steps: 0 }
    }

    /// Learns that `phi` gave `target`. Anything that would not stay finite is left out.
    pub(super) fn learn(&mut self, phi: &[f64], target: f64) {
        let p_phi: Vec<f64> = self.p.iter().map(|row| dot(row, phi)).collect();
        let forget = if self.trace() < PRIOR * self.theta.len() as f64 { FORGET } else { 1.0 };
        let denominator = forget + dot(phi, &p_phi);
        let error = target - dot(&self.theta, phi);
        if !(denominator.is_finite() && error.is_finite() && denominator > 0.0) {
            return;
        }
        for (t, g) in self.theta.iter_mut().zip(&p_phi) {
            *t += g * error / denominator;
        }
        for (row, gi) in self.p.iter_mut().zip(&p_phi) {
            for (entry, gj) in row.iter_mut().zip(&p_phi) {
                *entry = (*entry - gi * gj / denominator) / forget;
            }
        }
        self.steps = self.steps.saturating_add(1);
        // The error before learning, made free of the parameters' own uncertainty.
        let weight = (1.0 / f64::from(self.steps)).max(1.0 - FORGET);
        self.noise += weight * (error * error * forget / denominator - self.noise);
    }

    fn trace(&self) -> f64 {
        self.p.iter().enumerate().filter_map(|(i, row)| row.get(i)).sum()
    }

    pub(super) fn theta(&self) -> &[f64] {
        &self.theta
    }

    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    /// Standard deviation of `direction · theta`; `None` while nothing has moved that way.
    pub(super) fn deviation(&self, direction: &[f64]) -> Option<f64> {
        let p_d: Vec<f64> = self.p.iter().map(|row| dot(row, direction)).collect();
        let variance = dot(direction, &p_d).max(0.0);
        let known = variance <= UNKNOWN * PRIOR * dot(direction, direction);
        known.then(|| variance.sqrt() * self.noise.sqrt().max(NOISE))
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
