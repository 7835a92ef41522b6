//! Arbitrary frames, proposals and directives, one after another on a plant that does or does not follow.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::envelope::{Limit, Rule};
use crate::site::{Setpoint, Signal};

fn quality() -> impl Strategy<Value = Quality> {
    prop_oneof![
        12 => Just(Quality::Good), 2 => Just(Quality::Stale), 1 => Just(Quality::Suspect), 1 => Just(Quality::Missing)
    ]
}

/// Mostly harmless, now and then at the limits, seldom absurd; seldom absent altogether.
fn signal(s: &Signal) -> BoxedStrategy<Option<Sample>> {
    let ([low, high], unit) = (s.range.map(Finite::get), s.unit);
    let usual = match s.role {
        Some(Role::ItInlet) => 18.0..26.5,
        Some(Role::LiquidSupply | Role::Bath) => 20.0..39.0,
        Some(Role::ChipTemp) => 40.0..84.0,
        Some(Role::Flow) => 400.0..4000.0,
        Some(Role::DiffPressure) => 55.0..300.0,
        Some(Role::RoomDewPoint) => 0.0..20.0,
        Some(Role::FacilitySupply) => 10.0..35.0,
        _ => low..high,
    };
    let edge =
        prop_oneof![Just(26.0), Just(27.0), Just(32.0), Just(32.01), Just(45.0), Just(55.1), Just(95.5)];
    // Warm for two frames in a row now and then.
    let warm = if s.role == Some(Role::ItInlet) { 26.0..31.9 } else { usual.clone() };
    let value = prop_oneof![
        30 => usual, 10 => warm, 2 => low..high, 1 => edge, 1 => prop_oneof![Just(1e308), Just(-1e308), Just(0.0)]
    ];
    let whole = s.role == Some(Role::ChillersOn);
    let some = (quality(), value, 0.0..20.0f64, any::<bool>()).prop_map(move |(quality, v, slack, known)| {
        let v = if whole { v.clamp(0.0, 6.0).round() } else { v };
        let mut sample = sample(quality, v, 0.0, unit);
        sample.worst = sample.worst.map(|w| Span { low: w.low.plus(-slack), high: w.high.plus(slack) });
        if !known && quality == Quality::Stale {
            sample.worst = None;
        }
        sample
    });
    prop_oneof![30 => some.prop_map(Some), 1 => Just(None)].boxed()
}

fn value(s: &Setpoint) -> BoxedStrategy<f64> {
    let (min, max, step) = (s.min.get(), s.max.get(), s.step.get());
    let steps = ((max - min) / step) as i32;
    prop_oneof![
        6 => (0..=steps).prop_map(move |n| min + f64::from(n) * step),
        4 => min..max,
        1 => (min - 50.0)..(max + 50.0),
        1 => prop_oneof![Just(f64::MAX), Just(f64::MIN), Just(0.0), Just(-0.0)]
    ]
    .boxed()
}

fn proposed(site: &Site) -> BoxedStrategy<Proposal> {
    let by = prop_oneof![
        6 => Just(ProposedBy::Model), 2 => Just(ProposedBy::Fallback), 1 => Just(ProposedBy::Operator),
        1 => Just(ProposedBy::Emergency), 1 => Just(ProposedBy::Nobody)
    ];
    let each: Vec<_> = site
        .setpoints
        .iter()
        .map(|s| (Just(s.name.clone()), prop_oneof![3 => value(s).prop_map(Some), 1 => Just(None)]))
        .collect();
    (by, each, any::<bool>())
        .prop_map(|(by, each, unknown)| {
            let known = each.into_iter().filter_map(|(n, v)| Some((n, finite(v?))));
            let extra = unknown.then(|| (name("unknown"), finite(1.0)));
            Proposal { by, setpoints: known.chain(extra).collect() }
        })
        .boxed()
}

fn limits(site: &Site) -> BoxedStrategy<Vec<Limit>> {
    let choices: Vec<_> = site.setpoints.iter().map(|s| (s.name.clone(), value(s), value(s))).collect();
    let one = prop::sample::select((0..choices.len()).collect::<Vec<_>>()).prop_flat_map(move |i| {
        let (setpoint, floor, ceiling) = choices[i].clone();
        (
            Just(setpoint),
            prop::option::of(floor),
            prop::option::of(ceiling),
            prop::bool::weighted(0.1),
            any::<bool>(),
        )
    });
    let one = one.prop_map(|(setpoint, floor, ceiling, hold, over)| Limit {
        setpoint,
        floor: floor.map(finite),
        ceiling: ceiling.map(finite),
        hold,
        until: over.then_some(jiff::Timestamp::UNIX_EPOCH),
    });
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(one, 1..3)].boxed()
}

fn panel(site: &Site) -> BoxedStrategy<BTreeMap<Name, Finite>> {
    let each: Vec<_> = site
        .setpoints
        .iter()
        .map(|s| {
            let (low, high) = (s.min.get() - 4.0, s.max.get() + 4.0);
            (Just(s.name.clone()), prop_oneof![30 => Just(None), 1 => (low..high).prop_map(Some)])
        })
        .collect();
    each.prop_map(|each| each.into_iter().filter_map(|(n, v)| Some((n, finite(v?)))).collect()).boxed()
}

