//! Carries inputs to the controller and its effects out, in order.

mod jobs;
mod journal;
mod reload;
mod sense;
pub(super) mod standing;
mod upgrade;
mod view;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use jobs::Headrooms;
use tokio::sync::{oneshot, watch};

use super::engines::Engines;
use super::memory::Watch;
use super::socket::Call;
use super::stats::Stats;
use super::telemetry::Telemetry;
use super::{View, header};
use crate::actuate::{Outcome, Writer};
use crate::audit::{Archived, Store};
use crate::clock::{self, Stopwatch};
use crate::control::{Answer, Controller, Effect, Input, Setup, Standing, What};
use crate::envelope::SafeAction;
use crate::frame::Assembler;
use crate::ingest::modbus::{Bus, Poller};
use crate::ingest::mqtt::MqttHandle;
use crate::memory::Reading;
use crate::reason::{Completion, Failure};
use crate::site::Clock;
use crate::upgrade::Kept;

/// All that a shell is made from: what has been opened, and who listens.
pub(super) struct Parts {
    pub(super) in_force: watch::Sender<Arc<Setup>>,
    pub(super) store: Store,
    pub(super) bus: Option<Bus>,
    pub(super) mqtt: Option<MqttHandle>,
    pub(super) engines: Engines,
    pub(super) kept: Kept,
    pub(super) memory: Option<Watch>,
    pub(super) view: watch::Sender<View>,
    pub(super) simulated: bool,
    pub(super) telemetry: Option<Telemetry>,
}

pub(super) struct Shell {
    setup: Arc<Setup>,
    /// The same, for others, and how often it has changed.
    in_force: watch::Sender<Arc<Setup>>,
    setup_revision: u64,
    controller: Controller,
    store: Store,
    /// The log cannot be written: since when, and why. The plant is released and nothing is decided until it can.
    audit_lost: Option<(Timestamp, String)>,
    /// The release that is due since then, until a device has taken it.
    release_due: Option<SafeAction>,
    assembler: Assembler,
    poller: Option<Poller>,
    writer: Option<Writer>,
    mqtt: Option<MqttHandle>,
    engines: Engines,
    /// What outlives a restart, and the controller's revision that it is of.
    kept: Kept,
    kept_revision: u64,
    /// What the controller's standing was when the log last took all that led to it, and whether the file has it.
    standing: Option<Standing>,
    standing_kept: bool,
    /// Since the plant last had its chance to confirm a release.
    last_release: Stopwatch,
    memory: Option<Watch>,
    view: watch::Sender<View>,
    facts: serde_json::Value,
    stats: Stats,
    simulated: bool,
    /// Time of the latest frame.
    frame_time: Option<Timestamp>,
    last_frame: Stopwatch,
    source_up: bool,
    /// Topics that decisions need and on which nothing comes.
    silent: BTreeSet<String>,
    plant_up: bool,
    failed_polls: u32,
    last_decision: serde_json::Value,
    headroom: Headrooms,
    answer: Option<Answer>,
    telemetry: Option<Telemetry>,
}

