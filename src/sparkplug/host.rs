//! What a host knows of edge nodes: pure. Messages go in; values, deaths and requests come out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::payload::{Metric, Payload};
use super::{BD_SEQ, NAMESPACE, NodeId, REBIRTH};
use crate::units::{Finite, Unit};

/// A node is not asked again for its births sooner than this.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Which metric: the node's own, or one of a device's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MetricId {
    pub device: Option<String>,
    pub name: String,
}

/// What a message leads to.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    Value {
        metric: MetricId,
        value: Sampled,
    },
    /// Nothing of the node, or of one of its devices, is to be believed until the next birth.
    Dead {
        device: Option<String>,
    },
    /// The latest birth of its device names it no more.
    Gone {
        metric: MetricId,
    },
    /// The node has to be asked for its births: something was missed.
    AskRebirth {
        why: &'static str,
    },
}

/// A value as its node gave it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sampled {
    pub value: Finite,
    /// Milliseconds since 1970, where the node says when.
    pub time_ms: Option<u64>,
    /// The node itself does not believe it.
    pub flagged: bool,
}

/// One edge node, as its host sees it.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Since its birth; `None` before, and after its death.
    life: Option<Life>,
    asked: Option<Instant>,
    /// Why births are needed, while they are.
    wants: Option<&'static str>,
    heard: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Life {
    bd_seq: Option<u64>,
    /// Of the last message.
    seq: u64,
    /// What births said of each number.
    aliases: BTreeMap<u64, MetricId>,
    datatypes: BTreeMap<MetricId, u32>,
    units: BTreeMap<MetricId, String>,
    /// Those that live.
    devices: BTreeSet<String>,
    /// The last value of each metric that had one.
    values: BTreeMap<MetricId, Sampled>,
}

/// The parts of a topic below a node's group.
pub(crate) struct Topic<'a> {
    pub(crate) kind: &'a str,
    pub(crate) device: Option<&'a str>,
}

/// The node that a topic is of, if it is one of Sparkplug's.
pub(crate) fn parse(topic: &str) -> Option<(NodeId, Topic<'_>)> {
    let mut parts = topic.split('/');
    let (namespace, group, kind, node) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let device = parts.next();
    let whole = namespace == NAMESPACE && parts.next().is_none();
    whole.then(|| (NodeId { group: group.to_owned(), node: node.to_owned() }, Topic { kind, device }))
}

impl Node {
    pub(crate) fn hear(&mut self, topic: &Topic<'_>, payload: &[u8], now: Instant) -> Vec<Heard> {
        let Ok(payload) = Payload::read(payload) else {
            return self.ask(now, "a payload that is not Sparkplug's");
        };
        match (topic.kind, topic.device) {
            ("NDEATH", None) => return self.node_death(&payload),
            // Commands are others' business, our own requests among them.
            ("NCMD" | "DCMD" | "STATE", _) => return Vec::new(),
            _ => self.heard = Some(now),
        }
        let mut heard = match (topic.kind, topic.device) {
            ("NBIRTH", None) => self.node_birth(&payload),
            ("DBIRTH", Some(device)) => self.device_birth(device, &payload, now),
            ("DDEATH", Some(device)) => self.device_death(device, &payload, now),
            ("NDATA", None) | ("DDATA", Some(_)) => self.data(topic.device, &payload, now),
            _ => Vec::new(),
        };
        if let Some(why) = self.wants {
            heard.extend(self.ask(now, why));
        }
        heard
    }

    /// The values of a node that lives and was heard within `silence`: unchanged is not unknown.
    pub(crate) fn standing(
        &self,
        now: Instant,
        silence: Duration,
    ) -> impl Iterator<Item = (&MetricId, &Sampled)> {
        let alive = self.heard.is_some_and(|at| now - at <= silence);
        self.life.iter().filter(move |_| alive).flat_map(|life| &life.values)
    }

    /// The unit that a metric was born with, in its node's spelling; a boolean is a flag.
    pub(crate) fn unit(&self, metric: &MetricId) -> Option<&str> {
        self.life.as_ref()?.units.get(metric).map(String::as_str)
    }

    /// The connection was lost: what happened meanwhile is not known.
    pub(crate) fn reconnected(&mut self, now: Instant) {
        self.life = None;
        self.asked = Some(now);
    }

    /// Whether births are to be asked for now, where the node itself says nothing that would show it.
    pub(crate) fn asks_again(&mut self, now: Instant) -> bool {
        self.wants.is_some_and(|why| !self.ask(now, why).is_empty())
    }

    /// Until the births come they are asked for, though a request be lost.
    fn ask(&mut self, now: Instant, why: &'static str) -> Vec<Heard> {
        self.wants = Some(why);
        if self.asked.is_some_and(|at| now - at < ASK_EVERY) {
            return Vec::new();
        }
        self.asked = Some(now);
        vec![Heard::AskRebirth { why }]
    }

    fn node_birth(&mut self, payload: &Payload) -> Vec<Heard> {
        let mut life = Life {
            bd_seq: bd_seq(payload),
            seq: payload.seq.unwrap_or(0),
            aliases: BTreeMap::new(),
            datatypes: BTreeMap::new(),
            units: BTreeMap::new(),
            devices: BTreeSet::new(),
            values: BTreeMap::new(),
        };
        let heard = life.born(None, payload);
        self.life = Some(life);
        self.wants = None;
        // What its devices were before this is over.
        std::iter::once(Heard::Dead { device: None }).chain(heard).collect()
    }

