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
    assert!(
        warm_water.cooling_kwh < 0.97 * base.cooling_kwh,
        "{warm_water:?} {base:?}"
    );
    let cold_air = day("air", &[("crah_supply_sp", 16.0)]);
    assert!(cold_air.cooling_kwh > base.cooling_kwh, "{cold_air} {base}");
    // Warm inlets are paid for by server fans and leakage.
    let warm_air = day("air", &[("crah_supply_sp", 25.0)]);
    assert!(warm_air.it_kwh > 1.01 * base.it_kwh, "{warm_air} {base}");
    assert!(warm_air.tflop_h < base.tflop_h);
}
