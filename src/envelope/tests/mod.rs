//! The guard against the oracle: sequences, a sweep, single scenarios, and proof that the oracle can fail.
#![allow(clippy::as_conversions, reason = "counts of cases and steps, not values that reach a register")]

mod mutation;
mod scenarios;
mod sequences;
mod sweep;

use super::oracle::{Fate, Step, Trial, sites};
use super::{Proposal, ProposedBy, Verdict};
use crate::frame::{Quality, Sample, Span};
use crate::site::{Name, Role, Site};
use crate::units::{Finite, Unit};

fn finite(v: f64) -> Finite {
    Finite::new(v).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn site(which: &str) -> Site {
    sites().into_iter().find(|s| s.name == *which).unwrap()
}

fn sample(quality: Quality, value: f64, slack: f64, unit: Unit) -> Sample {
    let worst = Some(Span { low: finite(value - slack), high: finite(value + slack) });
    let missing = quality == Quality::Missing;
    Sample {
        value: (!missing).then_some(finite(value)),
        unit,
        quality,
        age_s: Some(Finite::ZERO),
        worst: if missing { None } else { worst },
        doubt: None,
    }
}

/// A step a cadence after the last with all signals good and harmless, that proposes `setpoints`.
fn calm(site: &Site, setpoints: &[(&str, f64)]) -> Step {
    let harmless = |role: Option<Role>| match role {
        Some(Role::ItInlet) => 22.0,
        Some(Role::LiquidSupply | Role::Bath) => 30.0,
        Some(Role::ChipTemp) => 60.0,
        Some(Role::Flow) => 2000.0,
        Some(Role::DiffPressure) => 150.0,
        Some(Role::ChillersOn) => 2.0,
        Some(Role::RoomHumidity) => 40.0,
        Some(Role::RoomDewPoint) => 9.0,
        Some(Role::FacilitySupply) => 15.0,
        _ => 24.0,
    };
    let good =
        |s: &crate::site::Signal| (s.name.clone(), sample(Quality::Good, harmless(s.role), 0.0, s.unit));
    Step {
        after_s: 300,
        signals: site.signals.iter().map(good).collect(),
        unread: [].into(),
        panel: [].into(),
        active: [].into(),
        proposal: proposal(setpoints),
        decided_s_ago: 10,
        limits: Vec::new(),
        outlook_gain: Finite::ZERO,
        fate: Fate::Applied,
    }
}

fn proposal(setpoints: &[(&str, f64)]) -> Proposal {
    let setpoints = setpoints.iter().map(|(n, v)| (name(n), finite(*v))).collect();
    Proposal { by: ProposedBy::Model, setpoints }
}

fn with(mut step: Step, signal: &str, quality: Quality, value: f64) -> Step {
    let unit = step.signals.get(signal).unwrap().unit;
    step.signals.insert(name(signal), sample(quality, value, 0.0, unit));
    step
}

/// A step that must be right; its verdict.
fn run(trial: &mut Trial, step: &Step) -> Verdict {
    let (verdict, wrong) = trial.step(step);
    assert!(wrong.is_empty(), "{wrong:#?}\n{step:#?}\n{verdict:#?}");
    verdict
}
