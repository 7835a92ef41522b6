//! Emergencies: IT equipment above what it may have, in the worst case that the data allow.

use jiff::{SignedDuration, Timestamp};

use super::memory::{Emergency, Memory};
use crate::frame::{Frame, Sample, Span};
use crate::site::{Envelope, Role, Setpoint, Site};
use crate::units::Finite;

/// A role without a believable value for this long is an emergency: nobody sees the equipment any more.
const BLIND_AFTER: SignedDuration = SignedDuration::from_mins(3);
/// How far below their limit liquid and chips must be before an emergency ends.
const HAND_BACK_K: f64 = 5.0;

/// One kind of IT temperature: its limit, and where an emergency ends.
pub(crate) struct Watched {
    pub(crate) role: Role,
    pub(crate) limit: Finite,
    hand_back: Finite,
}

pub(crate) fn watched(e: &Envelope) -> Vec<Watched> {
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

/// The emergency after this frame, if there is one. It ends only when all that is watched is seen below
/// its hand-back: what was too hot and is not believed any more has not cooled down.
pub(super) fn next(site: &Site, memory: &Memory, now: Timestamp, frame: &Frame) -> Option<Emergency> {
    let latched = memory.emergency.as_ref();
    let mut hot = latched.map(|e| e.hot.clone()).unwrap_or_default();
    let watched = watched(&site.envelope);
    // What is watched no more will not be seen cooler.
    hot.retain(|name| {
        let role = site.signals.iter().find(|s| s.name == *name).and_then(|s| s.role);
        watched.iter().any(|w| Some(w.role) == role)
    });
    let mut reason = None;
    for w in watched {
        let mut seen = false;
        for signal in site.with_role(w.role) {
            // A sensor that is not believed is no emergency while a fellow of its role is; when none is left for a
            // while, being blind is.
            let Some(Span { high: highest, .. }) = frame.signals.get(&signal.name).and_then(Sample::believed)
            else {
                continue;
            };
            seen = true;
            let (name, unit) = (&signal.name, signal.unit);
            if highest > w.limit {
                hot.insert(name.clone());
            } else if highest <= w.hand_back {
                hot.remove(name);
            }
            if highest > if latched.is_some() { w.hand_back } else { w.limit } {
                reason.get_or_insert_with(|| {
                    format!("{name} may be at {:.1} {unit}; the limit is {} {unit}", highest.get(), w.limit)
                });
            }
        }
        // Latched, sight is lost at once; else there is time for it to come back.
        let patience = if latched.is_some() { SignedDuration::ZERO } else { BLIND_AFTER };
        let since = memory.last_good.get(&w.role);
        if !seen && since.is_some_and(|t| now.duration_since(*t) > patience) {
            reason.get_or_insert_with(|| format!("no {} is believable any more", w.role.as_str()));
        }
    }
    if let Some(name) = hot.first() {
        reason.get_or_insert_with(|| format!("{name} was too hot and has not been seen cooler since"));
    }
    reason.map(|why| Emergency { why, hot })
}

/// The highest that any signal of a role may be; `None` when none is believed.
pub(super) fn worst(site: &Site, frame: &Frame, role: Role) -> Option<Finite> {
    site.with_role(role).filter_map(|s| frame.signals.get(&s.name)?.believed()).map(|b| b.high).max()
}

/// Whether nothing may run warmer now: the worst valid inlet is at or above `no_warming_at`, or nothing says how
/// warm the air or the liquid is that the equipment takes in.
#[must_use]
pub fn no_warming(site: &Site, frame: &Frame) -> bool {
    let unseen = |role| site.with_role(role).next().is_some() && worst(site, frame, role).is_none();
    let blind = [Role::ItInlet, Role::LiquidSupply, Role::Bath].into_iter().any(unseen);
    blind || worst(site, frame, Role::ItInlet).is_some_and(|t| t >= site.envelope.no_warming_at)
}

/// The coldest that a liquid supply may be asked for: what the exchanger can hold above the warmest that the facility
/// water may be. `None` where the site has no such distance, or nothing says how warm that water is.
#[must_use]
pub fn coldest_supply(site: &Site, frame: &Frame, s: &Setpoint) -> Option<Finite> {
    let approach = site.envelope.min_approach.filter(|_| s.role == Some(Role::LiquidSupply))?;
    Some(worst(site, frame, Role::FacilitySupply)?.plus(approach.get().get()))
}
