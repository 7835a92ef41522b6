//! Nanoseconds per verdict, on a site of the size of the shipped ones.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::clock::Stopwatch;
use crate::envelope::{Case, Guard, Memory, Predicted, Proposal, ProposedBy};
use crate::frame::{Frame, Quality, Sample, Span};
use crate::site::{self, Site, SiteError};
use crate::units::{Finite, Unit};

const ROUNDS: u32 = 200_000;

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    pub p50_ns: f64,
    pub p99_ns: f64,
    pub verdicts: u32,
    /// Verdicts that wrote something: a bench of refusals alone would flatter.
    pub with_writes: u32,
    pub signals: usize,
    pub setpoints: usize,
}

/// Judges proposals that wander over the whole range, from frames whose inlet temperature does too.
pub fn run() -> Result<Report, SiteError> {
    let site = site::parse(include_str!("../../sites/air.toml"), Path::new("sites/air.toml"))?;
    let guard = Guard::new(&site);
    let begin = Timestamp::UNIX_EPOCH;
    let mut nanos = Vec::with_capacity(ROUNDS as usize);
    let mut with_writes = 0;
    for round in 0..ROUNDS {
        // Two wandering fractions that do not repeat together.
        let (a, b) = (fraction(round, 0.618_034), fraction(round, 0.754_878));
        let now = begin + SignedDuration::from_mins(i64::from(round));
        let frame = frame(&site, now, a);
        let before = guard.observe(&Memory::new(&site), now - SignedDuration::from_mins(15), &frame);
        let memory = guard.observe(&before, now, &frame);
        let proposal = proposal(&site, b);
        let foresight = |setpoints: &BTreeMap<_, Finite>| {
            let high = setpoints.values().map(|v| v.get()).sum::<f64>() / 10.0;
            let high = Finite::saturating(high);
            let predicted = Predicted { low: high, high, ramp_15min: Finite::ZERO };
            site.signals.iter().take(2).map(|s| (s.name.clone(), predicted)).collect()
        };
        let watch = Stopwatch::start();
        let verdict = guard.judge(&Case {
            now,
            decided_at: now,
            frame: &frame,
            memory: &memory,
            limits: &[],
            foresight: &foresight,
            proposal: &proposal,
        });
        nanos.push(watch.elapsed().as_nanos() as f64);
        with_writes += u32::from(!verdict.action.is_empty());
    }
    nanos.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| nanos.get((nanos.len() as f64 * share) as usize).copied().unwrap_or_default();
    Ok(Report {
        p50_ns: at(0.5),
        p99_ns: at(0.99),
        verdicts: ROUNDS,
        with_writes,
        signals: site.signals.len(),
        setpoints: site.setpoints.len(),
    })
}

fn fraction(round: u32, irrational: f64) -> f64 {
    (f64::from(round) * irrational).fract()
}

fn within(low: Finite, high: Finite, share: f64) -> Finite {
    Finite::saturating(low.get() + (high.get() - low.get()) * share)
}

fn sample(value: Finite, unit: Unit) -> Sample {
    let worst = Some(Span { low: value, high: value });
    Sample { value: Some(value), unit, quality: Quality::Good, age_s: Some(Finite::ZERO), worst, doubt: None }
}

fn frame(site: &Site, time: Timestamp, share: f64) -> Frame {
    let signals = site.signals.iter().map(|s| {
        let [low, high] = s.band.unwrap_or(s.range);
        (s.name.clone(), sample(within(low, high, share), s.unit))
    });
    let middle = |s: &site::Setpoint| (s.name.clone(), sample(within(s.min, s.max, 0.5), s.unit));
    Frame {
        time,
        signals: signals.collect(),
        setpoints: site.setpoints.iter().map(middle).collect(),
        active: [].into(),
        enable: None,
        jobs: Vec::new(),
    }
}

fn proposal(site: &Site, share: f64) -> Proposal {
    let wish = |s: &site::Setpoint| (s.name.clone(), within(s.min, s.max, share));
    Proposal { by: ProposedBy::Model, setpoints: site.setpoints.iter().map(wish).collect() }
}
