//! The numbers of one run, and the columns that are reported of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One run's numbers; `docs/bench.md` defines each.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Metrics {
    pub cooling_kwh: f64,
    pub facility_kwh: f64,
    pub it_kwh: f64,
    pub pue: f64,
    pub stability_k: f64,
    pub band_rms_k: f64,
    pub watched_mean: f64,
    pub over_degh: f64,
    pub throttled_gpu_h: f64,
    pub tflop_h: f64,
    pub kwh_per_tflop_h: f64,
    pub travel: f64,
    pub interventions: f64,
    pub verified_pct: Option<f64>,
    pub decide_p50_ms: f64,
    pub decide_p99_ms: f64,
    pub decisions: f64,
    pub fallbacks: f64,
    pub emergencies: f64,
    pub failed_writes: f64,
    pub hard_limit_violations: f64,
}

type Column = (&'static str, fn(&Metrics) -> Option<f64>);

/// Name and value of every column, in the order of the report.
pub(super) const COLUMNS: [Column; 21] = [
    ("cooling_kwh", |m| Some(m.cooling_kwh)),
    ("facility_kwh", |m| Some(m.facility_kwh)),
    ("it_kwh", |m| Some(m.it_kwh)),
    ("pue", |m| Some(m.pue)),
    ("stability_k", |m| Some(m.stability_k)),
    ("band_rms_k", |m| Some(m.band_rms_k)),
    ("watched_mean", |m| Some(m.watched_mean)),
    ("over_degh", |m| Some(m.over_degh)),
    ("throttled_gpu_h", |m| Some(m.throttled_gpu_h)),
    ("tflop_h", |m| Some(m.tflop_h)),
    ("kwh_per_tflop_h", |m| Some(m.kwh_per_tflop_h)),
    ("travel", |m| Some(m.travel)),
    ("interventions", |m| Some(m.interventions)),
    ("verified_pct", |m| m.verified_pct),
    ("decide_p50_ms", |m| Some(m.decide_p50_ms)),
    ("decide_p99_ms", |m| Some(m.decide_p99_ms)),
    ("decisions", |m| Some(m.decisions)),
    ("fallbacks", |m| Some(m.fallbacks)),
    ("emergencies", |m| Some(m.emergencies)),
    ("failed_writes", |m| Some(m.failed_writes)),
    ("hard_limit_violations", |m| Some(m.hard_limit_violations)),
];

/// One instant of a run, for plots.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(in crate::bench) struct Point {
    pub(in crate::bench) time: Timestamp,
    pub(in crate::bench) hours: f64,
    pub(in crate::bench) watched: f64,
    pub(in crate::bench) it_kw: f64,
    pub(in crate::bench) cooling_kw: f64,
    /// In force.
    pub(in crate::bench) setpoints: BTreeMap<String, f64>,
}

/// Root of the mean square distance from `centre`; 0 of nothing.
pub(in crate::bench) fn rms(values: &[f64], centre: f64) -> f64 {
    let sum: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
    (sum / values.len().max(1) as f64).sqrt()
}

/// The nearest-rank percentile of sorted values; 0 of nothing.
pub(in crate::bench) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// A mean, and half the width of its 95 % confidence interval (Student's t); none of a single value.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Estimate {
    pub mean: f64,
    pub ci95: Option<f64>,
}

impl Estimate {
    pub(in crate::bench) fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let ci95 = (n > 1).then(|| {
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
            student_t(n - 1) * (variance / n as f64).sqrt()
        });
        Some(Self { mean, ci95 })
    }
}

/// The 97.5 % quantile of Student's t.
fn student_t(freedom: usize) -> f64 {
    const T: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
        2.045, 2.042,
    ];
    T.get(freedom.saturating_sub(1)).copied().unwrap_or(1.96)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_those_of_a_hand_calculation() {
        // 1, 2, 3: mean 2, sd 1, 4.303 / sqrt(3).
        let e = Estimate::of(&[1.0, 2.0, 3.0]).unwrap();
        assert!((e.mean - 2.0).abs() < 1e-12 && (e.ci95.unwrap() - 2.4843).abs() < 1e-3, "{e:?}");
        assert_eq!(Estimate::of(&[5.0]).unwrap().ci95, None);
        assert_eq!(Estimate::of(&[]), None);
    }

    #[test]
    fn percentiles_and_rms() {
        let v = [1.0, 2.0, 3.0, 4.0];
        assert!((percentile(&v, 0.5) - 2.0).abs() < 1e-12 && (percentile(&v, 0.99) - 4.0).abs() < 1e-12);
        assert!((rms(&[1.0, 3.0], 2.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn every_number_of_a_run_is_a_column() {
        let json = serde_json::json!({});
        assert!(serde_json::from_value::<Metrics>(json).is_err());
        let metrics: serde_json::Value =
            COLUMNS.iter().map(|(n, _)| ((*n).to_owned(), serde_json::json!(1.0))).collect();
        let read: Metrics = serde_json::from_value(metrics.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), metrics);
    }
}
