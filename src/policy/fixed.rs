//! Constant setpoints, as commissioned: what the plant itself held when it was first seen.
//!
//! The baseline of every comparison. An emergency, an operator or a limit may move a setpoint; afterwards
//! it is put back.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Policy, Seen};
use crate::frame::Frame;
use crate::site::{Name, Site};
use crate::units::Finite;

#[derive(Clone, Debug)]
pub(super) struct Fixed {
    wanted: Vec<Name>,
    commissioned: BTreeMap<Name, Finite>,
}

impl Fixed {
    pub(super) fn new(site: &Site) -> Self {
        let wanted = site.setpoints.iter().map(|s| s.name.clone()).collect();
        Self { wanted, commissioned: BTreeMap::new() }
    }
}

impl Policy for Fixed {
    fn observe(&mut self, frame: &Frame) {
        self.wanted.retain(|name| {
            let found = frame.good(name);
            self.commissioned.extend(found.map(|value| (name.clone(), value)));
            found.is_none()
        });
    }

    fn stand_by(&mut self) {}

    fn propose(&mut self, _: Timestamp, _: &Seen<'_>) -> Option<BTreeMap<Name, Finite>> {
        Some(self.commissioned.clone())
    }
}
