//! Values that nobody can have meant are refused, with the line they stand in.

use std::path::Path;

use super::{Problem, SiteError, parse};

/// Without a field that has a default, so that each can be written.
const SITE: &str = r#"
name = "test"
plant = "air"
TOP
[mqtt]
host = "localhost"
MQTT
[[device]]
name = "plc"
host = "localhost"
DEVICE
[link]
LINK
[[signal]]
name = "inlet"
unit = "degC"
role = "it_inlet"
source = { topic = "t" }
range = [5, 45]
slew_per_min = 5
SIGNAL
[[signal]]
name = "chws"
unit = "degC"
source = { device = "plc", address = 9 }
range = [1, 35]
slew_per_min = 5
[[signal]]
name = "flow"
unit = "L/min"
source = { topic = "t" }
range = [0, 5000]
slew_per_min = 500
[[setpoint]]
name = "chws_sp"
unit = "degC"
register = { device = "plc", address = 2, scale = 0.1 }
min = 6
max = 16
step = 0.5
rate_per_min = 0.5
safe = 7
cools = "down"
SETPOINT
[envelope]
ENVELOPE
[envelope.chiller]
CHILLER
[fallback]
FALLBACK
[audit]
AUDIT
[console]
CONSOLE
[telemetry]
TELEMETRY
[model]
backend = "none"
MODEL
"#;

/// The site with `line` in place of `table`, which is a place in `SITE`.
fn with(table: &str, line: &str) -> String {
    let of = |l: &str| match l {
        _ if l == table => line.to_owned(),
        _ if !l.is_empty() && l.chars().all(char::is_uppercase) => "#".to_owned(),
        _ => l.to_owned(),
    };
    SITE.lines().map(of).collect::<Vec<_>>().join("\n")
}

fn problems(text: &str) -> Vec<Problem> {
    match parse(text, Path::new("site.toml")) {
        Ok(_) => Vec::new(),
        Err(SiteError::Invalid { problems, .. }) => problems,
        Err(e) => panic!("{e}\n{text}"),
    }
}

fn line_of(text: &str, line: &str) -> usize {
    text.lines().position(|l| l == line).unwrap() + 1
}

/// Each is one problem, of that field, in that line.
#[test]
fn what_nobody_can_have_meant_is_refused_where_it_stands() {
    let cases = [
        ("TOP", "cadence = \"100000h\""),
        ("MQTT", "watchdog = \"-2min\""),
        ("MQTT", "port = 0"),
        ("DEVICE", "port = 0"),
        ("DEVICE", "timeout = \"0s\""),
        ("DEVICE", "timeout = \"1h\""),
        ("DEVICE", "reopen_after = \"-1s\""),
        ("DEVICE", "inter_frame_delay = \"-1s\""),
        ("DEVICE", "max_block = 126"),
        ("SIGNAL", "stale_after = \"0s\""),
        ("SIGNAL", "stuck_after = \"-10min\""),
        ("SETPOINT", "dwell = \"-5min\""),
        ("SETPOINT", "follow_within = \"0s\""),
        ("ENVELOPE", "chip_allowable = -5"),
        ("ENVELOPE", "chip_allowable = 900"),
        ("ENVELOPE", "inlet_allowable = [15, 320]"),
        ("ENVELOPE", "liquid_allowable = -40"),
        ("ENVELOPE", "min_approach = -50"),
        ("ENVELOPE", "dew_margin = 300"),
        ("ENVELOPE", "inlet_ramp_15min = -1"),
        ("ENVELOPE", "twin_tolerance = -1"),
        ("ENVELOPE", "twin_for = \"-1s\""),
        ("ENVELOPE", "no_warming_at = 5"),
        ("ENVELOPE", "cool_at = 300"),
        ("ENVELOPE", "manual_hold = \"-30min\""),
        ("ENVELOPE", "warming_pct_5min = 0"),
        ("CHILLER", "min_run = \"0s\""),
        ("CHILLER", "min_off = \"-10min\""),
        ("CHILLER", "max_starts_per_hour = 0"),
        ("FALLBACK", "respond = -3"),
        ("FALLBACK", "respond_max = 0"),
        ("FALLBACK", "trim = -2"),
        ("FALLBACK", "trim = 1e300"),
        ("FALLBACK", "step = \"0s\""),
        ("FALLBACK", "step = \"-5min\""),
        ("FALLBACK", "delay = \"-5min\""),
        ("AUDIT", "path = \"\""),
        ("AUDIT", "path = \":memory:\""),
        ("MODEL", "path = \"\""),
        ("MODEL", "url = \"localhost:8080\""),
        ("CONSOLE", "listen = \"nonsense\""),
        ("CONSOLE", "listen = \"127.0.0.1:99999\""),
        ("CONSOLE", "listen = \"::1:8455\""),
        ("TELEMETRY", "otlp = \"localhost:4318\""),
        ("TELEMETRY", "listen = \"off\""),
        ("TELEMETRY", "listen = \"127.0.0.1:8455\""),
    ];
    for (table, line) in cases {
        let text = with(table, line);
        let key = line.split(' ').next().unwrap();
        let [problem] = &problems(&text)[..] else { panic!("{line}: {:?}", problems(&text)) };
        assert!(problem.field.ends_with(key), "{line}: {problem}");
        assert_eq!(problem.line, Some(line_of(&text, line)), "{line}: {problem}");
        assert!(problem.message.contains("expected"), "{line}: {problem}");
    }
    assert_eq!(problems(&with("", "")), []);
}

