//! What a broker carries: which numbers, how often, and between what bounds. No I/O: messages go in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::guess::{self, Seen};
use crate::ingest::mqtt::Message;
use crate::site::Name;
use crate::sparkplug::NodeId;
use crate::sparkplug::host::{self, Node};
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
    /// A metric of the Sparkplug node or device that stands in place of the topic.
    Metric(String),
}

/// Metrics that are orders, not values.
const ORDERS: [&str; 2] = ["Node Control/", "Device Control/"];

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
#[derive(Debug)]
pub(super) struct Broker {
    began: Instant,
    nodes: BTreeMap<NodeId, Node>,
    /// Nodes that said what only a birth, which was not heard, explains.
    pub(super) unborn: BTreeSet<NodeId>,
    pub(super) values: BTreeMap<(String, At), Heard>,
    /// Topics on which nothing was a number, and how many messages they had.
    pub(super) other: BTreeMap<String, u32>,
    /// Values beyond the most that are kept.
    pub(super) left_out: bool,
}

impl Broker {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            nodes: BTreeMap::new(),
            unborn: BTreeSet::new(),
            values: BTreeMap::new(),
            other: BTreeMap::new(),
            left_out: false,
        }
    }

    /// Gives the node that would have to be asked for its births.
    pub(super) fn hear(&mut self, message: Message<'_>) -> Option<NodeId> {
        // What agents say of themselves is no measurement.
        if message.topic.starts_with("isotherm/") {
            return None;
        }
        if let Some((id, topic)) = host::parse(message.topic) {
            return self.hear_node(id, &topic, &message);
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
            self.keep(message.topic.to_owned(), at, value, unit, &message);
        }
        None
    }

    /// A birth says what a node measures; what follows says it by number alone.
    fn hear_node(&mut self, id: NodeId, topic: &host::Topic<'_>, message: &Message<'_>) -> Option<NodeId> {
        if topic.kind.ends_with("CMD") {
            return None;
        }
        let node = self.nodes.entry(id.clone()).or_default();
        let heard = node.hear(topic, message.payload, self.began + message.at);
        let mut found = Vec::new();
        let mut asks = false;
        for heard in heard {
            match heard {
                host::Heard::Value { metric, value } if !value.flagged => {
                    let unit = node.unit(&metric).and_then(guess::unit_of);
                    found.push((metric, value.value.get(), unit));
                }
                host::Heard::AskRebirth { .. } => asks = true,
                host::Heard::Value { .. } | host::Heard::Dead { .. } | host::Heard::Gone { .. } => {}
            }
        }
        for (metric, value, unit) in found {
            if ORDERS.iter().any(|order| metric.name.starts_with(order)) {
                continue;
            }
            let device = metric.device.map(|device| format!("/{device}")).unwrap_or_default();
            let address = format!("{}/{}{device}", id.group, id.node);
            self.keep(address, At::Metric(metric.name), value, unit, message);
        }
        if asks {
            self.unborn.insert(id.clone());
        } else if topic.kind == "NBIRTH" {
            self.unborn.remove(&id);
        }
        asks.then_some(id)
    }

    fn keep(&mut self, origin: String, at: At, value: f64, unit: Option<Unit>, message: &Message<'_>) {
        let key = (origin, at);
        if let Some(heard) = self.values.get_mut(&key) {
            heard.unit = heard.unit.or(unit);
            heard.next(value, message);
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

/// A number, bare or as `{"value": …, "unit": …}`.
fn number(value: &Value) -> Option<(f64, Option<Unit>)> {
    let bare = value.get("value").unwrap_or(value).as_f64().and_then(Finite::new)?;
    let unit = value.get("unit").and_then(Value::as_str).and_then(guess::unit_of);
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
    use crate::sparkplug::{Metric, Payload, Value as Number};

    fn hear(messages: &[(&str, &str, u64)]) -> Broker {
        let mut broker = Broker::new(Instant::now());
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
    fn edge_nodes_are_known_by_their_births() {
        let mut broker = Broker::new(Instant::now());
        let mut say = |kind: &str, seq, metrics: Vec<Metric>| {
            let payload = Payload { timestamp: Some(1), metrics, seq: Some(seq) }.to_bytes();
            let topic = format!("spBv1.0/dc/{kind}/edge");
            broker.hear(Message { topic: &topic, payload: &payload, retained: false, at: Duration::ZERO })
        };
        let pump = Metric { alias: Some(7), ..Metric::named("Pump/Speed", Number::Double(40.0), 1) };
        let later = Metric { name: None, ..Metric { value: Some(Number::Double(55.0)), ..pump.clone() } };
        assert!(say("NDATA", 5, vec![later.clone()]).is_some(), "to be asked for its births");
        let reboot = Metric::named("Node Control/Reboot", Number::Boolean(false), 1);
        assert_eq!(say("NBIRTH", 0, vec![reboot, pump.with_unit("percent")]), None);
        assert_eq!(say("NDATA", 1, vec![later]), None);
        let [((address, at), heard)] = &broker.values.iter().collect::<Vec<_>>()[..] else {
            panic!("{broker:?}")
        };
        assert_eq!((address.as_str(), at), ("dc/edge", &At::Metric("Pump/Speed".to_owned())));
        assert_eq!(heard.unit, Some(Unit::Percent));
        assert_eq!(heard.seen, Seen { low: 40.0, high: 55.0, fastest: 0.0 });
        assert!(broker.unborn.is_empty() && broker.other.is_empty(), "{broker:?}");
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
