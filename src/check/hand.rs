//! What writes in a test: puts the intent into the audit log, writes, and says there what became of it.

use std::fmt;

use super::protocol::{Step, StepResult};
use crate::actuate::{Outcome, Writer};
use crate::audit::{AuditError, Kind, Store};
use crate::clock;
use crate::control::Body;
use crate::control::record::{Event, EventRecord};
use crate::envelope::SafeAction;
use crate::ingest::modbus::Bus;
use crate::site::Site;

pub(super) struct Hand<'a> {
    who: &'a str,
    writer: Writer,
    store: Store,
    /// What has been done, for the protocol.
    pub(super) steps: Vec<Step>,
}

impl<'a> Hand<'a> {
    /// Fails when an agent runs: it has the plant, and the log.
    pub(super) fn new(site: &Site, who: &'a str, bus: Bus) -> Result<Self, AuditError> {
        let store = Store::open(&site.audit, clock::now())?;
        Ok(Self { who, writer: Writer::new(bus, site), store, steps: Vec::new() })
    }

    pub(super) fn close(self) -> Result<Vec<Step>, AuditError> {
        self.store.close()?;
        Ok(self.steps)
    }

    fn title(&self, step: &Step) -> String {
        let of = step.setpoint.as_ref().map_or_else(String::new, |s| format!(" {s}"));
        format!("{}{of}, by {}", step.what, self.who)
    }

    /// Intent, action, and what became of it.
    pub(super) async fn carry_out(
        &mut self,
        mut step: Step,
        action: &SafeAction,
    ) -> Result<Outcome, AuditError> {
        let title = self.title(&step);
        let seq = self.intend(&title, action)?;
        let outcome = self.writer.apply(action).await;
        let applied = !outcome.release_needed;
        let end = if applied { "as written".to_owned() } else { outcome.trouble() };
        step.writes.clone_from(&outcome.writes);
        self.settle(step, &title, seq, applied, &end)?;
        Ok(outcome)
    }

    /// The same with a heartbeat, which is not read back. False: the device does not take it.
    pub(super) async fn beat(
        &mut self,
        step: Step,
        action: &SafeAction,
        end: impl fmt::Display,
    ) -> Result<bool, AuditError> {
        let title = self.title(&step);
        let seq = self.intend(&title, action)?;
        let sent = self.beat_on(action).await;
        let end = sent.as_ref().map_or_else(Outcome::trouble, |()| end.to_string());
        self.settle(step, &title, seq, sent.is_ok(), &end)?;
        Ok(sent.is_ok())
    }

    /// One more beat of a heartbeat whose intent stands in the log.
    pub(super) async fn beat_on(&self, action: &SafeAction) -> Result<(), Outcome> {
        self.writer.beat(action).await
    }

    /// Writes what takes something back after the log failed: what cannot be recorded is not done, but what
    /// was begun is undone.
    pub(super) async fn undo_unrecorded(&self, action: &SafeAction) {
        self.writer.apply(action).await;
    }

    /// Puts the action's intent on the disk.
    fn intend(&mut self, title: &str, action: &SafeAction) -> Result<u64, AuditError> {
        let action = serde_json::to_value(action).ok().map(Box::new);
        self.record(EventRecord { action, ..EventRecord::new(Event::Acceptance, title) })
    }

    /// What became of an intent, for the log and the protocol.
    fn settle(
        &mut self,
        mut step: Step,
        title: &str,
        seq: u64,
        applied: bool,
        end: &str,
    ) -> Result<(), AuditError> {
        let said = EventRecord::new(Event::Acceptance, format!("{title}: {end}"));
        self.record(EventRecord { intents: vec![seq], ..said })?;
        step.result = if applied { StepResult::Passed } else { StepResult::Failed };
        step.detail = if step.detail.is_empty() { end.to_owned() } else { format!("{}: {end}", step.detail) };
        step.record = Some(seq);
        self.steps.push(step);
        Ok(())
    }

    /// Something that is not a write, for the log.
    pub(super) fn note(&mut self, text: impl fmt::Display) -> Result<(), AuditError> {
        let text = format!("{text}, by {}", self.who);
        self.record(EventRecord::new(Event::Acceptance, text)).map(|_| ())
    }

    fn record(&mut self, event: EventRecord) -> Result<u64, AuditError> {
        let body = Body::Event(event).to_json();
        let appended = self.store.append(clock::now(), Kind::Event, &body)?;
        self.store.commit()?;
        Ok(appended.seq)
    }
}
