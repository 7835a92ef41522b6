//! What comes in from broker and devices, and whether they are there.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::Shell;
use crate::clock::{self, Stopwatch};
use crate::control::{Input, Link, RELEASE_AGAIN};
use crate::ingest::Reading;
use crate::ingest::mqtt::SourceEvent;
use crate::site::{Clock, Signal, Site};

/// Polls in a row that must fail before the plant counts as lost: one lost reply is not an outage.
const FAILED_POLLS_TO_LOSE_PLANT: u32 = 2;

impl Shell {
    pub(in crate::service) async fn on_source(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Readings { time, readings } => {
                self.heard(&readings);
                for mut reading in readings {
                    reading.received = self.not_before_the_last_frame(reading.received);
                    self.assembler.push(&reading);
                }
                match (self.setup.site.clock, time) {
                    (Clock::Frames, Some(time)) => self.on_frame_of(time).await,
                    (Clock::Wall, _) if self.silent.is_empty() => self.source_is_up().await,
                    (Clock::Frames, None) | (Clock::Wall, _) => {}
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
                if self.is_vital(&topic) {
                    self.silent.insert(topic.clone());
                    self.source_is_down(format!("topic {topic} is silent")).await;
                }
            }
            SourceEvent::Denied { topic } => {
                tracing::warn!(%topic, "the broker does not allow the subscription");
                if self.is_vital(&topic) {
                    self.silent.insert(topic.clone());
                    self.source_is_down(format!("topic {topic} is denied by the broker")).await;
                }
            }
            SourceEvent::Malformed { topic, problem, count } => {
                tracing::warn!(%topic, %problem, count, "payload not used");
            }
            SourceEvent::Overrun { messages } => {
                tracing::warn!(messages, "fell behind; the oldest were forgotten");
            }
        }
    }

    /// What comes on a topic ends its own silence, not another's.
    fn heard(&mut self, readings: &[Reading]) {
        if self.silent.is_empty() {
            return;
        }
        let site = &self.setup.site;
        for reading in readings.iter().filter(|r| !r.origin.retained) {
            if let Some(topic) = site.signal(&reading.name).and_then(|s| s.source.topic()) {
                self.silent.remove(&topic);
            }
        }
    }

    /// Whether decisions need what comes on a topic. What else is silent shows as stale values.
    fn is_vital(&self, topic: &str) -> bool {
        let site = &self.setup.site;
        let needed = |s: &Signal| s.required && s.source.topic().is_some_and(|t| t == topic);
        site.clock == Clock::Frames || site.signals.iter().any(needed)
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

    /// Where frames are the clock, what comes behind a later one has come after it: else it would look as if the clock had
    /// gone back, and what is known of a sensor were of no use.
    fn not_before_the_last_frame(&self, received: Timestamp) -> Timestamp {
        let by_frames = self.setup.site.clock == Clock::Frames && self.source_up;
        self.frame_time.filter(|_| by_frames).map_or(received, |last| received.max(last))
    }

    /// A frame that says what time it is. A repeated or earlier one moves nothing, and is no sign of life either:
    /// backfilled data never actuates. Once the source counts as lost for want of later ones, its clock is believed.
    async fn on_frame_of(&mut self, time: Timestamp) {
        match self.frame_time.map(|last| time.cmp(&last)) {
            None | Some(Ordering::Greater) => {
                self.source_is_up().await;
                self.sample(time).await;
            }
            Some(Ordering::Less) if !self.source_up => {
                self.sample(time).await;
                self.source_is_up().await;
            }
            Some(Ordering::Less | Ordering::Equal) => {
                tracing::warn!(frame = %time, "not later than the last frame: not used");
            }
        }
    }

    /// One sampling instant: poll, assemble, control.
    async fn sample(&mut self, now: Timestamp) {
        self.frame_time = Some(now);
        self.poll(now).await;
        let frame = self.assembler.snapshot(now);
        self.step(now, Input::Frame(frame)).await;
        self.end_of_turn().await;
    }

    async fn poll(&mut self, now: Timestamp) {
        let Some(poller) = &mut self.poller else { return };
        let polled = poller.poll(now).await;
        self.assembler.take(&polled);
        let mut lost = None;
        for failure in polled.failures {
            tracing::debug!(%failure, "read failed");
            // A meter that is silent takes its own values with it, and not the plant.
            if failure.error.is_silence() && self.setup.site.is_written_to(&failure.device) {
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
    pub(in crate::service) fn tick_period(&self) -> Duration {
        match self.setup.site.clock {
            Clock::Wall => self.controller.pace().sample.unsigned_abs(),
            // Only the watchdog needs it; the frames are the clock.
            Clock::Frames => Duration::from_millis(250),
        }
    }

    pub(in crate::service) async fn on_tick(&mut self) {
        if self.setup.site.clock == Clock::Wall {
            self.sample(clock::now()).await;
            return;
        }
        let patience = self.setup.site.mqtt.as_ref().map(|m| m.watchdog.unsigned_abs());
        if patience.is_some_and(|p| self.last_frame.elapsed() > p) && !self.controller.is_thinking() {
            self.source_is_down("no frame within the watchdog's time".to_owned()).await;
        }
        self.release_without_frames().await;
    }

    /// Where frames are the clock and none comes, nothing else repeats a release that was not confirmed.
    async fn release_without_frames(&mut self) {
        let due =
            self.controller.unconfirmed_release().filter(|_| !self.source_up && self.audit_lost.is_none());
        let Some((intent, action)) = due else {
            self.last_release = Stopwatch::start();
            return;
        };
        if self.last_release.elapsed() >= RELEASE_AGAIN.unsigned_abs() {
            self.last_release = Stopwatch::start();
            let outcome = self.apply(&action).await;
            self.step(self.control_time(), Input::Outcome { intent, outcome }).await;
        }
    }
}

/// Whether decisions depend on what the broker delivers.
fn lives_on_mqtt(site: &Site) -> bool {
    site.clock == Clock::Frames || site.signals.iter().any(|s| s.required && s.source.is_by_broker())
}

/// The loss or return of the source of frames, as the controller wants it.
fn source_link(up: bool, why: impl Into<String>) -> Input {
    Input::Link { link: Link::Source, up, why: why.into() }
}
