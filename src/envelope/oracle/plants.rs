//! Three plants whose registers are of all kinds, small enough to be tried millions of times.

use std::path::Path;

use crate::site::{self, Site};

const HEAD: &str = r#"
name = "NAME"
plant = "NAME"
clock = "wall"
[[device]]
name = "plc"
host = "127.0.0.1"
address_base = BASE
[link]
enable = { device = "plc", address = 100, type = "uint16" }
heartbeat = { device = "plc", address = 101, type = "int16" }
[model]
backend = "none"
"#;

/// Air halls: two inlets, chillers, flow and pressure minima; an EEPROM register, a little-endian float,
/// pressure in bar on the wire.
const AIR: &str = "
[envelope]
chip_allowable = 95
min_flow = { flow = 500 }
min_diff_pressure = { dp = 60 }
";

/// Cold plates: two ways to the dew point, an approach, a Fahrenheit register, limits off the grid.
const LIQUID: &str = "
[envelope]
liquid_allowable = 45
chip_allowable = 90
min_approach = 2
dew_margin = 3
";

const IMMERSION: &str = "
[envelope]
liquid_allowable = 55
";

struct Sig(&'static str, &'static str, &'static str, [f64; 2], bool);
struct Set(&'static str, &'static str, &'static str, &'static str, &'static str);

/// All of them, by the names `air`, `liquid` and `immersion`.
#[must_use]
pub fn sites() -> Vec<Site> {
    let air = (
        [
            Sig("inlet_a", "degC", "it_inlet", [5.0, 45.0], true),
            Sig("inlet_b", "degC", "it_inlet", [5.0, 45.0], false),
            Sig("chip", "degC", "chip_temp", [5.0, 110.0], false),
            Sig("flow", "L/min", "flow", [0.0, 5000.0], false),
            Sig("dp", "kPa", "diff_pressure", [0.0, 600.0], false),
            Sig("chillers", "count", "chillers_on", [0.0, 6.0], false),
        ],
        [
            Set(
                "chws_sp",
                "degC",
                "role = \"chws\"",
                "address = 12, type = \"int16\", scale = 0.1",
                "min = 6\nmax = 16\nstep = 0.5\nrate_per_min = 0.5\nsafe = 7\ncools = \"down\"\ndeadband = 0.5\nwrites_per_day = 14\nactive = { device = \"plc\", address = 300, type = \"int16\", scale = 0.1 }",
            ),
            Set(
                "crah_sp",
                "degC",
                "role = \"crah_supply\"",
                "address = 13, type = \"float32\", word_order = \"little\"",
                "min = 16\nmax = 25\nstep = 0.5\nrate_per_min = 0.2\nsafe = 18\ncools = \"down\"\ndeadband = 0.3",
            ),
            Set(
                "dp_sp",
                "kPa",
                "role = \"diff_pressure\"",
                "address = 15, type = \"uint16\", scale = 0.01, unit = \"bar\"",
                "min = 80\nmax = 250\nstep = 20\nrate_per_min = 5\nsafe = 200\ncools = \"up\"\ndeadband = 10",
            ),
        ],
    );
    let liquid = (
        [
            Sig("supply", "degC", "liquid_supply", [5.0, 60.0], true),
            Sig("chip", "degC", "chip_temp", [5.0, 110.0], false),
            Sig("room", "degC", "room_dry_bulb", [0.0, 50.0], false),
            Sig("humidity", "%RH", "room_humidity", [1.0, 100.0], false),
            Sig("dew", "degC", "room_dew_point", [-20.0, 35.0], false),
            Sig("facility", "degC", "facility_supply", [3.0, 60.0], false),
        ],
        [
            Set(
                "supply_sp",
                "degC",
                "role = \"liquid_supply\"",
                "address = 12, type = \"int16\", scale = 0.1, unit = \"degF\"",
                "min = 18.03\nmax = 40\nstep = 0.5\nrate_per_min = 0.5\nsafe = 25\ncools = \"down\"\ndeadband = 0.5",
            ),
            Set(
                "facility_sp",
                "degC",
                "role = \"facility_supply\"",
                "address = 13, type = \"uint16\", scale = 0.1, offset = -40",
                "min = 14\nmax = 36\nstep = 0.5\nrate_per_min = 0.5\nsafe = 20\ncools = \"down\"\ndwell = \"0s\"",
            ),
            Set(
                "pump_sp",
                "%",
                "role = \"pump_speed\"",
                "address = 14, type = \"int32\", scale = 0.01, word_order = \"little\", byte_order = \"little\"",
                "min = 30\nmax = 100\nstep = 1\nrate_per_min = 3\nsafe = 80\ncools = \"up\"\nfollow_within = \"10min\"\nactive = { device = \"plc\", address = 300, type = \"int16\" }",
            ),
        ],
    );
    let immersion = (
        [
            Sig("bath_a", "degC", "bath", [5.0, 80.0], true),
            Sig("bath_b", "degC", "bath", [5.0, 80.0], true),
            Sig("flow", "L/min", "flow", [0.0, 5000.0], false),
            Sig("wet", "degC", "outdoor_wet_bulb", [-30.0, 40.0], false),
            Sig("load", "kW", "it_load", [0.0, 9000.0], false),
            Sig("valve", "%", "valve_position", [0.0, 100.0], false),
        ],
        [
            Set(
                "fluid_sp",
                "degC",
                "",
                "address = 12, type = \"uint16\", scale = 0.25",
                "min = 25.1\nmax = 44.9\nstep = 0.3\nrate_per_min = 0.05\nsafe = 32\ncools = \"down\"\ndeadband = 0.5",
            ),
            Set(
                "pump_sp",
                "%",
                "role = \"pump_speed\"",
                "address = 13, type = \"uint32\", scale = 0.1",
                "min = 40\nmax = 100\nstep = 7\nrate_per_min = 3\nsafe = 85\ncools = \"up\"\ndeadband = 5\nwrites_per_day = 3",
            ),
            Set(
                "cooler_sp",
                "degC",
                "role = \"facility_supply\"",
                "address = 15, type = \"int16\", scale = -0.1",
                "min = 18\nmax = 40\nstep = 0.5\nrate_per_min = 0.5\nsafe = 25\ncools = \"down\"\ndwell = \"20min\"",
            ),
        ],
    );
    vec![
        build("air", 1, AIR, air),
        build("liquid", 0, LIQUID, liquid),
        build("immersion", 10, IMMERSION, immersion),
    ]
}

fn build(name: &str, base: u16, envelope: &str, (signals, setpoints): ([Sig; 6], [Set; 3])) -> Site {
    use std::fmt::Write as _;
    let mut text = HEAD.replace("NAME", name).replace("BASE", &base.to_string());
    text.push_str(envelope);
    for (i, Sig(name, unit, role, [low, high], required)) in signals.iter().enumerate() {
        let _written = write!(
            text,
            "[[signal]]\nname = \"{name}\"\nunit = \"{unit}\"\nrole = \"{role}\"\nrange = [{low}, {high}]\n\
             required = {required}\nslew_per_min = 3\nband = [{low}, {high}]\n\
             source = {{ device = \"plc\", address = {}, type = \"int16\" }}\n",
            200 + i,
        );
    }
    for Set(name, unit, role, register, rest) in &setpoints {
        let _written = write!(
            text,
            "[[setpoint]]\nname = \"{name}\"\nunit = \"{unit}\"\n{role}\n\
             register = {{ device = \"plc\", {register} }}\n{rest}\n",
        );
    }
    match site::parse(&text, Path::new(name)) {
        Ok(site) => site,
        Err(e) => unreachable!("{e}\n{text}"),
    }
}
