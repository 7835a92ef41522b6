//! What the model says, once it has been read strictly: the decision, the schema that constrains it and
//! the claims in it that must be true.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::site::Name;
use crate::units::Finite;

/// Field order is generation order: observe first, then act, then explain.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    pub assessment: String,
    pub evidence: Vec<Evidence>,
    pub setpoints: BTreeMap<Name, Finite>,
    pub rationale: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    pub signal: Name,
    pub value: Finite,
    pub trend: Trend,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    Rising,
    Falling,
    Steady,
}