impl Shell {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { in_force, store, bus, mqtt, engines, kept, memory, view, simulated, telemetry } = parts;
        let first = store.next_seq().unwrap_or(1);
        let setup = in_force.borrow().clone();
        let site = &setup.site;
        Self {
            controller: Controller::new(setup.clone(), first),
            assembler: Assembler::new(site),
            poller: bus.clone().map(|b| Poller::new(&setup.site, b)),
            writer: bus.map(|bus| Writer::new(bus, &setup.site)),
            setup,
            in_force,
            setup_revision: 0,
            store,
            audit_lost: None,
            release_due: None,
            standing: None,
            standing_kept: false,
            last_release: Stopwatch::start(),
            mqtt,
            engines,
            kept,
            kept_revision: 0,
            memory,
            view,
            facts: serde_json::Value::Null,
            stats: Stats::default(),
            simulated,
            frame_time: None,
            last_frame: Stopwatch::start(),
            source_up: true,
            silent: BTreeSet::new(),
            plant_up: true,
            failed_polls: 0,
            last_decision: serde_json::Value::Null,
            headroom: Headrooms::default(),
            answer: None,
            telemetry,
        }
    }

    /// Frame time, or the wall's.
    pub(super) fn control_time(&self) -> Timestamp {
        match (self.setup.site.clock, self.frame_time) {
            (Clock::Frames, Some(t)) => t,
            (Clock::Frames, None) | (Clock::Wall, _) => clock::now(),
        }
    }

    /// Writes the run header, and what an earlier run left open.
    pub(super) async fn begin(&mut self, upgrade_void: Option<String>) {
        self.facts = self.engines.facts();
        let left = self.read_standing();
        if let Ok(Some(left)) = &left {
            self.assembler.recall(left.jobs());
        }
        self.new_run(left, None).await;
        if let Some(why) = upgrade_void {
            self.step(self.control_time(), Input::CandidateLost { why }).await;
        }
    }

    /// `lost`: for how long there was no log, and why.
    async fn new_run(&mut self, left: Result<Option<Standing>, String>, lost: Option<String>) {
        let now = self.control_time();
        let orphans = self.store.orphans().iter().map(|o| o.seq).collect::<Vec<_>>();
        self.controller = Controller::new(self.setup.clone(), self.store.next_seq().unwrap_or(1));
        let effects =
            self.controller.start(header(&self.setup, &self.facts, self.kept.lineage.as_ref(), now));
        self.carry_out(now, effects, &mut VecDeque::new()).await;
        let standing = match left {
            Ok(left) => {
                left.filter(|left| *left != self.controller.standing()).map(|s| Input::Standing(Box::new(s)))
            }
            Err(why) => Some(Input::StandingLost { why }),
        };
        let first = [
            (!orphans.is_empty()).then_some(Input::Orphans(orphans)),
            standing,
            lost.map(|detail| Input::AuditBack { detail }),
            self.memory.as_ref().and_then(Watch::standing).map(Input::Memory),
            self.kept.trial.clone().map(|trial| Input::Resumed(Box::new(trial))),
        ];
        for input in first.into_iter().flatten() {
            let effects = self.controller.handle(now, input);
            self.carry_out(now, effects, &mut VecDeque::new()).await;
        }
        self.kept_revision = self.controller.upgrades_revision();
        if self.commit() {
            self.keep_standing();
        }
    }

    pub(super) async fn on_reply(&mut self, ask: u64, result: Result<Completion, Failure>) {
        if self.controller.candidate_ask() == Some(ask) {
            self.step(self.control_time(), Input::Reply { ask, result }).await;
            self.publish_view();
            return;
        }
        if let Some(telemetry) = &self.telemetry {
            telemetry.replied(result.as_ref().err().map(ToString::to_string));
        }
        self.step(self.control_time(), Input::Reply { ask, result }).await;
        self.take_over_if_idle().await;
        self.end_of_turn().await;
    }

    /// A rung is recorded before it is taken.
    pub(super) async fn on_memory(&mut self, reading: &Reading) {
        let Some(change) = self.memory.as_mut().and_then(|watch| watch.take(reading)) else { return };
        self.step(self.control_time(), Input::Memory(change)).await;
        if let Some(watch) = &self.memory {
            watch.order(&change);
        }
        self.publish_view();
    }

    /// Once the log itself says where they are, old records leave it.
    pub(super) async fn on_archived(&mut self, archived: Archived) {
        self.step(self.control_time(), Input::Archived(archived.clone())).await;
        if !self.commit() {
            return;
        }
        match self.store.forget(&archived) {
            Ok(committed) => self.committed(committed),
            Err(error) => tracing::error!(%error, "archived records could not be taken out of the log"),
        }
    }

    pub(super) async fn on_call(&mut self, call: Call) {
        if matches!(call.act.what, What::ProposeUpgrade { .. }) {
            self.examine(call);
            return;
        }
        self.answer_to(Input::Act(call.act), call.answer).await;
    }

    async fn answer_to(&mut self, input: Input, waiting: oneshot::Sender<Answer>) {
        self.step(self.control_time(), input).await;
        // One that the log did not take has not been accepted.
        let answer = self.answer.take().filter(|_| self.audit_lost.is_none()).unwrap_or(Answer {
            accepted: false,
            answer: "the audit log cannot be written: nothing is done that cannot be recorded".to_owned(),
        });
        // Whoever looks as soon as it is answered sees what came of it.
        self.publish_view();
        if waiting.send(answer).is_err() {
            tracing::debug!("the operator did not wait for the answer");
        }
    }

    /// Feeds one input, carries out its effects, and feeds what those lead to.
    pub(super) async fn step(&mut self, now: Timestamp, input: Input) {
        if self.audit_lost.is_some() {
            self.release_unrecorded().await;
            self.try_reopen().await;
            if self.audit_lost.is_some() {
                return;
            }
        }
        let mut inputs = VecDeque::from([input]);
        let mut held = SafeAction::default();
        while let Some(input) = inputs.pop_front() {
            held = self.controller.release_action();
            let effects = self.controller.handle(now, input);
            self.carry_out(now, effects, &mut inputs).await;
            if self.audit_lost.is_some() {
                break;
            }
        }
        if self.commit() {
            self.follow_upgrades();
            self.keep_standing();
        } else {
            // A release that the controller has just decided on was not carried out either.
            let release = [self.controller.release_action(), held].into_iter().find(|a| !a.is_empty());
            self.release_due = self.release_due.take().or(release);
            self.release_unrecorded().await;
        }
        self.telemetry.iter_mut().for_each(Telemetry::end_of_turn);
    }

    async fn carry_out(&mut self, now: Timestamp, effects: Vec<Effect>, inputs: &mut VecDeque<Input>) {
        for effect in effects {
            match effect {
                Effect::Record(body) => self.record(now, &body),
                Effect::Ask { ask, request } => {
                    self.telemetry.iter_mut().for_each(Telemetry::asked);
                    if let Err(why) = self.engines.ask((ask, request)) {
                        inputs.push_back(Input::Reply { ask, result: Err(Failure::NotRunning { why }) });
                    }
                }
                Effect::AskCandidate { ask, request } => {
                    if let Err(why) = self.engines.ask_candidate((ask, request)) {
                        inputs.push_back(Input::Reply { ask, result: Err(Failure::NotRunning { why }) });
                    }
                }
                Effect::Stage(staging) => {
                    if self.engines.stage(&staging, &self.setup.site) {
                        self.facts = self.engines.facts();
                        let orders = self.engines.orders();
                        self.memory.iter_mut().zip(orders).for_each(|(watch, orders)| watch.follow(orders));
                    }
                }
                Effect::Write { intent, action } => {
                    if self.commit() {
                        let outcome = self.apply(&action).await;
                        inputs.push_back(Input::Outcome { intent, outcome });
                    }
                }
                Effect::Heartbeat { intent, action } => {
                    if self.commit()
                        && let Some(writer) = &self.writer
                        && let Err(outcome) = writer.beat(&action).await
                    {
                        tracing::warn!(trouble = %outcome.trouble(), "heartbeat not written");
                        inputs.push_back(Input::Outcome { intent, outcome });
                    }
                }
                Effect::Answer(answer) => self.answer = Some(answer),
            }
            if self.audit_lost.is_some() {
                return;
            }
        }
    }

    async fn apply(&mut self, action: &SafeAction) -> Outcome {
        let began = clock::now();
        let outcome = match &self.writer {
            Some(writer) => writer.apply(action).await,
            // Without devices there are no registers, so no action has writes.
            None => Outcome { writes: Vec::new(), release_needed: !action.is_empty() },
        };
        if let Some(telemetry) = &self.telemetry {
            telemetry.wrote(clock::system(began), &outcome);
        }
        outcome
    }

    /// After an input that ends a sampling instant: show the state, and tell a plant in lock step to go on.
    pub(super) async fn end_of_turn(&mut self) {
        if self.headroom.is_due(self.control_time()) {
            self.publish_headroom();
        }
        self.publish_view();
        if let (Clock::Frames, Some(time), false) =
            (self.setup.site.clock, self.frame_time, self.controller.is_thinking())
        {
            self.publish("ack", &serde_json::json!({ "time": time }).to_string());
        }
        // Lets the poll task of the broker's client run between two frames of a fast plant.
        tokio::task::yield_now().await;
    }

    /// Releases, records the end and closes everything. Bounded by the devices' and the broker's timeouts.
    pub(super) async fn stop(mut self, why: String) -> Stats {
        let now = self.control_time();
        self.step(now, Input::Stop { why: why.clone() }).await;
        self.withdraw_headroom();
        self.step(now, Input::Stopped { why }).await;
        self.release_unrecorded().await;
        if let Err(e) = self.store.close() {
            tracing::error!(error = %e, "the audit log was not closed cleanly");
        }
        if let Some(mqtt) = self.mqtt {
            mqtt.close().await;
        }
        if let Some(telemetry) = self.telemetry
            && let Err(e) = tokio::task::spawn_blocking(|| telemetry.close()).await
        {
            tracing::warn!(error = %e, "telemetry");
        }
        self.stats
    }
}
