//! Where values live: points that exist, hold what they must and do not overlap.

use std::collections::BTreeMap;

use super::check::Checker;
use super::spot::Spot;
use crate::register;
use crate::site::source::{Point, Table, WordType};
use crate::site::{Setpoint, Site};
use crate::units::{Finite, Unit};

impl Checker {
    pub(super) fn point(&mut self, site: &Site, of: &Spot, p: &Point, unit: Unit) {
        if site.device(&p.device).is_none() {
            let known = site.devices.iter().map(|d| d.name.as_str()).collect::<Vec<_>>().join(", ");
            self.say(of.at("device"), format!("no [[device]] named \"{}\" (there are: {known})", p.device));
        }
        if let Some(device) = site.device(&p.device)
            && device.wire_address(p.address).is_none()
        {
            self.say(
                of.at("address"),
                format!(
                    "is {}, but the addresses of device \"{}\" start at {} (address_base)",
                    p.address, p.device, device.address_base
                ),
            );
        }
        if p.scale == Finite::ZERO {
            self.say(of.at("scale"), "expected anything but 0");
        }
        let bits = matches!(p.table, Table::Coil | Table::Discrete);
        if bits != (p.word_type == WordType::Bit) {
            self.say(
                of.at("type"),
                "\"bit\" goes with the tables coil and discrete, the other types with holding and input",
            );
        }
        self.convertible(of.at("unit"), p.unit, unit);
    }

    /// A setpoint's range is one that its device takes.
    pub(super) fn taken(&mut self, of: &Spot, s: &Setpoint) {
        let Some([least, most]) = s.register.takes else { return };
        let wire = s.register.unit.unwrap_or(s.unit);
        if least >= most {
            self.say(of.at("register.takes"), format!("expected the least first, got {least} and {most}"));
        }
        for (label, value) in [("min", s.min), ("max", s.max)] {
            if let Some(raw) = s.unit.convert(value, wire)
                && !(least..=most).contains(&raw)
            {
                self.say(
                    of.at(label),
                    format!(
                        "the device takes {least} to {most} {wire} there, and {value} {} is {raw} {wire}",
                        s.unit
                    ),
                );
            }
        }
    }

    pub(super) fn convertible(&mut self, of: Spot, wire: Option<Unit>, unit: Unit) {
        if let Some(wire) = wire
            && wire.convert(Finite::ZERO, unit).is_none()
        {
            self.say(of, format!("{wire} cannot be expressed in {unit}"));
        }
    }

    /// Two written points must not share a register, and no point may cut another in half.
    pub(super) fn registers(&mut self, site: &Site) {
        let mut written: BTreeMap<(&str, u16), &str> = BTreeMap::new();
        let link = [("link.enable", &site.link.enable), ("link.heartbeat", &site.link.heartbeat)];
        let setpoints =
            site.setpoints.iter().enumerate().map(|(i, s)| {
                (s.name.as_str(), Spot::entry("setpoint", i, &s.name).at("register"), &s.register)
            });
        let links = link.iter().filter_map(|(key, p)| p.as_ref().map(|p| (*key, Spot::key(key), p)));
        for (name, of, point) in setpoints.chain(links) {
            for word in 0..point.word_type.registers() {
                let Some(address) = point.address.checked_add(word) else {
                    self.say(of.at("address"), "the value runs past register 65535");
                    break;
                };
                if let Some(other) = written.insert((point.device.as_str(), address), name) {
                    self.say(
                        of,
                        format!("overlaps \"{other}\" at address {address} of device \"{}\": each written value needs its own register", point.device),
                    );
                    break;
                }
            }
        }
        for (label, point) in link {
            if let Some(p) = point
                && (p.table != Table::Holding || site.device(&p.device).is_none())
            {
                self.top(label, "expected a holding register of a known device");
            } else if let Some(p) = point
                && !holds_a_flag(site, p)
            {
                self.top(
                    label,
                    "expected a register that can hold 0 and 1: check type, scale, offset, unit and address",
                );
            }
        }
    }
}

/// Whether taking and releasing control can be told apart in a register.
fn holds_a_flag(site: &Site, p: &Point) -> bool {
    let survives = |v: Finite| {
        register::encode(p, Unit::Count, v).is_ok_and(|w| register::decode(p, w.as_slice()) == Ok(v))
    };
    let addressed = site.device(&p.device).is_some_and(|d| d.wire_address(p.address).is_some());
    addressed && survives(Finite::ZERO) && survives(Finite::constant(1.0))
}
