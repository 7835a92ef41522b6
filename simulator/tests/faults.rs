//! Faults, the watchdog, and what the alarm word says.

use isotherm_sim::plant::{alarm, status};
use isotherm_sim::supervision::CommandError;
use isotherm_sim::{Plant, Scenario};

fn plant(base: &str, extra: &str) -> Plant {
    let text = format!("base = {base:?}\n{extra}");
    Plant::new(Scenario::parse("test", &text).expect("a scenario"), 2).expect("a plant")
}

fn fault(kind: &str, at_h: f64, hours: f64, more: &str) -> String {
    format!("[[fault]]\nat_h = {at_h}\nhours = {hours}\nwhat = {{ {kind} = {{ {more} }} }}\n")
}

fn read(plant: &Plant, name: &str) -> Option<f64> {
    plant.sensors().into_iter().find(|(s, _)| s.name == name).expect("a signal").1
}

fn value(plant: &Plant, name: &str) -> f64 {
    read(plant, name).expect("a reading")
}

fn hours(plant: &mut Plant, hours: f64) {
    plant.step(hours * 3600.0);
}

#[test]
fn a_chiller_trip_warms_the_water_and_another_takes_over() {
    let loads = "[[workload]]\nkind = \"constant\"\nshare = 0.8\n".repeat(2);
    let trip = fault("chiller_trip", 1.0, 2.0, "count = 1");
    let mut p = plant("air", &(loads + &trip));
    hours(&mut p, 0.95);
    assert_eq!(p.alarms() & alarm::CHILLER_TRIPPED, 0);
    let before = value(&p, "chws");
    hours(&mut p, 0.2);
    assert_ne!(p.alarms() & alarm::CHILLER_TRIPPED, 0);
    assert!(value(&p, "chws") > before + 1.0, "{before} {}", value(&p, "chws"));
    hours(&mut p, 1.5);
    assert!((value(&p, "chillers_on") - 2.0).abs() < 0.1);
    assert!((value(&p, "chws") - before).abs() < 0.8, "{}", value(&p, "chws"));
}

#[test]
fn lost_pumps_and_fans_and_fouling_make_it_warmer() {
    let settings = [
        ("liquid", "pump_loss", "share = 0.6", "gpu_temp_max"),
        ("immersion", "tower_fan_loss", "share = 0.7", "bath_a_temp"),
        ("immersion", "fouling", "share = 0.5", "bath_a_temp"),
        ("air", "crah_fan_loss", "share = 0.5", "hall_a_inlet_max"),
    ];
    for (base, kind, more, signal) in settings {
        let constant = "[[workload]]\nkind = \"constant\"\nshare = 0.9\n";
        let loads = constant.repeat(if base == "liquid" { 1 } else { 2 });
        let mut well = plant(base, &loads);
        let mut ill = plant(base, &format!("{loads}{}", fault(kind, 0.0, 9.0, more)));
        hours(&mut well, 4.0);
        hours(&mut ill, 4.0);
        let (well, ill) = (value(&well, signal), value(&ill, signal));
        assert!(ill > well + 1.0, "{base} {kind}: {signal} {well} -> {ill}");
    }
}

#[test]
fn sensors_lie_as_told() {
    let about = |kind: &str, more: &str| {
        let more = format!("signal = \"chwr\"{more}");
        let mut p = plant("air", &fault(kind, 1.0, 3.0, &more));
        let mut honest = plant("air", "");
        hours(&mut p, 0.99);
        hours(&mut honest, 0.99);
        let before = value(&p, "chwr");
        assert!((before - value(&honest, "chwr")).abs() < 1e-9, "nothing before the fault");
        hours(&mut p, 2.01);
        hours(&mut honest, 2.01);
        // A fault touches no other sample: the noise of the rest is the same.
        assert!((value(&p, "chws") - value(&honest, "chws")).abs() < 1e-9);
        (before, read(&p, "chwr"), value(&honest, "chwr"))
    };
    let (before, stuck, _) = about("sensor_stuck", "");
    assert!((stuck.unwrap() - before).abs() < 0.5);
    assert_eq!(about("sensor_dropout", "").1, None);
    let (_, biased, honest) = about("sensor_bias", ", offset = -3.0");
    assert!((biased.unwrap() - honest + 3.0).abs() < 0.11);
    let (_, drifted, honest) = about("sensor_drift", ", per_hour = 1.0");
    assert!((drifted.unwrap() - honest - 2.0).abs() < 0.15);
    let (_, fahrenheit, honest) = about("sensor_fahrenheit", "");
    assert!((fahrenheit.unwrap() - (honest * 1.8 + 32.0)).abs() < 0.2);
}

#[test]
fn remote_setpoints_hold_only_while_the_heart_beats() {
    let mut p = plant("air", "");
    let active = |p: &Plant| p.supervision().setpoints[0].active;
    p.command("chws_sp", 11.0).unwrap();
    p.step(600.0);
    assert!((active(&p) - 8.0).abs() < 1e-9, "not enabled");
    p.command("enable", 1.0).unwrap();
    p.step(600.0);
    assert!((active(&p) - 8.0).abs() < 1e-9, "enabled, but no heartbeat yet");
    p.command("heartbeat", 1.0).unwrap();
    p.step(60.0);
    assert!((active(&p) - 9.0).abs() < 0.05, "ramps at 1 K/min: {}", active(&p));
    assert_ne!(p.status() & status::REMOTE_IN_FORCE, 0);
    p.step(100.0);
    // The same heartbeat again is no heartbeat.
    p.command("heartbeat", 1.0).unwrap();
    p.step(21.0);
    assert_eq!(p.status() & status::REMOTE_IN_FORCE, 0);
    assert_ne!(p.alarms() & alarm::HEARTBEAT_LOST, 0);
    p.step(300.0);
    assert!((active(&p) - 8.0).abs() < 1e-9);
    p.command("heartbeat", 2.0).unwrap();
    p.step(300.0 / 2.0);
    assert!(active(&p) > 10.0);
    p.command("enable", 0.0).unwrap();
    p.step(300.0);
    assert!((active(&p) - 8.0).abs() < 1e-9, "released");
}

#[test]
fn impossible_commands_are_refused_or_clamped_with_an_alarm() {
    let mut p = plant("liquid", "");
    let refused = p.command("cdu_supply_sp", 60.0).unwrap_err();
    assert!(matches!(refused, CommandError::OutOfRange { .. }), "{refused}");
    assert!(p.command("cdu_suply_sp", 25.0).unwrap_err().to_string().contains("cdu_supply_sp"));
    assert!(p.command("cdu_supply_sp", f64::NAN).is_err());
    // Allowed by its limits, but below the room's dew point: the CDU keeps off it.
    p.command("cdu_supply_sp", 15.0).unwrap();
    p.command("facility_supply_sp", 12.0).unwrap();
    p.command("enable", 1.0).unwrap();
    for beat in 0..60 {
        p.command("heartbeat", f64::from(beat + 1)).unwrap();
        p.step(60.0);
    }
    assert_ne!(p.alarms() & alarm::SETPOINT_CLAMPED, 0);
    assert_eq!(p.alarms() & alarm::CONDENSING, 0);
    let setpoint = &p.supervision().setpoints[1];
    assert!((setpoint.requested - 15.0).abs() < 1e-9);
    assert!((15.1..18.0).contains(&setpoint.active), "{}", setpoint.active);
}
