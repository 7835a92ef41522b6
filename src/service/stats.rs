//! What a run did, counted from its own records.

use serde::Serialize;

use crate::control::Body;
use crate::envelope::ProposedBy;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Stats {
    pub frames: u64,
    pub decisions: u64,
    /// Setpoint registers written and read back as written.
    pub writes: u64,
    pub failed_writes: u64,
    /// Decisions that the guard changed for safety.
    pub interventions: u64,
    /// Decisions that the fallback made.
    pub fallbacks: u64,
    /// Replies whose claims were checked, and those in which all held.
    pub checked: u64,
    pub verified: u64,
    pub emergencies: u64,
    /// Decisions that a candidate for an upgrade made beside those.
    pub candidates: u64,
}

impl Stats {
    pub fn count(&mut self, body: &Body) {
        match body {
            Body::Frame(_) => self.frames += 1,
            Body::Decision(d) => {
                self.decisions += 1;
                self.interventions += u64::from(d.verdict.intervened);
                self.fallbacks += u64::from(d.verdict.by == ProposedBy::Fallback);
                self.emergencies += u64::from(d.verdict.emergency);
                if let Some(claims) = &d.path.claims {
                    self.checked += 1;
                    self.verified += u64::from(claims.verified);
                }
            }
            Body::Outcome(o) => {
                let applied = o.outcome.setpoints_applied();
                self.writes += applied;
                self.failed_writes += o.outcome.setpoints_tried().saturating_sub(applied);
            }
            Body::Candidate(_) => self.candidates += 1,
            Body::Start(_) | Body::Operator(_) | Body::Event(_) | Body::Stop(_) => {}
        }
    }

    /// Share of checked replies in which every claim held; `None` if none was checked.
    #[must_use]
    pub fn verified_pct(&self) -> Option<f64> {
        (self.checked > 0).then(|| 100.0 * self.verified as f64 / self.checked as f64)
    }
}
