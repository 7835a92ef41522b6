//! Carries inputs to the controller and its effects out, in order.

mod jobs;
mod journal;
mod reload;
mod upgrade;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jobs::Headrooms;
use tokio::sync::{oneshot, watch};

use super::engines::Engines;
use super::memory::Watch;
use super::socket::Call;
use super::stats::Stats;
use super::telemetry::Telemetry;
use super::{View, header, lives_on_mqtt, source_link};
use crate::actuate::{Outcome, Writer};
use crate::audit::{Archived, Store};
use crate::clock::{self, Stopwatch};
use crate::control::{Answer, Controller, Effect, Input, Link, Setup, What};
use crate::envelope::SafeAction;
use crate::frame::Assembler;
use crate::ingest::modbus::{Bus, Poller};
use crate::ingest::mqtt::{MqttHandle, SourceEvent};
use crate::memory::Reading;
use crate::reason::{Completion, Failure};
use crate::site::Clock;
use crate::upgrade::Kept;

/// Polls in a row that must fail before the plant counts as lost: one lost reply is not an outage.
const FAILED_POLLS_TO_LOSE_PLANT: u32 = 2;

pub(super) struct Shell {
    setup: Arc<Setup>,
    /// The same, for others, and how often it has changed.
    in_force: watch::Sender<Arc<Setup>>,
    setup_revision: u64,
    controller: Controller,
    store: Store,
    /// The log cannot be written: the plant is released and nothing is decided until it can.
    audit_lost: bool,
    assembler: Assembler,
    poller: Option<Poller>,
    writer: Option<Writer>,
    mqtt: Option<MqttHandle>,
    engines: Engines,
    /// What outlives a restart, and the controller's revision that it is of.
    kept: Kept,
    kept_revision: u64,
    memory: Option<Watch>,
    view: watch::Sender<View>,
    facts: serde_json::Value,
    stats: Stats,
    simulated: bool,
    /// Time of the latest frame.
    frame_time: Option<Timestamp>,
    last_frame: Stopwatch,
    source_up: bool,
    plant_up: bool,
    failed_polls: u32,
    last_decision: serde_json::Value,
    headroom: Headrooms,
    answer: Option<Answer>,
    telemetry: Option<Telemetry>,
}

impl Shell {
    #[allow(clippy::too_many_arguments, reason = "the shell is made once, from all connections there are")]
    pub(super) fn new(
        in_force: watch::Sender<Arc<Setup>>,
        store: Store,
        bus: Option<Bus>,
        mqtt: Option<MqttHandle>,
        engines: Engines,
        kept: Kept,
        memory: Option<Watch>,
        view: watch::Sender<View>,
        simulated: bool,
        telemetry: Option<Telemetry>,
    ) -> Self {
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
            audit_lost: false,
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
        let orphans = self.store.orphans().iter().map(|o| o.seq).collect::<Vec<_>>();
        self.new_run().await;
        if !orphans.is_empty() {
            self.step(self.control_time(), Input::Orphans(orphans)).await;
        }
        if let Some(why) = upgrade_void {
            self.step(self.control_time(), Input::CandidateLost { why }).await;
        }
    }

    async fn new_run(&mut self) {
        let now = self.control_time();
        self.controller = Controller::new(self.setup.clone(), self.store.next_seq().unwrap_or(1));
        let effects =
            self.controller.start(header(&self.setup, &self.facts, self.kept.lineage.as_ref(), now));
        self.carry_out(now, effects, &mut VecDeque::new()).await;
        if let Some(standing) = self.memory.as_ref().and_then(Watch::standing) {
            let effects = self.controller.handle(now, Input::Memory(standing));
            self.carry_out(now, effects, &mut VecDeque::new()).await;
        }
        if let Some(trial) = self.kept.trial.clone() {
            let effects = self.controller.handle(now, Input::Resumed(Box::new(trial)));
            self.carry_out(now, effects, &mut VecDeque::new()).await;
        }
        self.kept_revision = self.controller.upgrades_revision();
        self.commit();
    }

