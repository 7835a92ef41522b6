//! Which value of which message is which signal: pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::ingest::payload::{self, Malformed, Told};
use crate::site::{Name, Site, Source};
use crate::units::Unit;

/// The signals of a site by the topic they come from.
#[derive(Clone, Debug)]
pub(super) struct Routes(BTreeMap<String, Vec<Route>>);

#[derive(Clone, Debug)]
struct Route {
    name: Name,
    pointer: Option<String>,
    /// What a number without a unit is in.
    wire: Unit,
    unit: Unit,
}

/// What was understood of one message.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Understood {
    /// The source's own time stamp.
    pub(super) time: Option<Timestamp>,
    pub(super) values: Vec<(Name, Told, Unit)>,
    pub(super) malformed: Vec<Malformed>,
}

impl Routes {
    pub(super) fn new(site: &Site) -> Self {
        let mut routes: BTreeMap<String, Vec<Route>> = BTreeMap::new();
        for signal in &site.signals {
            if let Source::Mqtt(topic) = &signal.source {
                routes.entry(topic.topic.clone()).or_default().push(Route {
                    name: signal.name.clone(),
                    pointer: topic.pointer.clone(),
                    wire: topic.unit.unwrap_or(signal.unit),
                    unit: signal.unit,
                });
            }
        }
        Self(routes)
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Reads a message: a plain number for every signal of the topic, or JSON with a frame or with what
    /// the signals' pointers point to.
    pub(super) fn read(&self, topic: &str, payload: &[u8]) -> Understood {
        let mut out = Understood::default();
        let Some(routes) = self.0.get(topic) else { return out };
        let Ok(json) = serde_json::from_slice::<Value>(payload) else {
            let expected = "a number, a frame, or JSON";
            out.malformed.push(Malformed::new("message", expected, String::from_utf8_lossy(payload)));
            return out;
        };
        let empty = Map::new();
        match payload::time(json.as_object().unwrap_or(&empty)) {
            Ok(time) => out.time = time,
            Err(problem) => {
                out.malformed.push(problem);
                return out;
            }
        }
        for route in routes {
            match route.read(&json) {
                Ok(Some((told, unit))) => out.values.push((route.name.clone(), told, unit)),
                Ok(None) => {}
                Err(problem) => out.malformed.push(problem),
            }
        }
        // One message that has nothing any signal wants is one problem, not one for each signal.
        if out.values.is_empty() {
            out.malformed.truncate(1);
        }
        out
    }
}

impl Route {
    fn read(&self, json: &Value) -> Result<Option<(Told, Unit)>, Malformed> {
        let told = match (&self.pointer, json) {
            (Some(pointer), _) => {
                let value = json.pointer(pointer);
                payload::told(pointer, value.ok_or_else(|| Malformed::new(pointer, "a number", "nothing"))?)?
            }
            (None, Value::Object(message)) => {
                let signals = message.get("signals").and_then(Value::as_object).ok_or_else(|| {
                    Malformed::new("message", "a number, or a frame with \"signals\"", json)
                })?;
                // A frame need not have everything: what it lacks grows old.
                let Some(value) = signals.get(self.name.as_str()) else { return Ok(None) };
                payload::told(&format!("/signals/{}", self.name), value)?
            }
            (None, _) => Some(Told::bare(payload::number("message", json)?)),
        };
        let Some(told) = told else { return Ok(None) };
        let unit = told.unit.unwrap_or(self.wire);
        if unit.convert(told.value, self.unit).is_none() {
            let expected = "a unit that measures the same thing as the signal's";
            return Err(Malformed::new(format!("/signals/{}/unit", self.name), expected, unit));
        }
        Ok(Some((told, unit)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn routes() -> Routes {
        let site = r#"
            name = "test"
            plant = "air"
            setpoint = []
            mqtt = { host = "localhost" }
            model = { backend = "none" }
            [[signal]]
            name = "inlet"
            unit = "degC"
            role = "it_inlet"
            source = { topic = "frame" }
            range = [5, 45]
            slew_per_min = 5
            [[signal]]
            name = "load"
            unit = "kW"
            source = { topic = "frame" }
            range = [0, 5000]
            slew_per_min = 5
            [[signal]]
            name = "rack"
            unit = "degC"
            source = { topic = "bms/rack", pointer = "/data/0/t", unit = "degF" }
            range = [5, 45]
            slew_per_min = 5
            [[signal]]
            name = "plain"
            unit = "degC"
            source = { topic = "plain" }
            range = [5, 45]
            slew_per_min = 5
        "#;
        Routes::new(&crate::site::parse(site, std::path::Path::new("test.toml")).unwrap())
    }

    fn values(topic: &str, payload: &str) -> Vec<(String, f64, Unit, bool)> {
        let got = routes().read(topic, payload.as_bytes());
        assert_eq!(got.malformed, [], "{payload}");
        got.values.into_iter().map(|(n, t, u)| (n.to_string(), t.value.get(), u, t.flagged)).collect()
    }

    fn complaint(topic: &str, payload: &str) -> String {
        let got = routes().read(topic, payload.as_bytes());
        assert_eq!(got.values, [], "{payload}");
        assert_eq!(got.malformed.len(), 1, "{payload}");
        got.malformed[0].to_string()
    }

    #[test]
    fn all_shapes_of_message() {
        assert_eq!(values("plain", " 21.5\n"), [("plain".into(), 21.5, Unit::DegC, false)]);
        assert_eq!(values("bms/rack", r#"{"data":[{"t":77}]}"#), [("rack".into(), 77.0, Unit::DegF, false)]);
        let frame = r#"{"time":"2026-01-31T12:00:00Z","signals":{
            "inlet":24.5,"load":{"value":900000,"unit":"W","quality":"suspect"},"other":1}}"#;
        assert_eq!(
            values("frame", frame),
            [("inlet".into(), 24.5, Unit::DegC, false), ("load".into(), 900_000.0, Unit::Watt, true)]
        );
        let time = routes().read("frame", frame.as_bytes()).time;
        assert_eq!(time, Some("2026-01-31T12:00:00Z".parse().unwrap()));
        assert_eq!(values("frame", r#"{"signals":{"inlet":null,"load":{"value":null}}}"#), []);
    }

    #[test]
    fn what_is_not_understood_says_what_was_expected() {
        assert_eq!(complaint("plain", "warm"), "message: expected a number, a frame, or JSON, got warm");
        assert_eq!(complaint("plain", "NaN"), "message: expected a number, a frame, or JSON, got NaN");
        assert_eq!(complaint("plain", "\"21\""), "message: expected a number, got \"21\"");
        assert_eq!(complaint("plain", ""), "message: expected a number, a frame, or JSON, got ");
        assert_eq!(complaint("bms/rack", "{}"), "/data/0/t: expected a number, got nothing");
        assert!(complaint("frame", r#"{"inlet":21}"#).contains("a frame with \"signals\""));
        assert!(complaint("frame", r#"{"time":"noon","signals":{"inlet":21}}"#).contains("RFC 3339"));
        assert!(
            complaint("frame", r#"{"signals":{"inlet":{"value":21,"unit":"celsius"}}}"#).contains("unit")
        );
        assert!(complaint("frame", r#"{"signals":{"inlet":{"value":21,"unit":"kW"}}}"#).contains("kW"));
        assert!(complaint("plain", &"x".repeat(10_000)).len() < 150);
    }

    #[test]
    fn one_bad_value_does_not_take_the_others_with_it() {
        let got = routes().read("frame", br#"{"signals":{"inlet":"hot","load":5}}"#);
        assert_eq!(got.values.len(), 1);
        assert_eq!(got.malformed.len(), 1);
    }

    proptest! {
        /// Whatever bytes come in: no panic.
        #[test]
        fn reading_is_total(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for topic in ["plain", "frame", "bms/rack", "unknown"] {
                routes().read(topic, &bytes);
            }
        }

        /// Every number comes out as it went in, once.
        #[test]
        fn a_number_is_read_as_it_was_sent(value in -1e6f64..1e6) {
            let sent = [
                ("plain", format!("{value}")),
                ("frame", serde_json::json!({ "signals": { "inlet": value } }).to_string()),
            ];
            for (topic, payload) in sent {
                let got = routes().read(topic, payload.as_bytes());
                let values: Vec<f64> = got.values.iter().map(|(_, told, _)| told.value.get()).collect();
                prop_assert_eq!(values, vec![value], "{}: {}", topic, payload);
                prop_assert!(got.malformed.is_empty());
            }
        }
    }
}