    /// Only the death that belongs to this birth counts: the broker may say an older one late.
    fn node_death(&mut self, payload: &Payload) -> Vec<Heard> {
        let ours = self.life.as_ref().is_some_and(|life| life.bd_seq == bd_seq(payload));
        if !ours {
            return Vec::new();
        }
        self.life = None;
        vec![Heard::Dead { device: None }]
    }

    fn device_birth(&mut self, device: &str, payload: &Payload, now: Instant) -> Vec<Heard> {
        let mut heard = self.follow(payload, now);
        if let Some(life) = &mut self.life {
            life.devices.insert(device.to_owned());
            // A birth is all that there is: what it does not name is no more.
            let before = life.forget(device);
            let born = life.born(Some(device), payload);
            let gone = before.into_iter().filter(|id| !life.values.contains_key(id));
            heard.extend(gone.map(|metric| Heard::Gone { metric }));
            heard.extend(born);
        }
        heard
    }

    fn device_death(&mut self, device: &str, payload: &Payload, now: Instant) -> Vec<Heard> {
        let mut heard = self.follow(payload, now);
        if let Some(life) = &mut self.life {
            life.devices.remove(device);
            // Its numbers too: nobody else's message may bring it back to life.
            life.forget(device);
            heard.push(Heard::Dead { device: Some(device.to_owned()) });
        }
        heard
    }

    fn data(&mut self, device: Option<&str>, payload: &Payload, now: Instant) -> Vec<Heard> {
        let mut heard = self.follow(payload, now);
        let Some(life) = &mut self.life else { return heard };
        if device.is_some_and(|d| !life.devices.contains(d)) {
            heard.extend(self.ask(now, "data of a device whose birth was not heard"));
            return heard;
        }
        let (values, unknown) = life.values_of(device, payload);
        heard.extend(values);
        if unknown {
            heard.extend(self.ask(now, "a number that no birth has named"));
        }
        heard
    }

    /// Asks for births where the message is not the one after the last.
    fn follow(&mut self, payload: &Payload, now: Instant) -> Vec<Heard> {
        let Some(life) = &mut self.life else {
            return self.ask(now, "a message of a node whose birth was not heard");
        };
        let expected = (life.seq + 1) % 256;
        let Some(seq) = payload.seq else { return Vec::new() };
        life.seq = seq;
        if seq == expected {
            return Vec::new();
        }
        // Any value may have changed in what was missed: none stands until it is said again.
        life.values.clear();
        self.ask(now, "a message was missed")
    }
}

/// Which of its node's connections a birth or a death is of.
fn bd_seq(payload: &Payload) -> Option<u64> {
    payload.metric(BD_SEQ).and_then(|m| m.number(None)).map(|n| n.get() as u64)
}

impl Life {
    /// Takes out all of a device; gives what had a value.
    fn forget(&mut self, device: &str) -> Vec<MetricId> {
        let other = |id: &MetricId| id.device.as_deref() != Some(device);
        let before = self.values.keys().filter(|id| !other(id)).cloned().collect();
        self.values.retain(|id, _| other(id));
        self.datatypes.retain(|id, _| other(id));
        self.units.retain(|id, _| other(id));
        self.aliases.retain(|_, id| other(id));
        before
    }

    fn born(&mut self, device: Option<&str>, payload: &Payload) -> Vec<Heard> {
        for metric in &payload.metrics {
            let Some(name) = &metric.name else { continue };
            let id = MetricId { device: device.map(str::to_owned), name: name.clone() };
            if let Some(alias) = metric.alias {
                self.aliases.insert(alias, id.clone());
            }
            let unit = if metric.is_boolean() { Some(Unit::Flag.as_str()) } else { metric.unit() };
            if let Some(unit) = unit {
                self.units.insert(id.clone(), unit.to_owned());
            }
            if let Some(datatype) = metric.datatype {
                self.datatypes.insert(id, datatype);
            }
        }
        self.values_of(device, payload).0
    }

    /// Values, and whether there was a number without a name.
    fn values_of(&mut self, device: Option<&str>, payload: &Payload) -> (Vec<Heard>, bool) {
        let mut unknown = false;
        let mut heard = Vec::new();
        for metric in &payload.metrics {
            let id = self.id(device, metric);
            unknown |= id.is_none();
            let Some(id) = id.filter(|id| id.name != BD_SEQ && id.name != REBIRTH) else { continue };
            // What was true once is not what is true now.
            if metric.is_historical == Some(true) {
                continue;
            }
            let Some(value) = metric.number(self.datatypes.get(&id).copied()) else {
                self.values.remove(&id);
                continue;
            };
            let time_ms = metric.timestamp.or(payload.timestamp);
            let value = Sampled { value, time_ms, flagged: metric.is_flagged() };
            self.values.insert(id.clone(), value);
            heard.push(Heard::Value { metric: id, value });
        }
        (heard, unknown)
    }

    fn id(&self, device: Option<&str>, metric: &Metric) -> Option<MetricId> {
        match (&metric.name, metric.alias) {
            (Some(name), _) => Some(MetricId { device: device.map(str::to_owned), name: name.clone() }),
            (None, Some(alias)) => self.aliases.get(&alias).cloned(),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests;
