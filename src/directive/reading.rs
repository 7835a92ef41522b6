//! What a directive may mean: the readings among which the model chooses.
//!
//! A reply under an order begins with how the order was read, in one wording for each meaning, so that an operator
//! sees it. What was read then binds what is set: the schema leaves only values that keep it, and where a model is
//! not held to a schema, a reply that says how it read an order and does not keep that is not true. A reading narrows
//! proposals and nothing else; the guard enforces what its own reader is sure of. Where several directives are in
//! force, a reply says one of their readings.

use std::fmt::{self, Display};

use super::Limit;
use crate::facts::{Facts, SetpointFacts, Side};
use crate::prose::{self, Kind, Number};
use crate::site::{Cools, Name, Role};
use crate::units::Finite;

/// How a reply under an order begins.
pub const HEADING: &str = "Order: ";
/// What ends that.
pub const HEADING_END: char = ';';

/// With a margin under this, K, a limit is near enough to cool although few moves are preferred.
pub(crate) const STABILITY_K: f64 = 1.0;
/// The margin wanted where more is asked for.
pub(crate) const EXTRA_K: f64 = 2.0;

/// Numbers of a text that a setpoint could take, at most; a text with more of them gives no value to keep to.
const MOST_VALUES: usize = 4;

/// One meaning; it is said by its `Display`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reading {
    Floor(Name, Finite),
    Ceiling(Name, Finite),
    Value(Name, Finite),
    Range(Name, Finite, Finite),
    Leave(Name),
    LeaveAll,
    Test,
    NoColder,
    NoWarmer,
    /// Pumps and fans no faster.
    Quiet,
    /// The water no colder: its plant is being worked on.
    SpareWater,
    SafeValues,
    FewMoves,
    Economy,
    MoreMargin,
    Prepare,
    OneMove,
    /// Nothing that bears on the setpoints.
    Nothing,
}

impl Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Floor(name, at) => write!(f, "floor {at} for {name}"),
            Self::Ceiling(name, at) => write!(f, "ceiling {at} for {name}"),
            Self::Value(name, at) => write!(f, "value {at} for {name}"),
            Self::Range(name, low, high) => write!(f, "range {low} to {high} for {name}"),
            Self::Leave(name) => write!(f, "leave {name}"),
            Self::LeaveAll => f.write_str("leave all"),
            Self::Test => f.write_str("a test, leave all"),
            Self::NoColder => f.write_str("no colder"),
            Self::NoWarmer => f.write_str("no warmer"),
            Self::Quiet => f.write_str("quiet pumps and fans"),
            Self::SpareWater => f.write_str("spare the water plant"),
            Self::SafeValues => f.write_str("safe values"),
            Self::FewMoves => f.write_str("few moves"),
            Self::Economy => f.write_str("economy"),
            Self::MoreMargin => f.write_str("more margin"),
            Self::Prepare => f.write_str("prepare for load"),
            Self::OneMove => f.write_str("one move each time"),
            Self::Nothing => f.write_str("nothing for the setpoints"),
        }
    }
}

fn hold(s: &SetpointFacts) -> Limit {
    Limit { setpoint: s.name.clone(), floor: None, ceiling: None, hold: true, until: None }
}

fn bound(s: &SetpointFacts, floor: Option<Finite>, ceiling: Option<Finite>) -> Limit {
    Limit { setpoint: s.name.clone(), floor, ceiling, hold: false, until: None }
}

/// Not to cool more, or less, than now.
fn no_further(s: &SetpointFacts, colder: bool) -> Option<Limit> {
    let at = s.present?;
    Some(if (s.cools == Cools::Down) == colder { bound(s, Some(at), None) } else { bound(s, None, Some(at)) })
}

pub(crate) fn is_fan_or_pump(cools: Cools) -> bool {
    cools == Cools::Up
}

pub(crate) fn is_water(cools: Cools, role: Option<Role>) -> bool {
    cools == Cools::Down && matches!(role, Some(Role::Chws | Role::FacilitySupply))
}

/// What an assessment says of its order, and the rest; `None` where it says nothing of one.
pub(crate) fn split_heading(assessment: &str) -> Option<(&str, &str)> {
    assessment.strip_prefix(HEADING)?.split_once(HEADING_END)
}

impl Reading {
    /// How a reply that reads it so begins.
    #[must_use]
    pub fn heading(&self) -> String {
        format!("{HEADING}{self}")
    }

