use super::*;
use crate::facts::example::{frame, site};
use crate::twin::Twin;

/// Steps every 5 min with the same readings, nothing of it written.
fn proposals(readings: &[(&str, f64)], steps: i64) -> Vec<BTreeMap<Name, Finite>> {
    let (site, mut pid) = (site(), Pid::new(&site()));
    let twin = Twin::new(&site);
    (0..steps)
        .map(|k| {
            let frame = frame(300 * k, readings);
            pid.observe(&frame);
            let seen = Seen { site: &site, frame: &frame, twin: &twin, limits: &[] };
            pid.propose(frame.time, &seen).unwrap()
        })
        .collect()
}

fn supply(p: &BTreeMap<Name, Finite>) -> f64 {
    p[&"crah_supply_sp".parse::<Name>().unwrap()].get()
}

#[test]
fn a_hot_inlet_asks_for_colder_supply_and_a_cold_one_for_warmer() {
    // Pumps at their middle: temperatures come next.
    let hot = [("hall_a_inlet_max", 26.5), ("chw_dp_sp", 165.0)];
    assert!(supply(&proposals(&hot, 1)[0]) < 20.0);
    assert!(supply(&proposals(&[("hall_a_inlet_max", 21.0), ("hall_b_inlet_max", 21.0)], 1)[0]) > 20.0);
}

#[test]
fn at_the_target_nothing_moves() {
    let at_target = [("hall_a_inlet_max", 25.0), ("hall_b_inlet_max", 25.0)];
    let all = proposals(&at_target, 3);
    assert!(all.iter().all(|p| (supply(p) - 20.0).abs() < 1e-9), "{all:?}");
}

#[test]
fn a_plant_that_does_not_follow_winds_nothing_up() {
    let all = proposals(&[("hall_a_inlet_max", 30.0), ("chw_dp_sp", 165.0)], 200);
    // One writable move (step 0.5) from the 20 degC that the plant stays at, plus one step's change.
    let lowest = all.iter().map(supply).fold(f64::INFINITY, f64::min);
    assert!(lowest > 20.0 - 0.5 - 0.35 * 5.0 * (5.0 / 15.0) - 1e-9, "{lowest}");
}

#[test]
fn it_says_nothing_when_it_knows_no_temperature() {
    let (site, mut pid) = (site(), Pid::new(&site()));
    let (twin, frame) = (Twin::new(&site), frame(0, &[]));
    let seen = Seen { site: &site, frame: &frame, twin: &twin, limits: &[] };
    assert_eq!(pid.propose(frame.time, &seen), None);
}
