use jiff::Timestamp;

use super::Bus;
use super::endpoint::{Answer, Ask};
use super::error::{Exception, ModbusError};
use super::plan::{self, Place};
use crate::ingest::{Origin, Reading};
use crate::register;
use crate::site::{Device, Name, Point, Site, Source};
use crate::units::{Finite, Unit};

/// Reads every register a site names, in as few requests as its devices allow.
#[derive(Debug)]
pub struct Poller {
    bus: Bus,
    blocks: Vec<Block>,
}

/// What one poll brought.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Polled {
    /// Signals, and setpoints read back.
    pub readings: Vec<Reading>,
    /// The setpoints in force, from `active` registers.
    pub active: Vec<Reading>,
    /// Whether the plant takes the agent's setpoints, from `link.enable`.
    pub enable: Option<Reading>,
    pub failures: Vec<ReadFailure>,
}

/// A value that could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name}: {error}")]
pub struct ReadFailure {
    pub name: Name,
    pub device: Name,
    pub error: ModbusError,
}

/// One request, and the values in its answer.
#[derive(Debug)]
struct Block {
    device: Name,
    place: Place,
    values: Vec<Value>,
    /// The link's epoch at the last answer: another one means that there was an interruption.
    epoch: Option<u64>,
}

#[derive(Clone, Debug)]
struct Value {
    name: Name,
    point: Point,
    unit: Unit,
    kind: Kind,
    place: Place,
}

/// Whose value it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Named,
    Active,
    Enable,
}

impl Poller {
    #[must_use]
    pub fn new(site: &Site, bus: Bus) -> Self {
        let blocks = site.devices.iter().flat_map(|device| blocks(site, device)).collect();
        Self { bus, blocks }
    }

    /// Asks all devices at once; `now` becomes the time of the readings, which is not later than when
    /// they were taken. Takes as long as the slowest device, bounded by the devices' timeouts.
    pub async fn poll(&mut self, now: Timestamp) -> Polled {
        let mut under_way = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            under_way.push(self.bus.hand_in(&block.device, Ask::Read(block.place)).await);
        }
        let mut polled = Polled::default();
        let mut splits = Vec::new();
        for (index, (block, pending)) in self.blocks.iter_mut().zip(under_way).enumerate() {
            let answer = match pending {
                Ok(pending) => Bus::answer(&block.device, pending).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => block.take(&answer, now, &mut polled),
                // Perhaps one register, or a gap, that the device does not have: the others shall not
                // suffer for it, now or later.
                Err(ModbusError::Refused(Exception::ILLEGAL_ADDRESS)) if block.values.len() > 1 => {
                    let mut singles = block.split();
                    let mut some_are_there = false;
                    for single in &mut singles {
                        match self.bus.ask(&single.device, Ask::Read(single.place)).await {
                            Ok(answer) => {
                                some_are_there = true;
                                single.take(&answer, now, &mut polled);
                            }
                            Err(error) => single.fail(&error, &mut polled),
                        }
                    }
                    // A device that refuses everything is out of order for a while, and as it was afterwards.
                    if some_are_there {
                        splits.push((index, singles));
                    }
                }
                Err(error) => block.fail(&error, &mut polled),
            }
        }
        for (index, singles) in splits.into_iter().rev() {
            self.blocks.splice(index..=index, singles);
        }
        polled
    }
}

impl Block {
    fn split(&self) -> Vec<Self> {
        let single = |value: &Value| Self {
            device: self.device.clone(),
            place: value.place,
            values: vec![value.clone()],
            epoch: self.epoch,
        };
        self.values.iter().map(single).collect()
    }

    fn fail(&self, error: &ModbusError, polled: &mut Polled) {
        polled.failures.extend(self.values.iter().map(|v| self.failed(v, error.clone())));
    }

    fn failed(&self, value: &Value, error: ModbusError) -> ReadFailure {
        ReadFailure { name: value.name.clone(), device: self.device.clone(), error }
    }

    fn take(&mut self, answer: &Answer, now: Timestamp, polled: &mut Polled) {
        let after_reconnect = self.epoch.is_some_and(|e| e != answer.epoch);
        self.epoch = Some(answer.epoch);
        for value in &self.values {
            let from = usize::from(value.place.address - self.place.address);
            let words = answer.words.get(from..from + usize::from(value.place.count)).unwrap_or_default();
            match register::decode(&value.point, words) {
                Ok(number) => value.deliver(number, after_reconnect, now, polled),
                Err(e) => polled.failures.push(self.failed(value, e.into())),
            }
        }
    }
}

impl Value {
    fn deliver(&self, number: Finite, after_reconnect: bool, now: Timestamp, polled: &mut Polled) {
        let wire = self.point.unit.unwrap_or(self.unit);
        let reading = Reading {
            name: self.name.clone(),
            value: number,
            unit: wire,
            time: now,
            received: now,
            origin: Origin { after_reconnect, ..Origin::default() },
        };
        match self.kind {
            Kind::Named => polled.readings.push(reading),
            Kind::Active => polled.active.push(reading),
            Kind::Enable => polled.enable = Some(reading),
        }
    }
}

fn blocks(site: &Site, device: &Device) -> Vec<Block> {
    let value = |name: &Name, point: &Point, unit: Unit, kind: Kind| {
        let address = device.wire_address(point.address)?;
        let place = Place { table: point.table, address, count: point.word_type.registers() };
        (point.device == device.name).then(|| Value {
            name: name.clone(),
            point: point.clone(),
            unit,
            kind,
            place,
        })
    };
    let signals = site.signals.iter().filter_map(|s| match &s.source {
        Source::Modbus(point) => value(&s.name, point, s.unit, Kind::Named),
        Source::Mqtt(_) | Source::Sparkplug(_) => None,
    });
    let registers = site.setpoints.iter().filter_map(|s| value(&s.name, &s.register, s.unit, Kind::Named));
    let active = site
        .setpoints
        .iter()
        .filter_map(|s| s.active.as_ref().and_then(|point| value(&s.name, point, s.unit, Kind::Active)));
    let enable = site.link.enable.as_ref().and_then(|point| {
        let name = "link-enable".parse().ok()?;
        value(&name, point, Unit::Count, Kind::Enable)
    });
    let values: Vec<Value> = signals.chain(registers).chain(active).chain(enable).collect();
    let places: Vec<Place> = values.iter().map(|v| v.place).collect();
    plan::plan(&places, device.max_block, device.max_gap)
        .into_iter()
        .map(|request| Block {
            device: device.name.clone(),
            place: request.place,
            values: request.covers.iter().filter_map(|i| values.get(*i).cloned()).collect(),
            epoch: None,
        })
        .collect()
}