    /// What it asks of the setpoints outright. Words like "no colder" speak of what is in force.
    #[must_use]
    pub(crate) fn limits(&self, facts: &Facts) -> Vec<Limit> {
        let all = &facts.setpoints;
        let own = |name: &Name, limit: &dyn Fn(&SetpointFacts) -> Limit| -> Vec<Limit> {
            facts.setpoint(name).map(limit).into_iter().collect()
        };
        let no_further = |which: fn(&SetpointFacts) -> bool, colder: bool| -> Vec<Limit> {
            all.iter().filter(|s| which(s)).filter_map(|s| no_further(s, colder)).collect()
        };
        match self {
            Self::Floor(name, at) => own(name, &|s| bound(s, Some(*at), None)),
            Self::Ceiling(name, at) => own(name, &|s| bound(s, None, Some(*at))),
            Self::Value(name, at) => own(name, &|s| bound(s, Some(*at), Some(*at))),
            Self::Range(name, low, high) => own(name, &|s| bound(s, Some(*low), Some(*high))),
            Self::Leave(name) => own(name, &hold),
            Self::LeaveAll | Self::Test => all.iter().map(hold).collect(),
            Self::NoColder => no_further(|_| true, true),
            Self::NoWarmer => no_further(|_| true, false),
            Self::Quiet => no_further(|s| is_fan_or_pump(s.cools), true),
            Self::SpareWater => no_further(|s| is_water(s.cools, s.role), true),
            Self::SafeValues => all.iter().map(|s| bound(s, Some(s.safe), Some(s.safe))).collect(),
            Self::FewMoves
            | Self::Economy
            | Self::MoreMargin
            | Self::Prepare
            | Self::OneMove
            | Self::Nothing => Vec::new(),
        }
    }

    /// The ways to keep it, each a set of limits: most have one. Those that ask for a manner bind by how near a limit
    /// is now.
    #[must_use]
    pub(crate) fn ways(&self, facts: &Facts) -> Vec<Vec<Limit>> {
        let under = |k: f64| margin_to_the_top(facts).is_some_and(|m| m.get() < k);
        match self {
            Self::FewMoves if !under(STABILITY_K) => vec![Self::LeaveAll.limits(facts)],
            Self::FewMoves | Self::Prepare => vec![Self::NoWarmer.limits(facts)],
            Self::MoreMargin if under(EXTRA_K + 1.0) => vec![Self::NoWarmer.limits(facts)],
            Self::OneMove => {
                let others = |free: &SetpointFacts| {
                    facts.setpoints.iter().filter(|s| s.name != free.name).map(hold).collect()
                };
                facts.setpoints.iter().map(others).collect()
            }
            Self::Floor(..)
            | Self::Ceiling(..)
            | Self::Value(..)
            | Self::Range(..)
            | Self::Leave(_)
            | Self::LeaveAll
            | Self::Test
            | Self::NoColder
            | Self::NoWarmer
            | Self::Quiet
            | Self::SpareWater
            | Self::SafeValues
            | Self::Economy
            | Self::MoreMargin
            | Self::Nothing => vec![self.limits(facts)],
        }
    }
}

/// The least margin, where it is one to an upper limit: what the prompt's `margin` line shows.
pub(crate) fn margin_to_the_top(facts: &Facts) -> Option<Finite> {
    facts.tightest().filter(|(_, bound, _)| bound.side == Side::High).map(|(.., m)| m)
}

/// Every reading that a text can have on a site with these setpoints. Of a value only those that the text gives.
#[must_use]
pub(crate) fn readings(text: &str, setpoints: &[SetpointFacts]) -> Vec<Reading> {
    // A range is written "20..22" too.
    let tokens = prose::read(&text.replace("..", " to "));
    let numbers: Vec<Number> =
        tokens.iter().filter_map(|t| if let Kind::Number(n) = &t.kind { Some(*n) } else { None }).collect();
    let mut found = vec![
        Reading::LeaveAll,
        Reading::Test,
        Reading::NoColder,
        Reading::NoWarmer,
        Reading::SafeValues,
        Reading::FewMoves,
        Reading::Economy,
        Reading::MoreMargin,
        Reading::Prepare,
        Reading::OneMove,
        Reading::Nothing,
    ];
    found.extend(setpoints.iter().any(|s| is_fan_or_pump(s.cools)).then_some(Reading::Quiet));
    found.extend(setpoints.iter().any(|s| is_water(s.cools, s.role)).then_some(Reading::SpareWater));
    for s in setpoints {
        let name = || s.name.clone();
        found.push(Reading::Leave(name()));
        let mut values: Vec<Finite> = numbers
            .iter()
            .filter_map(|n| Some(Finite::new(n.as_level(s.unit)?)?.rounded(3)))
            .filter(|v| (s.min..=s.max).contains(v))
            .collect();
        values.sort_unstable();
        values.dedup();
        if values.len() > MOST_VALUES {
            continue;
        }
        for (n, at) in values.iter().enumerate() {
            found.extend([
                Reading::Floor(name(), *at),
                Reading::Ceiling(name(), *at),
                Reading::Value(name(), *at),
            ]);
            let higher = values.iter().skip(n + 1);
            found.extend(higher.map(|high| Reading::Range(name(), *at, *high)));
        }
    }
    found
}
