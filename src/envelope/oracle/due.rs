//! What the oracle reads from a frame and its own history about one verdict: what is allowed, refused, due.

use jiff::Timestamp;

use super::ledger::highest;
use super::{At, Oracle, physics};
use crate::envelope::{Case, Limit, ProposedBy};
use crate::frame::{Frame, Quality};
use crate::site::{Cools, PlantKind, Role};

impl Oracle {
    /// How far down and up a setpoint may have come by now.
    pub(super) fn allowance(&self, case: &Case<'_>, at: &At<'_>) -> (f64, f64) {
        let (s, e) = (at.s, &self.site.envelope);
        let now = self.ledger.now(case.now);
        let since = at.past.changed_at.or(self.ledger.first);
        let minutes = since.map_or(0.0, |t| now.duration_since(t).as_secs_f64() / 60.0).max(0.0);
        let far = |percent_in_5min: f64| {
            let pace = (s.max.get() - s.min.get()) * percent_in_5min / 500.0;
            let rate = pace.min(s.rate_per_min.get());
            let cap = (rate * self.site.cadence.as_secs_f64() / 60.0).max(s.step.get() + s.deadband.get());
            (rate * minutes).min(cap)
        };
        let (warmer, colder) = (far(e.warming_pct_5min.get()), far(e.cooling_pct_5min.get()));
        if s.cools == Cools::Down { (colder, warmer) } else { (warmer, colder) }
    }

    pub(super) fn freeze(&self, case: &Case<'_>) -> Option<&'static str> {
        let missing = |s: &&crate::site::Signal| {
            s.required && case.frame.signals.get(&s.name).is_none_or(|x| x.quality != Quality::Good)
        };
        let age = case.now.duration_since(case.decided_at).as_secs_f64();
        let old = !(0.0..=self.site.cadence.as_secs_f64()).contains(&age);
        if self.site.signals.iter().any(|s| missing(&s)) {
            Some("a required signal is not good")
        } else if old && case.proposal.by != ProposedBy::Operator {
            Some("the decision is old")
        } else {
            None
        }
    }

    pub(super) fn flow_low(&self, frame: &Frame) -> bool {
        let e = &self.site.envelope;
        e.min_flow.iter().chain(&e.min_diff_pressure).any(|(name, least)| {
            let least = least.get();
            match frame.signals.get(name) {
                Some(s) if s.quality == Quality::Good => s.value.is_none_or(|v| v.get() < least),
                Some(s) if s.quality == Quality::Stale => s.worst.is_none_or(|w| w.low.get() < least),
                Some(_) | None => true,
            }
        })
    }

    pub(super) fn short_cycle(&self, case: &Case<'_>) -> bool {
        let (c, now) = (&self.site.envelope.chiller, self.ledger.now(case.now));
        let ago = |t: &Timestamp| now.duration_since(*t).as_secs_f64();
        // The guard counts starts when it takes a frame, so one that turns an hour old since then counts.
        let frame_at = self.ledger.latest.unwrap_or(now);
        let lately = |t: &&Timestamp| frame_at.duration_since(**t).as_secs_f64() < 3600.0;
        let starts = self.ledger.starts.iter().filter(lately).count();
        u32::try_from(starts).is_ok_and(|n| n >= c.max_starts_per_hour)
            || self.ledger.starts.last().is_some_and(|t| ago(t) < c.min_run.as_secs_f64())
            || self.ledger.stop.as_ref().is_some_and(|t| ago(t) < c.min_off.as_secs_f64())
    }

    /// Lowest value for liquid; `None` where the worst dew point is not known.
    pub(super) fn dew_floor(&self, frame: &Frame) -> Option<f64> {
        let roles = [Role::RoomDewPoint, Role::RoomDryBulb, Role::RoomHumidity];
        let known = |role| self.site.with_role(role).all(|s| highest(frame, &s.name).is_some());
        let [_, air, wet] = roles.map(|role| self.top(frame, role));
        let answered = air.zip(wet).is_none_or(|(t, rh)| physics::dew_point(t, rh).is_some());
        self.dew_at_least(frame).filter(|_| answered && roles.into_iter().all(known))
    }

    /// The same by the sensors that are believed alone.
    pub(super) fn dew_at_least(&self, frame: &Frame) -> Option<f64> {
        let (air, wet) = (self.top(frame, Role::RoomDryBulb), self.top(frame, Role::RoomHumidity));
        let derived = air.zip(wet).and_then(|(t, rh)| physics::dew_point(t, rh));
        let worst = self.top(frame, Role::RoomDewPoint).into_iter().chain(derived).reduce(f64::max)?;
        Some(worst + self.site.envelope.dew_margin.get().get().max(2.0))
    }

    /// The most that any believed signal of a role may be.
    fn top(&self, frame: &Frame, role: Role) -> Option<f64> {
        self.site.with_role(role).filter_map(|s| highest(frame, &s.name)).reduce(f64::max)
    }

    pub(super) fn limits(&self, case: &Case<'_>, at: &At<'_>) -> Vec<Limit> {
        let now = self.ledger.now(case.now);
        let active = |l: &&Limit| l.setpoint == at.s.name && l.until.is_none_or(|t| now < t);
        case.limits.iter().filter(active).cloned().collect()
    }

    /// The highest that a believed inlet may be.
    pub(super) fn inlet(&self, frame: &Frame) -> Option<f64> {
        self.top(frame, Role::ItInlet)
    }

    /// How much colder a setpoint has to become at least: nobody has cooled for nine tenths of a cadence.
    pub(super) fn cooling_due(&self, case: &Case<'_>, at: &At<'_>) -> Option<f64> {
        let (s, now) = (at.s, self.ledger.now(case.now));
        let ago = |t: Timestamp| now.duration_since(t).as_secs_f64();
        let cadence = 0.9 * self.site.cadence.as_secs_f64();
        let wait = cadence.max(0.9 * s.dwell.as_secs_f64());
        let hot = self.ledger.hot_since.is_some_and(|t| ago(t) >= cadence);
        let waited = at.past.changed_at.is_none_or(|t| ago(t) >= wait);
        (self.site.plant == PlantKind::Air && hot && waited).then(|| s.step.get().max(s.deadband.get()))
    }
}
