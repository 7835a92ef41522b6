//! What a frame says about all setpoints alike: what is missing, wet, dry or too recent.

use jiff::Timestamp;

use super::guard::Case;
use super::verdict::{ProposedBy, Rule};
use crate::frame::{Frame, Sample};
use crate::site::{Role, Site};
use crate::units::{DegC, Finite, Kelvin, RelHumidity, dew_point};

/// The condensation margin that no site can lower, K.
pub(crate) const LEAST_DEW_MARGIN: Finite = Finite::constant(2.0);

/// One entry for each signal of a role; `None` where the frame has nothing of it.
fn samples<'a>(site: &'a Site, frame: &'a Frame, role: Role) -> impl Iterator<Item = Option<&'a Sample>> {
    site.with_role(role).map(|s| frame.signals.get(&s.name))
}

/// Why nothing may move at all: a missing required input, or an old decision.
pub(super) fn freeze(site: &Site, case: &Case<'_>) -> Option<(Rule, String)> {
    if let Some(missing) = site.signals.iter().find(|s| s.required && case.frame.good(&s.name).is_none()) {
        return Some((Rule::InputValidity, format!("{} is required and has no good value", missing.name)));
    }
    let age = case.now.duration_since(case.decided_at);
    let from_operator = case.proposal.by == ProposedBy::Operator;
    if !from_operator && (age > site.cadence || age.is_negative()) {
        return Some((Rule::Freshness, "decided more than a cadence ago, or in the future".to_owned()));
    }
    None
}

/// The dew point of the rooms, plus the margin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dew {
    /// Of the highest that it may be; `None` where that is not known.
    pub(super) floor: Option<Finite>,
    /// Of the highest among the sensors that are believed: with one of them unknown it may be higher, and is
    /// no lower.
    pub(super) at_least: Option<Finite>,
}

pub(super) fn dew(site: &Site, frame: &Frame) -> Dew {
    let roles = [Role::RoomDewPoint, Role::RoomDryBulb, Role::RoomHumidity];
    let highest =
        |role| samples(site, frame, role).flatten().filter_map(Sample::believed).map(|b| b.high).max();
    let [direct, air, wet] = roles.map(highest);
    let derived = air.zip(wet).map(|(t, rh)| {
        let humidity = RelHumidity::new(rh.min(Finite::constant(100.0)).max(Finite::constant(1.0)))?;
        Some(dew_point(DegC::new(t), humidity)?.get())
    });
    // One unknown among several leaves the worst unknown, and so does air that the formula does not know.
    let all_known = derived != Some(None)
        && roles
            .into_iter()
            .all(|role| samples(site, frame, role).all(|s| s.and_then(Sample::believed).is_some()));
    let at_least = direct.into_iter().chain(derived.flatten()).max().map(|dew| {
        let margin = site.envelope.dew_margin.get().max(LEAST_DEW_MARGIN);
        DegC::new(dew).plus(Kelvin::new(margin)).get()
    });
    Dew { floor: at_least.filter(|_| all_known), at_least }
}

/// Whether a flow or pressure is, or may be, below its minimum. Unknown counts as low.
pub(super) fn flow_low(site: &Site, case: &Case<'_>) -> bool {
    let e = &site.envelope;
    e.min_flow.iter().chain(&e.min_diff_pressure).any(|(name, least)| {
        let believed = case.frame.signals.get(name).and_then(Sample::believed);
        believed.is_none_or(|b| b.low < *least)
    })
}

/// Whether stopping a chiller now, or starting it again after that, would come too soon. Seen only by the
/// number running. Warming is what stops them; cooling is never refused for this, the chillers' own timers
/// stand behind it.
pub(super) fn short_cycle(site: &Site, case: &Case<'_>, now: Timestamp) -> bool {
    let limits = &site.envelope.chiller;
    let chillers = &case.memory.chillers;
    let starts = u32::try_from(chillers.started.len()).unwrap_or(u32::MAX);
    let within = |at: Option<&Timestamp>, span| at.is_some_and(|t| now.duration_since(*t) < span);
    starts >= limits.max_starts_per_hour
        || within(chillers.started_at.as_ref(), limits.min_run)
        || within(chillers.stopped_at.as_ref(), limits.min_off)
}
