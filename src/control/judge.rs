//! From a proposal to an intent: have it guarded, record it, and write it where the mode says so.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::candidate::Judged;
use super::record::{Body, Cause, DecisionRecord, Disposition, Event, Path};
use super::{Advice, Controller, Effect, Effects, touched};
use crate::envelope::{
    Case, Limit, Predicted, Proposal, ProposedBy, Rule, SafeAction, Target, Touch, Verdict,
};
use crate::frame::Frame;
use crate::resolution::Progress;
use crate::site::{Mode, Name, Site};
use crate::twin::{Twin, Worst};
use crate::units::Finite;

/// How often a setpoint is written on its way to where an operator wants it.
const WALK_EVERY: SignedDuration = SignedDuration::from_mins(1);

impl Controller {
    /// Guards a proposal that no reply stands behind.
    pub(super) fn judge_and_act(
        &mut self,
        now: Timestamp,
        cause: Cause,
        proposal: &Proposal,
        fx: &mut Effects<'_>,
    ) {
        self.judge(now, now, cause, proposal, Path::default(), fx);
    }

    pub(super) fn judge(
        &mut self,
        now: Timestamp,
        decided_at: Timestamp,
        cause: Cause,
        proposal: &Proposal,
        path: Path,
        fx: &mut Effects<'_>,
    ) -> Option<Judged> {
        let frame = self.frame.as_ref()?;
        let limits = self.limits();
        let verdict = self.guard.judge(&Case {
            now,
            decided_at,
            frame,
            memory: &self.memory,
            limits: &limits,
            foresight: &|setpoints| foresee(&self.setup.site, &self.twin, frame, setpoints),
            proposal,
        });
        if matches!(cause, Cause::Emergency | Cause::Limit) && verdict.action.is_empty() {
            // Already where it has to be: nothing new to record at every frame.
            return None;
        }
        if cause == Cause::Limit && self.is_underway(now, &verdict) {
            return None;
        }
        // Who holds the plant for an operator's sake sees to its safety without being asked.
        let unasked = matches!(cause, Cause::Operator | Cause::Emergency | Cause::Limit);
        let acts = self.in_charge() && (self.mode == Mode::Auto || self.mode == Mode::Advise && unasked);
        let disposition = match (verdict.action.is_empty(), acts, self.mode) {
            (true, _, _) => Disposition::Hold,
            (false, true, _) => Disposition::Write,
            (false, false, Mode::Advise) => Disposition::Advise,
            (false, false, Mode::Shadow | Mode::Auto | Mode::Manual) => Disposition::Shadow,
        };
        let invalid_inputs = touched(&verdict, Rule::InputValidity);
        let action = verdict.action.clone();
        let progress = progress(&verdict);
        let (by, setpoints, intervened) = (verdict.by, verdict.setpoints.clone(), verdict.intervened);
        let seq = fx.record(Body::Decision(Box::new(DecisionRecord {
            cause,
            mode: self.mode,
            asked_at: decided_at,
            frame: frame.clone(),
            path,
            verdict,
            disposition,
        })));
        match by {
            ProposedBy::Model | ProposedBy::Policy => self.fallback.stand_by(),
            // Something else moves the setpoints.
            ProposedBy::Fallback | ProposedBy::Operator => {
                self.policy.iter_mut().for_each(|p| p.stand_by());
            }
            // What either asked for before has led here.
            ProposedBy::Emergency => self.look_again(),
            ProposedBy::Nobody => {}
        }
        match disposition {
            Disposition::Write => fx.list.push(Effect::Write { intent: seq, action }),
            Disposition::Advise => {
                let expires = now + self.setup.site.cadence;
                // What an operator is shown to move, so that it is that, or less of it, which an approval leads to.
                let proposal = Proposal { by, setpoints: moves(&action) };
                let now_at = |name: &Name| Some((name.clone(), self.frame.as_ref()?.good(name)?));
                let from = proposal.setpoints.keys().filter_map(now_at).collect();
                self.drop_advice("another one takes its place", fx);
                self.advice = Some(Advice { decision: seq, proposal, from, expires });
            }
            Disposition::Hold | Disposition::Shadow => {}
        }
        match cause {
            Cause::Cadence => {
                self.count_misses(invalid_inputs, fx);
                self.set_pace(progress, fx);
            }
            Cause::Change => self.set_pace(progress, fx),
            Cause::Emergency | Cause::Limit | Cause::Operator => {}
        }
        Some(Judged { seq, by, setpoints, intervened })
    }

    /// Whether all that would be written is on its way to where an operator wants it, and was moved a moment ago: a
    /// frame with a write has no decision, and every other setpoint needs some.
    fn is_underway(&self, now: Timestamp, verdict: &Verdict) -> bool {
        let walks = |t: &Touch| matches!(t.rule, Rule::Directive | Rule::Pace | Rule::RateLimit);
        moves(&verdict.action).keys().all(|name| {
            let mut own = verdict.touched.iter().filter(|t| t.setpoint.as_ref() == Some(name));
            let lately = self.memory.changed_at(name).is_some_and(|t| now.duration_since(t) < WALK_EVERY);
            lately && own.all(walks)
        })
    }

    fn set_pace(&mut self, progress: Progress, fx: &mut Effects<'_>) {
        let sighted = self.inputs_are_good();
        if let Some(change) = self.pacer.judged(progress, sighted) {
            fx.event(Event::Resolution, change.to_string());
        }
    }

    /// Operators' overrides and the typed meaning of their directives.
    pub(super) fn limits(&self) -> Vec<Limit> {
        let held = self.overrides.iter().map(|(setpoint, o)| Limit {
            setpoint: setpoint.clone(),
            floor: Some(o.value),
            ceiling: Some(o.value),
            hold: false,
            until: o.until,
        });
        held.chain(self.directives.iter().flat_map(|d| d.limits.iter().cloned())).collect()
    }
}

/// How far what was decided has come.
fn progress(verdict: &Verdict) -> Progress {
    let later = |t: &Touch| matches!(t.rule, Rule::RateLimit | Rule::Pace | Rule::Dwell);
    if verdict.touched.iter().any(later) {
        Progress::Underway
    } else if verdict.action.is_empty() {
        Progress::Settled
    } else {
        Progress::Arrived
    }
}

/// The setpoints that an action moves, and where to.
fn moves(action: &SafeAction) -> BTreeMap<Name, Finite> {
    let each = action.writes().iter().filter_map(|w| match w.target() {
        Target::Setpoint(name) => Some((name.clone(), w.value())),
        Target::Enable | Target::Heartbeat => None,
    });
    each.collect()
}

/// The twin's prediction as the guard takes it: one standard deviation counted against every choice.
pub(crate) fn foresee(
    site: &Site,
    twin: &Twin,
    frame: &Frame,
    setpoints: &BTreeMap<Name, Finite>,
) -> BTreeMap<Name, Predicted> {
    let widen = |w: Worst| Predicted {
        low: w.low.value.plus(-w.low.sigma.get()),
        high: w.high.value.plus(w.high.sigma.get()),
        ramp_15min: w.ramp_15min,
    };
    let within = site.envelope.outlook;
    twin.predict(frame, setpoints, within).into_iter().map(|(name, worst)| (name, widen(worst))).collect()
}
