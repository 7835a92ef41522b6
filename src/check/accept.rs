//! The acceptance test: control is taken, the heartbeat beaten, each setpoint that somebody consented to
//! moved by one step and back, and control released; everything read back, and in the audit log before it
//! is written. Whatever happens in between, what was moved is put back and control is released.
//!
//! With consent to it, the plant's watchdog is shown last: a step is left standing, the heartbeat stops, and the
//! plant must take its own setpoints back within `link.watchdog`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::hand::Hand;
use super::protocol::{Protocol, Step, StepResult};
use super::{Level, look};
use crate::audit::AuditError;
use crate::clock::{self, Stopwatch};
use crate::envelope::{Consent, Guard, Memory, SafeAction, Trial};
use crate::ingest::modbus::Bus;
use crate::ingest::mqtt::ConfigError;
use crate::register;
use crate::service;
use crate::site::{Setpoint, Site};
use crate::units::Finite;

const BEATS: u16 = 3;
const BETWEEN_BEATS: Duration = Duration::from_secs(1);
/// How long the setpoint in force may take to follow.
const FOLLOW_WITHIN: Duration = Duration::from_secs(30);
/// How much later than its watchdog's time a plant may be seen to take its own setpoints.
const WATCHDOG_GRACE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Also when an agent runs: it has the plant, and the log.
    #[error("nothing was written: {0}")]
    Audit(#[from] AuditError),
    #[error("nothing was written: {0}")]
    Broker(#[from] ConfigError),
}

/// Reads everything, and writes what is consented to. Without a consent nothing is written at all.
/// `watchdog`: the heartbeat may also be stopped.
pub async fn accept(
    site: &Site,
    who: &str,
    consents: &[Consent],
    watchdog: bool,
) -> Result<Protocol, AcceptError> {
    let bus = Bus::open(site);
    let (read, _) = look(site, &bus).await?;
    let mut protocol = Protocol {
        ended: read.time,
        who: who.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        site_sha256: site.sha256(),
        steps: Vec::new(),
        result: StepResult::NotTested,
        read,
    };
    let may = !consents.is_empty() && protocol.read.level() == Level::Good;
    if may {
        let mut test = Test::new(site, Hand::new(site, who, bus.clone())?, bus);
        test.run(consents, watchdog).await?;
        protocol.steps = test.hand.close()?;
    } else {
        let why = if consents.is_empty() { "no consent" } else { "not everything could be read well" };
        for setpoint in &site.setpoints {
            protocol.steps.push(Step::new("step", StepResult::NotTested, why).of(setpoint));
        }
    }
    protocol.conclude(clock::now());
    Ok(protocol)
}

struct Test<'a> {
    site: &'a Site,
    guard: Guard,
    memory: Memory,
    hand: Hand<'a>,
    bus: Bus,
    interrupted: Arc<AtomicBool>,
}

