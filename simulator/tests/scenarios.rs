//! Scenario files: what ships parses, and mistakes are named.

use isotherm_sim::scenario::SHIPPED;
use isotherm_sim::{Plant, Scenario};

fn message(text: &str) -> String {
    let parsed = Scenario::parse("site.toml", text).map_err(|e| e.to_string());
    match parsed {
        Ok(scenario) => Plant::new(scenario, 1).expect_err("an error").to_string(),
        Err(message) => message,
    }
}

#[test]
fn every_scenario_file_ships() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        // Folders hold the scenarios of benches, which are read as files.
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let shipped: Vec<_> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, shipped);
    for name in shipped {
        Scenario::shipped(&name).unwrap();
    }
}

#[test]
fn mistakes_are_named() {
    let cases = [
        ("base = \"water\"", "no shipped scenario named \"water\""),
        ("base = \"air\"\nspeling = 1", "unknown field `speling`"),
        ("base = \"air\"\nover_above = 900", "expected a temperature from -60 to 150 degC, found 900"),
        ("base = \"air\"\n[plant.air.hall]\nbypass = 1.5", "expected a fraction from 0 to 1, found 1.5"),
        ("base = \"air\"\n[plant.air.hall]\nbypas = 0.5", "unknown field `bypas`"),
        (
            "base = \"air\"\n[setpoint.chws_sp]\nlocal = 3.0",
            "setpoint.chws_sp.local: expected 5..18 degC, found 3",
        ),
        (
            "base = \"air\"\n[setpoint.cws_sp]\nlocal = 3.0\nmin = 1\nmax = 4\nslew_per_min = 1",
            "setpoint.cws_sp: this plant has no such setpoint",
        ),
        ("base = \"air\"\nworkload = []", "workload: expected 2 for a plant of kind air, found 0"),
        (
            "base = \"air\"\n[[fault]]\nat_h = 1\nhours = 1\nwhat = { sensor_stuck = { signal = \"chw\" } }",
            "fault: no signal named \"chw\"",
        ),
        (
            "base = \"air\"\n[[fault]]\nat_h = 1\nhours = 1\nwhat = { fouling = { share = 2.0 } }",
            "expected a fraction",
        ),
        (
            "base = \"air\"\n[[fault]]\nat_h = 1\nhours = 1\nwhat = { fouling = { share = 0.2, why = 1 } }",
            "unknown field `why`",
        ),
        ("base = \"air\"\nweather = { kind = \"epw\", path = \"/nowhere.epw\" }", "/nowhere.epw"),
        (
            "base = \"air\"\n[sensors.signal]\nchw = { noise = 0, quantum = 0, bias_sd = 0, drift_sd_per_day = 0, lag_s = 0 }",
            "sensors.signal.chw: this plant has no such signal",
        ),
        ("base = \"air\"\n[plant.air.hall]\nrows = []", "expected at least one entry"),
        (
            "base = \"air\"\n[plant.air.chilled_water.chiller]\nvalid_leaving = [20, 4]",
            "expected [low, high], found [20, 4]",
        ),
        ("about = \"x\"\nstart = 5", "TOML parse error at line 2"),
    ];
    for (text, expected) in cases {
        let message = message(text);
        assert!(message.starts_with("site.toml: "), "{message}");
        assert!(message.contains(expected), "for\n{text}\nexpected {expected}\ngot {message}");
    }
}

#[test]
fn the_seed_decides_everything() {
    let run = |seed| {
        let mut plant = Plant::new(Scenario::shipped("air").unwrap(), seed).unwrap();
        plant.step(6.0 * 3600.0);
        (plant.totals(), plant.sensors())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
