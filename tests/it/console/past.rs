//! A past in the audit log, as an agent would have left it, for an agent that is started after it.

use std::collections::BTreeMap;

use isotherm::audit::{Kind, Store};
use isotherm::frame::{Frame, Quality, Sample};
use isotherm::site::Site;
use isotherm::units::Finite;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::agent::Rig;

/// When a rig begins to send frames.
pub(super) const PRESENT: &str = "2026-07-01T12:00:00Z";

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) struct Past {
    site: Site,
    store: Store,
}

impl Past {
    pub(super) fn of(rig: &Rig, begins: Timestamp) -> Self {
        let site = isotherm::site::load(&rig.dir.path().join("site.toml")).unwrap();
        let store = Store::open(&site.audit, begins).unwrap();
        Self { site, store }
    }

    /// What is not named is missing.
    pub(super) fn frame(&mut self, time: Timestamp, values: &[(&str, f64)], in_charge: bool) {
        let find = |name: &str| values.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let sample = |name: &str, unit| match find(name) {
            Some(value) => Sample {
                value: Finite::new(value),
                quality: Quality::Good,
                age_s: Some(Finite::ZERO),
                doubt: None,
                ..Sample::missing(unit)
            },
            None => Sample::missing(unit),
        };
        let signals = self.site.signals.iter().map(|s| (s.name.clone(), sample(s.name.as_str(), s.unit)));
        let setpoints = self.site.setpoints.iter().map(|s| (s.name.clone(), sample(s.name.as_str(), s.unit)));
        let frame = Frame {
            time,
            signals: signals.collect(),
            setpoints: setpoints.collect(),
            active: BTreeMap::new(),
            enable: None,
            jobs: Vec::new(),
        };
        self.record(time, Kind::Frame, &json!({ "frame": frame, "heartbeat": in_charge.then_some(7) }));
    }

    /// Frames from one time to another, that one left out.
    pub(super) fn frames(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        in_charge: bool,
        values: impl Fn(Timestamp) -> Vec<(&'static str, f64)>,
    ) {
        let step: SignedDuration = self.site.sample;
        let mut at = from;
        while at < to {
            self.frame(at, &values(at), in_charge);
            at += step;
        }
    }

    pub(super) fn record(&mut self, time: Timestamp, kind: Kind, body: &Value) -> u64 {
        let seq = self.store.next_seq().unwrap();
        let body = serde_json::value::RawValue::from_string(body.to_string()).unwrap();
        self.store.append(time, kind, &body).unwrap();
        seq
    }

    /// A decision that wrote nothing; `more` is laid over it.
    pub(super) fn decision(&mut self, time: Timestamp, rationale: &str, more: &Value) -> u64 {
        let mut body = json!({ "cause": "cadence", "mode": "auto", "asked_at": time, "failure": null, "rejected": null,
            "frame": { "setpoints": { "chws_sp": { "value": 7.0 } } },
            "decision": { "assessment": "as it was", "evidence": [], "setpoints": { "chws_sp": 7.0 }, "rationale": rationale },
            "claims": { "verified": true, "checks": [] }, "replaced": null,
            "verdict": { "by": "model", "setpoints": { "chws_sp": 7.0 }, "touched": [], "intervened": false, "emergency": false, "action": [] },
            "disposition": "hold" });
        lay(&mut body, more);
        self.record(time, Kind::Decision, &body)
    }

    pub(super) fn close(self) {
        self.store.close().unwrap();
    }
}

fn lay(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay(below.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => below.clone_from(above),
    }
}
