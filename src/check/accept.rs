//! The acceptance test: control is taken, the heartbeat beaten, each setpoint that somebody consented to
//! moved by one step and back, and control released; everything read back, and in the audit log before it
//! is written. Whatever happens in between, what was moved is put back and control is released.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::protocol::{Protocol, Step, StepResult};
use super::{Level, look};
use crate::actuate::Writer;
use crate::audit::{AuditError, Kind, Store};
use crate::clock;
use crate::control::Body;
use crate::control::record::{Event, EventRecord};
use crate::envelope::{Consent, Guard, Memory, SafeAction};
use crate::frame::Frame;
use crate::hex;
use crate::ingest::modbus::Bus;
use crate::register;
use crate::site::{Setpoint, Site};
use crate::units::Finite;

const BEATS: u16 = 3;
const BETWEEN_BEATS: Duration = Duration::from_secs(1);
/// How long the setpoint in force may take to follow.
const FOLLOW_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Also when an agent runs: it has the plant, and the log.
    #[error("nothing was written: {0}")]
    Audit(#[from] AuditError),
}

/// Reads everything, and writes what is consented to. Without a consent nothing is written at all.
pub async fn accept(site: &Site, who: &str, consents: &[Consent]) -> Result<Protocol, AcceptError> {
    let bus = Bus::open(site);
    let (read, _) = look(site, &bus).await;
    let config = serde_json::to_value(site).unwrap_or_default();
    let mut protocol = Protocol {
        ended: read.time,
        who: who.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        site_sha256: hex::sha256(config.to_string().as_bytes()),
        steps: Vec::new(),
        result: StepResult::NotTested,
        read,
    };
    let may = !consents.is_empty() && protocol.read.level() == Level::Good;
    if may {
        let store = Store::open(&site.audit, clock::now())?;
        let mut test = Test::new(site, who, store, bus);
        test.run(consents).await?;
        protocol.steps = test.steps;
        test.store.close()?;
    } else {
        let why = if consents.is_empty() { "no consent" } else { "not everything could be read well" };
        for setpoint in &site.setpoints {
            protocol.steps.push(Step {
                setpoint: Some(setpoint.name.clone()),
                ..Step::new("step", StepResult::NotTested, why)
            });
        }
    }
    protocol.conclude(clock::now());
    Ok(protocol)
}

struct Test<'a> {
    site: &'a Site,
    who: &'a str,
    guard: Guard,
    memory: Memory,
    writer: Writer,
    bus: Bus,
    store: Store,
    steps: Vec<Step>,
    interrupted: Arc<AtomicBool>,
}

