//! The scheduler's side of the shell: announcements in, their answers and the headroom out.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Shell;
use crate::site::Clock;
use crate::workload::{HEADROOM_MIN, Headroom, Heard};

/// Control time between two looks.
const EVERY: SignedDuration = SignedDuration::from_mins(1);
/// Whoever reads one older than this must take it for none.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(3);

/// The headroom as it was last published.
#[derive(Debug, Default)]
pub(super) struct Headrooms {
    at: Option<Timestamp>,
    shown: Value,
}

impl Headrooms {
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.at.is_none_or(|at| now < at || now.duration_since(at) >= EVERY)
    }

    pub(super) fn shown(&self) -> &Value {
        &self.shown
    }
}

impl Shell {
    /// What is taken is on the next frame, and so in the record; the scheduler is told either way.
    pub(super) fn on_announced(&mut self, message: &[u8]) {
        let now = match (self.setup.site.clock, self.frame_time) {
            (Clock::Frames, None) => {
                let why =
                    "message: expected after the first frame: until then there is no time, got one before";
                return self.answer_announcement(message, false, why);
            }
            _ => self.control_time(),
        };
        match self.assembler.announce(now, message) {
            Ok(Heard::Announced(job)) => {
                tracing::info!(id = %job.id, kw = %job.kw, start = %job.start, "a job is announced");
                self.answer_announcement(message, true, "announced");
            }
            Ok(Heard::Changed(job)) => {
                tracing::info!(id = %job.id, kw = %job.kw, start = %job.start, "a job is announced anew");
                self.answer_announcement(message, true, "changed");
            }
            Ok(Heard::Cancelled(id)) => {
                tracing::info!(%id, "a job is called off");
                self.answer_announcement(message, true, "cancelled");
            }
            Err(refused) => {
                tracing::warn!(%refused, "an announcement is not taken");
                self.answer_announcement(message, false, &refused.to_string());
            }
        }
    }

    fn answer_announcement(&self, message: &[u8], accepted: bool, answer: &str) {
        let said: Value = serde_json::from_slice(message).unwrap_or_default();
        let id = said.get("id").and_then(Value::as_str).filter(|id| id.len() <= 64);
        self.publish("job", &json!({ "id": id, "accepted": accepted, "answer": answer }).to_string());
    }

    pub(super) fn publish_headroom(&mut self) {
        let now = self.control_time();
        let state = |why| Headroom::none(&self.setup.site, why);
        let places = match (self.source_up, self.plant_up, self.audit_lost.is_some()) {
            (false, ..) => state("no frames arrive"),
            (_, false, _) => state("the plant's registers do not answer"),
            (_, _, true) => state("the audit log cannot be written"),
            _ => self.controller.headroom(),
        };
        self.show_headroom(now, &places);
    }

    /// What stays on the broker must not outlive the agent.
    pub(super) fn withdraw_headroom(&mut self) {
        let places = Headroom::none(&self.setup.site, "the agent has stopped");
        self.show_headroom(self.control_time(), &places);
    }

    fn show_headroom(&mut self, now: Timestamp, places: &[Headroom]) {
        let shown =
            json!({ "time": now, "until": now + GOOD_FOR, "minutes": HEADROOM_MIN, "places": places });
        self.publish_kept("headroom", &shown.to_string());
        self.headroom = Headrooms { at: Some(now), shown };
    }
}