impl<'a> Test<'a> {
    fn new(site: &'a Site, hand: Hand<'a>, bus: Bus) -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        let seen = interrupted.clone();
        tokio::spawn(async move {
            service::stop_or_hang_up().await;
            seen.store(true, Ordering::Relaxed);
        });
        Self { site, guard: Guard::new(site), memory: Memory::new(site), hand, bus, interrupted }
    }

    async fn run(&mut self, consents: &[Consent], watchdog: bool) -> Result<(), AcceptError> {
        let taken = self.link("take control", &self.guard.take_control()).await?;
        let done = if taken { self.beat_and_step(consents, watchdog).await } else { Ok(()) };
        // Also when the log failed: giving power away needs no record.
        let released = self.link("release", &self.guard.release()).await;
        if released.is_err() {
            self.hand.undo_unrecorded(&self.guard.release()).await;
        }
        done.and(released.map(|_| ()))
    }

    async fn beat_and_step(&mut self, consents: &[Consent], watchdog: bool) -> Result<(), AcceptError> {
        for beat in 1..=BEATS {
            if !self.beat(beat).await? {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_BEATS).await;
        }
        if !self.steps(consents).await? {
            return Ok(());
        }
        if watchdog {
            self.watchdog(consents).await
        } else {
            self.hand.steps.push(Step::new("watchdog", StepResult::NotTested, "no consent: --watchdog"));
            Ok(())
        }
    }

    /// False: the plant does not do what it is told, and nothing more is tried.
    async fn steps(&mut self, consents: &[Consent]) -> Result<bool, AcceptError> {
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
            let Some(trial) = self.trial("step", setpoint, consent).await else { continue };
            if !self.step_and_back(setpoint, &trial, consent).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What may be tried now; said in the protocol where that is nothing.
    async fn trial(&mut self, what: &'static str, s: &Setpoint, consent: &Consent) -> Option<Trial> {
        let why = match look(self.site, &self.bus).await {
            Ok((read, frame)) if read.level() == Level::Good => {
                self.memory = self.guard.observe(&self.memory, clock::now(), &frame);
                match self.guard.trial(consent, clock::now(), &frame, &self.memory) {
                    Ok(trial) => return Some(trial),
                    Err(refused) => format!("the guard does not allow it now: {refused}"),
                }
            }
            Ok(_) => "not everything could be read well any more".to_owned(),
            Err(e) => e.to_string(),
        };
        self.hand.steps.push(Step::new(what, StepResult::NotTested, why).of(s));
        None
    }

    fn not_tested(&mut self, setpoint: &Setpoint, why: &str) {
        self.hand.steps.push(Step::new("step", StepResult::NotTested, why).of(setpoint));
    }

    async fn link(&mut self, what: &'static str, action: &SafeAction) -> Result<bool, AcceptError> {
        if action.is_empty() {
            self.hand.steps.push(Step::new(what, StepResult::NotTested, "the site has no link.enable"));
            return Ok(true);
        }
        let outcome = self.hand.carry_out(Step::new(what, StepResult::Failed, ""), action).await?;
        Ok(!outcome.release_needed)
    }

    /// One beat, as a running agent sends it. False: the device does not take it.
    async fn beat(&mut self, beat: u16) -> Result<bool, AcceptError> {
        let action = self.guard.heartbeat(beat);
        let step = Step::new("heartbeat", StepResult::NotTested, "");
        if action.is_empty() {
            if beat == 1 {
                self.hand.steps.push(Step { detail: "the site has no link.heartbeat".to_owned(), ..step });
            }
            return Ok(true);
        }
        Ok(self.hand.beat(step, &action, format_args!("{beat} is taken")).await?)
    }

    /// One step and back. False: the plant does not do what it is told, and nothing more is tried.
    async fn step_and_back(
        &mut self,
        s: &Setpoint,
        trial: &Trial,
        consent: &Consent,
    ) -> Result<bool, AcceptError> {
        let stepped = self.step(s, trial, consent).await?;
        if stepped && s.active.is_some() {
            self.follow(s, trial.to()).await;
        }
        Ok(self.restore(s, trial, consent).await? && stepped)
    }

    async fn step(&mut self, s: &Setpoint, trial: &Trial, consent: &Consent) -> Result<bool, AcceptError> {
        let step = moved("step", s, trial, consent, (trial.from(), trial.to()));
        let stepped = self.hand.carry_out(step, trial.step()).await;
        if stepped.is_err() {
            self.hand.undo_unrecorded(trial.restore()).await;
        }
        Ok(!stepped?.release_needed)
    }

    async fn restore(&mut self, s: &Setpoint, trial: &Trial, consent: &Consent) -> Result<bool, AcceptError> {
        let step = moved("restore", s, trial, consent, (trial.to(), trial.from()));
        let restored = self.hand.carry_out(step, trial.restore()).await;
        if restored.is_err() {
            self.hand.undo_unrecorded(trial.restore()).await;
        }
        Ok(!restored?.release_needed)
    }

    /// Stops the heartbeat with a step standing, and waits for the plant to go back to its own setpoint.
    async fn watchdog(&mut self, consents: &[Consent]) -> Result<(), AcceptError> {
        let mut shown = self.site.setpoints.iter().filter(|s| s.active.is_some());
        let consented = |s: &'a Setpoint| Some((s, consents.iter().find(|c| *c.setpoint() == s.name)?));
        let why = match (&self.site.link.heartbeat, shown.find_map(consented)) {
            (None, _) => "the site has no link.heartbeat",
            (_, None) => "no setpoint consented to has a register of what is in force (active)",
            (Some(_), Some((s, consent))) => {
                let Some(trial) = self.trial("watchdog", s, consent).await else { return Ok(()) };
                if self.beat(BEATS + 1).await? && self.step(s, &trial, consent).await? {
                    let silence = Stopwatch::start();
                    if self.follow(s, trial.to()).await {
                        self.outwait(s, trial.to(), silence).await;
                    }
                }
                self.restore(s, &trial, consent).await?;
                return Ok(());
            }
        };
        self.hand.steps.push(Step::new("watchdog", StepResult::NotTested, why));
        Ok(())
    }

    /// Waits until another setpoint is in force than the one in the register.
    async fn outwait(&mut self, s: &Setpoint, to: Finite, silence: Stopwatch) {
        let watchdog = self.site.link.watchdog;
        let most = watchdog.unsigned_abs() + WATCHDOG_GRACE;
        let (mut result, mut detail) = (StepResult::NotTested, "interrupted".to_owned());
        while !self.interrupted.load(Ordering::Relaxed) {
            let (waited, shown) = (silence.elapsed(), self.in_force(s).await);
            if let Some(own) = shown.filter(|v| (v - to.get()).abs() > s.step.get() / 2.0) {
                result = StepResult::Passed;
                detail = format!(
                    "{:.0} s after the last heartbeat the plant goes to its own setpoint (now {own}, the register holds {to})",
                    waited.as_secs_f64()
                );
                break;
            }
            if waited > most {
                result = StepResult::Failed;
                detail = format!(
                    "{} s after the last heartbeat {to} is still in force; link.watchdog is {watchdog:#}. (Or the \
                     plant's own setpoint is the same: then set another and repeat.)",
                    waited.as_secs()
                );
                break;
            }
            tokio::time::sleep(BETWEEN_BEATS).await;
        }
        self.hand.steps.push(Step::new("watchdog", result, detail).of(s));
    }

    /// Whether the setpoint in force comes to what was written.
    async fn follow(&mut self, s: &Setpoint, to: Finite) -> bool {
        let watch = Stopwatch::start();
        let mut shown = None;
        while watch.elapsed() < FOLLOW_WITHIN && !self.interrupted.load(Ordering::Relaxed) {
            shown = self.in_force(s).await.or(shown);
            if shown.is_some_and(|v| (v - to.get()).abs() <= s.step.get() / 2.0) {
                let detail = format!("in force after {:.0} s", watch.elapsed().as_secs_f64());
                self.hand.steps.push(Step::new("follow", StepResult::Passed, detail).of(s));
                return true;
            }
            tokio::time::sleep(BETWEEN_BEATS).await;
        }
        let shown = shown.map_or("nothing".to_owned(), |v| v.to_string());
        let detail =
            format!("after {} s the setpoint in force is {shown}, not {to}", watch.elapsed().as_secs());
        self.hand.steps.push(Step::new("follow", StepResult::Failed, detail).of(s));
        false
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

fn moved(
    what: &'static str,
    s: &Setpoint,
    trial: &Trial,
    consent: &Consent,
    (from, to): (Finite, Finite),
) -> Step {
    let unit = trial.unit();
    let detail = format!("{from} to {to} {unit}, with consent of {}", consent.who());
    let step = Step::new(what, StepResult::Failed, detail).of(s);
    Step { from: Some(from), to: Some(to), unit: Some(unit), ..step }
}