impl<'a> Test<'a> {
    fn new(site: &'a Site, who: &'a str, store: Store, bus: Bus) -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        let seen = interrupted.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                seen.store(true, Ordering::Relaxed);
            }
        });
        Self {
            site,
            who,
            guard: Guard::new(site),
            memory: Memory::new(site),
            writer: Writer::new(bus.clone(), site),
            bus,
            store,
            steps: Vec::new(),
            interrupted,
        }
    }

    async fn run(&mut self, consents: &[Consent]) -> Result<(), AcceptError> {
        let taken = self.link("take control", &self.guard.take_control(), "link.enable").await?;
        let done = if taken { self.beat_and_step(consents).await } else { Ok(()) };
        // Also when the log failed: giving power away needs no record.
        let released = self.link("release", &self.guard.release(), "link.enable").await;
        if released.is_err() {
            self.writer.apply(&self.guard.release()).await;
        }
        done.and(released.map(|_| ()))
    }

    async fn beat_and_step(&mut self, consents: &[Consent]) -> Result<(), AcceptError> {
        if !self.heartbeat().await? {
            return Ok(());
        }
        for setpoint in &self.site.setpoints {
            let consent = consents.iter().find(|c| *c.setpoint() == setpoint.name);
            let Some(consent) = consent else {
                self.not_tested(setpoint, "no consent");
                continue;
            };
            if self.interrupted.load(Ordering::Relaxed) {
                self.not_tested(setpoint, "interrupted");
                continue;
            }
            let (read, frame) = look(self.site, &self.bus).await;
            if read.level() != Level::Good {
                self.not_tested(setpoint, "not everything could be read well any more");
                continue;
            }
            self.memory = self.guard.observe(&self.memory, clock::now(), &frame);
            if !self.setpoint(setpoint, consent, &frame).await? {
                break;
            }
        }
        Ok(())
    }

    fn not_tested(&mut self, setpoint: &Setpoint, why: &str) {
        let step = Step::new("step", StepResult::NotTested, why);
        self.steps.push(Step { setpoint: Some(setpoint.name.clone()), ..step });
    }

    /// Puts the action's intent on the disk.
    fn intend(&mut self, title: &str, action: &SafeAction) -> Result<u64, AcceptError> {
        let action = serde_json::to_value(action).ok();
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
    ) -> Result<(), AcceptError> {
        let said = EventRecord::new(Event::Acceptance, format!("{title}: {end}"));
        self.record(EventRecord { intents: vec![seq], ..said })?;
        step.result = if applied { StepResult::Passed } else { StepResult::Failed };
        step.detail = if step.detail.is_empty() { end.to_owned() } else { format!("{}: {end}", step.detail) };
        step.record = Some(seq);
        self.steps.push(step);
        Ok(())
    }

    fn title(&self, step: &Step) -> String {
        let of = step.setpoint.as_ref().map_or_else(String::new, |s| format!(" {s}"));
        format!("{}{of}, by {}", step.what, self.who)
    }

    /// Intent, action, and what became of it. Whether all was applied.
    async fn carry_out(&mut self, mut step: Step, action: &SafeAction) -> Result<bool, AcceptError> {
        let title = self.title(&step);
        let seq = self.intend(&title, action)?;
        let outcome = self.writer.apply(action).await;
        let applied = !outcome.release_needed;
        let end = if applied { "as written".to_owned() } else { outcome.trouble() };
        step.writes = outcome.writes;
        self.settle(step, &title, seq, applied, &end)?;
        Ok(applied)
    }

    fn record(&mut self, event: EventRecord) -> Result<u64, AcceptError> {
        let text = Body::Event(event).to_json();
        let body = RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned());
        let at: Timestamp = clock::now();
        let appended = self.store.append(at, Kind::Event, &body)?;
        self.store.commit()?;
        Ok(appended.seq)
    }

    async fn link(
        &mut self,
        what: &'static str,
        action: &SafeAction,
        field: &str,
    ) -> Result<bool, AcceptError> {
        if action.is_empty() {
            let detail = format!("the site has no {field}");
            self.steps.push(Step::new(what, StepResult::NotTested, detail));
            return Ok(true);
        }
        self.carry_out(Step::new(what, StepResult::Failed, ""), action).await
    }

    /// Some beats, as a running agent sends them: not read back. False: the device does not take them.
    async fn heartbeat(&mut self) -> Result<bool, AcceptError> {
        for beat in 1..=BEATS {
            let action = self.guard.heartbeat(beat);
            let step = Step::new("heartbeat", StepResult::NotTested, "");
            if action.is_empty() {
                self.steps.push(Step { detail: "the site has no link.heartbeat".to_owned(), ..step });
                return Ok(true);
            }
            let title = self.title(&step);
            let seq = self.intend(&title, &action)?;
            let sent = self.writer.beat(&action).await;
            let end = sent.as_ref().map_or_else(ToString::to_string, |()| format!("{beat} is taken"));
            self.settle(step, &title, seq, sent.is_ok(), &end)?;
            if sent.is_err() {
                return Ok(false);
            }
            tokio::time::sleep(BETWEEN_BEATS).await;
        }
        Ok(true)
    }

    /// One step and back. False: the plant does not do what it is told, and nothing more is tried.
    async fn setpoint(
        &mut self,
        s: &Setpoint,
        consent: &Consent,
        frame: &Frame,
    ) -> Result<bool, AcceptError> {
        let trial = match self.guard.trial(consent, clock::now(), frame, &self.memory) {
            Ok(trial) => trial,
            Err(refused) => {
                self.not_tested(s, &format!("the guard does not allow it now: {refused}"));
                return Ok(true);
            }
        };
        let (from, to, unit) = (trial.from(), trial.to(), trial.unit());
        let titled = |what, (from, to)| Step {
            setpoint: Some(s.name.clone()),
            from: Some(from),
            to: Some(to),
            unit: Some(unit),
            ..Step::new(
                what,
                StepResult::Failed,
                format!("{from} to {to} {unit}, with consent of {}", consent.who()),
            )
        };
        let stepped = self.carry_out(titled("step", (from, to)), trial.step()).await;
        if matches!(stepped, Ok(true)) && s.active.is_some() {
            self.follow(s, trial.to()).await;
        }
        if stepped.is_err() {
            // What cannot be recorded is not done, but what was begun is undone.
            self.writer.apply(trial.restore()).await;
        }
        let stepped = stepped?;
        let restored = self.carry_out(titled("restore", (to, from)), trial.restore()).await?;
        Ok(stepped && restored)
    }

    /// Whether the setpoint in force comes to what was written.
    async fn follow(&mut self, s: &Setpoint, to: Finite) {
        let watch = clock::Stopwatch::start();
        let mut shown = None;
        while watch.elapsed() < FOLLOW_WITHIN && !self.interrupted.load(Ordering::Relaxed) {
            shown = self.in_force(s).await.or(shown);
            if shown.is_some_and(|v| (v - to.get()).abs() <= s.step.get() / 2.0) {
                let detail = format!("in force after {:.0} s", watch.elapsed().as_secs_f64());
                self.steps.push(Step {
                    setpoint: Some(s.name.clone()),
                    ..Step::new("follow", StepResult::Passed, detail)
                });
                return;
            }
            tokio::time::sleep(BETWEEN_BEATS).await;
        }
        let shown = shown.map_or("nothing".to_owned(), |v| v.to_string());
        let detail =
            format!("after {} s the setpoint in force is {shown}, not {to}", watch.elapsed().as_secs());
        self.steps
            .push(Step { setpoint: Some(s.name.clone()), ..Step::new("follow", StepResult::Failed, detail) });
    }

    async fn in_force(&self, s: &Setpoint) -> Option<f64> {
        let point = s.active.as_ref()?;
        let address = self.site.device(&point.device)?.wire_address(point.address)?;
        let count = point.word_type.registers();
        let words = self.bus.read(&point.device, point.table, address, count).await.ok()?;
        let value = register::decode(point, &words).ok()?;
        Some(point.unit.unwrap_or(s.unit).convert(value, s.unit)?.get())
    }
}
