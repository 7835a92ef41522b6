use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::SafeAction;
use crate::site::Name;
use crate::units::Finite;

/// Setpoints somebody would like.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Proposal {
    pub by: ProposedBy,
    pub setpoints: BTreeMap<Name, Finite>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProposedBy {
    Model,
    /// The site's controller, where that is not the model.
    Policy,
    Fallback,
    Operator,
    /// The guard itself: full cooling.
    Emergency,
    /// Nobody: hold.
    Nobody,
}

/// The rules, in order of precedence. They are applied in this order, but for the outlook, which looks at the choice
/// as a whole once step, deadband and write budget have given it its form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    HardLimit,
    Condensation,
    /// Not a bound: names the reason of full cooling.
    Emergency,
    RateLimit,
    /// How fast a setpoint is walked to where the proposal wants it.
    Pace,
    Approach,
    NoWarming,
    MinimumFlow,
    InputValidity,
    Freshness,
    ManualHold,
    NotFollowing,
    ShortCycle,
    Directive,
    Cool,
    Dwell,
    Outlook,
    Step,
    Deadband,
    WriteBudget,
    Register,
    /// A proposal for a setpoint that the site does not have.
    UnknownSetpoint,
}

impl Rule {
    /// All of them, in order.
    pub const ALL: [Self; 22] = [
        Self::HardLimit,
        Self::Condensation,
        Self::Emergency,
        Self::RateLimit,
        Self::Pace,
        Self::Approach,
        Self::NoWarming,
        Self::MinimumFlow,
        Self::InputValidity,
        Self::Freshness,
        Self::ManualHold,
        Self::NotFollowing,
        Self::ShortCycle,
        Self::Directive,
        Self::Cool,
        Self::Dwell,
        Self::Outlook,
        Self::Step,
        Self::Deadband,
        Self::WriteBudget,
        Self::Register,
        Self::UnknownSetpoint,
    ];

    /// Whether a change by this rule means that the proposal was not safe or not wanted, rather than walked
    /// there more slowly or put in form for a register.
    #[must_use]
    pub fn is_for_safety(self) -> bool {
        match self {
            Self::Pace | Self::Step | Self::Deadband | Self::WriteBudget | Self::Dwell => false,
            Self::HardLimit
            | Self::Condensation
            | Self::Emergency
            | Self::RateLimit
            | Self::Approach
            | Self::NoWarming
            | Self::MinimumFlow
            | Self::InputValidity
            | Self::Freshness
            | Self::ManualHold
            | Self::NotFollowing
            | Self::ShortCycle
            | Self::Directive
            | Self::Cool
            | Self::Outlook
            | Self::Register
            | Self::UnknownSetpoint => true,
        }
    }
}

/// How one rule changed one proposal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Touch {
    pub rule: Rule,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setpoint: Option<Name>,
    pub from: Option<Finite>,
    pub to: Option<Finite>,
    /// The bound that decided.
    pub limit: Option<Finite>,
    pub why: String,
}

/// What may be written, and every rule that had a say. A rejected proposal is a verdict, not an error.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Verdict {
    pub by: ProposedBy,
    pub action: SafeAction,
    /// What the setpoints will be once the action is written.
    pub setpoints: BTreeMap<Name, Finite>,
    pub touched: Vec<Touch>,
    pub emergency: bool,
    /// Some rule changed the proposal for safety (not merely pace, rounding, deadband or dwell).
    pub intervened: bool,
}

/// A verdict on what is not to be done: it has no action, so there is nothing that the writer could take.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct WhatIf {
    pub setpoints: BTreeMap<Name, Finite>,
    pub touched: Vec<Touch>,
    pub emergency: bool,
    pub intervened: bool,
}

impl From<Verdict> for WhatIf {
    fn from(verdict: Verdict) -> Self {
        let Verdict { by: _, action: _, setpoints, touched, emergency, intervened } = verdict;
        Self { setpoints, touched, emergency, intervened }
    }
}
