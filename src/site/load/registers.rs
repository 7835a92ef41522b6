//! Where values live: points that exist, hold what they must and do not overlap.

use std::collections::BTreeMap;

use super::check::Checker;
use crate::register;
use crate::site::Site;
use crate::site::source::{Point, Table, WordType};
use crate::units::{Finite, Unit};

impl Checker<'_> {
    pub(super) fn point(&mut self, site: &Site, name: &str, field: &str, p: &Point, unit: Unit) {
        if site.device(&p.device).is_none() {
            let known = site.devices.iter().map(|d| d.name.as_str()).collect::<Vec<_>>().join(", ");
            self.at(
                name,
                format!("{field}.device"),
                format!("no [[device]] named \"{}\" (there are: {known})", p.device),
            );
        }
        if let Some(device) = site.device(&p.device)
            && device.wire_address(p.address).is_none()
        {
            self.at(
                name,
                format!("{field}.address"),
                format!(
                    "is {}, but the addresses of device \"{}\" start at {} (address_base)",
                    p.address, p.device, device.address_base
                ),
            );
        }
        if p.scale == Finite::ZERO {
            self.at(name, format!("{field}.scale"), "expected anything but 0");
        }
        let bits = matches!(p.table, Table::Coil | Table::Discrete);
        if bits != (p.word_type == WordType::Bit) {
            self.at(
                name,
                format!("{field}.type"),
                "\"bit\" goes with the tables coil and discrete, the other types with holding and input",
            );
        }
        self.convertible(name, &format!("{field}.unit"), p.unit, unit);
    }

    pub(super) fn convertible(&mut self, name: &str, field: &str, wire: Option<Unit>, unit: Unit) {
        if let Some(wire) = wire
            && wire.convert(Finite::ZERO, unit).is_none()
        {
            self.at(name, field.to_owned(), format!("{wire} cannot be expressed in {unit}"));
        }
    }

    /// Two written points must not share a register, and no point may cut another in half.
    pub(super) fn registers(&mut self, site: &Site) {
        let mut written: BTreeMap<(&str, u16), String> = BTreeMap::new();
        let setpoints = site.setpoints.iter().map(|s| (s.name.as_str().to_owned(), &s.register));
        let link = [("link.enable", &site.link.enable), ("link.heartbeat", &site.link.heartbeat)];
        let links = link.iter().filter_map(|(n, p)| p.as_ref().map(|p| ((*n).to_owned(), p)));
        for (name, point) in setpoints.chain(links) {
            for word in 0..point.word_type.registers() {
                let Some(address) = point.address.checked_add(word) else {
                    self.at(&name, format!("{name}: register.address"), "the value runs past register 65535");
                    break;
                };
                if let Some(other) = written.insert((point.device.as_str(), address), name.clone()) {
                    self.at(
                        &name,
                        format!("\"{name}\": register"),
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