/// Plants that show another setpoint in force than their register holds, and do not come nearer.
fn in_force(site: &Site) -> BoxedStrategy<BTreeMap<Name, Finite>> {
    let each: Vec<_> = site
        .setpoints
        .iter()
        .map(|s| {
            let (min, max) = (s.min.get(), s.max.get());
            let value = prop_oneof![2 => Just(None), 8 => Just(Some(min)), 1 => (min..max).prop_map(Some)];
            (Just(s.name.clone()), value)
        })
        .collect();
    each.prop_map(|each| each.into_iter().filter_map(|(n, v)| Some((n, finite(v?)))).collect()).boxed()
}

fn unread(site: &Site) -> BoxedStrategy<BTreeMap<Name, Quality>> {
    let each: Vec<_> = site.setpoints.iter().map(|s| (Just(s.name.clone()), quality())).collect();
    each.prop_map(|each| each.into_iter().collect()).boxed()
}

fn steps(site: &Site) -> BoxedStrategy<Vec<Step>> {
    let signals: Vec<_> = site.signals.iter().map(|s| (Just(s.name.clone()), signal(s))).collect();
    let after = prop_oneof![
        6 => Just(300), 4 => 1..900i32, 2 => 900..3600i32, 1 => Just(0), 1 => -7200..0i32, 1 => 3600..200_000i32
    ];
    let decided = prop_oneof![10 => 0..60i32, 1 => -100..2000i32];
    let fate = prop_oneof![
        8 => Just(Fate::Applied), 1 => Just(Fate::NotApplied), 1 => Just(Fate::Lost), 1 => Just(Fate::Unsent)
    ];
    let gain = prop_oneof![3 => Just(0.0), 1 => -1.0..1.0f64];
    let empty = prop::bool::weighted(0.02);
    let step = (
        after,
        signals,
        (unread(site), in_force(site)),
        panel(site),
        proposed(site),
        decided,
        limits(site),
        gain,
        fate,
        empty,
    )
        .prop_map(
            |(
                after_s,
                signals,
                (unread, active),
                panel,
                proposal,
                decided_s_ago,
                limits,
                gain,
                fate,
                empty,
            )| {
                Step {
                    after_s,
                    signals: if empty {
                        BTreeMap::new()
                    } else {
                        signals.into_iter().filter_map(|(n, s)| Some((n, s?))).collect()
                    },
                    unread,
                    active,
                    panel,
                    proposal,
                    decided_s_ago,
                    limits,
                    outlook_gain: finite(gain),
                    fate,
                }
            },
        );
    prop::collection::vec(step, 1..24).boxed()
}

fn holds(which: &str, cases: u32, rules: &[Rule]) {
    let site = site(which);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    });
    let (mut writes, mut emergencies) = (0, 0);
    let mut applied = std::collections::BTreeSet::new();
    let counts = std::cell::RefCell::new((&mut writes, &mut emergencies, &mut applied));
    let result = runner.run(&steps(&site), |steps| {
        let mut trial = Trial::new(&site);
        for (i, step) in steps.iter().enumerate() {
            let (verdict, wrong) = trial.step(step);
            let mut counts = counts.borrow_mut();
            *counts.0 += verdict.action.writes().len();
            *counts.1 += usize::from(verdict.emergency);
            counts.2.extend(verdict.touched.iter().filter(|t| t.setpoint.is_some()).map(|t| t.rule));
            prop_assert!(wrong.is_empty(), "step {i}: {wrong:#?}\n{verdict:#?}");
        }
        Ok(())
    });
    if let Err(e) = result {
        panic!("{e}");
    }
    // Verdicts that write nothing would prove nothing.
    assert!(
        writes > cases as usize && emergencies > cases as usize / 4,
        "{writes} writes, {emergencies} emergencies"
    );
    // Nor would rules that had no say.
    let usual =
        [Rule::HardLimit, Rule::RateLimit, Rule::Pace, Rule::ManualHold, Rule::Directive, Rule::Dwell];
    for rule in usual.iter().chain(rules) {
        assert!(applied.contains(rule), "{rule:?} had no say: {applied:?}");
    }
}

#[test]
fn any_sequence_on_an_air_plant() {
    holds("air", 300, &[Rule::NoWarming, Rule::MinimumFlow, Rule::ShortCycle, Rule::Cool]);
}

#[test]
fn any_sequence_on_a_liquid_plant() {
    holds("liquid", 300, &[Rule::Condensation, Rule::Approach, Rule::NoWarming]);
}

#[test]
fn any_sequence_on_an_immersion_plant() {
    holds("immersion", 300, &[Rule::NoWarming]);
}

/// Over a whole day of proposals from one end to the other, what a setpoint travels stays under its rate.
#[test]
fn travel_over_a_day_stays_under_the_rate() {
    for site in sites() {
        let mut trial = Trial::new(&site);
        let mut travelled: BTreeMap<Name, f64> = BTreeMap::new();
        for i in 0..1440u32 {
            let wish: Vec<(&str, f64)> = site
                .setpoints
                .iter()
                .map(|s| (s.name.as_str(), if i / 97 % 2 == 0 { s.min.get() } else { s.max.get() }))
                .collect();
            let step = Step { after_s: 60, ..calm(&site, &wish) };
            let before: Vec<f64> =
                site.setpoints.iter().map(|s| trial.held(s.name.as_str()).unwrap()).collect();
            run(&mut trial, &step);
            for (s, before) in site.setpoints.iter().zip(before) {
                let after = trial.held(s.name.as_str()).unwrap();
                *travelled.entry(s.name.clone()).or_default() += (after - before).abs();
            }
        }
        for s in &site.setpoints {
            let most = s.rate_per_min.get() * 1440.0;
            let moved = travelled[&s.name];
            assert!(moved > 0.0 && moved <= most, "{}: {moved} of {most}", s.name);
        }
    }
}
