//! How cold a liquid may be by now: limits that move with the air in the room and the water outside, for whoever shows
//! them.

use serde::Serialize;

use super::alarm::coldest_supply;
use super::seen::dew;
use super::verdict::Rule;
use crate::frame::Frame;
use crate::site::{Name, Role, Site};
use crate::units::Finite;

/// The lowest that a signal or setpoint may be by one rule.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Floor {
    /// Of a signal or a setpoint.
    pub name: Name,
    pub rule: Rule,
    /// `None`: what it follows from is not known.
    pub limit: Option<Finite>,
}

/// What holds for liquids by this frame: dew point plus margin in the white space, and what an exchanger can hold
/// above the facility water.
#[must_use]
pub fn floors(site: &Site, frame: &Frame) -> Vec<Floor> {
    let wet = dew(site, frame).floor;
    let water = site.with_role(Role::FacilitySupply).next().is_some();
    let mut list = Vec::new();
    for p in &site.setpoints {
        let measured = site.signals.iter().filter(|s| p.role.is_some() && s.role == p.role);
        let names = || std::iter::once(&p.name).chain(measured.clone().map(|s| &s.name));
        let mut add = |rule, limit| {
            list.extend(names().map(|name| Floor { name: name.clone(), rule, limit }));
        };
        if site.in_white_space(p) {
            add(Rule::Condensation, wet);
        }
        if site.envelope.min_approach.is_some() && p.role == Some(Role::LiquidSupply) && water {
            add(Rule::Approach, coldest_supply(site, frame, p));
        }
    }
    list
}
