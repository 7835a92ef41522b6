//! Emergencies: IT equipment above what it may have, in the worst case that the data allow.

use jiff::{SignedDuration, Timestamp};

use super::memory::Memory;
use crate::frame::{Frame, Quality, Sample};
use crate::site::{Envelope, Role, Site};
use crate::units::Finite;

/// A role without a believable value for this long is an emergency: nobody sees the equipment any more.
const BLIND_AFTER: SignedDuration = SignedDuration::from_mins(3);
/// How far below their limit liquid and chips must be before an emergency ends.
const HAND_BACK_K: f64 = 5.0;

/// One kind of IT temperature: its limit, and where an emergency ends.
struct Watched {
    role: Role,
    limit: Finite,
    hand_back: Finite,
}

fn watched(e: &Envelope) -> Vec<Watched> {
    let [_, recommended] = e.inlet_recommended;
    let [_, allowable] = e.inlet_allowable;
    let mut list = vec![Watched { role: Role::ItInlet, limit: allowable, hand_back: recommended }];
    let below = |limit: Finite| limit.plus(-HAND_BACK_K);
    for role in [Role::LiquidSupply, Role::Bath] {
        list.extend(e.liquid_allowable.map(|limit| Watched { role, limit, hand_back: below(limit) }));
    }
    list.extend(e.chip_allowable.map(|limit| Watched {
        role: Role::ChipTemp,
        limit,
        hand_back: below(limit),
    }));
    list
}

/// Why there is an emergency after this frame, if there is one.
pub(super) fn emergency(site: &Site, memory: &Memory, now: Timestamp, frame: &Frame) -> Option<String> {
    let latched = memory.emergency.is_some();
    for w in watched(&site.envelope) {
        let threshold = if latched { w.hand_back } else { w.limit };
        let samples: Vec<_> =
            site.with_role(w.role).filter_map(|s| Some((&s.name, frame.signals.get(&s.name)?))).collect();
        for (name, sample) in &samples {
            if let Some(hot) = worst_high(sample)
                && hot > threshold
            {
                let unit = sample.unit;
                return Some(format!(
                    "{name} may be at {hot:.1} {unit}; the limit is {} {unit}",
                    w.limit,
                    hot = hot.get()
                ));
            }
        }
        let seen = samples.iter().any(|(_, s)| worst_high(s).is_some());
        let since = memory.last_good.get(&w.role);
        if !seen && since.is_some_and(|t| now.duration_since(*t) > BLIND_AFTER) {
            return Some(format!("no believable {:?} temperature for more than 3 min", w.role));
        }
    }
    None
}

/// The highest a sample may be; `None` when it is not believed at all. A sensor that is not believed is no
/// emergency while a fellow of its role is; when none is left for a while, being blind is.
pub(super) fn worst_high(sample: &Sample) -> Option<Finite> {
    match sample.quality {
        Quality::Good => sample.value,
        Quality::Stale => sample.worst.map(|w| w.high),
        Quality::Suspect | Quality::Missing => None,
    }
}
