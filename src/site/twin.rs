//! What is known of the plant's answers before the agent has seen any: where its twin starts.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Name;
use crate::units::Finite;

/// Where the twin starts; `docs/twin.md`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Twin {
    /// Measured answers, from `isotherm check --steps`. What is not here starts from what physics says.
    #[serde(rename = "response")]
    pub responses: Vec<Response>,
}

/// How one temperature answers to one setpoint: like a first-order lag behind a dead time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Response {
    pub setpoint: Name,
    /// A temperature that the twin predicts.
    pub signal: Name,
    /// Where it ends: in the signal's unit, for each unit of the setpoint.
    pub gain: Finite,
    /// Standard deviation of the gain.
    pub gain_sd: Finite,
    /// How long nothing is seen of a change.
    #[schemars(with = "String")]
    pub dead_time: SignedDuration,
    /// How long from then until 63 % of the change is seen.
    #[schemars(with = "String")]
    pub time_constant: SignedDuration,
}
