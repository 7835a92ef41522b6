//! `/metrics`, in Prometheus' text format.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::probes::Probed;
use crate::memory::Rung;
use crate::service::View;
use crate::site::Mode;

/// Counters of this run, by their name in the state.
const COUNTERS: [(&str, &str); 10] = [
    ("frames", "Frames handled"),
    ("decisions", "Decisions recorded"),
    ("writes", "Setpoint registers written and read back as written"),
    ("failed_writes", "Setpoint writes that were not confirmed"),
    ("interventions", "Decisions that the guard changed for safety"),
    ("fallbacks", "Decisions made by the fallback"),
    ("checked", "Rationales whose claims were checked"),
    ("verified", "Rationales in which every claim held"),
    ("emergencies", "Decisions of full cooling"),
    ("candidates", "Decisions of a candidate for an upgrade, recorded beside those made"),
];

const FLAGS: [(&str, &str); 5] = [
    ("in_charge", "The agent has the plant"),
    ("emergency", "Full cooling is in force"),
    ("plant_link", "The devices that hold the setpoints answer"),
    ("source_link", "Frames arrive"),
    ("audit_ok", "The audit log can be written"),
];

pub(super) async fn metrics(State(probed): State<Probed>) -> Response {
    let text = render(&probed.view.borrow());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn render(view: &View) -> String {
    let mut out = Text { out: String::new(), site: view["site"].as_str().unwrap_or_default().to_owned() };
    for (key, help) in FLAGS {
        out.family(key, "gauge", help);
        out.line(key, &[], view[key].as_bool().map(f64::from));
    }
    out.family("mode", "gauge", "1 for the mode in force");
    for mode in Mode::ALL.map(Mode::as_str) {
        out.line("mode", &[("mode", mode)], Some(f64::from(view["mode"] == mode)));
    }
    out.family("memory_rung", "gauge", "1 for the step of the memory ladder in force");
    for rung in Rung::ALL.map(Rung::as_str) {
        out.line("memory_rung", &[("rung", rung)], Some(f64::from(view["memory_rung"] == rung)));
    }
    out.family("decide_every_seconds", "gauge", "Between two decisions, at the present resolution");
    out.line("decide_every_seconds", &[], view["decide_every_s"].as_f64());
    out.family(
        "headroom_kw",
        "gauge",
        "IT load that a place could take within limits for the next 15 minutes",
    );
    for place in view["headroom"]["places"].as_array().into_iter().flatten() {
        let name = place["place"].as_str().unwrap_or_default();
        out.line("headroom_kw", &[("place", name)], place["kw"].as_f64());
    }
    for (key, help) in COUNTERS {
        let name = format!("{key}_total");
        out.family(&name, "counter", help);
        out.line(&name, &[], view["stats"][key].as_f64());
    }
    out.family("audit_records", "gauge", "Number of the newest record in the audit log");
    out.line("audit_records", &[], view["records"].as_f64());
    out.family("alarms", "gauge", "Alarms that nobody has acknowledged");
    out.line("alarms", &[], view["alarms"].as_array().map(|a| a.len() as f64));
    let trial = &view["upgrade"]["candidate"];
    out.family("candidate", "gauge", "A candidate for an upgrade is tried");
    out.line("candidate", &[], view.get("upgrade").map(|_| f64::from(!trial.is_null())));
    out.family(
        "candidate_agreement",
        "gauge",
        "Share of its decisions that come to the same setpoints, percent",
    );
    out.line("candidate_agreement", &[], trial["tally"]["agreement_pct"].as_f64());
    out.family("value", "gauge", "Good values of signals and setpoints");
    each_sample(view, |kind, name, s| {
        let unit = s["unit"].as_str().unwrap_or_default();
        let good = s["value"].as_f64().filter(|_| s["quality"] == "good");
        out.line("value", &[("kind", kind), ("name", name), ("unit", unit)], good);
    });
    out.family("age_seconds", "gauge", "Since the source took the value");
    each_sample(view, |kind, name, s| {
        out.line("age_seconds", &[("kind", kind), ("name", name)], s["age_s"].as_f64());
    });
    out.out
}

fn each_sample(view: &View, mut act: impl FnMut(&str, &str, &Value)) {
    for (key, kind) in [("signals", "signal"), ("setpoints", "setpoint")] {
        for (name, sample) in view["frame"][key].as_object().into_iter().flatten() {
            act(kind, name, sample);
        }
    }
}

struct Text {
    out: String,
    site: String,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        write!(self.out, "# HELP isotherm_{name} {help}\n# TYPE isotherm_{name} {kind}\n")
            .unwrap_or_default();
    }

    /// Nothing where there is no value: an absent series is what Prometheus takes for "not known".
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: Option<f64>) {
        let Some(value) = value else { return };
        write!(self.out, "isotherm_{name}{{site=\"{}\"", escape(&self.site)).unwrap_or_default();
        for (key, v) in labels {
            write!(self.out, ",{key}=\"{}\"", escape(v)).unwrap_or_default();
        }
        writeln!(self.out, "}} {value}").unwrap_or_default();
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_that_are_not_good_are_absent() {
        let sample = |quality: &str| json!({"value": 7.5, "unit": "degC", "quality": quality, "age_s": 3.0});
        let view = json!({"site": "a\"b", "mode": "auto", "in_charge": true, "records": 9,
            "stats": {"decisions": 4},
            "frame": {"signals": {"chws": sample("good"), "chwr": sample("stale")}, "setpoints": {}}});
        let text = render(&view);
        let has = |line: &str| assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        has(r#"isotherm_value{site="a\"b",kind="signal",name="chws",unit="degC"} 7.5"#);
        has(r#"isotherm_mode{site="a\"b",mode="auto"} 1"#);
        has(r#"isotherm_decisions_total{site="a\"b"} 4"#);
        has(r#"isotherm_audit_records{site="a\"b"} 9"#);
        assert!(!text.contains(r#"name="chwr",unit"#), "{text}");
        assert!(text.contains(r#"isotherm_age_seconds{site="a\"b",kind="signal",name="chwr"} 3"#));
    }
}
