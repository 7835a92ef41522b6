//! What a broker carries: which numbers, how often, and between what bounds. No I/O: messages go in.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::guess::Seen;
use crate::ingest::mqtt::Message;
use crate::site::Name;
use crate::units::{Finite, Unit};

/// More values than a person will look through.
const MOST: usize = 1000;
/// How deep numbers are looked for in JSON.
const DEPTH: usize = 6;
/// Keys that count or date a message.
const NOT_MEASURED: [&str; 8] = ["time", "timestamp", "ts", "seq", "sequence", "id", "version", "uptime"];

/// Where in a message a number is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum At {
    /// The whole payload.
    Plain,
    /// A signal of an Isotherm frame.
    Frame(Name),
    Pointer(String),
}

/// One number of one topic.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Heard {
    /// As the source gives it.
    pub(super) unit: Option<Unit>,
    pub(super) seen: Seen,
    pub(super) messages: u32,
    /// Of which the broker had kept from earlier.
    pub(super) retained: u32,
    first: Duration,
    last: Duration,
    value: f64,
}

impl Heard {
    /// The mean time between two messages.
    pub(super) fn every(&self) -> Option<Duration> {
        let live = self.messages.checked_sub(self.retained)?.checked_sub(1).filter(|n| *n > 0)?;
        Some(self.last.saturating_sub(self.first) / live)
    }

    fn next(&mut self, value: f64, message: &Message<'_>) {
        self.messages += 1;
        self.retained += u32::from(message.retained);
        let minutes = message.at.saturating_sub(self.last).as_secs_f64() / 60.0;
        // Two messages in one instant say nothing of a rate.
        if minutes > 1.0 / 600.0 {
            self.seen.fastest = self.seen.fastest.max((value - self.value).abs() / minutes);
        }
        self.seen.low = self.seen.low.min(value);
        self.seen.high = self.seen.high.max(value);
        (self.value, self.last) = (value, message.at);
    }
}

/// All that was heard.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) values: BTreeMap<(String, At), Heard>,
    /// Topics on which nothing was a number, and how many messages they had.
    pub(super) other: BTreeMap<String, u32>,
    /// Values beyond the most that are kept.
    pub(super) left_out: bool,
}

impl Broker {
    pub(super) fn hear(&mut self, message: Message<'_>) {
        // What agents say of themselves is no measurement.
        if message.topic.starts_with("isotherm/") {
            return;
        }
        let mut numbers = Vec::new();
        if let Ok(json) = serde_json::from_slice::<Value>(message.payload) {
            match json.get("signals").and_then(Value::as_object) {
                Some(signals) => {
                    for (key, value) in signals {
                        match key.parse::<Name>() {
                            Ok(name) => {
                                let found = number(value).map(|(v, unit)| (At::Frame(name), v, unit));
                                numbers.extend(found);
                            }
                            Err(_) => walk(value, &format!("/signals/{}", escaped(key)), 2, &mut numbers),
                        }
                    }
                }
                None => walk(&json, "", 0, &mut numbers),
            }
        }
        if numbers.is_empty() {
            *self.other.entry(message.topic.to_owned()).or_default() += 1;
        }
        for (at, value, unit) in numbers {
            let key = (message.topic.to_owned(), at);
            if let Some(heard) = self.values.get_mut(&key) {
                heard.unit = heard.unit.or(unit);
                heard.next(value, &message);
            } else if self.values.len() < MOST {
                let heard = Heard {
                    unit,
                    seen: Seen { low: value, high: value, fastest: 0.0 },
                    messages: 1,
                    retained: u32::from(message.retained),
                    first: message.at,
                    last: message.at,
                    value,
                };
                self.values.insert(key, heard);
            } else {
                self.left_out = true;
            }
        }
    }
}

/// A number, bare or as `{"value": …, "unit": …}`.
fn number(value: &Value) -> Option<(f64, Option<Unit>)> {
    let bare = value.get("value").unwrap_or(value).as_f64().and_then(Finite::new)?;
    let unit = value.get("unit").and_then(Value::as_str).and_then(|u| u.parse().ok());
    Some((bare.get(), unit))
}

fn walk(value: &Value, pointer: &str, depth: usize, out: &mut Vec<(At, f64, Option<Unit>)>) {
    if let Some((v, unit)) = number(value) {
        let at = if pointer.is_empty() { At::Plain } else { At::Pointer(pointer.to_owned()) };
        out.push((at, v, unit));
        return;
    }
    if depth == DEPTH {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(k, _)| !is_not_measured(k)) {
                walk(value, &format!("{pointer}/{}", escaped(key)), depth + 1, out);
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                walk(value, &format!("{pointer}/{i}"), depth + 1, out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_not_measured(key: &str) -> bool {
    NOT_MEASURED.contains(&key.to_lowercase().as_str())
}

/// A key as a JSON pointer has it.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(messages: &[(&str, &str, u64)]) -> Broker {
        let mut broker = Broker::default();
        for (topic, payload, s) in messages {
            let at = Duration::from_secs(*s);
            broker.hear(Message { topic, payload: payload.as_bytes(), retained: false, at });
        }
        broker
    }

    #[test]
    fn finds_numbers_wherever_they_are() {
        let broker = hear(&[
            ("a", "21.5", 0),
            ("b", r#"{"ts": 5, "rack": [{"t": 77, "on": true}], "p": {"value": 3, "unit": "kW"}}"#, 0),
            ("c", r#"{"time":"x","signals":{"chws":{"value":7,"unit":"degC"},"Hall A":9}}"#, 0),
            ("d", "offline", 0),
            ("isotherm/x/ack", "5", 0),
        ]);
        let keys: Vec<_> = broker.values.keys().map(|(t, at)| (t.as_str(), at.clone())).collect();
        let pointer = |p: &str| At::Pointer(p.to_owned());
        assert_eq!(
            keys,
            [
                ("a", At::Plain),
                ("b", pointer("/p")),
                ("b", pointer("/rack/0/t")),
                ("c", At::Frame("chws".parse().unwrap())),
                ("c", pointer("/signals/Hall A")),
            ]
        );
        assert_eq!(broker.values[&("b".to_owned(), pointer("/p"))].unit, Some(Unit::Kilowatt));
        assert_eq!(broker.other, BTreeMap::from([("d".to_owned(), 1)]));
    }

    #[test]
    fn rates_and_bounds() {
        let broker = hear(&[("a", "20", 0), ("a", "22", 30), ("a", "19", 60), ("a", "20", 90)]);
        let heard = &broker.values[&("a".to_owned(), At::Plain)];
        assert_eq!(heard.seen, Seen { low: 19.0, high: 22.0, fastest: 6.0 });
        assert_eq!(heard.every(), Some(Duration::from_secs(30)));
        assert_eq!(hear(&[("a", "1", 0)]).values[&("a".to_owned(), At::Plain)].every(), None);
    }
}
