//! What the IT will do, as whoever schedules it says; and where it can be put.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Name, Role, Site};
use crate::units::Finite;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// The MQTT topic on which jobs are announced. None: nobody's announcements are heard.
    pub topic: Option<String>,
    /// The halls or cabinets that jobs are put in. Without any, the site is one place.
    #[serde(rename = "place")]
    pub places: Vec<Place>,
}

/// A hall or cabinet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub name: Name,
    /// The most IT power that it takes, kW. A place counts as carrying its share of the measured load.
    pub capacity_kw: Finite,
}

impl Site {
    /// Where load can be put: the configured places, or the whole site as one, named as the site is.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        if !self.workload.places.is_empty() {
            return self.workload.places.clone();
        }
        let most = self.with_role(Role::ItLoad).map(|s| s.range[1].get()).sum();
        vec![Place { name: self.name.clone(), capacity_kw: Finite::saturating(most) }]
    }

    /// The most IT power of all places, kW.
    #[must_use]
    pub fn capacity_kw(&self) -> Finite {
        Finite::saturating(self.places().iter().map(|p| p.capacity_kw.get()).sum())
    }
}
