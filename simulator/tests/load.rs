//! Recorded loads and weather from files.

use std::path::Path;

use isotherm_sim::{Plant, Scenario};

/// Recorded data that does not ship with the project: named by this variable, or beside the
/// repository in `shared/data`.
fn data(file: &str) -> Option<std::path::PathBuf> {
    let folder = std::env::var("ISOTHERM_DATA")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), Into::into);
    let path = folder.join(file);
    if path.exists() {
        // Absolute, since a scenario counts paths from its own folder.
        return path.canonicalize().ok();
    }
    println!("SKIPPED: no {} (set ISOTHERM_DATA)", path.display());
    None
}

fn liquid_with(workload: &str) -> Result<Plant, String> {
    let text = format!("base = \"liquid\"\n[[workload]]\n{workload}");
    let scenario = Scenario::parse("test", &text).map_err(|e| e.to_string())?;
    Plant::new(scenario, 1).map_err(|e| e.to_string())
}

fn it_load(plant: &Plant) -> f64 {
    let found = plant.sensors().into_iter().find(|(s, _)| s.name == "it_load");
    found.and_then(|(_, v)| v).expect("a reading")
}

#[test]
fn a_profile_steps_and_slopes_from_the_start_on() {
    let profile = |points: &str| format!("kind = \"profile\"\npoints = {points}\n");
    let mut plant = liquid_with(&profile("[[0, 0.2], [0.5, 0.2], [0.5, 0.9], [1, 0.5]]")).unwrap();
    let mut load = |minutes: f64| {
        plant.step(minutes * 60.0);
        it_load(&plant)
    };
    let before = load(29.0);
    let [after, between, end] = [load(3.0), load(13.0), load(40.0)];
    assert!(after > 1.5 * before && after > between && between > end && end > before, "{before} {after}");
    let err = liquid_with(&profile("[[1, 0.2], [0.5, 0.2]]")).unwrap_err();
    assert!(err.contains("in order of time"), "{err}");
}

#[test]
fn a_power_trace_is_summed_scaled_and_interpolated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("power.csv");
    std::fs::write(&path, "time,p[1],p[2],other\n0,10,10,5\n600,50,50,5\n1200,50,50,5\n").unwrap();
    let kind = |full: f64| {
        format!("kind = \"power\"\npath = {path:?}\ncolumns = \"p[\"\nidle = 20\nfull = {full}\n")
    };
    let scenario = |full| {
        let text = format!("base = \"liquid\"\nsettle_h = 0.01\n[[workload]]\n{}", kind(full));
        Scenario::parse("test", &text).unwrap()
    };
    let mut plant = Plant::new(scenario(100.0), 1).unwrap();
    plant.step(30.0);
    let early = it_load(&plant);
    plant.step(870.0);
    let full = it_load(&plant);
    // Idle servers draw about a quarter of what busy ones do.
    assert!(early < 0.35 * full, "{early} {full}");

    std::fs::write(&path, "time,p[1]\n0,10\n600,oops\n").unwrap();
    let message = liquid_with(&kind(100.0)).unwrap_err();
    assert!(message.contains("power.csv:3: p[1]: expected a number, found \"oops\""), "{message}");
    std::fs::write(&path, "time,p[1]\n0,10\n600,10\n900,10\n").unwrap();
    let message = liquid_with(&kind(100.0)).unwrap_err();
    assert!(message.contains(":4: expected a step of 600 s"), "{message}");
}

#[test]
fn a_recorded_day_of_a_supercomputer() {
    let Some(path) = data("frontier_cdu_power/input_04-07-24.csv") else {
        return;
    };
    let workload =
        format!("kind = \"power\"\npath = {path:?}\ncolumns = \"power[\"\nidle = 5e6\nfull = 27e6\n");
    let mut plant = liquid_with(&workload).unwrap();
    let (mut low, mut high) = (f64::MAX, f64::MIN);
    for _ in 0..24 * 60 {
        plant.step(60.0);
        low = low.min(it_load(&plant));
        high = high.max(it_load(&plant));
    }
    assert!(high > 1.1 * low && high < 1300.0, "{low}..{high} kW");
}

#[test]
fn recorded_requests_become_load() {
    let Some(path) = data("azure_llm/AzureLLMInferenceTrace_conv.csv") else {
        return;
    };
    let workload = format!(
        "kind = \"requests\"\npath = {path:?}\ncontext_weight = 0.1\nrequest_tokens_s = 40\nfull_tokens_s = 4000\nbase = 0.1\n"
    );
    let mut plant = liquid_with(&workload).unwrap();
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..240 {
        plant.step(15.0);
        let kw = it_load(&plant);
        sum += kw / 240.0;
        squares += kw * kw / 240.0;
    }
    let deviation = (squares - sum * sum).sqrt();
    assert!(sum > 300.0 && deviation > 0.02 * sum, "mean {sum}, deviation {deviation}");
}

#[test]
fn weather_from_an_epw_file_reaches_the_sensors() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "LOCATION,X,-,-,-,-,50,8,0,100\n".to_owned() + &"-\n".repeat(7);
    for hour in 0..8760 {
        let (day, hour) = (1 + hour % 28, 1 + hour % 24);
        text = text + "2020,3," + &day.to_string() + "," + &hour.to_string() + ",0,-,21.5,12.0\n";
    }
    std::fs::write(folder.path().join("w.epw"), text).unwrap();
    let scenario = folder.path().join("s.toml");
    std::fs::write(&scenario, "base = \"air\"\nweather = { kind = \"epw\", path = \"w.epw\" }\n").unwrap();
    let plant = Plant::new(Scenario::load(&scenario).unwrap(), 1).unwrap();
    let read = |name: &str| {
        let found = plant.sensors().into_iter().find(|(s, _)| s.name == name);
        found.and_then(|(_, v)| v).unwrap()
    };
    assert!((read("outdoor_drybulb") - 21.5).abs() < 0.6);
    // Chart: 21.5 degC with a dew point of 12 has a wet bulb of 15.6.
    assert!((read("outdoor_wetbulb") - 15.6).abs() < 0.6);
}
