//! `[envelope]`: limits that belong to the site as a whole.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Name, pair};
use crate::units::{Finite, Kelvin};

/// Limits that belong to the site rather than to one setpoint. Defaults and their sources: `docs/envelope.md`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Envelope {
    /// IT inlet, recommended band.
    #[serde(deserialize_with = "pair::two")]
    pub inlet_recommended: [Finite; 2],
    /// IT inlet, allowable band: above the upper end is an emergency.
    #[serde(deserialize_with = "pair::two")]
    pub inlet_allowable: [Finite; 2],
    /// No warming at or above this worst valid inlet.
    pub no_warming_at: Finite,
    /// In an air plant, at or above this worst valid inlet: where nobody has made a setpoint colder within a
    /// cadence, the guard does, a step a cadence.
    pub cool_at: Finite,
    /// Liquid-cooled or tank: above this supply or bath temperature is an emergency.
    pub liquid_allowable: Option<Finite>,
    /// Chip temperature that is an emergency.
    pub chip_allowable: Option<Finite>,
    /// Liquid in the white space stays this far above the room's dew point. Never less than 2 K.
    pub dew_margin: Kelvin,
    /// The fastest inlet change, K in 15 min, that the outlook may show.
    pub inlet_ramp_15min: Kelvin,
    /// The lowest flow, by flow signal.
    pub min_flow: BTreeMap<Name, Finite>,
    /// The lowest differential pressure, by signal.
    pub min_diff_pressure: BTreeMap<Name, Finite>,
    /// Smallest difference between liquid supply and facility supply an exchanger can hold.
    pub min_approach: Option<Kelvin>,
    /// How far ahead the outlook must stay inside limits.
    #[schemars(with = "String")]
    pub outlook: SignedDuration,
    pub chiller: ChillerLimits,
    /// The fastest way towards warmer, in percent of a setpoint's range each 5 min; the setpoint's own
    /// rate limit holds beside it.
    pub warming_pct_5min: Finite,
    /// The same towards colder.
    pub cooling_pct_5min: Finite,
    /// A setpoint changed at the plant itself is left alone for this long.
    #[schemars(with = "String")]
    pub manual_hold: SignedDuration,
    /// Twins further apart than this, K or units, for `twin_for`, are left out.
    pub twin_tolerance: Finite,
    #[schemars(with = "String")]
    pub twin_for: SignedDuration,
    /// What happens to an action whose rationale did not verify.
    pub unverified: Unverified,
    /// Below this measured confidence the fallback's action is taken; 0 turns the rule off.
    pub min_confidence: Finite,
}

/// Anti-short-cycle: the maker's limits win over these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChillerLimits {
    #[schemars(with = "String")]
    pub min_run: SignedDuration,
    #[schemars(with = "String")]
    pub min_off: SignedDuration,
    pub max_starts_per_hour: u32,
}

impl Default for ChillerLimits {
    fn default() -> Self {
        Self {
            min_run: SignedDuration::from_mins(15),
            min_off: SignedDuration::from_mins(10),
            max_starts_per_hour: 3,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unverified {
    /// Keep the present setpoints.
    #[default]
    Hold,
    /// Let the fallback act.
    Fallback,
    /// Act all the same; the record says so.
    Accept,
}

impl Default for Envelope {
    fn default() -> Self {
        Self {
            inlet_recommended: [Finite::constant(18.0), Finite::constant(27.0)],
            inlet_allowable: [Finite::constant(15.0), Finite::constant(32.0)],
            no_warming_at: Finite::constant(26.0),
            cool_at: Finite::constant(27.0),
            liquid_allowable: None,
            chip_allowable: None,
            dew_margin: Kelvin::new(Finite::constant(3.0)),
            inlet_ramp_15min: Kelvin::new(Finite::constant(5.0)),
            min_flow: BTreeMap::new(),
            min_diff_pressure: BTreeMap::new(),
            min_approach: None,
            outlook: SignedDuration::from_mins(30),
            chiller: ChillerLimits::default(),
            warming_pct_5min: Finite::constant(2.0),
            cooling_pct_5min: Finite::constant(7.0),
            manual_hold: SignedDuration::from_mins(30),
            twin_tolerance: Finite::constant(1.0),
            twin_for: SignedDuration::from_secs(30),
            unverified: Unverified::default(),
            min_confidence: Finite::ZERO,
        }
    }
}
