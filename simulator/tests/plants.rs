//! Whole plants: energy closes, directions are right, and nothing is free.

use isotherm_sim::plant::Ledger;
use isotherm_sim::{Plant, Scenario, Totals};

/// Runs a shipped scenario with setpoints held from remote; the plant as it is at the end.
fn run(name: &str, hours: f64, seed: u64, settings: &[(&str, f64)]) -> Plant {
    let scenario = Scenario::shipped(name).expect("it ships");
    let mut plant = Plant::new(scenario, seed).expect("a plant");
    for (name, value) in settings {
        plant.command(name, *value).expect("a setting in range");
    }
    let mut beat = 0.0;
    while plant.hours() < hours {
        if !settings.is_empty() {
            beat += 1.0;
            plant.command("enable", 1.0).expect("enable");
            plant.command("heartbeat", beat).expect("heartbeat");
        }
        plant.step(60.0);
    }
    plant
}

fn day(name: &str, settings: &[(&str, f64)]) -> Totals {
    run(name, 24.0, 3, settings).totals()
}

fn assert_closes(what: &str, l: Ledger) {
    let gap = l.in_kwh - l.out_kwh - l.stored_kwh;
    assert!(
        gap.abs() < 0.005 * l.in_kwh,
        "{what}: in {:.1}, out {:.1}, stored {:.1}, gap {gap:.2} kWh",
        l.in_kwh,
        l.out_kwh,
        l.stored_kwh
    );
}

#[test]
fn energy_closes_over_a_day_of_every_scenario() {
    for (name, _) in isotherm_sim::scenario::SHIPPED {
        assert_closes(name, run(name, 24.0, 5, &[]).ledger());
    }
}

#[test]
fn air_directions() {
    let base = day("air", &[("chws_sp", 8.0)]);
    assert!((1.2..1.5).contains(&base.pue()), "PUE {}", base.pue());
    let warm_water = day("air", &[("chws_sp", 12.0)]);
    assert!(warm_water.cooling_kwh < 0.97 * base.cooling_kwh, "{warm_water:?} {base:?}");
    let cold_air = day("air", &[("crah_supply_sp", 16.0)]);
    assert!(cold_air.cooling_kwh > base.cooling_kwh, "{cold_air} {base}");
    // Warm inlets are paid for by server fans and leakage.
    let warm_air = day("air", &[("crah_supply_sp", 25.0)]);
    assert!(warm_air.it_kwh > 1.01 * base.it_kwh, "{warm_air} {base}");
    assert!(warm_air.tflop_h < base.tflop_h);
}

#[test]
fn liquid_directions() {
    let base = day("liquid", &[("facility_supply_sp", 22.0)]);
    assert!((1.1..1.4).contains(&base.pue()), "PUE {}", base.pue());
    // Warmer facility water spares the trim chiller.
    let warm = day("liquid", &[("facility_supply_sp", 28.0), ("cdu_supply_sp", 32.0)]);
    assert!(warm.cooling_kwh < 0.8 * base.cooling_kwh, "{warm} {base}");
    // It is paid for in leakage and throughput.
    assert!(warm.it_kwh > base.it_kwh && warm.tflop_h < base.tflop_h, "{warm} {base}");
    let pressure = day("liquid", &[("cdu_dp_sp", 180.0)]);
    assert!(pressure.cooling_kwh > base.cooling_kwh, "{pressure} {base}");
}

#[test]
fn immersion_directions() {
    let base = day("immersion", &[("pump_speed_sp", 75.0)]);
    assert!((1.05..1.3).contains(&base.pue()), "PUE {}", base.pue());
    let fast = day("immersion", &[("pump_speed_sp", 100.0)]);
    assert!(fast.cooling_kwh > base.cooling_kwh && fast.tflop_h > base.tflop_h, "{fast} {base}");
    let warm = day("immersion", &[("fluid_supply_sp", 40.0)]);
    assert!(warm.cooling_kwh < base.cooling_kwh && warm.it_kwh > base.it_kwh, "{warm} {base}");
}

/// Every corner of every plant's setpoints, on a warm afternoon under full load: the work of moving
/// heat is never below what thermodynamics and the affinity laws ask for.
#[test]
fn no_corner_is_free() {
    // Half of the IT load at least passes the water in question. Baths at 48 degC need next to no fan on such
    // a day: two pumps and two standing losses remain.
    for (name, loads, floor) in [("air", 2, 0.06), ("liquid", 1, 0.04), ("immersion", 2, 0.006)] {
        let text = format!(
            "base = {name:?}\nstart = \"2025-07-15T10:00:00Z\"\n{}",
            "[[workload]]\nkind = \"constant\"\nshare = 0.9\n".repeat(loads)
        );
        let scenario = Scenario::parse(name, &text).expect("a scenario");
        for corner in 0..8_u32 {
            let mut plant = Plant::new(scenario.clone(), 4).expect("a plant");
            let setpoints: Vec<_> = plant.supervision().setpoints.clone();
            let mut what = name.to_owned();
            for (bit, s) in setpoints.iter().enumerate() {
                let value = if corner >> bit & 1 == 1 { s.config.max } else { s.config.min };
                plant.command(s.spec.name, value).expect("in range");
                what = format!("{what} {}={value}", s.spec.name);
            }
            plant.command("enable", 1.0).expect("enable");
            for beat in 1..=4 * 60 {
                plant.command("heartbeat", f64::from(beat)).expect("heartbeat");
                plant.step(60.0);
            }
            let t = plant.totals();
            let read = |signal: &str| {
                let found = plant.sensors().into_iter().find(|(s, _)| s.name == signal);
                found.and_then(|(_, v)| v).expect("a reading")
            };
            for (spec, value) in plant.sensors() {
                assert!(value.is_some_and(f64::is_finite), "{what}: {}", spec.name);
            }
            let share = t.cooling_kwh / t.it_kwh;
            assert!(share > floor, "{what}: cooling takes only {share:.4} of IT energy");
            assert!(share < 1.0, "{what}: cooling takes {share:.2} of IT energy");
            // Carnot, between the coldest water and the coldest sink outdoors.
            let cold = if name == "air" { read("chws") } else { read("facility_supply") };
            let sink = if name == "air" { read("outdoor_wetbulb") } else { read("outdoor_drybulb") };
            let least = (sink - cold).max(0.0) / (cold + 273.15) * read("it_load") * 0.5;
            let power = read("cooling_power");
            assert!(power > least, "{what}: {power:.1} kW where Carnot asks for {least:.1}");
        }
    }
}

#[test]
fn another_future_begins_as_this_one_and_goes_elsewhere() {
    for name in ["air", "liquid", "immersion"] {
        let mut plant = run(name, 6.0, 3, &[]);
        let (mut same, mut other) = (plant.clone(), plant.other_future(7));
        let now = |p: &Plant| (p.outcome().watched, p.outcome().it_kw, p.totals().cooling_kwh);
        assert_eq!((now(&other), now(&same)), (now(&plant), now(&plant)), "{name}");
        for p in [&mut plant, &mut same, &mut other] {
            p.step(12.0 * 3600.0);
        }
        assert_eq!(now(&same), now(&plant), "{name}: a copy has the same future");
        let apart = (other.totals().it_kwh - plant.totals().it_kwh).abs();
        assert!(apart > 1e-3 * plant.totals().it_kwh, "{name}: {apart} kWh of IT");
        assert_closes(name, other.ledger());
    }
}
