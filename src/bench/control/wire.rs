//! The plant's registers without sockets: what [`Writer`](crate::actuate::Writer) and
//! [`Poller`](crate::ingest::modbus::Poller) do over Modbus, done to the simulator's register bank.

use isotherm_sim::{Plant, registers};
use jiff::Timestamp;

use super::watch::Watch;
use crate::actuate::{Outcome, WriteResult, Written};
use crate::envelope::{SafeAction, SafeWrite, Words};
use crate::ingest::modbus::Exception;
use crate::ingest::{Origin, Reading};
use crate::register;
use crate::site::Site;
use crate::units::{Finite, Unit};

/// Writes in order, reads each back, and stops at the first that fails.
pub(super) fn apply(plant: &mut Plant, watch: &mut Watch, action: &SafeAction, forced: bool) -> Outcome {
    let mut failed = false;
    let mut writes = Vec::with_capacity(action.writes().len());
    for write in action.writes() {
        let (result, read_back) = if failed {
            (Written::Skipped, None)
        } else {
            watch.see(plant, write.address(), write.words().as_slice(), forced);
            carry_out(plant, write)
        };
        failed |= result != Written::Applied;
        writes.push(WriteResult {
            target: write.target().clone(),
            device: write.device().clone(),
            address: write.address(),
            words: write.words(),
            read_back,
            tries: u32::from(result != Written::Skipped),
            result,
        });
    }
    Outcome { writes, release_needed: failed }
}

fn carry_out(plant: &mut Plant, write: &SafeWrite) -> (Written, Option<Words>) {
    if plant.disturbance().modbus_out {
        return (Written::LinkFailed { why: "the Modbus server is out".to_owned() }, None);
    }
    let words = write.words();
    if let Err(refusal) = registers::write(plant, write.address(), words.as_slice()) {
        let exception = match refusal {
            registers::Refusal::Address => Exception::ILLEGAL_ADDRESS,
            registers::Refusal::Value => Exception::ILLEGAL_VALUE,
        };
        return (Written::Refused { exception }, None);
    }
    let shown = holding(plant, write.address(), words.as_slice().len());
    let read_back = shown.as_deref().and_then(Words::from_slice);
    (if read_back == Some(words) { Written::Applied } else { Written::NotApplied }, read_back)
}

/// What the sensors last gave, as it comes in over MQTT.
pub(in crate::bench) fn sense(plant: &Plant, now: Timestamp) -> Vec<Reading> {
    let reading = |name: &str, unit: &str, value: f64| {
        Some(Reading {
            name: name.parse().ok()?,
            value: Finite::new(value)?,
            unit: unit.parse::<Unit>().ok()?,
            time: now,
            received: now,
            origin: Origin { timed: true, ..Origin::default() },
        })
    };
    plant.sensors().into_iter().filter_map(|(spec, value)| reading(spec.name, spec.unit, value?)).collect()
}

/// The setpoints as their registers show them; `None` when nothing answers.
pub(in crate::bench) fn poll(plant: &Plant, site: &Site, now: Timestamp) -> Option<Vec<Reading>> {
    if plant.disturbance().modbus_out {
        return None;
    }
    let read = |s: &crate::site::Setpoint| {
        let point = &s.register;
        let address = site.device(&point.device)?.wire_address(point.address)?;
        let words = holding(plant, address, usize::from(point.word_type.registers()))?;
        Some(Reading {
            name: s.name.clone(),
            value: register::decode(point, &words).ok()?,
            unit: point.unit.unwrap_or(s.unit),
            time: now,
            received: now,
            origin: Origin::default(),
        })
    };
    Some(site.setpoints.iter().filter_map(read).collect())
}

fn holding(plant: &Plant, address: u16, count: usize) -> Option<Vec<u16>> {
    registers::slice(&registers::holding_image(plant), address, u16::try_from(count).ok()?).ok()
}
