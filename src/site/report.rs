//! `[report]`: what the console's reports compare with.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Report {
    pub baseline: Baseline,
}

/// The hours that a saving is measured against: those of the days before the reported day or month, or of a period
/// of their own, in which the agent did not have the plant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Baseline {
    /// So many days before the reported day or month.
    pub days: u32,
    /// Instead of these: the first day of a period, such as `2026-05-01`, in the site's time zone.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub from: Option<Date>,
    /// And its last day.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub to: Option<Date>,
}

impl Default for Baseline {
    fn default() -> Self {
        Self { days: 30, from: None, to: None }
    }
}
