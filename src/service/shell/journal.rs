//! The audit log's side of the shell: what is recorded and published, and what happens when it cannot be.

use jiff::Timestamp;

use super::Shell;
use crate::audit::Committed;
use crate::clock;
use crate::control::Body;

impl Shell {
    pub(super) fn record(&mut self, now: Timestamp, body: &Body) {
        if self.audit_lost.is_some() {
            return;
        }
        self.stats.count(body);
        let json = body.to_json();
        self.follow(body, json.get());
        if let Err(e) = self.store.append(now, body.kind(), &json) {
            self.lose_audit(&e);
        }
    }

    /// Keeps what the console and the decision topic show.
    fn follow(&mut self, body: &Body, text: &str) {
        if let Body::Decision(d) = body {
            self.telemetry.iter_mut().for_each(|t| t.decided(d));
            tracing::info!(by = ?d.verdict.by, disposition = ?d.disposition, intervened = d.verdict.intervened, "decision");
            self.last_decision = serde_json::from_str(text).unwrap_or_default();
            self.publish("decision", text);
        } else if let Body::Event(e) = body {
            tracing::info!(event = ?e.event, detail = %e.detail, "event");
        }
    }

    pub(super) fn publish(&self, what: &str, text: &str) {
        self.send(what, text, false);
    }

    /// The same, kept by the broker for those who come later.
    pub(super) fn publish_kept(&self, what: &str, text: &str) {
        self.send(what, text, true);
    }

    fn send(&self, what: &str, text: &str, retain: bool) {
        if let Some(mqtt) = &self.mqtt {
            let topic = format!("isotherm/{}/{what}", self.setup.site.name);
            if let Err(e) = mqtt.publish(&topic, text.as_bytes().to_vec(), retain) {
                tracing::debug!(error = %e, %topic, "not published");
            }
        }
    }

    /// Makes all records so far durable. False: they are not, and nothing may be written.
    pub(super) fn commit(&mut self) -> bool {
        if self.audit_lost.is_some() {
            return false;
        }
        match self.store.commit() {
            Ok(committed) => {
                self.committed(committed);
                true
            }
            Err(e) => {
                self.lose_audit(&e);
                false
            }
        }
    }

    /// Publishes a new checkpoint where this machine cannot change it.
    pub(super) fn committed(&self, committed: Committed) {
        if let Some(e) = committed.file_error {
            tracing::warn!(error = %e, "the checkpoint file was not written");
        }
        if let Some(checkpoint) = committed.checkpoint {
            match serde_json::to_string(&checkpoint) {
                Ok(line) => self.publish("checkpoint", &line),
                Err(e) => tracing::error!(error = %e, "checkpoint"),
            }
        }
    }

    fn lose_audit(&mut self, error: &crate::audit::AuditError) {
        self.audit_lost.get_or_insert((clock::now(), error.to_string()));
        tracing::error!(%error, "the audit log cannot be written: the plant is released until it can");
    }

    /// Handing the plant back is the one write that needs no record first: it gives power away. Tried until it is
    /// confirmed, or a new run has the plant.
    pub(super) async fn release_unrecorded(&mut self) {
        let Some(action) = self.release_due.take() else { return };
        let outcome = self.apply(&action).await;
        tracing::warn!(outcome = %outcome.trouble(), "released without a record");
        self.release_due = outcome.release_needed.then_some(action);
    }

    /// A log that works again starts a new run: what happened in between is not in it.
    pub(super) async fn try_reopen(&mut self) {
        if self.store.reopen(clock::now()).is_err() {
            return;
        }
        let lost = self.audit_lost.take().map(|(since, why)| {
            format!(
                "nothing could be recorded from {since} to {}, and the plant was released: {why}",
                clock::now()
            )
        });
        let newest = self.controller.standing();
        let mut left = match self.standing.take() {
            Some(recorded) => recorded.with_memory_of(newest),
            None => newest,
        };
        if self.release_due.take().is_some() {
            left = left.unreleased();
        }
        self.new_run(Ok(Some(left)), lost).await;
    }
}