    pub(super) async fn on_source(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Readings { time, readings } => {
                for reading in &readings {
                    self.assembler.push(reading);
                }
                self.source_is_up().await;
                if let (Clock::Frames, Some(time)) = (self.setup.site.clock, time) {
                    self.sample(time).await;
                }
            }
            SourceEvent::Announced(message) => self.on_announced(&message),
            SourceEvent::Up => tracing::info!("broker connected"),
            SourceEvent::Down { why } => {
                tracing::warn!(%why, "broker lost");
                self.source_is_down(format!("broker: {why}")).await;
            }
            SourceEvent::Silent { topic } => {
                tracing::warn!(%topic, "connected, but the topic is silent");
                self.source_is_down(format!("topic {topic} is silent")).await;
            }
            SourceEvent::Denied { topic } => {
                tracing::warn!(%topic, "the broker does not allow the subscription");
                self.source_is_down(format!("topic {topic} is denied by the broker")).await;
            }
            SourceEvent::Malformed { topic, problem, count } => {
                tracing::warn!(%topic, %problem, count, "payload not used");
            }
            SourceEvent::Overrun { messages } => {
                tracing::warn!(messages, "fell behind; the oldest were forgotten");
            }
        }
    }

    async fn source_is_down(&mut self, why: String) {
        if self.source_up && lives_on_mqtt(&self.setup.site) {
            self.source_up = false;
            self.step(self.control_time(), source_link(false, why)).await;
            // No frame will come to show it.
            self.publish_headroom();
            self.publish_view();
        }
    }

    async fn source_is_up(&mut self) {
        self.last_frame = Stopwatch::start();
        if !self.source_up {
            self.source_up = true;
            self.step(self.control_time(), source_link(true, "frames arrive again")).await;
        }
    }

    /// One sampling instant: poll, assemble, control.
    async fn sample(&mut self, now: Timestamp) {
        if self.frame_time.is_some_and(|t| now <= t) && self.setup.site.clock == Clock::Frames {
            // A repeated or earlier frame moves nothing: backfilled data never actuates.
            tracing::debug!(frame = %now, "not later than the last frame: not used");
            return;
        }
        self.frame_time = Some(now);
        self.poll(now).await;
        let frame = self.assembler.snapshot(now);
        self.step(now, Input::Frame(frame)).await;
        self.end_of_turn().await;
    }

    async fn poll(&mut self, now: Timestamp) {
        let Some(poller) = &mut self.poller else { return };
        let polled = poller.poll(now).await;
        for reading in &polled.readings {
            self.assembler.push(reading);
        }
        for reading in &polled.active {
            self.assembler.push_active(reading);
        }
        let mut lost = None;
        for failure in polled.failures {
            tracing::debug!(%failure, "read failed");
            if failure.error.is_silence() {
                lost = Some(failure.to_string());
            }
        }
        if let Some(why) = lost {
            self.failed_polls += 1;
            if self.plant_up && self.failed_polls >= FAILED_POLLS_TO_LOSE_PLANT {
                self.plant_up = false;
                self.step(now, Input::Link { link: Link::Plant, up: false, why }).await;
            }
            return;
        }
        self.failed_polls = 0;
        if !self.plant_up {
            self.plant_up = true;
            let why = "all registers answer again".to_owned();
            self.step(now, Input::Link { link: Link::Plant, up: true, why }).await;
        }
    }

    /// How often [`on_tick`](Self::on_tick) is to be called for now.
    pub(super) fn tick_period(&self) -> Duration {
        match self.setup.site.clock {
            Clock::Wall => self.controller.pace().sample.unsigned_abs(),
            // Only the watchdog needs it; the frames are the clock.
            Clock::Frames => Duration::from_millis(250),
        }
    }

    pub(super) async fn on_tick(&mut self) {
        if self.setup.site.clock == Clock::Wall {
            self.sample(clock::now()).await;
            return;
        }
        let patience = self.setup.site.mqtt.as_ref().map(|m| m.watchdog.unsigned_abs());
        if patience.is_some_and(|p| self.last_frame.elapsed() > p) && !self.controller.is_thinking() {
            self.source_is_down("no frame within the watchdog's time".to_owned()).await;
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
        if self.commit()
            && let Err(error) = self.store.forget(&archived)
        {
            tracing::error!(%error, "archived records could not be taken out of the log");
        }
    }

    pub(super) async fn on_call(&mut self, call: Call) {
        if matches!(call.act.what, What::ProposeUpgrade { .. }) {
            self.examine(call);
            return;
        }
        self.answer_to(Input::Act(call.act), call.answer).await;
        self.publish_view();
    }

    async fn answer_to(&mut self, input: Input, waiting: oneshot::Sender<Answer>) {
        self.step(self.control_time(), input).await;
        let answer = self.answer.take().unwrap_or(Answer {
            accepted: false,
            answer: "the audit log cannot be written: nothing is done that cannot be recorded".to_owned(),
        });
        if waiting.send(answer).is_err() {
            tracing::debug!("the operator did not wait for the answer");
        }
    }

    /// Feeds one input, carries out its effects, and feeds what those lead to.
    pub(super) async fn step(&mut self, now: Timestamp, input: Input) {
        if self.audit_lost {
            self.try_reopen().await;
            if self.audit_lost {
                return;
            }
        }
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let effects = self.controller.handle(now, input);
            self.carry_out(now, effects, &mut inputs).await;
            if self.audit_lost {
                return;
            }
        }
        if self.commit() {
            self.follow_upgrades();
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
                Effect::Heartbeat { action } => {
                    if self.commit() {
                        self.beat(&action).await;
                    }
                }
                Effect::Answer(answer) => self.answer = Some(answer),
            }
            if self.audit_lost {
                self.release_unrecorded().await;
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

    async fn beat(&mut self, action: &SafeAction) {
        if let Some(writer) = &self.writer
            && let Err(error) = writer.beat(action).await
        {
            // The next poll decides whether the link is lost.
            tracing::warn!(%error, "heartbeat not written");
        }
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
