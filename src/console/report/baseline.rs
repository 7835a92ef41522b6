//! What the period would have taken without the agent, as IPMVP's regression models say it: hourly cooling power
//! on IT load and outdoor temperature, fitted to the hours in which the agent did not have the plant. A saving
//! is stated only with its uncertainty, and only where there is enough to fit.

use serde_json::{Value, json};

use super::super::power::Power;
use super::super::tape::{Bucket, Columns, HOUR, Tape};
use crate::site::{Role, Site};

/// Days before the reported period that the baseline is taken from.
const REACH_S: i64 = 30 * 24 * HOUR;
/// Fewer independent hours than this are no baseline.
const MIN_HOURS: usize = 48;
/// An hour belongs to one side if it does for this share.
const SHARE: f64 = 0.95;
/// An hour with data for less than this share says too little.
const LEAST_KNOWN: f64 = 0.5;
/// Two-sided 95 % of the normal distribution.
const Z: f64 = 1.96;
/// Constant, IT load, outdoor temperature.
const TERMS: usize = 3;

const METHOD: &str = "Least squares of hourly mean cooling power on IT load and outdoor temperature over the hours of the 30 days before in which the agent did not have the plant (IPMVP option B, a baseline by regression). The interval is for 95 %, from the scatter of the fit with the hours' autocorrelation taken into account. Hours outside the range of the baseline, and hours with data for less than half of them, are left out; others count by what is known of them.";

#[derive(Clone, Copy, Debug)]
struct Hour {
    terms: [f64; TERMS],
    cooling_kw: f64,
    /// The share of it for which there are values.
    known: f64,
    with_agent: bool,
}

pub(super) fn saving(site: &Site, columns: &Columns, tape: &Tape, from: i64, to: i64) -> Value {
    let unstated = |why: String| json!({ "stated": false, "why": why, "method": METHOD });
    let outdoor = site.with_role(Role::OutdoorWetBulb).chain(site.with_role(Role::OutdoorDryBulb)).next();
    let outdoor = outdoor.and_then(|s| columns.place(s.name.as_str()));
    let (Some(cooling), Some(it), Some(outdoor)) = (&columns.cooling, &columns.it, outdoor) else {
        return unstated("it takes signals for cooling power, IT load and an outdoor temperature".into());
    };
    let hour = |bucket: &Bucket| {
        let in_charge = bucket.mean(columns.in_charge())?;
        let with_agent = in_charge >= SHARE;
        let kw = |power: &Power| power.kw(|place| bucket.mean(place));
        let places = cooling.places().chain(it.places()).chain([outdoor]);
        let frames = places.map(|place| bucket.count(place)).min()?;
        // With frames more often than usual it is at most all.
        let known = (f64::from(frames) * site.sample.as_secs_f64() / HOUR as f64).min(1.0);
        let is_one_side = with_agent || in_charge <= 1.0 - SHARE;
        let terms = [1.0, kw(it)?, bucket.mean(outdoor)?];
        let cooling_kw = kw(cooling)?;
        (is_one_side && known >= LEAST_KNOWN).then_some(Hour { terms, cooling_kw, known, with_agent })
    };
    // An hour counts in the period in which it begins: midnight may be at half past an hour of UTC.
    let next_hour = |t: i64| t + (-t).rem_euclid(HOUR);
    let (from, to) = (next_hour(from), next_hour(to));
    let hours = |from, to| tape.hours(from, to).filter_map(hour);
    let without: Vec<Hour> = hours(from - REACH_S, from).filter(|h| !h.with_agent).collect();
    let with: Vec<Hour> = hours(from, to).filter(|h| h.with_agent).collect();
    match estimate(&without, &with) {
        Ok(e) => json!({ "stated": true, "method": METHOD, "kwh": e.kwh, "plus_minus_kwh": e.plus_minus,
            "percent": 100.0 * e.kwh / e.expected, "hours": e.hours, "left_out": e.left_out,
            "baseline_hours": without.len(), "baseline_rms_kw": e.rms }),
        Err(why) => unstated(why),
    }
}

#[derive(Clone, Copy, Debug)]
struct Estimate {
    kwh: f64,
    plus_minus: f64,
    /// By the baseline.
    expected: f64,
    /// With data.
    hours: f64,
    /// Hours that are not like those of the baseline.
    left_out: usize,
    rms: f64,
}

