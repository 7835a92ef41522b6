//! What people call the things of a site. Operators' directives and the model's prose are read with the
//! same words: a signal's or setpoint's own name (with `_`, `-` or spaces), or the usual terms of its role.

use std::collections::{BTreeMap, BTreeSet};

use super::{Name, Role, Site};
use crate::units::Unit;

/// Something that has a value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    Signal(Name),
    Setpoint(Name),
}

impl Subject {
    #[must_use]
    pub fn name(&self) -> &Name {
        match self {
            Self::Signal(n) | Self::Setpoint(n) => n,
        }
    }
}

/// Phrases of a site and what they stand for. A term of a role stands for all that play it.
#[derive(Clone, Debug)]
pub struct Terms {
    /// By first word; longest phrase first.
    phrases: BTreeMap<String, Vec<Meaning>>,
}

/// The words of a phrase, and what they stand for.
type Meaning = (Vec<String>, BTreeSet<Subject>);

impl Terms {
    #[must_use]
    pub fn new(site: &Site) -> Self {
        let mut exact = Phrases::default();
        let mut by_role = Phrases::default();
        for s in &site.signals {
            let subject = Subject::Signal(s.name.clone());
            let name = words(s.name.as_str());
            exact.add(name.clone(), &subject);
            // "Hall A" stands for all whose names begin so.
            for len in 2..name.len() {
                by_role.add(name.iter().take(len).cloned().collect(), &subject);
            }
            for term in s.role.into_iter().flat_map(role_terms) {
                by_role.add(words(term), &subject);
            }
        }
        for s in &site.setpoints {
            let subject = Subject::Setpoint(s.name.clone());
            let name = words(s.name.as_str());
            exact.add(name.clone(), &subject);
            let bare = without_last(&name, &["sp", "setpoint"]);
            let terms = s.role.into_iter().flat_map(role_terms).map(|t| words(t));
            for term in std::iter::once(bare).chain(terms) {
                for suffix in SETPOINT_SUFFIXES {
                    let with_suffix = term.iter().cloned().chain(words(suffix)).collect();
                    by_role.add(with_suffix, &subject);
                }
                by_role.add(term, &subject);
            }
        }
        Self::merged(exact, by_role)
    }

    /// A phrase that is a signal's own name means that signal, not all signals of its role; a setpoint
    /// that shares the term stays meant as well.
    fn merged(exact: Phrases, mut by_role: Phrases) -> Self {
        for (phrase, own) in exact.0 {
            let all = by_role.0.entry(phrase).or_default();
            let signal_named = own.iter().any(|s| matches!(s, Subject::Signal(_)));
            let setpoint_named = own.iter().any(|s| matches!(s, Subject::Setpoint(_)));
            all.retain(|s| match s {
                Subject::Signal(_) => !signal_named && !setpoint_named,
                Subject::Setpoint(_) => !setpoint_named,
            });
            all.extend(own);
        }
        let mut phrases: BTreeMap<String, Vec<Meaning>> = BTreeMap::new();
        for (phrase, subjects) in by_role.0 {
            if let Some(first) = phrase.first() {
                phrases.entry(first.clone()).or_default().push((phrase, subjects));
            }
        }
        for list in phrases.values_mut() {
            list.sort_by_key(|(phrase, _)| std::cmp::Reverse(phrase.len()));
        }
        Self { phrases }
    }

    /// The longest phrase that `words` (lower case) begins with: how many words it takes and what it means.
    #[must_use]
    pub fn find(&self, words: &[&str]) -> Option<(usize, &BTreeSet<Subject>)> {
        let candidates = self.phrases.get(*words.first()?)?;
        candidates
            .iter()
            .find(|(phrase, _)| phrase.len() <= words.len() && phrase.iter().zip(words).all(|(p, w)| p == w))
            .map(|(phrase, subjects)| (phrase.len(), subjects))
    }
}

#[derive(Default)]
struct Phrases(BTreeMap<Vec<String>, BTreeSet<Subject>>);

impl Phrases {
    fn add(&mut self, phrase: Vec<String>, subject: &Subject) {
        if !phrase.is_empty() {
            self.0.entry(phrase).or_default().insert(subject.clone());
        }
    }
}

const SETPOINT_SUFFIXES: [&str; 3] = ["setpoint", "sp", "set point"];

/// The role whose term is the longest in a name of these words (lower case), and that term.
#[must_use]
pub fn role_of(name: &[String]) -> Option<(Role, &'static str)> {
    let in_name = |term: &&str| {
        let term = words(term);
        name.windows(term.len().max(1)).any(|w| w == term)
    };
    Role::ALL
        .into_iter()
        .filter_map(|role| {
            let longest = role_terms(role).iter().filter(|t| in_name(t)).max_by_key(|t| t.len())?;
            Some((role, *longest))
        })
        .max_by_key(|(_, term)| term.len())
}

