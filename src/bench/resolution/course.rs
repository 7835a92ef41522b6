//! What happens to the plant in a run.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::twin::drive::Random;

/// The controller finds its place for this long before anything happens or counts.
pub(super) const SETTLES_H: f64 = 3.0;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    LoadSteps,
    Ramps,
    Bursts,
    ChillerTrip,
    CalmNight,
}

/// Events of a run, one in each stretch of this length, at a random time of its first part.
const EVENTS: u32 = 3;
const STRETCH_H: f64 = 3.0;
/// Hours of a run.
pub(super) const HOURS: f64 = SETTLES_H + 3.0 * STRETCH_H;
/// Shares of full load.
const LOW: f64 = 0.35;
const HIGH: f64 = 0.95;

impl Course {
    /// What can happen to a plant: where nothing but fans cools, no chiller trips.
    pub(super) fn of(plant: &str) -> impl Iterator<Item = Self> {
        let chillers = plant == "air";
        [Self::LoadSteps, Self::Ramps, Self::Bursts, Self::ChillerTrip, Self::CalmNight]
            .into_iter()
            .filter(move |c| chillers || *c != Self::ChillerTrip)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LoadSteps => "load steps",
            Self::Ramps => "ramps",
            Self::Bursts => "bursts",
            Self::ChillerTrip => "chiller trip",
            Self::CalmNight => "calm night",
        }
    }

    pub(super) fn is_calm(self) -> bool {
        self == Self::CalmNight
    }

    /// The scenario, of a plant with two halls.
    pub(super) fn text(self, plant: &str, seed: u64) -> String {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut at = |i: u32| SETTLES_H + f64::from(i) * STRETCH_H + 0.2 + random.share();
        let mut points = vec![[0.0, if self == Self::ChillerTrip { 0.8 } else { LOW }]];
        let mut faults = String::new();
        for i in 0..EVENTS {
            let t = at(i);
            match self {
                Self::LoadSteps => points.extend([[t, LOW], [t, HIGH], [t + 1.0, HIGH], [t + 1.0, LOW]]),
                Self::Ramps => points.extend([[t, LOW], [t + 0.4, HIGH], [t + 1.0, HIGH], [t + 1.4, LOW]]),
                Self::Bursts => {
                    let peak = [[0.0, LOW], [0.0, HIGH], [0.2, HIGH], [0.2, LOW]];
                    points.extend((0..3).flat_map(|n| peak.map(|[h, s]| [t + 0.5 * f64::from(n) + h, s])));
                }
                Self::ChillerTrip => {
                    let fault = "[[fault]]\nhours = 0.75\nwhat = { chiller_trip = { count = 2 } }";
                    writeln!(faults, "{fault}\nat_h = {t}").unwrap_or_default();
                }
                Self::CalmNight => {}
            }
        }
        let workload = if self.is_calm() {
            "kind = \"inference\"\nnight = 0.3\nday = 0.45\nbusiest_h = 14\nbursts_per_h = 60\nburst_height = 0.01\nburst_decay_min = 2".to_owned()
        } else {
            format!("kind = \"profile\"\npoints = {points:?}")
        };
        let workload = format!("[[workload]]\n{workload}\n").repeat(2);
        let about = self.name();
        format!(
            "base = \"{plant}\"\nabout = \"{about}\"\nstart = \"2025-07-15T00:00:00Z\"\n{workload}{faults}"
        )
    }
}
