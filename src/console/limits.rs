//! The limits that stand beside a value: how far it may go, and by what. Those that move with the weather come with
//! the live state, as `floors`.

use serde::Serialize;

use crate::envelope::watched;
use crate::site::{Role, Signal, Site};
use crate::units::Finite;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Edge {
    Low,
    High,
}

/// One edge that a signal should not pass.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Limit {
    what: &'static str,
    edge: Edge,
    value: Finite,
    /// Beyond it full cooling is in force at once.
    emergency: bool,
}

/// Those of a signal by the site file, nearest first on each side; an edge that two of them share is told once.
pub(super) fn of(site: &Site, s: &Signal) -> Vec<Limit> {
    let e = &site.envelope;
    let is = |role| s.role == Some(role);
    let mut list: Vec<Limit> = Vec::new();
    let mut add = |what, edge, value: Option<Finite>, emergency| {
        let Some(value) = value else { return };
        match list.iter_mut().find(|l| l.edge == edge && l.value == value) {
            Some(same) => same.emergency |= emergency,
            None => list.push(Limit { what, edge, value, emergency }),
        }
    };
    let both = |pair: Option<[Finite; 2]>| (pair.map(|[low, _]| low), pair.map(|[_, high]| high));
    let (low, high) = both(is(Role::ItInlet).then_some(e.inlet_recommended));
    add("recommended", Edge::Low, low, false);
    add("recommended", Edge::High, high, false);
    let (low, high) = both(s.band);
    add("band", Edge::Low, low, false);
    add("band", Edge::High, high, false);
    let (low, _) = both(is(Role::ItInlet).then_some(e.inlet_allowable));
    add("allowable", Edge::Low, low, false);
    for watched in watched(e).into_iter().filter(|w| is(w.role)) {
        add("allowable", Edge::High, Some(watched.limit), true);
    }
    add("minimum", Edge::Low, e.min_flow.get(&s.name).copied(), false);
    add("minimum", Edge::Low, e.min_diff_pressure.get(&s.name).copied(), false);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(site: &str, signal: &str) -> Vec<String> {
        let site = crate::site::shipped(site);
        let signal = site.signal(&signal.parse().unwrap()).unwrap();
        let line = |l: Limit| {
            format!("{} {:?} {}{}", l.what, l.edge, l.value, if l.emergency { " emergency" } else { "" })
        };
        of(&site, signal).into_iter().map(line).collect()
    }

    #[test]
    fn every_limit_of_a_signal_is_told_once() {
        assert_eq!(
            told("air", "hall_a_inlet_max"),
            ["recommended Low 18", "recommended High 27", "allowable Low 15", "allowable High 32 emergency"],
        );
        let liquid = ["band Low 20", "band High 40", "allowable High 45 emergency"];
        assert_eq!(told("liquid", "cdu_supply"), liquid);
        assert_eq!(told("liquid", "gpu_temp_max"), ["allowable High 90 emergency"]);
    }
}
