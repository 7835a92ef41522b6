//! A rationale is evidence only if it is true: finds what a decision claims, and checks it against the
//! [`Facts`] that the model was shown.
//!
//! Checked are: each piece of evidence (value within display rounding, trend by the history's own test);
//! every number in the prose, with its unit, against the facts of what it is said about; words of direction
//! against the setpoints' real moves or the signals' trends; rankings; comparisons. The reading is a small
//! grammar of clauses, not of English: what is in doubt fails. A number that nothing explains fails, so does
//! a negated claim, a direction of nothing in particular, or a quantity in a form that cannot be read. Words
//! that claim nothing checkable pass unread.
//!
//! A prediction may be one for holding or one for the chosen setpoints.

mod compare;
mod direction;
mod items;
mod number;
mod rank;
mod speech;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Decision, order};
use crate::facts::Facts;
use crate::site::Name;
use crate::units::Finite;

/// All claims of a decision, and whether all of them hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Claims {
    pub verified: bool,
    pub checks: Vec<Check>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    pub kind: Claim,
    /// The words that make it.
    pub claim: String,
    pub holds: bool,
    /// What is so instead; empty when it holds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub found: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    Evidence,
    /// How an order was read, and that the setpoints keep it.
    Order,
    Number,
    Duration,
    Time,
    Move,
    Trend,
    Ranking,
    Comparison,
    /// A claim in a form that cannot be checked.
    Unclear,
}

impl Claims {
    /// The first claim that does not hold.
    #[must_use]
    pub fn failing(&self) -> Option<&Check> {
        self.checks.iter().find(|c| !c.holds)
    }
}

/// Checks every claim of a decision.
#[must_use]
pub fn check(facts: &Facts, decision: &Decision) -> Claims {
    let mut checks: Vec<Check> = decision.evidence.iter().map(|e| evidence(facts, e)).collect();
    let chosen = chosen(facts, &decision.setpoints);
    let (order, seen) = order::check(facts, decision, &chosen);
    checks.extend(order);
    for text in [seen, &decision.rationale] {
        speech::read(facts, &chosen, text, &mut checks);
    }
    Claims { verified: checks.iter().all(|c| c.holds), checks }
}

/// All setpoints as they will be.
fn chosen(facts: &Facts, proposed: &BTreeMap<Name, Finite>) -> BTreeMap<Name, Finite> {
    let value =
        |s: &crate::facts::SetpointFacts| proposed.get(&s.name).copied().or(s.present).map(|v| s.shown(v));
    facts.setpoints.iter().filter_map(|s| Some((s.name.clone(), value(s)?))).collect()
}

fn evidence(facts: &Facts, e: &super::Evidence) -> Check {
    let claim = format!("{} {} {}", e.signal, e.value, e.trend.as_str());
    let found = match facts.signal(&e.signal) {
        None => format!("there is no signal {}", e.signal),
        Some(s) => match s.value {
            None => format!("{} has no good value", e.signal),
            Some(v) if !close(e.value.get(), v.get(), s.unit.decimals()) => {
                format!("{} is {v} {}", e.signal, s.unit)
            }
            Some(_) if e.trend != s.trend => format!("{} is {}", e.signal, s.trend.as_str()),
            Some(_) => String::new(),
        },
    };
    Check { kind: Claim::Evidence, claim, holds: found.is_empty(), found }
}

/// Equal within half of the last place shown.
fn close(a: f64, b: f64, decimals: u8) -> bool {
    (a - b).abs() <= 0.5 * 10f64.powi(-i32::from(decimals)) + 1e-9
}

#[cfg(test)]
mod tests;
