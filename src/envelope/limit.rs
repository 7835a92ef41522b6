use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::site::Name;
use crate::units::Finite;

/// A bound that an operator put on one setpoint, inside the site's own limits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub setpoint: Name,
    /// Not lower than this.
    #[serde(default)]
    pub floor: Option<Finite>,
    /// Not higher than this.
    #[serde(default)]
    pub ceiling: Option<Finite>,
    /// Left where it is.
    #[serde(default)]
    pub hold: bool,
    /// `None`: until withdrawn.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
}