fn estimate(without: &[Hour], with: &[Hour]) -> Result<Estimate, String> {
    if without.len() < MIN_HOURS {
        return Err(format!(
            "the 30 days before have {} hours without the agent; a baseline takes {MIN_HOURS}",
            without.len()
        ));
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
        return Err(
            "no hour of the period, with the agent in charge, is like those of the baseline".to_owned()
        );
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
    let flat = || "load and weather hardly changed in the hours without the agent".to_owned();
    let fit = solve(normal, right).ok_or_else(flat)?;
    let predict = |h: &Hour| (0..TERMS).map(|i| fit[i] * h.terms[i]).sum::<f64>();
    let residuals: Vec<f64> = without.iter().map(|h| h.cooling_kw - predict(h)).collect();
    let squares: f64 = residuals.iter().map(|r| r * r).sum();
    let lag: f64 = residuals.windows(2).map(|w| w[0] * w[1]).sum();
    let rho = if squares > 0.0 { (lag / squares).clamp(0.0, 0.99) } else { 0.0 };
    // Hours in a row say less than so many hours.
    let inflation = (1.0 + rho) / (1.0 - rho);
    let variance = squares / (without.len() - TERMS) as f64;
    let sums: [f64; TERMS] = std::array::from_fn(|i| with.iter().map(|h| h.known * h.terms[i]).sum());
    let spread = solve(normal, sums).ok_or_else(flat)?;
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
    use super::super::super::tape::Row;
    use super::*;

    /// Cooling as a known law with noise from a fixed sequence.
    fn hours(count: usize, saved: f64, with_agent: bool) -> Vec<Hour> {
        let mut state = 1_u64;
        (0..count)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let noise = (state >> 40) as f64 / f64::from(1 << 24) - 0.5;
                let (it, wet) =
                    (800.0 + 200.0 * (i as f64 * 0.7).sin(), 15.0 + 5.0 * (i as f64 * 0.26).cos());
                let cooling_kw = (20.0 + 0.1 * it + 3.0 * wet) * (1.0 - saved) + 4.0 * noise;
                Hour { terms: [1.0, it, wet], cooling_kw, known: 1.0, with_agent }
            })
            .collect()
    }

    #[test]
    fn a_saving_is_found_with_an_interval_that_holds_it() {
        let without = hours(24 * 14, 0.0, false);
        let truth: f64 =
            hours(24, 0.0, false).iter().map(|h| 0.1 * (20.0 + 0.1 * h.terms[1] + 3.0 * h.terms[2])).sum();
        let found = estimate(&without, &hours(24, 0.1, true)).unwrap();
        assert!((found.kwh - truth).abs() < found.plus_minus, "{found:?}, truth {truth}");
        assert!(found.plus_minus < truth / 2.0, "{found:?}, truth {truth}");
        let nothing = estimate(&without, &hours(24, 0.0, true)).unwrap();
        assert!(nothing.kwh.abs() < nothing.plus_minus, "{nothing:?}");
    }

    #[test]
    fn nothing_is_stated_without_a_baseline() {
        assert!(estimate(&hours(10, 0.0, false), &hours(24, 0.1, true)).is_err());
        let same: Vec<Hour> = hours(1, 0.0, false).into_iter().cycle().take(100).collect();
        assert!(estimate(&same, &same).unwrap_err().contains("hardly changed"));
        let mut hot = hours(24, 0.1, true);
        for hour in &mut hot {
            hour.terms[2] = 40.0;
        }
        assert!(estimate(&hours(100, 0.0, false), &hot).unwrap_err().contains("like those"));
    }

    /// Ten days without the agent and a day with it, which takes a tenth less, in a zone where midnight is at so
    /// many minutes past an hour of UTC. `hours`: so much of the last day has data.
    fn day_of(minutes: i64, hours: f64) -> Value {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/sites/air.toml")).unwrap();
        let mut site = crate::site::parse(&text, std::path::Path::new("air.toml")).unwrap();
        site.sample = jiff::SignedDuration::from_mins(5);
        let columns = Columns::new(&site);
        let mut tape = Tape::new();
        let from = 10 * 24 * HOUR + minutes * 60;
        let end = from + (hours * HOUR as f64) as i64;
        for t in (0..end).step_by(300) {
            // Every day is like the others.
            let turn = t as f64 / (24 * HOUR) as f64 * std::f64::consts::TAU;
            let (it, wet) = (800.0 + 200.0 * turn.sin(), 15.0 - 5.0 * (2.0 * turn).sin());
            let with_agent = t >= from - from.rem_euclid(HOUR);
            let cooling = 100.0 * if with_agent { 0.9 } else { 1.0 };
            let mut v = vec![None; columns.names.len()];
            for (name, value) in [("it_load", it), ("outdoor_wetbulb", wet), ("cooling_power", cooling)] {
                v[columns.place(name).unwrap()] = Some(value as f32);
            }
            v[columns.in_charge()] = Some(if with_agent { 1.0 } else { 0.0 });
            tape.push(&Row { t: t as f64, v });
        }
        saving(&site, &columns, &tape, from, from + 24 * HOUR)
    }

    #[test]
    fn a_saving_is_stated_wherever_midnight_is() {
        for minutes in [0, 30, 45] {
            let found = day_of(minutes, 25.0);
            let near = |key: &str, expected: f64| {
                assert!((found[key].as_f64().unwrap() - expected).abs() < 1e-3, "{minutes}: {found}");
            };
            assert_eq!(found["stated"], true, "{minutes}: {found}");
            near("hours", 24.0);
            near("kwh", 240.0);
        }
    }

    #[test]
    fn part_of_an_hour_counts_as_part() {
        let found = day_of(0, 12.75);
        assert!((found["kwh"].as_f64().unwrap() - 127.5).abs() < 1e-3, "{found}");
        let found = day_of(0, 12.25);
        assert!((found["hours"].as_f64().unwrap() - 12.0).abs() < 1e-3, "too little of the last: {found}");
    }
}
