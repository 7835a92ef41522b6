//! Frames of a live site, one after the other.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::{self, Stopwatch};
use crate::frame::{Assembler, Frame};
use crate::ingest::modbus::{Bus, Poller};
use crate::ingest::mqtt::{self, Events, MqttHandle, SourceEvent};
use crate::site::{Clock, Site};

pub(super) struct Feed<'a> {
    site: &'a Site,
    assembler: Assembler,
    poller: Poller,
    broker: Option<(MqttHandle, Events)>,
    ticks: tokio::time::Interval,
    last: Option<Timestamp>,
}

/// Where the frames are the clock, so long without one is the end, if the site gives no other time.
const PATIENCE: Duration = Duration::from_mins(1);

impl<'a> Feed<'a> {
    pub(super) fn open(site: &'a Site, bus: Bus) -> Result<Self, String> {
        let broker = match &site.mqtt {
            Some(_) => Some(mqtt::visit(site).map_err(|e| e.to_string())?),
            None => None,
        };
        let mut ticks = interval(site.sample.unsigned_abs());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            site,
            assembler: Assembler::new(site),
            poller: Poller::new(site, bus),
            broker,
            ticks,
            last: None,
        })
    }

    /// The next frame, or why there is none.
    pub(super) async fn next(&mut self) -> Result<Frame, String> {
        let now = self.next_time().await?;
        self.last = Some(now);
        let polled = self.poller.poll(now).await;
        self.assembler.take(&polled);
        Ok(self.assembler.snapshot(now))
    }

    /// Takes in what the broker brings until it is time for a frame.
    async fn next_time(&mut self) -> Result<Timestamp, String> {
        let by_frames = self.site.clock == Clock::Frames;
        let silence = Stopwatch::start();
        let patience = self.site.mqtt.as_ref().map_or(PATIENCE, |m| m.watchdog.unsigned_abs().max(PATIENCE));
        let mut why = "nothing came from the broker".to_owned();
        loop {
            let left = patience.saturating_sub(silence.elapsed());
            if by_frames && left.is_zero() {
                return Err(format!("no frame within {} s: {why}", patience.as_secs()));
            }
            let event = async {
                match &mut self.broker {
                    Some((_, events)) => events.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = event => match event {
                    Some(SourceEvent::Readings { time, readings }) => {
                        for reading in &readings {
                            self.assembler.push(reading);
                        }
                        // A repeated or earlier frame moves nothing.
                        if let Some(time) = time.filter(|t| by_frames && self.last.is_none_or(|l| *t > l)) {
                            return Ok(time);
                        }
                    }
                    Some(SourceEvent::Down { why: down }) => why = format!("broker: {down}"),
                    Some(SourceEvent::Denied { topic }) => {
                        why = format!("the broker does not allow the subscription to {topic}");
                    }
                    Some(SourceEvent::Malformed { topic, problem, .. }) => why = format!("topic {topic}: {problem}"),
                    Some(
                        SourceEvent::Up | SourceEvent::Silent { .. } | SourceEvent::Overrun { .. } | SourceEvent::Announced(_),
                    ) => {}
                    None => return Err("the broker's connection ended".to_owned()),
                },
                _ = self.ticks.tick(), if !by_frames => return Ok(clock::now()),
                () = tokio::time::sleep(left), if by_frames => {}
            }
        }
    }

    /// Tells a plant in lock step that its frame has been dealt with.
    pub(super) fn done(&self, frame: &Frame) {
        if let (Clock::Frames, Some((broker, _))) = (self.site.clock, &self.broker) {
            let text = serde_json::json!({ "time": frame.time }).to_string();
            if let Err(error) =
                broker.publish(&format!("isotherm/{}/ack", self.site.name), text.into(), false)
            {
                tracing::debug!(%error, "not acknowledged");
            }
        }
    }

    pub(super) async fn close(self) {
        if let Some((broker, _)) = self.broker {
            broker.close().await;
        }
    }
}
