//! A baseline by regression: what cooling takes by IT load and outdoor temperature, and what hours with the agent took
//! less, with the interval of both.

/// Fewer independent hours than this are no baseline.
pub(super) const MIN_HOURS: usize = 48;
/// Two-sided 95 % of the normal distribution.
const Z: f64 = 1.96;
/// Constant, IT load, outdoor temperature.
const TERMS: usize = 3;

#[derive(Clone, Copy, Debug)]
pub(super) struct Hour {
    /// 1, IT load, outdoor temperature.
    pub(super) terms: [f64; TERMS],
    pub(super) cooling_kw: f64,
    /// The share of it for which there are values.
    pub(super) known: f64,
}

/// Why nothing is stated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lacking {
    /// Hours without the agent.
    Baseline,
    /// Hours with it.
    Hours,
    /// Hours with it that are like those without.
    Likeness,
    /// Any change to learn from.
    Change,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    pub(super) kwh: f64,
    pub(super) plus_minus: f64,
    /// By the baseline.
    pub(super) expected: f64,
    /// With data.
    pub(super) hours: f64,
    /// Hours that are not like those of the baseline.
    pub(super) left_out: usize,
    pub(super) rms: f64,
}

pub(super) fn estimate(without: &[Hour], with: &[Hour]) -> Result<Estimate, Lacking> {
    if without.len() < MIN_HOURS {
        return Err(Lacking::Baseline);
    }
    if with.is_empty() {
        return Err(Lacking::Hours);
    }
    let within = |h: &&Hour| {
        (1..TERMS).all(|k| {
            let values = without.iter().map(|w| w.terms[k]);
            let (low, high) =
                values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            (low..=high).contains(&h.terms[k])
        })
    };
    let all = with.len();
    let with: Vec<&Hour> = with.iter().filter(within).collect();
    if with.is_empty() {
        return Err(Lacking::Likeness);
    }
    let mut normal = [[0.0; TERMS]; TERMS];
    let mut right = [0.0; TERMS];
    for h in without {
        for ((row, right), term) in normal.iter_mut().zip(&mut right).zip(h.terms) {
            *right += term * h.cooling_kw;
            for (cell, other) in row.iter_mut().zip(h.terms) {
                *cell += term * other;
            }
        }
    }
    let fit = solve(normal, right).ok_or(Lacking::Change)?;
    let predict = |h: &Hour| (0..TERMS).map(|i| fit[i] * h.terms[i]).sum::<f64>();
    let residuals: Vec<f64> = without.iter().map(|h| h.cooling_kw - predict(h)).collect();
    let squares: f64 = residuals.iter().map(|r| r * r).sum();
    let lag: f64 = residuals.windows(2).map(|w| w[0] * w[1]).sum();
    let rho = if squares > 0.0 { (lag / squares).clamp(0.0, 0.99) } else { 0.0 };
    // Hours in a row say less than so many hours.
    let inflation = (1.0 + rho) / (1.0 - rho);
    let variance = squares / (without.len() - TERMS) as f64;
    let sums: [f64; TERMS] = std::array::from_fn(|i| with.iter().map(|h| h.known * h.terms[i]).sum());
    let spread = solve(normal, sums).ok_or(Lacking::Change)?;
    let of_fit: f64 = (0..TERMS).map(|i| sums[i] * spread[i]).sum();
    let of_hours: f64 = with.iter().map(|h| h.known * h.known).sum();
    let error = (variance * inflation * (of_fit + of_hours)).sqrt();
    let expected: f64 = with.iter().map(|h| h.known * predict(h)).sum();
    let actual: f64 = with.iter().map(|h| h.known * h.cooling_kw).sum();
    Ok(Estimate {
        kwh: expected - actual,
        plus_minus: Z * error,
        expected,
        hours: with.iter().map(|h| h.known).sum(),
        left_out: all - with.len(),
        rms: variance.sqrt(),
    })
}

/// Gaussian elimination with pivots; `None` when the matrix has no inverse to speak of.
fn solve(mut a: [[f64; TERMS]; TERMS], mut b: [f64; TERMS]) -> Option<[f64; TERMS]> {
    let scale = a.iter().flatten().fold(0.0_f64, |m, v| m.max(v.abs()));
    for k in 0..TERMS {
        let largest = (k..TERMS).max_by(|i, j| a[*i][k].abs().total_cmp(&a[*j][k].abs()))?;
        a.swap(k, largest);
        b.swap(k, largest);
        if a[k][k].abs() <= scale * 1e-12 {
            return None;
        }
        for i in k + 1..TERMS {
            let factor = a[i][k] / a[k][k];
            let pivot = a[k];
            for (cell, above) in a[i].iter_mut().zip(pivot) {
                *cell -= factor * above;
            }
            b[i] -= factor * b[k];
        }
    }
    for k in (0..TERMS).rev() {
        let known: f64 = (k + 1..TERMS).map(|j| a[k][j] * b[j]).sum();
        b[k] = (b[k] - known) / a[k][k];
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cooling as a known law with noise from a fixed sequence.
    fn hours(count: usize, saved: f64) -> Vec<Hour> {
        let mut state = 1_u64;
        (0..count)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let noise = (state >> 40) as f64 / f64::from(1 << 24) - 0.5;
                let (it, wet) =
                    (800.0 + 200.0 * (i as f64 * 0.7).sin(), 15.0 + 5.0 * (i as f64 * 0.26).cos());
                let cooling_kw = (20.0 + 0.1 * it + 3.0 * wet) * (1.0 - saved) + 4.0 * noise;
                Hour { terms: [1.0, it, wet], cooling_kw, known: 1.0 }
            })
            .collect()
    }

    #[test]
    fn a_saving_is_found_with_an_interval_that_holds_it() {
        let without = hours(24 * 14, 0.0);
        let truth: f64 =
            hours(24, 0.0).iter().map(|h| 0.1 * (20.0 + 0.1 * h.terms[1] + 3.0 * h.terms[2])).sum();
        let found = estimate(&without, &hours(24, 0.1)).unwrap();
        assert!((found.kwh - truth).abs() < found.plus_minus, "{found:?}, truth {truth}");
        assert!(found.plus_minus < truth / 2.0, "{found:?}, truth {truth}");
        let nothing = estimate(&without, &hours(24, 0.0)).unwrap();
        assert!(nothing.kwh.abs() < nothing.plus_minus, "{nothing:?}");
    }

    #[test]
    fn nothing_is_stated_without_a_baseline() {
        assert_eq!(estimate(&hours(47, 0.0), &hours(24, 0.1)).unwrap_err(), Lacking::Baseline);
        assert_eq!(estimate(&hours(48, 0.0), &[]).unwrap_err(), Lacking::Hours);
        let same: Vec<Hour> = hours(1, 0.0).into_iter().cycle().take(100).collect();
        assert_eq!(estimate(&same, &same).unwrap_err(), Lacking::Change);
        let mut hot = hours(24, 0.1);
        for hour in &mut hot {
            hour.terms[2] = 40.0;
        }
        assert_eq!(estimate(&hours(100, 0.0), &hot).unwrap_err(), Lacking::Likeness);
    }
}
