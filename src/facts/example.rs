//! A site and frames for tests.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;

use super::{Facts, Shown};
use crate::directive::Directive;
use crate::frame::{Frame, Quality, Sample, Span};
use crate::history::History;
use crate::site::{self, Name, Site};
use crate::twin::Outlook;
use crate::units::{Finite, Unit};

/// 2026-07-01 10:00 UTC, the time of `frame(0, …)`.
pub(crate) const START: i64 = 1_782_900_000;

/// name, unit, role, range, present value
const SIGNALS: [(&str, &str, &str, [f64; 2], f64); 12] = [
    ("hall_a_inlet_max", "degC", "it_inlet", [5.0, 45.0], 24.0),
    ("hall_b_inlet_max", "degC", "it_inlet", [5.0, 45.0], 23.4),
    ("hall_a_inlet_mean", "degC", "", [5.0, 45.0], 23.0),
    ("hall_rh", "%RH", "room_humidity", [1.0, 100.0], 45.0),
    ("outdoor_wetbulb", "degC", "outdoor_wet_bulb", [-30.0, 40.0], 14.2),
    ("it_load", "kW", "it_load", [0.0, 20000.0], 800.0),
    ("chws", "degC", "chws", [1.0, 35.0], 9.1),
    ("chwr", "degC", "chwr", [1.0, 45.0], 15.3),
    ("chw_dp", "kPa", "diff_pressure", [0.0, 600.0], 151.0),
    ("crah_fan", "%", "fan_speed", [0.0, 100.0], 62.0),
    ("cooling_power", "kW", "cooling_power", [0.0, 10000.0], 210.0),
    ("gpu_temp_max", "degC", "chip_temp", [5.0, 110.0], 66.0),
];

/// name, unit, role, min, max, step, cools, present value
type Sp = (&'static str, &'static str, &'static str, f64, f64, f64, &'static str, f64);
const SETPOINTS: [Sp; 3] = [
    ("chws_sp", "degC", "chws", 6.0, 16.0, 0.5, "down", 9.0),
    ("crah_supply_sp", "degC", "crah_supply", 16.0, 25.0, 0.5, "down", 20.0),
    ("chw_dp_sp", "kPa", "diff_pressure", 80.0, 250.0, 10.0, "up", 150.0),
];

pub(crate) fn site() -> Site {
    let mut text = String::from(
        "name = \"test\"\nplant = \"air\"\nclock = \"frames\"\n[mqtt]\nhost = \"h\"\n[[device]]\nname = \"plant\"\nhost = \"h\"\n",
    );
    for (name, unit, role, range, _) in SIGNALS {
        let role = if role.is_empty() { String::new() } else { format!("role = \"{role}\"\n") };
        let band = if role.contains("it_inlet") { "band = [18, 27]\n" } else { "" };
        writeln!(
            text,
            "[[signal]]\nname = \"{name}\"\nunit = \"{unit}\"\n{role}{band}source = {{ topic = \"t\" }}\nrange = {range:?}\nslew_per_min = 3000"
        )
        .unwrap();
    }
    for (i, (name, unit, role, min, max, step, cools, _)) in SETPOINTS.into_iter().enumerate() {
        writeln!(
            text,
            "[[setpoint]]\nname = \"{name}\"\nunit = \"{unit}\"\nrole = \"{role}\"\nmin = {min}\nmax = {max}\nstep = {step}\nrate_per_min = 0.5\nsafe = {min}\ncools = \"{cools}\"\nregister = {{ device = \"plant\", address = {i}, type = \"int16\", scale = 0.1 }}"
        )
        .unwrap();
    }
    text += "[envelope]\nchip_allowable = 95\n[model]\nbackend = \"none\"\n";
    site::parse(&text, Path::new("test.toml")).unwrap()
}

/// A frame `seconds` after [`START`]: everything good and at its present value, except as given.
pub(crate) fn frame(seconds: i64, values: &[(&str, f64)]) -> Frame {
    let sample = |name: &str, unit: &str, present: f64| {
        let value = values.iter().find(|(n, _)| *n == name).map_or(present, |(_, v)| *v);
        let value = Finite::new(value).unwrap();
        let sample = Sample {
            value: Some(value),
            unit: unit.parse::<Unit>().unwrap(),
            quality: Quality::Good,
            age_s: Some(Finite::ZERO),
            worst: Some(Span { low: value, high: value }),
            doubt: None,
        };
        (name.parse::<Name>().unwrap(), sample)
    };
    Frame {
        time: Timestamp::from_second(START + seconds).unwrap(),
        signals: SIGNALS.into_iter().map(|(n, u, _, _, v)| sample(n, u, v)).collect(),
        setpoints: SETPOINTS.into_iter().map(|(n, u, _, _, _, _, _, v)| sample(n, u, v)).collect(),
        active: [].into(),
        enable: None,
        jobs: Vec::new(),
    }
}

/// What is shown of the site at [`START`], whose setpoints are at 9, 20 and 150, without history or look-ahead.
pub(crate) fn facts(directives: &[Directive]) -> Facts {
    let (site, frame) = (site(), frame(0, &[]));
    Facts::new(&Shown {
        site: &site,
        now: frame.time,
        frame: &frame,
        history: &History::new(&site),
        outlook: &Outlook { rows: Vec::new(), best: None, unidentified: Vec::new() },
        directives,
    })
}
