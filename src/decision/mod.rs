//! What the model says, once it has been read strictly: the decision, the schema that constrains it and
//! the claims in it that must be true.

mod account;
mod claims;
mod confidence;
mod order;
mod parse;
mod rewrite;
mod schema;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use account::Account;
pub use claims::{Check, Claim, Claims, check};
pub use confidence::confidence;
pub use order::schema_under;
pub use parse::{Rejected, parse};
pub use rewrite::rewrite;
pub use schema::schema;
use schema::schema_keeping;

use crate::site::Name;
use crate::units::Finite;

/// The longest assessment and rationale, in characters.
pub const MAX_ASSESSMENT: usize = 160;
pub const MAX_RATIONALE: usize = 280;
/// The most pieces of evidence.
pub const MAX_EVIDENCE: usize = 4;

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

impl Trend {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rising => "rising",
            Self::Falling => "falling",
            Self::Steady => "steady",
        }
    }
}
