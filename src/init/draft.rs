//! Signals for all that was found, each with a name of its own.

use std::collections::BTreeSet;

use super::guess::{self, Guess};
use super::listen::{At, Broker, Heard};
use super::registers::{self, Register};
use super::write::Scanned;
use crate::site::Name;

/// Registers that become signals; a scan may find thousands.
const MOST_REGISTERS: usize = 200;

/// A signal that was found.
pub(super) struct Drafted {
    pub(super) name: Name,
    pub(super) origin: Origin,
    pub(super) guess: Guess,
}

/// Where it was found.
pub(super) enum Origin {
    /// At a topic, or an address of Sparkplug's.
    Broker {
        topic: String,
        at: At,
        heard: Heard,
    },
    Register(Register),
}

impl Drafted {
    pub(super) fn heard(&self) -> Option<&Heard> {
        match &self.origin {
            Origin::Broker { heard, .. } => Some(heard),
            Origin::Register(_) => None,
        }
    }

    /// For whoever is asked whether to take it: where from, and what it was.
    pub(super) fn shown(&self) -> (String, String) {
        match &self.origin {
            Origin::Broker { topic, heard, .. } => {
                (topic.clone(), format!("{:>10.2} {:>10.2}", heard.seen.low, heard.seen.high))
            }
            Origin::Register(r) => (
                format!("{} {} {}", r.device, r.table.as_str(), r.address),
                format!("{:>10} {:>10}", r.held[0], r.held[1]),
            ),
        }
    }
}

/// Signals for all that was heard.
pub(super) fn of_broker(heard: Broker, taken: &mut BTreeSet<String>) -> Vec<Drafted> {
    let topics = |edge: bool| {
        let keys = heard.values.keys().filter(move |(_, at)| matches!(at, At::Metric(_)) == edge);
        keys.map(|(topic, _)| topic.as_str()).collect::<BTreeSet<_>>()
    };
    let (common, common_of_nodes) = (common_levels(&topics(false)), common_levels(&topics(true)));
    let mut signals = Vec::new();
    for ((topic, at), heard) in heard.values {
        let own = |common| topic.split('/').skip(common).collect::<Vec<_>>().join("/");
        let wanted = match &at {
            At::Frame(name) => name.to_string(),
            At::Plain => guess::words(&own(common)).join("_"),
            At::Pointer(pointer) => guess::words(&format!("{}/{pointer}", own(common))).join("_"),
            At::Metric(metric) => guess::words(&format!("{}/{metric}", own(common_of_nodes))).join("_"),
        };
        let Some(name) = free_name(&wanted, taken) else { continue };
        let guess = guess::guess(&wanted, heard.unit, heard.seen);
        signals.push(Drafted { name, origin: Origin::Broker { topic, at, heard }, guess });
    }
    signals
}

/// Signals for registers that could be measured; those that somebody has given a meaning are left out.
pub(super) fn of_registers(
    scanned: &[Scanned],
    apart: std::time::Duration,
    given: &[&toml::Table],
    taken: &mut BTreeSet<String>,
) -> Vec<Drafted> {
    let mut signals = Vec::new();
    for Scanned { scan, first, second } in scanned {
        let is_given =
            |address: u16| given.iter().any(|t| is_of(t, scan.name.as_str(), scan.table.as_str(), address));
        for register in registers::plausible(scan, [first, second], apart, is_given) {
            let wanted = format!("{}_{}_{}", scan.name, scan.table.as_str(), register.address);
            let Some(name) = free_name(&wanted.replace('-', "_"), taken) else { continue };
            let guess = register.guess.clone();
            signals.push(Drafted { name, origin: Origin::Register(register), guess });
        }
    }
    signals.truncate(MOST_REGISTERS);
    signals
}

/// Whether an entry of a site file has this register.
fn is_of(entry: &toml::Table, device: &str, table: &str, address: u16) -> bool {
    let points = ["source", "register", "active"].into_iter().filter_map(|key| entry.get(key));
    points.filter_map(toml::Value::as_table).any(|point| {
        let text = |key: &str| point.get(key).and_then(toml::Value::as_str);
        let at = point.get("address").and_then(toml::Value::as_integer);
        text("device") == Some(device)
            && text("table").unwrap_or("holding") == table
            && at == Some(address.into())
    })
}

/// Levels that all topics begin with, which tell them apart in nothing; the last level always tells.
fn common_levels(topics: &BTreeSet<&str>) -> usize {
    let mut levels = topics.iter().map(|t| t.split('/').collect::<Vec<_>>());
    let Some(first) = levels.next() else { return 0 };
    let most = first.len() - 1;
    levels.fold(most, |most, other| {
        first.iter().zip(&other).take(most.min(other.len() - 1)).take_while(|(a, b)| a == b).count()
    })
}

fn free_name(wanted: &str, taken: &mut BTreeSet<String>) -> Option<Name> {
    let letters: String = wanted.chars().filter(char::is_ascii).collect();
    let base =
        if letters.starts_with(|c: char| c.is_ascii_lowercase()) { letters } else { format!("s_{letters}") };
    let base: String = base.chars().take(44).collect();
    let base = base.trim_end_matches('_');
    let name = std::iter::once(base.to_owned())
        .chain((2..1000).map(|n| format!("{base}_{n}")))
        .find(|name| !taken.contains(name))?;
    let name = name.parse::<Name>().ok()?;
    taken.insert(name.to_string());
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_apart() {
        let topics: BTreeSet<&str> = ["site/hall/a/temp", "site/hall/b/temp"].into();
        assert_eq!(common_levels(&topics), 2);
        assert_eq!(common_levels(&BTreeSet::from(["a"])), 0);
        assert_eq!(common_levels(&BTreeSet::from(["a/b", "a"])), 0);
        let mut taken = BTreeSet::new();
        let mut name = |wanted: &str| free_name(wanted, &mut taken).unwrap().to_string();
        assert_eq!(name("a_temp"), "a_temp");
        assert_eq!(name("a_temp"), "a_temp_2");
        assert_eq!(name("3"), "s_3");
        assert_eq!(name("é"), "s");
        assert_eq!(name(&"x".repeat(80)).len(), 44);
    }

    #[test]
    fn a_register_that_has_a_meaning_is_known() {
        let entry: toml::Table =
            "register = { device = \"plc\", address = 2 }\nactive = { device = \"plc\", table = \"input\", address = 3 }"
                .parse()
                .unwrap();
        let known = |table: &str, address| is_of(&entry, "plc", table, address);
        assert!(known("holding", 2) && known("input", 3));
        assert!(!known("input", 2) && !is_of(&entry, "other", "holding", 2));
    }
}
