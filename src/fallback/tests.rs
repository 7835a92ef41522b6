//! Trim and respond against steps worked out by hand, on 6 to 16 degC chilled water and 80 to 250 kPa.

use super::*;
use crate::envelope::oracle::sites;
use crate::frame::{Quality, Sample};
use crate::units::Unit;

fn finite(v: f64) -> Finite {
    Finite::new(v).unwrap()
}

fn sample(v: f64) -> Sample {
    let unit = Unit::DegC;
    Sample { value: Some(finite(v)), unit, quality: Quality::Good, age_s: None, worst: None, doubt: None }
}

fn site(which: &str) -> Site {
    sites().into_iter().find(|s| s.name == *which).unwrap()
}

fn at(minute: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
}

fn frame(minute: i64, signals: &[(&str, f64)], setpoints: &[(&str, f64)]) -> Frame {
    let map = |list: &[(&str, f64)]| list.iter().map(|(n, v)| (n.parse().unwrap(), sample(*v))).collect();
    Frame {
        time: at(minute),
        signals: map(signals),
        setpoints: map(setpoints),
        active: BTreeMap::new(),
        enable: None,
        jobs: Vec::new(),
    }
}

const COOL: [(&str, f64); 2] = [("inlet_a", 20.0), ("inlet_b", 20.0)];
/// Half of the range of chilled water, all of the pressure: a reset of 75 %.
const FOUND: [(&str, f64); 2] = [("chws_sp", 11.0), ("dp_sp", 250.0)];

/// Observes and steps; the setpoints proposed.
fn step(f: &mut Fallback, minute: i64, signals: &[(&str, f64)], setpoints: &[(&str, f64)]) -> [f64; 2] {
    let frame = frame(minute, signals, setpoints);
    f.observe(&frame);
    let proposal = f.step(at(minute), &frame);
    assert_eq!(proposal.by, ProposedBy::Fallback);
    ["chws_sp", "dp_sp"].map(|n| proposal.setpoints[n].get())
}

fn near(a: [f64; 2], b: [f64; 2]) {
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9), "{a:?}, expected {b:?}");
}

#[test]
fn taking_over_moves_nothing_and_trims_add_up() {
    let mut f = Fallback::new(&site("air"));
    near(step(&mut f, 0, &COOL, &FOUND), [11.0, 250.0]);
    near(step(&mut f, 14, &COOL, &FOUND), [11.0, 250.0]);
    // 2 % of the reset are 4 % of the 10 K that the upper half stands for; the plant has not moved yet.
    near(step(&mut f, 15, &COOL, &FOUND), [11.4, 250.0]);
    near(step(&mut f, 19, &COOL, &FOUND), [11.4, 250.0]);
    near(step(&mut f, 20, &COOL, &FOUND), [11.8, 250.0]);
    f.stand_by();
    near(step(&mut f, 25, &COOL, &[("chws_sp", 11.5), ("dp_sp", 250.0)]), [11.9, 250.0]);
}

#[test]
fn requests_beyond_two_respond_up_to_seven_percent() {
    let mut f = Fallback::new(&site("air"));
    // 42 less 3 is where excess starts: 44.5 is 2.5 K, two requests a sensor; 45 is 3 K, three.
    let warm = [("inlet_a", 44.5), ("inlet_b", 44.5)];
    let hot = [("inlet_a", 45.0), ("inlet_b", 45.0)];
    step(&mut f, 0, &warm, &FOUND);
    // 4 requests, 2 ignored: -2 + 6 = +4 % of the reset = 8 % of 10 K.
    near(step(&mut f, 15, &warm, &FOUND), [10.2, 250.0]);
    step(&mut f, 17, &hot, &FOUND);
    // 6 requests, 2 ignored: 12 %, capped to 7: -2 + 7 = +5 %.
    near(step(&mut f, 20, &hot, &FOUND), [9.2, 250.0]);
    f.observe(&frame(24, &COOL, &FOUND));
    f.observe(&frame(24, &hot, &FOUND));
    // Hot for one minute only: no request.
    near(step(&mut f, 25, &hot, &FOUND), [9.6, 250.0]);
}

#[test]
fn staging_freezes_the_reset_for_fifteen_minutes() {
    let mut f = Fallback::new(&site("air"));
    let chillers = |n| [("inlet_a", 20.0), ("inlet_b", 20.0), ("chillers", n)];
    step(&mut f, 0, &chillers(2.0), &FOUND);
    near(step(&mut f, 15, &chillers(3.0), &FOUND), [11.0, 250.0]);
    near(step(&mut f, 29, &chillers(3.0), &FOUND), [11.0, 250.0]);
    near(step(&mut f, 30, &chillers(3.0), &FOUND), [11.4, 250.0]);
}

#[test]
fn a_valve_asks_from_95_until_below_85_percent() {
    let mut f = Fallback::new(&site("immersion"));
    for (position, asks) in [(95.0, 0), (95.5, 1), (90.0, 1), (85.5, 1), (85.0, 0), (90.0, 0)] {
        f.observe(&frame(0, &[("valve", position)], &[]));
        assert_eq!(f.requests(at(0)), asks, "{position} %");
    }
}

#[test]
fn no_windup_while_the_plant_is_kept_colder() {
    let mut f = Fallback::new(&site("air"));
    let mut asked = [0.0; 2];
    for minute in 0..600 {
        asked = step(&mut f, minute, &COOL, &FOUND);
    }
    assert!(asked[0] > 11.0 && asked[0] <= 12.5, "{asked:?}");
}

#[test]
fn never_outside_the_limits() {
    for site in sites() {
        for (share, hot) in [(0.0, false), (1.0, false), (0.5, true), (1.3, true), (-0.3, false)] {
            let mut f = Fallback::new(&site);
            let mut frame = frame(0, &[], &[]);
            for s in &site.setpoints {
                let v = s.min.get() + share * s.span();
                frame.setpoints.insert(s.name.clone(), sample(v));
            }
            for s in &site.signals {
                frame
                    .signals
                    .insert(s.name.clone(), sample(if hot { s.range[1].get() } else { s.range[0].get() }));
            }
            for minute in 0..800 {
                frame.time = at(minute);
                f.observe(&frame);
                for (name, v) in f.step(at(minute), &frame).setpoints {
                    let s = site.setpoint(&name).unwrap();
                    assert!(v >= s.min && v <= s.max, "{name} {v}");
                    frame.setpoints.insert(name, sample(v.get()));
                }
            }
        }
    }
}

/// A register that comes back after the fallback has taken over joins from where it is then.
#[test]
fn what_could_not_be_read_at_the_take_over_joins_later() {
    let mut f = Fallback::new(&site("air"));
    let dark = frame(0, &[], &[]);
    f.observe(&dark);
    assert!(f.step(at(0), &dark).setpoints.is_empty());
    let all: Vec<(String, f64)> =
        site("air").setpoints.iter().map(|s| (s.name.to_string(), s.safe.get())).collect();
    let all: Vec<(&str, f64)> = all.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    let one = frame(1, &[], &all[..1]);
    assert_eq!(f.step(at(1), &one).setpoints.len(), 1);
    let lit = frame(2, &[], &all);
    let proposed = f.step(at(2), &lit).setpoints;
    assert_eq!(proposed.len(), all.len());
    for (name, present) in all {
        assert!((proposed[name].get() - present).abs() < 1e-6, "{name}");
    }
}
