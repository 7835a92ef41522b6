//! The trend test: a slope that stands out of its own noise.
//!
//! Least squares over [`WINDOW_MIN`] minutes of 15 s means. A signal is rising or falling when the fitted
//! change over the stretch is at least its dead zone, and the slope is at least [`SIGMAS`] standard errors
//! from zero. The standard error is widened by `(1 + r) / (1 - r)` for the residuals' lag-one correlation
//! `r` (the usual effective sample size of an autoregressive series), so that a slow swing of a control
//! loop is not taken for a trend. Anything else, and too little data, is steady: "no trend shown".

use crate::decision::Trend;
use crate::units::Unit;

/// Minutes that the test looks back.
pub const WINDOW_MIN: u32 = 15;
const SIGMAS: f64 = 3.0;
const MIN_POINTS: usize = 6;
/// The points must span at least this much of the window.
const MIN_SPAN_S: f64 = 300.0;

/// The smallest change that counts: two display steps, and 1 % of the level where a ratio means something.
pub(super) fn dead_zone(unit: Unit, level: f64) -> f64 {
    let shown = 2.0 * 10f64.powi(-i32::from(unit.decimals()));
    match unit {
        Unit::DegC | Unit::DegF | Unit::Kelvin => shown,
        Unit::Flag | Unit::Count => 1.0,
        Unit::KilopascalGauge
        | Unit::Bar
        | Unit::Kilowatt
        | Unit::Watt
        | Unit::KilowattHour
        | Unit::LitrePerMinute
        | Unit::CubicMetrePerHour
        | Unit::Percent
        | Unit::RelativeHumidity
        | Unit::Hertz
        | Unit::Rpm => shown.max(0.01 * level.abs()),
    }
}

/// `points`: seconds (any origin) and values, in order of time.
pub(super) fn trend(points: &[(f64, f64)], unit: Unit) -> Trend {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Trend::Steady };
    let span = last.0 - first.0;
    if points.len() < MIN_POINTS || span < MIN_SPAN_S {
        return Trend::Steady;
    }
    let n = points.len() as f64;
    let t_mean = points.iter().map(|p| p.0).sum::<f64>() / n;
    let v_mean = points.iter().map(|p| p.1).sum::<f64>() / n;
    let t_var: f64 = points.iter().map(|p| (p.0 - t_mean).powi(2)).sum();
    let slope = points.iter().map(|p| (p.0 - t_mean) * (p.1 - v_mean)).sum::<f64>() / t_var;
    let residuals: Vec<f64> = points.iter().map(|p| p.1 - v_mean - slope * (p.0 - t_mean)).collect();
    let squares: f64 = residuals.iter().map(|r| r * r).sum();
    let lagged: f64 = residuals.windows(2).map(|w| w[0] * w[1]).sum();
    let r = if squares > 0.0 { (lagged / squares).clamp(0.0, 0.95) } else { 0.0 };
    let error = (squares / (n - 2.0) / t_var * (1.0 + r) / (1.0 - r)).sqrt();
    let moved = slope * span;
    if moved.abs() < dead_zone(unit, v_mean) || slope.abs() < SIGMAS * error {
        Trend::Steady
    } else if slope > 0.0 {
        Trend::Rising
    } else {
        Trend::Falling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(f: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..60).map(|i| (f64::from(i) * 15.0, f(f64::from(i) * 0.25))).collect()
    }

    /// Repeatable noise of about unit deviation.
    fn noise(t: f64) -> f64 {
        let x = (t * 12.9898 + 4.1).sin() * 43758.5453;
        3.4 * (x - x.floor() - 0.5)
    }

    #[test]
    fn slope_against_noise() {
        let check = |f: &dyn Fn(f64) -> f64, unit, expected| assert_eq!(trend(&series(f), unit), expected);
        check(&|t| 25.0 + 0.05 * t, Unit::DegC, Trend::Rising);
        check(&|t| 25.0 - 0.05 * t, Unit::DegC, Trend::Falling);
        check(&|t| 25.0 + 0.05 * t + 0.1 * noise(t), Unit::DegC, Trend::Rising);
        // Smaller than two display steps in the window.
        check(&|t| 25.0 + 0.01 * t, Unit::DegC, Trend::Steady);
        check(&|t| 25.0 + 1.0 * noise(t), Unit::DegC, Trend::Steady);
        // One whole swing of a hunting loop.
        check(&|t| 25.0 + (t / 15.0 * std::f64::consts::TAU).sin(), Unit::DegC, Trend::Steady);
        // First-order approach to a new value.
        check(&|t| 26.0 - (-t / 6.0).exp(), Unit::DegC, Trend::Rising);
        // 5 kW in 800 is less than 1 %.
        check(&|t| 800.0 + t / 3.0, Unit::Kilowatt, Trend::Steady);
        check(&|t| 800.0 + 3.0 * t, Unit::Kilowatt, Trend::Rising);
    }

    #[test]
    fn too_little_data_shows_no_trend() {
        assert_eq!(trend(&[], Unit::DegC), Trend::Steady);
        assert_eq!(trend(&series(|t| 20.0 + t)[..10], Unit::DegC), Trend::Steady);
    }
}