/// The usual terms of a role in plant rooms.
fn role_terms(role: Role) -> &'static [&'static str] {
    match role {
        Role::ItInlet => &[
            "inlet",
            "inlets",
            "inlet air",
            "inlet temperature",
            "inlet temperatures",
            "IT inlet",
            "IT inlets",
            "rack inlet",
            "rack inlets",
            "server inlet",
            "server inlets",
        ],
        Role::Chws => &[
            "CHWS",
            "chilled water",
            "chilled water supply",
            "chilled water temperature",
            "chilled water supply temperature",
            "CHW supply",
            "CHWS temperature",
        ],
        Role::Chwr => &["CHWR", "chilled water return", "CHW return", "CHWR temperature"],
        Role::CrahSupply => &[
            "CRAH",
            "CRAH supply",
            "CRAH supply air",
            "supply air",
            "air supply",
            "supply air temperature",
            "CRAH supply temperature",
        ],
        Role::LiquidSupply => &[
            "liquid supply",
            "coolant supply",
            "coolant",
            "CDU supply",
            "secondary supply",
            "TCS supply",
            "liquid supply temperature",
            "coolant supply temperature",
            "supply liquid",
        ],
        Role::LiquidReturn => &["liquid return", "coolant return", "CDU return", "secondary return"],
        Role::Bath => &["bath", "tank", "bath temperature", "tank temperature", "fluid", "dielectric"],
        Role::FacilitySupply => &["facility water", "facility supply", "facility water supply"],
        Role::FacilityReturn => &["facility return", "facility water return"],
        Role::ChipTemp => {
            &["chip", "chips", "GPU", "GPUs", "chip temperature", "GPU temperature", "chip temperatures"]
        }
        Role::ItLoad => &["IT load", "load", "IT power", "server load"],
        Role::RoomDryBulb => &["room temperature", "room air", "room dry bulb"],
        Role::RoomHumidity => &["humidity", "relative humidity", "room humidity", "RH"],
        Role::RoomDewPoint => &["dew point", "dewpoint", "room dew point"],
        Role::OutdoorDryBulb => {
            &["outdoor temperature", "outdoor dry bulb", "dry bulb", "ambient", "outdoor air"]
        }
        Role::OutdoorWetBulb => &["wet bulb", "wetbulb", "outdoor wet bulb", "wet bulb temperature"],
        Role::Flow => &["flow", "water flow", "flow rate", "coolant flow"],
        Role::DiffPressure => &[
            "differential pressure",
            "delta P",
            "DP",
            "pressure",
            "pump pressure",
            "pressure drop",
            "pressure difference",
            "diff pressure",
        ],
        Role::FanSpeed => &["fan", "fans", "fan speed"],
        Role::PumpSpeed => &["pump", "pumps", "pump speed"],
        Role::ValvePosition => &["valve", "valves", "valve position"],
        Role::CoolingPower => &["cooling power", "cooling electricity"],
        Role::FacilityPower => &["facility power", "total power"],
        Role::ChillersOn => &["chillers", "chillers on", "chillers running"],
        Role::LoadAhead => &["announced load", "load ahead", "coming load", "scheduled load", "planned load"],
    }
}

/// The units in which a role can be measured; `None` when any will do.
#[must_use]
pub fn role_units(role: Role) -> Option<&'static [Unit]> {
    match role {
        Role::ItInlet
        | Role::Chws
        | Role::Chwr
        | Role::CrahSupply
        | Role::LiquidSupply
        | Role::LiquidReturn
        | Role::Bath
        | Role::FacilitySupply
        | Role::FacilityReturn
        | Role::ChipTemp
        | Role::RoomDryBulb
        | Role::RoomDewPoint
        | Role::OutdoorDryBulb
        | Role::OutdoorWetBulb => Some(&[Unit::DegC]),
        Role::ItLoad | Role::CoolingPower | Role::FacilityPower | Role::LoadAhead => Some(&[Unit::Kilowatt]),
        Role::RoomHumidity => Some(&[Unit::RelativeHumidity]),
        Role::Flow => Some(&[Unit::LitrePerMinute]),
        Role::DiffPressure => Some(&[Unit::KilopascalGauge]),
        Role::ChillersOn => Some(&[Unit::Count]),
        Role::FanSpeed | Role::PumpSpeed | Role::ValvePosition => None,
    }
}

/// Words of a name or term, lower case.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    text.split(['_', '-', ' ']).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
}

fn without_last(words: &[String], last: &[&str]) -> Vec<String> {
    match words.split_last() {
        Some((w, rest)) if !rest.is_empty() && last.contains(&w.as_str()) => rest.to_vec(),
        _ => words.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_win_over_role_terms_and_terms_mean_all_of_their_role() {
        let site = crate::facts::example::site();
        let terms = Terms::new(&site);
        let names = |text: &str| {
            let words: Vec<String> = words(text);
            let refs: Vec<&str> = words.iter().map(String::as_str).collect();
            terms.find(&refs).map(|(n, s)| (n, s.iter().map(|s| s.name().to_string()).collect::<Vec<_>>()))
        };
        let found = |n, list: &[&str]| Some((n, list.iter().map(|s| (*s).to_owned()).collect()));
        assert_eq!(names("hall_a_inlet_max"), found(4, &["hall_a_inlet_max"]));
        assert_eq!(names("hall a inlet rising"), found(3, &["hall_a_inlet_max", "hall_a_inlet_mean"]));
        assert_eq!(names("inlet"), found(1, &["hall_a_inlet_max", "hall_b_inlet_max"]));
        assert_eq!(names("chws"), found(1, &["chws", "chws_sp"]));
        assert_eq!(names("chilled-water setpoint"), found(3, &["chws_sp"]));
        assert_eq!(names("chws_sp"), found(2, &["chws_sp"]));
        assert_eq!(names("wet-bulb"), found(2, &["outdoor_wetbulb"]));
        assert_eq!(names("nothing"), None);
    }
}