#[test]
fn sound_values_pass() {
    for (table, line) in [
        ("SETPOINT", "dwell = \"0s\""),
        ("ENVELOPE", "min_flow = { flow = 500 }"),
        ("ENVELOPE", "inlet_allowable = [5, 45]"),
        ("CONSOLE", "listen = \"off\""),
        ("CONSOLE", "listen = \"localhost:8455\""),
        ("CONSOLE", "listen = \"[::1]:0\""),
        ("TELEMETRY", "listen = \"0.0.0.0:9455\""),
        ("AUDIT", "path = \"log/audit.db\""),
    ] {
        assert_eq!(problems(&with(table, line)), [], "{line}");
    }
    for host in ["plc-3.example", "10.1.2.3", "::1", "[fe80::1%eth0]"] {
        let text = with("", "").replacen("\"localhost\"", &format!("\"{host}\""), 1);
        assert_eq!(problems(&text), [], "{host}");
    }
}

#[test]
fn a_host_is_a_name_or_an_address() {
    for host in ["", "http://x y", "10.1.2.3:1883", "a/b"] {
        let text = with("", "").replace("\"localhost\"", &format!("\"{host}\""));
        let fields: Vec<String> = problems(&text).into_iter().map(|p| p.field).collect();
        assert_eq!(fields, ["mqtt.host", "device \"plc\": host"], "{host}");
    }
}

#[test]
fn the_log_is_a_file_of_its_own() {
    for line in ["path = \"a.db\"\nkey = \"./a.db\"", "path = \"a.db\"\ncheckpoint_file = \"a.db\""] {
        let found = problems(&with("AUDIT", line));
        assert!(found.len() == 1 && found[0].message.contains("a file of its own"), "{found:?}");
    }
}

/// A minimum needs a signal that can be that low, in a unit of what is limited.
#[test]
fn minima_are_of_signals_that_measure_them() {
    for (line, expected) in [
        ("min_flow = { flaw = 5 }", "no signal \"flaw\""),
        ("min_flow = { chws = 5 }", "expected one in L/min or m3/h"),
        ("min_diff_pressure = { flow = 5 }", "expected one in kPa or bar"),
        ("min_flow = { flow = -5 }", "more than 0"),
        ("min_flow = { flow = 6000 }", "less than 5000"),
    ] {
        let text = with("ENVELOPE", line);
        let [problem] = &problems(&text)[..] else { panic!("{line}: {:?}", problems(&text)) };
        assert!(problem.message.contains(expected), "{line}: {problem}");
        assert_eq!(problem.line, Some(line_of(&text, line)), "{line}");
    }
}

/// Not in the first line that begins with the same key.
#[test]
fn a_problem_has_the_line_of_its_own_table() {
    let text = with("LINK", "watchdog = \"0s\"").replace("MQTT", "watchdog = \"2min\"");
    let found = problems(&text);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].field.as_str(), found[0].line),
        ("link.watchdog", Some(line_of(&text, "watchdog = \"0s\"")))
    );

    let twice = with("", "").replace("name = \"flow\"", "name = \"inlet\"");
    let found = problems(&twice);
    assert_eq!(found[0].field, "signal \"inlet\": name");
    let second = twice.lines().enumerate().filter(|(_, l)| *l == "name = \"inlet\"").nth(1).unwrap().0 + 1;
    assert_eq!(found[0].line, Some(second));
}

/// What is left out has the line of its table.
#[test]
fn a_default_that_does_not_fit_has_a_line() {
    let text = with("ENVELOPE", "no_warming_at = 30");
    let found = problems(&text);
    assert_eq!(found[0].field, "envelope.cool_at");
    assert_eq!(found[0].line, Some(line_of(&text, "[envelope]")));
}
